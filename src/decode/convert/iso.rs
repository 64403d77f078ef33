//! Reads the ISO 8601 text that Debezium writes: dates of any year, times, offsets, durations. Exact, no allocation.

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// A cursor over ASCII text.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

/// A clock reading: microseconds since midnight, up to and with 24:00, and the offset in seconds east of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub micros: i64,
    pub offset: Option<i32>,
}

/// A duration in PostgreSQL's three units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duration {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text.as_bytes() }
    }

    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly two digits.
    #[inline]
    fn two(&mut self) -> Option<u8> {
        let (&[tens, ones], rest) = self.rest.split_first_chunk::<2>()?;
        if !(tens.is_ascii_digit() && ones.is_ascii_digit()) {
            return None;
        }
        self.rest = rest;
        Some((tens - b'0') * 10 + (ones - b'0'))
    }

    /// One to eighteen digits.
    fn number(&mut self) -> Option<(i64, usize)> {
        let mut value = 0i64;
        let mut count = 0;
        while let Some((digit, rest)) = self.rest.split_first() {
            if !digit.is_ascii_digit() {
                break;
            }
            if count == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
            self.rest = rest;
        }
        (count > 0).then_some((value, count))
    }

    /// Digits after a point as microseconds; finer ones must be zero.
    #[inline]
    fn fraction(&mut self) -> Option<i64> {
        const UNITS: [i64; 7] = [1_000_000, 100_000, 10_000, 1000, 100, 10, 1];
        let (mut value, mut count) = (0_i64, 0_usize);
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            if count < 6 {
                value = value * 10 + i64::from(digit - b'0');
            } else if *digit != b'0' {
                return None;
            }
            count += 1;
            self.rest = rest;
        }
        (count > 0).then_some(value * UNITS[count.min(6)])
    }

    /// `2026-02-28`, `-4712-11-24`, `+294276-12-31`: days since 1970 in the proleptic calendar, year 0 being 1 BC.
    #[inline]
    pub fn date(&mut self) -> Option<i64> {
        let negative = self.take(b'-');
        if !negative {
            self.take(b'+');
        }
        let (year, digits) = self.number()?;
        if !(4..=10).contains(&digits) || !self.take(b'-') {
            return None;
        }
        let month = self.two()?;
        if !self.take(b'-') {
            return None;
        }
        let day = self.two()?;
        days_of(if negative { -year } else { year }, month, day)
    }

    /// `12:34`, `12:34:56.789012` with `Z` or an offset behind it, or nothing.
    #[inline]
    pub fn clock(&mut self) -> Option<Clock> {
        let hour = i64::from(self.two()?);
        if !self.take(b':') {
            return None;
        }
        let minute = i64::from(self.two()?);
        let mut second = 0;
        let mut fraction = 0;
        if self.take(b':') {
            second = i64::from(self.two()?);
            if self.take(b'.') {
                fraction = self.fraction()?;
            }
        }
        self.clock_of(hour, minute, second, fraction)
    }

    /// Checks what was read of a clock, and reads the offset behind it.
    #[inline]
    fn clock_of(&mut self, hour: i64, minute: i64, second: i64, fraction: i64) -> Option<Clock> {
        if hour > 24 || minute > 59 || second > 59 {
            return None;
        }
        let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction;
        if micros > DAY {
            return None;
        }
        Some(Clock { micros, offset: self.offset()? })
    }

    /// The outer `None` is an error, the inner one says that there is no offset.
    fn offset(&mut self) -> Option<Option<i32>> {
        if self.take(b'Z') {
            return Some(Some(0));
        }
        let west = self.take(b'-');
        if !west && !self.take(b'+') {
            return Some(None);
        }
        let hours = i32::from(self.two()?);
        let mut part = || if self.take(b':') { self.two().map(i32::from) } else { Some(0) };
        let (minutes, seconds) = (part()?, part()?);
        // PostgreSQL's own bound, MAX_TZDISP_HOUR.
        if hours > 15 || minutes > 59 || seconds > 59 {
            return None;
        }
        let east = hours * 3600 + minutes * 60 + seconds;
        Some(Some(if west { -east } else { east }))
    }

    /// An offset and nothing behind it, as seconds east.
    pub fn whole_offset(&mut self) -> Option<i32> {
        self.offset()?.filter(|_| self.at_end())
    }

    /// `2026-02-28T12:34:56.789Z`: days since 1970 and the clock.
    #[inline]
    pub fn date_time(&mut self) -> Option<(i64, Clock)> {
        if let Some(read) = self.four_digit_year() {
            return Some(read);
        }
        let days = self.date()?;
        if !self.take(b'T') && !self.take(b' ') {
            return None;
        }
        Some((days, self.clock()?))
    }

    /// The form that nearly every text has, in one piece; `None` for any other, and then nothing of it is taken.
    #[inline]
    fn four_digit_year(&mut self) -> Option<(i64, Clock)> {
        let (date, rest) = self.rest.split_first_chunk::<8>()?;
        let (&[tens, ones, b'T' | b' '], rest) = rest.split_first_chunk::<3>()? else {
            return None;
        };
        let (clock, rest) = rest.split_first_chunk::<8>()?;
        let [century, _, year, _, _, month, ..] = pairs(*date, *b"0000-00-")?;
        let [hour, _, _, minute, _, _, second, _] = pairs(*clock, *b"00:00:00")?;
        if !(tens.is_ascii_digit() && ones.is_ascii_digit()) {
            return None;
        }
        let day = (tens - b'0') * 10 + (ones - b'0');
        let days = days_of(i64::from(century) * 100 + i64::from(year), month, day)?;
        let mut behind = Cursor { rest };
        let fraction = if behind.take(b'.') { behind.fraction()? } else { 0 };
        let [hour, minute, second] = [hour, minute, second].map(i64::from);
        let clock = behind.clock_of(hour, minute, second, fraction)?;
        *self = behind;
        Some((days, clock))
    }

    /// `P1Y2M3DT4H5M6.78S`, each part with a sign of its own.
    pub fn duration(&mut self) -> Option<Duration> {
        let all = self.take(b'-');
        if !self.take(b'P') {
            return None;
        }
        let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
        let mut in_time = false;
        let mut any = false;
        while !self.at_end() {
            if !in_time && self.take(b'T') {
                in_time = true;
                continue;
            }
            let negative = self.take(b'-') || {
                self.take(b'+');
                false
            };
            let (number, _) = self.number()?;
            let fraction = if self.take(b'.') { Some(self.fraction()?) } else { None };
            let sign = if negative != all { -1 } else { 1 };
            let value = number * sign;
            let (unit, rest) = self.rest.split_first()?;
            self.rest = rest;
            any = true;
            let slot = match (unit, in_time) {
                (b'Y', false) => months.checked_add(value.checked_mul(12)?).map(|v| months = v),
                (b'M', false) => months.checked_add(value).map(|v| months = v),
                (b'W', false) => days.checked_add(value.checked_mul(7)?).map(|v| days = v),
                (b'D', false) => days.checked_add(value).map(|v| days = v),
                (b'H', true) => {
                    micros.checked_add(value.checked_mul(3_600_000_000)?).map(|v| micros = v)
                }
                (b'M', true) => {
                    micros.checked_add(value.checked_mul(60_000_000)?).map(|v| micros = v)
                }
                (b'S', true) => {
                    let whole = value.checked_mul(1_000_000)?;
                    let part = fraction.unwrap_or(0) * sign;
                    micros.checked_add(whole.checked_add(part)?).map(|v| micros = v)
                }
                _ => None,
            };
            slot?;
            if fraction.is_some() && !(in_time && *unit == b'S') {
                return None;
            }
        }
        any.then_some(Duration {
            months: i32::try_from(months).ok()?,
            days: i32::try_from(days).ok()?,
            micros,
        })
    }
}

/// Eight characters of a form where `0` stands for any digit: at each digit, that and the next one as a number.
#[inline]
fn pairs(text: [u8; 8], form: [u8; 8]) -> Option<[u8; 8]> {
    // A digit leaves 0 to 9 of its byte, any other character that is as in the form leaves 0. What is more reaches bit 7.
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    let room = form.map(|byte| if byte == b'0' { 0x80 - 10 } else { 0x80 - 1 });
    let beyond = digits | digits.wrapping_add(u64::from_le_bytes(room));
    if beyond & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    Some((digits * 10 + (digits >> 8)).to_le_bytes())
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-compatible low-level date algorithms").
#[inline]
pub fn days_of(year: i64, month: u8, day: u8) -> Option<i64> {
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > last {
        return None;
    }
    // Years begin in March, so that the odd day is the last one.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * i64::from(month) + 2) / 5 + i64::from(day) - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_any_year_are_read() {
        for (text, days) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016)),
            ("0000-12-31", Some(-719_163)),
            ("-4712-11-24", Some(-2_440_222)),
            ("+10000-01-01", Some(2_932_897)),
            ("1900-02-29", None),
            ("2026-13-01", None),
            ("2026-1-01", None),
            ("26-01-01", None),
            ("", None),
        ] {
            assert_eq!(Cursor::new(text).date(), days, "{text}");
        }
    }

    #[test]
    fn clocks_know_midnight_at_both_ends_and_offsets() {
        let read = |text: &str| Cursor::new(text).clock().map(|c| (c.micros, c.offset));
        assert_eq!(read("24:00:00Z"), Some((DAY, Some(0))));
        assert_eq!(read("24:00:01Z"), None);
        assert_eq!(read("23:59:59.999999"), Some((DAY - 1, None)));
        assert_eq!(read("12:34:56.789-05:30"), Some((45_296_789_000, Some(-19_800))));
        assert_eq!(read("00:00:00.000001000Z"), Some((1, Some(0))));
        assert_eq!(read("00:00:00.0000001Z"), None);
        assert_eq!(read("12:60:00"), None);
        assert_eq!(read("12:34:56.Z"), None);
    }

    #[test]
    fn durations_keep_their_three_units() {
        for (text, months, days, micros) in [
            ("P1Y2M3DT4H5M6.789012S", 14, 3, 14_706_789_012),
            ("P-1Y-2M0DT0H0M0S", -14, 0, 0),
            ("P0Y0M-3DT4H5M6S", 0, -3, 14_706_000_000),
            ("P178000000Y0M0DT0H0M0S", 2_136_000_000, 0, 0),
            ("P0Y0M0DT0H0M-0.5S", 0, 0, -500_000),
            ("-P1DT1S", 0, -1, -1_000_000),
        ] {
            assert_eq!(
                Cursor::new(text).duration(),
                Some(Duration { months, days, micros }),
                "{text}"
            );
        }
        for text in ["P", "1Y", "P1", "P1.5Y", "P1H", "PT1Y", "P179000000000Y"] {
            assert_eq!(Cursor::new(text).duration(), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_common_form_is_read_as_piece_by_piece(
            text in "[0-9]{3,5}-[0-3][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,6}0{0,3}[0-9]?)?(Z|[+-][01][0-9]:[0-5][0-9])?",
            at: prop::sample::Index,
            other in "[0-9:. TZx-]",
            changed: bool,
        ) {
            let mut text = text;
            if changed {
                let at = at.index(text.len());
                text.replace_range(at..=at, &other);
            }
            let piece_by_piece = |cursor: &mut Cursor<'_>| {
                let days = cursor.date()?;
                (cursor.take(b'T') || cursor.take(b' ')).then_some(())?;
                Some((days, cursor.clock()?))
            };
            let (mut whole, mut pieces) = (Cursor::new(&text), Cursor::new(&text));
            let read = whole.date_time();
            prop_assert_eq!(read, piece_by_piece(&mut pieces));
            if read.is_some() {
                prop_assert_eq!(whole.rest, pieces.rest);
            }
        }

        #[test]
        fn days_follow_the_calendar(year in -4712i16..=9999, month in 1i8..=12, day in 1i8..=31) {
            let expected = jiff::civil::Date::new(year, month, day).ok().map(|date| {
                i64::from((date - jiff::civil::date(1970, 1, 1)).get_days())
            });
            let read = days_of(i64::from(year), month.unsigned_abs(), day.unsigned_abs());
            prop_assert_eq!(read, expected);
        }
    }
}
