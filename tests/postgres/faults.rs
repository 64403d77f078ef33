//! What refuses a batch, and what is left behind: fence, repetition, constraints, triggers, poison among good rows.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use silversink::fault::{Class, Code};
use silversink::table::{Bookkeeping, TableName};
use std::sync::Arc;

const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, qty int, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)";
const COUNT: &str = "SELECT count(*) FROM s.orders";

async fn lane_with(extra: &str) -> (Database, Lane) {
    let db = database().await;
    db.sql(TABLE).await;
    let destination = db.destination().await;
    let described = destination
        .describe(&TableName::new("s", "orders"), &Bookkeeping::default())
        .await
        .expect("described")
        .expect("the table exists");
    // After the description: these are the changes that come while the lane runs.
    db.sql(extra).await;
    (db, Lane::open(destination, Arc::new(described.shape), 1).await)
}

fn row(id: i64, name: &'static str, qty: i32) -> Vec<F> {
    vec![I(id), T(name), I4(qty)]
}

#[tokio::test]
async fn a_worker_that_lost_its_claim_writes_nothing() {
    let (db, mut lane) = lane_with("").await;
    lane.write(vec![whole(1, row(1, "a", 1))]).await.unwrap();
    let successor = claim(&lane.destination, 1).await;
    assert_eq!(successor[0].owner_epoch, lane.ranges[0].owner_epoch + 1);
    assert_eq!(successor[0].from, 1);
    let fault =
        lane.write(vec![whole(2, row(1, "b", 1)), whole(2, row(2, "b", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fenced, Code::Fenced));
    assert_eq!(db.rows("SELECT id, name FROM s.orders").await, [["1", "a"]]);
    assert!(!lane.writer.is_broken());
    // The same connection goes on under the new claim.
    lane.ranges = successor;
    lane.write(vec![whole(2, row(1, "b", 1))]).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_lost_one_of_two_partitions_writes_nothing() {
    let (db, lane) = lane_with("").await;
    let mut lane = Lane::open(lane.destination, lane.shape, 2).await;
    claim(&lane.destination, 1).await;
    let rows = vec![whole(1, row(1, "a", 1)), whole(1, row(2, "a", 1)).of_range(1)];
    assert_eq!(lane.write(rows).await.unwrap_err().class, Class::Fenced);
    assert_eq!(db.value(COUNT).await, "0");
    assert_eq!(db.rows("SELECT next_offset FROM silversink.position").await, [["0"], ["0"]]);
}

#[tokio::test]
async fn a_position_that_is_not_the_expected_one_fences() {
    let (db, mut lane) = lane_with("").await;
    lane.ranges[0].from = 5;
    assert_eq!(lane.write(vec![whole(1, row(1, "a", 1))]).await.unwrap_err().class, Class::Fenced);
    assert_eq!(db.value(COUNT).await, "0");
}

#[tokio::test]
async fn a_fenced_worker_may_neither_start_nor_mark_its_partition() {
    let (_db, lane) = lane_with("").await;
    let mine = lane.ranges[0].owner_epoch;
    claim(&lane.destination, 1).await;
    let marked = lane
        .destination
        .mark_state(PIPELINE, TOPIC, topic_id(), 0, mine, "stopped", Some("x"))
        .await;
    assert_eq!(marked.unwrap_err().class, Class::Fenced);
    let start = silversink::postgres::BeginAt {
        topic: TOPIC,
        topic_id: topic_id(),
        partition: 0,
        owner_epoch: mine,
        start_offset: 9,
        rewound: true,
        reason: "reset",
        lineage: None,
    };
    assert_eq!(
        lane.destination.begin_at(PIPELINE, &[start]).await.unwrap_err().class,
        Class::Fenced
    );
    assert_eq!(lane.destination.positions(PIPELINE).await.unwrap()[0].next_offset, Some(0));
}

#[tokio::test]
async fn a_batch_that_has_committed_before_is_recognised() {
    let (db, mut lane) = lane_with("").await;
    let batch = lane.batch(vec![whole(1, row(1, "a", 1))]);
    assert!(!lane.writer.write(PIPELINE, None, &batch).await.unwrap().already);
    let again = lane.writer.write(PIPELINE, None, &batch).await.unwrap();
    assert!(again.already);
    assert!(again.ranges.is_empty());
    assert_eq!(db.rows("SELECT next_offset, applied FROM silversink.position").await, [["1", "1"]]);
    // Also from a new connection, which is how a lost COMMIT is met.
    let mut writer = lane.destination.writer().await.unwrap();
    assert!(writer.write(PIPELINE, None, &batch).await.unwrap().already);
}

#[tokio::test]
async fn a_trigger_that_swallows_an_insert_stops_the_lane() {
    let (db, mut lane) = lane_with(
        "CREATE FUNCTION s.swallow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END'; \
         CREATE TRIGGER swallow BEFORE INSERT OR UPDATE ON s.orders FOR EACH ROW EXECUTE FUNCTION s.swallow()",
    )
    .await;
    let fault =
        lane.write(vec![whole(1, row(1, "a", 1)), whole(1, row(2, "a", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::RowCountMismatch));
    assert!(fault.hint.is_some());
    assert_eq!(db.value(COUNT).await, "0");
    assert_eq!(db.rows("SELECT next_offset FROM silversink.position").await, [["0"]]);
}

#[tokio::test]
async fn a_trigger_that_swallows_an_update_stops_the_lane() {
    let (db, mut lane) = lane_with("").await;
    lane.write(vec![whole(1, row(1, "a", 1)), whole(1, row(2, "a", 1))]).await.unwrap();
    db.sql(
        "CREATE FUNCTION s.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER swallow BEFORE UPDATE ON s.orders FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION s.swallow()",
    )
    .await;
    let fault =
        lane.write(vec![whole(2, row(1, "b", 1)), whole(2, row(2, "b", 1))]).await.unwrap_err();
    assert_eq!(fault.code, Code::RowCountMismatch);
    assert_eq!(db.rows("SELECT name FROM s.orders").await, [["a"], ["a"]]);
}

#[tokio::test]
async fn bad_rows_among_good_ones_are_found_exactly() {
    for bad in [vec![0], vec![99], vec![0, 1, 50, 98, 99], (0..100).collect::<Vec<usize>>()] {
        let (db, mut lane) = lane_with(
            "ALTER TABLE s.orders ALTER COLUMN name SET NOT NULL; ALTER TABLE s.orders ADD CONSTRAINT few CHECK (qty < 10)",
        )
        .await;
        let rows: Vec<R> = (0..100_usize)
            .map(|i| {
                let id = i64::try_from(i).unwrap();
                match (bad.contains(&i), i % 2) {
                    (false, _) => whole(1, row(id, "good", 1)),
                    (true, 0) => whole(1, vec![I(id), Null, I4(1)]),
                    (true, _) => whole(1, row(id, "secret", 11)),
                }
            })
            .collect();
        let batch = lane.batch(rows.clone());
        let fault = lane.write_batch(&batch).await.unwrap_err();
        assert_eq!((fault.class, fault.code), (Class::Poison, Code::ConstraintViolation));
        let found = lane.writer.isolate(PIPELINE, &batch).await.unwrap();
        assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), bad);
        for (index, fault) in &found {
            let text = format!("{fault:?}");
            assert!(text.contains(if index % 2 == 0 { "\\\"name\\\"" } else { "few" }), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        assert_eq!(db.value(COUNT).await, "0", "isolating writes nothing");
        // The rest lands.
        let rest: Vec<R> = rows
            .into_iter()
            .enumerate()
            .filter(|(i, _)| !bad.contains(i))
            .map(|(_, r)| r)
            .collect();
        let n = rest.len();
        lane.write(rest).await.unwrap();
        assert_eq!(db.value(COUNT).await, n.to_string());
    }
}

#[tokio::test]
async fn a_row_that_copy_refuses_is_found() {
    let (_db, mut lane) = lane_with("").await;
    let mut rows: Vec<R> = (0..50).map(|i| whole(1, row(i, "good", 1))).collect();
    // 0x00 is no character of a PostgreSQL text.
    rows[17] = whole(1, row(17, "nul\0", 1));
    let batch = lane.batch(rows);
    assert_eq!(lane.write_batch(&batch).await.unwrap_err().class, Class::Poison);
    assert!(!lane.writer.is_broken());
    let found = lane.writer.isolate(PIPELINE, &batch).await.unwrap();
    assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [17]);
    assert_eq!(found[0].1.sqlstate.as_deref(), Some("22021"));
}

#[tokio::test]
async fn isolating_a_good_batch_finds_nothing() {
    let (db, mut lane) = lane_with("").await;
    let batch = lane.batch(vec![whole(1, row(1, "a", 1)), whole(1, row(2, "a", 1))]);
    assert_eq!(lane.writer.isolate(PIPELINE, &batch).await.unwrap(), []);
    assert_eq!(db.value(COUNT).await, "0");
    lane.write_batch(&batch).await.unwrap();
}

#[tokio::test]
async fn a_secondary_unique_index_blocks_and_is_named() {
    let (_db, mut lane) = lane_with("CREATE UNIQUE INDEX one_name ON s.orders (name)").await;
    let fault =
        lane.write(vec![whole(1, row(1, "a", 1)), whole(1, row(2, "a", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::ConstraintUnsupported));
    assert!(fault.text.contains("one_name"), "{fault}");
}

#[tokio::test]
async fn two_first_writers_of_a_key_race_and_one_retries() {
    let (db, mut lane) = lane_with("").await;
    // Another session holds the key, uncommitted; it commits once the lane's MERGE waits for it.
    let rival = db.client().await;
    rival
        .batch_execute(
            "BEGIN; INSERT INTO s.orders (id, name, _version) VALUES (1, 'rival', '\\x00')",
        )
        .await
        .unwrap();
    let watch = db.client().await;
    let release = async {
        loop {
            let waiting = watch
                .query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", &[])
                .await
                .unwrap();
            if waiting.get::<_, i64>(0) > 0 {
                rival.batch_execute("COMMIT").await.unwrap();
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let (fault, ()) = tokio::join!(lane.write(vec![whole(1, row(1, "mine", 1))]), release);
    let fault = fault.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresConflict));
    lane.write(vec![whole(1, row(1, "mine", 1))]).await.unwrap();
    assert_eq!(db.rows("SELECT name FROM s.orders").await, [["mine"]]);
}

#[tokio::test]
async fn a_concurrent_update_of_the_same_row_does_not_upset_the_count() {
    let (db, mut lane) = lane_with("").await;
    lane.write(vec![whole(1, row(1, "a", 1)), whole(1, row(2, "a", 1))]).await.unwrap();
    let rival = db.client().await;
    let newer = "\\xff";
    rival
        .batch_execute(&format!(
            "BEGIN; UPDATE s.orders SET name = 'rival', _version = '{newer}' WHERE id = 1"
        ))
        .await
        .unwrap();
    let watch = db.client().await;
    let release = async {
        loop {
            let waiting = watch
                .query_one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", &[])
                .await
                .unwrap();
            if waiting.get::<_, i64>(0) > 0 {
                rival.batch_execute("COMMIT").await.unwrap();
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let (applied, ()) =
        tokio::join!(lane.write(vec![whole(2, row(1, "b", 1)), whole(2, row(2, "b", 1))]), release);
    let applied = applied.unwrap();
    assert_eq!((applied.ranges[0].applied, applied.ranges[0].superseded), (1, 1));
    assert_eq!(db.rows("SELECT name FROM s.orders ORDER BY id").await, [["rival"], ["b"]]);
}

#[tokio::test]
async fn a_column_that_went_away_stops_the_lane() {
    let (_db, mut lane) = lane_with("").await;
    lane.write(vec![whole(1, row(1, "a", 1))]).await.unwrap();
    _db.sql("ALTER TABLE s.orders DROP COLUMN qty").await;
    let fault = lane.write(vec![whole(2, row(1, "a", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::ColumnMissing));
}

#[tokio::test]
async fn a_table_that_went_away_stops_the_lane() {
    let (db, mut lane) = lane_with("").await;
    db.sql("DROP TABLE s.orders").await;
    let fault = lane.write(vec![whole(2, row(1, "a", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::TableMissing));
}

#[tokio::test]
async fn a_killed_connection_breaks_the_writer_and_a_new_one_goes_on() {
    let (db, mut lane) = lane_with("").await;
    lane.write(vec![whole(1, row(1, "a", 1))]).await.unwrap();
    db.value("SELECT pg_terminate_backend(backend_pid, 10000) FROM silversink.position").await;
    let fault = lane.write(vec![whole(2, row(1, "b", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresUnavailable));
    assert!(lane.writer.is_broken());
    lane.writer = lane.destination.writer().await.unwrap();
    lane.write(vec![whole(2, row(1, "b", 1))]).await.unwrap();
    assert_eq!(db.rows("SELECT name FROM s.orders").await, [["b"]]);
}

#[tokio::test]
async fn a_cancelled_write_leaves_a_broken_writer() {
    let (db, mut lane) = lane_with("").await;
    let rival = db.client().await;
    rival.batch_execute("BEGIN; LOCK TABLE s.orders").await.unwrap();
    let batch = lane.batch(vec![whole(1, row(1, "a", 1))]);
    tokio::select! {
        biased;
        () = async {
            while db.value("SELECT count(*) FROM pg_locks WHERE NOT granted").await == "0" {}
        } => {}
        result = lane.writer.write(PIPELINE, None, &batch) => panic!("the table is locked, but {result:?}"),
    }
    assert!(lane.writer.is_broken());
    assert_eq!(
        lane.writer.write(PIPELINE, None, &batch).await.unwrap_err().class,
        Class::Transient
    );
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_is_waited_out() {
    let (db, lane) = lane_with("").await;
    let mut config = db.config();
    config.lock_timeout = std::time::Duration::from_millis(100);
    let destination =
        silversink::postgres::Destination::connect(&config, 1, "silversink test").await.unwrap();
    let mut lane = Lane::open(destination, lane.shape, 1).await;
    let rival = db.client().await;
    rival.batch_execute("BEGIN; LOCK TABLE s.orders").await.unwrap();
    let fault = lane.write(vec![whole(1, row(1, "a", 1))]).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresConflict));
    assert!(!lane.writer.is_broken());
    rival.batch_execute("COMMIT").await.unwrap();
    lane.write(vec![whole(1, row(1, "a", 1))]).await.unwrap();
}

#[tokio::test]
async fn rows_without_a_table_are_never_dropped() {
    let (db, mut lane) = lane_with("").await;
    let mut batch = lane.batch(vec![whole(1, row(1, "a", 1))]);
    batch.shape = None;
    let fault = lane.write_batch(&batch).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fatal, Code::Internal));
    assert_eq!(db.rows("SELECT next_offset FROM silversink.position").await, [["0"]]);
}
