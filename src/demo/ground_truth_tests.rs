//! Tests of the comparison, on planted differences and on a real server.

use super::*;
use crate::demo::capture::Capture;
use crate::demo::throwaway::ThrowawayPostgres;

fn text(row: &[(&str, Option<&str>)]) -> TextRow {
    row.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
}

fn gone(id: &str, in_topic: bool, delete_in_topic: Option<bool>) -> DeletedKey {
    DeletedKey { key: text(&[("id", Some(id))]), in_topic, delete_in_topic }
}

fn truth() -> TableTruth {
    TableTruth {
        name: "t".to_owned(),
        key: vec!["id".to_owned()],
        columns: vec!["id".to_owned(), "note".to_owned()],
        rows: vec![
            text(&[("id", Some("1")), ("note", Some("a"))]),
            text(&[("id", Some("2")), ("note", None)]),
        ],
        deleted: vec![
            gone("3", true, None),
            gone("4", true, Some(false)),
            gone("5", false, Some(false)),
        ],
    }
}

/// `(live, id, note)` rows as the query prints them.
fn compared(rows: &[(&str, &str, Option<&str>)]) -> TableVerdict {
    let rows: Vec<Vec<Option<String>>> = rows
        .iter()
        .map(|(live, id, note)| {
            vec![Some((*live).to_owned()), Some((*id).to_owned()), note.map(str::to_owned)]
        })
        .collect();
    compare(&TableName::new("silver", "t"), &truth(), &rows, 10)
}

fn told(verdict: &TableVerdict) -> Vec<String> {
    verdict.differences.iter().map(ToString::to_string).collect()
}

const RIGHT: [(&str, &str, Option<&str>); 3] =
    [("true", "1", Some("a")), ("true", "2", None), ("false", "3", Some("old"))];

#[test]
fn equal_tables_are_equal_in_any_order_and_whatever_marked_rows_hold() {
    let verdict = compared(&RIGHT);
    assert!(verdict.is_equal(), "{verdict:?}");
    assert_eq!((verdict.live, verdict.deleted), (2, 1));
    let mut turned = RIGHT;
    turned.reverse();
    turned[0].2 = None;
    assert_eq!(compared(&turned).found_checksum, verdict.found_checksum);
}

#[test]
fn keys_that_the_topic_cannot_tell_to_be_gone_may_be_live_marked_or_absent() {
    for (live, id) in [("true", "4"), ("false", "4"), ("false", "5")] {
        let mut rows = RIGHT.to_vec();
        rows.push((live, id, None));
        assert!(compared(&rows).is_equal(), "{live} {id}");
    }
}

#[test]
fn every_kind_of_difference_is_found_and_changes_the_checksum() {
    type Case = (Vec<(&'static str, &'static str, Option<&'static str>)>, &'static str);
    let cases: [Case; 8] = [
        (vec![RIGHT[0], RIGHT[2]], "silver.t (id=2): is at the source, not in Silver"),
        (
            vec![RIGHT[0], ("false", "2", None), RIGHT[2]],
            "silver.t (id=2): is at the source, but marked deleted in Silver",
        ),
        (
            vec![RIGHT[0], RIGHT[1], ("true", "3", None)],
            "silver.t (id=3): is deleted at the source, but live in Silver",
        ),
        (
            vec![RIGHT[0], RIGHT[1]],
            "silver.t (id=3): is deleted at the source, without a mark in Silver",
        ),
        (
            vec![RIGHT[0], RIGHT[1], RIGHT[2], ("true", "9", None)],
            "silver.t (id=9): is in Silver, but never was at the source",
        ),
        (
            vec![RIGHT[0], RIGHT[1], RIGHT[2], ("false", "9", None)],
            "silver.t (id=9): is in Silver, but never was at the source",
        ),
        (
            vec![("true", "1", None), RIGHT[1], RIGHT[2]],
            "silver.t (id=1): note is NULL, should be \"a\"",
        ),
        (
            vec![RIGHT[0], ("true", "2", Some("")), RIGHT[2]],
            "silver.t (id=2): note is \"\", should be NULL",
        ),
    ];
    for (rows, difference) in cases {
        let verdict = compared(&rows);
        assert_eq!(told(&verdict), [difference]);
        assert_ne!(verdict.expected_checksum, verdict.found_checksum, "{difference}");
    }
}

#[test]
fn two_rows_of_one_key_are_a_difference() {
    let mut rows = RIGHT.to_vec();
    rows.push(RIGHT[0]);
    let verdict = compared(&rows);
    assert_eq!(told(&verdict), ["silver.t (id=1): stands in Silver more than once"]);
    assert!(!verdict.is_equal());
}

#[test]
fn differences_beyond_the_limit_are_counted() {
    let verdict = compare(&TableName::new("silver", "t"), &truth(), &[], 2);
    assert_eq!((verdict.difference_count, verdict.differences.len()), (3, 2));
}

#[test]
fn one_checksum_stands_for_all_tables_whatever_their_order() {
    let one = compared(&RIGHT);
    let other = TableVerdict { table: TableName::new("silver", "a"), ..compared(&RIGHT[..2]) };
    let (expected, found) = checksums(&[one.clone(), other.clone()]);
    assert_ne!(expected, found);
    assert_eq!(checksums(&[other, one]), (expected, found));
}

/// A Silver table as text columns with the truth in it; the real types are the pipeline's concern.
async fn load(readback: &Readback, truth: &TableTruth) {
    let quote = |text: &Option<String>| match text {
        None => "NULL".to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', "''")),
    };
    let columns: Vec<String> = truth.columns.iter().map(|c| format!("\"{c}\" text")).collect();
    let mut sql = format!(
        "create table silver.\"{}\" ({}, \"_deleted_at\" timestamptz);",
        truth.name,
        columns.join(", ")
    );
    for row in &truth.rows {
        let values: Vec<String> = truth.columns.iter().map(|c| quote(&row[c])).collect();
        sql += &format!("insert into silver.\"{}\" values ({});", truth.name, values.join(", "));
    }
    for gone in &truth.deleted {
        let names: Vec<String> = gone.key.keys().map(|c| format!("\"{c}\"")).collect();
        let values: Vec<String> = gone.key.values().map(quote).collect();
        sql += &format!(
            "insert into silver.\"{}\" ({}, \"_deleted_at\") values ({}, now());",
            truth.name,
            names.join(", "),
            values.join(", ")
        );
    }
    readback.execute(&sql).await.unwrap();
}

#[tokio::test]
async fn the_shop_loaded_as_it_was_equals_itself_until_one_value_changes() {
    let url = ThrowawayPostgres::shared().fresh_database().unwrap();
    let readback = Readback::connect(&url).await.unwrap();
    readback.execute("create schema silver").await.unwrap();
    let truth = Capture::open("testdata/debezium/shop").unwrap().truth().unwrap();
    for table in &truth {
        load(&readback, table).await;
    }
    let names = Bookkeeping::default();

    let mut verdicts = Vec::new();
    for table in &truth {
        let silver = TableName::new("silver", &table.name);
        verdicts.push(verify(&readback, &silver, &names, table, 5).await.unwrap());
    }
    let (expected, found) = checksums(&verdicts);
    assert_eq!(expected, found);
    assert!(verdicts.iter().all(TableVerdict::is_equal));
    assert_eq!(verdicts.iter().map(|v| v.live).sum::<u64>(), 2123);
    assert_eq!(verdicts.iter().map(|v| v.deleted).sum::<u64>(), 479);

    readback
        .execute("update silver.orders set total = '0.00' where id = '50000001'")
        .await
        .unwrap();
    let orders = truth.iter().find(|t| t.name == "orders").unwrap();
    let silver = TableName::new("silver", "orders");
    let verdict = verify(&readback, &silver, &names, orders, 5).await.unwrap();
    assert_eq!(
        told(&verdict),
        ["silver.orders (id=50000001): total is \"0.00\", should be \"325.46\""]
    );
}

#[tokio::test]
async fn a_missing_silver_table_is_an_error_and_no_equality() {
    let url = ThrowawayPostgres::shared().fresh_database().unwrap();
    let readback = Readback::connect(&url).await.unwrap();
    let silver = TableName::new("silver", "t");
    let verdict = verify(&readback, &silver, &Bookkeeping::default(), &truth(), 5).await;
    assert_eq!(verdict.unwrap_err().sqlstate.as_deref(), Some("42P01"));
}
