//! The benchmark's mixed load in three encodings: the same changes each time, as the three converters write them.

use crate::workload;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use base64::Engine as _;
use serde_json::{Value, json};
use silversink::demo::capture::Capture;
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, Column, ColumnType, TableName, TableShape};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Ids of the key's and the value's Avro schema.
pub const IDS: (u32, u32) = (1, 2);

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Avro,
    JsonWithSchema,
    Json,
}

impl Encoding {
    pub const ALL: [Self; 3] = [Self::Avro, Self::Json, Self::JsonWithSchema];

    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::Json => "json",
            Self::JsonWithSchema => "json with schema",
        }
    }
}

/// So many changes, each partition in one stretch, with offsets.
pub fn records(encoding: Encoding, events: usize) -> anyhow::Result<Vec<OwnedRecord>> {
    let mut records = workload::records(&workload::topic(0), events, IDS, 1);
    let mut next: HashMap<i32, i64> = HashMap::new();
    for record in &mut records {
        let offset = next.entry(record.at.partition).or_default();
        record.at.offset = *offset;
        *offset += 1;
    }
    if encoding != Encoding::Avro {
        let (key, value) = workload::schemas()?;
        let key = apache_avro::Schema::parse_str(&key)?;
        let value = apache_avro::Schema::parse_str(&value)?;
        let blocks = match encoding {
            Encoding::JsonWithSchema => Some(schema_blocks()?),
            _ => None,
        };
        for record in &mut records {
            record.key =
                Some(json_of(&key, record.key.as_deref(), blocks.as_ref().map(|b| &*b.0))?);
            record.value =
                Some(json_of(&value, record.value.as_deref(), blocks.as_ref().map(|b| &*b.1))?);
        }
    }
    Ok(records)
}

fn json_of(
    schema: &apache_avro::Schema,
    framed: Option<&[u8]>,
    block: Option<&str>,
) -> anyhow::Result<Vec<u8>> {
    let mut datum = framed.and_then(|bytes| bytes.get(5..)).unwrap_or_default();
    let reader = GenericDatumReader::builder(schema).build()?;
    let value = reader.read_value(&mut datum)?;
    let mut text = String::new();
    match block {
        Some(block) => {
            write!(text, "{{\"schema\":{block},\"payload\":")?;
            write_json(&value, &mut text)?;
            text.push('}');
        }
        None => write_json(&value, &mut text)?,
    }
    Ok(text.into_bytes())
}

fn write_json(value: &Avro, out: &mut String) -> anyhow::Result<()> {
    match value {
        Avro::Null => out.push_str("null"),
        Avro::Int(n) => write!(out, "{n}")?,
        Avro::Long(n) => write!(out, "{n}")?,
        Avro::String(text) => out.push_str(&serde_json::to_string(text)?),
        Avro::Decimal(decimal) => {
            let bytes = <Vec<u8>>::try_from(decimal)?;
            write!(out, "\"{}\"", base64::prelude::BASE64_STANDARD.encode(bytes))?;
        }
        Avro::Union(_, inner) => write_json(inner, out)?,
        Avro::Record(fields) => {
            for (at, (name, field)) in fields.iter().enumerate() {
                write!(out, "{}\"{name}\":", if at == 0 { '{' } else { ',' })?;
                write_json(field, out)?;
            }
            out.push('}');
        }
        other => anyhow::bail!("no JSON for {other:?}"),
    }
    Ok(())
}

/// The schema blocks of key and value: captured ones, with the columns of the benchmark's table in them.
fn schema_blocks() -> anyhow::Result<(String, String)> {
    let capture = Capture::open(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/debezium/shop"))?;
    let captured = capture.records("json")?;
    let orders = captured.iter().find(|record| record.at.topic == "shop.public.orders");
    let orders = orders.ok_or_else(|| anyhow::anyhow!("no captured order"))?;
    let block = |bytes: Option<&Vec<u8>>| -> anyhow::Result<Value> {
        let bytes = bytes.ok_or_else(|| anyhow::anyhow!("a captured half is missing"))?;
        Ok(serde_json::from_slice::<Value>(bytes)?["schema"].take())
    };
    let (mut key, mut value) = (block(orders.key.as_ref())?, block(orders.value.as_ref())?);
    key["fields"][0]["field"] = json!("order_id");
    for image in 0..2 {
        value["fields"][image]["fields"] = columns();
    }
    Ok((key.to_string(), value.to_string()))
}

fn columns() -> Value {
    let plain = |ty, name| json!({"type": ty, "optional": name != "order_id", "field": name});
    let instant = |name| json!({"type": "string", "optional": true, "name": "io.debezium.time.ZonedTimestamp", "version": 1, "field": name});
    json!([
        plain("int64", "order_id"),
        plain("int64", "customer_id"),
        plain("int32", "store_id"),
        {"type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
         "parameters": {"scale": "2", "connect.decimal.precision": "12"}, "field": "order_amount"},
        plain("string", "status"),
        instant("created_at"),
        instant("updated_at"),
        plain("string", "note"),
    ])
}

/// The Silver table.
pub fn shape() -> TableShape {
    let columns = [
        ("order_id", 20, -1, "bigint"),
        ("customer_id", 20, -1, "bigint"),
        ("store_id", 23, -1, "integer"),
        ("order_amount", 1700, (12 << 16 | 2) + 4, "numeric(12,2)"),
        ("status", 25, -1, "text"),
        ("created_at", 1184, -1, "timestamp with time zone"),
        ("updated_at", 1184, -1, "timestamp with time zone"),
        ("note", 25, -1, "text"),
    ];
    let column = |(name, oid, typmod, sql): (&str, u32, i32, &str)| Column {
        name: name.to_owned(),
        ty: ColumnType {
            oid,
            base_oid: oid,
            element_oid: 0,
            typtype: 'b',
            base_typtype: 'b',
            base_name: String::new(),
            typmod,
            sql: sql.to_owned(),
        },
        not_null: name == "order_id",
        generated: false,
        identity_always: false,
    };
    TableShape {
        table: TableName::new("silver", "orders_0"),
        columns: columns.into_iter().map(column).collect(),
        generated: Vec::new(),
        key: vec![0],
        bookkeeping: Bookkeeping::default(),
    }
}
