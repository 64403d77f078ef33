//! Dates, times and intervals, with PostgreSQL's ranges and Debezium's ways to write infinity.

use super::iso::{Cursor, DAY, Duration};
use super::{Context, Encoded, Refusal, WRONG_KIND, put_fixed, structured};
use crate::decode::slot::Slot;

/// What an integer on the wire counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Millis,
    Micros,
    Nanos,
}

const OUT_OF_RANGE: Refusal = Refusal::Value("is outside PostgreSQL's range");
const TOO_FINE: Refusal = Refusal::Value("is finer than the column");
const NOT_ISO: Refusal =
    Refusal::Value("is not the ISO 8601 text that its type announces, or finer than microseconds");

/// 2000-01-01 in days since 1970.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY;
/// `TZDISP_LIMIT` of `datatype/timestamp.h`, in seconds.
const MOST_OFFSET: i32 = 16 * 3600;
/// `IS_VALID_DATE` and `IS_VALID_TIMESTAMP` of `datatype/timestamp.h`.
const DATES: std::ops::Range<i64> = -2_451_545..2_145_031_949;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// The PostgreSQL driver's infinities as Debezium lets them through: streamed, then through `java.sql.Date` in snapshots,
/// where the day may be one off.
fn infinite_day(days: i64) -> Option<i32> {
    match days {
        -2_147_472_692 => Some(i32::MAX),
        -2_147_472_691 => Some(i32::MIN),
        -622_191_235..=-622_191_233 => Some(i32::MAX),
        -625_821_273..=-625_821_271 => Some(i32::MIN),
        _ => None,
    }
}

/// The same two as `time.precision.mode=isostring` writes them.
fn infinite_date_text(text: &str) -> Option<i32> {
    let starts = |prefix: &str| text.starts_with(prefix);
    if starts("infinity") || starts("-5877611-06-21") || starts("+292278994-08-1") {
        Some(i32::MAX)
    } else if starts("-infinity") || starts("-5877611-06-22") || starts("+292269055-12-0") {
        Some(i32::MIN)
    } else {
        None
    }
}

/// `date`: epoch days, ISO text or structured.
pub fn date(slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let days = match *slot {
        Slot::Int(days) => days,
        Slot::Nested(bytes) => {
            let parts = structured::read(bytes, context)?;
            if let Some(plus) = parts.infinite {
                put_fixed(out, if plus { i32::MAX } else { i32::MIN }.to_be_bytes());
                return Ok(());
            }
            // The connectors' numbers for infinity are none here.
            return put_date(parts.as_date()?, out);
        }
        _ => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            if let Some(infinite) = infinite_date_text(text) {
                put_fixed(out, infinite.to_be_bytes());
                return Ok(());
            }
            let mut cursor = Cursor::new(text);
            let days = cursor.date().ok_or(NOT_ISO)?;
            // Debezium's IsoDate ends in Z.
            cursor.take(b'Z');
            if !cursor.at_end() {
                return Err(NOT_ISO);
            }
            days
        }
    };
    put_date(days, out).or_else(|refusal| {
        put_fixed(out, infinite_day(days).ok_or(refusal)?.to_be_bytes());
        Ok(())
    })
}

fn put_date(days_since_1970: i64, out: &mut Vec<u8>) -> Encoded {
    let day = days_since_1970
        .checked_sub(EPOCH_DAYS)
        .filter(|day| DATES.contains(day))
        .and_then(|day| i32::try_from(day).ok());
    put_fixed(out, day.ok_or(OUT_OF_RANGE)?.to_be_bytes());
    Ok(())
}

fn to_micros(value: i64, unit: Unit) -> Result<i64, Refusal> {
    match unit {
        Unit::Millis => value.checked_mul(1000).ok_or(OUT_OF_RANGE),
        Unit::Micros => Ok(value),
        Unit::Nanos if value % 1000 == 0 => Ok(value / 1000),
        Unit::Nanos => Err(TOO_FINE),
    }
}

/// The column's own precision must not round.
#[inline]
fn check_digits(micros: i64, digits: u8) -> Encoded {
    let step = match digits {
        0 => 1_000_000,
        1 => 100_000,
        2 => 10_000,
        3 => 1000,
        4 => 100,
        5 => 10,
        _ => return Ok(()),
    };
    if micros % step == 0 { Ok(()) } else { Err(TOO_FINE) }
}

/// `time`: units since midnight, ISO text or structured.
pub fn time(
    unit: Unit,
    digits: u8,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    let micros = match *slot {
        Slot::Int(value) => to_micros(value, unit)?,
        Slot::Nested(bytes) => structured::read(bytes, context)?.as_time()?,
        _ => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            let mut cursor = Cursor::new(text);
            let clock =
                cursor.clock().filter(|c| cursor.at_end() && matches!(c.offset, None | Some(0)));
            clock.ok_or(NOT_ISO)?.micros
        }
    };
    if !(0..=DAY).contains(&micros) {
        return Err(OUT_OF_RANGE);
    }
    check_digits(micros, digits)?;
    put_fixed(out, micros.to_be_bytes());
    Ok(())
}

/// `timetz`: ISO text with an offset, or structured. PostgreSQL counts zones westwards.
pub fn time_tz(digits: u8, slot: &Slot<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Encoded {
    let (micros, east) = match *slot {
        Slot::Nested(bytes) => structured::read(bytes, context)?.as_time_tz()?,
        _ => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            let mut cursor = Cursor::new(text);
            let clock = cursor.clock().filter(|_| cursor.at_end()).ok_or(NOT_ISO)?;
            (clock.micros, clock.offset.ok_or(NOT_ISO)?)
        }
    };
    // `timetz_recv` checks the same.
    if east.abs() >= MOST_OFFSET {
        return Err(OUT_OF_RANGE);
    }
    check_digits(micros, digits)?;
    let mut value = [0; 12];
    let (head, tail) = value.split_at_mut(8);
    head.copy_from_slice(&micros.to_be_bytes());
    tail.copy_from_slice(&(-east).to_be_bytes());
    put_fixed(out, value);
    Ok(())
}

/// The driver's infinities in each unit (`PGStatement.DATE_POSITIVE_INFINITY` and its negative, shifted by Debezium).
pub fn infinite_timestamp(value: i64, unit: Unit) -> Option<i64> {
    match (unit, value) {
        (Unit::Millis, 9_223_372_036_825_200)
        | (Unit::Micros, 9_223_372_036_825_200_000)
        | (Unit::Nanos, i64::MAX) => Some(i64::MAX),
        (Unit::Millis, -9_223_372_036_832_400)
        | (Unit::Micros, -9_223_372_036_832_400_000)
        | (Unit::Nanos, i64::MIN) => Some(i64::MIN),
        _ => None,
    }
}

fn infinite_text(text: &str) -> Option<i64> {
    match text {
        "infinity"
        | "+294247-01-10T04:00:25.2Z"
        | "+294247-01-10T04:00:25.200Z"
        | "+294247-01-10T04:00:25.200000Z" => Some(i64::MAX),
        "-infinity"
        | "-290308-12-21T19:59:27.6Z"
        | "-290308-12-21T19:59:27.600Z"
        | "-290308-12-21T19:59:27.600000Z" => Some(i64::MIN),
        _ => None,
    }
}

fn put_timestamp(micros_since_1970: Option<i64>, digits: u8, out: &mut Vec<u8>) -> Encoded {
    let micros = micros_since_1970.filter(|m| TIMESTAMPS.contains(m)).ok_or(OUT_OF_RANGE)?;
    check_digits(micros, digits)?;
    put_fixed(out, micros.to_be_bytes());
    Ok(())
}

/// Microseconds since 2000; `None` when 64 bits are not enough.
fn since_2000(days: i64, micros: i64, offset: i32) -> Option<i64> {
    (days - EPOCH_DAYS).checked_mul(DAY)?.checked_add(micros - i64::from(offset) * 1_000_000)
}

/// `timestamp`: units since 1970 in local time, or ISO text whose `Z` means nothing.
#[inline]
pub fn timestamp(
    unit: Unit,
    digits: u8,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    if let Slot::Int(value) = *slot {
        if let Some(infinite) = infinite_timestamp(value, unit) {
            put_fixed(out, infinite.to_be_bytes());
            return Ok(());
        }
        // Milliseconds reach further than microseconds: shift the epoch before scaling up.
        let micros = match unit {
            Unit::Millis => {
                value.checked_sub(EPOCH_MICROS / 1000).and_then(|v| v.checked_mul(1000))
            }
            _ => to_micros(value, unit)?.checked_sub(EPOCH_MICROS),
        };
        return put_timestamp(micros, digits, out);
    }
    if let Slot::Nested(bytes) = *slot {
        let parts = structured::read(bytes, context)?;
        if let Some(plus) = parts.infinite {
            put_fixed(out, if plus { i64::MAX } else { i64::MIN }.to_be_bytes());
            return Ok(());
        }
        let (days, micros) = parts.as_timestamp()?;
        return put_timestamp(since_2000(days, micros, 0), digits, out);
    }
    let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
    if let Some(infinite) = infinite_text(text) {
        put_fixed(out, infinite.to_be_bytes());
        return Ok(());
    }
    let mut cursor = Cursor::new(text);
    let read =
        cursor.date_time().filter(|(_, c)| cursor.at_end() && matches!(c.offset, None | Some(0)));
    let (days, clock) = read.ok_or(NOT_ISO)?;
    put_timestamp(since_2000(days, clock.micros, 0), digits, out)
}

/// `timestamptz`: ISO text with an offset, or structured.
#[inline]
pub fn timestamp_tz(
    digits: u8,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    if let Slot::Nested(bytes) = *slot {
        let parts = structured::read(bytes, context)?;
        if let Some(plus) = parts.infinite {
            put_fixed(out, if plus { i64::MAX } else { i64::MIN }.to_be_bytes());
            return Ok(());
        }
        let (days, micros, offset) = parts.as_timestamp_tz()?;
        return put_timestamp(since_2000(days, micros, offset), digits, out);
    }
    let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
    let mut cursor = Cursor::new(text);
    if let Some((days, clock)) = cursor.date_time().filter(|_| cursor.at_end()) {
        let offset = clock.offset.ok_or(NOT_ISO)?;
        return put_timestamp(since_2000(days, clock.micros, offset), digits, out);
    }
    let infinite = match text {
        "infinity" => i64::MAX,
        "-infinity" => i64::MIN,
        _ => return Err(NOT_ISO),
    };
    put_fixed(out, infinite.to_be_bytes());
    Ok(())
}

/// `interval`: a count of units, an ISO duration or structured.
pub fn interval(
    unit: Unit,
    digits: u8,
    slot: &Slot<'_>,
    context: Context<'_>,
    out: &mut Vec<u8>,
) -> Encoded {
    let duration = match *slot {
        // Debezium saturates what 64 bits cannot count: that is no longer the value.
        Slot::Int(i64::MAX | i64::MIN) => return Err(OUT_OF_RANGE),
        Slot::Int(value) => Duration { micros: to_micros(value, unit)?, ..Duration::default() },
        Slot::Nested(bytes) => structured::read(bytes, context)?.as_duration()?,
        _ => {
            let text = context.scratch.text(slot).ok_or(WRONG_KIND)?;
            let mut cursor = Cursor::new(text);
            cursor.duration().ok_or(NOT_ISO)?
        }
    };
    check_digits(duration.micros, digits)?;
    let mut value = [0; 16];
    let (micros, rest) = value.split_at_mut(8);
    let (days, months) = rest.split_at_mut(4);
    micros.copy_from_slice(&duration.micros.to_be_bytes());
    days.copy_from_slice(&duration.days.to_be_bytes());
    months.copy_from_slice(&duration.months.to_be_bytes());
    put_fixed(out, value);
    Ok(())
}

#[cfg(test)]
#[path = "temporal_tests.rs"]
mod tests;
