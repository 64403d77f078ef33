//! Records whose values cannot be read: the holes that they leave, and what nobody may build on the rows behind them (I9).

use super::history::History;
use super::shape::key_field;
use super::silver::{Row, Silver};
use super::sink::Sink;
use super::topic::{Op, Record};
use silversink::batch::arena::Arena;
use silversink::batch::holes::Holes;
use silversink::batch::{Batch, DeadLetterRow};
use silversink::record::Coordinates;
use silversink::version::Version;
use uuid::Uuid;

/// Whether there are such records, and what is done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Every value can be read.
    Never,
    /// Dead letters leave holes.
    Guarded,
    /// They leave none.
    Unguarded,
}

/// Dead letters and their holes: as the workers know them and as they are stored.
pub struct Letters {
    pub unread: Unread,
    seed: u64,
    stored: Vec<(Vec<u8>, Version)>,
    workers: Vec<Holes>,
    /// Rows that stood above a hole.
    pub guarded: usize,
}

impl Letters {
    pub fn new(unread: Unread, seed: u64, workers: usize) -> Self {
        let workers = (0..workers).map(|_| Holes::default()).collect();
        Self { unread, seed, stored: Vec::new(), workers, guarded: 0 }
    }

    /// Whether nobody can read the record's value, whenever it comes.
    pub fn takes(&self, record: &Record) -> bool {
        let has_value = matches!(record.op, Op::Read | Op::Write | Op::Delete);
        let mut dice = fastrand::Rng::with_seed(self.seed ^ (record.number as u64) << 32);
        self.unread != Unread::Never && has_value && dice.u8(0..12) == 0
    }

    /// The worker reads the stored holes: it starts anew, or a partition comes to it.
    pub fn load(&mut self, worker: usize, anew: bool) {
        if anew {
            self.workers[worker].clear();
        }
        for (key, version) in &self.stored {
            self.workers[worker].open(key, *version);
        }
    }

    pub fn holes(&self, worker: usize) -> &Holes {
        &self.workers[worker]
    }

    /// A record is dead-lettered: with its version, or where its partition has come to.
    pub fn letter(
        &mut self,
        worker: usize,
        arena: &mut Arena,
        record: &Record,
        version: Result<Version, Version>,
    ) {
        if self.unread != Unread::Guarded {
            return;
        }
        let key = key_field(record.key);
        let version = match version {
            Ok(version) => {
                self.workers[worker].open(&key, version);
                version
            }
            Err(reached) => {
                let version = self.workers[worker].open_again(&key, reached);
                arena.keep_hole(&key, version);
                version
            }
        };
        arena.add_letter(DeadLetterRow {
            at: Coordinates { topic: String::new(), partition: 0, offset: 0 },
            topic_id: Uuid::nil(),
            code: String::new(),
            fingerprint: String::new(),
            key: None,
            version: None,
            hole: Some((key.to_vec(), version)),
            reason: String::new(),
            sqlstate: None,
            dlq_partition: 0,
            dlq_offset: 0,
        });
    }

    /// Whether a row stands above a hole; a whole one closes it.
    pub fn has_hole(
        &mut self,
        worker: usize,
        arena: &mut Arena,
        record: &Record,
        version: Version,
    ) -> bool {
        let holes = &mut self.workers[worker];
        if holes.is_empty() || !matches!(record.op, Op::Read | Op::Write) {
            return false;
        }
        if record.unchanged == 0 {
            let key = key_field(record.key);
            if holes.close(&key, version) {
                arena.close_holes(&key, version);
            }
            return false;
        }
        let covered = holes.covers(&key_field(record.old_key.unwrap_or(record.key)), version);
        self.guarded += usize::from(covered);
        covered
    }

    /// The batch is committed, and its holes with it.
    pub fn store(&mut self, batch: &Batch) {
        for hole in batch.letters.iter().filter_map(|letter| letter.hole.as_ref()) {
            if !self.stored.contains(hole) {
                self.stored.push(hole.clone());
            }
        }
        let is_closed = |(key, version): &(Vec<u8>, Version)| {
            batch.closed.iter().any(|(closed, to)| closed == key && version <= to)
        };
        self.stored.retain(|hole| !is_closed(hole));
    }
}

/// Live rows behind such a record that never were as they are: some value is of another time than the change that wrote
/// the row.
pub fn mixed(history: &History, sink: &Sink<'_>) -> usize {
    let Silver { rows, .. } = &sink.silver;
    let rows = rows.iter().enumerate().filter_map(|(key, row)| Some((key, row.as_ref()?)));
    rows.filter(|(key, row)| row.deleted_at.is_none() && is_mixed(history, sink, *key, row)).count()
}

fn is_mixed(history: &History, sink: &Sink<'_>, key: usize, row: &Row) -> bool {
    let partitions = || history.kafka.topics.iter().flat_map(|topic| &topic.partitions);
    let parts = row.version.parts();
    let offset = usize::try_from(parts.kafka_offset).unwrap();
    let wrote = |record: &&Record| {
        usize::from(record.key) == key
            && matches!(record.op, Op::Read | Op::Write)
            && u128::from(record.commit.unwrap_or(0)) == parts.commit_position
            && u8::from(record.op != Op::Read) == parts.phase
            && (parts.phase == 0 || record.change == parts.change_position)
    };
    // Offsets repeat in partitions and incarnations.
    let writers: Vec<&Record> =
        partitions().filter_map(|partition| partition.get(offset)).filter(wrote).collect();
    let behind = |writer: &&Record| {
        let earlier = partitions().flatten().filter(|record| record.number < writer.number);
        let mut unread = earlier.filter(|record| sink.letters.takes(record));
        unread.any(|one| one.key == writer.key || Some(one.key) == writer.old_key)
    };
    writers.iter().all(|writer| writer.values.map(Some) != row.values) && writers.iter().any(behind)
}
