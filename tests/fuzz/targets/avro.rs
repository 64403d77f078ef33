//! Schema and datum both from the input (the text up to the first zero byte, the bytes behind it): what is accepted has
//! exactly one end, and what is nested can be visited.

use super::shapes;
use silversink::config::{Format, Table};
use silversink::decode::avro::Sink;
use silversink::decode::facts::Facts;
use silversink::decode::plan::{self, SchemaText, describe};
use silversink::decode::schema::describe::{AvroWalk, ValueWalk};
use silversink::decode::slot::{NestedReader, Scratch, Slot};
use silversink::decode::{Decoded, PlanNeed, RowBuffer, SchemaId, TopicDecoder};
use silversink::fault::{Class, Fault};
use silversink::record::{NoHeaders, RawRecord};
use std::sync::Arc;

pub fn check(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == 0) else { return };
    let (text, datum) = (&data[..end], &data[end + 1..]);
    let Ok(text) = std::str::from_utf8(text) else { return };
    // As key the same text must not panic either.
    drop(describe(SchemaText::Avro(text), SchemaText::None));
    let Ok(schema) = describe(SchemaText::None, SchemaText::Avro(text)) else { return };
    if let ValueWalk::Avro(walk) = &schema.value_walk {
        let columns = schema.row.len();
        if accepts(walk, columns, datum) {
            let longer = [datum, &[0]].concat();
            assert!(!accepts(walk, columns, &longer), "a byte more is accepted as well");
            for end in 0..datum.len() {
                assert!(!accepts(walk, columns, &datum[..end]), "{end} bytes are accepted as well");
            }
        }
    }
    through_a_plan(text, datum);
}

/// Whether the datum follows its schema; then what is nested in its columns is visited to the leaves.
fn accepts(walk: &AvroWalk, columns: usize, datum: &[u8]) -> bool {
    let mut row = vec![Slot::Absent; columns];
    let mut facts = Facts::default();
    if walk
        .datum
        .read_all(datum, &mut Sink { facts: &mut facts, row: &mut row, memo: None })
        .is_err()
    {
        return false;
    }
    for (slot, node) in row.iter().zip(&walk.nodes) {
        drop(node.symbol(*slot).and_then(|slot| visit(&slot, node)));
    }
    true
}

fn visit(slot: &Slot<'_>, reader: &dyn NestedReader) -> Result<(), Fault> {
    let Slot::Nested(bytes) = slot else { return Ok(()) };
    reader.each(bytes, &mut |_, slot, reader| visit(slot, reader))
}

/// The datum as the worker would decode it, into a table made from its own schema.
fn through_a_plan(text: &str, datum: &[u8]) {
    let Ok(schema) = describe(SchemaText::None, SchemaText::Avro(text)) else { return };
    let Some(first) = schema.row.first() else { return };
    let overrides = Table { key: Some(vec![first.name.clone()]), ..Table::default() };
    let Ok(columns) = plan::propose(&schema, &overrides) else { return };
    let shape = Arc::new(shapes::table(columns.into_iter().map(|c| (c.name, c.sql_type))));
    let Ok(plan) = plan::compile(&schema, Arc::clone(&shape), &overrides) else { return };
    let mut decoder = TopicDecoder::new(Format::Avro, overrides);
    let value = [&[0, 0, 0, 0, 1], datum].concat();
    let record = RawRecord {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms: Some(0),
        key: None,
        value: Some(&value),
        headers: &NoHeaders,
    };
    let (mut scratch, mut row) = (Scratch::default(), RowBuffer::default());
    let Decoded::NeedsPlan(need) = decoder.decode(&record, &mut scratch, &mut row) else {
        panic!("a plan that nobody installed")
    };
    assert!(matches!(need, PlanNeed { key: SchemaId::None, value: SchemaId::Avro(_) }));
    decoder.install(&need, Arc::new(plan));
    match decoder.decode(&record, &mut scratch, &mut row) {
        Decoded::Change(_) if row.body.is_empty() => {}
        Decoded::Change(_) => shapes::assert_fields(&row.body, shape.columns.len()),
        Decoded::NewTable(_) => unreachable!("the decoder has one table"),
        Decoded::Poison(fault) => assert!(matches!(fault.class, Class::Poison | Class::Blocked)),
        Decoded::Skip(_) => {}
        Decoded::NeedsPlan(need) => panic!("asked twice for {need:?}"),
    }
}
