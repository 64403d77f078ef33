//! Claims: epochs, positions, starts, and a predecessor that holds on.

use crate::rows::{self, PIPELINE, TOPIC, topic_id};
use crate::server::database;
use silversink::batch::{Batch, OffsetRange};
use silversink::config;
use silversink::fault::{Class, Code};
use silversink::postgres::{BeginAt, ClaimAsk, Destination, Origin};
use silversink::table::TableName;
use uuid::Uuid;

fn ask(topic_id: Uuid, partition: i32) -> ClaimAsk {
    ClaimAsk {
        topic: TOPIC.into(),
        topic_id,
        partition,
        table: Some(TableName::new("s", "orders")),
    }
}

#[tokio::test]
async fn each_claim_raises_the_epoch_and_tells_the_position() {
    let db = database().await;
    let destination = db.destination().await;
    let first =
        destination.claim(PIPELINE, "a", &[ask(topic_id(), 0), ask(topic_id(), 1)]).await.unwrap();
    assert!(
        first
            .iter()
            .all(|c| c.owner_epoch == 1 && c.stored.is_none() && c.other_incarnation.is_none())
    );
    let start = BeginAt {
        topic: TOPIC,
        topic_id: topic_id(),
        partition: 1,
        owner_epoch: 1,
        start_offset: 42,
        rewound: false,
        reason: "initial",
        lineage: None,
    };
    destination.begin_at(PIPELINE, &[start]).await.unwrap();
    let second = destination.claim(PIPELINE, "b", &[ask(topic_id(), 1)]).await.unwrap();
    assert_eq!(second[0].owner_epoch, 2);
    assert_eq!(second[0].stored.map(|s| s.next_offset), Some(42));
    let rows = destination.positions(PIPELINE).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[1].owner.as_str(), rows[1].start_offset, rows[1].table.clone()),
        ("b", Some(42), Some(TableName::new("s", "orders")))
    );
    // Another pipeline has positions of its own.
    let other = destination.claim("other", "a", &[ask(topic_id(), 1)]).await.unwrap();
    assert_eq!((other[0].owner_epoch, other[0].stored), (1, None));
}

#[tokio::test]
async fn a_topic_that_was_created_again_is_told() {
    let db = database().await;
    let destination = db.destination().await;
    rows::claim(&destination, 1).await;
    let claimed = destination.claim(PIPELINE, "a", &[ask(Uuid::from_u128(8), 0)]).await.unwrap();
    assert_eq!(claimed[0].stored, None);
    assert_eq!(claimed[0].other_incarnation, Some(topic_id()));
}

#[tokio::test]
async fn a_rewind_starts_the_counts_over() {
    let db = database().await;
    let destination = db.destination().await;
    rows::claim(&destination, 1).await;
    db.sql("UPDATE silversink.position SET next_offset = 100, applied = 90, skipped = 10").await;
    let claimed = destination.claim(PIPELINE, "a", &[ask(topic_id(), 0)]).await.unwrap();
    let mut start = BeginAt {
        topic: TOPIC,
        topic_id: topic_id(),
        partition: 0,
        owner_epoch: claimed[0].owner_epoch,
        start_offset: 100,
        rewound: false,
        reason: "stored",
        lineage: None,
    };
    destination.begin_at(PIPELINE, std::slice::from_ref(&start)).await.unwrap();
    assert_eq!(destination.positions(PIPELINE).await.unwrap()[0].applied, 90);
    start = BeginAt { start_offset: 7, rewound: true, reason: "reset", ..start };
    destination.begin_at(PIPELINE, &[start]).await.unwrap();
    let position = &destination.positions(PIPELINE).await.unwrap()[0];
    assert_eq!((position.next_offset, position.start_offset), (Some(7), Some(7)));
    assert_eq!(
        (position.applied, position.skipped, position.reason.as_deref()),
        (0, 0, Some("reset"))
    );
}

#[tokio::test]
async fn two_workers_claim_at_once_and_get_different_epochs() {
    let db = database().await;
    let (a, b) = (db.destination().await, db.destination().await);
    let asks: Vec<ClaimAsk> = (0..20).map(|p| ask(topic_id(), p)).collect();
    let backwards: Vec<ClaimAsk> = asks.iter().rev().cloned().collect();
    for round in 0..10 {
        let (x, y) =
            tokio::join!(a.claim(PIPELINE, "a", &asks), b.claim(PIPELINE, "b", &backwards));
        let mut epochs: Vec<i64> =
            x.unwrap().into_iter().chain(y.unwrap()).map(|c| c.owner_epoch).collect();
        epochs.sort_unstable();
        let expected: Vec<i64> = (0..40).map(|i| round * 2 + 1 + i / 20).collect();
        assert_eq!(epochs, expected);
    }
}

#[tokio::test]
async fn a_predecessor_that_holds_the_row_is_ended() {
    let db = database().await;
    db.destination().await;
    let mut config = db.config();
    config.lock_timeout = std::time::Duration::from_millis(100);
    let destination = Destination::connect(&config, 1, "silversink test").await.unwrap();
    rows::claim(&destination, 1).await;
    let url = format!("{}?application_name=silversink%20frozen", db.url());
    let (frozen, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let ended = tokio::spawn(connection);
    frozen.batch_execute("BEGIN; SELECT 1 FROM silversink.position FOR UPDATE").await.unwrap();
    let claimed = destination.claim(PIPELINE, "b", &[ask(topic_id(), 0)]).await.unwrap();
    assert_eq!(claimed[0].owner_epoch, 2);
    assert!(ended.await.unwrap().is_err(), "the frozen session is gone");
}

#[tokio::test]
async fn a_stranger_that_holds_the_row_is_left_alone() {
    let db = database().await;
    db.destination().await;
    let mut config = db.config();
    config.lock_timeout = std::time::Duration::from_millis(50);
    let destination = Destination::connect(&config, 1, "silversink test").await.unwrap();
    rows::claim(&destination, 1).await;
    let stranger = db.client().await;
    stranger.batch_execute("BEGIN; SELECT 1 FROM silversink.position FOR UPDATE").await.unwrap();
    let fault = destination.claim(PIPELINE, "b", &[ask(topic_id(), 0)]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresConflict));
    stranger.batch_execute("COMMIT").await.unwrap();
}

/// A batch without rows.
fn skipping(ranges: Vec<OffsetRange>) -> Batch {
    Batch {
        number: 1,
        shape: None,
        bytes: vec![],
        keys: vec![],
        rows: vec![],
        ranges,
        truncate: None,
        letters: vec![],
        tripwire: Some(config::Tripwire::Stop),
        again: false,
        closed: vec![],
        suspects: Default::default(),
        parts: vec![],
    }
}

#[tokio::test]
async fn futures_of_the_destination_may_move_between_threads() {
    let db = database().await;
    let destination = db.destination().await;
    tokio::spawn(async move {
        destination.ensure_bookkeeping().await.unwrap();
        let mut lane_free = destination.writer().await.unwrap();
        let claimed = destination.claim(PIPELINE, "a", &[ask(topic_id(), 0)]).await.unwrap();
        assert_eq!(claimed.len(), 1);
        assert!(!lane_free.is_broken());
        let batch = skipping(vec![]);
        lane_free.write(PIPELINE, None, &batch).await.unwrap();
        lane_free.isolate(PIPELINE, &batch).await.unwrap();
        let table = TableName::new("s", "t");
        let (key_schema, value_schema) = (None, None);
        let origin =
            Origin { pipeline: PIPELINE, table: &table, topic: "t", key_schema, value_schema };
        assert!(destination.alter(&origin, &[]).await.is_ok());
    })
    .await
    .unwrap();
}

/// A claim that a crash of the server forgets would let the worker before it write again.
#[tokio::test]
async fn what_is_committed_is_on_disk_whatever_the_database_says() {
    let db = database().await;
    db.destination().await;
    db.sql(&format!("ALTER DATABASE \"{}\" SET synchronous_commit = off", db.name)).await;
    db.sql(
        "CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, setting text); \
         CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN \
           INSERT INTO public.log (setting) VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END'; \
         CREATE TRIGGER log AFTER INSERT OR UPDATE ON silversink.position FOR EACH STATEMENT EXECUTE FUNCTION log()",
    )
    .await;
    let settings = "SELECT string_agg(setting, ' ' ORDER BY n) FROM log";
    let destination = db.destination().await;
    let mut ranges = rows::claim(&destination, 1).await;
    ranges[0].next = ranges[0].from + 1;
    ranges[0].skipped = 1;
    destination.writer().await.unwrap().write(PIPELINE, None, &skipping(ranges)).await.unwrap();
    assert_eq!(db.value(settings).await, "on on on on", "claim (both triggers), start, batch");
}
