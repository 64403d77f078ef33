//! What holes mean for the open batch (I9).

use super::*;
use crate::batch::holes::Holes;

#[test]
fn a_hole_that_is_opened_again_is_not_closed_by_what_came_before() {
    let mut arena = arena();
    let version = |rank| change(Kind::Whole, rank, 1).version();
    for (key, rank) in [(b"k", 3), (b"k", 5), (b"l", 5)] {
        arena.close_holes(key, version(rank));
    }
    arena.keep_hole(b"k", version(4));
    let left = [(b"k".to_vec(), version(3)), (b"l".to_vec(), version(5))];
    assert_eq!(seal(&mut arena).closed, left);
}

#[test]
fn a_moved_row_has_no_base_where_its_old_key_has_a_hole() {
    // The hole is known when the batch is sealed: below the change of the key; above it; made good between the two.
    for (hole, whole, is_completed) in [(4, 3, false), (6, 3, true), (3, 4, true)] {
        let mut arena = arena();
        let old = change(Kind::Whole, whole, 1);
        let delete = Change { kind: Kind::Delete, rank: 5, offset: 2, ..old };
        let kind = Kind::Partial;
        let moved = Change { kind, key: 9, marked: true, old: Some(old.key), kept: 7, ..delete };
        // Another life of the key, which is no base in any case.
        fold(&mut arena, &Change { key: 9, ..change(Kind::Whole, 1, 0) });
        fold(&mut arena, &Change { slot: 1, ..moved });
        let mut holes = Holes::default();
        holes.open(&encoded(&[Some(old.key)]), change(Kind::Whole, hole, 1).version());
        holes.close(&encoded(&[Some(old.key)]), old.version());
        fold(&mut arena, &old);
        fold(&mut arena, &delete);
        arena.leave_holes(&holes);
        let batch = seal(&mut arena);
        let row = batch.rows.iter().find(|row| batch.key(row) == encoded(&[Some(9)])).unwrap();
        assert_eq!(row.kind == Kind::Whole, is_completed, "{hole}");
        let is_cut = |base: &Base| base.old.as_ref().is_some_and(|old| old.at == Version::HIGHEST);
        let baseless = row.needs_base.is_some() && row.base.as_deref().is_some_and(is_cut);
        assert_eq!(baseless, !is_completed, "{hole}");
    }
}
