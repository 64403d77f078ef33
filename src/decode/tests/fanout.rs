//! Records that name their tables: the shop's four tables in one topic, and what two tables with equal schemas keep apart.

use super::capture::Capture;
use super::tables::json;
use crate::config::{self, Format, load};
use crate::decode::plan::{self, Plan, SchemaText};
use crate::decode::slot::Scratch;
use crate::decode::{
    ChangeKind, Decoded, PlanNeed, RegistryId, RowBuffer, SchemaId, SkipRule, TopicDecoder,
    UNPLACED,
};
use crate::fault::Code;
use crate::record::OwnedRecord;
use crate::route::{self, Template};
use crate::table::TableShape;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

fn template() -> Template {
    let text = "name = \"shop\"\nkafka.bootstrap_servers = \"h:9092\"\npostgres.url = \"postgresql://h/d\"\n\
        [[route]]\ntopics = \"all\"\ntable = \"silver.${source.table}\"\n";
    let config = load::parse(text, "sink.toml", &|_| None).unwrap();
    route::route(&config, "all").unwrap().tables.unwrap()
}

struct Many {
    decoder: TopicDecoder,
    shapes: BTreeMap<String, Arc<TableShape>>,
    registry: HashMap<u32, String>,
    /// Names of the tables, by number less one.
    tables: Vec<String>,
    plans: usize,
    row: RowBuffer,
    scratch: Scratch,
}

impl Many {
    fn new(shapes: BTreeMap<String, Arc<TableShape>>, registry: HashMap<u32, String>) -> Self {
        let decoder = TopicDecoder::new(Format::Auto, config::Table::default());
        Self {
            decoder: decoder.with_tables(Some(template())),
            shapes,
            registry,
            tables: Vec::new(),
            plans: 0,
            row: RowBuffer::default(),
            scratch: Scratch::default(),
        }
    }

    fn decode(&mut self, record: &OwnedRecord) -> Decoded {
        loop {
            match self.decoder.decode(&record.as_raw(), &mut self.scratch, &mut self.row) {
                Decoded::NewTable(table) => {
                    self.tables.push(table.name.clone());
                    self.decoder.add_table(table, self.tables.len());
                }
                Decoded::NeedsPlan(need) => self.provide(&need),
                decoded => return decoded,
            }
        }
    }

    fn provide(&mut self, need: &PlanNeed) {
        let text = |id| match id {
            &SchemaId::Avro(RegistryId::Confluent(id)) => SchemaText::Avro(&self.registry[&id]),
            SchemaId::ConnectJson(text) => SchemaText::ConnectJson(text),
            SchemaId::Schemaless => SchemaText::Schemaless,
            _ => SchemaText::None,
        };
        let schema = plan::describe(text(&need.key), text(&need.value)).unwrap();
        let table = self.decoder.placed();
        let plan = if table == UNPLACED {
            Plan::placing(&schema)
        } else {
            self.plans += 1;
            let shape = Arc::clone(&self.shapes[&self.tables[table - 1]]);
            plan::compile(&schema, shape, &config::Table::default()).unwrap()
        };
        self.decoder.put(table, need, Ok(Arc::new(plan)));
    }

    fn table(&self) -> &str {
        match self.decoder.placed() {
            UNPLACED => "",
            number => &self.tables[number - 1],
        }
    }
}

#[test]
fn each_form_of_the_shop_tells_its_tables_and_decodes_as_in_topics_of_their_own() {
    for encoding in ["avro", "json", "json-plain", "flat-avro", "flat-json"] {
        let capture = Capture::load("shop", encoding);
        let mut alone = super::capture::workers(&capture);
        let mut many = Many::new(capture.shapes.clone(), capture.registry.clone());
        for record in &capture.records {
            let table = super::capture::table_of(record);
            let decoded = many.decode(record);
            if record.value.is_none() {
                assert_eq!(decoded, Decoded::Skip(SkipRule::TombstoneWithoutTable));
                assert_eq!(many.table(), "");
                continue;
            }
            let done = alone.get_mut(table).unwrap().change(record);
            assert_eq!(decoded, Decoded::Change(done.change), "{encoding} {}", record.at);
            assert_eq!(many.table(), table, "{encoding} {}", record.at);
            assert_eq!((&many.row.key, &many.row.body), (&done.key, &done.body), "{encoding}");
        }
        assert_eq!(many.plans, 4, "{encoding}: one for each table");
    }
}

fn notes(name: &str, columns: &[(&str, &str)]) -> (String, Arc<TableShape>) {
    (name.to_owned(), Arc::new(super::tables::shape(name, columns, &["id"])))
}

fn event(offset: i64, table: &str, op: &str, body: &str) -> OwnedRecord {
    let image = format!(r#"{{"id":1,"body":"{body}"}}"#);
    let source =
        format!(r#"{{"connector":"postgresql","schema":"public","table":{table},"lsn":{offset}}}"#);
    let value = format!(r#"{{"before":null,"after":{image},"source":{source},"op":"{op}"}}"#);
    json(offset, r#"{"id":1}"#, &value)
}

#[test]
fn tables_with_equal_schemas_have_plans_of_their_own() {
    let shapes = BTreeMap::from([
        notes("a", &[("id", "integer"), ("body", "text")]),
        notes("b", &[("body", "text"), ("id", "bigint")]),
    ]);
    let mut many = Many::new(shapes, HashMap::new());
    for offset in 1..9 {
        let table = if offset % 3 == 0 { "b" } else { "a" };
        let record = event(offset, &format!("\"{table}\""), "c", "x");
        let Decoded::Change(change) = many.decode(&record) else { panic!("no change") };
        assert_eq!((change.kind, many.table()), (ChangeKind::Row, table));
        assert_eq!(many.row.key.len(), if table == "a" { 8 } else { 12 }, "{table}");
    }
    assert_eq!(many.plans, 2);

    // One table has changed: only its plan is made anew.
    many.decoder.forget_plans_of(2);
    for table in ["a", "b"] {
        many.decode(&event(10, &format!("\"{table}\""), "u", "x"));
    }
    assert_eq!(many.plans, 3);
}

#[test]
fn what_names_no_table_is_told_and_what_is_no_row_asks_for_none() {
    let shapes = BTreeMap::from([notes("a", &[("id", "integer"), ("body", "text")])]);
    let mut many = Many::new(shapes, HashMap::new());
    for untold in ["null", "\"\""] {
        let Decoded::Poison(fault) = many.decode(&event(1, untold, "c", "x")) else { panic!() };
        assert_eq!((fault.code, many.table()), (Code::TableUnplaced, ""));
    }
    let signal = r#"{"before":null,"after":{"id":"1","type":"log","data":null},
        "source":{"connector":"postgresql","table":"debezium_signal"},"op":"c"}"#;
    let signal = json(2, r#"{"id":"1"}"#, signal);
    assert_eq!(many.decode(&signal), Decoded::Skip(SkipRule::Signal));
    assert!(many.tables.is_empty(), "{:?}", many.tables);

    // The key of a record that was parked is read in the table that its value told.
    let record = event(3, "\"a\"", "c", "x");
    assert!(matches!(many.decode(&record), Decoded::Change(_)));
    let key = many.row.key.clone();
    let (scratch, row) = (&mut many.scratch, &mut many.row);
    let decoded = many.decoder.decode_key(&record.as_raw(), 1, scratch, row);
    assert!(matches!(decoded, Decoded::Change(change) if change.kind == ChangeKind::Tombstone));
    assert_eq!((many.row.key.clone(), many.table()), (key, "a"));
}
