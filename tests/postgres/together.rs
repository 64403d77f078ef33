//! Batches of many tables: one transaction, one move of the positions, the counts of every table.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use silversink::batch::{Batch, Part, Truncate};
use silversink::fault::{Class, Code};
use silversink::table::{Bookkeeping, TableName, TableShape};
use std::sync::Arc;

const BOOKKEEPING: &str = "_version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz";

async fn lane_of(tables: &[&str]) -> (Database, Lane, Vec<Arc<TableShape>>) {
    let db = database().await;
    db.sql("CREATE SCHEMA s").await;
    let destination = db.destination().await;
    let mut shapes = Vec::new();
    for table in tables {
        db.sql(&format!(
            "CREATE TABLE s.{table} (id bigint PRIMARY KEY, name text, {BOOKKEEPING})"
        ))
        .await;
        let name = TableName::new("s", *table);
        let described =
            destination.describe(&name, &Bookkeeping::default()).await.unwrap().unwrap();
        shapes.push(Arc::new(described.shape));
    }
    let lane = Lane::open(destination, Arc::clone(&shapes[0]), 2).await;
    (db, lane, shapes)
}

fn part(lane: &Lane, shape: &Arc<TableShape>, rows: Vec<R>) -> Part {
    let mut ranges = lane.ranges.clone();
    for (at, range) in ranges.iter_mut().enumerate() {
        range.next = range.from + 10;
        range.changes = rows.iter().filter(|row| usize::from(row.range) == at).count() as u64;
    }
    Part { table: shape.table.clone(), batch: batch(shape, rows, ranges) }
}

/// A batch of nothing but these parts, one skipped record in each partition.
fn together(lane: &Lane, parts: Vec<Part>) -> Batch {
    let mut ranges = lane.ranges.clone();
    for range in &mut ranges {
        (range.next, range.skipped) = (range.from + 10, 1);
    }
    Batch { shape: None, parts, ..batch(&lane.shape, Vec::new(), ranges) }
}

fn row(id: i64, name: &'static str) -> Vec<F> {
    vec![I(id), T(name)]
}

const POSITIONS: &str = "SELECT partition, next_offset, applied, superseded, skipped FROM silversink.position ORDER BY partition";

#[tokio::test]
async fn tables_commit_together_and_a_repetition_is_known() {
    let (db, mut lane, shapes) = lane_of(&["a", "b", "c"]).await;
    let parts = vec![
        part(&lane, &shapes[0], vec![whole(1, row(1, "a1")), whole(2, row(2, "a2"))]),
        part(&lane, &shapes[1], vec![whole(3, row(1, "b1"))]),
        part(&lane, &shapes[2], vec![]),
    ];
    let first = together(&lane, parts);
    let applied = lane.write_batch(&first).await.unwrap();
    let counts: Vec<u64> = applied.parts.iter().map(|part| part.ranges[0].applied).collect();
    assert_eq!(counts, [2, 1, 0]);
    assert_eq!(db.rows("SELECT * FROM (SELECT id, name FROM s.a UNION ALL SELECT id, name FROM s.b) AS r ORDER BY name").await, [["1", "a1"], ["2", "a2"], ["1", "b1"]]);
    assert_eq!(db.rows(POSITIONS).await, [["0", "10", "3", "0", "1"], ["1", "10", "0", "0", "1"]]);

    // Its answer was lost: the same again is found to have committed.
    let again = lane.writer.write(PIPELINE, None, &first).await.unwrap();
    assert!(again.already);
    assert_eq!(db.rows(POSITIONS).await, [["0", "10", "3", "0", "1"], ["1", "10", "0", "0", "1"]]);

    // The same rows further on: superseded in the table that has them, applied in the one that has not.
    let parts = vec![
        part(&lane, &shapes[0], vec![whole(1, row(1, "a1"))]),
        part(&lane, &shapes[2], vec![whole(1, row(1, "c1"))]),
    ];
    let applied = lane.write_batch(&together(&lane, parts)).await.unwrap();
    assert_eq!((applied.parts[0].ranges[0].superseded, applied.parts[1].ranges[0].applied), (1, 1));
    assert_eq!(db.rows(POSITIONS).await[0], ["0", "20", "4", "1", "2"]);
}

#[tokio::test]
async fn what_fails_in_one_table_takes_all_back_and_is_told_of_it() {
    let (db, mut lane, shapes) = lane_of(&["a", "b"]).await;
    db.sql("ALTER TABLE s.b ADD CHECK (name <> 'bad')").await;
    let parts = vec![
        part(&lane, &shapes[0], vec![whole(1, row(1, "a1"))]),
        part(&lane, &shapes[1], vec![whole(1, row(1, "bad"))]),
    ];
    let fault = lane.write_batch(&together(&lane, parts)).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Poison, Code::ConstraintViolation), "{fault}");
    assert!(fault.text.contains("s.b"), "{fault}");
    assert_eq!(db.rows("SELECT count(*) FROM s.a").await, [["0"]]);
    assert_eq!(db.rows(POSITIONS).await[0][1], "0");

    // The session is as good as before; a position that is another's is not moved.
    let rows = || vec![part(&lane, &shapes[0], vec![whole(1, row(1, "a1"))])];
    let (stale, fresh) = (together(&lane, rows()), together(&lane, rows()));
    lane.writer.write(PIPELINE, None, &fresh).await.unwrap();
    claim(&lane.destination, 2).await;
    let fault = lane.writer.write(PIPELINE, None, &stale).await.unwrap_err();
    assert_eq!(fault.class, Class::Fenced, "{fault}");
    assert_eq!(db.rows("SELECT count(*) FROM s.a").await, [["1"]]);
}

/// More wide stages than a session keeps otherwise: none makes room for another of the same batch.
#[tokio::test]
async fn wide_rows_and_truncates_of_many_tables_go_into_one_transaction() {
    let (db, mut lane, shapes) = lane_of(&["a", "b", "c", "d", "e"]).await;
    let large: &'static str = "x".repeat(40_000).leak();
    for version in [1, 2] {
        let parts = shapes.iter().map(|shape| {
            part(&lane, shape, vec![whole(version, row(1, large)), whole(version, row(2, "y"))])
        });
        let parts = parts.collect();
        lane.write_batch(&together(&lane, parts)).await.unwrap();
    }
    assert_eq!(db.rows("SELECT sum(length(name)) FROM s.e").await, [["40001"]]);

    let mut parts: Vec<Part> = ["b", "d"]
        .iter()
        .map(|table| shapes.iter().find(|shape| shape.table.name == *table).unwrap())
        .map(|shape| part(&lane, shape, vec![]))
        .collect();
    parts[1].batch.truncate = Some(Truncate { version: version(5), at: AT });
    for part in &mut parts {
        part.batch.ranges[0].changes = u64::from(part.batch.truncate.is_some());
    }
    lane.write_batch(&together(&lane, parts)).await.unwrap();
    let live = "SELECT (SELECT count(*) FROM s.b WHERE _deleted_at IS NULL), (SELECT count(*) FROM s.d WHERE _deleted_at IS NULL)";
    assert_eq!(db.rows(live).await, [["2", "0"]]);
}
