//! What Kafka holds: records by partition, in one topic or several of one name, and what they tell of each key.

use super::source::{COLUMNS, KEYS, Values};
use fastrand::Rng;

/// Debezium's `op`, and a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `r`.
    Read,
    /// `c` or `u`.
    Write,
    /// `d`.
    Delete,
    /// `t`; has no key.
    Truncate,
    /// A null value behind a `d`.
    Tombstone,
}

/// `source.snapshot`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    No,
    Initial,
    Incremental,
    Blocking,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub op: Op,
    pub key: u8,
    /// Header `__debezium.oldkey`.
    pub old_key: Option<u8>,
    pub values: Values,
    /// Bit n: column n holds the placeholder.
    pub unchanged: u8,
    /// `source.sequence[0]`.
    pub commit: Option<u64>,
    /// `source.sequence[1]`.
    pub change: u64,
    /// `source.lsn`; incremental rows have none.
    pub lsn: Option<u64>,
    pub snapshot: Snapshot,
    /// `source.ts_us`.
    pub ts: i64,
    /// The connector had written it before.
    pub repeated: bool,
    /// How many records were produced before it: for people.
    pub number: usize,
}

/// One incarnation of the topic.
#[derive(Clone, Debug)]
pub struct Topic {
    pub partitions: Vec<Vec<Record>>,
}

/// What the topics tell of a key, in the order in which the records were produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The row, if it is there.
    pub row: Option<Values>,
    /// Nobody told that it went: it was deleted while no slot held WAL. Only a sweep can remove it.
    pub ghost: bool,
}

/// The topic with everything that was produced to it.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// Incarnations in order, each under a topic id of its own.
    pub topics: Vec<Topic>,
    pub told: [Told; KEYS],
    /// What happened between records, by the number of the next record: for people.
    pub remarks: Vec<(usize, String)>,
    produced: usize,
}

impl Kafka {
    pub fn new(partitions: usize) -> Self {
        let topics = vec![Topic { partitions: vec![Vec::new(); partitions] }];
        Self { topics, told: [Told::default(); KEYS], remarks: Vec::new(), produced: 0 }
    }

    pub fn remark(&mut self, what: impl FnOnce() -> String, traced: bool) {
        if traced {
            self.remarks.push((self.produced, what()));
        }
    }

    pub fn partitions(&self) -> usize {
        self.topics.last().unwrap().partitions.len()
    }

    /// Adds partitions: keys move.
    pub fn grow(&mut self, partitions: usize) {
        self.topics.last_mut().unwrap().partitions.resize(partitions, Vec::new());
    }

    /// The topic is deleted and created again, empty, with offsets from 0.
    pub fn recreate(&mut self, partitions: usize) {
        self.topics.push(Topic { partitions: vec![Vec::new(); partitions] });
    }

    /// Appends a record. What a connector repeats after a crash tells nothing new.
    pub fn produce(&mut self, rng: &mut Rng, record: Record) {
        let number = self.produced;
        self.produced += 1;
        match record.op {
            _ if record.repeated => {}
            Op::Truncate => self.told = [Told::default(); KEYS],
            Op::Delete => self.told[usize::from(record.key)] = Told::default(),
            Op::Read | Op::Write => {
                let row = Some(record.values);
                self.told[usize::from(record.key)] = Told { row, ghost: false };
            }
            Op::Tombstone => {}
        }
        let partitions = &mut self.topics.last_mut().unwrap().partitions;
        let count = partitions.len();
        // A record without key may land anywhere.
        let at = match record.op {
            Op::Truncate => rng.usize(0..count),
            _ => partition(record.key, count),
        };
        partitions[at].push(Record { number, ..record });
    }

    /// A new snapshot read these rows: what the topics still tell besides went unseen.
    pub fn missed(&mut self, rows: &[Option<Values>; KEYS]) {
        for (told, row) in self.told.iter_mut().zip(rows) {
            told.ghost = told.row.is_some() && row.is_none();
        }
    }
}

/// Where records of a key go.
fn partition(key: u8, count: usize) -> usize {
    (usize::from(key) * 5 + 3) % 7 % count
}

/// Every column is there.
pub const CONCRETE: u8 = 0;
const _: () = assert!(COLUMNS < 8, "one bit per column");
