//! The captured noise: topics that are no table data are skipped by rules, tables without a key are appended to.

use crate::rig::Rig;
use serde_json::Value;
use silversink::demo::capture::Capture;
use silversink::fault::Code;
use silversink::record::OwnedRecord;

const ROUTES: &str = r#"
[[route]]
topics = '^app\.public\.(?<table>\w+)$'
table = "silver.${table}"
[[route]]
topics = '^(?<topic>__debezium-heartbeat\.app|app\.transaction|app\.message|app-notifications)$'
table = "silver.other_${topic}"
"#;
const APPEND: &str =
    "[table.\"silver.visits\"]\nappend = true\n[table.\"silver.clicks\"]\nappend = true\n";

fn capture() -> Capture {
    Capture::open("testdata/debezium/noise").unwrap()
}

/// Offset, op and the columns of each record of a topic without keys, as its events say.
fn appended(topic: &str) -> String {
    let line = |record: &OwnedRecord| {
        let value: Value = serde_json::from_slice(record.value.as_ref()?).unwrap();
        let image = if value["op"] == "d" { &value["before"] } else { &value["after"] };
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        Some(format!(
            "{} {} {} {} {}",
            record.at.offset,
            text(&value["op"]),
            image["at"].as_str().unwrap().get(..19).unwrap().replace('T', " "),
            text(&image["page"]),
            text(&image["n"])
        ))
    };
    let records = capture().records("json-plain").unwrap();
    let mut lines: Vec<String> =
        records.iter().filter(|r| r.at.topic == topic).filter_map(line).collect();
    lines.sort();
    lines.join(", ")
}

fn lands(form: &str) {
    let capture = capture();
    let rig = Rig::new(&capture.records(form).unwrap(), &format!("{ROUTES}{APPEND}"))
        .with_schemas(&capture.schemas(form).unwrap());
    if form.starts_with("json-") {
        let places = "_topic_id uuid, _partition int, _offset bigint, _op text, PRIMARY KEY (_topic_id, _partition, _offset)";
        let row = "at timestamptz, page text, n int";
        rig.execute(&format!(
            "CREATE SCHEMA silver; CREATE TABLE silver.users (id int PRIMARY KEY, name text); \
             CREATE TABLE silver.coupons (code text PRIMARY KEY, percent int); \
             CREATE TABLE silver.visits ({row}, {places}); CREATE TABLE silver.clicks ({row}, {places})"
        ));
    }

    rig.run().unwrap();

    for topic in [
        "__debezium-heartbeat.app",
        "app.transaction",
        "app.message",
        "app-notifications",
        "app.public.debezium_signal",
    ] {
        let [applied, superseded, skipped, dead] = rig.counts(topic);
        assert_eq!((applied, superseded, dead), (0, 0, 0), "{form} {topic}");
        assert!(skipped > 0, "{form} {topic}");
    }
    let tables = rig.list("tablename", "pg_tables WHERE schemaname = 'silver'");
    assert_eq!(
        tables, "clicks, coupons, users, visits",
        "{form}: no table for what is no table data"
    );
    for table in ["visits", "clicks"] {
        let columns =
            "_offset, _op, to_char(at AT TIME ZONE 'utc', 'YYYY-MM-DD HH24:MI:SS'), page, n";
        let topic = format!("app.public.{table}");
        assert_eq!(rig.list(columns, &format!("silver.{table}")), appended(&topic), "{form}");
        assert_eq!(rig.list("count(DISTINCT _topic_id)", &format!("silver.{table}")), "1");
        assert_eq!(rig.list("count(_deleted_at)", &format!("silver.{table}")), "0");
        assert_eq!(
            rig.counts(&topic)[2],
            u64::from(table == "clicks"),
            "the null behind the delete"
        );
    }
    for truth in capture.truth().unwrap().into_iter().filter(|truth| !truth.key.is_empty()) {
        let live = rig.list(
            &truth.columns.join(", "),
            &format!("silver.{} WHERE _deleted_at IS NULL", truth.name),
        );
        let line = |row: &silversink::demo::capture::TextRow| {
            truth.columns.iter().filter_map(|c| row[c].clone()).collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<String> = truth.rows.iter().map(line).collect();
        lines.sort();
        assert_eq!(live, lines.join(", "), "{form} {}", truth.name);
    }
}

#[test]
fn noise_in_avro() {
    lands("avro");
}

#[test]
fn noise_in_json_with_schema() {
    lands("json");
}

#[test]
fn noise_in_json_without_schema() {
    lands("json-plain");
}

#[test]
fn a_topic_without_keys_stops_its_lane_unless_it_is_to_be_appended() {
    let records: Vec<_> = capture()
        .records("avro")
        .unwrap()
        .into_iter()
        .filter(|record| record.at.topic == "app.public.visits")
        .collect();
    let route = "[[route]]\ntopics = \"app.public.visits\"\ntable = \"silver.visits\"\n";
    let mut rig = Rig::new(&records, route).with_schemas(&capture().schemas("avro").unwrap());
    rig.stops(Code::KeyMissing);
    rig.config.push_str("[table.\"silver.visits\"]\nappend = true\n");

    rig.run().unwrap();

    assert_eq!(rig.list("count(*)", "silver.visits"), "8");
    let again = rig.list("_offset, _version, _applied_at, xmin", "silver.visits");
    rig.run().unwrap();
    assert_eq!(rig.list("_offset, _version, _applied_at, xmin", "silver.visits"), again);
}
