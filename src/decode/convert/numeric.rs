//! Booleans, integers and floats.

use super::{Context, Encoded, Refusal, WRONG_KIND, put_fixed};
use crate::decode::slot::Slot;

/// Width of an integer column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Int2,
    Int4,
    Int8,
    /// Unsigned, four bytes.
    Oid,
}

pub fn boolean(slot: &Slot<'_>, out: &mut Vec<u8>) -> Encoded {
    match *slot {
        Slot::Bool(value) => {
            put_fixed(out, [u8::from(value)]);
            Ok(())
        }
        _ => Err(WRONG_KIND),
    }
}

#[inline]
pub fn integer(width: Width, slot: &Slot<'_>, out: &mut Vec<u8>) -> Encoded {
    let Slot::Int(value) = *slot else {
        return Err(match slot {
            Slot::Unsigned(_) | Slot::Number(_) => {
                Refusal::Value("is no integer of the column's range")
            }
            _ => WRONG_KIND,
        });
    };
    match width {
        Width::Int2 => {
            put_fixed(out, i16::try_from(value).map_err(|_| OUT_OF_RANGE)?.to_be_bytes())
        }
        Width::Int4 => {
            put_fixed(out, i32::try_from(value).map_err(|_| OUT_OF_RANGE)?.to_be_bytes())
        }
        Width::Int8 => put_fixed(out, value.to_be_bytes()),
        Width::Oid => put_fixed(out, u32::try_from(value).map_err(|_| OUT_OF_RANGE)?.to_be_bytes()),
    }
    Ok(())
}

pub const OUT_OF_RANGE: Refusal = Refusal::Value("is out of the integer's range");

/// `real`: refuses what a 32-bit float cannot hold exactly, unless it came as text (then it is the nearest one, which is
/// how Debezium prints a `real`).
pub fn float4(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let value = match *slot {
        Slot::Float(value) => value,
        Slot::Double(wide) => {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "compared with the original in the next line"
            )]
            let value = wide as f32;
            if f64::from(value).to_bits() != wide.to_bits() && !wide.is_nan() {
                return Err(Refusal::Value("is no 32-bit float"));
            }
            value
        }
        Slot::Int(int) => {
            #[allow(
                clippy::cast_precision_loss,
                reason = "compared with the original in the next line"
            )]
            let value = int as f32;
            if !is_exactly(f64::from(value), int) {
                return Err(Refusal::Value("is an integer that no 32-bit float holds exactly"));
            }
            value
        }
        Slot::Number(text) => {
            let value = parse::<f32>(text)?;
            // No 32-bit float needs more than nine digits to be told from all others, so this is a wider number.
            if digits(text) > 9 && f64::from(value).to_bits() != parse::<f64>(text)?.to_bits() {
                return Err(Refusal::Value("is no 32-bit float"));
            }
            value
        }
        _ => special(slot, context)?,
    };
    put_fixed(out, value.to_be_bytes());
    Ok(())
}

/// `double precision`. `single`: the source is a 32-bit float, so its text is read as one before it is widened.
pub fn float8(single: bool, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    put_fixed(out, double(single, slot, context)?.to_be_bytes());
    Ok(())
}

/// A number as a 64-bit float, if it is one exactly or was written as text.
pub fn double(single: bool, slot: &Slot<'_>, context: Context<'_>) -> Result<f64, Refusal> {
    Ok(match *slot {
        Slot::Double(value) => value,
        Slot::Float(value) => f64::from(value),
        Slot::Int(int) => {
            #[allow(
                clippy::cast_precision_loss,
                reason = "compared with the original in the next line"
            )]
            let value = int as f64;
            if !is_exactly(value, int) {
                return Err(Refusal::Value("is an integer that no 64-bit float holds exactly"));
            }
            value
        }
        Slot::Number(text) if single => f64::from(parse::<f32>(text)?),
        // A decimal, not a float: that has 17 digits at most.
        Slot::Number(text) if digits(text) > 17 => {
            return Err(Refusal::Value("has more digits than a 64-bit float"));
        }
        Slot::Number(text) => parse::<f64>(text)?,
        _ => f64::from(special(slot, context)?),
    })
}

/// Significant digits of a JSON number, without zeros at either end.
fn digits(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    let (mut count, mut zeros) = (0, 0);
    for digit in digits {
        count += 1;
        zeros = if digit == b'0' { zeros + 1 } else { 0 };
    }
    count - zeros
}

/// Is the float this very integer? In 128 bits, where nothing saturates.
fn is_exactly(float: f64, integer: i64) -> bool {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "floats made from 64-bit integers fit 128 bits"
    )]
    let back = float as i128;
    back == i128::from(integer)
}

/// The values that JSON numbers cannot express, as Kafka's JSON converter quotes them.
fn special(slot: &Slot<'_>, context: Context<'_>) -> Result<f32, Refusal> {
    match context.scratch.text(slot) {
        Some("NaN") => Ok(f32::NAN),
        Some("Infinity") => Ok(f32::INFINITY),
        Some("-Infinity") => Ok(f32::NEG_INFINITY),
        _ => Err(WRONG_KIND),
    }
}

trait Finite: std::str::FromStr {
    fn finite(&self) -> bool;
}

impl Finite for f32 {
    fn finite(&self) -> bool {
        self.is_finite()
    }
}

impl Finite for f64 {
    fn finite(&self) -> bool {
        self.is_finite()
    }
}

fn parse<T: Finite>(text: &str) -> Result<T, Refusal> {
    text.parse::<T>()
        .ok()
        .filter(Finite::finite)
        .ok_or(Refusal::Value("is out of the float's range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::convert::array::tests::NoNested;
    use crate::decode::slot::Scratch;

    fn run(encode: impl Fn(Context<'_>, &mut Vec<u8>) -> Encoded) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let scratch = Scratch::default();
        encode(Context::new(&NoNested, &scratch), &mut out).ok().map(|()| out)
    }

    #[test]
    fn integers_are_checked_against_their_width() {
        for (width, value, fits) in [
            (Width::Int2, 32_767, true),
            (Width::Int2, 32_768, false),
            (Width::Int2, -32_769, false),
            (Width::Int4, i64::from(i32::MIN), true),
            (Width::Int4, i64::from(i32::MAX) + 1, false),
            (Width::Int8, i64::MIN, true),
            (Width::Oid, 4_294_967_295, true),
            (Width::Oid, -1, false),
        ] {
            let done = run(|_, out| integer(width, &Slot::Int(value), out));
            assert_eq!(done.is_some(), fits, "{width:?} {value}");
        }
        assert_eq!(
            run(|_, out| integer(Width::Int2, &Slot::Int(-2), out)),
            Some(vec![0, 0, 0, 2, 255, 254])
        );
    }

    #[test]
    fn a_float_is_never_rounded_on_its_way_from_binary() {
        assert!(run(|c, out| float4(&Slot::Double(0.5), c, out)).is_some());
        assert!(run(|c, out| float4(&Slot::Double(0.1), c, out)).is_none());
        assert!(run(|c, out| float4(&Slot::Number("0.1"), c, out)).is_some());
        assert!(run(|c, out| float4(&Slot::Number("1e39"), c, out)).is_none());
        assert!(run(|c, out| float4(&Slot::Int((1 << 24) + 1), c, out)).is_none());
        assert!(run(|c, out| float4(&Slot::Int(1 << 60), c, out)).is_some());
        assert!(run(|c, out| float8(false, &Slot::Int((1 << 53) + 1), c, out)).is_none());
        assert!(run(|c, out| float8(false, &Slot::Int(i64::MAX), c, out)).is_none());
        assert!(run(|c, out| float8(false, &Slot::Int(i64::MIN), c, out)).is_some());
        let widened = run(|c, out| float8(true, &Slot::Number("0.1"), c, out)).unwrap();
        assert_eq!(&widened[4..], f64::from(0.1f32).to_be_bytes());
    }

    #[test]
    fn quoted_specials_are_floats() {
        let infinite = run(|c, out| float8(false, &Slot::Text("-Infinity"), c, out)).unwrap();
        assert_eq!(&infinite[4..], f64::NEG_INFINITY.to_be_bytes());
        assert!(run(|c, out| float4(&Slot::Text("NaN"), c, out)).is_some());
        assert!(run(|c, out| float4(&Slot::Text("nan"), c, out)).is_none());
    }
}
