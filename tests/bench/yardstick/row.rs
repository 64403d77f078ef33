//! One row as a COPY BINARY tuple.

use super::plan::Slot;
use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

const FIELDS: i16 = 10;
/// Microseconds from 1970 to 2000.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

pub fn encode(
    out: &mut BytesMut,
    slots: &[Slot<'_>],
    deleted: bool,
    lsn: i64,
) -> anyhow::Result<()> {
    out.put_i16(FIELDS);
    for (column, slot) in slots.iter().take(8).enumerate() {
        match (column, slot) {
            (_, Slot::Null) => out.put_i32(-1),
            (2, Slot::Integer(value)) => {
                out.put_i32(4);
                out.put_i32(i32::try_from(*value)?);
            }
            (_, Slot::Integer(value)) => {
                out.put_i32(8);
                out.put_i64(*value);
            }
            (5 | 6, Slot::Text(text)) => {
                out.put_i32(8);
                out.put_i64(instant(text.as_bytes()).context("not a time")?);
            }
            // JSON holds the unscaled number's bytes in base64.
            (3, Slot::Text(text)) => {
                let mut bytes = [0; 24];
                let length = STANDARD.decode_slice(text, &mut bytes)?;
                numeric(out, &bytes[..length])?;
            }
            (_, Slot::Text(text)) => {
                out.put_i32(i32::try_from(text.len())?);
                out.put_slice(text.as_bytes());
            }
            (3, Slot::Bytes(bytes)) => numeric(out, bytes)?,
            (_, Slot::Bytes(_)) => bail!("bytes where none belong"),
        }
    }
    out.put_i32(8);
    out.put_i64(lsn);
    out.put_i32(1);
    out.put_u8(u8::from(deleted));
    Ok(())
}

/// `numeric(12,2)` of an unscaled two's complement number: digits of base 10,000.
fn numeric(out: &mut BytesMut, bytes: &[u8]) -> anyhow::Result<()> {
    let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
    let unscaled = bytes.iter().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte));
    let magnitude = unscaled.unsigned_abs();
    let (mut whole, hundredths) = (magnitude / 100, magnitude % 100);
    let mut digits = [0_u16; 6];
    let mut count = 0;
    while whole > 0 {
        digits[count] = u16::try_from(whole % 10_000)?;
        whole /= 10_000;
        count += 1;
    }
    let all = i16::try_from(count)? + i16::from(hundredths > 0);
    out.put_i32(8 + 2 * i32::from(all));
    out.put_i16(all);
    out.put_i16(i16::try_from(count)? - 1);
    out.put_u16(if unscaled < 0 { 0x4000 } else { 0 });
    out.put_i16(2);
    for digit in digits[..count].iter().rev() {
        out.put_u16(*digit);
    }
    if hundredths > 0 {
        out.put_u16(u16::try_from(hundredths * 100)?);
    }
    Ok(())
}

/// `2025-10-09T08:53:20.000000Z` as microseconds since 2000.
fn instant(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?
            .iter()
            .try_fold(0_i64, |n, digit| Some(n * 10 + i64::from(digit.checked_sub(b'0')?)))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days from the civil calendar, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = ((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let fraction = text.get(20..text.len().checked_sub(1)?).unwrap_or_default();
    let digits = i32::try_from(fraction.len()).ok()?;
    let fraction = number(20, 20 + fraction.len())?;
    let scale = 10_i64.pow(u32::try_from(6 - digits).ok()?);
    Some(seconds * 1_000_000 + fraction * scale - POSTGRES_EPOCH)
}
