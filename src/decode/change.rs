//! What becomes of a record: a change of a row, or why there is none.

use super::identify::PlanNeed;
use super::row::RowBuffer;
use super::skip::SkipRule;
use super::source_names::SourceNames;
use crate::batch::exchange::Told;
use crate::epoch::Sighting;
use crate::fault::Fault;
use crate::table::TableName;
use crate::version::{Version, VersionParts};

/// What a record asks of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A row; some of its columns may be kept.
    Row,
    /// A delete with its own position.
    Delete,
    /// A null value.
    Tombstone,
    /// The whole table was emptied.
    Truncate,
}

/// One change; its columns are in the [`RowBuffer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub kind: ChangeKind,
    /// The guard, in source epoch 0.
    pub version: Version,
    /// Microseconds since 2000-01-01, for deletes, tombstones and truncates.
    pub deleted_at: Option<i64>,
    /// When the change happened at the source, microseconds since 2000-01-01.
    pub source_ts: Option<i64>,
    /// `source_ts` is the source's own time, not the next best.
    pub own_time: bool,
    /// Some column keeps the target's value (`Row` only).
    pub has_kept: bool,
    /// Of those, some column was a placeholder, so a base row must exist (I9).
    pub needs_base: bool,
    /// Its source, by the number that [`super::TopicDecoder::source`] names until the next record is decoded.
    pub source: u16,
    /// What it tells of its source's positions.
    pub sighting: Option<Sighting>,
    /// The base is the row of another key: [`RowBuffer::old_key`].
    pub moved: bool,
    /// A row came to the key: op `c`.
    pub created: bool,
    /// A row went from the key to another: [`RowBuffer::image`].
    pub left: bool,
    /// An update with a NULL that may stand for an unchanged value: the column's type has no placeholder, and the source's
    /// replica identity is not full.
    pub null_in_doubt: bool,
}

impl Default for Change {
    fn default() -> Self {
        Self {
            kind: ChangeKind::Row,
            version: Version::new(VersionParts::default()),
            deleted_at: None,
            source_ts: None,
            own_time: false,
            has_kept: false,
            needs_base: false,
            source: SourceNames::UNKNOWN,
            sighting: None,
            moved: false,
            created: false,
            left: false,
            null_in_doubt: false,
        }
    }
}

impl Change {
    /// What it tells of how many rows its key has; `row` is what it was decoded into.
    #[must_use]
    pub fn told<'a>(&self, row: &'a RowBuffer) -> Told<'a> {
        match (self.created, self.left) {
            (true, _) => Told::Created,
            (false, true) => Told::Left { image: &row.image, lacks: &row.lacks },
            (false, false) => Told::Nothing,
        }
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A change.
    Change(Change),
    /// Nothing for a table; the rule that says so.
    Skip(SkipRule),
    /// A plan is missing: install one, or refuse, and decode the record again.
    NeedsPlan(PlanNeed),
    /// It names a table that has no number yet: give it one ([`super::TopicDecoder::add_table`]) and decode the record again.
    NewTable(TableName),
    /// The record cannot be decoded. The fault's class may also be blocked: then the table lacks something.
    Poison(Fault),
}

/// As [`Decoded`], the change itself left out.
pub(super) enum Verdict {
    Change,
    Skip(SkipRule),
    NeedsPlan(PlanNeed),
    NewTable(TableName),
}
