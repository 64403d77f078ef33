//! Records in Avro, as Debezium's PostgreSQL connector writes them through Confluent's converter.

use super::Change;
use super::row::{self, Kind};
use anyhow::Context;
use serde_json::{Value, json};
use silversink::demo::capture::Capture;

/// Schemas of key and value. The envelope is a captured one, with the columns of the benchmark's table in it.
pub fn schemas(capture: &Capture, columns: usize) -> anyhow::Result<(Value, Value)> {
    let captured = capture.schemas("avro")?;
    let read = |subject: &str| -> anyhow::Result<Value> {
        let found = captured.values().find(|schema| schema.subject == subject);
        let found = found.with_context(|| format!("no captured schema {subject}"))?;
        Ok(serde_json::from_str(&found.schema)?)
    };
    let mut value = read("shop.public.orders-value")?;
    *value.pointer_mut("/fields/0/type/1/fields").context("the captured envelope has no row")? =
        (0..columns).map(field).collect();
    let mut key = read("shop.public.orders-key")?;
    let column = key.pointer_mut("/fields/0").context("the captured key has no column")?;
    *column = field(0);
    Ok((key, value))
}

fn field(number: usize) -> Value {
    let (name, kind) = row::column(number);
    let ty = match kind {
        Kind::Long => json!("long"),
        Kind::Int => json!("int"),
        Kind::Text => json!("string"),
        Kind::Cents => json!({
            "type": "bytes", "scale": 2, "precision": 12, "connect.version": 1,
            "connect.parameters": {"scale": "2", "connect.decimal.precision": "12"},
            "connect.name": "org.apache.kafka.connect.data.Decimal", "logicalType": "decimal"
        }),
        Kind::Instant => {
            json!({"type": "string", "connect.version": 1, "connect.name": "io.debezium.time.ZonedTimestamp"})
        }
    };
    if number == 0 {
        json!({"name": name, "type": ty})
    } else {
        json!({"name": name, "type": ["null", ty], "default": null})
    }
}

/// Key and value of a change.
pub fn record(
    change: &Change,
    columns: usize,
    (key_id, value_id): (u32, u32),
) -> (Vec<u8>, Vec<u8>) {
    let mut key = framed(key_id);
    long(&mut key, change.id);
    (key, envelope(change, columns, value_id))
}

fn envelope(change: &Change, columns: usize, schema: u32) -> Vec<u8> {
    let mut out = framed(schema);
    let images = change.images();
    for (present, before) in [(images.0, true), (images.1, false)] {
        long(&mut out, i64::from(present));
        if present {
            (0..columns).for_each(|number| put(&mut out, number, change, before));
        }
    }
    let at = change.at;
    for constant in ["3.6.0.Final", "postgresql", "bench"] {
        text(&mut out, constant);
    }
    long(&mut out, at / 1_000);
    some(&mut out, 0, |out| text(out, change.snapshot()));
    text(&mut out, "benchdb");
    some(&mut out, 1, |out| text(out, &change.sequence()));
    some(&mut out, 1, |out| long(out, at));
    some(&mut out, 1, |out| long(out, at * 1_000));
    text(&mut out, "public");
    text(&mut out, "orders");
    some(&mut out, 1, |out| long(out, 700 + change.number));
    some(&mut out, 1, |out| long(out, change.lsn));
    // xmin, origin, origin_lsn, transaction
    for _ in 0..4 {
        long(&mut out, 0);
    }
    text(&mut out, change.op());
    some(&mut out, 1, |out| long(out, at / 1_000 + 311));
    some(&mut out, 1, |out| long(out, at + 311_123));
    some(&mut out, 1, |out| long(out, at * 1_000 + 311_123_456));
    out
}

fn put(out: &mut Vec<u8>, number: usize, change: &Change, before: bool) {
    if number > 0 {
        long(out, 1);
    }
    match row::value(number, change, before) {
        row::Value::Long(value) => long(out, value),
        row::Value::Int(value) => long(out, i64::from(value)),
        row::Value::Cents(value) => bytes(out, &row::shortest(value)),
        row::Value::Text(value) => text(out, &value),
        row::Value::Instant(value) => text(out, &row::instant(value)),
    }
}

fn framed(schema: u32) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&schema.to_be_bytes());
    out
}

fn some(out: &mut Vec<u8>, branch: i64, value: impl FnOnce(&mut Vec<u8>)) {
    long(out, branch);
    value(out);
}

fn text(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, i64::try_from(bytes.len()).expect("a short value"));
    out.extend_from_slice(bytes);
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).expect("seven bits"));
}
