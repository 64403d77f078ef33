//! A payload of Connect's JSON converter as Avro bytes.

use base64::Engine as _;
use serde_json::Value;

/// Appends one datum.
pub fn avro(schema: &Value, payload: &Value, out: &mut Vec<u8>) {
    if schema["optional"] == Value::Bool(true) {
        long(i64::from(!payload.is_null()), out);
        if payload.is_null() {
            return;
        }
    }
    match schema["type"].as_str().unwrap() {
        "boolean" => out.push(u8::from(payload.as_bool().unwrap())),
        "int8" | "int16" | "int32" | "int64" => long(payload.as_i64().unwrap(), out),
        "float" => out.extend(single(payload).to_le_bytes()),
        "double" => out.extend(double(payload).to_le_bytes()),
        "string" => text(payload.as_str().unwrap().as_bytes(), out),
        "bytes" => {
            let engine = base64::prelude::BASE64_STANDARD;
            text(&engine.decode(payload.as_str().unwrap()).unwrap(), out);
        }
        "array" => {
            list(payload.as_array().unwrap(), out, |item, out| avro(&schema["items"], item, out))
        }
        "map" if payload.is_array() => list(payload.as_array().unwrap(), out, |pair, out| {
            avro(&schema["keys"], &pair[0], out);
            avro(&schema["values"], &pair[1], out);
        }),
        "map" => {
            let entries: Vec<_> = payload.as_object().unwrap().iter().collect();
            list(&entries, out, |(key, value), out| {
                text(key.as_bytes(), out);
                avro(&schema["values"], value, out);
            });
        }
        "struct" => {
            for field in schema["fields"].as_array().unwrap() {
                let name = field["field"].as_str().unwrap();
                avro(field, payload.get(name).unwrap_or(&Value::Null), out);
            }
        }
        other => panic!("type {other}"),
    }
}

fn list<T>(items: &[T], out: &mut Vec<u8>, mut put: impl FnMut(&T, &mut Vec<u8>)) {
    if !items.is_empty() {
        long(i64::try_from(items.len()).unwrap(), out);
        items.iter().for_each(|item| put(item, out));
    }
    out.push(0);
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    long(i64::try_from(bytes.len()).unwrap(), out);
    out.extend_from_slice(bytes);
}

fn double(payload: &Value) -> f64 {
    payload.as_f64().unwrap_or_else(|| payload.as_str().unwrap().parse().unwrap())
}

fn single(payload: &Value) -> f32 {
    payload.as_str().map_or_else(|| payload.to_string(), str::to_owned).parse().unwrap()
}
