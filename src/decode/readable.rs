//! A key or value as a JSON tree, for people who look at one record. Not for the hot path: rows are never made from it.

use super::plan::SchemaText;
use crate::fault::{Code, Fault};
use apache_avro::reader::datum::GenericDatumReader;
use serde_json::Value;

/// The datum behind the framing as JSON; Connect JSON without its schema block.
///
/// # Errors
/// Poison when the schema is no Avro schema or the bytes do not follow it.
pub fn readable(schema: SchemaText<'_>, body: &[u8]) -> Result<Value, Fault> {
    match schema {
        SchemaText::Avro(text) => avro(text, body),
        SchemaText::ConnectJson(_) | SchemaText::Schemaless => serde_json::from_slice(body)
            .map_err(|e| undecodable(&format!("no JSON at column {}", e.column()))),
        SchemaText::None => Ok(Value::Null),
    }
}

fn avro(schema: &str, body: &[u8]) -> Result<Value, Fault> {
    let mut schema: Value =
        serde_json::from_str(schema).map_err(|_| undecodable("the schema is no JSON"))?;
    // Debezium writes logical types that a strict parser refuses (a scale above the precision); without them every value
    // is shown as it is on the wire.
    forget_logical_types(&mut schema);
    let schema = apache_avro::Schema::parse(&schema)
        .map_err(|_| Fault::poison(Code::SchemaUnusable, "show record: the schema is not Avro"))?;
    let mut body = body;
    GenericDatumReader::builder(&schema)
        .build()
        .and_then(|reader| reader.read_value(&mut body))
        .ok()
        .and_then(|value| Value::try_from(value).ok())
        .ok_or_else(|| undecodable("the bytes do not follow their schema"))
}

fn forget_logical_types(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("logicalType");
            map.values_mut().for_each(forget_logical_types);
        }
        Value::Array(list) => list.iter_mut().for_each(forget_logical_types),
        _ => {}
    }
}

fn undecodable(why: &str) -> Fault {
    Fault::poison(Code::Undecodable, format!("show record: {why}"))
}
