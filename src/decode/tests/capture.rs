//! Reads a capture: records, registry and table shapes, and decodes them as the worker does.

use super::tables::shape;
use crate::config::{self, Format};
use crate::decode::plan::{self, SchemaText};
use crate::decode::slot::Scratch;
use crate::decode::{Change, Decoded, PlanNeed, RegistryId, RowBuffer, SchemaId, TopicDecoder};
use crate::record::{Coordinates, OwnedRecord};
use crate::table::TableShape;
use base64::Engine;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything of one encoding of a capture.
pub struct Capture {
    pub records: Vec<OwnedRecord>,
    pub registry: HashMap<u32, String>,
    pub shapes: BTreeMap<String, Arc<TableShape>>,
}

pub fn directory(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/debezium").join(scenario)
}

impl Capture {
    pub fn load(scenario: &str, encoding: &str) -> Self {
        Self::load_from(&directory(scenario), encoding)
    }

    pub fn load_from(scenario: &Path, encoding: &str) -> Self {
        let directory = scenario.join(encoding);
        Self {
            records: records(&directory),
            registry: registry(&directory),
            shapes: shapes(&scenario.join("tables.json")),
        }
    }
}

/// The records of one encoding.
pub fn records(directory: &Path) -> Vec<OwnedRecord> {
    let packed = directory.join("records.ndjson.gz");
    let text = if packed.exists() {
        gunzip(&packed)
    } else {
        std::fs::read_to_string(directory.join("records.ndjson")).unwrap()
    };
    text.lines().map(record).collect()
}

/// The Avro schemas of one encoding; none for JSON.
pub fn registry(directory: &Path) -> HashMap<u32, String> {
    let schemas = std::fs::read_dir(directory.join("schemas")).into_iter().flatten();
    schemas.map(|file| schema(&file.unwrap().path())).collect()
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn schema(path: &Path) -> (u32, String) {
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    (
        u32::try_from(value["id"].as_u64().unwrap()).unwrap(),
        value["schema"].as_str().unwrap().to_owned(),
    )
}

fn record(line: &str) -> OwnedRecord {
    let value: Value = serde_json::from_str(line).unwrap();
    let bytes =
        |v: &Value| v.as_str().map(|text| base64::prelude::BASE64_STANDARD.decode(text).unwrap());
    OwnedRecord {
        at: Coordinates {
            topic: value["topic"].as_str().unwrap().to_owned(),
            partition: i32::try_from(value["partition"].as_i64().unwrap()).unwrap(),
            offset: value["offset"].as_i64().unwrap(),
        },
        timestamp_ms: value["timestamp"].as_i64(),
        key: bytes(&value["key"]),
        value: bytes(&value["value"]),
        headers: Vec::new(),
    }
}

fn shapes(tables: &Path) -> BTreeMap<String, Arc<TableShape>> {
    let tables: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(tables).unwrap()).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let of = |(name, table): (String, Value)| {
        let columns: Vec<(String, String)> = table["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (text(&c["name"]), text(&c["type"])))
            .collect();
        let columns: Vec<(&str, &str)> =
            columns.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let key: Vec<String> = table["key"].as_array().unwrap().iter().map(text).collect();
        (
            name.clone(),
            Arc::new(shape(&name, &columns, &key.iter().map(String::as_str).collect::<Vec<_>>())),
        )
    };
    tables.into_iter().map(of).collect()
}

/// A record decoded, with its row.
#[derive(Debug)]
pub struct Done {
    pub change: Change,
    pub key: Vec<u8>,
    pub body: Vec<u8>,
    pub kept: crate::batch::ColumnSet,
}

/// A decoder with what the worker would give it.
pub struct Worker {
    pub decoder: TopicDecoder,
    /// Schemas by Confluent's id.
    pub registry: HashMap<u32, String>,
    /// Schemas by every other kind of id.
    pub others: HashMap<RegistryId, String>,
    pub shape: Arc<TableShape>,
    pub plans: usize,
    scratch: Scratch,
    row: RowBuffer,
}

impl Worker {
    pub fn new(shape: Arc<TableShape>, registry: HashMap<u32, String>) -> Self {
        Self::with(shape, registry, Format::Auto, config::Table::default())
    }

    pub fn with(
        shape: Arc<TableShape>,
        registry: HashMap<u32, String>,
        format: Format,
        table: config::Table,
    ) -> Self {
        Self {
            decoder: TopicDecoder::new(format, table),
            registry,
            others: HashMap::new(),
            shape,
            plans: 0,
            scratch: Scratch::default(),
            row: RowBuffer::default(),
        }
    }

    /// Decodes as far as it goes, installing the plans that are asked for.
    pub fn decode(&mut self, record: &OwnedRecord) -> Decoded {
        loop {
            match self.decoder.decode(&record.as_raw(), &mut self.scratch, &mut self.row) {
                Decoded::NeedsPlan(need) => self.provide(&need),
                decoded => return decoded,
            }
        }
    }

    /// Decodes a record that must be a change.
    pub fn change(&mut self, record: &OwnedRecord) -> Done {
        match self.decode(record) {
            Decoded::Change(change) => Done {
                change,
                key: self.row.key.clone(),
                body: self.row.body.clone(),
                kept: self.row.kept.clone(),
            },
            other => panic!("{}: {other:?}", record.at),
        }
    }

    /// Key and columns of the record that was decoded last.
    pub fn row(&self) -> (&[u8], &[u8], &crate::batch::ColumnSet) {
        (&self.row.key, &self.row.body, &self.row.kept)
    }

    fn provide(&mut self, need: &PlanNeed) {
        self.plans += 1;
        let text = |id: &'_ SchemaId| match id {
            SchemaId::Avro(RegistryId::Confluent(id)) => {
                self.registry.get(id).cloned().unwrap_or_default()
            }
            SchemaId::Avro(id) => self.others.get(id).cloned().unwrap_or_default(),
            SchemaId::ConnectJson(text) => text.to_string(),
            SchemaId::Schemaless | SchemaId::None => String::new(),
        };
        let (key, value) = (text(&need.key), text(&need.value));
        let described = plan::describe(known(&need.key, &key), known(&need.value, &value));
        match described {
            Ok(schema) => {
                match plan::compile(&schema, Arc::clone(&self.shape), self.decoder.overrides()) {
                    Ok(plan) => self.decoder.install(need, Arc::new(plan)),
                    Err(mismatches) => panic!("{mismatches:?}"),
                }
            }
            Err(fault) => self.decoder.refuse(need, fault),
        }
    }
}

fn known<'t>(id: &SchemaId, text: &'t str) -> SchemaText<'t> {
    match id {
        SchemaId::Avro(_) => SchemaText::Avro(text),
        SchemaId::ConnectJson(_) => SchemaText::ConnectJson(text),
        SchemaId::Schemaless => SchemaText::Schemaless,
        SchemaId::None => SchemaText::None,
    }
}

/// One worker per table of a capture.
pub fn workers(capture: &Capture) -> BTreeMap<String, Worker> {
    let of = |(name, shape): (&String, &Arc<TableShape>)| {
        (name.clone(), Worker::new(Arc::clone(shape), capture.registry.clone()))
    };
    capture.shapes.iter().map(of).collect()
}

/// The table that a topic's last part names.
pub fn table_of(record: &OwnedRecord) -> &str {
    record.at.topic.rsplit('.').next().unwrap()
}
