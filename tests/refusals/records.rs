//! Records made by hand: flattened rows in JSON with schema, as ExtractNewRecordState writes them.

use serde_json::{Value, json};
use silversink::record::{Coordinates, OwnedRecord};

fn framed(fields: &[Value], payload: Value) -> Vec<u8> {
    json!({"schema": {"type": "struct", "fields": fields, "optional": false}, "payload": payload})
        .to_string()
        .into_bytes()
}

fn field(name: &str, ty: &str) -> Value {
    json!({"field": name, "type": ty, "optional": name != "id"})
}

/// A record with any bytes.
pub fn raw(topic: &str, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> OwnedRecord {
    OwnedRecord {
        at: Coordinates { topic: topic.to_owned(), partition: 0, offset: 0 },
        timestamp_ms: Some(1_700_000_000_000),
        key,
        value,
        headers: Vec::new(),
    }
}

/// The key `{id}`.
pub fn key(id: i32) -> Vec<u8> {
    key_of("id", id)
}

/// A key of one column.
pub fn key_of(column: &str, id: i32) -> Vec<u8> {
    framed(&[field(column, "int32")], json!({ column: id }))
}

/// The row `{id, name}`.
pub fn value(id: i32, name: &str) -> Vec<u8> {
    framed(&[field("id", "int32"), field("name", "string")], json!({"id": id, "name": name}))
}

/// A row `{id, name}` with its key.
pub fn row(topic: &str, id: i32, name: &str) -> OwnedRecord {
    raw(topic, Some(key(id)), Some(value(id, name)))
}
