//! Source epochs in the destination: entering, raising, fencing, finding out that they are lost; the tripwire's SQL.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use silversink::batch::Kind;
use silversink::config::Tripwire;
use silversink::epoch::{Entered, Lineage, Signal, Start};
use silversink::fault::{Class, Code};
use silversink::postgres::{BeginAt, ClaimAsk, Destination, Raise, StartOver};
use silversink::table::{Bookkeeping, TableName};
use silversink::version::{Version, VersionParts};
use std::sync::Arc;

const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, qty int, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)";
const EPOCHS: &str = "SELECT epoch, reason, snapshot_position, since = '2000-01-01 00:00:00+00'::timestamptz + interval '7us', \
    raised_by, partition, \"offset\" FROM silversink.source_epoch ORDER BY epoch";

fn over(partition: i32, offset: i64, current: u32, signal: Signal) -> StartOver {
    StartOver {
        source: "shop".to_owned(),
        topic: TOPIC.to_owned(),
        topic_id: topic_id(),
        partition,
        owner_epoch: 1,
        offset,
        current,
        signal,
        source_ts: Some(7),
        lane: (0..8).map(|partition| (TOPIC.to_owned(), partition)).collect(),
    }
}

async fn claimed(partitions: i32) -> (Database, Destination) {
    let db = database().await;
    let destination = db.destination().await;
    claim(&destination, partitions).await;
    (db, destination)
}

#[tokio::test]
async fn the_first_partition_raises_the_others_join_and_a_repetition_changes_nothing() {
    let (db, destination) = claimed(2).await;
    // Beyond a signed 64-bit number.
    let snapshot = Signal::Snapshot { position: u64::MAX };
    for raised in [true, false] {
        let entered = destination.enter_epoch(PIPELINE, "a", &over(0, 40, 0, snapshot)).await;
        assert_eq!(entered.map(|(entered, _)| entered), Ok(Entered { number: 1, raised }));
    }
    let entered =
        destination.enter_epoch(PIPELINE, "b", &over(1, 9, 0, Signal::FreshOffsets)).await;
    assert_eq!(entered.map(|(entered, _)| entered), Ok(Entered { number: 1, raised: false }));
    assert_eq!(
        db.rows(EPOCHS).await,
        [["1", "snapshot", "18446744073709551615", "t", "a", "0", "40"]]
    );
    let starts = "SELECT partition, start_offset, epoch, reason FROM silversink.source_epoch_start ORDER BY 1";
    assert_eq!(
        db.rows(starts).await,
        [["0", "40", "1", "snapshot"], ["1", "9", "1", "fresh_offsets"]]
    );

    let entered =
        destination.enter_epoch(PIPELINE, "a", &over(0, 90, 1, Signal::PositionsFell)).await;
    assert_eq!(entered.map(|(entered, _)| entered), Ok(Entered { number: 2, raised: true }));
    let claimed = destination.claim(PIPELINE, "c", &[ask(0)]).await.unwrap();
    let start = |offset, epoch| Start { source: "shop".to_owned(), offset, epoch };
    let mut found = claimed[0].starts.clone();
    found.sort_by_key(|start| start.offset);
    assert_eq!(found, [start(40, 1), start(90, 2)]);
}

fn ask(partition: i32) -> ClaimAsk {
    ClaimAsk { topic: TOPIC.into(), topic_id: topic_id(), partition, table: None }
}

#[tokio::test]
async fn partitions_that_meet_the_same_moment_at_once_share_the_epoch() {
    let (db, destination) = claimed(8).await;
    let snapshot = Signal::Snapshot { position: 5 };
    let enter = |partition| {
        let destination = destination.clone();
        async move {
            destination.enter_epoch(PIPELINE, "a", &over(partition, 1, 0, snapshot)).await.unwrap()
        }
    };
    let entered = futures::future::join_all((0..8).map(enter)).await;
    assert_eq!(entered.iter().filter(|(entered, _)| entered.raised).count(), 1);
    assert!(entered.iter().all(|(entered, _)| entered.number == 1));
    assert_eq!(db.rows("SELECT count(*) FROM silversink.source_epoch_start").await, [["8"]]);
}

/// Whoever reads another partition of the table is told, once; and again if it had gone past a beginning that is earlier.
#[tokio::test]
async fn an_epoch_fences_off_the_partitions_of_other_lanes() {
    let (db, destination) = claimed(3).await;
    let past = r#"UPDATE silversink.position SET lineage = '{"shop":{"epoch":0,"until":6}}' WHERE partition = 2"#;
    db.sql(past).await;
    let other = ClaimAsk { topic: "other".to_owned(), table: None, ..ask(2) };
    destination.claim(PIPELINE, "a", std::slice::from_ref(&other)).await.unwrap();
    let lane: Vec<_> = (0..2).map(|partition| (TOPIC.to_owned(), partition)).collect();
    let enter = |partition, source_ts| {
        let over = over(partition, 9, 0, Signal::FreshOffsets);
        let over = StartOver { source_ts: Some(source_ts), lane: lane.clone(), ..over };
        let destination = destination.clone();
        async move { destination.enter_epoch(PIPELINE, "a", &over).await.unwrap() }
    };
    let owners =
        "SELECT topic = 'other', partition, owner_epoch FROM silversink.position ORDER BY 1, 2";
    let fenced = |times: u32| {
        let own = ["f", "2", &(1 + times).to_string()].map(str::to_owned);
        vec![
            ["f", "0", "1"].map(str::to_owned),
            ["f", "1", "1"].map(str::to_owned),
            own,
            ["t", "2", "1"].map(str::to_owned),
        ]
    };
    enter(0, 9).await;
    assert_eq!(db.rows(owners).await, fenced(1));
    enter(1, 8).await;
    assert_eq!(db.rows(owners).await, fenced(1), "it had not gone past that");
    enter(1, 8).await;
    db.sql("DELETE FROM silversink.source_epoch_start WHERE partition = 1").await;
    enter(1, 6).await;
    assert_eq!(db.rows(owners).await, fenced(2));

    let claimed = destination.claim(PIPELINE, "b", &[ask(2), other]).await.unwrap();
    let known =
        |topic: &str| &claimed.iter().find(|claimed| claimed.topic == topic).unwrap().epochs;
    assert_eq!(known(TOPIC)[0].1.all()[0].since, Some(6));
    assert_eq!(known("other"), &[]);
}

#[tokio::test]
async fn a_partition_that_another_worker_claimed_enters_nothing() {
    let (db, destination) = claimed(1).await;
    destination.claim(PIPELINE, "b", &[ask(0)]).await.unwrap();
    let fault = destination
        .enter_epoch(PIPELINE, "a", &over(0, 40, 0, Signal::FreshOffsets))
        .await
        .unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fenced, Code::Fenced));
    assert_eq!(db.rows(EPOCHS).await, [[""; 0]; 0]);
}

#[tokio::test]
async fn a_raise_starts_at_the_positions_of_the_source_and_fences_their_owner() {
    let (db, destination) = claimed(2).await;
    db.sql("UPDATE silversink.position SET next_offset = 30, lineage = '{\"shop\":{\"epoch\":0}}' WHERE partition = 1").await;
    let raise = Raise {
        source: "shop",
        topic: None,
        partition: None,
        epoch: None,
        reason: "restored",
        by: "me",
    };
    for _ in 0..2 {
        let dry = destination.raise_epoch(PIPELINE, &raise, false).await.unwrap();
        assert_eq!((dry.before, dry.epoch), (0, 1));
        assert_eq!(dry.starts, [(TOPIC.to_owned(), topic_id(), 1, 30)]);
    }
    assert_eq!(db.rows("SELECT owner_epoch FROM silversink.position").await, [["1"], ["1"]]);
    assert_eq!(destination.source_epochs(PIPELINE).await.unwrap(), (vec![], vec![]));

    destination.raise_epoch(PIPELINE, &raise, true).await.unwrap();

    let owners = "SELECT partition, owner_epoch FROM silversink.position ORDER BY 1";
    assert_eq!(db.rows(owners).await, [["0", "1"], ["1", "2"]]);
    // A partition that no lineage names is found by its topic.
    let named = Raise { topic: Some(TOPIC), partition: Some(0), epoch: Some(7), ..raise };
    let raised = destination.raise_epoch(PIPELINE, &named, true).await.unwrap();
    assert_eq!((raised.before, raised.epoch, raised.starts.len()), (1, 7, 1));
    let (epochs, starts) = destination.source_epochs(PIPELINE).await.unwrap();
    assert_eq!(
        epochs.iter().map(|row| (row.epoch, row.raised_by.as_str())).collect::<Vec<_>>(),
        [(1, "me"), (7, "me")]
    );
    let starts: Vec<_> =
        starts.iter().map(|row| (row.partition, row.start_offset, row.epoch)).collect();
    assert_eq!(starts, [(1, 30, 1), (0, 0, 7)]);
    for wrong in [Raise { source: "stranger", ..raise.clone() }, Raise { epoch: Some(7), ..named }]
    {
        let fault = destination.raise_epoch(PIPELINE, &wrong, true).await.unwrap_err();
        assert_eq!(fault.code, Code::Configuration);
    }
}

async fn lane() -> (Database, Lane) {
    let db = database().await;
    db.sql(TABLE).await;
    let destination = db.destination().await;
    let table = TableName::new("s", "orders");
    let described = destination.describe(&table, &Bookkeeping::default()).await.unwrap().unwrap();
    (db, Lane::open(destination, Arc::new(described.shape), 1).await)
}

#[tokio::test]
async fn lineages_are_stored_with_the_position_and_go_with_a_rewind() {
    let (_db, mut lane) = lane().await;
    let row = || vec![whole(1, vec![I(1), T("a"), I4(2)])];
    let mut batch = lane.batch(row());
    batch.ranges[0].lineage = Some(r#"{"shop":{"epoch":3,"commit":"9"}}"#.to_owned());
    lane.write_batch(&batch).await.unwrap();
    // A batch that knows nothing changes nothing.
    lane.write(vec![whole(2, vec![I(1), T("a"), I4(2)])]).await.unwrap();

    let claimed = lane.destination.claim(PIPELINE, "b", &[ask(0)]).await.unwrap();
    let (source, lineage): &(String, Lineage) = &claimed[0].lineages[0];
    assert_eq!((source.as_str(), lineage.epoch), ("shop", 3));
    let start = BeginAt {
        topic: TOPIC,
        topic_id: topic_id(),
        partition: 0,
        owner_epoch: claimed[0].owner_epoch,
        start_offset: 0,
        rewound: true,
        reason: "reset_honoured",
        lineage: None,
    };
    lane.destination.begin_at(PIPELINE, &[start]).await.unwrap();
    let claimed = lane.destination.claim(PIPELINE, "b", &[ask(0)]).await.unwrap();
    assert_eq!(claimed[0].lineages, []);
}

#[tokio::test]
async fn bookkeeping_of_an_older_version_is_completed() {
    let (db, destination) = claimed(1).await;
    db.sql(
        "DROP TABLE silversink.source_epoch, silversink.source_epoch_start; \
         ALTER TABLE silversink.position DROP COLUMN lineage; \
         ALTER TABLE silversink.hole DROP CONSTRAINT hole_pkey, ADD PRIMARY KEY (schema_name, table_name, key)",
    )
    .await;
    destination.ensure_bookkeeping().await.unwrap();
    let entered =
        destination.enter_epoch(PIPELINE, "a", &over(0, 4, 0, Signal::FreshOffsets)).await;
    assert_eq!(entered.map(|(entered, _)| entered), Ok(Entered { number: 1, raised: true }));
    assert_eq!(db.rows("SELECT lineage FROM silversink.position").await, [["-"]]);
    let key = "SELECT cardinality(conkey) FROM pg_constraint WHERE conrelid = 'silversink.hole'::regclass AND contype = 'p'";
    assert_eq!(db.value(key).await, "4");
}

fn at_epoch(epoch: u32) -> String {
    Version::lowest_of(epoch).as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// Every row is looked at while positions know of nothing applied; a sample of a large table afterwards.
#[tokio::test]
async fn a_table_that_is_ahead_of_the_registry_is_refused() {
    let (db, lane) = lane().await;
    let (table, names) = (TableName::new("s", "orders"), Bookkeeping::default());
    let check = || lane.destination.check_epochs(PIPELINE, &table, &names);
    check().await.unwrap();
    // 1,000 blocks, of which the last holds the only row of epoch 2.
    db.sql(&format!(
        "INSERT INTO s.orders (id, name, _version) SELECT n, repeat('x', 1900), '\\x{}' FROM generate_series(1, 4000) AS n; \
         INSERT INTO s.orders (id, _version) VALUES (0, '\\x{}')",
        at_epoch(0),
        at_epoch(2)
    ))
    .await;
    let fault = check().await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::SourceEpochBehind));
    assert!(fault.text.contains("epoch 2") && fault.text.contains("above 0"), "{fault}");

    // Known by a start alone: fine.
    db.sql("INSERT INTO silversink.source_epoch_start VALUES ('shop', 'a', 't', gen_random_uuid(), 0, 5, 2, 'x')").await;
    check().await.unwrap();

    db.sql(
        "DELETE FROM silversink.source_epoch_start; \
         UPDATE silversink.position SET next_offset = 9, schema_name = 's', table_name = 'orders'",
    )
    .await;
    // A sample of a quarter misses a single row more often than not; it finds what is everywhere.
    db.sql(&format!("UPDATE s.orders SET _version = '\\x{}'", at_epoch(3))).await;
    let fault = check().await.unwrap_err();
    assert!(fault.text.contains("epoch 3"), "{fault}");
}

/// Row 1 stands at commit 10, offset 20, source time [`AT`].
async fn standing() -> (Database, Lane) {
    let (db, mut lane) = lane().await;
    let mut row = whole(0, vec![I(1), T("a"), I4(2)]);
    row.version = at(0, 10, 1, 20);
    lane.write(vec![row]).await.unwrap();
    (db, lane)
}

fn at(source_epoch: u32, commit: u128, phase: u8, kafka_offset: u64) -> Version {
    Version::new(VersionParts {
        source_epoch,
        commit_position: commit,
        phase,
        change_position: 0,
        kafka_offset,
    })
}

#[tokio::test]
async fn the_tripwire_trips_on_later_changes_below_their_row_and_on_nothing_else() {
    let (db, mut lane) = standing().await;
    let before = db.rows("SELECT xmin, t.* FROM s.orders t").await;
    let cases = [
        (true, Kind::Whole, at(0, 9, 1, 21), 1),
        (true, Kind::Delete, at(0, 9, 1, 21), 1),
        (true, Kind::Partial, at(0, 9, 1, 21), 1),
        (false, Kind::Whole, at(0, 9, 1, 21), 0),
        (false, Kind::Whole, at(0, 9, 1, 19), 1),
        (false, Kind::Whole, at(0, 9, 0, 21), 1),
        (false, Kind::Tombstone, at(0, 0, 1, 5), 1),
    ];
    for (trips, kind, version, later) in cases {
        let mut row = whole(0, vec![I(1), T("b"), I4(3)]);
        (row.kind, row.version) = (kind, version);
        if kind == Kind::Partial {
            row = R { kept: vec![1], ..row };
        }
        let mut batch = lane.batch(vec![row, whole(30, vec![I(2), T("c"), I4(4)])]);
        batch.rows[0].source_ts = Some(AT + later);
        let outcome = lane.writer.write(PIPELINE, None, &batch).await;
        assert_eq!(outcome.is_err(), trips, "{kind:?} {version}: {outcome:?}");
        if let Err(fault) = outcome {
            assert_eq!((fault.class, fault.code), (Class::Blocked, Code::OrderContradicted));
            assert!(
                fault.text.contains("(0,9,1,0,21)") && fault.text.contains("(0,10,1,0,20)"),
                "{fault}"
            );
            assert_eq!(
                db.rows("SELECT xmin, t.* FROM s.orders t").await,
                before,
                "nothing commits"
            );
        } else {
            lane.ranges[0].from = batch.ranges[0].next;
            db.sql("DELETE FROM s.orders WHERE id = 2").await;
        }
    }
}

#[tokio::test]
async fn counted_contradictions_are_superseded_and_told() {
    let (db, mut lane) = standing().await;
    for (tripwire, told) in [(Some(Tripwire::Count), 1), (None, 0)] {
        let mut row = whole(0, vec![I(1), T("b"), I4(3)]);
        row.version = at(0, 9, 1, 21);
        let mut batch = lane.batch(vec![row]);
        batch.rows[0].source_ts = Some(AT + 1);
        batch.tripwire = tripwire;
        let applied = lane.write_batch(&batch).await.unwrap();
        assert_eq!((applied.contradicted, applied.ranges[0].superseded), (told, 1));
    }
    assert_eq!(db.rows("SELECT name FROM s.orders").await, [["a"]]);
}

#[tokio::test]
async fn another_source_epoch_is_no_contradiction() {
    let (_db, mut lane) = standing().await;
    let mut row = whole(0, vec![I(1), T("b"), I4(3)]);
    row.version = at(1, 9, 1, 21);
    assert_eq!(lane.counts(vec![row]).await, (1, 0));
    let mut late = whole(0, vec![I(1), T("c"), I4(3)]);
    late.version = at(0, 11, 1, 22);
    let mut batch = lane.batch(vec![late]);
    batch.rows[0].source_ts = Some(AT + 1);
    let applied = lane.write_batch(&batch).await.unwrap();
    assert_eq!(applied.ranges[0].superseded, 1);
}

/// A partition is read again past a beginning: offset 20 wrote the row in the epoch before, and has not come again yet.
#[tokio::test]
async fn what_is_read_again_leaves_rows_that_stand_behind_it() {
    let (db, mut lane) = standing().await;
    let before = db.rows("SELECT xmin, t.* FROM s.orders t").await;
    let mut write = async |again, kind, version, later| {
        let mut row = whole(0, vec![I(1), T("b"), I4(3)]);
        (row.kind, row.version) = (kind, version);
        (row.deleted, row.needs_base) = (kind == Kind::Delete, kind == Kind::Partial);
        row.kept = if kind == Kind::Partial { vec![1] } else { Vec::new() };
        let mut batch = lane.batch(vec![row]);
        (batch.again, batch.rows[0].source_ts) = (again, Some(AT + later));
        let applied = lane.write_batch(&batch).await.unwrap();
        (applied.ranges[0].applied, applied.ranges[0].superseded)
    };
    for kind in [Kind::Delete, Kind::Partial] {
        assert_eq!(write(true, kind, at(1, 9, 1, 19), 0).await, (0, 1), "{kind:?}");
    }
    assert_eq!(db.rows("SELECT xmin, t.* FROM s.orders t").await, before);
    // A whole row is what the key was then; the row's own record brings it into the epoch.
    assert_eq!(write(true, Kind::Whole, at(1, 8, 1, 18), 0).await, (1, 0));
    assert_eq!(write(true, Kind::Delete, at(1, 9, 1, 19), 0).await, (1, 0));
    for (again, offset, later) in [(true, 20, 0), (true, 19, 1), (false, 19, 0)] {
        db.sql("TRUNCATE s.orders").await;
        write(false, Kind::Whole, at(0, 10, 1, 20), 0).await;
        let applied = write(again, Kind::Delete, at(1, 9, 1, offset), later).await;
        assert_eq!(applied, (1, 0), "{again}, {offset}, {later}");
    }
}
