//! The captured records in their forms, and spread over partitions in other orders of production.

use silversink::demo::capture::Capture;
use silversink::record::OwnedRecord;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// One form of the capture.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its directory.
    pub directory: &'static str,
    /// Where the tables are made beforehand: is the source's enum text or a type of its own there?
    pub enum_as_text: bool,
}

pub const AVRO: Form = Form { directory: "avro", enum_as_text: true };
pub const JSON: Form = Form { directory: "json", enum_as_text: true };
pub const JSON_PLAIN: Form = Form { directory: "json-plain", enum_as_text: false };
pub const FLAT_AVRO: Form = Form { directory: "flat-avro", enum_as_text: true };
pub const FLAT_JSON: Form = Form { directory: "flat-json", enum_as_text: true };

impl Form {
    /// Whether the records tell no types, so that the Silver tables must.
    pub fn needs_tables(self) -> bool {
        matches!(self.directory, "json-plain" | "flat-json")
    }

    pub fn records(self) -> Vec<OwnedRecord> {
        Capture::open("testdata/debezium/shop").unwrap().records(self.directory).unwrap()
    }
}

/// Spreads each topic over partitions by key, and numbers the offsets anew. The order of production stays.
pub fn spread(mut records: Vec<OwnedRecord>, partitions: i32, seed: u64) -> Vec<OwnedRecord> {
    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for record in &mut records {
        let mut hasher = DefaultHasher::new();
        (seed, &record.key).hash(&mut hasher);
        record.at.partition =
            i32::try_from(hasher.finish() % u64::try_from(partitions).unwrap()).unwrap();
        let next = next.entry((record.at.topic.clone(), record.at.partition)).or_default();
        record.at.offset = *next;
        *next += 1;
    }
    records
}

/// Another order of production across the partitions; the order inside each one stays. Whole stretches of a partition
/// come at once, so that some run far ahead of others.
pub fn interleave(records: Vec<OwnedRecord>, random: &mut fastrand::Rng) -> Vec<OwnedRecord> {
    let mut logs: BTreeMap<(String, i32), std::collections::VecDeque<OwnedRecord>> =
        BTreeMap::new();
    for record in records {
        logs.entry((record.at.topic.clone(), record.at.partition)).or_default().push_back(record);
    }
    let mut logs: Vec<_> = logs.into_values().collect();
    let mut mixed = Vec::new();
    while !logs.is_empty() {
        let at = random.usize(..logs.len());
        let stretch = random.usize(1..200).min(logs[at].len());
        mixed.extend(logs[at].drain(..stretch));
        if logs[at].is_empty() {
            logs.swap_remove(at);
        }
    }
    mixed
}
