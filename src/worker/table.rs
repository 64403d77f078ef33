//! What the intake thread holds for one Silver table of a lane: its rows, its holes, and what is told of it.
//!
//! # Decisions
//! - A lane of one table has one of these. A lane whose records name their tables has one for each that was seen, behind a
//!   first one for what belongs to no table: skipped records, letters whose table cannot be told. So [`UNPLACED`] is the only
//!   table of the one kind and none of the other.

use super::lane::{Lane, Unplanned};
use super::suspicions::Nulls;
use crate::batch::arena::{Arena, SealedRange};
use crate::batch::holes::Holes;
use crate::batch::{Batch, Part};
use crate::config::{Config, Table, Tripwire};
use crate::decode::{Change, PlanNeed, RowBuffer, SkipRule, UNPLACED};
use crate::fault::{Code, Fault};
use crate::table::TableName;
use crate::telemetry::metrics::TableMetrics;
use crate::version::Version;

/// One Silver table of a lane.
pub(super) struct LaneTable {
    pub(super) table: TableName,
    pub(super) overrides: Table,
    pub(super) arena: Arena,
    /// Keys whose dead letters no whole row has made good yet.
    pub(super) holes: Holes,
    /// Records of the open batch that rules skipped.
    pub(super) skips: Skips,
    /// The same of the sealed batch.
    pub(super) sealed_skips: Skips,
    /// NULLs that may stand for unchanged values.
    pub(super) nulls: Nulls,
    /// Keys of dead letters that no plan could be made for, by decoder.
    pub(super) unplanned: Vec<(usize, PlanNeed, Unplanned)>,
    /// The epochs of the table's rows have been compared with the registry.
    pub(super) epochs_checked: bool,
    /// A record with a key has been seen.
    pub(super) keyed: bool,
    pub(super) metrics: TableMetrics,
    /// Encoded bytes of the sealed batch, for its histogram.
    pub(super) sealed_bytes: usize,
    /// Rows and bytes as they are counted in the lane.
    counted: (usize, usize),
}

impl LaneTable {
    pub(super) fn new(table: TableName, overrides: Table, tripwire: Tripwire) -> Self {
        let mut arena = Arena::default();
        arena.set_tripwire(tripwire);
        Self {
            metrics: TableMetrics::new(&table),
            table,
            overrides,
            arena,
            holes: Holes::default(),
            skips: Skips::default(),
            sealed_skips: Skips::default(),
            nulls: Nulls::default(),
            unplanned: Vec::new(),
            epochs_checked: false,
            keyed: false,
            sealed_bytes: 0,
            counted: (0, 0),
        }
    }

    /// Whether a partial row stands above a hole, so that what Silver holds is no base for it (I9).
    pub(super) fn has_hole(&self, change: &Change, version: Version, row: &RowBuffer) -> bool {
        let key = if change.moved { &row.old_key } else { &row.key };
        change.needs_base && !self.holes.is_empty() && self.holes.covers(key, version)
    }

    fn seal(&mut self, number: u64, ranges: Vec<SealedRange>) -> Batch {
        self.sealed_bytes = self.arena.held_bytes();
        self.arena.leave_holes(&self.holes);
        let sealed = self.arena.seal(number, ranges);
        self.sealed_skips = std::mem::take(&mut self.skips);
        self.nulls.seal();
        self.counted = (0, 0);
        sealed
    }

    /// Forgets the open batch.
    fn discard(&mut self) {
        self.arena.discard();
        self.skips.clear();
        self.nulls.discard();
        self.counted = (0, 0);
    }
}

impl Lane {
    /// Whether its records name their tables.
    pub(super) fn names_tables(&self) -> bool {
        self.template.is_some()
    }

    /// Gives a table that a record names a place in the lane; its number.
    pub(super) fn add_table(&mut self, table: &TableName, config: &Config) -> usize {
        let known = self.tables.iter().skip(1).position(|known| known.table == *table);
        known.map_or_else(
            || {
                let overrides = config.tables.get(table).unwrap_or(&config.defaults).clone();
                let tripwire = config.guard.tripwire;
                self.tables.push(LaneTable::new(table.clone(), overrides, tripwire));
                self.tables.len() - 1
            },
            |at| at + 1,
        )
    }

    /// Whether it writes to a table.
    pub(super) fn feeds(&self, table: &TableName) -> bool {
        let tables = self.tables.iter().skip(usize::from(self.names_tables()));
        tables.into_iter().any(|known| known.table == *table)
    }

    /// Takes over into the lane's sums what a record has changed in a table.
    pub(super) fn count(&mut self, at: usize) {
        let table = &mut self.tables[at];
        let now = (table.arena.rows(), table.arena.held_bytes());
        self.gathered.0 = self.gathered.0 + now.0 - table.counted.0;
        self.gathered.1 = self.gathered.1 + now.1 - table.counted.1;
        table.counted = now;
    }

    /// Rows and unacknowledged letters: what counts towards a full batch.
    pub(super) fn rows(&self) -> usize {
        self.gathered.0 + self.letters.len()
    }

    /// Bytes held for rows and unacknowledged letters.
    pub(super) fn bytes(&self) -> usize {
        self.gathered.1 + self.letter_bytes
    }

    /// Closes the open batch; `again` is [`Batch::again`] of what it brings.
    pub(super) fn seal(&mut self, number: u64, ranges: Vec<SealedRange>, again: bool) -> Batch {
        self.gathered = (0, 0);
        for table in self.tables.iter_mut().filter(|table| again && table.arena.is_touched()) {
            table.arena.read_again();
        }
        let (head, named) = self.tables.split_at_mut(UNPLACED + 1);
        let mut parts = Vec::new();
        for table in named.iter_mut().filter(|table| table.arena.is_touched()) {
            let mut ranges = ranges.clone();
            // They go with the positions, which the batch itself moves.
            ranges.iter_mut().for_each(|sealed| sealed.range.lineage = None);
            parts.push(Part { table: table.table.clone(), batch: table.seal(number, ranges) });
        }
        parts.sort_by(|a, b| a.table.cmp(&b.table));
        Batch { parts, ..head[UNPLACED].seal(number, ranges) }
    }

    /// Forgets the open batch.
    pub(super) fn discard_gathered(&mut self) {
        self.gathered = (0, 0);
        self.tables.iter_mut().for_each(LaneTable::discard);
    }

    /// Takes back the memory of a batch that nobody needs any more.
    pub(super) fn recycle(&mut self, batch: Option<Batch>) {
        let Some(mut batch) = batch else {
            return self.tables.iter_mut().for_each(|table| table.arena.recycle(None));
        };
        for Part { table, batch } in std::mem::take(&mut batch.parts) {
            if let Some(at) = self.number_of(&table) {
                self.tables[at].arena.recycle(Some(batch));
            }
        }
        self.tables[UNPLACED].arena.recycle(Some(batch));
    }

    /// The number of a table that records name.
    pub(super) fn number_of(&self, table: &TableName) -> Option<usize> {
        self.tables.iter().skip(1).position(|known| known.table == *table).map(|at| at + 1)
    }

    /// The batches of a sealed batch by the number of their table.
    pub(super) fn by_table<'b>(&self, batch: &'b Batch) -> Vec<(usize, &'b Batch)> {
        let parts = batch.parts.iter();
        let parts = parts.filter_map(|part| Some((self.number_of(&part.table)?, &part.batch)));
        std::iter::once((UNPLACED, batch)).chain(parts).collect()
    }
}

/// A table that two lanes would write to.
pub(super) fn meeting(table: &TableName, topic: &str, other: &str) -> Fault {
    Fault::blocked(
        Code::Unrouted,
        format!("topic {topic} brings rows of table {table}, which {other} feeds too"),
        "give one of the two another table (a literal part in `table` of its route keeps names apart), or set merge_sources = true on both routes if their keys never meet",
    )
}

/// Records skipped, by rule. A table meets a handful of rules.
#[derive(Debug, Default)]
pub(super) struct Skips(Vec<(SkipRule, u64)>);

impl Skips {
    /// Counts one record.
    pub(super) fn add(&mut self, rule: SkipRule) {
        match self.0.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, count)) => *count += 1,
            None => self.0.push((rule, 1)),
        }
    }

    /// Forgets everything.
    fn clear(&mut self) {
        self.0.clear();
    }

    /// Every rule with its count, forgotten afterwards.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (SkipRule, u64)> {
        self.0.drain(..)
    }
}
