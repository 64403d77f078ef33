//! The changes of one key that do not carry every column, and how they become one row (I9).

use super::arena::Slot;
use super::{ColumnSet, Kind};
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
    pub(super) needs_base: bool,
}

/// Applies the layers of a key one by one, oldest first. `bytes` holds their bodies and takes the merged ones.
pub(super) fn merge(
    bytes: &mut Vec<u8>,
    columns: usize,
    top: Layer,
    mut below: Vec<Layer>,
) -> Layer {
    if below.is_empty() {
        return top;
    }
    below.sort_by_key(|layer| layer.version);
    below.push(top);
    let mut layers = below.into_iter();
    let mut state = layers.next().expect("top was pushed");
    for next in layers {
        state = merge_two(bytes, columns, state, next);
    }
    state
}

fn merge_two(bytes: &mut Vec<u8>, columns: usize, older: Layer, newer: Layer) -> Layer {
    match newer.kind {
        Kind::Whole => newer,
        // The image stays, the mark is new.
        Kind::Delete | Kind::Tombstone => match older.kind {
            Kind::Whole | Kind::Partial => Layer {
                body: older.body,
                kind: older.kind,
                kept: older.kept,
                needs_base: older.needs_base,
                ..newer
            },
            Kind::Delete | Kind::Tombstone => newer,
        },
        Kind::Partial => match older.kind {
            Kind::Delete | Kind::Tombstone => newer,
            Kind::Whole | Kind::Partial => overlay(bytes, columns, &older, newer),
        },
    }
}

/// Column by column: what the newer row does not give comes from the older one.
fn overlay(bytes: &mut Vec<u8>, columns: usize, older: &Layer, newer: Layer) -> Layer {
    let start = bytes.len();
    let mut kept = ColumnSet::default();
    let (mut from_older, mut from_newer) = (older.body.start, newer.body.start);
    for column in 0..columns {
        let old = field(bytes, &mut from_older);
        let new = field(bytes, &mut from_newer);
        let taken = if newer.kept.contains(column) {
            if older.kind == Kind::Partial && older.kept.contains(column) {
                kept.insert(column);
            }
            old
        } else {
            new
        };
        bytes.extend_from_within(taken.start as usize..taken.end as usize);
    }
    let body = to_u32(start)..to_u32(bytes.len());
    let whole = kept.is_empty();
    Layer {
        body,
        kind: if whole { Kind::Whole } else { Kind::Partial },
        // The older change is the base of the newer one; what it lacks itself is asked of the target.
        needs_base: !whole && older.needs_base,
        kept,
        ..newer
    }
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
