//! A Silver table on a real server, written to as the worker does: plan, decode, stage, MERGE.

use crate::payload;
use crate::rows::DOMAIN_TYPES;
use crate::schema::Avro;
use serde_json::{Value, json};
use silversink::batch::{Batch, Kind, OffsetRange, StagedRow};
use silversink::config::{self, Format};
use silversink::decode::plan::{self, Mismatch, SchemaText, describe};
use silversink::decode::slot::Scratch;
use silversink::decode::{Decoded, RegistryId, RowBuffer, SchemaId, TopicDecoder};
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::Fault;
use silversink::postgres::readback::Readback;
use silversink::postgres::{BeginAt, ClaimAsk, Destination};
use silversink::record::{Coordinates, OwnedRecord};
use silversink::table::{Bookkeeping, TableName, TableShape};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Avro,
    Json,
    Plain,
}

pub const FORMS: [Form; 3] = [Form::Avro, Form::Json, Form::Plain];

/// Types that the rows name.
const TYPES: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION isn;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN price AS numeric(8,3);
    CREATE TYPE pair AS (a integer, b text);
    CREATE SCHEMA silver;";
/// Extensions that a plain server may lack: their types are played then, by some that keep their text.
const PLAYED: [(&str, &[&str]); 2] =
    [("vector", &["vector", "halfvec", "sparsevec"]), ("postgis", &["geometry", "geography"])];

/// A database with a destination.
pub struct Silver {
    pub client: tokio_postgres::Client,
    pub destination: Destination,
    url: String,
    tables: u32,
}

/// A table and how its records are decoded.
pub struct Table {
    pub name: TableName,
    shape: Arc<TableShape>,
    number: u32,
    fields: Vec<Value>,
    form: Form,
    decoder: TopicDecoder,
}

impl Silver {
    pub async fn open() -> Self {
        Self::with(&format!("{TYPES}{DOMAIN_TYPES}")).await
    }

    /// The same with the types of pgvector and PostGIS.
    pub async fn with_extensions() -> Self {
        let silver = Self::open().await;
        for (extension, types) in PLAYED {
            if silver.real(extension).await {
                continue;
            }
            for name in types {
                let delimiter = if extension == "postgis" { ':' } else { ',' };
                let text = format!(
                    "CREATE TYPE {name};
                     CREATE FUNCTION {name}_in(cstring) RETURNS {name} LANGUAGE internal IMMUTABLE STRICT AS 'textin';
                     CREATE FUNCTION {name}_out({name}) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
                     CREATE TYPE {name} (INPUT = {name}_in, OUTPUT = {name}_out, DELIMITER = '{delimiter}');"
                );
                silver.client.batch_execute(&text).await.unwrap();
            }
        }
        silver.client.batch_execute("CREATE DOMAIN area AS geometry").await.unwrap();
        silver
    }

    /// Creates an extension, if the server has it; says so where a stand-in takes its place.
    pub async fn real(&self, extension: &str) -> bool {
        let query =
            format!("SELECT name::text FROM pg_available_extensions WHERE name = '{extension}'");
        let there = !self.rows(&query).await.is_empty();
        if there {
            let text = format!("CREATE EXTENSION {extension}");
            self.client.batch_execute(&text).await.unwrap();
        } else {
            // Past the capture of the test's output: nobody should take a stand-in for the extension.
            let line = format!(
                "types: no extension {extension} here, its types are played by stand-ins\n"
            );
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        there
    }

    /// A database with what `preamble` makes in it.
    pub async fn with(preamble: &str) -> Self {
        let url = ThrowawayPostgres::shared().fresh_database().unwrap();
        let settings = config::Postgres {
            url: url.clone().into(),
            ca: None,
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        };
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(preamble).await.unwrap();
        client.batch_execute("SET timezone = 'UTC'; SET lc_monetary = 'C'").await.unwrap();
        let destination = Destination::connect(&settings, 2, "types").await.unwrap();
        destination.ensure_bookkeeping().await.unwrap();
        Self { client, destination, url, tables: 0 }
    }

    /// A table with a key `id` and columns `c0`, `c1`, ...
    pub async fn table(
        &mut self,
        types: &[String],
        fields: Vec<Value>,
        form: Form,
        settings: &config::Table,
    ) -> Table {
        self.tables += 1;
        let name = TableName::new("silver", format!("t{}", self.tables));
        let columns: Vec<String> =
            types.iter().enumerate().map(|(i, ty)| format!(", c{i} {ty}")).collect();
        let text = format!(
            "CREATE TABLE {name} (id integer PRIMARY KEY{}, _version bytea NOT NULL, _deleted_at timestamptz,
             _source_ts timestamptz, _applied_at timestamptz)",
            columns.concat()
        );
        self.client.batch_execute(&text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let described =
            self.destination.describe(&name, &Bookkeeping::default()).await.unwrap().unwrap();
        Table {
            name,
            shape: Arc::new(described.shape),
            number: self.tables,
            fields,
            form,
            decoder: TopicDecoder::new(Format::Auto, settings.clone()),
        }
    }

    /// Claims a topic's partition and starts it at 0.
    pub async fn claim(&self, topic: &str) -> OffsetRange {
        let topic_id = Uuid::nil();
        let ask = ClaimAsk { topic: topic.to_owned(), topic_id, partition: 0, table: None };
        let claimed = self.destination.claim("types", "worker", &[ask]).await.unwrap();
        let owner_epoch = claimed[0].owner_epoch;
        let start = BeginAt {
            topic,
            topic_id,
            partition: 0,
            owner_epoch,
            start_offset: 0,
            rewound: false,
            reason: "initial",
            lineage: None,
        };
        self.destination.begin_at("types", &[start]).await.unwrap();
        OffsetRange {
            topic: topic.to_owned(),
            topic_id,
            partition: 0,
            owner_epoch,
            from: 0,
            next: 0,
            changes: 0,
            folded: 0,
            skipped: 0,
            dead_lettered: 0,
            lineage: None,
        }
    }

    /// Writes rows in one batch and one transaction.
    pub async fn write(&self, table: &Table, rows: &[RowBuffer], decoded: &[Decoded]) {
        let count = u64::try_from(rows.len()).unwrap();
        let range = self.claim(&table.topic()).await;
        let next = i64::try_from(count).unwrap();
        let mut batch = Batch {
            number: 1,
            shape: Some(Arc::clone(&table.shape)),
            bytes: vec![],
            keys: vec![],
            rows: vec![],
            ranges: vec![OffsetRange { next, changes: count, ..range }],
            truncate: None,
            letters: vec![],
            tripwire: None,
            again: false,
            closed: vec![],
            suspects: Default::default(),
            parts: vec![],
        };
        let end = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        for (row, decoded) in rows.iter().zip(decoded) {
            let Decoded::Change(change) = decoded else { panic!("{decoded:?}") };
            let (body, key) = (end(&batch.bytes), end(&batch.keys));
            batch.bytes.extend_from_slice(&row.body);
            batch.keys.extend_from_slice(&row.key);
            batch.rows.push(StagedRow {
                body: body..end(&batch.bytes),
                key: key..end(&batch.keys),
                kind: Kind::Whole,
                version: change.version,
                deleted_at: None,
                source_ts: change.source_ts,
                range: 0,
                origin: (0, 0),
                kept: row.kept.clone(),
                needs_base: None,
                base: None,
            });
        }
        let mut writer = self.destination.writer().await.unwrap();
        let applied = writer.write("types", None, &batch).await.unwrap();
        assert_eq!(applied.ranges[0].applied, count, "every row is new");
    }

    /// A session that prints as the captures were printed.
    pub async fn readback(&self) -> Readback {
        Readback::connect(&self.url).await.unwrap()
    }

    /// Rows of texts, NULL as `None`.
    pub async fn rows(&self, query: &str) -> Vec<Vec<Option<String>>> {
        let rows = self.client.query(query, &[]).await.unwrap_or_else(|e| panic!("{query}: {e:?}"));
        rows.iter().map(|row| (0..row.len()).map(|i| row.get(i)).collect()).collect()
    }
}

impl Table {
    fn topic(&self) -> String {
        format!("types.{}", self.number)
    }

    fn row_schema(&self) -> Value {
        let mut fields = vec![json!({"field": "id", "type": "int32", "optional": false})];
        fields.extend(self.fields.iter().enumerate().map(|(i, field)| {
            let mut field = field.clone();
            field["field"] = json!(format!("c{i}"));
            field
        }));
        json!({"type": "struct", "optional": true, "field": "after", "name": "types.Value", "fields": fields})
    }

    fn envelope_schema(&self) -> Value {
        let source = json!({"type": "struct", "optional": false, "field": "source", "name": "types.Source", "fields": [
            {"field": "connector", "type": "string", "optional": false},
            {"field": "ts_ms", "type": "int64", "optional": false},
            {"field": "ts_ns", "type": "int64", "optional": true},
            {"field": "ts_us", "type": "int64", "optional": true}]});
        json!({"type": "struct", "optional": false, "name": "types.Envelope", "fields": [
            self.row_schema(), source, {"field": "op", "type": "string", "optional": false}]})
    }

    /// The bytes of one record: payload `values[i]` in column `ci`.
    pub fn record(&self, id: i64, values: &[Value]) -> OwnedRecord {
        let mut after = json!({ "id": id });
        for (i, value) in values.iter().enumerate() {
            after[format!("c{i}")] = value.clone();
        }
        let source = json!({"connector": "mysql", "ts_ms": 1_795_245_865_831_i64,
            "ts_us": 1_795_245_865_831_123_i64, "ts_ns": 1_795_245_865_831_123_456_i64});
        let key = json!({ "id": id });
        let key_schema = json!({"type": "struct", "optional": false, "name": "types.Key", "fields": [
            {"field": "id", "type": "int32", "optional": false}]});
        let value = json!({"after": after, "source": source, "op": "c"});
        let bytes = |number: u32, schema: &Value, payload: &Value| match self.form {
            Form::Avro => {
                let mut out = vec![0];
                out.extend(number.to_be_bytes());
                payload::avro(schema, payload, &mut out);
                out
            }
            Form::Json => json!({"schema": schema, "payload": payload}).to_string().into_bytes(),
            Form::Plain => payload.to_string().into_bytes(),
        };
        OwnedRecord {
            at: Coordinates { topic: self.topic(), partition: 0, offset: id },
            timestamp_ms: None,
            key: Some(bytes(1, &key_schema, &key)),
            value: Some(bytes(2, &self.envelope_schema(), &value)),
            headers: Vec::new(),
        }
    }

    /// Decodes a record; the outer error says why there is no plan.
    pub fn decode(&mut self, record: &OwnedRecord) -> Result<(Decoded, RowBuffer), Vec<Mismatch>> {
        let mut scratch = Scratch::default();
        let mut row = RowBuffer::default();
        loop {
            match self.decoder.decode(&record.as_raw(), &mut scratch, &mut row) {
                Decoded::NeedsPlan(need) => {
                    let texts = [&need.key, &need.value].map(|id| self.text(id));
                    let schema =
                        describe(known(&need.key, &texts[0]), known(&need.value, &texts[1]));
                    let overrides = self.decoder.overrides();
                    let plan = plan::compile(&schema.unwrap(), Arc::clone(&self.shape), overrides)?;
                    self.decoder.install(&need, Arc::new(plan));
                }
                decoded => return Ok((decoded, row)),
            }
        }
    }

    /// The fault of a record that must be poison.
    pub fn poison(&mut self, record: &OwnedRecord) -> Fault {
        match self.decode(record) {
            Ok((Decoded::Poison(fault), _)) => fault,
            other => panic!("{other:?}"),
        }
    }

    fn text(&self, id: &SchemaId) -> String {
        match id {
            SchemaId::Avro(RegistryId::Confluent(1)) => {
                r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}"#.to_owned()
            }
            SchemaId::Avro(_) => Avro::default().schema(&self.envelope_schema()).to_string(),
            SchemaId::ConnectJson(text) => text.to_string(),
            SchemaId::Schemaless | SchemaId::None => String::new(),
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
