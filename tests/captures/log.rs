//! Records of a capture, decoded once, and their partitions: as captured, or split anew by key.

use silversink::batch::exchange::Told;
use silversink::batch::{ColumnSet, Kind};
use silversink::epoch::Sighting;
use silversink::fault::Fault;
use silversink::version::{Version, VersionParts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One record of a table's topic.
#[derive(Debug)]
pub struct Item {
    /// Place of its table in the rig.
    pub lane: usize,
    pub what: What,
    /// What it tells of its source; tombstones tell nothing.
    pub seen: Option<Seen>,
    /// Where it was captured.
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
}

/// What a record tells of its source.
#[derive(Clone, Debug)]
pub struct Seen {
    pub source: String,
    pub sighting: Option<Sighting>,
    /// The source's own time.
    pub source_ts: Option<i64>,
}

#[derive(Debug)]
pub enum What {
    Change(Decoded),
    Truncate {
        version: VersionParts,
        at: i64,
    },
    Skip,
    /// It can never be applied.
    Letter(Fault),
}

/// A change with its row, still in the captured partition's offsets and in no source epoch.
#[derive(Debug)]
pub struct Decoded {
    pub kind: Kind,
    pub version: VersionParts,
    pub deleted_at: Option<i64>,
    pub source_ts: Option<i64>,
    pub own_time: bool,
    pub needs_base: bool,
    pub body: Vec<u8>,
    pub key: Vec<u8>,
    pub kept: ColumnSet,
    /// The key that the row had, where this change gave it another.
    pub old_key: Option<Vec<u8>>,
    /// A row came to the key.
    pub created: bool,
    /// One of its NULLs may stand for an unchanged value.
    pub null_in_doubt: bool,
    /// A row went from the key to another: its columns, and those that it does not give.
    pub left: Option<(Vec<u8>, ColumnSet)>,
}

impl Decoded {
    pub fn told(&self) -> Told<'_> {
        match &self.left {
            Some((image, lacks)) => Told::Left { image, lacks },
            None if self.created => Told::Created,
            None => Told::Nothing,
        }
    }
}

/// A partition: its records at dense offsets.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub lane: usize,
    pub number: i32,
    pub items: Vec<Arc<Item>>,
}

/// The version that a record has at this offset and in this source epoch: nothing else of it depends on the partition.
pub fn version_at(version: VersionParts, source_epoch: u32, offset: i64) -> Version {
    Version::new(VersionParts { source_epoch, kafka_offset: offset.cast_unsigned(), ..version })
}

/// The partitions as they were captured.
pub fn as_captured(items: &[Arc<Item>]) -> Vec<Stretch> {
    let mut stretches: BTreeMap<(usize, i32), Vec<Arc<Item>>> = BTreeMap::new();
    for item in items {
        stretches.entry((item.lane, item.partition)).or_default().push(Arc::clone(item));
    }
    into_stretches(stretches)
}

/// Every topic anew in `count` partitions, as Kafka's producer chooses them; a record without a key goes anywhere.
pub fn split(items: &[Arc<Item>], count: i32, rng: &mut fastrand::Rng) -> Vec<Stretch> {
    let mut stretches: BTreeMap<(usize, i32), Vec<Arc<Item>>> = BTreeMap::new();
    for item in items {
        let number = match &item.key {
            Some(key) => (murmur2(key) & 0x7fff_ffff).cast_signed() % count,
            None => rng.i32(0..count),
        };
        stretches.entry((item.lane, number)).or_default().push(Arc::clone(item));
    }
    into_stretches(stretches)
}

fn into_stretches(stretches: BTreeMap<(usize, i32), Vec<Arc<Item>>>) -> Vec<Stretch> {
    let stretch = |((lane, number), items)| Stretch { lane, number, items };
    stretches.into_iter().map(stretch).collect()
}

/// The hash of Kafka's default partitioner (MurmurHash2, 32 bits, seed 0x9747b28c).
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap();
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}
