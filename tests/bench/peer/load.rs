//! The events of a run as a PostgreSQL connector leaves them in a topic, and what they mean for their rows.

use crate::workload;
use anyhow::{Context, bail};
use apache_avro::Schema;
use apache_avro::types::Value;
use num_bigint::BigInt;
use silversink::record::OwnedRecord;
use std::collections::HashMap;

/// Row columns behind the key, in the order of the table.
const COLUMNS: [&str; 7] =
    ["customer_id", "store_id", "order_amount", "status", "created_at", "updated_at", "note"];

/// What Debezium puts on every record; a tombstone has them too.
const HEADERS: [(&str, &str); 4] = [
    ("__debezium.context.connectorLogicalName", "bench"),
    ("__debezium.context.taskId", "0"),
    ("__debezium.context.connectorName", "postgresql"),
    ("__debezium.context.runId", "019aa6d2-5a54-7c3e-9d70-2f6f4c1f2b11"),
];

/// Rows that the tables hold before a run; also the range that updates and deletes hit.
pub const PREFILLED: i64 = workload::PREFILLED;

/// Schemas of key and value.
pub fn schemas() -> anyhow::Result<(String, String)> {
    workload::schemas()
}

/// The mixed load in the order of the source. `ids` are those of the schemas.
fn mixed(count: usize, ids: (u32, u32)) -> anyhow::Result<Vec<OwnedRecord>> {
    let mut records = workload::records("", count, ids, 0);
    records.sort_by_key(|record| record.timestamp_ms);
    Ok(records)
}

/// One change, decoded by the plain Avro library so that neither side's decoder has a say in what is expected.
pub struct Event {
    pub id: i64,
    pub is_delete: bool,
    /// The row afterwards as one line of CSV, the amount in hundredths; none behind a delete.
    pub row: Option<String>,
    record: OwnedRecord,
}

/// Events in their order; each partition's last one deletes a row that is live until then.
pub struct Load {
    pub events: Vec<Event>,
    /// Keys of the last events of even and of odd keys. When both rows are gone, everything is settled: a sink writes the
    /// records of a partition in order, and deletes of a batch behind its upserts.
    pub last: [i64; 2],
}

impl Load {
    /// `count` events, less the few behind the last fitting deletes.
    pub fn make(count: usize, ids: (u32, u32)) -> anyhow::Result<Self> {
        let (key, value) = schemas()?;
        let (key, value) = (Schema::parse_str(&key)?, Schema::parse_str(&value)?);
        let mut events = mixed(count, ids)?
            .into_iter()
            .map(|record| event(record, &key, &value))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let last = cut(&mut events)?;
        Ok(Self { events, last })
    }

    /// What goes to a topic: with the connector's headers, a tombstone behind each delete, and even keys in partition 0,
    /// odd ones in partition 1 when there are two.
    pub fn records(&self, topic: &str, partitions: i32) -> impl Iterator<Item = OwnedRecord> {
        self.events.iter().flat_map(move |event| {
            let mut record = event.record.clone();
            topic.clone_into(&mut record.at.topic);
            record.at.partition = partition(event.id, partitions);
            record.headers = HEADERS
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
                .collect();
            let tombstone = event.is_delete.then(|| OwnedRecord { value: None, ..record.clone() });
            std::iter::once(record).chain(tombstone)
        })
    }

    /// Number of events that are written when these are the newest inserted even and odd keys.
    pub fn written(&self, newest: [Option<i64>; 2], partitions: i32) -> usize {
        let through = |newest: Option<i64>, counted: &dyn Fn(i64) -> bool| {
            let until = newest.and_then(|id| self.events.iter().position(|event| event.id == id));
            let written = until.and_then(|until| self.events.get(..=until)).unwrap_or_default();
            written.iter().filter(|event| counted(event.id)).count()
        };
        if partitions == 1 {
            through(newest.into_iter().flatten().max(), &|_| true)
        } else {
            through(newest[0], &|id| id % 2 == 0) + through(newest[1], &|id| id % 2 == 1)
        }
    }
}

fn partition(id: i64, partitions: i32) -> i32 {
    i32::from(partitions == 2 && id % 2 == 1)
}

/// Drops events from the end until the last one of the even keys and the last one of the odd keys each delete a live row.
fn cut(events: &mut Vec<Event>) -> anyhow::Result<[i64; 2]> {
    let mut gone: HashMap<i64, bool> = HashMap::new();
    let fits: Vec<bool> = events
        .iter()
        .map(|event| {
            let was_gone = gone.insert(event.id, event.is_delete).unwrap_or(false);
            event.is_delete && !was_gone
        })
        .collect();
    let mut last = [0; 2];
    let mut ends = [0; 2];
    for (parity, (id, end)) in (0_i64..).zip(last.iter_mut().zip(ends.iter_mut())) {
        let found = events.iter().zip(&fits).rposition(|(e, fits)| *fits && e.id % 2 == parity);
        *end = found.context("too few events: no delete among them")?;
        *id = events[*end].id;
    }
    let mut at = 0;
    events.retain(|event| {
        at += 1;
        at - 1 <= ends[usize::from(event.id % 2 == 1)]
    });
    Ok(last)
}

fn event(record: OwnedRecord, key: &Schema, value: &Schema) -> anyhow::Result<Event> {
    let key = fields(decoded(record.key.as_deref(), key)?)?;
    let mut envelope = fields(decoded(record.value.as_deref(), value)?)?;
    let id = match key.get("order_id") {
        Some(Value::Long(id)) => *id,
        other => bail!("the key is {other:?}"),
    };
    let is_delete = match envelope.get("op") {
        Some(Value::String(op)) => op == "d",
        other => bail!("the op is {other:?}"),
    };
    let row = match envelope.remove("after") {
        Some(Value::Union(_, after)) if !is_delete => Some(line(id, &fields(*after)?)?),
        _ => None,
    };
    Ok(Event { id, is_delete, row, record })
}

/// Behind the frame of magic byte and schema id.
fn decoded(framed: Option<&[u8]>, schema: &Schema) -> anyhow::Result<Value> {
    let mut body = framed.and_then(|bytes| bytes.get(5..)).context("a record without a frame")?;
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(schema).build()?;
    Ok(reader.read_value(&mut body)?)
}

fn fields(value: Value) -> anyhow::Result<HashMap<String, Value>> {
    match value {
        Value::Record(fields) => Ok(fields.into_iter().collect()),
        other => bail!("a record was expected, not {other:?}"),
    }
}

fn line(id: i64, row: &HashMap<String, Value>) -> anyhow::Result<String> {
    let mut line = id.to_string();
    for column in COLUMNS {
        let value = match row.get(column) {
            Some(Value::Union(_, value)) => value.as_ref(),
            other => bail!("column {column} is {other:?}"),
        };
        line.push(',');
        match value {
            Value::Long(number) => line.push_str(&number.to_string()),
            Value::Int(number) => line.push_str(&number.to_string()),
            Value::Decimal(number) => line.push_str(&BigInt::from(number.clone()).to_string()),
            Value::String(text) => line.push_str(&format!("\"{}\"", text.replace('"', "\"\""))),
            other => bail!("column {column} holds {other:?}"),
        }
    }
    line.push('\n');
    Ok(line)
}
