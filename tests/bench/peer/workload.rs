//! The mixed load of the performance goals: 70 % updates, 25 % inserts, 5 % deletes, as a PostgreSQL connector writes them.

use anyhow::Context;
use serde_json::{Value, json};
use silversink::demo::capture::Capture;
use silversink::record::{Coordinates, OwnedRecord};

/// Rows that the tables hold before a run; also the range that updates and deletes hit.
pub const PREFILLED: i64 = 1_000_000;
pub const PARTITIONS: i32 = 64;

/// Topic number `n`; its table is `silver.orders_n`.
pub fn topic(n: usize) -> String {
    format!("bench.public.orders_{n}")
}

/// Schemas of key and value. The envelope is a captured one, with the columns of the benchmark's table in it.
pub fn schemas() -> anyhow::Result<(String, String)> {
    let capture = Capture::open(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/debezium/shop"))?;
    let captured = capture.schemas("avro")?;
    let text = |subject: &str| {
        let found = captured.values().find(|schema| schema.subject == subject);
        found
            .map(|schema| schema.schema.clone())
            .with_context(|| format!("no captured schema {subject}"))
    };
    let mut value: Value = serde_json::from_str(&text("shop.public.orders-value")?)?;
    let columns =
        value.pointer_mut("/fields/0/type/1/fields").context("the captured envelope has no row")?;
    *columns = row_fields();
    let mut key: Value = serde_json::from_str(&text("shop.public.orders-key")?)?;
    *key.pointer_mut("/fields/0/name").context("the captured key has no column")? =
        json!("order_id");
    Ok((key.to_string(), value.to_string()))
}

fn row_fields() -> Value {
    let optional =
        |name: &str, ty: Value| json!({"name": name, "type": ["null", ty], "default": null});
    let decimal = json!({
        "type": "bytes", "scale": 2, "precision": 12, "connect.version": 1,
        "connect.parameters": {"scale": "2", "connect.decimal.precision": "12"},
        "connect.name": "org.apache.kafka.connect.data.Decimal", "logicalType": "decimal"
    });
    let instant = json!({"type": "string", "connect.version": 1, "connect.name": "io.debezium.time.ZonedTimestamp"});
    json!([
        {"name": "order_id", "type": "long"},
        optional("customer_id", json!("long")),
        optional("store_id", json!("int")),
        optional("order_amount", decimal),
        optional("status", json!("string")),
        optional("created_at", instant.clone()),
        optional("updated_at", instant),
        optional("note", json!("string")),
    ])
}

/// One change of one row.
struct Change {
    op: u8,
    id: i64,
    random: u64,
    lsn: i64,
    number: i64,
}

/// The events of one topic, each partition in one stretch, so that the broker's batches get large.
pub fn records(topic: &str, events: usize, ids: (u32, u32), seed: u64) -> Vec<OwnedRecord> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut inserted = PREFILLED;
    let mut records: Vec<OwnedRecord> = (0_i64..)
        .take(events)
        .map(|number| {
            let op = match random.u8(0..100) {
                0..70 => b'u',
                70..95 => b'c',
                _ => b'd',
            };
            let id = if op == b'c' {
                inserted += 1;
                inserted
            } else {
                random.i64(1..=PREFILLED)
            };
            let change = Change {
                op,
                id,
                random: random.u64(..),
                lsn: 24_023_128_000 + number * 240,
                number,
            };
            record(topic, &change, ids)
        })
        .collect();
    records.sort_by_key(|record| record.at.partition);
    records
}

fn record(topic: &str, change: &Change, (key_id, value_id): (u32, u32)) -> OwnedRecord {
    let mut key = framed(key_id);
    long(&mut key, change.id);
    OwnedRecord {
        at: Coordinates {
            topic: topic.to_owned(),
            partition: i32::try_from(change.id % i64::from(PARTITIONS))
                .expect("less than the partitions"),
            offset: 0,
        },
        timestamp_ms: Some(1_760_000_000_311 + change.number),
        key: Some(key),
        value: Some(envelope(change, value_id)),
        headers: Vec::new(),
    }
}

/// Microseconds since 1970 of a change.
fn changed_at(change: &Change) -> i64 {
    1_760_000_000_000_000 + change.number * 1_000
}

fn envelope(change: &Change, schema: u32) -> Vec<u8> {
    let mut out = framed(schema);
    for (present, before) in [(change.op != b'c', true), (change.op != b'd', false)] {
        long(&mut out, i64::from(present));
        if present {
            row(&mut out, change, before);
        }
    }
    let at = changed_at(change);
    for constant in ["3.6.0.Final", "postgresql", "bench"] {
        text(&mut out, constant);
    }
    long(&mut out, at / 1_000);
    some(&mut out, 0, |out| text(out, "false"));
    text(&mut out, "benchdb");
    some(&mut out, 1, |out| text(out, &format!("[\"{}\",\"{}\"]", change.lsn - 56, change.lsn)));
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
    text(
        &mut out,
        if change.op == b'c' {
            "c"
        } else if change.op == b'u' {
            "u"
        } else {
            "d"
        },
    );
    some(&mut out, 1, |out| long(out, at / 1_000 + 311));
    some(&mut out, 1, |out| long(out, at + 311_123));
    some(&mut out, 1, |out| long(out, at * 1_000 + 311_123_456));
    out
}

fn row(out: &mut Vec<u8>, change: &Change, before: bool) {
    let random = change.random;
    let part = |shift: u32, below: u64| {
        i64::try_from(random >> shift).unwrap_or(0) % i64::try_from(below).unwrap_or(1)
    };
    let status = ["pending", "paid", "shipped", "delivered", "cancelled"];
    let status = if before { "pending" } else { status[usize::try_from(random % 5).unwrap_or(0)] };
    let amount = part(33, 1_000_000) / if before { 2 } else { 1 };
    long(out, change.id);
    some(out, 1, |out| long(out, part(40, 100_000)));
    some(out, 1, |out| long(out, part(20, 512)));
    some(out, 1, |out| bytes(out, &shortest(amount)));
    some(out, 1, |out| text(out, status));
    some(out, 1, |out| text(out, &instant(1_700_000_000_000_000 + part(24, 1 << 40))));
    some(out, 1, |out| {
        text(out, &instant(changed_at(change) - if before { 1_000_000 } else { 0 }))
    });
    some(out, 1, |out| {
        text(
            out,
            &format!(
                "{random:016x} left with neighbour, ring twice, code {:08}",
                random % 99_999_999
            ),
        );
    });
}

fn instant(microseconds: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(microseconds).expect("a time of our century");
    format!("{at:.6}")
}

/// Two's complement in as few bytes as hold the value, as Connect's Decimal does.
fn shortest(value: i64) -> Vec<u8> {
    let all = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let needless =
        all.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) < 0x80).count();
    all[needless..].to_vec()
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
