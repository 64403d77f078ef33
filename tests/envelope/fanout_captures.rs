//! Captured histories of several tables, once with a topic for each table and once all in one: Silver comes out the same.

use crate::rig::Rig;
use silversink::demo::capture::Capture;
use silversink::record::OwnedRecord;
use std::collections::BTreeMap;

const APART: &str =
    "[[route]]\ntopics = '^(?:inv|(?:\\w+\\.)+(?<table>\\w+))$'\ntable = \"silver.${table}\"\n";
const JOINED: &str = "[[route]]\ntopics = \"all\"\ntable = \"silver.${source.table}\"\n";

fn all_in_one(mut records: Vec<OwnedRecord>) -> Vec<OwnedRecord> {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in &mut records {
        record.at.topic = "all".to_owned();
        let next = next.entry(record.at.partition).or_default();
        record.at.offset = *next;
        *next += 1;
    }
    records
}

/// Every table with its rows: all that comes from the source, and whether they are marked.
fn silver(rig: &Rig) -> BTreeMap<String, Vec<String>> {
    let names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'silver'";
    let tables = rig.rows(names).into_iter().map(|mut row| row.remove(0).unwrap());
    let rows = |table: &String| {
        let sql = format!(
            "SELECT ((to_jsonb(t) - '_version' - '_applied_at' - '_deleted_at') || \
             jsonb_build_object('marked', _deleted_at IS NOT NULL))::text AS line FROM silver.\"{table}\" AS t ORDER BY 1"
        );
        rig.rows(&sql).into_iter().map(|mut row| row.remove(0).unwrap()).collect()
    };
    tables.map(|table| (table.clone(), rows(&table))).collect()
}

/// `stopping` are tables that would stop their lane, for reasons of their own.
fn comes_out_the_same(scenario: &str, form: &str, tables: usize, stopping: &[&str]) {
    let capture = Capture::open(format!("testdata/debezium/{scenario}")).unwrap();
    let mut records = capture.records(form).unwrap();
    records.retain(|record| !stopping.iter().any(|table| record.at.topic.ends_with(table)));
    let land = |records: &[OwnedRecord], route: &str| {
        let mut rig = Rig::new(records, &format!("{route}[limits]\nbatch_rows = 50\n"));
        if form.ends_with("avro") {
            rig = rig.with_schemas(&capture.schemas(form).unwrap());
        }
        rig.run().unwrap_or_else(|fault| panic!("{scenario} {form} {route}: {fault}"));
        let dead = rig.list("count(*), max(code)", "silversink.dead_letter");
        let epochs = rig.list(
            "source, epoch",
            "(SELECT DISTINCT source, epoch FROM silversink.source_epoch_start) AS e",
        );
        (silver(&rig), dead, epochs)
    };
    let apart = land(&records, APART);
    assert_eq!(apart.0.len(), tables, "{scenario}: {:?}", apart.0.keys());
    assert!(apart.0.values().all(|rows| !rows.is_empty()));
    assert_eq!(land(&all_in_one(records), JOINED), apart, "{scenario} {form}");
}

#[test]
fn truncates() {
    comes_out_the_same("truncate", "avro", 3, &[]);
}

#[test]
fn unchanged_values() {
    comes_out_the_same("toast", "avro", 2, &[".docs_index", ".docs_nothing"]);
}

#[test]
fn another_database_with_its_ddl_in_between() {
    comes_out_the_same("mariadb", "precise-json", 3, &[]);
}

#[test]
fn positions_that_start_over() {
    comes_out_the_same("recreated-slot", "avro", 1, &[]);
    comes_out_the_same("new-cluster", "json", 1, &[]);
}
