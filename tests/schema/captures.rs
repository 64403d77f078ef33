//! The captured histories of schema changes, in their encodings, with an operator who runs what is printed.

use crate::rig::{BOOKKEEPING, Rig, ddl_of};
use silversink::decode::plan::history::RowColumns;
use silversink::decode::plan::widening::widened;
use silversink::decode::plan::{SchemaText, describe};
use silversink::demo::capture::Capture;
use silversink::demo::ground_truth::{self, Difference, Mismatch};
use silversink::fault::{Code, Fault};
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use std::collections::BTreeMap;

/// The routes' key in the configuration: records of the old key are read by the new one.
const ROUTES_KEY: &str = "[table.\"silver.routes\"]\nkey = [\"id\", \"region\"]\n";

fn capture(scenario: &str) -> Capture {
    Capture::open(format!("testdata/debezium/{scenario}")).unwrap()
}

fn rig_for(capture: &Capture, encoding: &str, partitions: i32) -> Rig {
    let names: Vec<String> = capture.tables.keys().map(|t| format!("depot.public.{t}")).collect();
    let topics: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), partitions)).collect();
    let rig = Rig::new(&topics);
    rig.registry.preload(capture.schemas(encoding).unwrap().values());
    rig
}

/// Runs until everything has landed; each time a lane stops, somebody runs the DDL of the hint, or puts the old column
/// aside where its values cannot be converted. Returns what stopped.
async fn run_with_an_operator(rig: &Rig) -> Vec<Code> {
    let mut stops = Vec::new();
    while let Err(fault) = rig.run().await {
        stops.push(fault.code);
        assert!(stops.len() < 20, "it stops again and again: {fault:?}");
        operate(rig, &fault).await;
    }
    stops
}

async fn operate(rig: &Rig, fault: &Fault) {
    let script = ddl_of(fault);
    if rig.database().await.execute(&script).await.is_err() {
        let aside = script.lines().find_map(|line| line.split_once("another name: ")).unwrap().1;
        rig.execute(aside).await;
    }
}

/// Equal to the source, but for what stands in no record: in the `untouched` table so many rows were not written again after the
/// last column was added, so its default is missing there.
async fn assert_reached(rig: &Rig, capture: &Capture, untouched: &str, rows: u64) {
    let database = rig.database().await;
    for truth in capture.truth().unwrap() {
        let table = TableName::new("silver", &truth.name);
        let names = Bookkeeping::default();
        let verdict = ground_truth::verify(&database, &table, &names, &truth, 1000).await.unwrap();
        if truth.name != untouched {
            assert!(verdict.is_equal(), "{verdict:#?}");
            continue;
        }
        let by_default = |difference: &Difference| {
            let Mismatch::Column { column, expected, found } = &difference.what else {
                return false;
            };
            column == "depot" && expected.as_deref() == Some("north") && found.is_none()
        };
        assert!(verdict.differences.iter().all(by_default), "{verdict:#?}");
        assert_eq!(verdict.difference_count, rows);
    }
    rig.assert_no_letters().await;
}

async fn a_live_history_reaches_the_source(encoding: &str) {
    let capture = capture("schema-change");
    let rig = rig_for(&capture, encoding, 1);
    rig.produce(&capture.records(encoding).unwrap());

    let stops = run_with_an_operator(&rig).await;

    // Two tables with three type changes each, and one key.
    assert_eq!(stops.iter().filter(|code| **code == Code::TypeMismatch).count(), 6, "{stops:?}");
    assert_eq!(stops.iter().filter(|code| **code == Code::KeyMismatch).count(), 1, "{stops:?}");
    assert_reached(&rig, &capture, "crates", 54).await;
    let kinds = "SELECT kind, column_name FROM silversink.schema_change WHERE table_name = 'parcels' ORDER BY id";
    assert_eq!(
        rig.ask(kinds).await,
        // `code` and the first `colour` could not be converted and were put aside.
        "table|- column|colour column|priority column|token drop|note column|pieces rename|pieces widening|pieces \
         widening|weight widening|seen_at column|code narrowing|pieces column|colour column|depot"
    );
    // What DDL did to rows in place is in no record: where it may have done something, the cure is written down.
    let cures = "SELECT kind, count(*), count(*) FILTER (WHERE ddl ~ 'execute-snapshot') FROM silversink.schema_change \
                 WHERE kind IN ('table', 'column', 'widening') AND table_name = 'parcels' GROUP BY kind ORDER BY kind";
    assert_eq!(rig.ask(cures).await, "column|7|7 table|1|0 widening|3|3");
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_reaches_the_source() {
    a_live_history_reaches_the_source("avro").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_with_schema_reaches_the_source() {
    a_live_history_reaches_the_source("json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flattened_avro_reaches_the_source() {
    a_live_history_reaches_the_source("flat-avro").await;
}

/// Without a schema nobody can tell milliseconds from microseconds or one scale from another: the types of parcels and
/// crates change their meaning. The routes' do not.
#[tokio::test]
async fn json_without_schema_follows_a_changed_key() {
    let capture = capture("schema-change");
    let mut rig = rig_for(&capture, "json-plain", 1);
    rig.extra = ROUTES_KEY.to_owned();
    rig.execute(&format!(
        "CREATE SCHEMA silver; CREATE TABLE silver.routes (id int, region text, carrier text, cost numeric(8,2), \
         {BOOKKEEPING}, PRIMARY KEY (id, region))"
    ))
    .await;
    let mut records = capture.records("json-plain").unwrap();
    records.retain(|record| record.at.topic == "depot.public.routes");
    rig.produce(&records);

    rig.run().await.unwrap();

    let truth = capture.truth().unwrap().into_iter().find(|t| t.name == "routes").unwrap();
    let table = TableName::new("silver", "routes");
    let database = rig.database().await;
    let names = Bookkeeping::default();
    let verdict = ground_truth::verify(&database, &table, &names, &truth, 10).await.unwrap();
    assert!(verdict.is_equal(), "{verdict:#?}");
    rig.assert_no_letters().await;
}

/// Where each stretch of records ends: before the first record whose schema has another type for a column.
fn stretches(capture: &Capture, records: &[OwnedRecord]) -> Vec<usize> {
    let schemas = capture.schemas("avro").unwrap();
    let mut last: BTreeMap<&str, RowColumns> = BTreeMap::new();
    let mut ends = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let Some(value) = &record.value else { continue };
        let id = u32::from_be_bytes(value[1..5].try_into().unwrap());
        let text = SchemaText::Avro(&schemas[&id].schema);
        let row = RowColumns::of(&describe(SchemaText::None, text).unwrap()).unwrap();
        if let Some(before) = last.insert(&record.at.topic, row.clone())
            && row.columns.iter().any(|(name, ty)| {
                before.columns.iter().any(|(n, old)| {
                    n == name
                        && old != ty
                        && widened(old, ty).is_none()
                        && widened(ty, old).is_none()
                })
            })
        {
            ends.push(at);
        }
    }
    ends.push(records.len());
    ends
}

/// The connector was down and decoded the rest late, into three partitions. What is read between two changes of type may
/// come in any order of the partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_history_in_three_partitions_reaches_the_source() {
    let capture = capture("schema-change-lag");
    let mut rig = rig_for(&capture, "avro", 3);
    rig.extra = ROUTES_KEY.to_owned();
    let records = capture.records("avro").unwrap();
    let (mut stops, mut from) = (Vec::new(), 0);
    let ends = stretches(&capture, &records);
    assert_eq!(ends.len(), 7, "{ends:?}");
    for end in ends {
        rig.produce(&records[from..end]);
        from = end;
        stops.extend(run_with_an_operator(&rig).await);
    }
    assert_eq!(stops, [Code::TypeMismatch; 6]);
    assert_reached(&rig, &capture, "cases", 55).await;
}
