//! Bytes, and the texts that stand for bytes.

use super::{Context, Encoded, Refusal, WRONG_KIND, begin, finish, put_bytes, shape};
use crate::config::BinaryHandlingMode;
use crate::decode::slot::Slot;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// How text stands for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    Base64,
    Base64Url,
    Hex,
}

impl Alphabet {
    /// How a text field stands for bytes under Debezium's `binary.handling.mode`; `None` when it does not.
    pub fn of_text(mode: BinaryHandlingMode) -> Option<Self> {
        match mode {
            BinaryHandlingMode::Bytes => None,
            BinaryHandlingMode::Base64 => Some(Self::Base64),
            BinaryHandlingMode::Base64UrlSafe => Some(Self::Base64Url),
            BinaryHandlingMode::Hex => Some(Self::Hex),
        }
    }

    /// The same for JSON without schema, where bytes are text in every mode.
    pub fn of_untyped(mode: BinaryHandlingMode) -> Self {
        Self::of_text(mode).unwrap_or(Self::Base64)
    }
}

const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT_PADDING);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT_PADDING);

const UNREADABLE: Refusal = Refusal::Value("is not the encoding of bytes that is configured");

/// Appends the decoded bytes.
pub fn decode(text: &str, alphabet: Alphabet, out: &mut Vec<u8>) -> Encoded {
    let engine = match alphabet {
        Alphabet::Base64 => &BASE64,
        Alphabet::Base64Url => &BASE64_URL,
        Alphabet::Hex => return decode_hex(text.as_bytes(), out),
    };
    let at = out.len();
    out.resize(at + base64::decoded_len_estimate(text.len()), 0);
    let Some(room) = out.get_mut(at..) else { return Err(UNREADABLE) };
    let length = engine.decode_slice(text, room).map_err(|_| UNREADABLE)?;
    out.truncate(at + length);
    Ok(())
}

fn decode_hex(text: &[u8], out: &mut Vec<u8>) -> Encoded {
    let (pairs, []) = text.as_chunks::<2>() else { return Err(UNREADABLE) };
    out.reserve(pairs.len());
    for [high, low] in pairs {
        out.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    Ok(())
}

fn nibble(digit: u8) -> Result<u8, Refusal> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(UNREADABLE),
    }
}

/// Hands the decoded bytes of a short text on from the stack; long ones take the heap.
pub fn with_decoded(
    text: &str,
    alphabet: Alphabet,
    take: impl FnOnce(&[u8]) -> Encoded,
) -> Encoded {
    let mut room = [0u8; 64];
    if alphabet == Alphabet::Base64 && base64::decoded_len_estimate(text.len()) <= room.len() {
        let length = BASE64.decode_slice(text, &mut room).map_err(|_| UNREADABLE)?;
        return take(room.get(..length).unwrap_or_default());
    }
    let mut bytes = Vec::new();
    decode(text, alphabet, &mut bytes)?;
    take(&bytes)
}

/// `bytea`; a geometry as EWKB.
pub fn bytea(
    alphabet: Alphabet,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    if let Slot::Bytes(bytes) = *slot {
        return put_bytes(out, bytes);
    }
    if let Slot::Nested(_) = slot {
        let at = begin(out);
        shape::ewkb(slot, context, out)?;
        return finish(out, at);
    }
    let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
    let at = begin(out);
    decode(text, alphabet, out)?;
    finish(out, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alphabet_gives_the_same_bytes_back() {
        for (alphabet, text) in [
            (Alphabet::Base64, "3q2+7wD/"),
            (Alphabet::Base64Url, "3q2-7wD_"),
            (Alphabet::Hex, "deadbeef00FF"),
        ] {
            let mut out = vec![7];
            decode(text, alphabet, &mut out).unwrap();
            assert_eq!(out, [7, 0xde, 0xad, 0xbe, 0xef, 0, 0xff], "{alphabet:?}");
        }
        for (alphabet, text) in
            [(Alphabet::Base64, "3q2-"), (Alphabet::Hex, "abc"), (Alphabet::Hex, "zz")]
        {
            assert!(decode(text, alphabet, &mut Vec::new()).is_err(), "{text}");
        }
    }
}
