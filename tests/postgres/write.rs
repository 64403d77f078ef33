//! The guard: what each kind of row does to a Silver table, against a real PostgreSQL.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use silversink::batch::DeadLetterRow;
use silversink::fault::{Class, Code};
use silversink::record::Coordinates;
use silversink::table::{Bookkeeping, TableName};
use std::sync::Arc;

const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, qty int, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)";
const LOOK: &str = "SELECT id, name, qty, (silversink.version_parts(_version)).kafka_offset, \
    _deleted_at IS NOT NULL FROM s.orders ORDER BY id";

async fn lane_with(partitions: i32, table: &str) -> (Database, Lane) {
    let db = database().await;
    db.sql(table).await;
    let destination = db.destination().await;
    let described = destination
        .describe(&TableName::new("s", "orders"), &Bookkeeping::default())
        .await
        .expect("described")
        .expect("the table exists");
    assert!(described.refusals.is_empty(), "{:?}", described.refusals);
    (db, Lane::open(destination, Arc::new(described.shape), partitions).await)
}

async fn lane() -> (Database, Lane) {
    lane_with(1, TABLE).await
}

fn row(id: i64, name: &'static str, qty: i32) -> Vec<F> {
    vec![I(id), T(name), I4(qty)]
}
fn key(id: i64) -> Vec<F> {
    vec![I(id), Null, Null]
}

#[tokio::test]
async fn a_new_row_is_inserted() {
    let (db, mut lane) = lane().await;
    assert_eq!(lane.counts(vec![whole(5, row(1, "a", 2))]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "a", "2", "5", "f"]]);
}

#[tokio::test]
async fn source_and_apply_times_are_stored() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    let times = "SELECT _source_ts = '2020-01-01 00:00:00+00', _applied_at > now() - interval '1 hour' FROM s.orders";
    assert_eq!(db.rows(times).await, [["t", "t"]]);
}

#[tokio::test]
async fn a_newer_update_replaces_every_column() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    assert_eq!(lane.counts(vec![whole(6, vec![I(1), Null, I4(3)])]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "-", "3", "6", "f"]]);
}

#[tokio::test]
async fn a_stale_update_leaves_the_row_alone() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2)), whole(5, row(2, "b", 2))]).await;
    let before = db.rows("SELECT xmin, ctid FROM s.orders ORDER BY id").await;
    assert_eq!(lane.counts(vec![whole(5, row(1, "x", 9)), whole(4, row(2, "x", 9))]).await, (0, 2));
    assert_eq!(db.rows("SELECT xmin, ctid FROM s.orders ORDER BY id").await, before);
}

#[tokio::test]
async fn a_delete_keeps_the_last_image() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    assert_eq!(lane.counts(vec![delete(6, key(1))]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "a", "2", "6", "t"]]);
}

#[tokio::test]
async fn a_late_update_does_not_revive_a_deleted_row() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    lane.counts(vec![delete(9, key(1))]).await;
    assert_eq!(lane.counts(vec![whole(8, row(1, "late", 3))]).await, (0, 1));
    assert_eq!(db.rows(LOOK).await, [["1", "a", "2", "9", "t"]]);
}

#[tokio::test]
async fn an_insert_after_the_delete_revives_the_row() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![delete(9, key(1))]).await;
    assert_eq!(lane.counts(vec![whole(10, row(1, "b", 3))]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "b", "3", "10", "f"]]);
}

#[tokio::test]
async fn a_delete_of_an_unseen_key_leaves_a_marked_row() {
    let (db, mut lane) = lane().await;
    assert_eq!(lane.counts(vec![delete(9, key(1))]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "-", "-", "9", "t"]]);
    assert_eq!(lane.counts(vec![whole(8, row(1, "late", 3))]).await, (0, 1));
}

#[tokio::test]
async fn a_whole_row_below_the_truncate_floor_is_stored_as_deleted() {
    let (db, mut lane) = lane().await;
    let mut below = whole(5, row(1, "a", 2));
    below.deleted = true;
    lane.counts(vec![below]).await;
    assert_eq!(db.rows(LOOK).await, [["1", "a", "2", "5", "t"]]);
}

#[tokio::test]
async fn a_partial_row_keeps_what_it_does_not_give() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "big", 2))]).await;
    assert_eq!(lane.counts(vec![partial(6, vec![I(1), Null, I4(3)], &[1], true)]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "big", "3", "6", "f"]]);
    // Stale ones do nothing.
    assert_eq!(lane.counts(vec![partial(6, vec![I(1), Null, I4(4)], &[1], true)]).await, (0, 1));
    assert_eq!(db.rows(LOOK).await, [["1", "big", "3", "6", "f"]]);
}

#[tokio::test]
async fn a_partial_row_without_placeholder_may_be_the_first_of_its_key() {
    let (db, mut lane) = lane().await;
    assert_eq!(lane.counts(vec![partial(6, vec![I(1), Null, I4(3)], &[1], false)]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "-", "3", "6", "f"]]);
}

#[tokio::test]
async fn a_placeholder_without_base_is_poison_and_is_isolated() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "big", 2)), delete(5, key(2))]).await;
    let batch = lane.batch(vec![
        partial(6, vec![I(1), Null, I4(3)], &[1], true),
        // The row is deleted: its values are of another life of the key.
        partial(6, vec![I(2), Null, I4(3)], &[1], true),
        partial(6, vec![I(3), Null, I4(3)], &[1], true),
        whole(6, row(4, "d", 3)),
    ]);
    let fault = lane.write_batch(&batch).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Poison, Code::UnchangedWithoutBase));
    assert_eq!(db.rows(LOOK).await.len(), 2, "nothing of the batch is there");
    let found = lane.writer.isolate(PIPELINE, &batch).await.unwrap();
    let indexes: Vec<usize> = found.iter().map(|(i, _)| *i).collect();
    assert_eq!(indexes, [1, 2]);
    assert!(found.iter().all(|(_, f)| f.code == Code::UnchangedWithoutBase));
    assert_eq!(db.rows(LOOK).await.len(), 2, "isolating writes nothing");
}

#[tokio::test]
async fn a_tombstone_marks_a_live_row_of_an_earlier_offset() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    assert_eq!(lane.counts(vec![tombstone(7, key(1))]).await, (1, 0));
    assert_eq!(db.rows(LOOK).await, [["1", "a", "2", "7", "t"]]);
    let parts = "SELECT (silversink.version_parts(_version)).commit_position FROM s.orders";
    assert_eq!(db.value(parts).await, "5", "the commit position stays the row's own");
}

#[tokio::test]
async fn a_tombstone_of_a_later_row_a_deleted_row_or_no_row_does_nothing() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2)), delete(5, key(2))]).await;
    let before = db.rows("SELECT xmin, * FROM s.orders ORDER BY id").await;
    let rows = vec![tombstone(5, key(1)), tombstone(9, key(2)), tombstone(9, key(3))];
    assert_eq!(lane.counts(rows).await, (0, 3));
    assert_eq!(db.rows("SELECT xmin, * FROM s.orders ORDER BY id").await, before);
}

#[tokio::test]
async fn a_truncate_marks_older_rows_and_leaves_a_floor() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2)), whole(9, row(2, "b", 2))]).await;
    lane.truncate(7).await;
    assert_eq!(db.rows(LOOK).await, [["1", "a", "2", "5", "t"], ["2", "b", "2", "9", "f"]]);
    let table = TableName::new("s", "orders");
    assert_eq!(lane.destination.truncate_floor(&table).await.unwrap(), Some((version(7), AT)));
    lane.truncate(6).await;
    assert_eq!(
        lane.destination.truncate_floor(&table).await.unwrap(),
        Some((version(7), AT)),
        "floors only rise"
    );
    assert_eq!(lane.destination.truncate_floor(&TableName::new("s", "x")).await.unwrap(), None);
}

#[tokio::test]
async fn counts_are_told_and_stored_per_partition() {
    let (db, mut lane) = lane_with(2, TABLE).await;
    lane.counts(vec![whole(5, row(1, "a", 1)), whole(5, row(2, "a", 1)).of_range(1)]).await;
    let batch = lane.batch(vec![
        whole(6, row(1, "b", 1)),
        whole(4, row(2, "stale", 1)).of_range(1),
        whole(6, row(3, "b", 1)).of_range(1),
        whole(6, row(4, "b", 1)),
    ]);
    let applied = lane.write_batch(&batch).await.unwrap();
    let pairs: Vec<_> = applied.ranges.iter().map(|r| (r.applied, r.superseded)).collect();
    assert_eq!(pairs, [(2, 0), (1, 1)]);
    // All superseded, over both partitions.
    let again = lane.batch(vec![whole(6, row(1, "b", 1)), whole(5, row(2, "a", 1)).of_range(1)]);
    let pairs: Vec<_> = lane
        .write_batch(&again)
        .await
        .unwrap()
        .ranges
        .iter()
        .map(|r| (r.applied, r.superseded))
        .collect();
    assert_eq!(pairs, [(0, 1), (0, 1)]);
    let stored = "SELECT partition, next_offset, applied, superseded FROM silversink.position ORDER BY partition";
    assert_eq!(db.rows(stored).await, [["0", "4", "3", "1"], ["1", "4", "2", "2"]]);
}

#[tokio::test]
async fn folded_changes_count_as_superseded() {
    let (_db, mut lane) = lane().await;
    let mut batch = lane.batch(vec![whole(5, row(1, "a", 2))]);
    batch.ranges[0].changes = 4;
    batch.ranges[0].folded = 3;
    batch.ranges[0].skipped = 2;
    batch.ranges[0].next = 6;
    let applied = lane.write_batch(&batch).await.unwrap();
    assert_eq!((applied.ranges[0].applied, applied.ranges[0].superseded), (1, 3));
    let position = &lane.destination.positions(PIPELINE).await.unwrap()[0];
    assert_eq!((position.applied, position.superseded, position.skipped), (1, 3, 2));
    assert_eq!(position.next_offset, Some(6));
}

#[tokio::test]
async fn skips_alone_move_the_position() {
    let (db, mut lane) = lane().await;
    let mut batch = lane.batch(vec![]);
    batch.shape = None;
    batch.ranges[0].skipped = 1;
    lane.write_batch(&batch).await.unwrap();
    assert_eq!(db.rows("SELECT next_offset, skipped FROM silversink.position").await, [["1", "1"]]);
}

#[tokio::test]
async fn dead_letters_are_written_with_the_position_and_counted_when_seen_again() {
    let (db, mut lane) = lane().await;
    let letter = DeadLetterRow {
        at: Coordinates { topic: TOPIC.into(), partition: 0, offset: 3 },
        topic_id: topic_id(),
        code: "undecodable".into(),
        fingerprint: "f".into(),
        key: Some("{\"id\":\0}".into()),
        hole: None,
        version: Some(version(3)),
        reason: "cut\0short".into(),
        sqlstate: None,
        dlq_partition: 0,
        dlq_offset: 17,
    };
    for _ in 0..2 {
        let mut batch = lane.batch(vec![whole(5, row(1, "a", 2))]);
        batch.letters = vec![letter.clone(), letter.clone()];
        batch.ranges[0].dead_lettered = 1;
        lane.write_batch(&batch).await.unwrap();
    }
    let look = "SELECT \"offset\", code, table_name, count, status, reason, key FROM silversink.dead_letter";
    assert_eq!(
        db.rows(look).await,
        [["3", "undecodable", "orders", "2", "parked", "cut\u{fffd}short", "-"]]
    );
    let by_code = lane.destination.dead_letters_by_code(PIPELINE).await.unwrap();
    assert_eq!(by_code, [("undecodable".to_owned(), 1)]);
}

#[tokio::test]
async fn a_whole_row_closes_the_holes_below_it_and_no_other() {
    let (db, mut lane) = lane().await;
    let letter = |offset: i64, hole: u64| DeadLetterRow {
        at: Coordinates { topic: TOPIC.into(), partition: 0, offset },
        topic_id: topic_id(),
        code: "undecodable".into(),
        fingerprint: "f".into(),
        key: None,
        version: None,
        hole: Some((b"k".to_vec(), version(hole))),
        reason: "cut short".into(),
        sqlstate: None,
        dlq_partition: 0,
        dlq_offset: 17,
    };
    let holes = "SELECT coalesce(string_agg((silversink.version_parts(version)).kafka_offset::text, ' ' ORDER BY version), '-') \
                 FROM silversink.hole";
    // Read again it is the same hole.
    for _ in 0..2 {
        let mut batch = lane.batch(vec![whole(5, row(1, "a", 2))]);
        batch.letters = vec![letter(3, 3), letter(4, 4), letter(6, 6)];
        lane.write_batch(&batch).await.unwrap();
        assert_eq!(db.value(holes).await, "3 4 6");
    }
    for (to, left) in [(2, "3 4 6"), (4, "6"), (9, "-")] {
        let mut batch = lane.batch(vec![whole(5, row(1, "a", 2))]);
        batch.closed = vec![(b"k".to_vec(), version(to)), (b"l".to_vec(), version(9))];
        lane.write_batch(&batch).await.unwrap();
        assert_eq!(db.value(holes).await, left);
    }
}

#[tokio::test]
async fn many_rows_cross_chunk_borders_whole() {
    let (db, mut lane) = lane().await;
    let rows: Vec<R> = (0..20_000).map(|i| whole(5, row(i, "a name of some length", 2))).collect();
    assert_eq!(lane.counts(rows.clone()).await, (20_000, 0));
    assert_eq!(lane.counts(rows).await, (0, 20_000));
    assert_eq!(
        db.value("SELECT count(*) FROM s.orders WHERE name = 'a name of some length'").await,
        "20000"
    );
    let counts =
        lane.destination.table_counts(&lane.shape.table, &lane.shape.bookkeeping).await.unwrap();
    assert_eq!((counts.rows, counts.live, counts.deleted), (20_000, 20_000, 0));
}

#[tokio::test]
async fn a_changed_shape_gets_a_new_stage() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    lane.counts(vec![partial(6, vec![I(1), Null, I4(3)], &[1], true)]).await;
    db.sql("ALTER TABLE s.orders ADD COLUMN note text").await;
    let described = lane
        .destination
        .describe(&lane.shape.table, &Bookkeeping::default())
        .await
        .unwrap()
        .unwrap();
    lane.shape = Arc::new(described.shape);
    lane.counts(vec![whole(7, vec![I(1), T("b"), I4(4), T("new")])]).await;
    assert_eq!(db.rows("SELECT id, name, note FROM s.orders").await, [["1", "b", "new"]]);
}

#[tokio::test]
async fn more_than_64_columns_are_kept_bit_by_bit() {
    let columns: Vec<String> = (0..70).map(|i| format!("v{i} int")).collect();
    let (db, mut lane) = lane_with(
        1,
        &format!(
            "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, {}, _version bytea NOT NULL, \
             _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)",
            columns.join(", ")
        ),
    )
    .await;
    let fields =
        |n: i32| std::iter::once(I(1)).chain((0..70).map(|i| I4(n + i))).collect::<Vec<_>>();
    lane.counts(vec![whole(5, fields(0))]).await;
    // Columns 63 and 64 stand on both sides of a word's border; column 0 is the key.
    assert_eq!(lane.counts(vec![partial(6, fields(1000), &[1, 63, 64, 70], true)]).await, (1, 0));
    assert_eq!(
        db.rows("SELECT v0, v1, v61, v62, v63, v64, v69 FROM s.orders").await,
        [["0", "1001", "1061", "62", "63", "1064", "69"]]
    );
}

#[tokio::test]
async fn hostile_names_stay_names() {
    let (db, mut lane) = lane_with(
        1,
        r#"CREATE SCHEMA s; CREATE TABLE s.orders ("c1" bigint, "v_applied" text, "s._version; DROP TABLE x" int,
        "a""b" text, "$fn$ 'quote' $1" text, PRIMARY KEY ("c1", "a""b"),
        _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)"#,
    )
    .await;
    let fields = |name| vec![I(1), T(name), I4(1), T("k"), T("q")];
    lane.counts(vec![whole(5, fields("a"))]).await;
    lane.counts(vec![partial(6, fields("b"), &[4], true)]).await;
    lane.truncate(7).await;
    assert_eq!(
        db.rows("SELECT v_applied, \"$fn$ 'quote' $1\", _deleted_at IS NULL FROM s.orders").await,
        [["b", "q", "f"]]
    );
}

#[tokio::test]
async fn generated_and_identity_columns_are_respected() {
    let (db, mut lane) = lane_with(
        1,
        "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         twice bigint GENERATED ALWAYS AS (id * 2) STORED, name text, \
         _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)",
    )
    .await;
    lane.counts(vec![whole(5, vec![I(40), T("a")])]).await;
    lane.counts(vec![whole(6, vec![I(40), T("b")])]).await;
    assert_eq!(db.rows("SELECT id, twice, name FROM s.orders").await, [["40", "80", "b"]]);
}

#[tokio::test]
async fn columns_staged_as_text_are_cast_by_postgresql_and_never_cut() {
    let (db, mut lane) = lane_with(
        1,
        "CREATE SCHEMA s; CREATE TABLE s.orders (address inet PRIMARY KEY, flags bit(3), span int4range, \
         _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)",
    )
    .await;
    lane.counts(vec![whole(5, vec![T("10.0.0.1"), T("101"), T("[1,3)")])]).await;
    assert_eq!(lane.counts(vec![whole(6, vec![T("10.0.0.1/32"), T("110"), Null])]).await, (1, 0));
    assert_eq!(
        db.rows("SELECT address, flags, span FROM s.orders").await,
        [["10.0.0.1", "110", "-"]]
    );
    // An explicit cast to bit(3) would cut to three bits without a word.
    let long = lane.batch(vec![whole(7, vec![T("10.0.0.1"), T("1111"), Null])]);
    assert_eq!(lane.write_batch(&long).await.unwrap_err().class, Class::Poison);
    let nonsense = lane.batch(vec![whole(7, vec![T("home"), Null, Null])]);
    assert_eq!(lane.write_batch(&nonsense).await.unwrap_err().class, Class::Poison);
}

#[tokio::test]
async fn enums_travel_as_themselves() {
    let (db, mut lane) = lane_with(
        1,
        "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('low', 'high'); \
         CREATE TABLE s.orders (mood s.mood PRIMARY KEY, name text, \
         _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)",
    )
    .await;
    lane.counts(vec![whole(5, vec![T("low"), T("a")])]).await;
    assert_eq!(lane.counts(vec![whole(6, vec![T("low"), T("b")])]).await, (1, 0));
    assert_eq!(db.rows("SELECT mood, name FROM s.orders").await, [["low", "b"]]);
    let unknown = lane.batch(vec![whole(7, vec![T("none"), Null])]);
    assert_eq!(lane.write_batch(&unknown).await.unwrap_err().class, Class::Poison);
}

#[tokio::test]
async fn no_two_writers_have_a_stage_of_one_name() {
    let (db, mut lane) = lane().await;
    lane.counts(vec![whole(5, row(1, "a", 2))]).await;
    let first = std::mem::replace(&mut lane.writer, lane.destination.writer().await.unwrap());
    lane.counts(vec![whole(6, row(1, "b", 2))]).await;
    let names =
        "SELECT count(DISTINCT relname) FROM pg_class WHERE relname LIKE 'silversink\\_stage\\_%'";
    assert_eq!(db.value(names).await, "2");
    drop(first);
}
