//! Rows larger than a page: the stage of everyday batches has no TOAST table, a large row gets one that has.

use crate::rows::{F::*, *};
use crate::server::{Database, database};
use silversink::batch::ColumnSet;
use silversink::batch::exchange::{Exchanged, Question, Suspect};
use silversink::fault::Class;
use silversink::table::{Bookkeeping, TableName};
use std::sync::Arc;

const STAGES: &str = "SELECT reltoastrelid <> 0, count(*) FROM pg_class WHERE relname LIKE 'silversink\\_stage\\_%' \
    GROUP BY 1 ORDER BY 1";

/// Tables `s.t1`, `s.t2`, ... with an open lane for the first.
async fn lane(columns: &str) -> (Database, Lane) {
    let db = database().await;
    db.sql("CREATE SCHEMA s").await;
    db.sql(&format!(
        "CREATE TABLE s.t1 (id bigint PRIMARY KEY, {columns}, \
         _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)"
    ))
    .await;
    for n in 2..=6 {
        db.sql(&format!("CREATE TABLE s.t{n} (LIKE s.t1 INCLUDING ALL)")).await;
    }
    let destination = db.destination().await;
    let shape = shape(&destination, 1).await;
    (db, Lane::open(destination, shape, 1).await)
}

async fn shape(
    destination: &silversink::postgres::Destination,
    n: u32,
) -> Arc<silversink::table::TableShape> {
    let table = TableName::new("s", format!("t{n}"));
    let described = destination.describe(&table, &Bookkeeping::default()).await.unwrap().unwrap();
    assert!(described.refusals.is_empty(), "{:?}", described.refusals);
    Arc::new(described.shape)
}

fn text(bytes: usize) -> &'static str {
    "abcdefghij".repeat(bytes.div_ceil(10)).leak()
}

#[tokio::test]
async fn a_stage_of_everyday_rows_has_no_toast_table() {
    let (db, mut lane) = lane("name text, price numeric(12,2), tags text[], doc jsonb").await;
    let rows = vec![whole(5, vec![I(1), T(text(6_900)), Null, Null, Null])];
    assert_eq!(lane.counts(rows).await, (1, 0));
    assert_eq!(db.rows(STAGES).await, [["f", "1"]]);
    assert_eq!(db.value("SELECT length(name) FROM s.t1").await, "6900");
}

#[tokio::test]
async fn a_row_of_a_megabyte_lands_and_a_small_one_after_it() {
    let (db, mut lane) = lane("name text").await;
    lane.counts(vec![whole(5, vec![I(1), T("a")])]).await;
    let large = vec![
        whole(6, vec![I(1), T(text(1_000_000))]),
        whole(6, vec![I(2), T(text(9_000))]),
        whole(6, vec![I(3), T("b")]),
    ];
    assert_eq!(lane.counts(large).await, (3, 0));
    lane.counts(vec![whole(7, vec![I(3), T("c")])]).await;
    let look = "SELECT id, length(name) FROM s.t1 ORDER BY id";
    assert_eq!(db.rows(look).await, [["1", "1000000"], ["2", "9000"], ["3", "1"]]);
    assert_eq!(db.rows(STAGES).await, [["f", "1"], ["t", "1"]]);
}

#[tokio::test]
async fn a_value_that_is_larger_in_a_row_than_on_the_wire_lands() {
    let (db, mut lane) = lane("doc jsonb").await;
    let doc = numbers();
    lane.counts(vec![whole(5, vec![I(1), T("\u{1}{}")])]).await;
    assert_eq!(lane.counts(vec![whole(6, vec![I(1), T(doc)])]).await, (1, 0));
    assert_eq!(db.value("SELECT jsonb_array_length(doc) FROM s.t1").await, "2001");
    assert_eq!(db.rows(STAGES).await, [["f", "1"], ["t", "1"]], "the narrow one refused it");
    assert_eq!(lane.counts(vec![whole(7, vec![I(2), T(doc)])]).await, (1, 0));
}

/// Two bytes for each number in the text, sixteen in the row.
fn numbers() -> &'static str {
    format!("\u{1}[{}1]", "1,".repeat(2_000)).leak()
}

#[tokio::test]
async fn a_question_about_such_a_value_is_answered_too() {
    let (_db, mut lane) = lane("doc jsonb").await;
    lane.counts(vec![whole(5, vec![I(1), T("\u{1}{}")])]).await;
    let mut batch = lane.batch(vec![whole(7, vec![I(1), T(numbers())])]);
    batch.suspects.rows.push(Suspect {
        body: batch.rows[0].body.clone(),
        lacks: ColumnSet::default(),
        version: version(7),
        origin: (0, 7),
        question: Question::WasAlive,
    });
    let applied = lane.write_batch(&batch).await.unwrap();
    assert_eq!(applied.exchanged, [Exchanged { range: 0, offset: 7, certain: true }]);
}

#[tokio::test]
async fn a_row_that_no_table_takes_is_poison() {
    // A `name` takes 64 bytes and cannot be moved out of its row: 12.8 kB.
    let columns: Vec<String> = (0..200).map(|n| format!("n{n} name")).collect();
    let (db, mut lane) = lane(&columns.join(", ")).await;
    let mut fields = vec![I(1)];
    fields.extend((0..200).map(|_| T("x")));
    let batch = lane.batch(vec![whole(5, fields)]);
    let fault = lane.write_batch(&batch).await.unwrap_err();
    assert_eq!((fault.class, fault.sqlstate.as_deref()), (Class::Poison, Some("54000")));
    let found = lane.writer.isolate(PIPELINE, &batch).await.unwrap();
    assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0]);
    assert_eq!(db.value("SELECT count(*) FROM s.t1").await, "0");
}

#[tokio::test]
async fn a_session_keeps_few_wide_stages() {
    let (db, mut lane) = lane("name text").await;
    for n in 1..=6 {
        let shape = shape(&lane.destination, n).await;
        lane.shape = shape;
        lane.counts(vec![whole(5, vec![I(1), T(text(50_000))])]).await;
    }
    assert_eq!(db.rows(STAGES).await, [["t", "3"]]);
    for n in 1..=6 {
        assert_eq!(db.value(&format!("SELECT length(name) FROM s.t{n}")).await, "50000");
    }
}
