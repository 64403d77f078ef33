//! Records made by hand.

use serde_json::{Value, json};
use silversink::record::{Coordinates, OwnedRecord};

/// A record with these bytes; the mock broker gives the offset.
pub fn raw(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> OwnedRecord {
    OwnedRecord {
        at: Coordinates { topic: topic.to_owned(), partition: 0, offset: 0 },
        timestamp_ms: Some(1_795_245_865_831),
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

/// JSON without schema.
pub fn plain(topic: &str, key: &Value, value: &Value) -> OwnedRecord {
    let bytes = |v: &Value| (!v.is_null()).then(|| v.to_string().into_bytes());
    raw(topic, bytes(key).as_deref(), bytes(value).as_deref())
}

/// A field of a Connect schema: every one but the first is optional.
pub fn fields(names: &[(&str, &str)]) -> Vec<Value> {
    let of = |(at, (name, ty)): (usize, &(&str, &str))| json!({"field": name, "type": ty, "optional": at > 0});
    names.iter().enumerate().map(of).collect()
}

/// The bytes of JSON with schema.
pub fn framed(schema: Value, payload: &Value) -> Vec<u8> {
    json!({"schema": schema, "payload": payload}).to_string().into_bytes()
}

/// What an envelope's `source` says of a PostgreSQL table, at a position.
pub fn source(table: &str, position: u64) -> Value {
    json!({"connector": "postgresql", "name": "src", "db": "shop", "schema": "public", "table": table,
           "ts_ms": 1_795_245_865_000_u64, "snapshot": "false",
           "sequence": format!("[\"{position}\",\"{position}\"]"), "lsn": position})
}

/// An envelope in JSON with schema, with its key. `row` are the row's fields, the first of which is the key.
pub fn change(
    topic: &str,
    key: (&[Value], &Value),
    row: &[Value],
    op: &str,
    image: &Value,
    source: &Value,
) -> OwnedRecord {
    let structure = |fields: &[Value], name: &str| json!({"type": "struct", "optional": true, "fields": fields, "name": name});
    let image_of = |field: &str| {
        let mut image = structure(row, "Value");
        image["field"] = field.into();
        image
    };
    let told = ["connector", "name", "db", "schema", "table", "snapshot", "sequence"];
    let mut of_source: Vec<Value> =
        told.iter().map(|f| json!({"field": f, "type": "string", "optional": true})).collect();
    of_source
        .extend(["ts_ms", "lsn"].map(|f| json!({"field": f, "type": "int64", "optional": true})));
    let mut source_block = structure(&of_source, "io.debezium.connector.postgresql.Source");
    source_block["field"] = "source".into();
    let schema = structure(
        &[
            image_of("before"),
            image_of("after"),
            source_block,
            json!({"field": "op", "type": "string", "optional": false}),
        ],
        &format!("{topic}.Envelope"),
    );
    let (before, after) = if op == "d" { (image, &Value::Null) } else { (&Value::Null, image) };
    let value =
        framed(schema, &json!({"before": before, "after": after, "source": source, "op": op}));
    let key = (!key.1.is_null()).then(|| framed(structure(key.0, &format!("{topic}.Key")), key.1));
    raw(topic, key.as_deref(), Some(&value))
}
