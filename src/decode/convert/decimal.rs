//! Decimals of any length and scale to PostgreSQL's base 10,000 (`numeric_recv`).

use super::bytea::Alphabet;
use super::target::Limit;
use super::{Context, Encoded, Refusal, WRONG_KIND, bytea, each, finish, put_fixed};
use crate::decode::slot::Slot;
use num_bigint::BigInt;

/// How a number is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Connect's Decimal: the unscaled two's complement, base64 in JSON; a JSON number is taken as it stands.
    Unscaled(i32),
    /// Unscaled bytes whose scale nobody told (JSON without schema into `numeric` without modifier): refused.
    Scaleless,
    /// Text (`decimal.handling.mode=string`), integers and JSON numbers.
    Plain,
    /// A 32-bit float, by its shortest text.
    Single,
}

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const PLUS_INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// PostgreSQL's own limits without a modifier: digits before and after the point.
const MOST_BEFORE: i64 = 131_072;
const MOST_AFTER: i64 = 16_383;

const TOO_LARGE: Refusal = Refusal::Value("has more digits before the point than the column");
const TOO_FINE: Refusal = Refusal::Value("has more digits after the point than the column");
const NOT_A_NUMBER: Refusal = Refusal::Value("is no decimal number");

/// Writes one numeric field.
pub fn encode(
    source: Source,
    limit: Option<Limit>,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    match (*slot, source) {
        (Slot::Bytes(bytes), Source::Unscaled(scale)) => unscaled(bytes, scale, limit, out),
        (Slot::Int(value), _) => small(value < 0, u128::from(value.unsigned_abs()), 0, limit, out),
        (Slot::Unsigned(value), _) => small(false, u128::from(value), 0, limit, out),
        (Slot::Number(number), Source::Single) => {
            let value = number.parse::<f32>().map_err(|_| NOT_A_NUMBER)?;
            if value.is_finite() { shortest(value, limit, out) } else { Err(NOT_A_NUMBER) }
        }
        (Slot::Number(number), _) => text(number, limit, out),
        (Slot::Float(value), _) => shortest(value, limit, out),
        (Slot::Double(value), _) => shortest(value, limit, out),
        (Slot::Nested(bytes), _) => variable_scale(bytes, limit, context, out),
        _ => {
            let written = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            match source {
                Source::Unscaled(scale) => {
                    bytea::with_decoded(written, Alphabet::Base64, |bytes| {
                        unscaled(bytes, scale, limit, out)
                    })
                }
                Source::Scaleless => Err(Refusal::Value(
                    "is an unscaled decimal, and neither schema nor column tells its scale",
                )),
                Source::Plain | Source::Single => text(written, limit, out),
            }
        }
    }
}

/// A Decimal of scale 0 as an integer; `None` when 64 bits are not enough.
pub fn whole(slot: &Slot<'_>, context: Context<'_>) -> Result<Option<i64>, Refusal> {
    let mut found = None;
    let mut take = |bytes: &[u8]| {
        found = short(bytes).and_then(|value| i64::try_from(value).ok());
        Ok(())
    };
    match *slot {
        Slot::Int(value) => return Ok(Some(value)),
        Slot::Unsigned(_) | Slot::Number(_) => return Ok(None),
        Slot::Bytes(bytes) => take(bytes)?,
        _ => {
            let written = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            bytea::with_decoded(written, Alphabet::Base64, take)?;
        }
    }
    Ok(found)
}

/// Debezium's VariableScaleDecimal: a struct of `scale` and `value`.
pub fn variable_scale(
    bytes: &[u8],
    limit: Option<Limit>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    with_variable_scale(bytes, context, &mut |value, scale| unscaled(value, scale, limit, out))
}

/// Takes a VariableScaleDecimal apart and hands its unscaled bytes and scale on.
pub fn with_variable_scale(
    bytes: &[u8],
    context: Context<'_>,
    take: &mut dyn FnMut(&[u8], i32) -> Encoded,
) -> Encoded {
    // Two passes, because nothing promises that the scale comes first.
    let mut scale = None;
    each(bytes, context, &mut |name, slot, _| {
        if let ("scale", Slot::Int(value)) = (name, slot) {
            scale = i32::try_from(*value).ok();
        }
        Ok(())
    })?;
    let scale = scale.ok_or(NOT_A_NUMBER)?;
    let mut seen = false;
    each(bytes, context, &mut |name, slot, inner| {
        if name != "value" {
            return Ok(());
        }
        seen = true;
        match *slot {
            Slot::Bytes(value) => take(value, scale),
            _ => {
                let written = inner.scratch.text(slot).ok_or(WRONG_KIND)?;
                bytea::with_decoded(written, Alphabet::Base64, |value| take(value, scale))
            }
        }
    })?;
    if seen { Ok(()) } else { Err(NOT_A_NUMBER) }
}

/// A scale above 1023 is a negative one whose 11 bits Debezium reads as unsigned (`numeric(5,-2)` arrives as 2046, and
/// its values really carry that many zeros): nobody wants to see those.
fn shown(scale: i32) -> i32 {
    if (1024..2048).contains(&scale) { scale - 2048 } else { scale }
}

/// The declared scale of a Decimal, with the negative ones restored.
pub fn declared_scale(scale: i32) -> i32 {
    shown(scale)
}

fn unscaled(bytes: &[u8], scale: i32, limit: Option<Limit>, out: &mut Vec<u8>) -> Encoded {
    if let Some(value) = short(bytes) {
        let magnitude = value.unsigned_abs();
        if scale == shown(scale) || magnitude == 0 {
            let scale = if magnitude == 0 { shown(scale) } else { scale };
            return small(value < 0, magnitude, scale, limit, out);
        }
    }
    long(bytes, scale, limit, out)
}

/// Two's complement of up to 16 bytes.
#[inline]
fn short(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    if let Some(tail) = 8usize.checked_sub(bytes.len()) {
        let mut wide = if first & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
        wide.get_mut(tail..)?.copy_from_slice(bytes);
        return Some(i128::from(i64::from_be_bytes(wide)));
    }
    let tail = 16usize.checked_sub(bytes.len())?;
    let mut wide = if first & 0x80 == 0 { [0; 16] } else { [0xff; 16] };
    wide.get_mut(tail..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// The rare long way: through decimal text.
fn long(bytes: &[u8], scale: i32, limit: Option<Limit>, out: &mut Vec<u8>) -> Encoded {
    let written = BigInt::from_signed_bytes_be(bytes).to_string();
    let (negative, digits) = match written.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, written.as_str()),
    };
    let number =
        Written { negative, whole: digits.as_bytes(), fraction: &[], exponent: -i64::from(scale) };
    number.put(limit, Some(i64::from(shown(scale))), out)
}

/// Numbers of up to 128 bits: no text, no allocation.
#[inline]
fn small(
    negative: bool,
    magnitude: u128,
    scale: i32,
    limit: Option<Limit>,
    out: &mut Vec<u8>,
) -> Encoded {
    let display =
        u16::try_from(scale.max(0)).ok().filter(|s| i64::from(*s) <= MOST_AFTER).ok_or(TOO_FINE)?;
    if magnitude == 0 {
        put_fixed(out, header(0, 0, POSITIVE, display));
        return Ok(());
    }
    check_small(magnitude, scale, limit)?;
    let sign = if negative { NEGATIVE } else { POSITIVE };
    // Groups of four digits start at the point: pad the lowest one.
    let padding = (-i64::from(scale)).rem_euclid(4);
    let group = (-i64::from(scale) - padding) / 4;
    let factor = [1u128, 10, 100, 1000][usize::try_from(padding).unwrap_or(0)];
    let Some(aligned) = magnitude.checked_mul(factor) else {
        let mut buffer = [0u8; 40];
        let digits = decimal_digits(magnitude, &mut buffer);
        let number =
            Written { negative, whole: digits, fraction: &[], exponent: -i64::from(scale) };
        return number.put(limit, Some(i64::from(scale)), out);
    };
    put_groups(sign, aligned, group, display, out)
}

fn decimal_digits(mut magnitude: u128, buffer: &mut [u8; 40]) -> &[u8] {
    let mut first = buffer.len();
    for (at, place) in buffer.iter_mut().enumerate().rev() {
        if magnitude == 0 {
            break;
        }
        *place = b'0' + u8::try_from(magnitude % 10).unwrap_or(0);
        magnitude /= 10;
        first = at;
    }
    buffer.get(first..).unwrap_or_default()
}

fn check_small(magnitude: u128, scale: i32, limit: Option<Limit>) -> Encoded {
    let digits = match u64::try_from(magnitude) {
        Ok(short) => short.ilog10(),
        Err(_) => magnitude.ilog10(),
    };
    let top = i64::from(digits) - i64::from(scale);
    let Some(limit) = limit else {
        return if top < MOST_BEFORE { Ok(()) } else { Err(TOO_LARGE) };
    };
    if top >= i64::from(limit.precision) - i64::from(limit.scale) {
        return Err(TOO_LARGE);
    }
    if scale > limit.scale {
        let surplus = u32::try_from(i64::from(scale) - i64::from(limit.scale)).unwrap_or(u32::MAX);
        let whole =
            10u128.checked_pow(surplus).is_some_and(|power| magnitude.is_multiple_of(power));
        if !whole {
            return Err(TOO_FINE);
        }
    }
    Ok(())
}

/// Cuts `aligned` into groups of four digits, the lowest of which has weight `group`.
#[inline]
fn put_groups(
    sign: u16,
    mut aligned: u128,
    mut group: i64,
    display: u16,
    out: &mut Vec<u8>,
) -> Encoded {
    // Length and header (12 bytes), then 42 digits at most: eleven groups, written from the end.
    let mut buffer = [0u8; 36];
    let mut from = buffer.len();
    let mut count = 0i64;
    let mut put = |digit: u16| {
        if digit == 0 && count == 0 {
            group += 1;
            return;
        }
        from -= 2;
        if let Some(place) = buffer.get_mut(from..from + 2) {
            place.copy_from_slice(&digit.to_be_bytes());
        }
        count += 1;
    };
    while aligned > u128::from(u64::MAX) {
        put(u16::try_from(aligned % 10_000).unwrap_or(0));
        aligned /= 10_000;
    }
    let mut short = u64::try_from(aligned).unwrap_or(0);
    while short != 0 {
        put(u16::try_from(short % 10_000).unwrap_or(0));
        short /= 10_000;
    }
    let weight = i16::try_from(group + count - 1).map_err(|_| TOO_LARGE)?;
    let groups = i16::try_from(count).map_err(|_| TOO_LARGE)?;
    let length = i32::from(groups) * 2 + 8;
    from -= 12;
    if let Some(head) = buffer.get_mut(from..from + 12) {
        let (size, rest) = head.split_at_mut(4);
        size.copy_from_slice(&length.to_be_bytes());
        rest.copy_from_slice(&header(groups, weight, sign, display));
    }
    out.extend_from_slice(buffer.get(from..).unwrap_or_default());
    Ok(())
}

fn header(groups: i16, weight: i16, sign: u16, display: u16) -> [u8; 8] {
    let [a, b] = groups.to_be_bytes();
    let [c, d] = weight.to_be_bytes();
    let [e, f] = sign.to_be_bytes();
    let [g, h] = display.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Floats that stand for decimals (`decimal.handling.mode=double`): the shortest text that reads back as the same float.
fn shortest<F: std::fmt::LowerExp + Into<f64> + Copy>(
    value: F,
    limit: Option<Limit>,
    out: &mut Vec<u8>,
) -> Encoded {
    use std::io::Write as _;
    let wide: f64 = value.into();
    if wide.is_nan() {
        return text("NaN", limit, out);
    }
    if wide.is_infinite() {
        return text(if wide > 0.0 { "Infinity" } else { "-Infinity" }, limit, out);
    }
    let mut buffer = [0u8; 40];
    let mut rest: &mut [u8] = &mut buffer;
    write!(rest, "{value:e}").map_err(|_| NOT_A_NUMBER)?;
    let unused = rest.len();
    let written =
        buffer.get(..40 - unused).and_then(|b| std::str::from_utf8(b).ok()).ok_or(NOT_A_NUMBER)?;
    text(written, limit, out)
}

/// A number as text, with the names that Debezium and PostgreSQL give to what is no number.
pub fn text(written: &str, limit: Option<Limit>, out: &mut Vec<u8>) -> Encoded {
    let sign = match written {
        "NaN" | "NAN" => NAN,
        "Infinity" | "POSITIVE_INFINITY" => PLUS_INFINITY,
        "-Infinity" | "NEGATIVE_INFINITY" => MINUS_INFINITY,
        _ => {
            let number = Written::parse(written).ok_or(NOT_A_NUMBER)?;
            if let Some((magnitude, scale)) = number.short() {
                return small(number.negative, magnitude, scale, limit, out);
            }
            return number.put(limit, None, out);
        }
    };
    if sign != NAN && limit.is_some() {
        return Err(TOO_LARGE);
    }
    put_fixed(out, header(0, 0, sign, 0));
    Ok(())
}

/// A decimal number as it is written: `whole.fraction` times ten to the `exponent`.
struct Written<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Written<'a> {
    fn parse(written: &'a str) -> Option<Self> {
        let (negative, rest) = match written.as_bytes().first()? {
            b'-' => (true, written.get(1..)?),
            b'+' => (false, written.get(1..)?),
            _ => (false, written),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let some = !(whole.is_empty() && fraction.is_empty());
        (some && digits(whole) && digits(fraction)).then(|| Self {
            negative,
            whole: whole.as_bytes(),
            fraction: fraction.as_bytes(),
            exponent: i64::from(exponent),
        })
    }

    /// Magnitude and scale, if 64 bits are enough.
    fn short(&self) -> Option<(u128, i32)> {
        if self.whole.len() + self.fraction.len() > 18 {
            return None;
        }
        let digits = self.whole.iter().chain(self.fraction);
        let magnitude = digits.fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Some((u128::from(magnitude), i32::try_from(self.scale()).ok()?))
    }

    fn scale(&self) -> i64 {
        i64::try_from(self.fraction.len()).unwrap_or(i64::MAX).saturating_sub(self.exponent)
    }

    /// Digit by digit. `display`: the scale to show when it is not the written one; digits below it must be zero.
    fn put(&self, limit: Option<Limit>, display: Option<i64>, out: &mut Vec<u8>) -> Encoded {
        let count = i64::try_from(self.whole.len() + self.fraction.len()).map_err(|_| TOO_LARGE)?;
        let digits = || self.whole.iter().chain(self.fraction).map(|digit| u16::from(digit - b'0'));
        let display = display.unwrap_or_else(|| self.scale());
        let shown = u16::try_from(display.max(0))
            .ok()
            .filter(|s| i64::from(*s) <= MOST_AFTER)
            .ok_or(TOO_FINE)?;
        let Some(leading) = digits().position(|digit| digit != 0) else {
            put_fixed(out, header(0, 0, POSITIVE, shown));
            return Ok(());
        };
        let trailing = digits().rev().take_while(|digit| *digit == 0).count();
        let lowest = -self.scale() + i64::try_from(trailing).map_err(|_| TOO_LARGE)?;
        let highest = -self.scale() + count - 1 - i64::try_from(leading).map_err(|_| TOO_LARGE)?;
        let (before, after) = match limit {
            Some(limit) => {
                (i64::from(limit.precision) - i64::from(limit.scale), i64::from(limit.scale))
            }
            None => (MOST_BEFORE, MOST_AFTER),
        };
        if highest >= before {
            return Err(TOO_LARGE);
        }
        if lowest < -after.min(display) {
            return Err(TOO_FINE);
        }
        let weight = highest.div_euclid(4);
        let groups = weight - lowest.div_euclid(4) + 1;
        let at = super::begin(out);
        let head = (i16::try_from(groups), i16::try_from(weight));
        let (Ok(groups), Ok(weight)) = head else { return Err(TOO_LARGE) };
        out.extend_from_slice(&header(
            groups,
            weight,
            if self.negative { NEGATIVE } else { POSITIVE },
            shown,
        ));
        let mut group = 0u16;
        let mut power = highest;
        let significant = usize::try_from(highest - lowest + 1).map_err(|_| TOO_LARGE)?;
        for digit in digits().skip(leading).take(significant) {
            group = group * 10 + digit;
            if power.rem_euclid(4) == 0 {
                out.extend_from_slice(&group.to_be_bytes());
                group = 0;
            }
            power -= 1;
        }
        let open = lowest.rem_euclid(4);
        if open != 0 {
            group *= [1, 10, 100, 1000][usize::try_from(open).unwrap_or(0)];
            out.extend_from_slice(&group.to_be_bytes());
        }
        finish(out, at)
    }
}

/// Text of an unscaled decimal, for columns that are staged as text.
pub fn plain_text(bytes: &[u8], scale: i32, out: &mut Vec<u8>) {
    let value = BigInt::from_signed_bytes_be(bytes);
    let written = value.magnitude().to_string();
    if value.sign() == num_bigint::Sign::Minus {
        out.push(b'-');
    }
    let Ok(places) = usize::try_from(scale) else {
        out.extend_from_slice(written.as_bytes());
        out.extend(std::iter::repeat_n(b'0', usize::try_from(scale.unsigned_abs()).unwrap_or(0)));
        return;
    };
    let zeros = (places + 1).saturating_sub(written.len());
    let padded: Vec<u8> = std::iter::repeat_n(b'0', zeros).chain(written.bytes()).collect();
    let (whole, fraction) = padded.split_at(padded.len() - places);
    out.extend_from_slice(whole);
    if places > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

#[cfg(test)]
#[path = "decimal_tests.rs"]
mod tests;
