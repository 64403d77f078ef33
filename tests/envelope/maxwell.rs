//! Maxwell's JSON: every type of record lands, is skipped by a rule, or is refused with its reason.

use crate::made::plain;
use crate::rig::Rig;
use serde_json::{Value, json};
use silversink::fault::Code;
use silversink::record::OwnedRecord;

const TOPIC: &str = "maxwell.shop.orders";
const ROUTE: &str = "[[route]]\ntopics = \"maxwell.shop.orders\"\ntable = \"silver.orders\"\nformat = \"maxwell\"\n";
const TABLE: &str = "CREATE SCHEMA silver; CREATE TABLE silver.orders (id int, line int, total numeric(12,2), \
     note text, at timestamp, raw bytea, flags text[], extra jsonb, PRIMARY KEY (id, line))";

fn key(id: i32) -> Value {
    json!({"database": "shop", "table": "orders", "pk.id": id, "pk.line": 1})
}

fn row(id: i32, note: &str) -> Value {
    json!({"id": id, "line": 1, "total": 12.30, "note": note, "at": "2016-10-21 05:33:54.631000", "raw": "AAH/",
           "flags": ["a_val", "c_val"], "extra": {"a": [1, null]}})
}

fn record(key: &Value, ty: &str, data: &Value, more: &Value) -> OwnedRecord {
    let mut value = json!({"database": "shop", "table": "orders", "type": ty, "ts": 1_477_053_234, "xid": 23_396,
                           "commit": true, "position": "master.000006:800911", "server_id": 23_042, "data": data});
    for (name, more) in more.as_object().unwrap() {
        value[name] = more.clone();
    }
    plain(TOPIC, key, &value)
}

fn change(ty: &str, id: i32, note: &str) -> OwnedRecord {
    record(&key(id), ty, &row(id, note), &json!({}))
}

#[test]
fn rows_land_and_the_rest_is_skipped_by_rules() {
    let ddl = json!({"type": "table-create", "database": "shop", "table": "orders", "ts": 1_477_053_126_000_u64,
                     "def": {}, "sql": "create table orders (...)", "position": "master.000006:800050"});
    let of_table = json!({"database": "shop", "table": "orders"});
    let records = [
        plain(TOPIC, &of_table, &ddl),
        record(&of_table, "bootstrap-start", &json!({}), &json!({})),
        change("bootstrap-insert", 1, "old"),
        change("bootstrap-insert", 2, "old"),
        record(&of_table, "bootstrap-complete", &json!({}), &json!({})),
        change("insert", 3, "c"),
        record(&key(1), "update", &row(1, "a"), &json!({"old": {"note": "old", "total": 1.00}})),
        // The other format of keys: kafka_key_format=array.
        record(
            &json!(["shop", "orders", [{"id": 2}, {"line": 1}]]),
            "update",
            &row(2, "b"),
            &json!({"old": {"note": "old"}}),
        ),
        change("delete", 3, "c"),
        plain(TOPIC, &key(3), &Value::Null),
    ];
    let rig = Rig::new(&records, ROUTE);
    rig.execute(TABLE);

    rig.run().unwrap();

    let values = "12.30 2016-10-21 05:33:54.631 \\x0001ff {a_val,c_val} {\"a\": [1, null]}";
    let rows = rig.list(
        "id, note, _deleted_at IS NULL, (silversink.version_parts(_version)).kafka_offset, total, at, raw, flags, extra",
        "silver.orders WHERE _deleted_at IS NULL",
    );
    assert_eq!(rows, format!("1 a t 6 {values}, 2 b t 7 {values}"));
    assert_eq!(rig.list("id, line, note", "silver.orders WHERE _deleted_at IS NOT NULL"), "3 1 c");
    assert_eq!(
        rig.list("_source_ts AT TIME ZONE 'utc'", "silver.orders WHERE id = 1"),
        "2016-10-21 12:33:54"
    );
    assert_eq!(rig.counts(TOPIC), [3, 3, 4, 0]);
}

#[test]
fn an_update_of_the_key_is_parked_and_the_others_go_on() {
    let mut moved = record(&key(9), "update", &row(9, "m"), &json!({"old": {"id": 1}}));
    moved.timestamp_ms = None;
    let rig = Rig::new(&[change("insert", 1, "a"), moved, change("insert", 2, "b")], ROUTE);
    rig.execute(TABLE);

    rig.run().unwrap();

    assert_eq!(rig.list("id, note", "silver.orders"), "1 a, 2 b");
    assert_eq!(rig.list("code, \"offset\"", "silversink.dead_letter"), "key_changed 1");
}

#[test]
fn what_does_not_fit_stops_the_lane() {
    for (record, code) in [
        (record(&key(1), "row-compressed", &row(1, "a"), &json!({})), Code::OpUnknown),
        // A table without a primary key: Maxwell makes one up.
        (
            record(
                &json!({"database": "shop", "table": "orders", "_uuid": "x"}),
                "insert",
                &row(1, "a"),
                &json!({}),
            ),
            Code::KeyMismatch,
        ),
        (
            record(&key(1), "insert", &json!({"id": 1, "line": 1, "new_column": 5}), &json!({})),
            Code::ColumnMissing,
        ),
    ] {
        let rig = Rig::new(&[record], ROUTE);
        rig.execute(TABLE);
        rig.stops(code);
    }
    let other = json!({"database": "shop", "table": "refunds", "type": "insert", "ts": 1, "data": row(5, "x")});
    let rig = Rig::new(&[change("insert", 1, "a"), plain(TOPIC, &key(5), &other)], ROUTE);
    rig.execute(TABLE);
    rig.stops(Code::SourceMixed);
}
