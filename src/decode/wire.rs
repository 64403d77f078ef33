//! Wire format: which encoding a key or a value has, by its first byte, and which schema it names.

use super::registry_id::{PayloadId, RegistryId};
use crate::config::Format;
use crate::fault::{Code, Fault};

/// Which half of a record, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The record key.
    Key,
    /// The record value.
    Value,
}

impl Part {
    /// `key` or `value`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// A key or a value with its framing taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'r> {
    /// Nothing: a null key or value, or the JSON literal `null`.
    Nothing,
    /// Avro binary: `0x00`, a number, the datum; or `0x01`, a GUID, the datum.
    Avro {
        /// The schema's key in the registry.
        id: RegistryId,
        /// Avro binary.
        body: &'r [u8],
    },
    /// JSON text, trimmed.
    Json(&'r [u8]),
}

/// Takes the framing off. `payload_id` is what the number behind `0x00` means.
///
/// # Errors
/// Poison: `UnknownMagicByte` when the first byte starts no format that `format` allows, `Undecodable` when the bytes are
/// too short for a frame.
#[inline]
pub fn frame(
    part: Part,
    bytes: Option<&[u8]>,
    format: Format,
    payload_id: PayloadId,
) -> Result<Framed<'_>, Fault> {
    let Some(bytes) = bytes else { return Ok(Framed::Nothing) };
    let avro = !matches!(format, Format::Json | Format::Maxwell);
    match bytes {
        [] => Err(Fault::poison(
            Code::Undecodable,
            format!("decode {}: it has no bytes but is not null", part.as_str()),
        )),
        [0, rest @ ..] if avro => match payload_id.take(rest) {
            Some((id, body)) => Ok(Framed::Avro { id, body }),
            None => Err(too_short(part, bytes)),
        },
        // Apicurio writes no GUID.
        [1, rest @ ..] if avro && payload_id == PayloadId::Confluent => {
            match rest.split_first_chunk::<16>() {
                Some((guid, body)) => Ok(Framed::Avro { id: RegistryId::Guid(*guid), body }),
                None => Err(too_short(part, bytes)),
            }
        }
        [first, ..] if format != Format::Avro && starts_json(*first) => match bytes.trim_ascii() {
            b"" => Err(Fault::poison(
                Code::Undecodable,
                format!("decode {}: it is nothing but white space", part.as_str()),
            )),
            b"null" => Ok(Framed::Nothing),
            text => Ok(Framed::Json(text)),
        },
        [first, ..] => Err(unknown_magic(part, *first, format)),
    }
}

/// Whether a JSON text can start with this byte.
fn starts_json(byte: u8) -> bool {
    matches!(
        byte,
        b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b' ' | b'\t' | b'\r' | b'\n'
    )
}

#[cold]
fn too_short(part: Part, bytes: &[u8]) -> Fault {
    Fault::poison(
        Code::Undecodable,
        format!("decode {}: {} bytes are too short for a schema id", part.as_str(), bytes.len()),
    )
}

#[cold]
fn unknown_magic(part: Part, first: u8, format: Format) -> Fault {
    let part = part.as_str();
    let text = match (format, first) {
        (Format::Json | Format::Maxwell, 0 | 1) => format!(
            "decode {part}: first byte 0x{first:02x} means Avro, but the route says that it is JSON"
        ),
        (Format::Avro, b) if starts_json(b) => {
            format!(
                "decode {part}: first byte 0x{b:02x} means JSON, but the route says format = \"avro\""
            )
        }
        (_, b) => format!(
            "decode {part}: first byte 0x{b:02x} starts neither Avro with a schema id nor JSON"
        ),
    };
    Fault::poison(Code::UnknownMagicByte, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8], format: Format) -> Result<Framed<'_>, Code> {
        frame(Part::Value, Some(bytes), format, PayloadId::Confluent).map_err(|f| f.code)
    }

    fn avro(id: RegistryId, body: &[u8]) -> Result<Framed<'_>, Code> {
        Ok(Framed::Avro { id, body })
    }

    #[test]
    fn the_first_byte_tells_the_format() {
        let bytes = [0, 0, 0, 1, 2, 9];
        assert_eq!(value(&bytes, Format::Auto), avro(RegistryId::Confluent(258), &[9]));
        assert_eq!(value(&bytes, Format::Avro), avro(RegistryId::Confluent(258), &[9]));
        assert_eq!(value(&bytes, Format::Json), Err(Code::UnknownMagicByte));
        assert_eq!(value(b" {} ", Format::Auto), Ok(Framed::Json(b"{}")));
        assert_eq!(value(b"{}", Format::Json), Ok(Framed::Json(b"{}")));
        assert_eq!(value(b"{}", Format::Avro), Err(Code::UnknownMagicByte));
        assert_eq!(value(&[7], Format::Auto), Err(Code::UnknownMagicByte));
    }

    #[test]
    fn the_byte_1_starts_a_guid_where_the_registry_has_them() {
        let bytes = [&[1][..], &[7; 16], &[9]].concat();
        assert_eq!(value(&bytes, Format::Auto), avro(RegistryId::Guid([7; 16]), &[9]));
        assert_eq!(value(&bytes, Format::Json), Err(Code::UnknownMagicByte));
        let apicurio = PayloadId::ContentId { wide: false };
        let fault = frame(Part::Value, Some(&bytes), Format::Auto, apicurio).unwrap_err();
        assert_eq!(fault.code, Code::UnknownMagicByte);
    }

    #[test]
    fn a_null_and_the_literal_null_are_both_nothing() {
        assert_eq!(
            frame(Part::Value, None, Format::Avro, PayloadId::Confluent),
            Ok(Framed::Nothing)
        );
        assert_eq!(value(b"null", Format::Auto), Ok(Framed::Nothing));
        assert_eq!(value(b" null\n", Format::Json), Ok(Framed::Nothing));
    }

    #[test]
    fn a_short_frame_is_undecodable() {
        for short in [&[][..], &[0], &[0, 0, 0, 1], &[1; 16], b" \n"] {
            assert_eq!(value(short, Format::Auto), Err(Code::Undecodable), "{short:?}");
        }
        assert_eq!(value(&[0, 0, 0, 0, 1], Format::Auto), avro(RegistryId::Confluent(1), &[]));
    }
}
