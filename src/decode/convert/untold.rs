//! Times of JSON without schema in Debezium's adaptive modes, where the unit is known by the source column's digits alone.
//!
//! # Decisions
//! - The Silver column's digits stand for the source's. Where a column of yours is wider than the source's, every value
//!   would land a thousand times too early or too late, in silence. A value whose other reading is a time of our days is
//!   refused; what is right and refused are times from 8 January to 17 April 1970, and those of the first 86 seconds of
//!   a day. A fixed `time_precision_mode`, or a schema, leaves nothing to guess.

use super::temporal::{Unit, infinite_timestamp};
use super::{Encoded, Refusal};
use crate::decode::slot::Slot;

const UNIT: Refusal = Refusal::Value(
    "counts milliseconds, microseconds or nanoseconds, and only a schema or a fixed time_precision_mode tells which",
);

/// 1990 and 2262 in seconds since 1970: the times of our days, as far as nanoseconds reach.
const FROM: i64 = 631_152_000;
const TO: i64 = 9_223_372_036;

/// Refuses a timestamp that is one of our days in another unit than the guessed one.
pub fn timestamp(unit: Unit, slot: &Slot<'_>) -> Encoded {
    let Slot::Int(value) = *slot else { return Ok(()) };
    if infinite_timestamp(value, unit).is_some() {
        return Ok(());
    }
    let doubtful = match unit {
        Unit::Millis => value >= FROM * 1_000_000,
        Unit::Micros => (FROM * 1000..=TO * 1000).contains(&value) || value >= FROM * 1_000_000_000,
        Unit::Nanos => false,
    };
    if doubtful { Err(UNIT) } else { Ok(()) }
}

/// The same for a time of day: microseconds that may be milliseconds from one minute after midnight on.
pub fn time(unit: Unit, slot: &Slot<'_>) -> Encoded {
    match *slot {
        Slot::Int(60_000..=86_400_000) if unit == Unit::Micros => Err(UNIT),
        _ => Ok(()),
    }
}
