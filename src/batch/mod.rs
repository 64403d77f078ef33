//! What one transaction applies for one lane, and the fold that makes it.
//!
//! [`arena`] gathers decoded changes and keeps at most one row per key; a sealed arena is a [`Batch`].

pub mod arena;
pub mod exchange;
pub mod holes;
mod layer;
mod memory;
mod moved;
mod tombstone;

use crate::config::Tripwire;
use crate::fault::{Code, Fault};
use crate::record::Coordinates;
use crate::table::{TableName, TableShape};
use crate::version::Version;
use exchange::{Exchanged, Suspects};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// What a staged row asks of the Silver row with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every data column is given: replace the row (and revive or delete it, per `deleted_at`).
    Whole,
    /// Only the key is given: mark the row deleted and keep its last image; an unseen key becomes a marked row.
    Delete,
    /// Some data columns are given, the others (see [`StagedRow::kept`]) keep the target's value.
    Partial,
    /// A null value whose delete event is not in sight: mark the row if it is live and older in its partition.
    Tombstone,
}

impl Kind {
    /// The value of the staged `"char"` column.
    #[must_use]
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Whole => b'w',
            Self::Delete => b'd',
            Self::Partial => b'p',
            Self::Tombstone => b't',
        }
    }
}

/// A set of column indexes, one bit each, 64 to a word. The first word stands here, so that only sets of wide tables
/// allocate.
#[derive(Clone, Debug, Default)]
pub struct ColumnSet {
    first: u64,
    rest: Box<[u64]>,
}

impl PartialEq for ColumnSet {
    fn eq(&self, other: &Self) -> bool {
        let words = 1 + self.rest.len().max(other.rest.len());
        (0..words).all(|word| self.bits(word) == other.bits(word))
    }
}

impl ColumnSet {
    /// Adds a column.
    pub fn insert(&mut self, column: usize) {
        let bit = 1 << (column % 64);
        let Some(word) = (column / 64).checked_sub(1) else {
            self.first |= bit;
            return;
        };
        if self.rest.len() <= word {
            let mut wider = vec![0; word + 1];
            wider[..self.rest.len()].copy_from_slice(&self.rest);
            self.rest = wider.into();
        }
        self.rest[word] |= bit;
    }
    /// Removes a column.
    pub fn remove(&mut self, column: usize) {
        let word = match (column / 64).checked_sub(1) {
            None => Some(&mut self.first),
            Some(word) => self.rest.get_mut(word),
        };
        if let Some(word) = word {
            *word &= !(1 << (column % 64));
        }
    }
    /// Whether the column is in the set.
    #[must_use]
    pub fn contains(&self, column: usize) -> bool {
        self.bits(column / 64) & (1 << (column % 64)) != 0
    }
    /// No column at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|word| *word == 0)
    }
    /// Forgets every column, keeps the memory.
    pub fn clear(&mut self) {
        self.first = 0;
        // Filling nothing is not free: glibc's masked store to a dangling address takes the processor some 50 ns.
        if !self.rest.is_empty() {
            self.rest.fill(0);
        }
    }
    /// The `n`th word of 64 columns, as PostgreSQL's signed `bigint`.
    #[must_use]
    pub fn word(&self, n: usize) -> i64 {
        self.bits(n).cast_signed()
    }
    fn bits(&self, word: usize) -> u64 {
        match word.checked_sub(1) {
            None => self.first,
            Some(word) => self.rest.get(word).copied().unwrap_or(0),
        }
    }
}

/// One folded row of a batch.
#[derive(Clone, Debug)]
pub struct StagedRow {
    /// Where the row's encoded data columns stand in [`Batch::bytes`]: for each column of the shape, in order, an `i32`
    /// length (big-endian, -1 for NULL or not given) and that many bytes: exactly the fields of a COPY BINARY tuple.
    pub body: Range<u32>,
    /// Where the row's key stands in [`Batch::keys`]: the key columns' encoded fields. Rows are sorted by the first eight
    /// bytes behind the first length word, then by all bytes: one total order for every batch and every writer.
    pub key: Range<u32>,
    /// What to do.
    pub kind: Kind,
    /// The guard.
    pub version: Version,
    /// Microseconds since 2000-01-01 (PostgreSQL's `timestamptz`), if the row is to be marked deleted.
    pub deleted_at: Option<i64>,
    /// Microseconds since 2000-01-01: when the change happened at the source.
    pub source_ts: Option<i64>,
    /// Index into [`Batch::ranges`]: the partition that the winning change came from.
    pub range: u16,
    /// The change that the row's data came from, the one to blame when PostgreSQL refuses the row: index into
    /// [`Batch::ranges`], and offset.
    pub origin: (u16, i64),
    /// `Partial` only: columns that keep the target's value.
    pub kept: ColumnSet,
    /// `Partial` only: the change, as in `origin`, whose kept columns are placeholders and not merely absent, so that a base
    /// row must exist (I9).
    pub needs_base: Option<(u16, i64)>,
    /// `Partial` only: what is known of the base beside that; most have nothing.
    pub base: Option<Box<Base>>,
}

/// What the base of a partial row must be (I9). Without one it is the Silver row of the same key, live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The row of the same key is a base only from this version on: below it is another life of the key.
    pub from: Version,
    /// The row came here by a change of its key: below `from` the base is the row of the key that it had.
    pub old: Option<OldKey>,
}

/// The row that a changed key left behind, as a base. It counts in two states only: as the change itself left it, marked
/// deleted; or, when the batch holds that delete, as it stood before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldKey {
    /// Where the old key stands in [`Batch::keys`].
    pub key: Range<u32>,
    /// Version of the change. The delete has the same source position, for both come from one WAL record; their Kafka
    /// offsets differ. [`Version::HIGHEST`] where the row that it left is no base.
    pub at: Version,
    /// The batch holds the delete: the live row is the base when its version is in this range.
    pub live: Option<Range<Version>>,
}

/// A stretch of one partition that a batch settles: `[from, next)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// Topic name.
    pub topic: String,
    /// Topic id; nil when the broker does not tell.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// The fence: our owner epoch for this partition.
    pub owner_epoch: i64,
    /// Position before the batch (what the destination must hold).
    pub from: i64,
    /// Position after the batch.
    pub next: i64,
    /// Changes that became or joined a staged row, and truncates (which leave no row).
    pub changes: u64,
    /// Of those, changes that a newer one of the same key replaced in the fold: superseded before they were sent.
    pub folded: u64,
    /// Records skipped by a named rule.
    pub skipped: u64,
    /// Records dead-lettered.
    pub dead_lettered: u64,
    /// What is known of the sources up to `next`, as it is stored with the position ([`crate::epoch::stored`]).
    pub lineage: Option<String>,
}

/// A truncate of the whole table that this batch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// Rows below this version are marked deleted; later arrivals below it are stored as deleted.
    pub version: Version,
    /// Microseconds since 2000-01-01.
    pub at: i64,
}

impl Truncate {
    /// The one with the higher version.
    fn later(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.version > a.version { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// A row of `silversink.dead_letter`, written in the batch's transaction after the topic acknowledged it (I8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Source coordinates.
    pub at: Coordinates,
    /// Topic id; nil when unknown.
    pub topic_id: Uuid,
    /// [`crate::fault::Code`] as text.
    pub code: String,
    /// Groups letters of one cause: code, table, column and schema id, never a value.
    pub fingerprint: String,
    /// Key for people, if it could be read, as JSON text.
    pub key: Option<String>,
    /// Version, if it could be read.
    pub version: Option<Version>,
    /// Encoded key and version of the hole that the letter leaves (I9), if its key could be read.
    pub hole: Option<(Vec<u8>, Version)>,
    /// The reason, no row value in it.
    pub reason: String,
    /// SQLSTATE, if PostgreSQL refused.
    pub sqlstate: Option<String>,
    /// Where the letter stands in the dead-letter topic.
    pub dlq_partition: i32,
    /// Offset in the dead-letter topic.
    pub dlq_offset: i64,
}

/// A sealed batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of the batch in its lane, for logs.
    pub number: u64,
    /// The shape that `bytes` was encoded for; `None` for a lane that has no table yet (skips only).
    pub shape: Option<Arc<TableShape>>,
    /// Encoded data columns.
    pub bytes: Vec<u8>,
    /// Encoded keys.
    pub keys: Vec<u8>,
    /// At most one row per key, in the order of [`StagedRow::key`].
    pub rows: Vec<StagedRow>,
    /// What the batch settles, one entry per partition, sorted by (topic, partition).
    pub ranges: Vec<OffsetRange>,
    /// At most one truncate: the highest.
    pub truncate: Option<Truncate>,
    /// Dead letters of this stretch, acknowledged.
    pub letters: Vec<DeadLetterRow>,
    /// Keys with holes that a whole row of this batch closes, up to its version.
    pub closed: Vec<(Vec<u8>, Version)>,
    /// A partition of it is read again, because it had gone past the beginning of a source epoch: what a delete or a partial
    /// row finds may have been written by a record behind it.
    pub again: bool,
    /// What to do about a row that contradicts the order; `None` when some time in the batch is not the source's own, so
    /// that nothing follows from it.
    pub tripwire: Option<Tripwire>,
    /// Deletes after which the source may still have a row of the key.
    pub suspects: Suspects,
    /// What the same transaction applies to further tables, in the order of their names: the same order for every writer.
    pub parts: Vec<Part>,
}

/// What a batch of many tables brings for one of them. A lane whose records name their tables has its rows here alone; the
/// batch itself then holds what belongs to no table, and the positions.
#[derive(Clone, Debug)]
pub struct Part {
    /// The table.
    pub table: TableName,
    /// Rows, truncate and letters; its ranges are the batch's, with the counts of this table.
    pub batch: Batch,
}

/// A change contradicts the order: it came later, is later by its source's clock, and its version is below its row's.
#[must_use]
pub fn contradicted(table: &TableName, at: &Coordinates, version: Version, row: Version) -> Fault {
    Fault::blocked(
        Code::OrderContradicted,
        format!(
            "record {at} is later than the row of {table} that it changes, but its version {version} is below the row's {row}, in one source epoch"
        ),
        "the source's positions started over without a sign in the data (restored or new cluster, failover), or its clock was set back: raise the source epoch with `silversink epoch raise`, which starts at this record; if the clock is to blame, set [guard] tripwire = \"count\"",
    )
}

impl Batch {
    /// The encoded data columns of one row.
    #[must_use]
    pub fn body(&self, row: &StagedRow) -> &[u8] {
        &self.bytes[row.body.start as usize..row.body.end as usize]
    }
    /// The encoded key of one row.
    #[must_use]
    pub fn key(&self, row: &StagedRow) -> &[u8] {
        &self.keys[row.key.start as usize..row.key.end as usize]
    }
    /// The encoded key that the row had before its key changed.
    #[must_use]
    pub fn old_key(&self, old: &OldKey) -> &[u8] {
        &self.keys[old.key.start as usize..old.key.end as usize]
    }
}

/// What a committed transaction did with one [`OffsetRange`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Changes applied.
    pub applied: u64,
    /// Changes superseded, in the fold or by the row's stored version.
    pub superseded: u64,
}

/// What a committed transaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Per entry of [`Batch::ranges`].
    pub ranges: Vec<Settled>,
    /// Rows that contradicted the order and were superseded all the same ([`Tripwire::Count`]).
    pub contradicted: u64,
    /// Deletes after which the source still has a row of the key.
    pub exchanged: Vec<Exchanged>,
    /// The same of each of [`Batch::parts`].
    pub parts: Vec<Applied>,
    /// True when the transaction had already committed and only its answer was lost; `ranges` is then empty.
    pub already: bool,
}

#[cfg(test)]
mod tests {
    use super::ColumnSet;
    use std::collections::BTreeSet;

    #[test]
    fn a_column_set_is_a_set_of_numbers_however_wide_the_table() {
        let mut set = ColumnSet::default();
        for columns in [vec![0, 63, 64, 200], vec![5], vec![130, 2], vec![]] {
            set.clear();
            assert!(set.is_empty());
            columns.iter().for_each(|column| set.insert(*column));
            let held: Vec<usize> = (0..300).filter(|column| set.contains(*column)).collect();
            let wanted: BTreeSet<usize> = columns.iter().copied().collect();
            assert_eq!(held, wanted.into_iter().collect::<Vec<_>>());
            let mut fresh = ColumnSet::default();
            columns.iter().for_each(|column| fresh.insert(*column));
            assert_eq!(set, fresh);
            fresh.insert(299);
            assert_ne!(set, fresh);
            fresh.remove(299);
            assert_eq!(fresh, set);
            let words: u32 = (0..5).map(|word| set.word(word).count_ones()).sum();
            assert_eq!(words as usize, columns.len());
        }
    }
}
