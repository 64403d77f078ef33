//! Topics that bring many tables: each record lands in the table that its source names.

use crate::made::{change, fields, plain, raw, source};
use crate::rig::Rig;
use serde_json::{Value, json};
use silversink::fault::Code;
use silversink::record::OwnedRecord;

const TOPIC: &str = "shop.all";
const ROUTE: &str = "[[route]]\ntopics = '^shop\\.all$'\ntable = \"silver.${source.table}\"\n";

fn row(id: i32, name: &str) -> Value {
    json!({"id": id, "name": name})
}

fn key(id: i32) -> Value {
    json!({"id": id})
}

/// A change of a row of a source table, keyed by its id alone: every table has the same schemas.
fn of(topic: &str, table: &str, op: &str, (id, name): (i32, &str), position: u64) -> OwnedRecord {
    of_source(topic, &source(table, position), op, (id, name))
}

fn of_source(topic: &str, source: &Value, op: &str, (id, name): (i32, &str)) -> OwnedRecord {
    let columns = fields(&[("id", "int32"), ("name", "string")]);
    change(topic, (&fields(&[("id", "int32")]), &key(id)), &columns, op, &row(id, name), source)
}

fn truncate(topic: &str, table: &str, position: u64) -> OwnedRecord {
    let columns = fields(&[("id", "int32"), ("name", "string")]);
    change(topic, (&[], &Value::Null), &columns, "t", &Value::Null, &source(table, position))
}

fn tombstone_of(record: &OwnedRecord) -> OwnedRecord {
    OwnedRecord { value: None, ..record.clone() }
}

fn rows(rig: &Rig, table: &str) -> String {
    rig.list("id, name", &format!("silver.{table} WHERE _deleted_at IS NULL"))
}

#[test]
fn equal_keys_and_schemas_of_two_tables_stay_apart() {
    let records = [
        of(TOPIC, "a", "c", (1, "a1"), 10),
        of(TOPIC, "b", "c", (1, "b1"), 20),
        of(TOPIC, "a", "u", (1, "a2"), 30),
        of(TOPIC, "b", "d", (1, "b1"), 40),
        of(TOPIC, "b", "c", (2, "b2"), 50),
        of(TOPIC, "a", "u", (1, "late"), 25),
    ];
    for limit in [1, 2, 1000] {
        let rig = Rig::new(&records, &format!("{ROUTE}[limits]\nbatch_rows = {limit}\n"));
        rig.run().unwrap();
        assert_eq!((rows(&rig, "a"), rows(&rig, "b")), ("1 a2".into(), "2 b2".into()), "{limit}");
        assert_eq!(rig.list("id", "silver.b WHERE _deleted_at IS NOT NULL"), "1");
        let [applied, superseded, ..] = rig.counts(TOPIC);
        assert_eq!(applied + superseded, 6, "{limit}");
        assert_eq!(
            rig.list("schema_name, table_name", "silversink.position"),
            "silver ${source.table} of shop.all"
        );
    }
}

#[test]
fn a_truncate_empties_its_own_table_only() {
    let records = [
        of(TOPIC, "a", "c", (1, "a1"), 10),
        of(TOPIC, "b", "c", (1, "b1"), 20),
        truncate(TOPIC, "a", 30),
        of(TOPIC, "a", "c", (2, "a2"), 40),
        of(TOPIC, "a", "u", (1, "older"), 25),
    ];
    for limit in [1, 1000] {
        let rig = Rig::new(&records, &format!("{ROUTE}[limits]\nbatch_rows = {limit}\n"));
        rig.run().unwrap();
        assert_eq!((rows(&rig, "a"), rows(&rig, "b")), ("2 a2".into(), "1 b1".into()));
        assert_eq!(rig.list("table_name", "silversink.truncate_floor"), "a");
    }
}

#[test]
fn tombstones_name_no_table_and_are_skipped_by_a_rule() {
    let gone = of(TOPIC, "a", "d", (1, "a1"), 30);
    let records = [
        of(TOPIC, "a", "c", (1, "a1"), 10),
        of(TOPIC, "b", "c", (1, "b1"), 20),
        gone.clone(),
        tombstone_of(&gone),
    ];
    let rig = Rig::new(&records, ROUTE);
    rig.run().unwrap();
    assert_eq!((rows(&rig, "a"), rows(&rig, "b")), (String::new(), "1 b1".into()));
    assert_eq!(rig.counts(TOPIC), [3, 0, 1, 0]);
}

fn nowhere() -> Value {
    let mut source = source("a", 15);
    source["table"] = Value::Null;
    source
}

#[test]
fn a_record_that_names_no_table_stops_a_topic_in_which_none_did_and_is_parked_elsewhere() {
    let stray = of_source(TOPIC, &nowhere(), "c", (9, "x"));
    let rig = Rig::new(std::slice::from_ref(&stray), ROUTE);
    let fault = rig.stops(Code::TableUnplaced);
    assert!(fault.text.contains("${source.table}"), "{fault}");
    assert_eq!(rig.list("count(*)", "silversink.dead_letter"), "0");

    let all = [of(TOPIC, "a", "c", (1, "a1"), 10), stray, of(TOPIC, "a", "c", (2, "a2"), 20)];
    for limit in [1, 1000] {
        let rig = Rig::new(&all, &format!("{ROUTE}[limits]\nbatch_rows = {limit}\n"));
        rig.run().unwrap();
        assert_eq!(rows(&rig, "a"), "1 a1, 2 a2");
        let parked = "\"offset\", code, coalesce(table_name, 'none')";
        assert_eq!(rig.list(parked, "silversink.dead_letter"), "1 table_unplaced none");
        assert_eq!(rig.counts(TOPIC), [2, 0, 0, 1]);
    }
}

#[test]
fn a_name_that_postgresql_would_cut_stops_the_lane() {
    let long = "t".repeat(64);
    let rig =
        Rig::new(&[of(TOPIC, "a", "c", (1, "a1"), 10), of(TOPIC, &long, "c", (1, "x"), 20)], ROUTE);
    let fault = rig.stops(Code::TableUnplaced);
    assert!(fault.text.contains("64 bytes"), "{fault}");
    assert_eq!(rows(&rig, "a"), "1 a1", "what came before has landed");
}

#[test]
fn names_are_quoted_and_may_be_made_of_several_parts() {
    let route =
        ROUTE.replace("${source.table}", "raw_${source.db}_${source.schema}_${source.table}");
    let rig = Rig::new(&[of(TOPIC, "Or der;--", "c", (1, "x"), 10)], &route);
    rig.run().unwrap();
    assert_eq!(rows(&rig, "\"raw_shop_public_Or der;--\""), "1 x");
}

#[test]
fn two_sources_of_one_table_are_mixed_unless_the_route_merges_them() {
    let mut other = source("a", 20);
    other["schema"] = "archive".into();
    let records = [
        of(TOPIC, "a", "c", (1, "a1"), 10),
        of(TOPIC, "b", "c", (1, "b1"), 15),
        of_source(TOPIC, &other, "c", (2, "a2")),
    ];
    let rig = Rig::new(&records, ROUTE);
    let fault = rig.stops(Code::SourceMixed);
    assert!(fault.text.contains("silver.a"), "{fault}");
    assert_eq!(rows(&rig, "a"), "1 a1");

    let merged = Rig::new(&records, &format!("{ROUTE}merge_sources = true\n"));
    merged.run().unwrap();
    assert_eq!(rows(&merged, "a"), "1 a1, 2 a2");
    merged.produce(&[truncate(TOPIC, "a", 50)]);
    merged.stops(Code::TruncateAmbiguous);
    assert_eq!(rows(&merged, "a"), "1 a1, 2 a2");
}

/// ByLogicalTableRouter adds an identifier to every key unless it is told not to.
#[test]
fn an_identifier_in_the_key_is_a_column_of_each_table() {
    let identifier = "__dbz__sourceIdentifier";
    let key_fields = fields(&[("id", "int32"), (identifier, "string")]);
    let columns = fields(&[("id", "int32"), ("name", "string")]);
    let of = |table: &str, name: &str, position: u64| {
        let key = json!({"id": 1, identifier: format!("src.public.{table}")});
        let key = (&key_fields[..], &key);
        change(TOPIC, key, &columns, "c", &row(1, name), &source(table, position))
    };
    let rig = Rig::new(&[of("a", "a1", 10), of("b", "b1", 20)], ROUTE);
    rig.run().unwrap();
    let columns = format!("name, \"{identifier}\"");
    assert_eq!(rig.list(&columns, "silver.a"), "a1 src.public.a");
    assert_eq!(rig.list(&columns, "silver.b"), "b1 src.public.b");
    rig.produce(&[truncate(TOPIC, "a", 30)]);
    rig.stops(Code::TruncateAmbiguous);
    assert_eq!(rows(&rig, "a"), "1 a1");
}

const SECOND: &str = "[[route]]\ntopics = '^shop\\.(?<own>\\w+)$'\ntable = \"silver.${own}\"\n";

#[test]
fn a_table_that_another_topic_feeds_is_refused() {
    let named = of(TOPIC, "own", "c", (1, "named"), 10);
    let own = of("shop.own", "own", "c", (1, "own"), 20);
    let rig = Rig::new(&[named.clone(), own], &format!("{ROUTE}{SECOND}"));
    let fault = rig.stops(Code::Unrouted);
    assert!(fault.text.contains("silver.own") && fault.text.contains("shop.own"), "{fault}");

    // Two topics whose records name the same table, one after the other.
    let both = ROUTE.replace("shop\\.all", "shop\\.(all|too)");
    let rig = Rig::new(std::slice::from_ref(&named), &both);
    rig.run().unwrap();
    let too = of("shop.too", "own", "c", (2, "too"), 30);
    let rig = Rig::new(&[named, too], &both);
    let fault = rig.stops(Code::Unrouted);
    assert!(fault.text.contains("silver.own"), "{fault}");
    assert_eq!(rig.list("count(DISTINCT _source_ts)", "silver.own"), "1", "one of the two");
}

#[test]
fn topics_of_one_template_share_a_lane_where_sources_are_merged() {
    let both = format!("{}merge_sources = true\n", ROUTE.replace("shop\\.all", "shop\\.(all|too)"));
    let records = [
        of(TOPIC, "own", "c", (1, "a"), 10),
        of("shop.too", "own", "c", (2, "b"), 20),
        of("shop.too", "other", "c", (1, "c"), 30),
    ];
    let rig = Rig::new(&records, &both);
    rig.run().unwrap();
    assert_eq!((rows(&rig, "own"), rows(&rig, "other")), ("1 a, 2 b".into(), "1 c".into()));
}

/// A row that PostgreSQL refuses is found in its own table, beside others in the same transaction.
#[test]
fn a_refused_row_is_parked_under_its_table_and_the_others_land() {
    let records = [
        of(TOPIC, "a", "c", (1, "a1"), 10),
        of(TOPIC, "b", "c", (1, "bad"), 20),
        of(TOPIC, "b", "c", (2, "b2"), 30),
        of(TOPIC, "a", "c", (2, "bad"), 40),
    ];
    let rig = Rig::new(&records, ROUTE);
    rig.execute(
        "CREATE SCHEMA silver; CREATE TABLE silver.a (id int PRIMARY KEY, name text);
         CREATE TABLE silver.b (id int PRIMARY KEY, name text CHECK (name <> 'bad'))",
    );
    rig.run().unwrap();
    assert_eq!((rows(&rig, "a"), rows(&rig, "b")), ("1 a1, 2 bad".into(), "2 b2".into()));
    let parked = "\"offset\", code, schema_name, table_name";
    assert_eq!(rig.list(parked, "silversink.dead_letter"), "1 constraint_violation silver b");
    assert_eq!(rig.list("table_name", "silversink.hole"), "b");
    assert_eq!(rig.counts(TOPIC), [3, 0, 0, 1]);
}

/// The stage of the first table refuses a row before the second is staged.
#[test]
fn a_row_that_cannot_even_be_staged_is_parked_too() {
    let records = [
        of(TOPIC, "a", "c", (1, "<ok/>"), 10),
        of(TOPIC, "b", "c", (1, "b1"), 20),
        of(TOPIC, "a", "c", (2, "<broken"), 30),
        of(TOPIC, "c", "c", (1, "c1"), 40),
    ];
    let rig = Rig::new(&records, ROUTE);
    rig.execute("CREATE SCHEMA silver; CREATE TABLE silver.a (id int PRIMARY KEY, name xml)");
    rig.run().unwrap();
    assert_eq!((rows(&rig, "a"), rows(&rig, "b")), ("1 <ok/>".into(), "1 b1".into()));
    assert_eq!(rows(&rig, "c"), "1 c1");
    assert_eq!(rig.list("\"offset\", table_name", "silversink.dead_letter"), "2 a");
}

#[test]
fn overrides_of_a_named_table_hold_and_other_forms_name_theirs_too() {
    let maxwell = "[[route]]\ntopics = 'mysql.all'\nformat = \"maxwell\"\ntable = \"silver.${source.db}_${source.table}\"\n\
        [table.\"silver.shop_notes\"]\nkey = [\"no\"]\n";
    let of = |table: &str, ty: &str, data: Value| {
        let value = json!({"database": "shop", "table": table, "type": ty, "ts": 1_477_053_217, "data": data});
        raw("mysql.all", None, Some(value.to_string().as_bytes()))
    };
    let records = [
        of("notes", "insert", json!({"no": 1, "text": "a"})),
        of("notes", "table-alter", Value::Null),
        of("notes", "update", json!({"no": 1, "text": "b"})),
    ];
    let rig = Rig::new(&records, maxwell);
    rig.execute(
        "CREATE SCHEMA silver; CREATE TABLE silver.shop_notes (no int PRIMARY KEY, text text)",
    );
    rig.run().unwrap();
    assert_eq!(rig.list("no, text", "silver.shop_notes"), "1 b");
    assert_eq!(rig.counts("mysql.all")[2], 1, "the statement is skipped");

    // Rows without schema by turns: each is read by the columns of its own table.
    let envelope = |table: &str, position: u64, after: Value| {
        plain(
            TOPIC,
            &key(1),
            &json!({"before": null, "after": after, "op": "c", "source": source(table, position)}),
        )
    };
    let turns = [
        envelope("a", 10, json!({"id": 1, "x": 1})),
        envelope("b", 20, json!({"id": 1, "y": "2"})),
        envelope("a", 30, json!({"id": 1, "x": 3})),
        envelope("b", 40, json!({"id": 1, "y": "4", "z": 1})),
    ];
    let rig = Rig::new(&turns, ROUTE);
    rig.execute(
        "CREATE SCHEMA silver; CREATE TABLE silver.a (id int PRIMARY KEY, x int);
         CREATE TABLE silver.b (id int PRIMARY KEY, y text)",
    );
    let fault = rig.stops(Code::ColumnMissing);
    assert!(fault.text.contains("silver.b") && fault.text.contains(" z"), "{fault}");
    assert_eq!(rig.list("a.x, b.y", "silver.a, silver.b"), "3 2");
}

#[test]
fn a_dead_letter_of_an_append_table_leaves_no_hole() {
    let records = [
        of(TOPIC, "a", "c", (1, "a1"), 10),
        of(TOPIC, "b", "c", (1, "b1"), 20),
        // PostgreSQL cannot store it.
        of(TOPIC, "b", "c", (2, "b\u{0}2"), 30),
        of(TOPIC, "b", "u", (1, "b3"), 40),
    ];
    let rig = Rig::new(&records, &format!("{ROUTE}[table.\"silver.b\"]\nappend = true\n"));
    rig.run().unwrap();
    assert_eq!(rig.list("\"offset\", table_name", "silversink.dead_letter"), "2 b");
    assert_eq!(rig.list("count(*)", "silversink.hole"), "0");
    assert_eq!(rig.list("name", "silver.b"), "b1, b3");
}

#[test]
fn a_record_that_is_refused_before_its_table_is_known_leaves_its_hole_there() {
    let config = format!("{ROUTE}[limits]\nrecord_bytes = \"8KiB\"\n");
    let rig = Rig::new(&[of(TOPIC, "a", "c", (1, "a1"), 10)], &config);
    rig.run().unwrap();
    // The first record that the next worker meets.
    rig.produce(&[
        of(TOPIC, "a", "u", (1, "x".repeat(20_000).as_str()), 20),
        of(TOPIC, "a", "c", (2, "a2"), 30),
    ]);
    rig.run().unwrap();
    assert_eq!(rows(&rig, "a"), "1 a1, 2 a2");
    let parked = "\"offset\", code, table_name";
    assert_eq!(rig.list(parked, "silversink.dead_letter"), "1 record_too_large a");
    assert_eq!(rig.list("table_name", "silversink.hole"), "a");
}

/// A sample would find the row in one case of ten.
#[test]
fn every_row_of_a_table_is_compared_with_the_registry_when_a_record_names_it_first() {
    let rig = Rig::new(&[of(TOPIC, "a", "c", (1, "a1"), 10)], ROUTE);
    rig.run().unwrap();
    rig.execute(
        "CREATE TABLE silver.b (id int PRIMARY KEY, name text, _version bytea NOT NULL, _deleted_at timestamptz,
           _source_ts timestamptz, _applied_at timestamptz);
         INSERT INTO silver.b SELECT id, 'b', decode(repeat('00', 3) || CASE id WHEN 150000 THEN '05' ELSE '00' END
           || repeat('00', 33), 'hex') FROM generate_series(1, 300000) AS id",
    );
    rig.produce(&[of(TOPIC, "b", "c", (0, "b0"), 20)]);
    rig.stops(Code::SourceEpochBehind);
}
