//! The model of the MERGE against the real one: random batches, written to both, compared row by row.

use super::server::database;
use super::shape::{body, key_field, shape};
use super::silver::{Row, Silver};
use super::source::{COLUMNS, KEYS, byte};
use fastrand::Rng;
use silversink::batch::arena::{Arena, Incoming, SealedRange};
use silversink::batch::exchange::Told;
use silversink::batch::{Batch, ColumnSet, Kind, OffsetRange, Truncate};
use silversink::fault::Code;
use silversink::postgres::{BeginAt, ClaimAsk, Destination};
use silversink::version::{Version, VersionParts};
use std::sync::Arc;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

const PIPELINE: &str = "simulation";
const TOPIC: &str = "shop.public.t";
const BATCHES: usize = 400;
const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.t (id bigint PRIMARY KEY, a int, b int, c int, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)";
const LOOK: &str = "SELECT id, a, b, c, encode(_version, 'hex'), \
    (extract(epoch FROM _deleted_at - '2000-01-01 00:00:00+00') * 1000000)::int8, \
    (extract(epoch FROM _source_ts - '2000-01-01 00:00:00+00') * 1000000)::int8 FROM s.t ORDER BY id";

/// Offsets and times may be far ahead where nothing is read again.
const AHEAD: i64 = 40;

fn version(rng: &mut Rng, offset: i64, again: bool) -> Version {
    Version::new(VersionParts {
        source_epoch: rng.u32(0..2) + u32::from(again),
        commit_position: rng.u128(0..4),
        phase: rng.u8(0..2),
        change_position: rng.u64(0..3),
        kafka_offset: ahead(rng, offset, again).cast_unsigned(),
    })
}

fn ahead(rng: &mut Rng, at: i64, again: bool) -> i64 {
    if again { at } else { at + rng.i64(0..AHEAD) }
}

/// A batch of random changes, in no sensible order at all.
fn batch(rng: &mut Rng, from: i64, owner_epoch: i64) -> Batch {
    let mut arena = Arena::default();
    arena.set_shape(Arc::clone(shape()));
    let next = from + rng.i64(1..8);
    let again = rng.u8(0..4) == 0;
    if again {
        arena.read_again();
    }
    for offset in from..next {
        if rng.u8(0..16) == 0 {
            arena.truncate(0, Truncate { version: version(rng, offset, again), at: offset });
            continue;
        }
        let key = byte(rng.usize(0..KEYS));
        let kind = [Kind::Whole, Kind::Delete, Kind::Partial, Kind::Tombstone, Kind::Partial]
            [rng.usize(0..5)];
        let mut kept = ColumnSet::default();
        let keeps = if kind == Kind::Partial { rng.u8(1..1 << COLUMNS) } else { 0 };
        (0..COLUMNS).filter(|at| keeps & 1 << at != 0).for_each(|at| kept.insert(at + 1));
        let carries = matches!(kind, Kind::Whole | Kind::Partial);
        let value =
            |at: usize| (carries && keeps & 1 << at == 0).then_some(offset as i32 * 10 + at as i32);
        let marks = matches!(kind, Kind::Delete | Kind::Tombstone);
        let needs_base = kind == Kind::Partial && rng.u8(0..4) != 0;
        let old_key =
            (needs_base && rng.u8(0..3) == 0).then(|| key_field(byte(rng.usize(0..KEYS))));
        let mut version = version(rng, offset, again);
        if kind == Kind::Tombstone {
            let kafka_offset = offset.cast_unsigned();
            version =
                Version::new(VersionParts { kafka_offset, phase: 1, ..VersionParts::default() });
        }
        arena.fold(Incoming {
            body: body(key, std::array::from_fn(value)).bytes(),
            key: &key_field(key),
            kind,
            version,
            deleted_at: marks.then_some(offset),
            source_ts: Some(ahead(rng, offset, again)),
            old_key: old_key.as_ref().map(|key| &key[..]),
            told: Told::Nothing,
            kept: &kept,
            needs_base,
            slot: 0,
            offset,
            own_time: false,
        });
    }
    let range = OffsetRange {
        topic: TOPIC.to_owned(),
        topic_id: Uuid::from_u128(7),
        partition: 0,
        owner_epoch,
        from,
        next,
        changes: 0,
        folded: 0,
        skipped: 0,
        dead_lettered: 0,
        lineage: None,
    };
    arena.seal(1, vec![SealedRange { slot: 0, range }])
}

async fn claim(destination: &Destination) -> i64 {
    let topic_id = Uuid::from_u128(7);
    let ask = ClaimAsk { topic: TOPIC.into(), topic_id, partition: 0, table: None };
    let claimed = destination.claim(PIPELINE, "worker", &[ask]).await.unwrap();
    let owner_epoch = claimed[0].owner_epoch;
    let start = BeginAt {
        topic: TOPIC,
        topic_id,
        partition: 0,
        owner_epoch,
        start_offset: 0,
        rewound: false,
        reason: "initial",
        lineage: None,
    };
    destination.begin_at(PIPELINE, &[start]).await.unwrap();
    owner_epoch
}

fn printed(silver: &Silver) -> Vec<Vec<String>> {
    let rows = silver.rows.iter().enumerate().filter_map(|(key, row)| Some((key, row.as_ref()?)));
    let some = |n: Option<i64>| n.map_or("-".to_owned(), |n| n.to_string());
    rows.map(|(key, row): (usize, &Row)| {
        let mut line = vec![key.to_string()];
        line.extend(row.values.map(|value| some(value.map(i64::from))));
        line.push(row.version.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect());
        line.extend([some(row.deleted_at), some(row.source_ts)]);
        line
    })
    .collect()
}

/// The table as text, NULL as `-`.
async fn look(client: &Client) -> Vec<Vec<String>> {
    let messages = client.simple_query(LOOK).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).unwrap_or("-").to_owned()).collect())
        .collect()
}

#[tokio::test]
async fn the_model_is_the_real_merge() {
    let db = database().await;
    db.sql(TABLE).await;
    let client = db.client().await;
    let destination = db.destination().await;
    let owner_epoch = claim(&destination).await;
    let mut writer = destination.writer().await.unwrap();
    let mut rng = Rng::with_seed(41);
    let mut silver = Silver::default();
    let (mut written, mut superseded, mut refused, mut behind, mut from) = (0, 0, 0, 0, 0);
    for number in 0..BATCHES {
        // Now and then a new table, so that first rows of keys stay frequent.
        if number % 25 == 24 {
            let empty = "TRUNCATE s.t; TRUNCATE silversink.truncate_floor";
            client.batch_execute(empty).await.unwrap();
            silver = Silver::default();
        }
        let batch = batch(&mut rng, from, owner_epoch);
        let expected = silver.write(&batch);
        match (expected, writer.write(PIPELINE, None, &batch).await) {
            (Ok(merged), Ok(applied)) => {
                from = batch.ranges[0].next;
                written += merged.written;
                behind += merged.behind;
                superseded += merged.superseded;
                let stale = batch.ranges[0].folded + merged.superseded as u64;
                assert_eq!(applied.ranges[0].superseded, stale, "batch {number}: {batch:?}");
            }
            (Err(rows), Err(fault)) => {
                assert_eq!(fault.code, Code::UnchangedWithoutBase, "batch {number}: {fault:?}");
                let found = writer.isolate(PIPELINE, &batch).await.unwrap();
                let found: Vec<usize> = found.into_iter().map(|(row, _)| row).collect();
                assert_eq!(found, rows, "batch {number}: {batch:?}");
                refused += rows.len();
            }
            (model, real) => panic!("batch {number}: model {model:?}, real {real:?}, {batch:?}"),
        }
        assert_eq!(printed(&silver), look(&client).await, "batch {number}: {batch:?}");
    }
    println!(
        "{written} rows written, {superseded} superseded, {behind} of them by rows behind, {refused} without a base"
    );
    assert!(written > 200 && superseded > 100 && refused > 30, "too little of something");
    assert!(behind > 10, "nothing was read again");
}
