//! Keys that exchange rows inside one transaction are told, whatever the batches are; no other key is.

use crate::log::{What, as_captured};
use crate::order::{as_it_arrived, replay};
use crate::rig::Rig;
use crate::scenarios;
use crate::worker::World;
use std::collections::BTreeSet;

/// Marked by such a delete, and brought back by a later update.
const BROUGHT_BACK: [i32; 2] = [4, 25];
/// Created and moved on by one transaction with the same values: in two batches nothing tells that from an exchange.
const UNCERTAIN: i32 = 99;

/// The capture `key-swap`, with batches of one row, of some and of all.
pub async fn keys() {
    let mut types = None;
    for encoding in scenarios::encodings("key-swap") {
        let given = scenarios::is_schemaless("key-swap", &encoding).then_some(types.as_ref());
        let mut rig = Rig::open("key-swap", &encoding, given.flatten()).await;
        types.get_or_insert_with(|| rig.column_types());
        let wrong = rig.judge.differences(&rig.silver.readback).await;
        let id = |key: &str| key.strip_prefix("id=").unwrap().parse::<i32>().unwrap();
        let mut expected: BTreeSet<i32> = wrong.iter().map(|line| id(&line.key)).collect();
        assert_eq!(expected.len(), 10, "{encoding}");
        expected.extend(BROUGHT_BACK);
        for limit in [1, 7, usize::MAX] {
            rig.silver.empty(&rig.tables()).await;
            let writers = &mut rig.writers[..1];
            let stretches = as_captured(&rig.items);
            let mut world = World::start(&rig.silver, &rig.lanes, writers, stretches).await;
            as_it_arrived(&mut world, &rig.items, limit).await;
            let mut told = BTreeSet::new();
            for (topic, key, offset, certain) in &world.counts.exchanged {
                let id = i32::from_be_bytes(key[4..].try_into().unwrap());
                assert_eq!(topic, "hall.public.seats");
                let item = rig.items.iter().find(|item| item.offset == *offset).unwrap();
                assert!(matches!(&item.what, What::Change(change) if change.key == *key));
                match certain {
                    true => assert!(told.insert(id), "{encoding}, {limit}: {id} twice"),
                    false => assert_eq!((id, limit), (UNCERTAIN, 1), "{encoding}"),
                }
            }
            assert_eq!(told, expected, "{encoding}, batches of {limit}");
            let before = world.counts.exchanged.len();
            world.limit = 7;
            // From the beginning, from inside a transaction, and from between a create and its delete.
            for from in [0, 50, 58] {
                replay(&mut world, 0, from).await;
            }
            assert_eq!(world.counts.exchanged.len(), before, "{encoding}: a replay tells again");
        }
    }
}

/// The capture `new-cluster`: rows are updated and moved to free keys by one transaction, and its tables have the default
/// replica identity, so what a delete brings beside its key are the defaults of types.
pub async fn moves_to_free_keys() {
    let mut types = None;
    for encoding in scenarios::encodings("new-cluster") {
        let given = scenarios::is_schemaless("new-cluster", &encoding).then_some(types.as_ref());
        let mut rig = Rig::open("new-cluster", &encoding, given.flatten()).await;
        types.get_or_insert_with(|| rig.column_types());
        rig.silver.empty(&rig.tables()).await;
        let writers = &mut rig.writers[..1];
        let stretches = as_captured(&rig.items);
        let mut world = World::start(&rig.silver, &rig.lanes, writers, stretches).await;
        as_it_arrived(&mut world, &rig.items, 1).await;
        let certain = world.counts.exchanged.iter().filter(|(.., certain)| *certain);
        assert_eq!(certain.count(), 0, "{encoding}: {:?}", world.counts.exchanged);
    }
}
