//! What real Debezium wrote for every PostgreSQL type, converted and read back from a real PostgreSQL.

mod json;
mod schema;
mod server;

use bytes::Bytes;
use futures::SinkExt as _;
use json::{Json, slot};
use schema::Schema;
use serde::Deserialize;
use serde_json::value::RawValue;
use server::Server;
use silversink::config::{BinaryHandlingMode, DecimalHandlingMode, Table, TimePrecisionMode};
use silversink::decode::convert::{Conversion, Staging, staging};
use silversink::decode::schema::{FieldType, Semantic, Wire};
use silversink::decode::slot::Scratch;
use silversink::table::{Column, ColumnType};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::pin::pin;
use tokio_postgres::Client;

const TYPES: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION isn;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very, happy', 'ÜBER \"q\"');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN short_text AS varchar(12);
    CREATE DOMAIN price AS numeric(8,3);
    CREATE TYPE pair AS (a integer, b text);";

/// One line of `wire.ndjson`: a value as PostgreSQL prints it and as it is on the wire, by mode.
#[derive(Deserialize)]
struct Value {
    column: String,
    #[serde(rename = "type")]
    ty: String,
    postgres: String,
    snapshot: HashMap<String, Box<RawValue>>,
    stream: HashMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct ColumnSchema {
    mode: String,
    column: String,
    schema: Schema,
}

fn lines<T: for<'de> Deserialize<'de>>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn modes(mode: &str) -> Table {
    let (decimal, time, binary) = match mode {
        "default" => (DecimalHandlingMode::Precise, TimePrecisionMode::Adaptive, BinaryHandlingMode::Bytes),
        "double-micros-hex" => {
            (DecimalHandlingMode::Double, TimePrecisionMode::Microseconds, BinaryHandlingMode::Hex)
        }
        "precise-iso-url" => {
            (DecimalHandlingMode::Precise, TimePrecisionMode::Isostring, BinaryHandlingMode::Base64UrlSafe)
        }
        "string-connect-base64" => {
            (DecimalHandlingMode::String, TimePrecisionMode::Connect, BinaryHandlingMode::Base64)
        }
        other => panic!("mode {other}"),
    };
    Table {
        decimal_handling_mode: decimal,
        time_precision_mode: time,
        binary_handling_mode: binary,
        ..Table::default()
    }
}

/// A column's type as the catalogue tells it, and the type that its staging column has.
async fn column(client: &Client, sql: &str) -> (Column, String) {
    client.batch_execute(&format!("DROP TABLE IF EXISTS probe; CREATE TABLE probe (v {sql})")).await.unwrap();
    let row = client
        .query_one(
            "SELECT t.oid, b.oid, CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE 0::oid END, t.typtype::text,
                    CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, format_type(a.atttypid, a.atttypmod),
                    CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
                         ELSE format_type(a.atttypid, a.atttypmod) END
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
             WHERE a.attrelid = 'probe'::regclass AND a.attname = 'v'",
            &[],
        )
        .await
        .unwrap();
    let ty = ColumnType {
        oid: row.get(0),
        base_oid: row.get(1),
        element_oid: row.get(2),
        typtype: row.get::<_, String>(3).chars().next().unwrap(),
        typmod: row.get(4),
        sql: row.get(5),
    };
    let staged = match staging(&ty) {
        Staging::Native => row.get(6),
        Staging::Text => "text".to_owned(),
    };
    (Column { name: "v".into(), ty, not_null: false, generated: false, identity_always: false }, staged)
}

/// Sends finished fields through COPY BINARY and reads them back as text of the column's type.
async fn round_trip(client: &Client, staged: &str, sql: &str, fields: &[Vec<u8>]) -> Result<Vec<Option<String>>, String> {
    client
        .batch_execute(&format!("DROP TABLE IF EXISTS stage; CREATE TEMP TABLE stage (n integer, v {staged})"))
        .await
        .unwrap();
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (n, field) in fields.iter().enumerate() {
        out.extend_from_slice(&2i16.to_be_bytes());
        out.extend_from_slice(&4i32.to_be_bytes());
        out.extend_from_slice(&i32::try_from(n).unwrap().to_be_bytes());
        out.extend_from_slice(field);
    }
    out.extend_from_slice(&(-1i16).to_be_bytes());
    let mut sink = pin!(client.copy_in::<_, Bytes>("COPY stage FROM STDIN BINARY").await.unwrap());
    sink.send(Bytes::from(out)).await.unwrap();
    sink.finish().await.unwrap_or_else(|error| panic!("COPY into {staged}: {error:?}"));
    let query = format!("SELECT CAST(CAST(v AS {sql}) AS text) FROM stage ORDER BY n");
    let rows = client.query(&query, &[]).await;
    let rows = rows.map_err(|error| error.as_db_error().unwrap().code().code().to_owned())?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What did not land as it was: column and outcome, with the modes, forms and paths that it happens in.
#[derive(Default)]
struct Differences(BTreeMap<(String, String), [BTreeSet<String>; 3]>);

impl Differences {
    fn add(&mut self, column: &str, mode: &str, form: &str, path: &str, outcome: String) {
        let sets = self.0.entry((column.to_owned(), outcome)).or_default();
        for (set, item) in sets.iter_mut().zip([mode, form, path]) {
            set.insert(item.to_owned());
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((column, outcome), sets) in &self.0 {
            let sets = sets.each_ref().map(|set| set.iter().map(String::as_str).collect::<Vec<_>>().join(","));
            writeln!(f, "{column} | {outcome} | {}", sets.join(" | "))?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_value_of_real_debezium_lands_as_it_was_or_is_listed() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(TYPES).await.unwrap();
    let values: Vec<Value> = lines(include_str!("../../testdata/debezium/types/wire.ndjson"));
    let schemas: Vec<ColumnSchema> = lines(include_str!("../../testdata/debezium/types/schemas.ndjson"));
    let mut by_column: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for value in values.iter().filter(|value| !value.ty.starts_with("geo")) {
        by_column.entry(&value.column).or_default().push(value);
    }
    let untyped = FieldType { wire: Wire::Untyped, semantic: Semantic::None, optional: true, source_column: None };
    let mut equal = 0;
    let mut differences = Differences::default();
    for (name, values) in by_column {
        let sql = &values[0].ty;
        let (column, staged) = column(&client, sql).await;
        for mode in ["default", "double-micros-hex", "precise-iso-url", "string-connect-base64"] {
            let Some(schema) = schemas.iter().find(|s| s.mode == mode && s.column == *name) else { continue };
            for (form, field) in [("schema", &schema.schema.field_type()), ("plain", &untyped)] {
                let conversion = match Conversion::resolve(field, &column, &modes(mode)) {
                    Ok(conversion) => conversion,
                    Err(why) => {
                        differences.add(name, mode, form, "-", format!("refused: {why}"));
                        continue;
                    }
                };
                let mut fields = Vec::new();
                let mut expected = Vec::new();
                for value in &values {
                    for (path, sides) in [("snapshot", &value.snapshot), ("stream", &value.stream)] {
                        let Some(wire) = sides.get(mode) else { continue };
                        if wire.get().contains("absent from the event") {
                            continue;
                        }
                        let mut out = Vec::new();
                        let slot = slot(wire.get());
                        let scratch = Scratch::default();
                        assert!(!conversion.is_unavailable(&slot, &Json, &scratch));
                        match conversion.encode(&slot, &Json, &scratch, &mut out) {
                            Ok(()) => {
                                fields.push(out);
                                expected.push((path, &value.postgres));
                            }
                            Err(fault) => {
                                differences.add(name, mode, form, path, format!("{}: {}", value.postgres, fault.text));
                            }
                        }
                    }
                }
                let landed = match round_trip(&client, &staged, sql, &fields).await {
                    Ok(landed) => landed,
                    Err(sqlstate) => {
                        differences.add(name, mode, form, "-", format!("cast refused with {sqlstate}"));
                        continue;
                    }
                };
                for ((path, postgres), landed) in expected.iter().zip(landed) {
                    let landed = landed.as_deref().unwrap_or("NULL");
                    if landed == *postgres {
                        equal += 1;
                    } else {
                        differences.add(name, mode, form, path, format!("{postgres}: landed as {landed}"));
                    }
                }
            }
        }
    }
    assert!(equal > 4_900, "only {equal} values were compared");
    // Each line is something that Debezium lost before us, or that is refused in words.
    insta::assert_snapshot!("differences", differences.to_string());
}
