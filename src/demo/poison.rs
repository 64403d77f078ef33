//! Makes records that can never be applied out of captured ones, each with the code it must end under.

use crate::demo::capture::{CapturedSchema, SourceTable};
use crate::fault::{Class, Code, Fault};
use crate::record::{Coordinates, OwnedRecord};
use apache_avro::Schema;
use apache_avro::types::Value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// Bytes in front of Avro: the magic byte and the schema id.
const HEADER: usize = 5;

/// A schema id that no registry of ours knows.
pub const UNKNOWN_SCHEMA_ID: u32 = 999_999;

/// Unscaled bytes of a number with 38 digits: no numeric column of a capture holds it.
const HUGE: [u8; 16] = [
    0x4b, 0x3b, 0x4c, 0xa8, 0x5a, 0x86, 0xc4, 0x7a, 0x09, 0x8a, 0x22, 0x3f, 0xff, 0xff, 0xff, 0xff,
];

/// A record that must end as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// What is wrong with it, for people.
    pub label: &'static str,
    /// The code it must end under.
    pub code: Code,
    /// The record.
    pub record: OwnedRecord,
}

/// Captured records among poison, offsets dense from 0 in each partition.
#[derive(Clone, Debug)]
pub struct Sprinkled {
    /// Every record in the order of production.
    pub records: Vec<OwnedRecord>,
    /// Where the poison stands and what it must end under.
    pub poison: Vec<(Coordinates, Code)>,
}

/// One record of each kind of poison that the encoding of `template` can have.
///
/// `template` is an insert, update or snapshot record in an envelope (Avro, or JSON with or without schema) of `table`;
/// `schemas` are the capture's. Every poison has the template's topic and key, so that one that was applied by mistake
/// would be seen in that row.
///
/// # Errors
/// Fatal when the template is none: no envelope with an `after`, a schema that the capture does not hold.
pub fn poison(
    template: &OwnedRecord,
    table: &SourceTable,
    schemas: &BTreeMap<u32, CapturedSchema>,
) -> Result<Vec<Poison>, Fault> {
    let value = template.value.as_deref().ok_or_else(|| unfit(template, "has no value"))?;
    if value.first() == Some(&0) {
        avro(template, value, table, schemas)
    } else {
        json(template, value, table)
    }
}

/// Puts the poison of each topic among that topic's records at even distances, and renumbers the offsets.
#[must_use]
pub fn sprinkle(records: Vec<OwnedRecord>, poison: Vec<Poison>) -> Sprinkled {
    let mut waiting: BTreeMap<(String, i32), Vec<Poison>> = BTreeMap::new();
    for one in poison.into_iter().rev() {
        let partition = (one.record.at.topic.clone(), one.record.at.partition);
        waiting.entry(partition).or_default().push(one);
    }
    let mut lengths: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for record in &records {
        *lengths.entry((record.at.topic.clone(), record.at.partition)).or_default() += 1;
    }
    let distance = |partition: &(String, i32), poison: &Vec<Poison>| {
        lengths.get(partition).map_or(1, |length| (length / (poison.len() + 1)).max(1))
    };
    let distances: BTreeMap<(String, i32), usize> =
        waiting.iter().map(|(at, poison)| (at.clone(), distance(at, poison))).collect();

    let mut log = Log::default();
    let mut seen: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for record in records {
        let partition = (record.at.topic.clone(), record.at.partition);
        log.append(record, None);
        let seen = seen.entry(partition.clone()).or_default();
        *seen += 1;
        let due = distances.get(&partition).is_some_and(|distance| seen.is_multiple_of(*distance));
        if let Some(one) = waiting.get_mut(&partition).filter(|_| due).and_then(Vec::pop) {
            log.append(one.record, Some(one.code));
        }
    }
    // Topics shorter than their poison, or without any captured record.
    for one in waiting.into_values().flat_map(|rest| rest.into_iter().rev()) {
        log.append(one.record, Some(one.code));
    }
    Sprinkled { records: log.records, poison: log.poison }
}

#[derive(Default)]
struct Log {
    next: BTreeMap<(String, i32), i64>,
    records: Vec<OwnedRecord>,
    poison: Vec<(Coordinates, Code)>,
}

impl Log {
    fn append(&mut self, mut record: OwnedRecord, code: Option<Code>) {
        let next = self.next.entry((record.at.topic.clone(), record.at.partition)).or_default();
        record.at.offset = *next;
        *next += 1;
        self.poison.extend(code.map(|code| (record.at.clone(), code)));
        self.records.push(record);
    }
}

fn avro(
    template: &OwnedRecord,
    value: &[u8],
    table: &SourceTable,
    schemas: &BTreeMap<u32, CapturedSchema>,
) -> Result<Vec<Poison>, Fault> {
    let (header, body) =
        value.split_at_checked(HEADER).ok_or_else(|| unfit(template, "is too short"))?;
    let id = header.iter().skip(1).fold(0, |id: u32, byte| id << 8 | u32::from(*byte));
    let captured = schemas.get(&id).ok_or_else(|| unfit(template, "names an unknown schema"))?;
    let schema = Schema::parse_str(&captured.schema)
        .map_err(|_| unfit(template, "has a schema that cannot be parsed"))?;
    let decoded = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
        .build()
        .and_then(|reader| reader.read_value(&mut &*body))
        .map_err(|_| unfit(template, "does not follow its schema"))?;
    let rewritten = |edit: &dyn Fn(&mut Fields) -> Option<()>| {
        let mut value = decoded.clone();
        let Value::Record(fields) = &mut value else {
            return Err(unfit(template, "is no envelope"));
        };
        edit(fields).ok_or_else(|| unfit(template, "is no envelope with an after"))?;
        let body = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
            .build()
            .and_then(|writer| writer.write_value_to_vec(value))
            .map_err(|_| unfit(template, "cannot be written back"))?;
        Ok([header, &body].concat())
    };

    let noise: Vec<u8> = header.iter().copied().chain(noise()).collect();
    let magic: Vec<u8> = std::iter::once(0x7f).chain(value.iter().skip(1).copied()).collect();
    let unknown = [&[0], UNKNOWN_SCHEMA_ID.to_be_bytes().as_slice(), body].concat();
    let truncated = value.get(..HEADER + body.len() / 2).unwrap_or(header).to_vec();
    let empty = rewritten(&|fields| {
        let after = field(fields, "after")?;
        let Value::Union(branch, _) = after else { return None };
        // The other branch of the two is null.
        *after = Value::Union(1_u32.checked_sub(*branch)?, Box::new(Value::Null));
        Some(())
    })?;
    let mut all = vec![
        with_value(template, "random bytes", Code::Undecodable, noise),
        with_value(template, "unknown magic byte", Code::UnknownMagicByte, magic),
        with_value(template, "schema id the registry denies", Code::SchemaUnknown, unknown),
        with_value(template, "truncated Avro", Code::Undecodable, truncated),
        without_key(template),
        with_value(template, "write without its row", Code::EnvelopeInvalid, empty),
    ];
    if let Some(column) = numeric_column(table) {
        let huge = rewritten(&|fields| {
            let Value::Union(_, row) = field(fields, "after")? else { return None };
            let Value::Record(columns) = row.as_mut() else { return None };
            let huge = Value::Decimal(apache_avro::Decimal::from(HUGE));
            match field(columns, column)? {
                Value::Union(_, inner) => **inner = huge,
                plain => *plain = huge,
            }
            Some(())
        })?;
        all.push(with_value(template, "number beyond its column", Code::ValueOutOfRange, huge));
    }
    Ok(all)
}

/// The fields of an Avro record.
type Fields = Vec<(String, Value)>;

fn field<'f>(fields: &'f mut [(String, Value)], name: &str) -> Option<&'f mut Value> {
    fields.iter_mut().find(|(n, _)| n == name).map(|(_, value)| value)
}

fn json(template: &OwnedRecord, value: &[u8], table: &SourceTable) -> Result<Vec<Poison>, Fault> {
    let decoded: serde_json::Value =
        serde_json::from_slice(value).map_err(|_| unfit(template, "is no JSON"))?;
    let rewritten = |edit: &dyn Fn(&mut serde_json::Value) -> Option<()>| {
        let mut value = decoded.clone();
        let with_schema = value.get("payload").is_some();
        let envelope = if with_schema { value.get_mut("payload") } else { Some(&mut value) };
        envelope.and_then(edit).ok_or_else(|| unfit(template, "is no envelope with an after"))?;
        Ok::<_, Fault>(value.to_string().into_bytes())
    };

    let half = value.get(..value.len() / 2).unwrap_or_default().to_vec();
    let magic: Vec<u8> = std::iter::once(0x7f).chain(noise()).collect();
    let empty = rewritten(&|envelope| {
        *envelope.get_mut("after")? = serde_json::Value::Null;
        Some(())
    })?;
    let mut all = vec![
        with_value(template, "unknown magic byte", Code::UnknownMagicByte, magic),
        with_value(template, "no JSON", Code::Undecodable, br#"{"before":null,after:}"#.to_vec()),
        with_value(template, "truncated JSON", Code::Undecodable, half),
        without_key(template),
        with_value(template, "write without its row", Code::EnvelopeInvalid, empty),
    ];
    if let Some(column) = numeric_column(table) {
        let huge = rewritten(&|envelope| {
            *envelope.get_mut("after")?.get_mut(column)? = STANDARD.encode(HUGE).into();
            Some(())
        })?;
        all.push(with_value(template, "number beyond its column", Code::ValueOutOfRange, huge));
    }
    Ok(all)
}

/// The first column of a bounded numeric type: `numeric(10,2)`.
fn numeric_column(table: &SourceTable) -> Option<&str> {
    let column = table.columns.iter().find(|column| column.ty.starts_with("numeric("))?;
    Some(&column.name)
}

/// Bytes that no Avro schema can read: a varint that does not end in ten bytes, and then a mixture.
fn noise() -> impl Iterator<Item = u8> {
    let mixture = (0..48_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    std::iter::repeat_n(0xff, 16).chain(mixture)
}

fn with_value(template: &OwnedRecord, label: &'static str, code: Code, value: Vec<u8>) -> Poison {
    let record = OwnedRecord { value: Some(value), ..template.clone() };
    Poison { label, code, record }
}

fn without_key(template: &OwnedRecord) -> Poison {
    let record = OwnedRecord { key: None, ..template.clone() };
    Poison { label: "no key", code: Code::KeyMissing, record }
}

fn unfit(template: &OwnedRecord, why: &str) -> Fault {
    let text = format!("making poison from the record {}: it {why}", template.at);
    Fault::new(Class::Fatal, Code::Internal, text)
}

#[cfg(test)]
#[path = "poison_tests.rs"]
mod tests;
