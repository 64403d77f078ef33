//! The envelope of a readable value, for people: op, source and transaction, and which columns its images hold.

use super::Envelope;
use serde_json::{Map, Value};

/// Takes a value apart. Row values are left out unless `values`.
pub(super) fn envelope(value: Value, values: bool) -> Option<Envelope> {
    let Value::Object(mut value) = value else { return None };
    // Connect JSON.
    if value.len() == 2
        && value.contains_key("schema")
        && let Some(payload) = value.remove("payload")
    {
        return envelope(payload, values);
    }
    let image = |row: Value| if values { row } else { names(row) };
    if value.contains_key("op") && (value.contains_key("source") || value.contains_key("after")) {
        let mut image_of = |name: &str| value.remove(name).filter(|row| !row.is_null()).map(image);
        let (before, after) = (image_of("before"), image_of("after"));
        return Some(Envelope {
            op: value.get("op").map(meaning),
            source: value.remove("source").map(without_nulls),
            transaction: value.remove("transaction").filter(|block| !block.is_null()),
            before,
            after,
        });
    }
    let op = value.get("__op").map(meaning);
    let (facts, row): (Map<_, _>, Map<_, _>) =
        value.into_iter().partition(|(name, _)| name.starts_with("__"));
    Some(Envelope {
        op,
        source: (!facts.is_empty()).then_some(without_nulls(Value::Object(facts))),
        transaction: None,
        before: None,
        after: Some(image(Value::Object(row))),
    })
}

fn meaning(op: &Value) -> String {
    let op = op.as_str().unwrap_or_default();
    let meaning = match op {
        "c" => "insert",
        "u" => "update",
        "d" => "delete",
        "r" => "snapshot read",
        "t" => "truncate",
        "m" => "logical message",
        _ => "unknown",
    };
    format!("{op} ({meaning})")
}

fn without_nulls(block: Value) -> Value {
    match block {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

/// The names of a row's columns, none of its values.
fn names(row: Value) -> Value {
    match row {
        Value::Object(map) => Value::Array(map.into_iter().map(|(name, _)| name.into()).collect()),
        _ => Value::Null,
    }
}
