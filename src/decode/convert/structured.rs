//! Reads Debezium's structured times: structs of calendar and clock parts (`time.precision.mode=structured`, 3.7).

use super::iso::{Cursor, DAY, Duration, days_of};
use super::{Context, Refusal, WRONG_KIND, each};
use crate::decode::slot::Slot;

const NO_DATE: Refusal = Refusal::Value("is no date of the calendar");
const NO_TIME: Refusal = Refusal::Value("is no time of day");
const INFINITE: Refusal = Refusal::Value("is infinite, which its type cannot be");
const NO_OFFSET: Refusal = Refusal::Value("names a time zone without its offset");
const TOO_FINE: Refusal = Refusal::Value("is finer than microseconds");
const TOO_LARGE: Refusal = Refusal::Value("is outside PostgreSQL's range");

/// Beyond what any type of PostgreSQL reaches; keeps the arithmetic in 64 bits.
const YEARS: std::ops::RangeInclusive<i64> = -10_000_000..=10_000_000;

/// The parts that a struct gave; what is absent or null is `None`.
#[derive(Debug, Default)]
pub struct Parts {
    /// Plus or minus infinity.
    pub infinite: Option<bool>,
    date: [Option<i64>; 3],
    clock: [Option<i64>; 3],
    picoseconds: i64,
    offset: Option<i64>,
    zone: Option<Option<i32>>,
    amounts: [Option<i64>; 6],
}

/// Reads a struct whole: a part that is not known is refused, not dropped.
pub fn read(bytes: &[u8], context: Context<'_>) -> Result<Parts, Refusal> {
    let mut parts = Parts::default();
    each(bytes, context, &mut |name, slot, inner| {
        let number = match slot {
            Slot::Null => return Ok(()),
            Slot::Int(number) => Some(*number),
            _ => None,
        };
        let text = inner.scratch.text(slot);
        match (name, number, text) {
            ("specialValue", None, Some("POSITIVE_INFINITY" | "infinity")) => {
                parts.infinite = Some(true);
            }
            ("specialValue", None, Some("NEGATIVE_INFINITY" | "-infinity")) => {
                parts.infinite = Some(false);
            }
            ("zoneId", None, Some(zone)) => parts.zone = Some(offset_of(zone)),
            ("precision", Some(_), _) => {}
            ("offsetSeconds", Some(number), _) => parts.offset = Some(number),
            ("picoseconds", Some(number), _) => parts.picoseconds = number,
            ("nanos", Some(number), _) => {
                parts.picoseconds = number.checked_mul(1000).ok_or(TOO_LARGE)?;
            }
            (name, Some(number), _) => *parts.place(name).ok_or(WRONG_KIND)? = Some(number),
            _ => return Err(WRONG_KIND),
        }
        Ok(())
    })?;
    Ok(parts)
}

/// The offset that a zone's name spells out; `None` for regions.
fn offset_of(zone: &str) -> Option<i32> {
    match zone {
        "Z" | "UTC" | "GMT" => Some(0),
        _ => Cursor::new(zone).whole_offset(),
    }
}

impl Parts {
    fn place(&mut self, name: &str) -> Option<&mut Option<i64>> {
        match name {
            "year" => self.date.get_mut(0),
            "month" => self.date.get_mut(1),
            "day" => self.date.get_mut(2),
            "hour" => self.clock.get_mut(0),
            "minute" => self.clock.get_mut(1),
            "second" => self.clock.get_mut(2),
            "years" => self.amounts.get_mut(0),
            "months" => self.amounts.get_mut(1),
            "days" => self.amounts.get_mut(2),
            "hours" => self.amounts.get_mut(3),
            "minutes" => self.amounts.get_mut(4),
            "seconds" => self.amounts.get_mut(5),
            _ => None,
        }
    }

    fn has_clock(&self) -> bool {
        self.clock.iter().any(Option::is_some) || self.picoseconds != 0
    }

    fn has_zone(&self) -> bool {
        self.offset.is_some() || self.zone.is_some()
    }

    fn micros(&self) -> Result<i64, Refusal> {
        if self.picoseconds % 1_000_000 == 0 {
            Ok(self.picoseconds / 1_000_000)
        } else {
            Err(TOO_FINE)
        }
    }

    fn days(&self) -> Result<i64, Refusal> {
        let [Some(year), Some(month), Some(day)] = self.date else { return Err(NO_DATE) };
        let (Ok(month), Ok(day)) = (u8::try_from(month), u8::try_from(day)) else {
            return Err(NO_DATE);
        };
        if !YEARS.contains(&year) {
            return Err(TOO_LARGE);
        }
        days_of(year, month, day).ok_or(NO_DATE)
    }

    /// Microseconds of the day, up to and with 24:00.
    fn time(&self) -> Result<i64, Refusal> {
        let [Some(hour), Some(minute), second] = self.clock else { return Err(NO_TIME) };
        let second = second.unwrap_or(0);
        let fraction = self.micros()?;
        let fits = (0..=24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..1_000_000).contains(&fraction);
        let micros = ((hour.wrapping_mul(60).wrapping_add(minute)).wrapping_mul(60))
            .wrapping_add(second)
            .wrapping_mul(1_000_000)
            .wrapping_add(fraction);
        if fits && micros <= DAY { Ok(micros) } else { Err(NO_TIME) }
    }

    fn is_finite(&self) -> Result<(), Refusal> {
        if self.infinite.is_some() { Err(INFINITE) } else { Ok(()) }
    }

    fn known_offset(&self) -> Result<i32, Refusal> {
        match (self.offset, self.zone) {
            (Some(offset), _) => i32::try_from(offset).map_err(|_| TOO_LARGE),
            (None, Some(Some(offset))) => Ok(offset),
            (None, _) => Err(NO_OFFSET),
        }
    }

    /// Days since 1970 of a date, which has no clock.
    pub fn as_date(&self) -> Result<i64, Refusal> {
        if self.has_clock() || self.has_zone() { Err(WRONG_KIND) } else { self.days() }
    }

    /// Microseconds of the day of a time, which has no date and no zone.
    pub fn as_time(&self) -> Result<i64, Refusal> {
        self.is_finite()?;
        if self.date.iter().any(Option::is_some) || self.has_zone() {
            return Err(WRONG_KIND);
        }
        self.time()
    }

    /// The same with a zone: microseconds of the day and seconds east.
    pub fn as_time_tz(&self) -> Result<(i64, i32), Refusal> {
        self.is_finite()?;
        if self.date.iter().any(Option::is_some) {
            return Err(WRONG_KIND);
        }
        Ok((self.time()?, self.known_offset()?))
    }

    /// Days since 1970 and microseconds of the day; no zone.
    pub fn as_timestamp(&self) -> Result<(i64, i64), Refusal> {
        if self.has_zone() { Err(WRONG_KIND) } else { Ok((self.days()?, self.time()?)) }
    }

    /// Days since 1970, microseconds of the day and seconds east.
    pub fn as_timestamp_tz(&self) -> Result<(i64, i64, i32), Refusal> {
        Ok((self.days()?, self.time()?, self.known_offset()?))
    }

    /// Amounts of each unit.
    pub fn as_duration(&self) -> Result<Duration, Refusal> {
        self.is_finite()?;
        if self.date.iter().any(Option::is_some) || self.has_zone() {
            return Err(WRONG_KIND);
        }
        if self.amounts.iter().all(Option::is_none) && self.clock.iter().all(Option::is_none) {
            return Err(Refusal::Value("is no duration"));
        }
        let [years, months, days, hours, minutes, seconds] =
            self.amounts.map(|amount| amount.unwrap_or(0));
        // A structured time is a duration too: MySQL's TIME reaches beyond a day.
        let [hour, minute, second] = self.clock.map(|part| part.unwrap_or(0));
        let sum = |terms: [(i64, i64); 3], rest: i64| {
            terms
                .iter()
                .try_fold(rest, |sum, (count, unit)| sum.checked_add(count.checked_mul(*unit)?))
        };
        let months = sum([(years, 12), (months, 1), (0, 0)], 0);
        let clock = [
            (hours.saturating_add(hour), 3_600_000_000),
            (minutes.saturating_add(minute), 60_000_000),
            (seconds.saturating_add(second), 1_000_000),
        ];
        Ok(Duration {
            months: months.and_then(|m| i32::try_from(m).ok()).ok_or(TOO_LARGE)?,
            days: i32::try_from(days).map_err(|_| TOO_LARGE)?,
            micros: sum(clock, self.micros()?).ok_or(TOO_LARGE)?,
        })
    }
}
