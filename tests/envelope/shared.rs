//! Topics and tables that several sources share, keys that are not the row's own, truncates among them.

use crate::made::{change, fields, source};
use crate::rig::Rig;
use serde_json::{Value, json};
use silversink::fault::Code;
use silversink::record::OwnedRecord;

const TOPIC: &str = "shop.merged";
const ROUTE: &str = "[[route]]\ntopics = '^shop\\.\\w+$'\ntable = \"silver.orders\"\n";

fn row(id: i32, name: &str) -> Value {
    json!({"id": id, "name": name})
}

/// A change of a row of a source table that shares the topic, keyed by its id alone.
fn of(topic: &str, table: &str, id: i32, name: &str, position: u64) -> OwnedRecord {
    let key = (&fields(&[("id", "int32")])[..], &json!({"id": id}));
    let columns = fields(&[("id", "int32"), ("name", "string")]);
    change(topic, key, &columns, "c", &row(id, name), &source(table, position))
}

fn truncate(topic: &str, table: &str, position: u64) -> OwnedRecord {
    let columns = fields(&[("id", "int32"), ("name", "string")]);
    change(topic, (&[], &Value::Null), &columns, "t", &Value::Null, &source(table, position))
}

fn rows(rig: &Rig) -> String {
    rig.list("id, name", "silver.orders WHERE _deleted_at IS NULL")
}

#[test]
fn two_source_tables_in_one_topic_stop_the_lane_before_their_rows_mix() {
    let rig =
        Rig::new(&[of(TOPIC, "orders_1", 1, "a", 10), of(TOPIC, "orders_2", 1, "b", 20)], ROUTE);

    let fault = rig.stops(Code::SourceMixed);

    assert!(fault.text.contains("shop.public.orders_1 and of shop.public.orders_2"), "{fault}");
    assert_eq!(rows(&rig), "1 a", "what came before has landed");
    assert_eq!(
        rig.list("next_offset, state, reason", "silversink.position"),
        "1 stopped source_mixed"
    );
}

#[test]
fn merge_sources_lets_tables_whose_keys_never_meet_share_topic_and_table() {
    let records = [
        of(TOPIC, "orders_1", 1, "a", 10),
        of(TOPIC, "orders_2", 2, "b", 20),
        of("shop.other", "orders_3", 3, "c", 5),
        of(TOPIC, "orders_1", 1, "late", 9),
    ];
    let rig = Rig::new(&records, &format!("{ROUTE}merge_sources = true\n"));

    rig.run().unwrap();

    assert_eq!(rows(&rig), "1 a, 2 b, 3 c");
}

#[test]
fn topics_that_were_not_meant_to_meet_are_refused() {
    let rig = Rig::new(&[of(TOPIC, "a", 1, "a", 1), of("shop.other", "b", 1, "b", 1)], ROUTE);
    let fault = rig.run().unwrap_err();
    assert_eq!(fault.code, Code::Configuration, "{fault}");
    assert!(fault.text.contains("all lead to table silver.orders"), "{fault}");
}

/// ByLogicalTableRouter with `key.enforce.uniqueness`: the identifier is in the key only.
#[test]
fn an_identifier_in_the_key_keeps_the_rows_of_source_tables_apart() {
    for identifier in ["__dbz__sourceIdentifier", "__dbz__physicalTableIdentifier"] {
        let routed = |table: &str, op: &str, name: &str, position: u64| {
            let key_fields = fields(&[("id", "int32"), (identifier, "string")]);
            let key = json!({"id": 1, identifier: format!("src.public.{table}")});
            let columns = fields(&[("id", "int32"), ("name", "string")]);
            let image = row(1, name);
            change(TOPIC, (&key_fields, &key), &columns, op, &image, &source(table, position))
        };
        let records = [
            routed("orders_1", "c", "a", 10),
            routed("orders_2", "c", "b", 20),
            routed("orders_2", "u", "b2", 30),
            routed("orders_1", "d", "a", 40),
        ];
        let rig = Rig::new(&records, ROUTE);

        rig.run().unwrap();

        let columns = format!("name, \"{identifier}\", _deleted_at IS NULL");
        let expected = "a src.public.orders_1 f, b2 src.public.orders_2 t";
        assert_eq!(rig.list(&columns, "silver.orders"), expected);

        rig.produce(&[truncate(TOPIC, "orders_1", 50)]);
        rig.stops(Code::TruncateAmbiguous);
        assert_eq!(rig.list(&columns, "silver.orders"), expected);
    }
}

#[test]
fn a_truncate_of_one_source_does_not_empty_what_another_brought() {
    let records = [of(TOPIC, "orders_1", 1, "a", 10), of("shop.other", "orders_2", 2, "b", 20)];
    let rig = Rig::new(&records, &format!("{ROUTE}merge_sources = true\n"));
    rig.run().unwrap();
    rig.produce(&[truncate(TOPIC, "orders_1", 30)]);

    let fault = rig.stops(Code::TruncateAmbiguous);
    assert!(fault.hint.unwrap().contains("skipped.operations=t"));
    assert_eq!(rows(&rig), "1 a, 2 b");

    let alone = Rig::new(
        &[
            of(TOPIC, "orders_1", 1, "a", 10),
            truncate(TOPIC, "orders_1", 30),
            of(TOPIC, "orders_1", 2, "b", 40),
        ],
        ROUTE,
    );
    alone.run().unwrap();
    assert_eq!(rows(&alone), "2 b");
}

/// `message.key.columns` may name columns that field filters took out of the row.
#[test]
fn a_key_column_that_the_row_does_not_have_is_filled_from_the_key() {
    let key_fields = fields(&[("tenant", "int32"), ("code", "string")]);
    let columns = fields(&[("code", "string"), ("name", "string")]);
    let of = |op: &str, code: &str, name: &str, position: u64| {
        let key = json!({"tenant": 7, "code": code});
        let image = json!({"code": code, "name": name});
        change(TOPIC, (&key_fields, &key), &columns, op, &image, &source("orders", position))
    };
    let records =
        [of("c", "x", "a", 1), of("c", "y", "b", 2), of("u", "x", "a2", 3), of("d", "y", "b", 4)];
    let rig = Rig::new(&records, ROUTE);

    rig.run().unwrap();

    assert_eq!(
        rig.list("tenant, code, name, _deleted_at IS NULL", "silver.orders"),
        "7 x a2 t, 7 y b f"
    );
}

/// `field.name.adjustment.mode` rewrites names; `column.propagate.source.type` keeps the originals.
#[test]
fn a_rewritten_field_finds_the_column_of_its_original_name() {
    let adjusted = |wire: &str, original: &str, ty: &str| {
        json!({"field": wire, "type": ty, "optional": true, "parameters": {
            "__debezium.source.column.type": "X", "__debezium.source.column.name": original}})
    };
    let columns = [adjusted("order_id", "order-id", "int32"), adjusted("_1st", "1st", "string")];
    let key_fields = [columns[0].clone()];
    let record = change(
        TOPIC,
        (&key_fields, &json!({"order_id": 1})),
        &columns,
        "c",
        &json!({"order_id": 1, "_1st": "a"}),
        &source("orders", 1),
    );
    let rig = Rig::new(std::slice::from_ref(&record), ROUTE);
    rig.execute("CREATE SCHEMA silver; CREATE TABLE silver.orders (\"order-id\" int PRIMARY KEY, \"1st\" text)");
    rig.run().unwrap();
    assert_eq!(rig.list("\"order-id\", \"1st\"", "silver.orders"), "1 a");

    let created = Rig::new(&[record], ROUTE);
    created.run().unwrap();
    assert_eq!(
        created.list("order_id, _1st", "silver.orders"),
        "1 a",
        "a new table has the names of the wire"
    );
}

#[test]
fn an_unknown_op_stops_the_lane_and_is_not_parked() {
    let columns = fields(&[("id", "int32"), ("name", "string")]);
    let key = (&fields(&[("id", "int32")])[..], &json!({"id": 1}));
    let unknown = change(TOPIC, key, &columns, "z", &row(1, "b"), &source("orders", 2));
    let rig = Rig::new(&[of(TOPIC, "orders", 1, "a", 1), unknown], ROUTE);

    rig.stops(Code::OpUnknown);

    assert_eq!(rows(&rig), "1 a");
    assert_eq!(rig.list("count(*)", "silversink.dead_letter"), "0");
}
