//! Tests of the fold: whatever it makes of a history must change a table as the history itself would, change by change.

use super::*;
use crate::table::{Bookkeeping, Column, ColumnType, TableName};
use crate::version::VersionParts;
use proptest::prelude::*;

#[path = "arena_histories.rs"]
mod histories;
#[path = "arena_holes.rs"]
mod holes;
#[path = "arena_model.rs"]
mod model;
use histories::*;
use model::*;

fn shape() -> Arc<TableShape> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        ty: ColumnType {
            oid: 17,
            base_oid: 17,
            element_oid: 0,
            typtype: 'b',
            base_typtype: 'b',
            base_name: String::new(),
            typmod: -1,
            sql: "bytea".to_owned(),
        },
        not_null: false,
        generated: false,
        identity_always: false,
    };
    Arc::new(TableShape {
        table: TableName::new("public", "t"),
        columns: ["k", "a", "b", "c"].map(column).to_vec(),
        generated: Vec::new(),
        key: vec![0],
        bookkeeping: Bookkeeping::default(),
    })
}

fn fold(arena: &mut Arena, change: &Change) -> Folded {
    let mut kept = ColumnSet::default();
    (0..COLUMNS).filter(|column| change.keeps(*column)).for_each(|column| kept.insert(column));
    arena.fold(Incoming {
        body: &encoded(&change.image()),
        key: &encoded(&[Some(change.key)]),
        kind: change.kind,
        version: change.version(),
        deleted_at: change.deleted_at(),
        source_ts: Some(change.offset),
        own_time: false,
        kept: &kept,
        needs_base: change.needs_base(),
        old_key: change.old.map(|key| encoded(&[Some(key)])).as_deref(),
        told: Told::Nothing,
        slot: change.slot,
        offset: change.offset,
    })
}

fn seal(arena: &mut Arena) -> Batch {
    let range = |slot: Slot| OffsetRange {
        topic: "t".to_owned(),
        topic_id: uuid::Uuid::nil(),
        partition: slot.into(),
        owner_epoch: 1,
        from: 0,
        next: 0,
        changes: 0,
        folded: 0,
        skipped: 0,
        dead_lettered: 0,
        lineage: None,
    };
    // Ranges stand in another order than slots.
    let ranges = (0..SLOTS).rev().map(|slot| SealedRange { slot, range: range(slot) });
    let batch = arena.seal(1, ranges.collect());
    assert!(
        batch.rows.windows(2).all(|pair| batch.key(&pair[0]) < batch.key(&pair[1])),
        "sorted and unique"
    );
    batch
}

/// Every record of the batch is counted once, and the rows of a range are what the fold left of its changes (I1).
fn check_counts(batch: &Batch, records: &[Change]) {
    for (at, range) in batch.ranges.iter().enumerate() {
        let rows = batch.rows.iter().filter(|row| usize::from(row.range) == at).count() as u64;
        let mine = records.iter().filter(|change| i32::from(change.slot) == range.partition).count()
            as u64;
        assert_eq!(range.changes, rows + range.folded, "{range:?}");
        assert_eq!(range.changes + range.skipped, mine, "{range:?}");
    }
    let from_winner = |row: &StagedRow| {
        let slot = batch.ranges[usize::from(row.origin.0)].partition;
        records.iter().any(|change| (i32::from(change.slot), change.offset) == (slot, row.origin.1))
    };
    assert!(batch.rows.iter().all(from_winner));
}

fn arena() -> Arena {
    let mut arena = Arena::default();
    arena.set_shape(shape());
    arena
}

/// Folds records and applies the batch; what has no base is taken out and the rest read again, as the worker does. Every
/// record that is taken out must be one that `quarantined` holds.
fn land(
    arena: &mut Arena,
    table: &mut Table,
    floor: &mut Option<Version>,
    records: &[Change],
    quarantined: &[(Slot, i64)],
) {
    let mut left = records.to_vec();
    loop {
        left.iter().for_each(|change| {
            fold(arena, change);
        });
        let batch = seal(arena);
        check_counts(&batch, &left);
        let Err(refused) = apply_batch(table, &batch, floor) else { return };
        for (slot, offset) in refused {
            let at = (Slot::try_from(slot).expect("few slots"), offset);
            assert!(quarantined.contains(&at), "{at:?} has a base");
            left.retain(|change| (change.slot, change.offset) != at);
        }
        arena.discard();
    }
}

/// Applies a history change by change; tells which changes have no base.
fn one_by_one(table: &mut Table, history: &[Change], floor: Option<Version>) -> Vec<(Slot, i64)> {
    let without_base = history.iter().filter(|change| !apply_one(table, change, floor));
    without_base.map(|change| (change.slot, change.offset)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The order of arrival does not matter inside a batch, nor do repetitions: the order is the version.
    #[test]
    fn a_batch_equals_its_changes_one_by_one_in_version_order(
        history in histories(false, false, false),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        order in any::<u64>(),
    ) {
        let mut arrival = history.clone();
        arrival.extend(repeated.iter().map(|at| *at.get(&history)));
        fastrand::Rng::with_seed(order).shuffle(&mut arrival);

        let (mut folded, mut expected) = (Table::new(), Table::new());
        let quarantined = one_by_one(&mut expected, &history, None);
        land(&mut arena(), &mut folded, &mut None, &arrival, &quarantined);
        prop_assert_eq!(folded, expected);
    }

    /// Wherever the batches are cut, whatever the table holds already, and however often a stretch is read again.
    #[test]
    fn batches_equal_their_changes_one_by_one(
        (history, cuts) in any::<bool>().prop_flat_map(|tombstones| (
            histories(tombstones, true, !tombstones),
            prop::collection::vec(1..8_usize, 1..24),
        )),
        rewinds in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3),
    ) {
        let mut stretches = Vec::new();
        let (mut from, mut cuts) = (0, cuts.iter().cycle());
        while from < history.len() {
            let next = (from + cuts.next().expect("a cycle")).min(history.len());
            stretches.push(from..next);
            from = next;
        }
        for (at, back) in rewinds {
            // After the batch `at`, everything from `back` on is read again, in one batch as far as it had come.
            let at = at.index(stretches.len());
            let next = stretches[at].end;
            stretches.insert(at + 1, back.index(next)..next);
        }

        let (mut arena, mut folded, mut expected) = (arena(), Table::new(), Table::new());
        for stretch in stretches {
            let records = &history[stretch];
            let quarantined = one_by_one(&mut expected, records, None);
            land(&mut arena, &mut folded, &mut None, records, &quarantined);
            prop_assert_eq!(&folded, &expected);
        }
    }

    /// Truncates at any place in the order of versions, which is not the order of arrival. When a row was marked is not
    /// compared: of two truncates the batch keeps the later one.
    #[test]
    fn a_truncate_marks_what_is_below_it_and_nothing_else(
        history in histories(false, false, false),
        truncates in prop::collection::vec(0..24_u64, 1..3),
        order in any::<u64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let at = |rank: u64| Truncate {
            version: Version::new(VersionParts { commit_position: rank.into(), phase: 2, ..VersionParts::default() }),
            at: 0,
        };
        let mut expected = Table::new();
        let highest = truncates.iter().map(|rank| at(*rank).version).max();
        let mut quarantined = one_by_one(&mut expected, &history, highest);

        let mut arrival: Vec<_> = history.iter().map(Ok).chain(truncates.iter().map(Err)).collect();
        fastrand::Rng::with_seed(order).shuffle(&mut arrival);
        // Only rows that carry every column survive any order of arrival across batches.
        let whole = history.iter().all(|change| change.kind == Kind::Whole);
        let cut = if whole { cut.index(arrival.len()) } else { 0 };
        let (mut arena, mut folded, mut floor) = (arena(), Table::new(), None);
        for part in [&arrival[..cut], &arrival[cut..]] {
            let mut part = part.to_vec();
            loop {
                for arrived in &part {
                    match arrived {
                        Ok(change) => { fold(&mut arena, change); }
                        Err(rank) => arena.truncate(0, at(**rank)),
                    }
                }
                let Err(refused) = apply_batch(&mut folded, &seal(&mut arena), &mut floor) else { break };
                for (slot, offset) in refused {
                    let is_refused = |change: &&Change| i32::from(change.slot) == slot && change.offset == offset;
                    let known = quarantined.iter().position(|at| (i32::from(at.0), at.1) == (slot, offset));
                    quarantined.swap_remove(known.expect("it has a base"));
                    part.retain(|arrived| !arrived.as_ref().is_ok_and(is_refused));
                }
                arena.discard();
            }
        }
        let marks = |table: Table| -> Vec<_> {
            table.into_iter().map(|(k, row)| (k, row.image, row.version, row.deleted_at.is_some())).collect()
        };
        prop_assert_eq!(marks(folded), marks(expected));
    }
}

fn change(kind: Kind, rank: u64, offset: i64) -> Change {
    Change {
        key: 7,
        kind,
        values: [Some(1), Some(2), Some(3)],
        kept: 0,
        marked: false,
        old: None,
        rank,
        slot: 0,
        offset,
    }
}

#[test]
fn a_tombstone_behind_its_delete_is_skipped_even_in_the_next_batch() {
    let mut arena = arena();
    assert_eq!(fold(&mut arena, &change(Kind::Delete, 1, 4)), Folded::Kept);
    assert_eq!(seal(&mut arena).rows.len(), 1);
    assert_eq!(fold(&mut arena, &change(Kind::Tombstone, 0, 5)), Folded::RedundantTombstone);
    let batch = seal(&mut arena);
    assert!(batch.rows.is_empty());
    assert_eq!(batch.ranges.iter().map(|range| range.skipped).sum::<u64>(), 1);
}

#[test]
fn a_tombstone_alone_is_the_delete() {
    let mut arena = arena();
    fold(&mut arena, &change(Kind::Whole, 1, 4));
    assert_eq!(fold(&mut arena, &change(Kind::Tombstone, 0, 6)), Folded::Kept);
    let batch = seal(&mut arena);
    let row = &batch.rows[0];
    assert_eq!((row.kind, row.deleted_at, row.origin.1), (Kind::Whole, Some(1_006), 4));
    assert_eq!(row.version.parts().commit_position, 1);
}

#[test]
fn a_snapshot_row_below_a_tombstone_of_another_partition_does_not_take_its_version() {
    let mut arena = arena();
    fold(&mut arena, &Change { slot: 1, ..change(Kind::Tombstone, 0, 6) });
    let tombstone = Version::new(VersionParts { phase: 1, kafka_offset: 6, ..Default::default() });
    let parts = VersionParts { change_position: 9, kafka_offset: 3, ..Default::default() };
    let snapshot = Version::new(parts);
    assert!(snapshot < tombstone);
    let row = change(Kind::Whole, 0, 3);
    let image = encoded(&row.image());
    arena.fold(Incoming {
        body: &image,
        key: &encoded(&[Some(row.key)]),
        kind: Kind::Whole,
        version: snapshot,
        deleted_at: None,
        source_ts: Some(3),
        own_time: true,
        kept: &ColumnSet::default(),
        needs_base: false,
        old_key: None,
        told: Told::Nothing,
        slot: 0,
        offset: 3,
    });
    let batch = seal(&mut arena);
    assert_eq!((batch.rows[0].kind, batch.rows.len()), (Kind::Tombstone, 1));
}

#[test]
fn a_tombstone_of_another_partition_or_from_before_the_row_says_nothing() {
    let mut arena = arena();
    fold(&mut arena, &change(Kind::Whole, 1, 4));
    let elsewhere = Change { slot: 1, ..change(Kind::Tombstone, 0, 9) };
    assert_eq!(fold(&mut arena, &elsewhere), Folded::RedundantTombstone);
    assert_eq!(fold(&mut arena, &change(Kind::Tombstone, 0, 3)), Folded::RedundantTombstone);
    let batch = seal(&mut arena);
    assert_eq!(batch.rows[0].deleted_at, None);
    assert_eq!(batch.ranges.iter().map(|range| range.skipped).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn a_late_update_does_not_revive_and_a_new_insert_does() {
    let mut arena = arena();
    fold(&mut arena, &change(Kind::Delete, 5, 5));
    assert_eq!(fold(&mut arena, &change(Kind::Whole, 4, 6)), Folded::Superseded);
    let batch = seal(&mut arena);
    assert_eq!(batch.rows[0].deleted_at, Some(1_005));
    fold(&mut arena, &change(Kind::Delete, 5, 5));
    assert_eq!(fold(&mut arena, &change(Kind::Whole, 6, 7)), Folded::Kept);
    assert_eq!(seal(&mut arena).rows[0].deleted_at, None);
}

#[test]
fn a_placeholder_below_an_absent_column_still_needs_its_base() {
    let mut arena = arena();
    fold(&mut arena, &Change { kept: 0b001, marked: true, ..change(Kind::Partial, 1, 0) });
    fold(&mut arena, &Change { kept: 0b011, marked: false, ..change(Kind::Partial, 2, 1) });
    let batch = seal(&mut arena);
    assert!(batch.rows[0].needs_base == Some((2, 0)) && batch.rows[0].kept.contains(1));
    assert!(!batch.rows[0].kept.contains(2), "the older change gives it");
}

#[test]
fn a_placeholder_that_an_older_change_fills_needs_no_base() {
    let mut arena = arena();
    fold(&mut arena, &change(Kind::Whole, 1, 0));
    fold(&mut arena, &Change { kept: 0b101, marked: true, ..change(Kind::Partial, 2, 1) });
    let row = &seal(&mut arena).rows[0];
    assert_eq!((row.kind, row.needs_base, row.kept.is_empty()), (Kind::Whole, None, true));
}

#[test]
fn what_the_connector_repeats_is_no_base_of_what_it_wrote_before() {
    let mut arena = arena();
    let placeholder = Change { kept: 0b101, marked: true, ..change(Kind::Partial, 5, 3) };
    fold(&mut arena, &placeholder);
    assert_eq!(fold(&mut arena, &change(Kind::Whole, 2, 7)), Folded::Superseded);
    let row = &seal(&mut arena).rows[0];
    assert_eq!((row.kind, row.needs_base), (Kind::Partial, Some((2, 3))));

    // In another partition it may have been there before.
    fold(&mut arena, &placeholder);
    fold(&mut arena, &Change { slot: 1, ..change(Kind::Whole, 2, 7) });
    let row = &seal(&mut arena).rows[0];
    assert_eq!((row.kind, row.needs_base), (Kind::Whole, None));
}

#[test]
fn keys_of_any_length_stand_in_one_order_whatever_the_order_of_arrival() {
    let texts = ["", "a", "a\0", "aa", "aaaaaaaa", "aaaaaaaab", "aaaaaaaaaa", "b"];
    let key = |text: &str| {
        [&u32::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat()
    };
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let mut arrival = [texts, texts].concat();
        rng.shuffle(&mut arrival);
        let mut arena = arena();
        let sorted_at = rng.usize(0..arrival.len());
        for (offset, text) in arrival.iter().enumerate() {
            if offset == sorted_at {
                // What arrives later must find its place all the same.
                arena.sort_ahead();
            }
            let change = change(Kind::Whole, offset as u64, offset as i64);
            arena.fold(Incoming {
                body: &encoded(&change.image()),
                key: &key(text),
                kind: Kind::Whole,
                version: change.version(),
                deleted_at: None,
                source_ts: None,
                own_time: false,
                kept: &ColumnSet::default(),
                needs_base: false,
                old_key: None,
                told: Told::Nothing,
                slot: 0,
                offset: change.offset,
            });
        }
        let batch = arena.seal(1, Vec::new());
        let order: Vec<_> =
            batch.rows.iter().map(|row| String::from_utf8_lossy(&batch.key(row)[4..])).collect();
        assert_eq!(order, texts);
    }
}

#[test]
fn what_is_discarded_leaves_no_trace() {
    let mut arena = arena();
    fold(&mut arena, &change(Kind::Delete, 1, 4));
    arena.truncate(0, Truncate { version: change(Kind::Whole, 9, 9).version(), at: 0 });
    arena.discard();
    assert_eq!(
        fold(&mut arena, &change(Kind::Tombstone, 0, 5)),
        Folded::Kept,
        "the delete is gone"
    );
    let batch = seal(&mut arena);
    assert_eq!(
        (batch.truncate, batch.ranges.iter().map(|range| range.changes).sum::<u64>()),
        (None, 1)
    );
}

fn field(length: usize) -> Vec<u8> {
    let mut field = i32::try_from(length).unwrap().to_be_bytes().to_vec();
    field.resize(4 + length, b'x');
    field
}

/// A row of key 1 whose column `a` has that many bytes, or is kept.
fn incoming<'a>(
    body: &'a [u8],
    key: &'a [u8],
    kept: &'a ColumnSet,
    change: &Change,
) -> Incoming<'a> {
    Incoming {
        body,
        key,
        kind: change.kind,
        version: change.version(),
        deleted_at: change.deleted_at(),
        source_ts: None,
        own_time: false,
        kept,
        needs_base: change.kind == Kind::Partial,
        old_key: None,
        told: Told::Nothing,
        slot: change.slot,
        offset: change.offset,
    }
}

#[test]
fn a_large_value_is_written_once_however_often_its_row_changes() {
    const LARGE: usize = 100_000;
    const UPDATES: i64 = 500;
    let mut arena = arena();
    let key = field(1);
    let whole = [field(1), field(LARGE), field(1), field(1)].concat();
    let none = ColumnSet::default();
    arena.fold(incoming(&whole, &key, &none, &change(Kind::Whole, 1, 0)));
    let small = [field(1), (-1_i32).to_be_bytes().to_vec(), field(1), field(1)].concat();
    let mut kept = ColumnSet::default();
    kept.insert(1);
    for offset in 1..=UPDATES {
        let rank = u64::try_from(offset).unwrap() + 1;
        arena.fold(incoming(&small, &key, &kept, &change(Kind::Partial, rank, offset)));
    }

    let batch = seal(&mut arena);

    assert_eq!((batch.rows.len(), batch.rows[0].kind), (1, Kind::Whole));
    assert_eq!(batch.body(&batch.rows[0]), whole);
    assert!(batch.bytes.len() < 3 * LARGE, "{} bytes", batch.bytes.len());
}

#[test]
fn a_row_is_blamed_on_the_record_that_its_data_came_from() {
    let mut arena = arena();
    fold(&mut arena, &change(Kind::Whole, 1, 10));
    fold(&mut arena, &change(Kind::Delete, 2, 11));

    let batch = seal(&mut arena);

    // The delete carries no data: what PostgreSQL refuses is the update below it.
    assert!(batch.rows[0].deleted_at.is_some());
    assert_eq!(batch.rows[0].origin.1, 10);
}
