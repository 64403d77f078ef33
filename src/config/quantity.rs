//! Durations ("30s") and byte counts ("8MiB") as they are written in the configuration file.

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// What a duration looks like, for messages.
pub const DURATION_EXPECTED: &str = "a duration such as \"500ms\", \"30s\" or \"5m\"";
/// What a byte count looks like, for messages.
pub const SIZE_EXPECTED: &str = "a byte count such as 1048576, \"512KiB\" or \"8MiB\"";

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A duration as text.
#[derive(Clone, Deserialize, Serialize)]
pub struct DurationText(String);

impl DurationText {
    /// The shortest text for a duration.
    pub fn of(duration: Duration) -> Self {
        Self(
            SignedDuration::try_from(duration)
                .map_or_else(|_| format!("{}s", duration.as_secs()), |d| format!("{d:#}")),
        )
    }

    /// The duration, or `None` where the text is none or is negative.
    pub fn parse(&self) -> Option<Duration> {
        Duration::try_from(self.0.parse::<SignedDuration>().ok()?).ok()
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["500ms", "30s", "5m"]})
    }
}

/// A byte count as text or as a bare integer.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Size {
    /// Bytes.
    Bytes(i64),
    /// Number and unit.
    Text(String),
}

impl Size {
    /// The shortest spelling of a byte count.
    pub fn of(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match UNITS.iter().take(3).find(|(_, unit)| bytes > 0 && bytes % unit == 0) {
            Some((name, unit)) => Self::Text(format!("{}{name}", bytes / unit)),
            None => Self::Text(format!("{bytes}B")),
        }
    }

    /// The byte count, or `None` where the text is none, is negative or does not fit.
    pub fn parse(&self) -> Option<usize> {
        let bytes = match self {
            Self::Bytes(bytes) => u64::try_from(*bytes).ok()?,
            Self::Text(text) => {
                let text = text.trim();
                let (digits, unit) = UNITS
                    .iter()
                    .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
                    .unwrap_or((text, 1));
                digits.trim_end().replace('_', "").parse::<u64>().ok()?.checked_mul(unit)?
            }
        };
        usize::try_from(bytes).ok()
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "examples": [1_048_576, "512KiB", "8MiB"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_the_same_words() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h 30m", 5_400_000)]
        {
            let duration = DurationText(text.into()).parse().unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(DurationText::of(duration).0, text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "-5s", "soon", "5 parsecs"] {
            assert!(DurationText(text.into()).parse().is_none(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, bytes) in [
            ("8MiB", 8 << 20),
            ("512 KiB", 512 << 10),
            ("1_000", 1000),
            ("2MB", 2_000_000),
            ("7B", 7),
        ] {
            assert_eq!(Size::Text(text.into()).parse(), Some(bytes), "{text}");
        }
        assert_eq!(Size::Bytes(5).parse(), Some(5));
        assert_eq!(Size::Bytes(-5).parse(), None);
        for text in ["", "MiB", "8 MB/s", "-1B", "99999999999GiB", "1.5MiB"] {
            assert!(Size::Text(text.into()).parse().is_none(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_so_that_they_are_read_again() {
        for bytes in [0, 1, 1023, 1 << 10, 3 << 20, 5 << 30, 1_000_000] {
            assert_eq!(Size::of(bytes).parse(), Some(bytes));
        }
    }
}
