//! The fold against a source whose keys may have two rows inside a transaction.

use super::*;
use crate::batch::OffsetRange;
use crate::batch::arena::SealedRange;
use crate::version::VersionParts;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const KEYS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Read,
    Create,
    Update,
    Delete,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    key: u8,
    act: Act,
    version: Version,
}

fn version(commit: u64, phase: u8, change: u64, offset: usize) -> Version {
    Version::new(VersionParts {
        source_epoch: 0,
        commit_position: commit.into(),
        phase,
        change_position: change,
        kafka_offset: offset as u64,
    })
}

/// Transactions as the source commits them, and the deletes after which it still has a row of the key. `true` where the key
/// had been marked like that before, so that Silver takes it for dead.
fn history(
    read: [bool; 4],
    acts: Vec<Vec<(u8, u8)>>,
) -> (Vec<Vec<Event>>, BTreeMap<Version, bool>) {
    let (mut lsn, mut offset) = (10, 0);
    let mut rows = read.map(u8::from);
    let mut wrong = BTreeMap::new();
    let mut marked = [false; 4];
    let mut event = |key, act, commit| {
        (lsn, offset) = (lsn + 1, offset + 1);
        let version = match act {
            Act::Read => version(0, 0, 5, offset),
            _ => version(commit, 1, lsn, offset),
        };
        Event { key, act, version }
    };
    let present = (0..KEYS).filter(|key| read[usize::from(*key)]);
    let mut all = vec![present.map(|key| event(key, Act::Read, 0)).collect::<Vec<_>>()];
    for (commit, acts) in acts.into_iter().enumerate() {
        let commit = commit as u64 + 1;
        let mut events = Vec::new();
        let mut act = |key: u8, act, rows: &mut [u8; 4]| {
            let count = &mut rows[usize::from(key)];
            match act {
                Act::Create => *count += 1,
                Act::Delete => *count -= 1,
                _ => {}
            }
            events.push(event(key, act, commit));
        };
        for (key, what) in acts {
            match (what, rows[usize::from(key)]) {
                (0, 0..3) => act(key, Act::Create, &mut rows),
                (1, 1..) => act(key, Act::Delete, &mut rows),
                (2, 1..) => act(key, Act::Update, &mut rows),
                _ => {}
            }
        }
        // Deferred checks are made now.
        for key in 0..KEYS {
            while rows[usize::from(key)] > 1 {
                act(key, Act::Delete, &mut rows);
            }
        }
        for key in 0..KEYS {
            if rows[usize::from(key)] == 0 {
                marked[usize::from(key)] = false;
                continue;
            }
            let Some(last) = events.iter().rev().find(|event| event.key == key) else { continue };
            let marked = &mut marked[usize::from(key)];
            if last.act == Act::Delete {
                wrong.insert(last.version, *marked);
            }
            *marked = last.act == Act::Delete;
        }
        all.push(events);
    }
    (all, wrong)
}

fn fold(arena: &mut Arena, event: &Event, told: Told<'_>) {
    let deleted = event.act == Act::Delete;
    let none = ColumnSet::default();
    let key = [0, 0, 0, 1, event.key];
    arena.fold(Incoming {
        body: &key,
        key: &key,
        kind: if deleted { Kind::Delete } else { Kind::Whole },
        version: event.version,
        deleted_at: deleted.then_some(1),
        source_ts: Some(0),
        own_time: false,
        kept: &none,
        needs_base: false,
        old_key: None,
        told,
        slot: 0,
        offset: event.version.parts().kafka_offset.cast_signed(),
    });
}

fn seal(arena: &mut Arena) -> Batch {
    let range = OffsetRange {
        topic: "t".to_owned(),
        topic_id: uuid::Uuid::nil(),
        partition: 0,
        owner_epoch: 1,
        from: 0,
        next: 1,
        changes: 0,
        folded: 0,
        skipped: 0,
        dead_lettered: 0,
        lineage: None,
    };
    arena.seal(1, vec![SealedRange { slot: 0, range }])
}

/// A key's row in Silver.
type Silver = BTreeMap<u8, (Version, bool)>;

fn told_of(event: &Event) -> Told<'_> {
    if event.act == Act::Create { Told::Created } else { Told::Nothing }
}

/// Applies the batch, and says which deletes are told, each with its certainty.
fn apply(silver: &mut Silver, batch: &Batch, same: bool) -> Vec<(Version, bool)> {
    let suspects = &batch.suspects.rows;
    let judge = |suspect: &Suspect| {
        let key = batch.bytes[suspect.body.start as usize + 4];
        let found =
            silver.get(&key).map(|(version, live)| Found { version: *version, live: *live, same });
        Some((suspect.version, suspect.judge(found, batch.truncate.as_ref())?))
    };
    let told = suspects.iter().filter_map(judge).collect();
    for row in &batch.rows {
        let stored = silver.entry(batch.key(row)[4]).or_insert((row.version, false));
        if row.version >= stored.0 {
            *stored = (row.version, row.deleted_at.is_none());
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    /// Batches of whole transactions, and transactions that the connector repeats: each such delete is told for certain, once,
    /// and no other one.
    #[test]
    fn exactly_the_deletes_that_leave_a_row_at_the_source_are_told(
        read in any::<[bool; 4]>(),
        acts in prop::collection::vec(prop::collection::vec((0..KEYS, 0..3_u8), 0..10), 1..6),
        cuts in any::<[bool; 12]>(),
        repeats in any::<[bool; 12]>(),
    ) {
        let (history, wrong) = history(read, acts);
        let mut silver = Silver::new();
        let mut arena = Arena::default();
        let mut told = Vec::new();
        let mut offset = 1000;
        for (at, transaction) in history.iter().enumerate() {
            for event in transaction {
                fold(&mut arena, event, told_of(event));
            }
            if cuts[at] {
                told.extend(apply(&mut silver, &seal(&mut arena), false));
            }
            if repeats[at] && at > 0 {
                for event in transaction {
                    offset += 1;
                    let parts = VersionParts { kafka_offset: offset, ..event.version.parts() };
                    let again = Event { version: Version::new(parts), ..*event };
                    fold(&mut arena, &again, told_of(&again));
                }
            }
        }
        told.extend(apply(&mut silver, &seal(&mut arena), false));
        let certain: BTreeSet<Version> = told.iter().map(|(version, _)| *version).collect();
        prop_assert!(told.iter().all(|(_, certain)| *certain), "{told:?}");
        prop_assert_eq!(certain.len(), told.len(), "told twice");
        prop_assert!(certain.iter().all(|version| wrong.contains_key(version)), "{told:?} {wrong:?}");
        let new: BTreeSet<Version> =
            wrong.into_iter().filter(|(_, before)| !before).map(|(version, _)| version).collect();
        prop_assert!(certain.is_superset(&new), "{told:?} {new:?}");
    }

    /// A second reading from anywhere tells nothing.
    #[test]
    fn what_silver_knows_is_not_told_again(
        read in any::<[bool; 4]>(),
        acts in prop::collection::vec(prop::collection::vec((0..KEYS, 0..3_u8), 0..10), 1..6),
        from in 0..60_usize,
    ) {
        let (history, _) = history(read, acts);
        let (mut silver, mut arena) = (Silver::new(), Arena::default());
        let events: Vec<&Event> = history.iter().flatten().collect();
        events.iter().for_each(|event| fold(&mut arena, event, told_of(event)));
        apply(&mut silver, &seal(&mut arena), false);
        for event in events.iter().skip(from) {
            let image = [0, 0, 0, 1, event.key];
            let lacks = ColumnSet::default();
            let told = match event.act {
                Act::Delete => Told::Left { image: &image, lacks: &lacks },
                _ => told_of(event),
            };
            fold(&mut arena, event, told);
        }
        prop_assert_eq!(apply(&mut silver, &seal(&mut arena), false), []);
    }
}

/// What is told of a delete that follows its create in another batch.
fn in_two_batches(image: Option<bool>) -> Vec<bool> {
    let (mut silver, mut arena) = (Silver::new(), Arena::default());
    let create = Event { key: 2, act: Act::Create, version: version(7, 1, 70, 1) };
    fold(&mut arena, &create, Told::Created);
    assert_eq!(apply(&mut silver, &seal(&mut arena), false), []);
    let delete = Event { key: 2, act: Act::Delete, version: version(7, 1, 71, 2) };
    let body = [0, 0, 0, 1, 2];
    let lacks = ColumnSet::default();
    let image_of = if image.is_some() { body.as_slice() } else { &[] };
    fold(&mut arena, &delete, Told::Left { image: image_of, lacks: &lacks });
    let told = apply(&mut silver, &seal(&mut arena), image.unwrap_or(false));
    told.into_iter().map(|(_, certain)| certain).collect()
}

#[test]
fn in_two_batches_the_values_of_the_row_that_went_decide() {
    assert_eq!(in_two_batches(Some(false)), [true], "another row went");
    assert_eq!(in_two_batches(Some(true)), [false], "a row with the same values went");
    assert_eq!(in_two_batches(None), [false], "nobody knows which row went");
}

#[test]
fn a_transaction_that_begins_in_the_batch_is_not_compared() {
    let mut arena = Arena::default();
    let other = Event { key: 1, act: Act::Update, version: version(6, 1, 60, 1) };
    fold(&mut arena, &other, Told::Nothing);
    let delete = Event { key: 2, act: Act::Delete, version: version(7, 1, 71, 2) };
    let lacks = ColumnSet::default();
    fold(&mut arena, &delete, Told::Left { image: &[0, 0, 0, 1, 2], lacks: &lacks });
    assert!(seal(&mut arena).suspects.rows.is_empty());
}

#[test]
fn a_snapshot_that_may_have_seen_the_create_makes_it_uncertain() {
    // The slot is older than the snapshot, which holds what the transaction left of the key.
    let read = Event { key: 2, act: Act::Read, version: version(0, 0, 90, 1) };
    let create = Event { key: 2, act: Act::Create, version: version(7, 1, 70, 2) };
    let delete = Event { key: 2, act: Act::Delete, version: version(7, 1, 71, 3) };
    for cut in [true, false] {
        let (mut silver, mut arena) = (Silver::new(), Arena::default());
        fold(&mut arena, &read, Told::Nothing);
        if cut {
            apply(&mut silver, &seal(&mut arena), false);
        }
        fold(&mut arena, &create, Told::Created);
        fold(&mut arena, &delete, Told::Nothing);
        let told = apply(&mut silver, &seal(&mut arena), false);
        assert_eq!(told, [(delete.version, false)], "cut: {cut}");
    }
}

#[test]
fn a_row_of_an_older_source_epoch_makes_it_uncertain() {
    // It may have been deleted while no connector looked.
    let ghost = Event { key: 2, act: Act::Update, version: version(9, 1, 90, 1) };
    let create = Event { key: 2, act: Act::Create, version: version(7, 1, 70, 2).in_epoch(1) };
    let delete = Event { key: 2, act: Act::Delete, version: version(7, 1, 71, 3).in_epoch(1) };
    for cut in [true, false] {
        let (mut silver, mut arena) = (Silver::new(), Arena::default());
        fold(&mut arena, &ghost, Told::Nothing);
        if cut {
            apply(&mut silver, &seal(&mut arena), false);
        }
        fold(&mut arena, &create, Told::Created);
        fold(&mut arena, &delete, Told::Nothing);
        let told = apply(&mut silver, &seal(&mut arena), false);
        assert_eq!(told, [(delete.version, false)], "cut: {cut}");
    }
}

#[test]
fn a_key_that_a_truncate_emptied_was_not_alive() {
    let live = Event { key: 2, act: Act::Update, version: version(5, 1, 50, 1) };
    let truncate = Truncate { version: version(6, 1, 60, 2), at: 0 };
    let create = Event { key: 2, act: Act::Create, version: version(7, 1, 70, 3) };
    let delete = Event { key: 2, act: Act::Delete, version: version(7, 1, 71, 4) };
    for cut in [true, false] {
        let (mut silver, mut arena) = (Silver::new(), Arena::default());
        fold(&mut arena, &live, Told::Nothing);
        if cut {
            apply(&mut silver, &seal(&mut arena), false);
        }
        arena.truncate(0, truncate);
        fold(&mut arena, &create, Told::Created);
        fold(&mut arena, &delete, Told::Nothing);
        assert_eq!(apply(&mut silver, &seal(&mut arena), false), [], "cut: {cut}");
    }
}
