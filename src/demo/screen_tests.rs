//! Snapshots of the screen.

use super::*;
use crate::demo::ground_truth::Mismatch;
use crate::table::TableName;
use std::sync::{Arc, Mutex};

fn verdict(name: &str) -> TableVerdict {
    TableVerdict {
        table: TableName::new("silver", name),
        live: 1186,
        deleted: 323,
        untold: 0,
        difference_count: 0,
        differences: Vec::new(),
        expected_checksum: [7; 32],
        found_checksum: [7; 32],
    }
}

#[test]
fn the_final_table_has_a_line_per_table_and_a_sum() {
    let line = |table: &str, live, soft_deleted, applied, superseded| TableLine {
        table: table.to_owned(),
        live,
        soft_deleted,
        applied,
        superseded,
    };
    insta::assert_snapshot!(
        tables(&[
            line("silver.customers", 283, 48, 735, 0),
            line("silver.order_items", 1186, 323, 1990, 1_234_567),
        ]),
        @r"
    ┌──────────────────────────────────────────────────────────────────────────┐
    │ Silver table          rows    live   soft-deleted   applied   superseded │
    ╞══════════════════════════════════════════════════════════════════════════╡
    │ silver.customers       331     283             48       735            0 │
    │ silver.order_items   1 509   1 186            323     1 990    1 234 567 │
    │ all                  1 840   1 469            371     2 725    1 234 567 │
    └──────────────────────────────────────────────────────────────────────────┘
    "
    );
}

#[test]
fn dead_letters_are_listed_by_cause() {
    let line = |cause: &str, count| LetterLine {
        cause: cause.to_owned(),
        topic: "shop.public.products".to_owned(),
        count,
    };
    insta::assert_snapshot!(letters(&[line("schema_unknown", 1), line("undecodable", 12)]), @r"
    ┌────────────────────────────────────────────────────┐
    │ dead letters: cause   topic                  count │
    ╞════════════════════════════════════════════════════╡
    │ schema_unknown        shop.public.products       1 │
    │ undecodable           shop.public.products      12 │
    └────────────────────────────────────────────────────┘
    ");
    assert_eq!(letters(&[]), "No dead letters.\n");
}

#[test]
fn the_proof_names_tables_rows_and_checksum() {
    insta::assert_snapshot!(proof(&[verdict("orders"), verdict("products")]), @"Silver equals the source: 2 tables, 2 372 rows, checksum 6cfeeb3aa25d3f411dae5eec17d7369ca7153e72dcf54bcf4c3daec0f5b21fc7");
}

#[test]
fn without_equality_the_differences_are_shown_instead() {
    let difference = |what| Difference {
        table: TableName::new("silver", "orders"),
        key: "id=1".to_owned(),
        what,
    };
    let column = Mismatch::Column {
        column: "total".to_owned(),
        expected: Some("9.00".to_owned()),
        found: None,
    };
    let wrong = TableVerdict {
        difference_count: 1002,
        differences: vec![difference(Mismatch::Missing), difference(column)],
        found_checksum: [8; 32],
        ..verdict("orders")
    };
    insta::assert_snapshot!(proof(&[wrong, verdict("products")]), @r#"
    Silver does NOT equal the source: 2 tables, checksum e0684ffdc422bb1d1ce7144a60f959a09019bcbde2c7bbd86132c911157486ca, should be 6cfeeb3aa25d3f411dae5eec17d7369ca7153e72dcf54bcf4c3daec0f5b21fc7
    silver.orders: 1 002 differences
      silver.orders (id=1): is at the source, not in Silver
      silver.orders (id=1): total is NULL, should be "9.00"
      ... and 1 000 more
    "#);
}

#[test]
fn nothing_compared_is_nothing_proven() {
    assert!(!is_proven(&[]));
    assert!(proof(&[]).starts_with("Silver does NOT equal the source: 0 tables"));
    assert!(is_proven(&[verdict("orders")]));
    let checksum_only = TableVerdict { found_checksum: [8; 32], ..verdict("orders") };
    assert!(!is_proven(&[checksum_only]));
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn without_a_terminal_each_tenth_is_told_once() {
    let buffer = Buffer::default();
    let mut progress = Progress::lines("first pass", 5870, Box::new(buffer.clone()));
    for done in [0, 100, 600, 650, 3000, 5870] {
        progress.set(done);
    }
    progress.finish("5 870 records in 1.2 s");
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        text,
        "first pass: 600 of 5 870\nfirst pass: 3 000 of 5 870\nfirst pass: 5 870 records in 1.2 s\n"
    );
}

#[test]
fn an_empty_step_and_an_overfull_one_are_shown_without_trouble() {
    let mut empty = Progress::lines("nothing", 0, Box::new(Buffer::default()));
    empty.set(0);
    let mut full = Progress::lines("more", 10, Box::new(Buffer::default()));
    full.set(u64::MAX);
    full.finish("done");
}
