//! Records in JSON, as Connect's JSON converter writes them, with and without their schema.

use super::row::{self, Kind};
use super::{Change, Spec};
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use silversink::demo::capture::Capture;
use std::fmt::Write as _;

/// Schemas of key and value. The envelope is a captured one, with the columns of the benchmark's table in it.
pub fn schemas(capture: &Capture, columns: usize) -> anyhow::Result<(Value, Value)> {
    let records = capture.records("json")?;
    let record = records
        .iter()
        .find(|record| record.at.topic == "shop.public.orders" && record.value.is_some());
    let record = record.context("no captured order")?;
    let schema = |bytes: &Option<Vec<u8>>| -> anyhow::Result<Value> {
        let mut whole: Value = serde_json::from_slice(bytes.as_deref().unwrap_or_default())?;
        Ok(whole.get_mut("schema").context("the captured record has no schema")?.take())
    };
    let (mut key, mut value) = (schema(&record.key)?, schema(&record.value)?);
    *key.pointer_mut("/fields/0").context("the captured key has no column")? = field(0);
    for image in ["/fields/0/fields", "/fields/1/fields"] {
        *value.pointer_mut(image).context("the captured envelope has no row")? =
            (0..columns).map(field).collect();
    }
    Ok((key, value))
}

fn field(number: usize) -> Value {
    let (name, kind) = row::column(number);
    let ty = match kind {
        Kind::Long => json!({"type": "int64"}),
        Kind::Int => json!({"type": "int32"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Cents => json!({
            "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
            "parameters": {"scale": "2", "connect.decimal.precision": "12"}
        }),
        Kind::Instant => {
            json!({"type": "string", "name": "io.debezium.time.ZonedTimestamp", "version": 1})
        }
    };
    let mut field = ty;
    field["optional"] = json!(number > 0);
    field["field"] = json!(name);
    field
}

/// Writes key and value of a change; with schemas when they are given.
pub fn writer(
    spec: &Spec,
    schemas: Option<(Value, Value)>,
) -> impl Fn(&Change) -> (Vec<u8>, Vec<u8>) {
    let columns: Vec<String> = (0..spec.columns).map(|number| row::column(number).0).collect();
    let around = |schema: Value| format!("{{\"schema\":{schema},\"payload\":");
    let around = schemas.map(|(key, value)| (around(key), around(value)));
    move |change| {
        let key = format!("{{\"order_id\":{}}}", change.id);
        let value = envelope(change, &columns);
        match &around {
            None => (key.into_bytes(), value.into_bytes()),
            Some((before_key, before_value)) => (
                format!("{before_key}{key}}}").into_bytes(),
                format!("{before_value}{value}}}").into_bytes(),
            ),
        }
    }
}

fn envelope(change: &Change, columns: &[String]) -> String {
    let images = change.images();
    let image = |present: bool, before: bool| {
        if present { values(change, columns, before) } else { "null".to_owned() }
    };
    let (at, ms) = (change.at, change.at / 1_000);
    format!(
        r#"{{"before":{},"after":{},"source":{{"version":"3.6.0.Final","connector":"postgresql","name":"bench","ts_ms":{ms},"snapshot":"{}","db":"benchdb","sequence":"{}","ts_us":{at},"ts_ns":{},"schema":"public","table":"orders","txId":{},"lsn":{},"xmin":null,"origin":null,"origin_lsn":null}},"transaction":null,"op":"{}","ts_ms":{},"ts_us":{},"ts_ns":{}}}"#,
        image(images.0, true),
        image(images.1, false),
        change.snapshot(),
        change.sequence().replace('"', "\\\""),
        at * 1_000,
        700 + change.number,
        change.lsn,
        change.op(),
        ms + 311,
        at + 311_123,
        at * 1_000 + 311_123_456,
    )
}

fn values(change: &Change, columns: &[String], before: bool) -> String {
    let mut out = String::from("{");
    for (number, name) in columns.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let value = match row::value(number, change, before) {
            row::Value::Long(value) => value.to_string(),
            row::Value::Int(value) => value.to_string(),
            row::Value::Cents(value) => format!("\"{}\"", STANDARD.encode(row::shortest(value))),
            row::Value::Text(value) => format!("\"{value}\""),
            row::Value::Instant(value) => format!("\"{}\"", row::instant(value)),
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "{comma}\"{name}\":{value}");
    }
    out.push('}');
    out
}
