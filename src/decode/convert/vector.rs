//! Vectors as pgvector's text: `[1,2]`, and `{1:0.5,3:2}/5` for sparse ones.

use super::{Context, Encoded, Refusal, WRONG_KIND, each, numeric};
use crate::decode::slot::Slot;
use std::io::Write as _;

/// How many bits pgvector keeps of each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// `halfvec`.
    Half,
    /// `vector` and `sparsevec`.
    Single,
    /// Text: whatever the source has.
    Any,
}

const TOO_FINE: Refusal = Refusal::Value("has a number that the vector's type would round");
const NOT_FINITE: Refusal = Refusal::Value("has a number that is not finite");
const NO_SPARSE: Refusal = Refusal::Value("is no sparse vector with dimensions and numbers");

/// `vector` and `halfvec` from an array of numbers.
pub fn dense(width: Width, bytes: &[u8], context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let mut first = true;
    out.push(b'[');
    each(bytes, context, &mut |_, slot, inner| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        put(width, numeric::double(false, slot, inner)?, out)
    })?;
    out.push(b']');
    Ok(())
}

/// `sparsevec` from a struct of dimensions and a map, its indexes counted from one as pgvector prints them.
pub fn sparse(width: Width, bytes: &[u8], context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let mut dimensions = None;
    let mut entries: Option<Vec<(i64, f64)>> = None;
    each(bytes, context, &mut |name, slot, inner| {
        match (name, *slot) {
            ("dimensions", Slot::Int(count)) => dimensions = Some(count),
            ("vector", Slot::Nested(bytes)) => {
                let entries = entries.insert(Vec::new());
                each(bytes, inner, &mut |index, slot, inner| {
                    // JSON without schema: an array of pairs.
                    if let Slot::Nested(pair) = *slot {
                        entries.push(read_pair(pair, inner)?);
                        return Ok(());
                    }
                    let index = index.parse().map_err(|_| NO_SPARSE)?;
                    entries.push((index, numeric::double(false, slot, inner)?));
                    Ok(())
                })?;
            }
            _ => return Err(NO_SPARSE),
        }
        Ok(())
    })?;
    let (Some(dimensions), Some(mut entries)) = (dimensions, entries) else {
        return Err(NO_SPARSE);
    };
    entries.sort_unstable_by_key(|(index, _)| *index);
    out.push(b'{');
    for (place, (index, value)) in entries.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write!(out, "{index}:").map_err(|_| WRONG_KIND)?;
        put(width, value, out)?;
    }
    write!(out, "}}/{dimensions}").map_err(|_| WRONG_KIND)
}

fn read_pair(bytes: &[u8], context: Context<'_>) -> Result<(i64, f64), Refusal> {
    let mut index = None;
    let mut value = None;
    each(bytes, context, &mut |_, slot, inner| {
        match (index, slot) {
            (None, Slot::Int(number)) => index = Some(*number),
            (Some(_), _) if value.is_none() => value = Some(numeric::double(false, slot, inner)?),
            _ => return Err(NO_SPARSE),
        }
        Ok(())
    })?;
    index.zip(value).ok_or(NO_SPARSE)
}

/// One number, by its shortest text in the type's own width, provided that it is the same number there.
fn put(width: Width, value: f64, out: &mut Vec<u8>) -> Encoded {
    if !value.is_finite() {
        return Err(NOT_FINITE);
    }
    if width == Width::Any {
        return write!(out, "{value}").map_err(|_| WRONG_KIND);
    }
    #[allow(clippy::cast_possible_truncation, reason = "compared with the original below")]
    let single = value as f32;
    let at = out.len();
    write!(out, "{single}").map_err(|_| WRONG_KIND)?;
    // A connector may have read the text of a 32-bit number as a 64-bit one: the same text then, and the same number.
    let written = out.get(at..).and_then(|text| std::str::from_utf8(text).ok());
    let same = f64::from(single).to_bits() == value.to_bits()
        || written.and_then(|text| text.parse::<f64>().ok()) == Some(value);
    if !same || (width == Width::Half && !is_half(single)) {
        return Err(TOO_FINE);
    }
    Ok(())
}

/// Do 16 bits hold this number: eleven significant bits, exponents from -14 to 15, below that multiples of 2^-24?
fn is_half(value: f32) -> bool {
    let magnitude = value.abs();
    if magnitude < 6.103_515_6e-5 {
        let steps = magnitude * 16_777_216.0;
        return steps.fract() == 0.0;
    }
    magnitude <= 65_504.0 && value.to_bits() & 0x1fff == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(width: Width, value: f64) -> Option<String> {
        let mut out = Vec::new();
        put(width, value, &mut out).ok().map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_number_is_written_only_if_the_type_holds_it() {
        assert_eq!(text(Width::Single, 0.1).as_deref(), Some("0.1"));
        assert_eq!(text(Width::Single, f64::from(0.1f32)).as_deref(), Some("0.1"));
        assert_eq!(text(Width::Single, 0.123_456_789_012), None);
        assert_eq!(text(Width::Any, 0.123_456_789_012).as_deref(), Some("0.123456789012"));
        assert_eq!(text(Width::Half, 0.5).as_deref(), Some("0.5"));
        assert_eq!(text(Width::Half, 0.1), None);
        assert_eq!(text(Width::Half, 0.099_975_586).as_deref(), Some("0.099975586"));
        assert_eq!(text(Width::Half, 65_504.0).as_deref(), Some("65504"));
        assert_eq!(text(Width::Half, 65_536.0), None);
        assert_eq!(text(Width::Half, 5.960_464_5e-8).as_deref(), Some("0.000000059604645"));
        assert_eq!(text(Width::Single, f64::NAN), None);
        assert_eq!(text(Width::Single, 1e300), None);
    }
}
