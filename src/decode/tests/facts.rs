//! What stands beside the row is read in every form: Avro, JSON with and without schema, envelope and flattened.

use crate::decode::avro::Sink;
use crate::decode::facts::{Fact, Facts};
use crate::decode::json::walk::{Role, Walk};
use crate::decode::plan::{SchemaText, describe};
use crate::decode::schema::describe::ValueWalk;
use crate::decode::slot::{Scratch, Slot};

type Told = (bool, Option<String>);

fn told(facts: &Facts<'_>, scratch: &Scratch) -> Told {
    let name = facts.source_name(scratch).unwrap();
    (facts.is_incremental(scratch).unwrap(), name.map(str::to_owned))
}

fn json(text: &str, role: Role) -> Told {
    let (mut facts, mut scratch) = (Facts::default(), Scratch::default());
    let names: [Box<str>; 1] = ["id".into()];
    Walk::new(&names, &mut facts, &mut [Slot::Absent], &mut scratch)
        .read(text.as_bytes(), role)
        .unwrap();
    told(&facts, &scratch)
}

/// An Avro text: its length as a zig-zag number, then its bytes.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len() * 2).unwrap()];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn avro(schema: &str, datum: &[u8]) -> Told {
    let schema = describe(SchemaText::None, SchemaText::Avro(schema)).unwrap();
    let ValueWalk::Avro(walk) = &schema.value_walk else { panic!("no Avro walk") };
    let (mut facts, mut row) = (Facts::default(), vec![Slot::Absent; schema.row.len()]);
    assert!(
        walk.datum
            .read_all(datum, &mut Sink { facts: &mut facts, row: &mut row, memo: None })
            .unwrap()
    );
    told(&facts, &Scratch::default())
}

const SOURCE: &str = r#"{"type":"record","name":"Source","namespace":"io.debezium.connector.postgresql","fields":[
  {"name":"connector","type":"string"},{"name":"name","type":"string"},
  {"name":"snapshot","type":["null","string"]}]}"#;

#[test]
fn an_envelope_tells_its_source_and_whether_it_is_of_an_incremental_snapshot() {
    let of = |snapshot: &str| {
        format!(
            r#"{{"op":"r","source":{{"name":"shop","snapshot":{snapshot}}},"after":{{"id":1}}}}"#
        )
    };
    let shop = |incremental| (incremental, Some("shop".to_owned()));
    assert_eq!(json(&of(r#""incremental""#), Role::Envelope), shop(true));
    for other in [r#""true""#, r#""last""#, r#""false""#, "true", "false", "null"] {
        assert_eq!(json(&of(other), Role::Envelope), shop(false), "{other}");
    }
    assert_eq!(json(r#"{"op":"r","source":{},"after":{"id":1}}"#, Role::Envelope), (false, None));

    let schema = format!(
        r#"{{"type":"record","name":"Envelope","namespace":"s.public.t","fields":[
            {{"name":"after","type":["null",{{"type":"record","name":"Value","fields":[{{"name":"id","type":"int"}}]}}]}},
            {{"name":"source","type":{SOURCE}}},{{"name":"op","type":"string"}}]}}"#
    );
    let datum = |snapshot: Vec<u8>| {
        [&[2, 2][..], &text("postgresql"), &text("shop"), &snapshot, &text("r")].concat()
    };
    let some = |snapshot: &str| datum([&[2][..], &text(snapshot)].concat());
    assert_eq!(avro(&schema, &some("incremental")), shop(true));
    assert_eq!(avro(&schema, &some("first")), shop(false));
    assert_eq!(avro(&schema, &datum(vec![0])), shop(false));
}

#[test]
fn a_flattened_record_tells_the_same_under_either_spelling() {
    let schema = |name: &str, snapshot: &str| {
        format!(
            r#"{{"type":"record","name":"Value","namespace":"s.public.t","fields":[{{"name":"id","type":"int"}},
                {{"name":"{name}","type":"string"}},{{"name":"{snapshot}","type":"string"}}]}}"#
        )
    };
    let datum = [&[2][..], &text("shop"), &text("incremental")].concat();
    for (name, snapshot) in [("__name", "__snapshot"), ("__source_name", "__source_snapshot")] {
        let expected = (true, Some("shop".to_owned()));
        let row = format!(r#"{{"id":1,"{name}":"shop","{snapshot}":"incremental"}}"#);
        assert_eq!(json(&row, Role::Flattened), expected, "{name}");
        assert_eq!(avro(&schema(name, snapshot), &datum), expected, "{name}");
    }
}

#[test]
fn columns_of_these_names_are_no_facts() {
    let row = r#"{"op":"c","source":{"snapshot":"false"},"after":{"id":1,"name":"x","snapshot":"incremental"}}"#;
    assert_eq!(json(row, Role::Envelope), (false, None));
    let mut facts = Facts::default();
    facts.set(Fact::Snapshot, Slot::Int(1));
    assert!(facts.is_incremental(&Scratch::default()).is_err());
}
