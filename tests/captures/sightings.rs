//! What the records of a scenario tell of their source's positions, read from its encoding in JSON.

use serde::Deserialize;
use silversink::epoch::Sighting;
use silversink::record::OwnedRecord;

/// Source name and sighting.
pub type Seen = (String, Sighting);

/// By the place of the record in the capture: every encoding has the same records in the same order.
#[derive(Debug, Default)]
pub struct Sightings(Vec<Option<Seen>>);

#[derive(Deserialize)]
struct Envelope {
    op: String,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    name: String,
    #[serde(default)]
    snapshot: Option<String>,
    #[serde(default)]
    sequence: Option<String>,
    #[serde(default)]
    ts_us: Option<i64>,
}

/// 2000-01-01 in microseconds since 1970.
const EPOCH_2000: i64 = 946_684_800_000_000;

impl Sightings {
    /// From the records of an encoding that is JSON without schema.
    pub fn read(records: &[OwnedRecord]) -> Self {
        Self(records.iter().map(sighting).collect())
    }

    /// What the record at this place of the capture tells.
    pub fn of(&self, record: usize) -> Option<Seen> {
        self.0.get(record).cloned().flatten()
    }
}

fn sighting(record: &OwnedRecord) -> Option<Seen> {
    let envelope: Envelope = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let source = envelope.source;
    let sequence: Vec<Option<String>> = serde_json::from_str(&source.sequence?).unwrap();
    let number = |at: usize| sequence.get(at).cloned().flatten().map(|text| text.parse().unwrap());
    let seen = Sighting {
        read: envelope.op == "r",
        incremental: source.snapshot.as_deref() == Some("incremental"),
        commit_position: number(0),
        change_position: u64::try_from(number(1).unwrap_or(0)).unwrap(),
        source_ts: source.ts_us.map(|us| us - EPOCH_2000),
    };
    Some((source.name, seen))
}
