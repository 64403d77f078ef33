//! Random Avro schemas with random values: what the apache-avro crate writes, both it and this decoder read alike.

use crate::decode::avro::reader::Reader;
use crate::decode::avro::{Node, Sink};
use crate::decode::facts::Facts;
use crate::decode::plan::{SchemaText, describe};
use crate::decode::schema::avro_text;
use crate::decode::schema::describe::ValueWalk;
use crate::decode::slot::{NestedReader, Slot};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use fastrand::Rng;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A type as it is drawn; every one takes at least one byte.
#[derive(Clone, Debug)]
enum Ty {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(usize),
    Array(Box<Ty>),
    Map(Box<Ty>),
    /// Confluent's array of map entries with integer keys.
    Entries(Box<Ty>),
    Record(Vec<Ty>, bool),
    /// A union with null, which stands first or second.
    Optional(Box<Ty>, bool),
    /// A union of several types, null last.
    Several(Box<Ty>),
    /// The name of a type that was defined before, if there is one.
    Known(usize),
}

fn types() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        Just(Ty::Boolean),
        Just(Ty::Int),
        Just(Ty::Long),
        Just(Ty::Float),
        Just(Ty::Double),
        Just(Ty::Bytes),
        Just(Ty::String),
        (1..9_usize).prop_map(Ty::Fixed),
        (1..4_usize).prop_map(Ty::Enum),
        any::<usize>().prop_map(Ty::Known),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Ty::Array),
            boxed.clone().prop_map(Ty::Map),
            boxed.clone().prop_map(Ty::Entries),
            (prop::collection::vec(inner, 1..6), any::<bool>())
                .prop_map(|(fields, namespace)| Ty::Record(fields, namespace)),
            (boxed.clone(), any::<bool>()).prop_map(|(ty, first)| Ty::Optional(ty, first)),
            boxed.prop_map(Ty::Several),
        ]
    })
}

/// Writes a schema's text, and resolves the names on the way.
#[derive(Default)]
struct Writer {
    count: usize,
    /// Full name and type of what is defined.
    known: Vec<(String, Ty)>,
}

impl Writer {
    fn name(&mut self, namespace: &str) -> (String, String) {
        self.count += 1;
        let name = format!("T{}", self.count);
        let full = if namespace.is_empty() { name.clone() } else { format!("{namespace}.{name}") };
        (name, full)
    }

    fn write(&mut self, ty: &Ty, namespace: &str) -> (Json, Ty) {
        match ty {
            Ty::Boolean => (json!("boolean"), ty.clone()),
            Ty::Int => (json!({"type": "int", "connect.type": "int16"}), ty.clone()),
            Ty::Long => (json!("long"), ty.clone()),
            Ty::Float => (json!("float"), ty.clone()),
            Ty::Double => (json!({"type": "double"}), ty.clone()),
            Ty::Bytes => (json!("bytes"), ty.clone()),
            Ty::String => (json!("string"), ty.clone()),
            Ty::Fixed(size) => {
                let (name, full) = self.name(namespace);
                self.known.push((full, ty.clone()));
                (json!({"type": "fixed", "name": name, "size": size}), ty.clone())
            }
            Ty::Enum(count) => {
                let (name, full) = self.name(namespace);
                let symbols: Vec<String> = (0..*count).map(|n| format!("S{n}")).collect();
                self.known.push((full, ty.clone()));
                (
                    json!({"type": "enum", "name": name, "symbols": symbols, "aliases": ["Old"]}),
                    ty.clone(),
                )
            }
            Ty::Array(item) => {
                let (text, item) = self.write(item, namespace);
                (json!({"type": "array", "items": text}), Ty::Array(item.into()))
            }
            Ty::Map(value) => {
                let (text, value) = self.write(value, namespace);
                (json!({"type": "map", "values": text}), Ty::Map(value.into()))
            }
            Ty::Entries(value) => {
                self.count += 1;
                let inside = format!("e{}", self.count);
                let (text, value) = self.write(value, &inside);
                let entry = json!({"type": "record", "name": "MapEntry", "namespace": inside, "fields": [
                    {"name": "key", "type": "int"}, {"name": "value", "type": text}]});
                (json!({"type": "array", "items": entry}), Ty::Entries(value.into()))
            }
            Ty::Record(fields, own) => {
                let inside = if *own { "own.space".to_owned() } else { namespace.to_owned() };
                let (name, full) = self.name(&inside);
                let mut resolved = Vec::new();
                let mut texts = Vec::new();
                for (n, field) in fields.iter().enumerate() {
                    let (text, ty) = self.write(field, &inside);
                    texts.push(
                        json!({"name": format!("f{n}"), "type": text, "aliases": ["before"]}),
                    );
                    resolved.push(ty);
                }
                let ty = Ty::Record(resolved, *own);
                self.known.push((full, ty.clone()));
                let mut text = json!({"type": "record", "name": name, "fields": texts, "doc": "x"});
                if *own {
                    text["namespace"] = json!(inside);
                }
                (text, ty)
            }
            Ty::Optional(inner, first) => {
                let (text, inner) = self.write(inner, namespace);
                if matches!(inner, Ty::Optional(..) | Ty::Several(_)) {
                    // A union inside a union is no Avro.
                    return (text, inner);
                }
                let text = if *first { json!(["null", text]) } else { json!([text, "null"]) };
                (text, Ty::Optional(inner.into(), *first))
            }
            Ty::Several(inner) => {
                let (text, inner) = self.write(inner, namespace);
                if !matches!(inner, Ty::Record(..) | Ty::Array(_) | Ty::Fixed(_)) {
                    return (text, inner);
                }
                (json!(["long", text, "string", "null"]), Ty::Several(inner.into()))
            }
            Ty::Known(pick) => {
                // A name without a dot means the enclosing namespace; the others are whole.
                let usable: Vec<_> = self
                    .known
                    .iter()
                    .filter(|(full, _)| full.contains('.') || namespace.is_empty())
                    .collect();
                match usable.get(pick % usable.len().max(1)) {
                    Some((full, ty)) => (json!(full), ty.clone()),
                    None => (json!("int"), Ty::Int),
                }
            }
        }
    }
}

/// A value of a resolved type.
fn draw(ty: &Ty, rng: &mut Rng) -> Value {
    let count = rng.usize(0..4);
    let text = |rng: &mut Rng| -> String { (0..rng.usize(0..5)).map(|_| rng.char(..)).collect() };
    let bytes =
        |rng: &mut Rng, length: usize| -> Vec<u8> { (0..length).map(|_| rng.u8(..)).collect() };
    match ty {
        Ty::Boolean => Value::Boolean(rng.bool()),
        Ty::Int => Value::Int(rng.i32(..) >> rng.u32(0..32)),
        Ty::Long => Value::Long(rng.i64(..) >> rng.u32(0..64)),
        Ty::Float => Value::Float(f32::from_bits(rng.u32(..))),
        Ty::Double => Value::Double(f64::from_bits(rng.u64(..))),
        Ty::Bytes => Value::Bytes(bytes(rng, count * 3)),
        Ty::String => Value::String(text(rng)),
        Ty::Fixed(size) => Value::Fixed(*size, bytes(rng, *size)),
        Ty::Enum(symbols) => {
            let n = rng.usize(0..*symbols);
            Value::Enum(u32::try_from(n).unwrap(), format!("S{n}"))
        }
        Ty::Array(item) => Value::Array((0..count).map(|_| draw(item, rng)).collect()),
        Ty::Map(value) => Value::Map((0..count).map(|_| (text(rng), draw(value, rng))).collect()),
        Ty::Entries(value) => Value::Array(
            (0..count)
                .map(|n| {
                    let key = Value::Int(i32::try_from(n).unwrap() - 1);
                    Value::Record(vec![("key".into(), key), ("value".into(), draw(value, rng))])
                })
                .collect(),
        ),
        Ty::Record(fields, _) => Value::Record(
            fields.iter().enumerate().map(|(n, ty)| (format!("f{n}"), draw(ty, rng))).collect(),
        ),
        Ty::Optional(inner, first) => {
            let null = rng.bool();
            let value = if null { Value::Null } else { draw(inner, rng) };
            Value::Union(u32::from(null != *first), value.into())
        }
        Ty::Several(inner) => match rng.u32(0..4) {
            0 => Value::Union(0, Value::Long(rng.i64(..)).into()),
            1 => Value::Union(1, draw(inner, rng).into()),
            2 => Value::Union(2, Value::String(text(rng)).into()),
            _ => Value::Union(3, Value::Null.into()),
        },
        Ty::Known(_) => unreachable!("names are resolved"),
    }
}

/// What apache-avro has read, in a form that both readings share.
fn theirs(ty: &Ty, value: &Value) -> String {
    match (ty, value) {
        (Ty::Optional(inner, _), Value::Union(_, value)) => match &**value {
            Value::Null => "null".to_owned(),
            value => theirs(inner, value),
        },
        (Ty::Several(_), _) => "several".to_owned(),
        (_, Value::Boolean(b)) => b.to_string(),
        (_, Value::Int(n)) => n.to_string(),
        (_, Value::Long(n)) => n.to_string(),
        (_, Value::Float(f)) => format!("f{:08x}", f.to_bits()),
        (_, Value::Double(d)) => format!("d{:016x}", d.to_bits()),
        (_, Value::Bytes(bytes) | Value::Fixed(_, bytes)) => format!("{bytes:?}"),
        (_, Value::String(text) | Value::Enum(_, text)) => format!("{text:?}"),
        (Ty::Array(item), Value::Array(items)) => {
            nest(items.iter().map(|value| (String::new(), theirs(item, value))).collect())
        }
        (Ty::Map(ty), Value::Map(entries)) => {
            nest(entries.iter().map(|(key, value)| (key.clone(), theirs(ty, value))).collect())
        }
        (Ty::Entries(ty), Value::Array(entries)) => {
            let entry = |entry: &Value| match entry {
                Value::Record(fields) => (theirs(&Ty::Int, &fields[0].1), theirs(ty, &fields[1].1)),
                other => panic!("{other:?}"),
            };
            nest(entries.iter().map(entry).collect())
        }
        (Ty::Record(types, _), Value::Record(fields)) => nest(
            types.iter().zip(fields).map(|(ty, (name, v))| (name.clone(), theirs(ty, v))).collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// Maps have no order of their own.
fn nest(mut entries: Vec<(String, String)>) -> String {
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    format!("{entries:?}")
}

/// What this decoder has read: a slot, and what reads the inside of it.
fn ours(ty: &Ty, slot: &Slot<'_>, reader: &dyn NestedReader) -> String {
    let inside = |types: &dyn Fn(usize) -> Ty| {
        let Slot::Nested(bytes) = slot else { panic!("{slot:?} is not nested") };
        let mut entries = Vec::new();
        let visited = reader.each(bytes, &mut |name, slot, reader| {
            let text = ours(&types(entries.len()), slot, reader);
            entries.push((name.to_owned(), text));
            Ok(())
        });
        visited.unwrap();
        nest(entries)
    };
    match (ty, slot) {
        (Ty::Several(_), _) => "several".to_owned(),
        (Ty::Optional(..), Slot::Null) => "null".to_owned(),
        (Ty::Optional(ty, _), _) => ours(ty, slot, reader),
        (Ty::Array(item) | Ty::Map(item) | Ty::Entries(item), _) => inside(&|_| (**item).clone()),
        (Ty::Record(fields, _), _) => inside(&|n| fields[n].clone()),
        (_, Slot::Bool(b)) => b.to_string(),
        (_, Slot::Int(n)) => n.to_string(),
        (_, Slot::Float(f)) => format!("f{:08x}", f.to_bits()),
        (_, Slot::Double(d)) => format!("d{:016x}", d.to_bits()),
        (_, Slot::Bytes(bytes)) => format!("{bytes:?}"),
        (_, Slot::Text(text)) => format!("{text:?}"),
        other => panic!("{other:?}"),
    }
}

/// Reads one whole datum by its node alone.
fn read<'d>(node: &Node, datum: &'d [u8]) -> Option<Slot<'d>> {
    let mut reader = Reader::new(datum);
    let slot = node.slot(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(slot)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn whatever_apache_avro_writes_is_read_as_apache_avro_reads_it(
        fields in prop::collection::vec(types(), 1..8), seed: u64
    ) {
        let (text, ty) = Writer::default().write(&Ty::Record(fields, seed & 1 == 1), "");
        let text = text.to_string();
        let schema = Schema::parse_str(&text).unwrap();
        let value = draw(&ty, &mut Rng::with_seed(seed));
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let datum = writer.write_value_to_vec(value).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let expected = theirs(&ty, &reader.read_value(&mut datum.as_slice()).unwrap());

        let node = avro_text::parse(&text).unwrap().node();
        prop_assert_eq!(ours(&ty, &read(&node, &datum).unwrap(), &node), expected.clone());
        for end in 0..datum.len() {
            prop_assert!(read(&node, &datum[..end]).is_none(), "{} of {} bytes", end, datum.len());
        }
        prop_assert!(read(&node, &[&datum[..], &[0]].concat()).is_none());

        // The same through the program that is compiled for rows, where every column has a type that Connect knows.
        let Ok(schema) = describe(SchemaText::None, SchemaText::Avro(&text)) else {
            prop_assert!(text.contains(r#""string","null""#), "{}", text);
            return Ok(());
        };
        let ValueWalk::Avro(walk) = &schema.value_walk else { panic!("no avro") };
        let mut row = vec![Slot::Absent; schema.row.len()];
        let sink = &mut Sink { facts: &mut Facts::default(), row: &mut row, memo: None };
        prop_assert_eq!(walk.datum.read_all(&datum, sink), Ok(true));
        let Ty::Record(types, _) = &ty else { panic!("no record") };
        let columns = types.iter().zip(&row).zip(&walk.nodes).enumerate();
        let columns = columns.map(|(n, ((ty, slot), node))| {
            (format!("f{n}"), ours(ty, &node.symbol(*slot).unwrap(), node))
        });
        prop_assert_eq!(nest(columns.collect()), expected);
    }
}

#[test]
fn an_array_of_nothing_is_unusable() {
    let items = [
        r#""null""#,
        r#"{"type":"record","name":"E","fields":[]}"#,
        r#"{"type":"fixed","name":"F","size":0}"#,
        r#"{"type":"record","name":"E","fields":[{"name":"n","type":"null"}]}"#,
    ];
    for item in items {
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{{"type":"array","items":{item}}}}}]}}"#
        );
        let fault = avro_text::parse(&text).unwrap_err();
        assert!(fault.text.contains("no bytes"), "{fault}");
    }
    // With a null beside it there is the branch, which takes a byte.
    assert!(avro_text::parse(r#"{"type":"array","items":["null","int"]}"#).is_ok());
}
