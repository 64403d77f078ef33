//! What real Debezium wrote for every PostgreSQL type, converted and read back from a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod json;
mod server;

use bytes::Bytes;
use futures::SinkExt as _;
use json::{Json, slot};
use serde::Deserialize;
use serde_json::value::RawValue;
use silversink::config::{BinaryHandlingMode, DecimalHandlingMode, Table, TimePrecisionMode};
use silversink::decode::convert::{Conversion, Staging, staging};
use silversink::decode::schema::{FieldType, Semantic, Wire, connect_text};
use silversink::decode::slot::{Scratch, Slot};
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
    schema: Box<RawValue>,
}

fn lines<T: for<'de> Deserialize<'de>>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn modes(mode: &str) -> Table {
    let (decimal, time, binary) = match mode {
        "default" => {
            (DecimalHandlingMode::Precise, TimePrecisionMode::Adaptive, BinaryHandlingMode::Bytes)
        }
        "double-micros-hex" => {
            (DecimalHandlingMode::Double, TimePrecisionMode::Microseconds, BinaryHandlingMode::Hex)
        }
        "precise-iso-url" => (
            DecimalHandlingMode::Precise,
            TimePrecisionMode::Isostring,
            BinaryHandlingMode::Base64UrlSafe,
        ),
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
    client
        .batch_execute(&format!("DROP TABLE IF EXISTS probe; CREATE TABLE probe (v {sql})"))
        .await
        .unwrap();
    let row = client
        .query_one(
            "SELECT t.oid, b.oid, CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE 0::oid END, t.typtype::text,
                    CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, format_type(a.atttypid, a.atttypmod),
                    CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
                         ELSE format_type(a.atttypid, a.atttypmod) END, n.typtype::text, n.typname::text
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
             JOIN pg_type n ON n.oid = CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE b.oid END
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
        base_typtype: row.get::<_, String>(7).chars().next().unwrap(),
        base_name: row.get(8),
        typmod: row.get(4),
        sql: row.get(5),
    };
    let staged = match staging(&ty) {
        Staging::Native => row.get(6),
        Staging::Text => "text".to_owned(),
    };
    (
        Column { name: "v".into(), ty, not_null: false, generated: false, identity_always: false },
        staged,
    )
}

/// Sends finished fields through COPY BINARY and reads them back as text of the column's type.
async fn round_trip(
    client: &Client,
    staged: &str,
    sql: &str,
    fields: &[Vec<u8>],
) -> Result<Vec<Option<String>>, String> {
    client
        .batch_execute(&format!(
            "DROP TABLE IF EXISTS stage; CREATE TEMP TABLE stage (n integer, v {staged})"
        ))
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
            let sets = sets
                .each_ref()
                .map(|set| set.iter().map(String::as_str).collect::<Vec<_>>().join(","));
            writeln!(f, "{column} | {outcome} | {}", sets.join(" | "))?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_value_of_real_debezium_lands_as_it_was_or_is_listed() {
    let client = server::connect().await;
    client.batch_execute(TYPES).await.unwrap();
    let values: Vec<Value> = lines(include_str!("../../testdata/debezium/types/wire.ndjson"));
    let schemas: Vec<ColumnSchema> =
        lines(include_str!("../../testdata/debezium/types/schemas.ndjson"));
    let mut by_column: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for value in &values {
        by_column.entry(&value.column).or_default().push(value);
    }
    let untyped = FieldType {
        wire: Wire::Untyped,
        semantic: Semantic::None,
        optional: true,
        source_column: None,
    };
    let mut equal = 0;
    let mut differences = Differences::default();
    for (name, values) in by_column {
        // PostGIS is not asked for: its types land as EWKB, which is also how they print.
        let is_geometry = values[0].ty.starts_with("geo");
        let sql = if is_geometry { "bytea" } else { values[0].ty.as_str() };
        let (column, staged) = column(&client, sql).await;
        for mode in ["default", "double-micros-hex", "precise-iso-url", "string-connect-base64"] {
            let Some(schema) = schemas.iter().find(|s| s.mode == mode && s.column == *name) else {
                continue;
            };
            for (form, field) in [
                ("schema", &connect_text::parse(schema.schema.get()).unwrap().ty),
                ("plain", &untyped),
            ] {
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
                    for (path, sides) in [("snapshot", &value.snapshot), ("stream", &value.stream)]
                    {
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
                                let text = &value.postgres;
                                let text = if is_geometry {
                                    format!("\\x{}", text.to_lowercase())
                                } else {
                                    text.clone()
                                };
                                expected.push((path, text));
                            }
                            Err(fault) => {
                                differences.add(
                                    name,
                                    mode,
                                    form,
                                    path,
                                    format!("{}: {}", value.postgres, fault.text),
                                );
                            }
                        }
                    }
                }
                let landed = match round_trip(&client, &staged, sql, &fields).await {
                    Ok(landed) => landed,
                    Err(sqlstate) => {
                        differences.add(
                            name,
                            mode,
                            form,
                            "-",
                            format!("cast refused with {sqlstate}"),
                        );
                        continue;
                    }
                };
                for ((path, postgres), landed) in expected.iter().zip(landed) {
                    let landed = landed.as_deref().unwrap_or("NULL");
                    if landed == postgres {
                        equal += 1;
                    } else {
                        differences.add(
                            name,
                            mode,
                            form,
                            path,
                            format!("{postgres}: landed as {landed}"),
                        );
                    }
                }
            }
        }
    }
    assert!(equal > 4_940, "only {equal} values were compared");
    // Each line is something that Debezium lost before us, or that is refused in words.
    insta::assert_snapshot!("differences", differences.to_string());
}

/// A case that the capture does not have: type, field, slot and the text that PostgreSQL prints.
type Case<'a> = (&'a str, FieldType, Slot<'a>, &'a str);

fn field(wire: Wire, semantic: Semantic) -> FieldType {
    FieldType { wire, semantic, optional: true, source_column: None }
}

fn decimal(scale: i32, precision: u32) -> FieldType {
    field(Wire::Bytes, Semantic::Decimal { scale, precision: Some(precision) })
}

fn edges() -> Vec<Case<'static>> {
    let plain = |wire| field(wire, Semantic::None);
    let string = |semantic| field(Wire::String, semantic);
    let array = |element| field(Wire::Array(Box::new(element)), Semantic::None);
    let list = |json: &'static str| Slot::Nested(json.as_bytes());
    let deep: &'static str = ("[".repeat(1000) + &"]".repeat(1000)).leak();
    vec![
        ("jsonb", string(Semantic::Json), Slot::Text(deep), "*"),
        ("bigint", plain(Wire::Int32), Slot::Int(-5), "-5"),
        ("oid", plain(Wire::Int64), Slot::Int(4_294_967_295), "4294967295"),
        ("real", plain(Wire::Float32), Slot::Float(0.1), "0.1"),
        ("double precision", plain(Wire::Float64), Slot::Double(f64::NEG_INFINITY), "-Infinity"),
        ("double precision", plain(Wire::Int32), Slot::Int(7), "7"),
        ("numeric(12,4)", decimal(2, 10), Slot::Bytes(&[0x01, 0xe2, 0x3a]), "1234.5000"),
        ("numeric(3,5)", decimal(5, 3), Slot::Bytes(&[0x03, 0xe7]), "0.00999"),
        ("numeric", plain(Wire::Float64), Slot::Double(f64::NAN), "NaN"),
        ("numeric", plain(Wire::Float64), Slot::Double(-2.5e-7), "-0.00000025"),
        ("numeric", plain(Wire::Int64), Slot::Int(i64::MIN), "-9223372036854775808"),
        ("numeric", plain(Wire::String), Slot::Text("1e131071"), "*"),
        ("numeric", plain(Wire::String), Slot::Text("1e-16383"), "*"),
        ("numeric(1000,-1000)", plain(Wire::String), Slot::Text("1e1999"), "*"),
        ("character(5)", plain(Wire::String), Slot::Text("ab       "), "ab"),
        ("character varying(3)", plain(Wire::String), Slot::Text("äöü"), "äöü"),
        ("name", plain(Wire::String), Slot::Text("pg_class"), "pg_class"),
        ("bytea", plain(Wire::Bytes), Slot::Bytes(&[0, 255]), "\\x00ff"),
        ("date", field(Wire::Int32, Semantic::Date), Slot::Int(-2_440_588), "4714-11-24 BC"),
        ("date", field(Wire::Int32, Semantic::Date), Slot::Int(2_145_042_905), "5874897-12-31"),
        ("date", string(Semantic::IsoDate), Slot::Text("-4713-11-24Z"), "4714-11-24 BC"),
        ("time", field(Wire::Int64, Semantic::NanoTime), Slot::Int(1_000), "00:00:00.000001"),
        ("timetz", string(Semantic::ZonedTime), Slot::Text("24:00:00Z"), "24:00:00+00"),
        (
            "timetz",
            string(Semantic::ZonedTime),
            Slot::Text("01:02:03.5-15:59:59"),
            "01:02:03.5-15:59:59",
        ),
        (
            "timestamp",
            field(Wire::Int64, Semantic::Timestamp),
            Slot::Int(-210_866_803_200_000),
            "4714-11-24 00:00:00 BC",
        ),
        (
            "timestamp",
            field(Wire::Int64, Semantic::NanoTimestamp),
            Slot::Int(i64::MIN),
            "-infinity",
        ),
        (
            "timestamptz",
            string(Semantic::ZonedTimestamp),
            Slot::Text("-4713-11-24T00:00:00Z"),
            "4714-11-24 00:00:00+00 BC",
        ),
        (
            "timestamptz",
            string(Semantic::ZonedTimestamp),
            Slot::Text("2026-01-01T00:00:00.5+05:30"),
            "2025-12-31 18:30:00.5+00",
        ),
        (
            "interval",
            string(Semantic::Interval),
            Slot::Text("P-1Y2M-3DT-4H5M-6.5S"),
            "-10 mons -3 days -03:55:06.5",
        ),
        ("interval(3)", string(Semantic::Interval), Slot::Text("PT0.123S"), "00:00:00.123"),
        (
            "interval",
            field(Wire::Int64, Semantic::MicroDuration),
            Slot::Int(i64::MAX - 1),
            "2562047788:00:54.775806",
        ),
        (
            "json",
            string(Semantic::Json),
            Slot::Text("{\"b\": 1, \"a\": 2, \"a\": 3}"),
            "{\"b\": 1, \"a\": 2, \"a\": 3}",
        ),
        (
            "jsonb",
            string(Semantic::Json),
            Slot::Text("{\"b\": 1e2, \"a\": \"\\ud83d\\ude00\"}"),
            "{\"a\": \"😀\", \"b\": 100}",
        ),
        ("jsonb", string(Semantic::Json), Slot::Text("1e130000"), "*"),
        ("jsonb", string(Semantic::Json), Slot::Text("1e-16000"), "*"),
        ("mood", string(Semantic::Enum), Slot::Text("very, happy"), "very, happy"),
        ("mood", plain(Wire::String), Slot::Text("ok"), "ok"),
        (
            "bit(10)",
            field(Wire::Bytes, Semantic::Bits { length: Some(10) }),
            Slot::Bytes(&[1, 2]),
            "1000000001",
        ),
        ("short_text", plain(Wire::String), Slot::Text("twelve chars"), "twelve chars"),
        ("integer[]", array(plain(Wire::Int32)), list("[]"), "{}"),
        ("integer[]", array(plain(Wire::Int32)), list("[1, null, -3]"), "{1,NULL,-3}"),
        ("character(3)[]", array(plain(Wire::String)), list("[\"a\"]"), "{\"a  \"}"),
        ("jsonb[]", array(string(Semantic::Json)), list("[\"{}\"]"), "{\"{}\"}"),
        (
            "mood[]",
            array(string(Semantic::Enum)),
            list(r#"["ÜBER \"q\"", null]"#),
            r#"{"ÜBER \"q\"",NULL}"#,
        ),
        ("bytea[]", array(plain(Wire::Bytes)), list("[\"AP8=\"]"), r#"{"\\x00ff"}"#),
        ("inet[]", array(plain(Wire::String)), list("[\"::1\"]"), "{::1}"),
    ]
}

#[tokio::test]
async fn the_edges_of_each_type_land_exactly() {
    let client = server::connect().await;
    client.batch_execute(TYPES).await.unwrap();
    for (sql, field, slot, expected) in edges() {
        let (column, staged) = column(&client, sql).await;
        let conversion = Conversion::resolve(&field, &column, &Table::default()).unwrap();
        let mut out = Vec::new();
        conversion
            .encode(&slot, &Json, &Scratch::default(), &mut out)
            .unwrap_or_else(|f| panic!("{sql} {slot:?}: {f}"));
        let landed = round_trip(&client, &staged, sql, &[out]).await.unwrap();
        let landed = landed[0].as_deref().unwrap_or("NULL");
        if expected == "*" {
            assert!(landed.len() > 1000, "{sql} {slot:?} landed as {landed}");
        } else {
            assert_eq!(landed.trim_end(), expected, "{sql} {slot:?}");
        }
    }
}
