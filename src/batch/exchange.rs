//! Keys that exchange rows inside one transaction: deletes after which the source still has a row of their key.
//!
//! Under a deferrable key a transaction may bring a row to a key that has one, and take that one away afterwards. Its topic
//! holds a create of the key and behind it a delete, just as if the new row had gone: by any order the key ends deleted.
//!
//! # Decisions
//! - What is written stays what the order says: anything else would depend on where batches are cut. It is found and told.
//! - Inside a batch the rows of a key are counted, from the first change on: up with a create, down with a delete. Only where
//!   that first change is a create does Silver have to be asked whether the key was alive.
//! - Where the batch begins inside the transaction, the row that its create left in Silver is compared with the one that the
//!   delete took away: PostgreSQL has no replica identity but full for a table with a deferrable key, so the delete brings it.
//!   Two rows with the same values cannot be told apart, nor can what a snapshot saw from what came after it, nor a row of an
//!   older source epoch from one that was deleted unseen: then it is said that keys may have been exchanged.
//! - A key that was marked so and is exchanged once more need not be told again: Silver takes it for dead.
//! - A plain delete in a batch that begins inside its transaction is not looked at: that would be paid by every large delete.

use super::arena::{Arena, Incoming, Slot};
use super::layer::append;
use super::{Batch, ColumnSet, Kind, StagedRow, Truncate};
use crate::version::Version;
use std::ops::Range;
use std::sync::OnceLock;

/// What a record tells of how many rows its key has.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Nothing beyond its kind.
    Nothing,
    /// A row came to the key: op `c`.
    Created,
    /// A row went from the key to another: header `__debezium.newkey`.
    Left {
        /// That row's encoded data columns; empty where the record does not tell.
        image: &'a [u8],
        /// Columns that it does not give.
        lacks: &'a ColumnSet,
    },
}

/// A delete after which the source may still have a row of the key.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The encoded data columns of the row that went, or at least its key: place in [`Batch::bytes`].
    pub body: Range<u32>,
    /// Columns that the body does not give.
    pub lacks: ColumnSet,
    /// The delete's version.
    pub version: Version,
    /// The delete: index into [`Batch::ranges`], and offset.
    pub origin: (u16, i64),
    /// What remains to be asked.
    pub question: Question,
}

/// What Silver has to tell about a [`Suspect`], beside whether it knows the delete already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Nothing: the batch holds both rows.
    Settled,
    /// Nothing, and the batch does not tell either: it is doubtful whether the other row was there.
    Untold,
    /// Whether the key was alive before the transaction.
    WasAlive,
    /// Whether the row that the same transaction left in Silver is another than the one that went.
    Another {
        /// The body is that of the row that went.
        image: bool,
    },
}

/// The suspects of a batch, and what was found out about them at the first attempt to write it.
#[derive(Clone, Debug, Default)]
pub struct Suspects {
    /// In the order in which they came.
    pub rows: Vec<Suspect>,
    /// Those after which the source still has a row. Kept for later attempts, since after a COMMIT whose answer was lost Silver
    /// no longer tells.
    pub answer: OnceLock<Vec<Exchanged>>,
}

/// A delete after which the source still has a row of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Index into [`Batch::ranges`].
    pub range: u16,
    /// Offset of the delete.
    pub offset: i64,
    /// It is certain; else it may be so.
    pub certain: bool,
}

/// The Silver row of a suspect's key, before the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// It is not marked deleted.
    pub live: bool,
    /// It has the values that the suspect's body gives.
    pub same: bool,
}

impl Suspect {
    /// Whether keys were exchanged: for certain, perhaps, or not (`None`).
    #[must_use]
    pub fn judge(&self, found: Option<Found>, truncate: Option<&Truncate>) -> Option<bool> {
        let certain = match self.question {
            Question::Settled => Some(true),
            Question::Untold => Some(false),
            Question::WasAlive | Question::Another { .. } => None,
        };
        let Some(Found { version, live, same }) = found else { return certain };
        if version >= self.version || version.same_position(&self.version) {
            return None;
        }
        if certain.is_some() {
            return certain;
        }
        let emptied = truncate.is_some_and(|t| version < t.version && t.version <= self.version);
        let here = version.same_transaction(&self.version);
        match self.question {
            _ if emptied || !live => None,
            Question::Another { image } => here.then_some(image && !same),
            _ => Some(!here && !is_doubtful(&version, &self.version)),
        }
    }
}

/// Whether a live row may not have been there any more, or not yet, when a change of this version came to its key: the row is
/// of another source epoch, whose deletes may have gone unseen, or of a snapshot that may have seen the change.
fn is_doubtful(row: &Version, change: &Version) -> bool {
    let (row, change) = (row.parts(), change.parts());
    let seen = row.phase == 0 && row.change_position >= change.change_position;
    seen || row.source_epoch != change.source_epoch
}

impl Batch {
    /// The suspects as a batch of their own, to be staged and compared and not to be merged.
    #[must_use]
    pub fn of_suspects(&self) -> Self {
        let mut bytes = Vec::new();
        let row = |suspect: &Suspect| StagedRow {
            body: append(
                &mut bytes,
                &self.bytes[suspect.body.start as usize..suspect.body.end as usize],
            ),
            key: 0..0,
            kind: Kind::Delete,
            version: suspect.version,
            deleted_at: None,
            source_ts: None,
            range: suspect.origin.0,
            origin: suspect.origin,
            kept: suspect.lacks.clone(),
            needs_base: None,
            base: None,
        };
        let rows = self.suspects.rows.iter().map(row).collect();
        Self {
            number: self.number,
            shape: self.shape.clone(),
            bytes,
            keys: Vec::new(),
            rows,
            ranges: Vec::new(),
            truncate: None,
            letters: Vec::new(),
            again: false,
            closed: Vec::new(),
            tripwire: None,
            suspects: Suspects::default(),
            parts: Vec::new(),
        }
    }
}

/// How many rows of a key the source has after the newest change of the open batch, inside its transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rows {
    count: u8,
    /// And one more if the key was alive before the batch.
    unknown: bool,
    /// The transaction of the newest change brought a row.
    created: bool,
    /// One of the rows may not have been there together with the other ([`is_doubtful`]).
    doubtful: bool,
    /// The newest change is a suspect.
    suspected: bool,
}

impl Rows {
    /// After the first change of a key in the batch.
    pub(super) fn first(change: &Incoming<'_>) -> Self {
        let created = matches!(change.told, Told::Created);
        let live = !matches!(change.kind, Kind::Delete | Kind::Tombstone);
        Self { count: u8::from(live), unknown: created, created, ..Self::default() }
    }
}

impl Arena {
    /// Counts the rows of a key that the batch knows, for a change that is newer than the others; `body` is where its columns
    /// stand.
    pub(super) fn count_rows(&mut self, at: usize, change: &Incoming<'_>, body: &Range<u32>) {
        let entry = &mut self.entries[at];
        let (rows, top) = (&mut entry.rows, &entry.top);
        if change.version.same_position(&top.version) {
            // The connector repeats itself, or a null value stands for the delete.
            return;
        }
        let same = rows.created && change.version.same_transaction(&top.version);
        let dead = top.deleted_at.is_some() || matches!(top.kind, Kind::Delete | Kind::Tombstone);
        if !same {
            let truncated = self
                .truncate
                .is_some_and(|t| top.version < t.version && t.version <= change.version);
            *rows = match () {
                () if truncated => Rows::default(),
                () if !dead => Rows { count: 1, ..Rows::default() },
                () if rows.suspected => {
                    Rows { count: rows.count.min(1), unknown: rows.unknown, ..Rows::default() }
                }
                () => Rows::default(),
            };
        }
        if std::mem::take(&mut rows.suspected)
            && let Some(earlier) = self.suspects.iter().rposition(|(entry, _)| *entry == at)
        {
            // The transaction went on.
            self.suspects.remove(earlier);
        }
        if matches!(change.told, Told::Created) {
            rows.doubtful |= !same && is_doubtful(&top.version, &change.version);
            (rows.count, rows.created) = (rows.count.saturating_add(1), true);
            return;
        }
        if change.kind != Kind::Delete {
            if rows.count == 0 {
                (rows.count, rows.unknown) = (1, false);
            }
            return;
        }
        match rows.count.checked_sub(1) {
            Some(less) => rows.count = less,
            None => rows.unknown = false,
        }
        if same && (rows.count > 0 || rows.unknown) {
            rows.suspected = true;
            let question = match rows.count {
                0 => Question::WasAlive,
                _ if rows.doubtful => Question::Untold,
                _ => Question::Settled,
            };
            self.suspects.push((
                at,
                Suspect {
                    body: body.clone(),
                    lacks: ColumnSet::default(),
                    version: change.version,
                    origin: (change.slot, change.offset),
                    question,
                },
            ));
        }
    }

    /// The first change of a key in the batch. Where it is a delete by a transaction that may have begun in an earlier batch,
    /// the row that it took away is kept for comparison.
    pub(super) fn suspect_first(
        &mut self,
        change: &Incoming<'_>,
        body: &Range<u32>,
        began: Option<Version>,
    ) {
        let Told::Left { image, lacks } = change.told else { return };
        let begins_here = began.is_none_or(|first| !first.same_transaction(&change.version));
        if begins_here || change.version.parts().change_position == 0 {
            return;
        }
        let told = !image.is_empty();
        let body = if told { append(&mut self.bytes, image) } else { body.clone() };
        let suspect = Suspect {
            body,
            lacks: if told { lacks.clone() } else { ColumnSet::default() },
            version: change.version,
            origin: (change.slot, change.offset),
            question: Question::Another { image: told },
        };
        self.suspects.push((self.entries.len(), suspect));
    }

    /// Hands the suspects over; `place` gives each partition's place in the batch.
    pub(super) fn take_suspects(&mut self, place: impl Fn(Slot) -> u16) -> Suspects {
        let taken = self.suspects.drain(..).map(|(_, mut suspect)| {
            suspect.origin.0 = place(suspect.origin.0);
            suspect
        });
        Suspects { rows: taken.collect(), answer: OnceLock::new() }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
