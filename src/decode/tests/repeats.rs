//! What a decoder remembers of the record before changes nothing but the time it takes.

use super::capture::{Capture, Worker, table_of};
use crate::decode::Decoded;
use crate::decode::avro::{Memo, Sink};
use crate::decode::facts::{Block, Facts};
use crate::decode::json::template::Templates;
use crate::decode::json::walk::{Role, Walk};
use crate::decode::plan::{SchemaText, describe};
use crate::decode::schema::describe::ValueWalk;
use crate::decode::slot::{Scratch, Slot};
use crate::record::OwnedRecord;
use fastrand::Rng;
use std::sync::Arc;

/// Records of a topic that are compared.
const RECORDS: usize = 60;
/// Damaged forms of each.
const DAMAGED: usize = 2;

/// A decoder that remembers, and one that forgets before every record.
struct Twins {
    remembers: Worker,
    forgets: Worker,
}

impl Twins {
    fn compare(&mut self, record: &OwnedRecord) -> bool {
        self.forgets.decoder.forget_plans();
        let (warm, cold) = (self.remembers.decode(record), self.forgets.decode(record));
        assert_eq!(warm, cold, "{}", record.at);
        let is_change = matches!(warm, Decoded::Change(_));
        if is_change {
            assert_eq!(self.remembers.row(), self.forgets.row(), "{}", record.at);
        }
        is_change
    }
}

/// The value with a byte changed, lost, doubled or added, or cut off.
fn damage(value: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut value = value.to_vec();
    // Not the schema: that would be another plan.
    let payload = value.windows(9).position(|w| w == b"\"payload\"").map_or(5, |at| at + 10);
    let at = rng.usize(payload.min(value.len() - 1)..value.len());
    match rng.u8(0..6) {
        0 => value[at] = rng.u8(..),
        1 => value[at] ^= 1,
        2 => drop(value.remove(at)),
        3 => value.insert(at, value[at]),
        4 => value.insert(at, b' '),
        _ => value.truncate(at),
    }
    value
}

fn compare(encoding: &str) {
    let capture = Capture::load("shop", encoding);
    let mut rng = Rng::with_seed(7);
    for (table, shape) in &capture.shapes {
        let worker = || Worker::new(Arc::clone(shape), capture.registry.clone());
        let mut twins = Twins { remembers: worker(), forgets: worker() };
        let records: Vec<_> = capture.records.iter().filter(|r| table_of(r) == table).collect();
        let (mut taken, mut refused) = (0, 0);
        for record in records.iter().skip(rng.usize(..100)).step_by(3).take(RECORDS) {
            taken += usize::from(twins.compare(record));
            let Some(value) = &record.value else { continue };
            for _ in 0..DAMAGED {
                let value = Some(damage(value, &mut rng));
                refused += usize::from(!twins.compare(&OwnedRecord { value, ..(*record).clone() }));
            }
        }
        assert!(taken > RECORDS / 2 && refused > RECORDS / 2, "{taken} taken, {refused} refused");
    }
}

#[test]
fn avro_is_read_alike_with_and_without_the_record_before() {
    compare("avro");
    compare("flat-avro");
}

#[test]
fn json_is_read_alike_with_and_without_the_record_before() {
    compare("json");
    compare("json-plain");
    compare("flat-json");
}

/// Streamed changes of the orders, in the order of the topic.
fn orders(encoding: &str) -> (Capture, Vec<Vec<u8>>) {
    let mut capture = Capture::load("shop", encoding);
    let records = std::mem::take(&mut capture.records);
    let of_orders = records.into_iter().filter(|record| table_of(record) == "orders");
    let values = of_orders.filter_map(|record| record.value).collect();
    (capture, values)
}

#[test]
fn most_avro_records_have_the_source_of_the_one_before() {
    let (capture, values) = orders("avro");
    let id = values[0][1..5].try_into().unwrap();
    let text = &capture.registry[&u32::from_be_bytes(id)];
    let schema = describe(SchemaText::None, SchemaText::Avro(text)).unwrap();
    let ValueWalk::Avro(walk) = &schema.value_walk else { panic!("no Avro walk") };
    let (mut memo, mut same) = (Memo::default(), 0);
    for value in &values {
        let (mut facts, mut row) = (Facts::default(), vec![Slot::Absent; schema.row.len()]);
        let sink = &mut Sink { facts: &mut facts, row: &mut row, memo: Some(&memo) };
        assert!(walk.datum.read_all(&value[5..], sink).unwrap());
        match facts.block {
            Block::New { from_end, length } => {
                let block = &value[value.len() - from_end..][..length];
                walk.datum.source().unwrap().learn(block, &mut memo);
            }
            Block::Same => same += 1,
            Block::Unknown => panic!("no source block"),
        }
    }
    assert!(same * 100 > values.len() * 95, "{same} of {}", values.len());
}

#[test]
fn most_json_records_have_the_texts_of_the_one_before() {
    let (capture, values) = orders("json-plain");
    let columns = capture.shapes["orders"].columns.iter();
    let names: Vec<Box<str>> = columns.map(|column| column.name.as_str().into()).collect();
    let (mut templates, mut followed) = (Templates::default(), 0);
    for value in &values {
        let (mut facts, mut scratch) = (Facts::default(), Scratch::default());
        let mut row = vec![Slot::Absent; names.len()];
        let mut walk = Walk::new(&names, &mut facts, &mut row, &mut scratch);
        walk.templates = Some(&templates);
        assert!(walk.read(value, Role::Envelope).unwrap());
        if walk.missed {
            templates.learn(value, Role::Envelope, &names);
        } else {
            templates.followed();
            followed += 1;
        }
    }
    assert!(followed * 100 > values.len() * 95, "{followed} of {}", values.len());
}

/// A schema of JSON may give two columns one name; their order tells them apart.
#[test]
fn columns_of_one_name_are_no_template() {
    let names: Vec<Box<str>> = ["id", "a", "a"].map(Into::into).into();
    let value = br#"{"before":null,"after":{"id":1,"a":2,"a":3},"op":"c"}"#;
    let mut templates = Templates::default();
    let read = |templates: &Templates| {
        let (mut facts, mut scratch) = (Facts::default(), Scratch::default());
        let mut row = vec![Slot::Absent; names.len()];
        let mut walk = Walk::new(&names, &mut facts, &mut row, &mut scratch);
        walk.templates = Some(templates);
        assert!(walk.read(value, Role::Envelope).unwrap());
        format!("{row:?}")
    };
    let cold = read(&templates);
    templates.learn(value, Role::Envelope, &names);
    assert_eq!(read(&templates), cold);
}

/// A source block in which a field that repeats is no text is read anew each time, but no longer learnt.
#[test]
fn a_source_without_texts_is_given_up() {
    let text = r#"{"type":"record","name":"Envelope","fields":[
        {"name":"before","type":["null",{"type":"record","name":"Value","fields":[{"name":"id","type":"int"}]}]},
        {"name":"after","type":["null","Value"]},
        {"name":"source","type":{"type":"record","name":"Source","fields":[
            {"name":"connector","type":"string"},{"name":"snapshot","type":"boolean"}]}},
        {"name":"op","type":"string"}]}"#;
    let schema = describe(SchemaText::None, SchemaText::Avro(text)).unwrap();
    let ValueWalk::Avro(walk) = &schema.value_walk else { panic!("no Avro walk") };
    let value = [0, 2, 2, 2, b'p', 1, 2, b'c'];
    let read = |memo: &Memo| {
        let (mut facts, mut row) = (Facts::default(), vec![Slot::Absent; schema.row.len()]);
        let sink = &mut Sink { facts: &mut facts, row: &mut row, memo: Some(memo) };
        assert!(walk.datum.read_all(&value, sink).unwrap());
        facts.block
    };
    let mut memo = Memo::default();
    assert_eq!(read(&memo), Block::New { from_end: 5, length: 3 });
    walk.datum.source().unwrap().learn(&value[3..6], &mut memo);
    assert_eq!(read(&memo), Block::Unknown);
}
