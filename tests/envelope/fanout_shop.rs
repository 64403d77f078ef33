//! The captured shop with its four tables in one topic, in each form, in batches of several sizes, and read again.

use crate::rig::Rig;
use silversink::demo::capture::{Capture, SourceTable};
use silversink::record::OwnedRecord;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

const TOPIC: &str = "shop.all";
const ROUTE: &str = "[[route]]\ntopics = \"shop.all\"\ntable = \"silver.${source.table}\"\n";

fn capture() -> Capture {
    Capture::open("testdata/debezium/shop").unwrap()
}

/// Every record in the order in which the connector wrote them, each key in one partition.
fn joined(form: &str, partitions: i32) -> Vec<OwnedRecord> {
    let mut records = capture().records(form).unwrap();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in &mut records {
        let mut hasher = DefaultHasher::new();
        (&record.at.topic, &record.key).hash(&mut hasher);
        let number = hasher.finish() % u64::try_from(partitions).unwrap();
        record.at.partition = i32::try_from(number).unwrap();
        record.at.topic = TOPIC.to_owned();
        let next = next.entry(record.at.partition).or_default();
        record.at.offset = *next;
        *next += 1;
    }
    records
}

/// A table as a user makes it who has JSON without schema.
fn ddl((name, table): (&String, &SourceTable), status: &str) -> String {
    let columns = table.columns.iter().filter(|column| column.generated.is_none());
    let columns = columns.map(|column| {
        let ty = if column.ty == "order_status" { status } else { &column.ty };
        format!("{} {ty}, ", column.name)
    });
    let (columns, key) = (columns.collect::<String>(), table.key.join(", "));
    format!("CREATE TABLE silver.{name} ({columns}PRIMARY KEY ({key}));")
}

fn rig(form: &str, partitions: i32, limit: usize) -> Rig {
    // Partitions of the topic are dealt out between two lanes, which write to the same tables.
    let writers = partitions.min(2);
    let config =
        format!("{ROUTE}[limits]\nbatch_rows = {limit}\n[defaults]\nwriters = {writers}\n");
    let mut rig = Rig::new(&joined(form, partitions), &config);
    if form.ends_with("avro") {
        rig = rig.with_schemas(&capture().schemas(form).unwrap());
    }
    if matches!(form, "json-plain" | "flat-json") {
        let status = if form == "flat-json" { "text" } else { "silver.order_status" };
        let tables: String = capture().tables.iter().map(|table| ddl(table, status)).collect();
        rig.execute(&format!(
            "CREATE SCHEMA silver; CREATE TYPE silver.order_status AS ENUM \
             ('new', 'paid', 'packed', 'shipped', 'delivered', 'cancelled'); {tables}"
        ));
    }
    rig
}

/// Every table as the source has it, and no record unaccounted for.
fn check(rig: &Rig, what: &str) -> [u64; 4] {
    for truth in capture().truth().unwrap() {
        rig.equals(&format!("silver.{}", truth.name), &truth);
    }
    let counts = rig.counts(TOPIC);
    assert_eq!(counts[3], 0, "{what}: dead letters");
    counts
}

/// Reads the topic, and again from each of these offsets.
fn lands_and_lands_again(form: &str, partitions: i32, limit: usize, again: &[i64]) {
    let what = format!("{form} in batches of {limit}");
    let rig = rig(form, partitions, limit);
    rig.run().unwrap();
    let [applied, _, skipped, _] = check(&rig, &what);
    assert!(applied > 3_000, "{what}: {applied}");
    let tombstones = joined(form, 1).iter().filter(|record| record.value.is_none()).count();
    assert_eq!(skipped, u64::try_from(tombstones).unwrap(), "{what}");

    if limit == 1000 {
        let shared = "SELECT count(*) FROM (SELECT xmin::text FROM silver.orders \
             INTERSECT SELECT xmin::text FROM silver.order_items) AS shared";
        assert_ne!(rig.rows(shared)[0][0].as_deref(), Some("0"), "{what}: one table at a time");
    }

    for &offset in again {
        rig.rewind(TOPIC, partitions, offset);
        rig.run().unwrap();
        let counts = check(&rig, &what);
        assert_eq!(counts[0], 0, "{what}: a replay from {offset} applies nothing");
        assert!(counts[1] > 100, "{what}: {counts:?}");
    }
}

#[test]
fn avro() {
    lands_and_lands_again("avro", 1, 7, &[3_000]);
    lands_and_lands_again("avro", 3, 1000, &[0, 700, 1_500]);
}

#[test]
fn json_with_schema() {
    lands_and_lands_again("json", 2, 1000, &[0, 1_500]);
}

#[test]
fn json_without_schema() {
    lands_and_lands_again("json-plain", 2, 7, &[1_500]);
    lands_and_lands_again("json-plain", 1, 1000, &[0, 1_500]);
}

#[test]
fn flattened() {
    lands_and_lands_again("flat-avro", 1, 1000, &[0]);
    lands_and_lands_again("flat-json", 1, 1000, &[1_500]);
}

#[test]
fn record_by_record() {
    let rig = rig("avro", 1, 1);
    rig.run().unwrap();
    check(&rig, "one by one");
}
