//! The changes of one key that do not carry every column, and how they become one row (I9).

use super::arena::{Incoming, Slot};
use super::{Base, ColumnSet, Kind};
use crate::version::Version;
use std::ops::Range;

/// One change of a key that has a newer, incomplete one above it, or that newest one itself.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) body: Range<u32>,
    pub(super) kind: Kind,
    pub(super) version: Version,
    pub(super) deleted_at: Option<i64>,
    pub(super) source_ts: Option<i64>,
    pub(super) slot: Slot,
    pub(super) offset: i64,
    pub(super) kept: ColumnSet,
    /// The record that has placeholders without a value under them.
    pub(super) needs_base: Option<(Slot, i64)>,
    pub(super) base: Option<Box<Base>>,
    /// The record that the body came from: the one to blame when PostgreSQL refuses the row.
    pub(super) origin: (Slot, i64),
}

/// Where each field of a row stands that was put together from several bodies; `None` while its body is still one piece.
type Fields = Option<Vec<Range<u32>>>;

impl Layer {
    /// Whether an older change stands behind this one in its partition: the connector repeats itself after a crash. What was
    /// there when this one was written is known from before, so the older one is no base of it.
    pub(super) fn is_before_repetition(&self, older: &Incoming<'_>) -> bool {
        older.version < self.version
            && older.kind != Kind::Tombstone
            && older.slot == self.slot
            && older.offset > self.offset
    }

    /// Below a truncate: stored as deleted, so that no reader sees it, and therefore without need of a base.
    pub(super) fn truncate(&mut self, at: i64) {
        self.deleted_at = self.deleted_at.or(Some(at));
        (self.needs_base, self.base) = (None, None);
    }
}

/// Applies the layers of a key one by one, oldest first, so that `top` becomes the row and nothing is below it. `bytes` holds
/// their bodies; a row that was put together from several is written once, at the end, however many layers it has.
pub(super) fn merge(bytes: &mut Vec<u8>, columns: usize, top: &mut Layer, below: &mut Vec<Layer>) {
    if below.is_empty() {
        return;
    }
    below.sort_by_key(|layer| layer.version);
    below.push(top.clone());
    let mut layers = below.drain(..);
    let mut state = layers.next().expect("top was pushed");
    let mut fields = None;
    for next in layers {
        state = merge_two(bytes, columns, &mut fields, state, next);
    }
    write(bytes, fields, &mut state);
    *top = state;
}

/// The row with `older` as its base, whatever became of that one.
pub(super) fn lay_over(bytes: &mut Vec<u8>, columns: usize, older: &Layer, newer: Layer) -> Layer {
    let mut fields = None;
    let mut row = overlay(bytes, columns, &mut fields, older, newer);
    write(bytes, fields, &mut row);
    row
}

fn write(bytes: &mut Vec<u8>, fields: Fields, row: &mut Layer) {
    let Some(fields) = fields else { return };
    let start = to_u32(bytes.len());
    for field in fields {
        bytes.extend_from_within(field.start as usize..field.end as usize);
    }
    row.body = start..to_u32(bytes.len());
}

fn merge_two(
    bytes: &[u8],
    columns: usize,
    fields: &mut Fields,
    older: Layer,
    newer: Layer,
) -> Layer {
    match (newer.kind, older.kind) {
        // The image stays, the mark is new.
        (Kind::Delete, Kind::Whole | Kind::Partial) => Layer {
            body: older.body,
            kind: older.kind,
            kept: older.kept,
            needs_base: older.needs_base,
            base: older.base,
            origin: older.origin,
            ..newer
        },
        (Kind::Partial, Kind::Whole | Kind::Partial) if !begins_a_life(&newer, &older) => {
            overlay(bytes, columns, fields, &older, newer)
        }
        (Kind::Partial, _) => {
            *fields = None;
            above(&older, newer)
        }
        // A bare tombstone above a row is one of another partition, above a snapshot's: whatever row it marks, it has no
        // position at the source to give to this one.
        (Kind::Whole | Kind::Tombstone, _) | (_, Kind::Delete | Kind::Tombstone) => {
            *fields = None;
            newer
        }
    }
}

/// Whether a partial row stands at the start of another life of its key than the older change: by a change of the key, or
/// because the older one ended a life and the insert between them is not here (dead-lettered, or of another batch).
fn begins_a_life(newer: &Layer, older: &Layer) -> bool {
    let moved = newer.base.as_ref().is_some_and(|base| base.old.is_some());
    moved || newer.needs_base.is_some() && older.deleted_at.is_some()
}

/// A partial row for which neither the older change nor what came before it is a base (I9).
fn above(older: &Layer, newer: Layer) -> Layer {
    if newer.needs_base.is_none() || newer.base.is_some() {
        return newer;
    }
    let from = match older.kind {
        // It has no position at the source, so no version tells what came after it.
        Kind::Tombstone => newer.version,
        Kind::Whole | Kind::Partial | Kind::Delete => older.version.successor(),
    };
    Layer { base: Some(Box::new(Base { from, old: None })), ..newer }
}

/// Column by column: what the newer row does not give comes from the older one.
fn overlay(
    bytes: &[u8],
    columns: usize,
    fields: &mut Fields,
    older: &Layer,
    newer: Layer,
) -> Layer {
    let mut state = fields.take().unwrap_or_else(|| fields_of(bytes, columns, &older.body));
    let mut kept = ColumnSet::default();
    let mut from_newer = newer.body.start;
    for (column, place) in state.iter_mut().enumerate() {
        let given = field(bytes, &mut from_newer);
        if !newer.kept.contains(column) {
            *place = given;
        } else if older.kind == Kind::Partial && older.kept.contains(column) {
            kept.insert(column);
        }
    }
    *fields = Some(state);
    let whole = kept.is_empty();
    Layer {
        kind: if whole { Kind::Whole } else { Kind::Partial },
        // The older change is the base of the newer one; what it lacks itself is asked of the target.
        needs_base: older.needs_base.filter(|_| !whole),
        base: if whole { None } else { older.base.clone() },
        kept,
        ..newer
    }
}

fn fields_of(bytes: &[u8], columns: usize, body: &Range<u32>) -> Vec<Range<u32>> {
    let mut at = body.start;
    (0..columns).map(|_| field(bytes, &mut at)).collect()
}

/// The next encoded field of a row body: its range, length word included; advances `at` past it.
fn field(bytes: &[u8], at: &mut u32) -> Range<u32> {
    let start = *at;
    let word = bytes.get(start as usize..start as usize + 4);
    let length = word.and_then(|w| w.try_into().ok()).map_or(-1, i32::from_be_bytes);
    *at = start + 4 + u32::try_from(length).unwrap_or(0);
    start..*at
}

pub(super) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("a batch holds less than 4 GiB")
}

pub(super) fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Range<u32> {
    let start = to_u32(buffer.len());
    buffer.extend_from_slice(bytes);
    start..to_u32(buffer.len())
}
