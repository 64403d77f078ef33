//! Whole rows into a table that was empty: COPY straight into it, and every reason why not.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use bytes::Bytes;
use futures::SinkExt;
use silversink::fault::Class;
use silversink::postgres::Destination;
use silversink::table::{Bookkeeping, TableName};
use std::pin::pin;
use std::sync::Arc;

const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, qty int, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz); \
    CREATE TABLE s.log (n int GENERATED ALWAYS AS IDENTITY, way text); \
    CREATE FUNCTION s.log() RETURNS trigger LANGUAGE plpgsql AS \
      'BEGIN INSERT INTO s.log (way) VALUES (split_part(current_query(), '' '', 1)); RETURN NULL; END'; \
    CREATE TRIGGER log AFTER INSERT ON s.orders FOR EACH STATEMENT EXECUTE FUNCTION s.log()";
/// By which statement each batch came that inserts may belong to.
const WAYS: &str = "SELECT string_agg(way, ' ' ORDER BY n) FROM s.log";
const ROWS: i64 = 1_000;

async fn lane_after(statements: &str) -> (Database, Lane) {
    let db = database().await;
    db.sql(TABLE).await;
    db.sql(statements).await;
    let destination = db.destination().await;
    let table = TableName::new("s", "orders");
    let described = destination.describe(&table, &Bookkeeping::default()).await.unwrap().unwrap();
    (db, Lane::open(destination, Arc::new(described.shape), 1).await)
}

async fn lane() -> (Database, Lane) {
    lane_after("").await
}

/// A thousand rows from this key on.
fn rows(from: i64, v: u64) -> Vec<R> {
    (from..from + ROWS).map(|id| whole(v, vec![I(id), T("a"), I4(2)])).collect()
}

#[tokio::test]
async fn a_batch_goes_straight_into_an_empty_table() {
    let (db, mut lane) = lane().await;
    let mut batch = rows(0, 5);
    batch[7] = whole(9, vec![I(7), Null, I4(-3)]);
    batch[8].deleted = true;
    assert_eq!(lane.counts(batch).await, (1_000, 0));
    assert_eq!(lane.counts(rows(1_000, 6)).await, (1_000, 0));
    assert_eq!(db.value(WAYS).await, "COPY COPY");
    let look = "SELECT id, name, qty, (silversink.version_parts(_version)).kafka_offset, _deleted_at, _source_ts, \
        _applied_at BETWEEN now() - interval '1 minute' AND now() FROM s.orders WHERE id IN (6, 7, 8, 1999) ORDER BY id";
    let at = "2020-01-01 00:00:00+00";
    assert_eq!(
        db.rows(look).await,
        [
            ["6", "a", "2", "5", "-", at, "t"],
            ["7", "-", "-3", "9", "-", at, "t"],
            ["8", "a", "2", "5", at, at, "t"],
            ["1999", "a", "2", "6", "-", at, "t"]
        ]
    );
    let position = "SELECT next_offset, applied, superseded FROM silversink.position";
    assert_eq!(db.rows(position).await, [["2000", "2000", "0"]]);
    let by_transaction =
        "SELECT count(*), count(DISTINCT _applied_at), count(DISTINCT xmin::text) FROM s.orders";
    assert_eq!(db.rows(by_transaction).await, [["2000", "2", "2"]], "a transaction has one time");
}

#[tokio::test]
async fn small_batches_and_other_kinds_of_rows_are_merged() {
    let (db, mut lane) = lane().await;
    lane.counts(rows(0, 5).split_off(1)).await;
    let mut mixed = rows(1_000, 5);
    mixed[3] = delete(5, vec![I(1_003), Null, Null]);
    lane.counts(mixed).await;
    assert_eq!(db.value(WAYS).await, "SELECT SELECT");
    lane.counts(rows(2_000, 5)).await;
    assert_eq!(
        db.value(WAYS).await,
        "SELECT SELECT COPY",
        "the table was empty when it was first met"
    );
}

#[tokio::test]
async fn a_row_that_is_there_turns_the_batch_into_a_merge_and_the_next_one_too() {
    let (db, mut lane) = lane().await;
    lane.counts(rows(0, 5)).await;
    let (mut newer, mut older) = (rows(999, 6), rows(1_998, 4));
    newer[500].version = version(7);
    older[0].fields[1] = T("late");
    assert_eq!(lane.counts(newer).await, (1_000, 0));
    assert_eq!(lane.counts(rows(3_000, 6)).await, (1_000, 0));
    assert_eq!(db.value(WAYS).await, "COPY SELECT SELECT", "one batch does not try");
    assert_eq!(lane.counts(older).await, (999, 1));
    let look = "SELECT id, name, (silversink.version_parts(_version)).kafka_offset FROM s.orders \
        WHERE id IN (999, 1499, 1998) ORDER BY id";
    assert_eq!(db.rows(look).await, [["999", "a", "6"], ["1499", "a", "7"], ["1998", "a", "6"]]);
    assert_eq!(lane.counts(rows(10_000, 6)).await, (1_000, 0));
    assert_eq!(lane.counts(rows(20_000, 6)).await, (1_000, 0));
    assert_eq!(lane.counts(rows(30_000, 6)).await, (1_000, 0));
    assert_eq!(db.value(WAYS).await, "COPY SELECT SELECT SELECT SELECT SELECT COPY");
    assert_eq!(db.value("SELECT count(*) FROM s.orders").await, "6998");
}

#[tokio::test]
async fn a_table_that_had_a_row_is_never_loaded() {
    let (db, mut lane) = lane_after("INSERT INTO s.orders VALUES (-1, 'a', 1, '')").await;
    lane.counts(rows(0, 5)).await;
    assert_eq!(db.value(WAYS).await, "INSERT SELECT");
}

#[tokio::test]
async fn a_table_with_a_truncate_floor_is_not_loaded() {
    let (db, mut lane) = lane().await;
    lane.truncate(6).await;
    assert_eq!(lane.counts(rows(0, 5)).await, (1_000, 0));
    assert_eq!(db.value(WAYS).await, "SELECT");
    assert_eq!(db.value("SELECT count(*) FROM s.orders WHERE _deleted_at IS NULL").await, "0");
}

#[tokio::test]
async fn columns_that_are_not_what_they_were_are_left_to_the_merge() {
    for change in [
        "ALTER TABLE s.orders ALTER qty TYPE bigint",
        // Of the same length as a time: COPY would read it as one.
        "ALTER TABLE s.orders ALTER _source_ts TYPE timestamp",
    ] {
        let (db, mut lane) = lane().await;
        db.sql(change).await;
        assert_eq!(lane.counts(rows(0, 5)).await, (1_000, 0));
        assert_eq!(db.value(WAYS).await, "SELECT", "{change}");
        let look = "SELECT qty, _source_ts::timestamp FROM s.orders WHERE id = 5";
        assert_eq!(db.rows(look).await, [["2", "2020-01-01 00:00:00"]]);
    }
}

#[tokio::test]
async fn a_column_that_is_staged_as_text_is_left_to_the_merge_and_a_computed_one_is_computed() {
    let (db, mut lane) = lane_after("ALTER TABLE s.orders ADD cost money").await;
    let mut wider = rows(0, 5);
    wider.iter_mut().for_each(|row| row.fields.push(Null));
    assert_eq!(lane.counts(wider).await, (1_000, 0));
    assert_eq!(db.value(WAYS).await, "SELECT");

    let twice = "ALTER TABLE s.orders ADD twice int GENERATED ALWAYS AS (qty * 2) STORED";
    let (db, mut lane) = lane_after(twice).await;
    assert_eq!(lane.counts(rows(0, 5)).await, (1_000, 0));
    assert_eq!(db.value(WAYS).await, "COPY");
    assert_eq!(db.value("SELECT min(twice) FROM s.orders").await, "4");
}

#[tokio::test]
async fn whoever_lost_the_partition_loads_nothing() {
    let (db, mut lane) = lane().await;
    claim(&lane.destination, 1).await;
    let fault = lane.write(rows(0, 5)).await.unwrap_err();
    assert_eq!(fault.class, Class::Fenced, "{fault}");
    assert_eq!(db.value("SELECT count(*) FROM s.orders").await, "0");
}

#[tokio::test]
async fn a_batch_that_has_committed_before_is_not_loaded_again() {
    let (db, mut lane) = lane().await;
    let batch = lane.batch(rows(0, 5));
    lane.write_batch(&batch).await.unwrap();
    let again = lane.writer.write(PIPELINE, None, &batch).await.unwrap();
    assert!(again.already);
    assert_eq!(db.value("SELECT count(*) FROM s.orders").await, "1000");
}

#[tokio::test]
async fn a_trigger_that_swallows_a_row_stops_the_lane_all_the_same() {
    let (db, mut lane) = lane_after(
        "CREATE FUNCTION s.swallow() RETURNS trigger LANGUAGE plpgsql AS \
           'BEGIN IF NEW.id = 5 THEN RETURN NULL; END IF; RETURN NEW; END'; \
         CREATE TRIGGER swallow BEFORE INSERT ON s.orders FOR EACH ROW EXECUTE FUNCTION s.swallow()",
    )
    .await;
    let fault = lane.write(rows(0, 5)).await.unwrap_err();
    assert_eq!(fault.class, Class::Blocked, "{fault}");
    assert_eq!(db.value("SELECT count(*) FROM s.orders").await, "0");
}

#[tokio::test]
async fn a_value_that_the_table_refuses_is_told_as_ever() {
    let (db, mut lane) = lane_after("ALTER TABLE s.orders ADD CHECK (qty < 3)").await;
    let mut batch = rows(0, 5);
    batch[500].fields[2] = I4(3);
    let fault = lane.write(batch).await.unwrap_err();
    assert_eq!((fault.class, fault.sqlstate.as_deref()), (Class::Poison, Some("23514")), "{fault}");
    assert_eq!(db.value("SELECT count(*) FROM s.orders").await, "0");
}

/// What a load looks like from outside when its worker is frozen: the position's lock is held, and the server waits for rows.
#[tokio::test]
async fn a_claim_ends_a_load_that_stands_still() {
    let (db, lane) = lane().await;
    let frozen = db.client().await;
    frozen
        .batch_execute("SET application_name = 'silversink'; BEGIN; SELECT FROM silversink.position FOR UPDATE")
        .await
        .unwrap();
    let mut sink =
        pin!(frozen.copy_in::<_, Bytes>("COPY s.orders FROM STDIN BINARY").await.unwrap());
    sink.as_mut().send(Bytes::from_static(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")).await.unwrap();
    let copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY s.orders%' AND datname = current_database()";
    assert_eq!(db.value(copying).await, "1");
    claim(&lane.destination, 1).await;
    assert_eq!(db.value(copying).await, "0");
}

/// Without its index nothing would refuse a row that is there.
#[tokio::test]
async fn a_table_that_lost_its_key_since_is_not_loaded() {
    for change in [
        "ALTER TABLE s.orders DROP CONSTRAINT orders_pkey",
        "ALTER TABLE s.orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id, _version)",
    ] {
        let (db, mut lane) = lane().await;
        db.sql(change).await;
        assert_eq!(lane.counts(rows(0, 5)).await, (1_000, 0));
        assert_eq!(lane.counts(rows(0, 6)).await, (1_000, 0));
        assert_eq!(db.value("SELECT count(*) FROM s.orders").await, "1000", "{change}");
        assert_eq!(db.value(WAYS).await, "SELECT SELECT", "{change}");
    }
}

#[tokio::test]
async fn a_stage_is_made_once_though_the_table_is_locked() {
    let db = database().await;
    db.sql(TABLE).await;
    let mut config = db.config();
    config.lock_timeout = std::time::Duration::from_millis(50);
    let destination = Destination::connect(&config, 1, "silversink test").await.unwrap();
    destination.ensure_bookkeeping().await.unwrap();
    let table = TableName::new("s", "orders");
    let described = destination.describe(&table, &Bookkeeping::default()).await.unwrap().unwrap();
    let mut writer = destination.writer().await.unwrap();
    let stranger = db.client().await;
    stranger.batch_execute("BEGIN; LOCK TABLE s.orders").await.unwrap();
    let shape = Arc::new(described.shape);
    writer.prepare(&shape).await.unwrap();
    writer.prepare(&shape).await.unwrap();
    let stages = "SELECT count(*) FROM pg_class WHERE relname LIKE 'silversink\\_stage\\_%'";
    assert_eq!(db.value(stages).await, "1");
}
