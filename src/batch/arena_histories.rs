//! Random histories of a few keys for the tests of the fold.

use super::super::Slot;
use super::model::Change;
use crate::batch::Kind;
use proptest::prelude::*;

pub const SLOTS: Slot = 3;

fn kinds(tombstones: bool) -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Whole),
        3 => Just(Kind::Partial),
        2 => Just(Kind::Delete),
        if tombstones { 2 } else { 0 } => Just(Kind::Tombstone),
    ]
}

/// Changes whose rank is their place in the history; each key lives in one partition when `homed`. With `moves` some are
/// changes of a key: a delete and a create at one position.
pub fn histories(tombstones: bool, homed: bool, moves: bool) -> impl Strategy<Value = Vec<Change>> {
    let change = (
        0..4_u8,
        kinds(tombstones),
        any::<[Option<u8>; 3]>(),
        1..8_u8,
        prop::bool::weighted(0.3),
        0..SLOTS,
        prop::option::weighted(0.3, 1..4_u8),
    );
    prop::collection::vec(change, 1..24).prop_map(move |changes| {
        let mut next = [0; SLOTS as usize];
        let mut history = Vec::new();
        let mut alive = [false; 4];
        for (rank, (key, kind, values, kept, marked, slot, moved)) in
            changes.into_iter().enumerate()
        {
            // What a placeholder stands for is never NULL.
            let values = if moves { values.map(|value| value.or(Some(0))) } else { values };
            // Whole rows that are marked come from flattened records, which know no placeholder.
            let marked = marked && (kind == Kind::Partial || !moves);
            // No partial row gives the first column: rows of one life never complete each other without their base.
            let kept = kept | 1;
            let change = Change {
                key,
                kind,
                values,
                kept,
                marked,
                old: None,
                rank: rank as u64 + 1,
                slot,
                offset: 0,
            };
            let from = usize::from(key);
            match moved.filter(|_| moves && alive[from]) {
                None => {
                    alive[from] = kind == Kind::Whole || kind == Kind::Partial && alive[from];
                    history.push(change);
                }
                Some(by) => {
                    let to = (key + by) % 4;
                    (alive[from], alive[usize::from(to)]) = (false, true);
                    let create =
                        Change { kind: Kind::Partial, marked: true, old: Some(key), ..change };
                    let delete = Change { kind: Kind::Delete, marked: false, ..change };
                    history.extend([delete, Change { key: to, ..create }]);
                }
            }
        }
        for change in &mut history {
            if homed {
                change.slot = Slot::from(change.key) % SLOTS;
            }
            let slot = usize::from(change.slot);
            change.offset = next[slot];
            next[slot] += 1;
        }
        history
    })
}
