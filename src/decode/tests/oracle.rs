//! What the apache-avro crate writes, this decoder reads.

use crate::decode::avro::Sink;
use crate::decode::facts::Facts;
use crate::decode::plan::{SchemaText, describe};
use crate::decode::schema::describe::ValueWalk;
use crate::decode::slot::{NestedReader, Slot};
use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use std::collections::HashMap;

const TEXT: &str = r#"{"type":"record","name":"Row","namespace":"n","fields":[
    {"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},
    {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"y","type":"bytes"},
    {"name":"x","type":{"type":"fixed","name":"Four","size":4}},
    {"name":"e","type":{"type":"enum","name":"Colour","symbols":["RED","GREEN","BLUE"]}},
    {"name":"first","type":["null","long"]},{"name":"second","type":["string","null"]},
    {"name":"list","type":{"type":"array","items":["null","int"]}},
    {"name":"map","type":{"type":"map","values":"string"}},
    {"name":"inner","type":["null",{"type":"record","name":"Inner","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}]},
    {"name":"again","type":["Inner","null"]}]}"#;

#[derive(Debug, Clone)]
struct Row {
    scalars: (bool, i32, i64, f32, f64),
    texts: (String, Vec<u8>, [u8; 4], u32),
    first: Option<i64>,
    second: Option<String>,
    list: Vec<Option<i32>>,
    map: HashMap<String, String>,
    inner: Option<(i32, Vec<u8>)>,
}

fn rows() -> impl Strategy<Value = Row> {
    (
        any::<(bool, i32, i64, f32, f64)>(),
        (any::<String>(), any::<Vec<u8>>(), any::<[u8; 4]>(), 0_u32..3),
        any::<Option<i64>>(),
        any::<Option<String>>(),
        prop::collection::vec(any::<Option<i32>>(), 0..5),
        prop::collection::hash_map(any::<String>(), any::<String>(), 0..4),
        any::<Option<(i32, Vec<u8>)>>(),
    )
        .prop_map(|(scalars, texts, first, second, list, map, inner)| Row {
            scalars,
            texts,
            first,
            second,
            list,
            map,
            inner,
        })
}

fn union(branch: u32, value: Value) -> Value {
    Value::Union(branch, Box::new(value))
}

fn written(row: &Row) -> Vec<u8> {
    let inner = |(scale, value): &(i32, Vec<u8>)| {
        Value::Record(vec![
            ("scale".into(), Value::Int(*scale)),
            ("value".into(), Value::Bytes(value.clone())),
        ])
    };
    let symbols = ["RED", "GREEN", "BLUE"];
    let fields = vec![
        ("b", Value::Boolean(row.scalars.0)),
        ("i", Value::Int(row.scalars.1)),
        ("l", Value::Long(row.scalars.2)),
        ("f", Value::Float(row.scalars.3)),
        ("d", Value::Double(row.scalars.4)),
        ("s", Value::String(row.texts.0.clone())),
        ("y", Value::Bytes(row.texts.1.clone())),
        ("x", Value::Fixed(4, row.texts.2.to_vec())),
        ("e", Value::Enum(row.texts.3, symbols[row.texts.3 as usize].to_owned())),
        ("first", row.first.map_or(union(0, Value::Null), |n| union(1, Value::Long(n)))),
        (
            "second",
            row.second.clone().map_or(union(1, Value::Null), |s| union(0, Value::String(s))),
        ),
        (
            "list",
            Value::Array(
                row.list
                    .iter()
                    .map(|n| n.map_or(union(0, Value::Null), |n| union(1, Value::Int(n))))
                    .collect(),
            ),
        ),
        (
            "map",
            Value::Map(
                row.map.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect(),
            ),
        ),
        ("inner", row.inner.as_ref().map_or(union(0, Value::Null), |r| union(1, inner(r)))),
        ("again", row.inner.as_ref().map_or(union(1, Value::Null), |r| union(0, inner(r)))),
    ];
    let record =
        Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let schema = Schema::parse_str(TEXT).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(record).unwrap()
}

fn entries(reader: &dyn NestedReader, slot: &Slot<'_>) -> Vec<(String, String)> {
    let Slot::Nested(bytes) = slot else { panic!("{slot:?}") };
    let mut found = Vec::new();
    reader
        .each(bytes, &mut |name, slot, _| {
            found.push((name.to_owned(), format!("{slot:?}")));
            Ok(())
        })
        .unwrap();
    found
}

proptest! {
    #[test]
    fn every_type_comes_back_as_it_was_written(row in rows()) {
        let datum = written(&row);
        let schema = describe(SchemaText::None, SchemaText::Avro(TEXT)).unwrap();
        let ValueWalk::Avro(walk) = &schema.value_walk else { panic!("no avro") };
        let mut slots = vec![Slot::Absent; schema.row.len()];
        let mut facts = Facts::default();
        let present = walk.datum.read_all(&datum, &mut Sink { facts: &mut facts, row: &mut slots, memo: None });
        prop_assert_eq!(present, Ok(true));
        prop_assert_eq!(&slots[..3], &[Slot::Bool(row.scalars.0), Slot::Int(row.scalars.1.into()), Slot::Int(row.scalars.2)]);
        prop_assert_eq!(&slots[3..5], &[Slot::Float(row.scalars.3), Slot::Double(row.scalars.4)]);
        prop_assert_eq!(&slots[5..8], &[Slot::Text(&row.texts.0), Slot::Bytes(&row.texts.1), Slot::Bytes(&row.texts.2)]);
        prop_assert_eq!(walk.nodes[8].symbol(slots[8]).unwrap(), Slot::Text(["RED", "GREEN", "BLUE"][row.texts.3 as usize]));
        prop_assert_eq!(slots[9], row.first.map_or(Slot::Null, Slot::Int));
        prop_assert_eq!(slots[10], row.second.as_deref().map_or(Slot::Null, Slot::Text));
        let list: Vec<_> = row.list.iter().map(|n| (String::new(), format!("{:?}", n.map_or(Slot::Null, |n| Slot::Int(n.into()))))).collect();
        prop_assert_eq!(entries(&walk.nodes[11], &slots[11]), list);
        let mut map: Vec<_> = row.map.iter().map(|(k, v)| (k.clone(), format!("{:?}", Slot::Text(v)))).collect();
        let mut found = entries(&walk.nodes[12], &slots[12]);
        map.sort();
        found.sort();
        prop_assert_eq!(found, map);
        for place in [13, 14] {
            match &row.inner {
                None => prop_assert_eq!(slots[place], Slot::Null),
                Some((scale, value)) => prop_assert_eq!(
                    entries(&walk.nodes[place], &slots[place]),
                    [("scale".to_owned(), format!("{:?}", Slot::Int((*scale).into()))), ("value".to_owned(), format!("{:?}", Slot::Bytes(value)))]
                ),
            }
        }
    }
}
