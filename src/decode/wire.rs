//! Wire format: which encoding a key or a value has, by its first byte, and which schema it names.

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

    /// The header in which Confluent's header serializer puts the schema id.
    #[must_use]
    pub fn schema_header(self) -> &'static str {
        match self {
            Self::Key => "__key_schema_id",
            Self::Value => "__value_schema_id",
        }
    }
}

/// A key or a value with its framing taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'r> {
    /// Nothing: a null key or value, or the JSON literal `null`.
    Nothing,
    /// Confluent's wire format: `0x00`, four bytes of schema id, Avro binary.
    Avro {
        /// Schema id in the registry.
        id: u32,
        /// Avro binary.
        body: &'r [u8],
    },
    /// JSON text, trimmed.
    Json(&'r [u8]),
}

/// Takes the framing off.
///
/// # Errors
/// Poison: `UnknownMagicByte` when the first byte starts no format that `format` allows, `Undecodable` when the bytes are
/// too short for a frame.
pub fn frame(part: Part, bytes: Option<&[u8]>, format: Format) -> Result<Framed<'_>, Fault> {
    let Some(bytes) = bytes else { return Ok(Framed::Nothing) };
    match bytes {
        [] => Err(Fault::poison(
            Code::Undecodable,
            format!("decode {}: it has no bytes but is not null", part.as_str()),
        )),
        [0, rest @ ..] if !matches!(format, Format::Json | Format::Maxwell) => {
            match rest.split_first_chunk::<4>() {
                Some((id, body)) => Ok(Framed::Avro { id: u32::from_be_bytes(*id), body }),
                None => Err(Fault::poison(
                    Code::Undecodable,
                    format!(
                        "decode {}: {} bytes are too short for a schema id",
                        part.as_str(),
                        bytes.len()
                    ),
                )),
            }
        }
        [first, ..] if format != Format::Avro && starts_json(*first) => {
            let text = bytes.trim_ascii();
            Ok(if text == b"null" { Framed::Nothing } else { Framed::Json(text) })
        }
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

fn unknown_magic(part: Part, first: u8, format: Format) -> Fault {
    let part = part.as_str();
    let text = match (format, first) {
        (Format::Auto | Format::Avro, 1) => {
            format!("decode {part}: first byte 0x01 is a schema id as GUID, which is not supported")
        }
        (Format::Json | Format::Maxwell, 0) => {
            format!("decode {part}: first byte 0x00 means Avro, but the route says that it is JSON")
        }
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

/// The fault of a record whose schema id stands in a header, where it is not looked for.
#[must_use]
pub fn schema_id_in_header(part: Part) -> Fault {
    Fault::poison(
        Code::UnknownMagicByte,
        format!(
            "decode {}: schema ids in header {} are not supported",
            part.as_str(),
            part.schema_header()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8], format: Format) -> Result<Framed<'_>, Code> {
        frame(Part::Value, Some(bytes), format).map_err(|f| f.code)
    }

    #[test]
    fn the_first_byte_tells_the_format() {
        let avro = [0, 0, 0, 1, 2, 9];
        assert_eq!(value(&avro, Format::Auto), Ok(Framed::Avro { id: 258, body: &[9] }));
        assert_eq!(value(&avro, Format::Avro), Ok(Framed::Avro { id: 258, body: &[9] }));
        assert_eq!(value(&avro, Format::Json), Err(Code::UnknownMagicByte));
        assert_eq!(value(b" {} ", Format::Auto), Ok(Framed::Json(b"{}")));
        assert_eq!(value(b"{}", Format::Json), Ok(Framed::Json(b"{}")));
        assert_eq!(value(b"{}", Format::Avro), Err(Code::UnknownMagicByte));
        assert_eq!(value(&[7], Format::Auto), Err(Code::UnknownMagicByte));
    }

    #[test]
    fn a_null_and_the_literal_null_are_both_nothing() {
        assert_eq!(frame(Part::Value, None, Format::Avro), Ok(Framed::Nothing));
        assert_eq!(value(b"null", Format::Auto), Ok(Framed::Nothing));
        assert_eq!(value(b" null\n", Format::Json), Ok(Framed::Nothing));
    }

    #[test]
    fn a_short_frame_is_undecodable() {
        for short in [&[][..], &[0], &[0, 0, 0, 1]] {
            assert_eq!(value(short, Format::Auto), Err(Code::Undecodable));
        }
        assert_eq!(value(&[0, 0, 0, 0, 1], Format::Auto), Ok(Framed::Avro { id: 1, body: &[] }));
    }

    #[test]
    fn a_guid_prefix_is_named_in_the_fault() {
        let fault = frame(Part::Key, Some(&[1; 20]), Format::Auto).unwrap_err();
        assert!(fault.text.contains("GUID"), "{fault}");
    }
}
