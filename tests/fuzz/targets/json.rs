//! Two JSON records (key, value, key, value, with zero bytes between): the second means the same to a decoder that has
//! seen the first and to one that has not.

use super::shapes;
use silversink::config::{Format, Table};
use silversink::decode::plan::{self, SchemaText, describe};
use silversink::decode::slot::Scratch;
use silversink::decode::{Decoded, PlanNeed, RowBuffer, SchemaId, TopicDecoder};
use silversink::fault::Class;
use silversink::record::{NoHeaders, RawRecord};
use silversink::table::TableShape;
use std::sync::Arc;

/// The table of records without schema.
const COLUMNS: [(&str, &str); 11] = [
    ("id", "bigint"),
    ("a", "text"),
    ("n", "numeric"),
    ("m", "numeric(10,2)"),
    ("d", "double precision"),
    ("f", "real"),
    ("j", "jsonb"),
    ("b", "boolean"),
    ("y", "bytea"),
    ("t", "timestamptz"),
    ("l", "text[]"),
];

pub fn check(data: &[u8]) {
    let parts: Vec<&[u8]> = data.splitn(4, |byte| *byte == 0).collect();
    let record = |at: usize| {
        let half = |at: usize| parts.get(at).copied().filter(|bytes: &&[u8]| !bytes.is_empty());
        (half(at), half(at + 1))
    };
    let mut warm = TopicDecoder::new(Format::Json, Table::default());
    drop(decode(&mut warm, record(0)));
    // The plan of the first record may serve a tombstone of the second, so both get what they ask for.
    let after_first = decode(&mut warm, record(2));
    let alone = decode(&mut TopicDecoder::new(Format::Json, Table::default()), record(2));
    if !matches!((&alone.0, record(2)), (Decoded::Poison(_), _) | (_, (_, None) | (None, _))) {
        assert_eq!(after_first, alone);
    }
    assert_eq!(decode(&mut warm, record(2)), after_first, "the same record twice");
}

fn decode(
    decoder: &mut TopicDecoder,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
) -> (Decoded, Vec<u8>, Vec<u8>) {
    let record = RawRecord {
        topic: "t",
        partition: 0,
        offset: 7,
        timestamp_ms: Some(0),
        key,
        value,
        headers: &NoHeaders,
    };
    let (mut scratch, mut row) = (Scratch::default(), RowBuffer::default());
    let mut decoded = decoder.decode(&record, &mut scratch, &mut row);
    if let Decoded::NeedsPlan(need) = &decoded {
        provide(decoder, need);
        decoded = decoder.decode(&record, &mut scratch, &mut row);
    }
    match &decoded {
        Decoded::NeedsPlan(need) => panic!("asked twice for {need:?}"),
        Decoded::NewTable(_) => unreachable!("the decoder has one table"),
        Decoded::Poison(fault) => assert!(matches!(fault.class, Class::Poison | Class::Blocked)),
        Decoded::Change(_) | Decoded::Skip(_) => {}
    }
    if matches!(decoded, Decoded::Change(_)) {
        (decoded, row.key, row.body)
    } else {
        (decoded, Vec::new(), Vec::new())
    }
}

fn provide(decoder: &mut TopicDecoder, need: &PlanNeed) {
    let schema = match describe(text(&need.key), text(&need.value)) {
        Ok(schema) => schema,
        Err(fault) => return decoder.refuse(need, fault),
    };
    let overrides = Table::default();
    let shape: Arc<TableShape> = match plan::propose(&schema, &overrides) {
        Ok(mut columns) if !columns.is_empty() => {
            columns.sort_by_key(|column| column.key.unwrap_or(usize::MAX));
            let mut shape = shapes::table(
                columns.iter().map(|column| (column.name.clone(), column.sql_type.clone())),
            );
            shape.key = (0..columns.iter().filter(|column| column.key.is_some()).count()).collect();
            Arc::new(shape)
        }
        _ => Arc::new(shapes::table(COLUMNS.map(|(name, sql)| (name.to_owned(), sql.to_owned())))),
    };
    match plan::compile(&schema, shape, &overrides) {
        Ok(plan) => decoder.install(need, Arc::new(plan)),
        Err(mismatches) => decoder.refuse(
            need,
            silversink::fault::Fault::poison(
                silversink::fault::Code::SchemaUnusable,
                format!("{mismatches:?}"),
            ),
        ),
    }
}

fn text(id: &SchemaId) -> SchemaText<'_> {
    match id {
        SchemaId::ConnectJson(text) => SchemaText::ConnectJson(text),
        SchemaId::Schemaless => SchemaText::Schemaless,
        SchemaId::None => SchemaText::None,
        SchemaId::Avro(_) => panic!("Avro where the format is JSON"),
    }
}
