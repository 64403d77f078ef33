//! The fold: gathers the decoded changes of one lane and keeps at most one row per key, as if they were applied one by
//! one in version order.
//!
//! # Decisions
//! - Rows are kept in the form that COPY wants. A newer whole row just repoints its entry; the dead bytes stay until the
//!   batch is sealed, which costs less than moving live ones.
//! - Sealing takes each row out of its entry field by field and leaves the memory of the entries where it is. Moving whole
//!   entries through a second list touched as many fresh pages with every batch as the rows themselves.
//! - Deletes and partial rows do not carry every column, so what they cover is kept as [`Layer`]s and merged column by
//!   column when the batch is sealed (I9). Whole rows, the common case, never have layers.
//! - The order among layers is the version, never the order of arrival, so a late older record cannot win.
//! - A partial row whose base is not what the batch has below it says so ([`super::Base`]): after a delete another life of
//!   the key begins, and after a change of the key the base is the row of the old key. What the batch itself can tell is
//!   put together here; the rest is looked up by the write.

use super::exchange::{Rows, Suspect, Told};
use super::layer::{Layer, append, merge};
use super::memory::{Spare, fitting};
use super::{
    Base, Batch, ColumnSet, DeadLetterRow, Kind, OffsetRange, OldKey, StagedRow, Truncate,
};
use crate::config::Tripwire;
use crate::table::TableShape;
use crate::version::Version;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

/// Place of a partition in its lane's list of partitions.
pub type Slot = u16;

/// One decoded change on its way into the arena; the bytes are borrowed from the decoder's row buffer.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Encoded data columns, one field per column of the shape.
    pub body: &'a [u8],
    /// Encoded key fields.
    pub key: &'a [u8],
    /// What the change asks for.
    pub kind: Kind,
    /// The guard.
    pub version: Version,
    /// Set when the row is to be marked deleted, in microseconds since 2000-01-01.
    pub deleted_at: Option<i64>,
    /// When the change happened at the source, in microseconds since 2000-01-01.
    pub source_ts: Option<i64>,
    /// That is the source's own time, not the next best.
    pub own_time: bool,
    /// `Partial` only: the columns that are not given.
    pub kept: &'a ColumnSet,
    /// `Partial` only: some of them are placeholders.
    pub needs_base: bool,
    /// `Partial` that needs a base only: the encoded key that the row had before this change.
    pub old_key: Option<&'a [u8]>,
    /// What it tells of how many rows its key has.
    pub told: Told<'a>,
    /// The partition it came from.
    pub slot: Slot,
    /// Its offset there.
    pub offset: i64,
}

/// What the fold did with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// It is the newest of its key so far.
    Kept,
    /// A newer change of its key was already there.
    Superseded,
    /// A tombstone behind its delete event: nothing to do (rule `tombstone`).
    RedundantTombstone,
    /// It contradicts the order: a change before it, with this version, is above it. With [`Tripwire::Count`] it is
    /// superseded all the same, else the arena is as it was.
    Contradicted(Version),
}

#[derive(Debug)]
pub(super) struct Entry {
    hash: u64,
    key: Range<u32>,
    pub(super) top: Layer,
    pub(super) rows: Rows,
    /// Older layers, in no order; empty whenever `top` is whole, unless a changed key may want the row from before it.
    pub(super) below: Vec<Layer>,
}

/// How far one partition has come inside the open batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) changes: u64,
    folded: u64,
    skipped: u64,
    dead_lettered: u64,
    /// The first change of the batch.
    first: Option<Version>,
}

/// Identity and fence of a partition, given when the batch is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRange {
    /// The partition's place in the lane.
    pub slot: Slot,
    /// Topic, partition, fence and offsets; the counts are filled in by [`Arena::seal`].
    pub range: OffsetRange,
}

/// The open batch of one lane.
#[derive(Debug, Default)]
pub struct Arena {
    shape: Option<Arc<TableShape>>,
    pub(super) bytes: Vec<u8>,
    pub(super) keys: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    /// Layers below the tops of entries.
    layers: usize,
    /// Layers that came here by a change of their key.
    pub(super) moves: usize,
    index: HashTable<u32>,
    /// Prefix of its key and place of each entry, in key order; complete when it is as long as `entries`.
    order: Vec<(u64, u32)>,
    progress: Vec<Progress>,
    pub(super) truncate: Option<Truncate>,
    floor: Option<Truncate>,
    letters: Vec<DeadLetterRow>,
    closed: Vec<(Vec<u8>, Version)>,
    /// Key of the last delete event of each partition, to recognise the tombstone behind it across batches.
    pub(super) last_delete: Vec<Option<(i64, u64)>>,
    /// Deletes after which the source may still have a row of the key, by entry.
    pub(super) suspects: Vec<(usize, Suspect)>,
    tripwire: Tripwire,
    /// Some time in the open batch is not the source's own.
    foreign_time: bool,
    again: bool,
    pub(super) hasher: FixedState,
    pub(super) spare: Spare,
}

impl Arena {
    /// The shape that rows are encoded for.
    #[must_use]
    pub fn shape(&self) -> Option<&Arc<TableShape>> {
        self.shape.as_ref()
    }

    /// Sets the shape. Only an arena without rows may change it.
    pub fn set_shape(&mut self, shape: Arc<TableShape>) {
        debug_assert!(self.entries.is_empty(), "rows are encoded for one shape");
        self.shape = Some(shape);
    }

    /// Sets the table's truncate floor: later arrivals below it are stored as deleted.
    pub fn set_floor(&mut self, floor: Option<Truncate>) {
        self.floor = Truncate::later(self.floor, floor);
    }

    /// Sets what to do about a change that contradicts the order.
    pub fn set_tripwire(&mut self, tripwire: Tripwire) {
        self.tripwire = tripwire;
    }

    /// Rows so far, at most one per key.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held: encoded rows and keys, and the entries themselves.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
            + self.keys.len()
            + self.entries.len() * size_of::<Entry>()
            + self.layers * size_of::<Layer>()
    }

    pub(super) fn progress(&mut self, slot: Slot) -> &mut Progress {
        let at = usize::from(slot);
        if self.progress.len() <= at {
            self.progress.resize(at + 1, Progress::default());
        }
        &mut self.progress[at]
    }

    /// Whether anything was gathered: rows, or records that left none.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        !self.progress.is_empty()
    }

    /// Counts a record that a named rule skips.
    pub fn skip(&mut self, slot: Slot) {
        self.progress(slot).skipped += 1;
    }

    /// Counts a record that is dead-lettered; its row follows with [`Arena::add_letter`].
    pub fn dead_letter(&mut self, slot: Slot) {
        self.progress(slot).dead_lettered += 1;
    }

    /// Adds the row of an acknowledged dead letter.
    pub fn add_letter(&mut self, row: DeadLetterRow) {
        self.letters.push(row);
    }

    /// The open batch holds records that were read before, in an earlier epoch ([`Batch::again`]).
    pub fn read_again(&mut self) {
        self.again = true;
    }

    /// A whole row of the batch closes the holes of its key below it.
    pub fn close_holes(&mut self, key: &[u8], version: Version) {
        self.closed.push((key.to_vec(), version));
    }

    /// The hole of this key and version is open again: what closed it in this batch was read before the record that left it.
    pub fn keep_hole(&mut self, key: &[u8], version: Version) {
        self.closed.retain(|(closed, to)| closed != key || *to < version);
    }

    /// Folds one truncate of the whole table in.
    pub fn truncate(&mut self, slot: Slot, truncate: Truncate) {
        self.progress(slot).changes += 1;
        self.truncate = Truncate::later(self.truncate, Some(truncate));
        self.floor = Truncate::later(self.floor, Some(truncate));
    }

    /// Folds one change in.
    pub fn fold(&mut self, change: Incoming<'_>) -> Folded {
        let hash = self.hasher.hash_one(change.key);
        if change.kind == Kind::Tombstone {
            return self.fold_tombstone(&change, hash);
        }
        let progress = self.progress(change.slot);
        progress.changes += 1;
        progress.first = progress.first.or(Some(change.version));
        if change.kind == Kind::Delete {
            self.remember_delete(change.slot, change.offset, hash);
        }
        self.place(&change, hash)
    }

    pub(super) fn place(&mut self, change: &Incoming<'_>, hash: u64) -> Folded {
        let found = self.find(hash, change.key);
        let mut superseded = Folded::Superseded;
        if let Some(at) = found {
            let top = &self.entries[at].top;
            if change.own_time
                && change.version.is_late_below(&top.version)
                && top.source_ts.is_some_and(|at| change.source_ts > Some(at))
            {
                superseded = Folded::Contradicted(top.version);
                if self.tripwire == Tripwire::Stop {
                    self.progress(change.slot).changes -= 1;
                    return superseded;
                }
            }
            if change.version <= top.version
                && (change.version == top.version
                    || top.kind == Kind::Whole
                    || self.entries[at].layers().any(|layer| layer.is_before_repetition(change)))
            {
                self.progress(change.slot).folded += 1;
                return superseded;
            }
        }
        self.foreign_time |= !change.own_time && change.kind != Kind::Tombstone;
        let base = change.old_key.map(|key| {
            self.moves += 1;
            let key = append(&mut self.keys, key);
            let old = OldKey { key, at: change.version, live: None };
            Box::new(Base { from: change.version, old: Some(old) })
        });
        let mut layer = Layer {
            body: append(&mut self.bytes, change.body),
            kind: change.kind,
            version: change.version,
            deleted_at: change.deleted_at,
            source_ts: change.source_ts,
            slot: change.slot,
            offset: change.offset,
            kept: if change.kind == Kind::Partial {
                change.kept.clone()
            } else {
                ColumnSet::default()
            },
            needs_base: change.needs_base.then_some((change.slot, change.offset)),
            base,
            origin: (change.slot, change.offset),
        };
        if let Some(floor) = self.floor
            && layer.version < floor.version
            && layer.kind != Kind::Tombstone
        {
            layer.truncate(floor.at);
        }
        let Some(at) = found else {
            let began = self.progress(change.slot).first;
            self.suspect_first(change, &layer.body, began);
            let key = append(&mut self.keys, change.key);
            let rows = Rows::first(change);
            self.insert(Entry { hash, key, top: layer, rows, below: Vec::new() });
            return Folded::Kept;
        };
        if layer.version > self.entries[at].top.version {
            self.count_rows(at, change, &layer.body);
            let entry = &mut self.entries[at];
            let folded = entry.top.slot;
            if layer.kind == Kind::Whole && (self.moves == 0 || entry.top.kind != Kind::Delete) {
                entry.top = layer;
                if self.moves == 0 {
                    entry.below.clear();
                }
            } else {
                let older = std::mem::replace(&mut entry.top, layer);
                self.spare.push(&mut entry.below, older);
                self.layers += 1;
            }
            self.progress(folded).folded += 1;
            Folded::Kept
        } else {
            // Older than a row that does not carry every column: it may fill what that one lacks.
            self.spare.push(&mut self.entries[at].below, layer);
            self.layers += 1;
            self.progress(change.slot).folded += 1;
            superseded
        }
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.index
            .find(hash, |at| {
                let entry = &self.entries[*at as usize];
                entry.hash == hash && slice(&self.keys, &entry.key) == key
            })
            .map(|at| *at as usize)
    }

    fn insert(&mut self, entry: Entry) {
        let at = u32::try_from(self.entries.len()).expect("a batch has fewer than 2^32 rows");
        let hash = entry.hash;
        self.entries.push(entry);
        let entries = &self.entries;
        self.index.insert_unique(hash, at, |at| entries[*at as usize].hash);
    }

    /// Forgets everything gathered (a lost generation, a rewind). The shape and the floor stay.
    pub fn discard(&mut self) {
        self.bytes.clear();
        self.keys.clear();
        self.entries.clear();
        self.layers = 0;
        self.moves = 0;
        self.order.clear();
        self.index.clear();
        self.progress.clear();
        self.last_delete.clear();
        self.suspects.clear();
        self.truncate = None;
        self.letters.clear();
        self.foreign_time = false;
        self.again = false;
        self.closed.clear();
    }

    /// Closes the batch: merges layers, sorts by key, hands everything over and starts anew.
    ///
    /// `ranges` names every partition that the batch covers, in the order of [`Batch::ranges`].
    pub fn seal(&mut self, number: u64, ranges: Vec<SealedRange>) -> Batch {
        let mut place = vec![u16::MAX; self.progress.len().max(ranges.len())];
        let mut sealed = Vec::with_capacity(ranges.len());
        for (at, SealedRange { slot, mut range }) in ranges.into_iter().enumerate() {
            let progress = self.progress.get(usize::from(slot)).copied().unwrap_or_default();
            range.changes = progress.changes;
            range.folded = progress.folded;
            range.skipped = progress.skipped;
            range.dead_lettered = progress.dead_lettered;
            if place.len() <= usize::from(slot) {
                place.resize(usize::from(slot) + 1, u16::MAX);
            }
            place[usize::from(slot)] =
                u16::try_from(at).expect("a lane has fewer than 2^16 partitions");
            sealed.push(range);
        }
        let mut rows = self.rows_in_key_order();
        for row in &mut rows {
            row.range = place[usize::from(row.range)];
            row.origin.0 = place[usize::from(row.origin.0)];
            if let Some(needs) = &mut row.needs_base {
                needs.0 = place[usize::from(needs.0)];
            }
        }
        let capacity = (self.bytes.len(), self.keys.len());
        let batch = Batch {
            number,
            shape: self.shape.clone(),
            bytes: std::mem::replace(&mut self.bytes, fitting(&mut self.spare.bytes, capacity.0)),
            keys: std::mem::replace(&mut self.keys, fitting(&mut self.spare.keys, capacity.1)),
            rows,
            ranges: sealed,
            truncate: self.truncate.take(),
            letters: std::mem::take(&mut self.letters),
            tripwire: (!std::mem::take(&mut self.foreign_time)).then_some(self.tripwire),
            again: std::mem::take(&mut self.again),
            closed: std::mem::take(&mut self.closed),
            suspects: self.take_suspects(|slot| place[usize::from(slot)]),
            parts: Vec::new(),
        };
        self.index.clear();
        self.progress.clear();
        batch
    }

    /// Brings the rows into key order before the seal, for when there is time and the batch is unlikely to grow.
    pub fn sort_ahead(&mut self) {
        let Self { entries, keys, order, .. } = self;
        if order.len() == entries.len() {
            // Entries are only ever added, or all forgotten together with their order.
            return;
        }
        order.clear();
        for (at, entry) in entries.iter().enumerate() {
            let at = u32::try_from(at).expect("insert() bounds the entries");
            order.push((prefix(slice(keys, &entry.key)), at));
        }
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                let key = |at: u32| slice(keys, &entries[at as usize].key);
                key(a.1).cmp(key(b.1))
            })
        });
    }

    fn rows_in_key_order(&mut self) -> Vec<StagedRow> {
        self.sort_ahead();
        // What came before the truncate in this batch was folded without knowing of it.
        if let Some(floor) = self.truncate.and(self.floor) {
            for layer in self.entries.iter_mut().flat_map(Entry::layers_mut) {
                if layer.version < floor.version {
                    layer.truncate(floor.at);
                }
            }
        }
        let columns = self.shape.as_ref().map_or(0, |shape| shape.columns.len());
        self.resolve_moves(columns);
        self.layers = 0;
        let mut rows = fitting(&mut self.spare.rows, self.entries.len());
        for (_, at) in self.order.drain(..) {
            let Entry { key, top, below, .. } = &mut self.entries[at as usize];
            merge(&mut self.bytes, columns, top, below);
            self.spare.keep(below);
            rows.push(StagedRow {
                body: top.body.clone(),
                key: key.clone(),
                kind: top.kind,
                version: top.version,
                deleted_at: top.deleted_at,
                source_ts: top.source_ts,
                range: top.slot,
                origin: top.origin,
                kept: std::mem::take(&mut top.kept),
                needs_base: top.needs_base,
                base: top.base.take(),
            });
        }
        self.entries.clear();
        rows
    }
}

impl Entry {
    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.top).chain(&self.below)
    }
    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer> {
        std::iter::once(&mut self.top).chain(&mut self.below)
    }
}

pub(super) fn slice<'a>(buffer: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    &buffer[range.start as usize..range.end as usize]
}

/// The first eight data bytes of an encoded key (its length word left out): sorts integers and short texts without
/// touching the key again.
fn prefix(key: &[u8]) -> u64 {
    let data = key.get(4..).unwrap_or_default();
    let mut word = [0; 8];
    let n = data.len().min(8);
    word[..n].copy_from_slice(&data[..n]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
#[path = "arena_tests.rs"]
mod tests;
