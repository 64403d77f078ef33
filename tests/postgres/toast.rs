//! Captured tables with values that are not sent again, from the bytes of every encoding to the Silver table (I9).

use crate::rows::{Lane, PIPELINE};
use crate::server::{Database, database};
use silversink::batch::arena::{Arena, Incoming, SealedRange};
use silversink::batch::exchange::Told;
use silversink::batch::{Batch, Kind};
use silversink::config::{self, BinaryHandlingMode, Format};
use silversink::decode::plan::{self, SchemaText};
use silversink::decode::slot::Scratch;
use silversink::decode::{
    ChangeKind, Decoded, PlanNeed, RegistryId, RowBuffer, SchemaId, TopicDecoder,
};
use silversink::demo::capture::{Capture, CapturedSchema};
use silversink::demo::ground_truth::{self, Mismatch};
use silversink::fault::{Class, Code};
use silversink::postgres::readback::Readback;
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Every encoding, with the columns for whose type it has no placeholder.
const ENCODINGS: [(&str, &[&str]); 7] = [
    ("avro", &["prices", "flags", "huge"]),
    ("json", &["prices", "flags", "huge"]),
    ("json-plain", &["prices", "flags", "huge"]),
    ("flat-json", &["prices", "flags", "huge"]),
    ("hex-json", &["prices", "flags", "parts"]),
    ("base64-json", &["prices", "flags", "huge", "raw", "parts"]),
    ("base64-avro", &["prices", "flags", "huge", "raw", "parts"]),
];

fn modes(encoding: &str) -> config::Table {
    let mut table = config::Table::default();
    if encoding.starts_with("hex") {
        table.binary_handling_mode = BinaryHandlingMode::Hex;
    }
    if encoding.starts_with("base64") {
        table.binary_handling_mode = BinaryHandlingMode::Base64;
        table.unavailable_value_placeholder = "N/A-7c1d".to_owned();
    }
    table
}

/// One table of the capture on its way into its Silver table.
struct Feed {
    lane: Lane,
    decoder: TopicDecoder,
    schemas: BTreeMap<u32, CapturedSchema>,
    arena: Arena,
    scratch: Scratch,
    row: RowBuffer,
    letters: BTreeSet<i64>,
}

impl Feed {
    fn install(&mut self, need: &PlanNeed) {
        let text = |id: &SchemaId| match id {
            SchemaId::Avro(RegistryId::Confluent(id)) => self.schemas[id].schema.clone(),
            SchemaId::ConnectJson(text) => text.to_string(),
            SchemaId::Avro(_) | SchemaId::Schemaless | SchemaId::None => String::new(),
        };
        fn schema<'t>(id: &SchemaId, text: &'t str) -> SchemaText<'t> {
            match id {
                SchemaId::Avro(_) => SchemaText::Avro(text),
                SchemaId::ConnectJson(_) => SchemaText::ConnectJson(text),
                SchemaId::Schemaless => SchemaText::Schemaless,
                SchemaId::None => SchemaText::None,
            }
        }
        let (key, value) = (text(&need.key), text(&need.value));
        let described =
            plan::describe(schema(&need.key, &key), schema(&need.value, &value)).unwrap();
        let plan =
            plan::compile(&described, Arc::clone(&self.lane.shape), self.decoder.overrides());
        self.decoder.install(need, Arc::new(plan.unwrap()));
    }

    fn decode(&mut self, record: &OwnedRecord) -> Decoded {
        loop {
            let raw = record.as_raw();
            match self.decoder.decode(&raw, &mut self.scratch, &mut self.row) {
                Decoded::NeedsPlan(need) => self.install(&need),
                decoded => return decoded,
            }
        }
    }

    fn fold(&mut self, record: &OwnedRecord) {
        let offset = record.at.offset;
        if self.letters.contains(&offset) {
            return self.arena.dead_letter(0);
        }
        let change = match self.decode(record) {
            Decoded::Change(change) => change,
            Decoded::Skip(_) => return self.arena.skip(0),
            other => panic!("{}: {other:?}", record.at),
        };
        self.arena.fold(Incoming {
            body: &self.row.body,
            key: &self.row.key,
            kind: match change.kind {
                ChangeKind::Row if change.has_kept => Kind::Partial,
                ChangeKind::Row => Kind::Whole,
                ChangeKind::Delete => Kind::Delete,
                ChangeKind::Tombstone => Kind::Tombstone,
                ChangeKind::Truncate => panic!("{}: a truncate", record.at),
            },
            version: change.version,
            deleted_at: change.deleted_at,
            source_ts: change.source_ts,
            own_time: change.own_time,
            kept: &self.row.kept,
            needs_base: change.needs_base,
            old_key: change.moved.then_some(&self.row.old_key),
            told: Told::Nothing,
            slot: 0,
            offset,
        });
    }

    fn seal(&mut self, records: &[OwnedRecord]) -> Batch {
        let mut range = self.lane.ranges[0].clone();
        range.next = records.last().expect("records").at.offset + 1;
        self.arena.seal(1, vec![SealedRange { slot: 0, range }])
    }

    /// As the worker: what has no base is dead-lettered when it is read again.
    async fn land(&mut self, records: &[OwnedRecord]) {
        loop {
            records.iter().for_each(|record| self.fold(record));
            let batch = self.seal(records);
            let Err(fault) = self.lane.write_batch(&batch).await else { return };
            assert_eq!(fault.code, Code::UnchangedWithoutBase, "{fault}");
            let found = self.lane.writer.isolate(PIPELINE, &batch).await.unwrap();
            assert!(!found.is_empty(), "the batch was refused, and no row of it");
            for (row, fault) in found {
                assert_eq!(fault.code, Code::UnchangedWithoutBase, "{fault}");
                self.letters.insert(batch.rows[row].needs_base.expect("it needs a base").1);
            }
            self.arena.discard();
        }
    }
}

async fn feed(db: &Database, capture: &Capture, encoding: &str, table: &str) -> Feed {
    let destination = db.destination().await;
    let described = destination
        .describe(&TableName::new("silver", table), &Bookkeeping::default())
        .await
        .unwrap()
        .unwrap();
    assert!(described.refusals.is_empty(), "{:?}", described.refusals);
    let lane = Lane::open(destination, Arc::new(described.shape), 1).await;
    let mut arena = Arena::default();
    arena.set_shape(Arc::clone(&lane.shape));
    Feed {
        lane,
        decoder: TopicDecoder::new(Format::Auto, modes(encoding)),
        schemas: capture.schemas(encoding).unwrap(),
        arena,
        scratch: Scratch::default(),
        row: RowBuffer::default(),
        letters: BTreeSet::new(),
    }
}

async fn silver(capture: &Capture) -> Database {
    let db = database().await;
    let mut sql = "CREATE EXTENSION hstore; CREATE SCHEMA silver;".to_owned();
    for (name, table) in &capture.tables {
        let columns: Vec<_> =
            table.columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect();
        sql += &format!(
            "CREATE TABLE silver.{name} ({}, PRIMARY KEY ({}), _version bytea NOT NULL, _deleted_at timestamptz, \
             _source_ts timestamptz, _applied_at timestamptz);",
            columns.join(", "),
            table.key.join(", ")
        );
    }
    db.sql(&sql).await;
    db
}

/// Feeds one table in batches of `size` and tells how it differs from the source, and what was dead-lettered.
async fn differences(
    db: &Database,
    capture: &Capture,
    (encoding, table, size): (&str, &str, usize),
) -> (Vec<(String, Mismatch)>, BTreeSet<i64>) {
    db.sql(&format!("TRUNCATE silver.{table}; DROP SCHEMA IF EXISTS silversink CASCADE")).await;
    let mut records = capture.records(encoding).unwrap();
    records.retain(|record| record.at.topic.ends_with(table));
    let mut feed = feed(db, capture, encoding, table).await;
    for batch in records.chunks(size) {
        feed.land(batch).await;
    }
    let truth = capture.truth().unwrap().into_iter().find(|truth| truth.name == table).unwrap();
    let verdict = ground_truth::verify(
        &Readback::connect(&db.url()).await.unwrap(),
        &TableName::new("silver", table),
        &Bookkeeping::default(),
        &truth,
        1_000,
    )
    .await
    .unwrap();
    (verdict.differences.into_iter().map(|d| (d.key, d.what)).collect(), feed.letters)
}

/// Batches of a few records, and one for everything.
const SIZES: [usize; 2] = [5, 1_000];

#[tokio::test]
async fn unchanged_values_are_those_of_the_source_in_every_encoding() {
    let capture = Capture::open("testdata/debezium/toast").unwrap();
    let db = silver(&capture).await;
    for (encoding, without_placeholder) in ENCODINGS {
        // One by one as well, in one encoding: the decoder does not know of batches.
        let one = (encoding == "json-plain").then_some(1);
        for size in SIZES.into_iter().chain(one) {
            for table in ["docs_full", "docs_nothing"] {
                let (found, letters) = differences(&db, &capture, (encoding, table, size)).await;
                assert_eq!(letters, BTreeSet::new(), "{table}, {encoding}, {size}");
                let wrong: Vec<_> = found.iter().filter(|(_, what)| !same_numbers(what)).collect();
                assert!(wrong.is_empty(), "{table}, {encoding}, {size}: {wrong:?}");
            }
            // The change of key 15 to 115 brings none of the large values: they are in the row that it left.
            let (found, letters) =
                differences(&db, &capture, (encoding, "docs_default", size)).await;
            assert_eq!(letters, BTreeSet::new(), "{encoding}, {size}");
            for (key, what) in found.into_iter().filter(|(_, what)| !same_numbers(what)) {
                let Mismatch::Column { column, found, .. } = &what else {
                    panic!("{encoding}, {size}: {key}: {what:?}")
                };
                let untold = without_placeholder.contains(&column.as_str()) && found.is_none();
                // Its title really is the placeholder's text.
                let ambiguous = key == "id=13" && column == "title";
                assert!(untold || ambiguous, "{encoding}, {size}: {key}: {column} is {found:?}");
            }
        }
    }
}

/// Numbers without a declared scale come without the zeros at their end.
fn same_numbers(what: &Mismatch) -> bool {
    let numbers = |text: &Option<String>| -> Vec<String> {
        let text = text.as_deref().unwrap_or_default();
        text.split(',')
            .map(|n| n.trim_matches(['{', '}']).trim_end_matches('0').to_owned())
            .collect()
    };
    matches!(what, Mismatch::Column { column, expected, found }
        if ["prices", "huge"].contains(&column.as_str()) && found.is_some() && numbers(expected) == numbers(found))
}

/// Deletes come with an invented key there: going on would mark a row that nobody deleted.
#[tokio::test]
async fn an_index_as_replica_identity_is_told_at_the_first_delete() {
    let capture = Capture::open("testdata/debezium/toast").unwrap();
    let db = silver(&capture).await;
    for (encoding, _) in ENCODINGS.into_iter().filter(|(encoding, _)| *encoding != "flat-json") {
        let mut records = capture.records(encoding).unwrap();
        records.retain(|record| record.at.topic.ends_with("docs_index"));
        let mut feed = feed(&db, &capture, encoding, "docs_index").await;
        db.sql("DROP SCHEMA IF EXISTS silversink CASCADE").await;
        let stopped = records.iter().find_map(|record| match feed.decode(record) {
            Decoded::Poison(fault) => Some((record.at.offset, fault.class, fault.code)),
            _ => None,
        });
        assert_eq!(stopped, Some((33, Class::Blocked, Code::ReplicaIdentity)), "{encoding}");
    }
}
