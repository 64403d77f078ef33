//! Truncates against writers of other workers, and of tables that are too large for one statement.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use silversink::batch::Truncate;
use silversink::fault::Class;
use silversink::postgres::Destination;
use silversink::sql::floor;
use silversink::table::{Bookkeeping, TableName};
use std::sync::Arc;
use std::time::Duration;

const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, qty int, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)";
const LOOK: &str = "SELECT id, _deleted_at IS NOT NULL FROM s.orders ORDER BY id";

fn orders() -> TableName {
    TableName::new("s", "orders")
}

async fn lane_on(db: &Database, destination: Destination) -> Lane {
    db.sql(TABLE).await;
    let described =
        destination.describe(&orders(), &Bookkeeping::default()).await.unwrap().unwrap();
    Lane::open(destination, Arc::new(described.shape), 1).await
}

async fn lane() -> (Database, Lane) {
    let db = database().await;
    let destination = db.destination().await;
    let lane = lane_on(&db, destination).await;
    (db, lane)
}

fn row(id: i64) -> Vec<F> {
    vec![I(id), T("a"), I4(2)]
}

/// Waits until some session of the database waits for an advisory lock.
async fn wait_for_a_waiter(db: &Database) {
    let waiters = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database \
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
    while db.value(waiters).await == "0" {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_row_below_the_floor_is_stored_as_deleted_whoever_writes_it() {
    let (db, mut lane) = lane().await;
    lane.truncate(7).await;
    // Nothing in these batches knows of the truncate.
    assert_eq!(lane.counts(vec![whole(5, row(1)), whole(8, row(2))]).await, (2, 0));
    assert_eq!(lane.counts(vec![partial(6, row(1), &[1], true)]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "t"], ["2", "f"]]);
}

#[tokio::test]
async fn a_row_below_the_floor_is_no_base_for_one_above_it() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1))]).await;
    // The truncate comes in the same batch, so the row is still live when it is looked at.
    let mut batch = lane.batch(vec![partial(8, row(1), &[1], true)]);
    batch.truncate = Some(Truncate { version: version(7), at: AT });
    assert_eq!(lane.write_batch(&batch).await.unwrap_err().class, Class::Poison);
    let found = lane.writer.isolate(PIPELINE, &batch).await.unwrap();
    assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0]);
    assert_eq!(db.rows(LOOK).await, [["1", "f"]], "nothing was written");
}

#[tokio::test]
async fn a_replay_of_what_was_truncated_writes_nothing() {
    let (db, mut lane) = lane().await;
    let rows = || vec![whole(5, row(1)), partial(5, row(2), &[1], false), delete(6, row(3))];
    lane.counts(rows()).await;
    lane.truncate(7).await;
    let tuples = "SELECT xmin, ctid, * FROM s.orders ORDER BY id";
    let floor = "SELECT xmin, ctid FROM silversink.truncate_floor";
    let before = (db.rows(tuples).await, db.rows(floor).await);
    assert_eq!(lane.counts(rows()).await, (0, 3));
    lane.truncate(7).await;
    assert_eq!((db.rows(tuples).await, db.rows(floor).await), before);
}

#[tokio::test]
async fn a_truncate_waits_for_a_batch_under_way_and_marks_its_rows() {
    let (db, mut lane) = lane().await;
    let batch = db.client().await;
    let below = version(5).as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>();
    batch
        .batch_execute(&format!(
            "BEGIN; SELECT {}; INSERT INTO s.orders (id, _version) VALUES (1, '\\x{below}')",
            floor::lock_shared(&orders())
        ))
        .await
        .unwrap();
    let truncating = async {
        lane.truncate(7).await;
    };
    let committing = async {
        wait_for_a_waiter(&db).await;
        batch.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(truncating, committing);
    assert_eq!(db.rows(LOOK).await, [["1", "t"]]);
}

#[tokio::test]
async fn a_batch_waits_for_a_truncate_under_way_and_sees_its_floor() {
    let (db, mut lane) = lane().await;
    let truncate = db.client().await;
    let (version, at) = floor::literals(&Truncate { version: version(7), at: AT });
    truncate
        .batch_execute(&format!(
            "BEGIN; SELECT {}; {}",
            floor::lock_alone(&orders()),
            floor::raise(&orders(), &version, &at)
        ))
        .await
        .unwrap();
    let writing = async {
        lane.counts(vec![whole(5, row(1))]).await;
    };
    let committing = async {
        wait_for_a_waiter(&db).await;
        truncate.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(writing, committing);
    assert_eq!(db.rows(LOOK).await, [["1", "t"]]);
}

#[tokio::test]
async fn a_truncate_that_one_statement_cannot_do_in_time_is_done_step_by_step() {
    let db = database().await;
    db.destination().await;
    let mut config = db.config();
    config.statement_timeout = Duration::from_millis(400);
    let destination = Destination::connect(&config, 4, "silversink test").await.unwrap();
    let mut lane = lane_on(&db, destination).await;
    // Few rows to a block, and every mark takes two milliseconds: a second and a half for all of them.
    let low = version(1).as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>();
    db.sql(&format!(
        "INSERT INTO s.orders (id, name, _version) SELECT i, repeat('x', 1900), '\\x{low}' FROM generate_series(1, 750) AS i; \
         CREATE SEQUENCE s.marks; \
         CREATE FUNCTION s.slow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM nextval(''s.marks''), pg_sleep(0.002); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE UPDATE ON s.orders FOR EACH ROW EXECUTE FUNCTION s.slow()"
    ))
    .await;
    let mut batch = lane.batch(vec![whole(5, row(1_001)), whole(9, row(1_002))]);
    batch.truncate = Some(Truncate { version: version(7), at: AT });
    lane.write_batch(&batch).await.unwrap();
    let live = "SELECT id FROM s.orders WHERE _deleted_at IS NULL";
    assert_eq!(db.rows(live).await, [["1002"]]);
    let marks: i64 = db.value("SELECT last_value FROM s.marks").await.parse().unwrap();
    assert!(marks > 750, "no statement ran into its time limit: {marks} marks");
    assert_eq!(lane.destination.truncate_floor(&orders()).await.unwrap(), Some((version(7), AT)));
    // A zombie does not even raise the floor.
    claim(&lane.destination, 1).await;
    db.sql("UPDATE s.orders SET _deleted_at = NULL WHERE id BETWEEN 2 AND 400").await;
    let mut late = lane.batch(vec![]);
    late.truncate = Some(Truncate { version: version(8), at: AT });
    assert_eq!(lane.write_batch(&late).await.unwrap_err().class, Class::Fenced);
    assert_eq!(lane.destination.truncate_floor(&orders()).await.unwrap(), Some((version(7), AT)));
}
