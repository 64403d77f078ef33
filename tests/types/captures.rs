//! Captures of real Debezium with every type and with unchanged large values, in each encoding, compared with the source.

use crate::silver::Silver;
use silversink::batch::Kind;
use silversink::batch::arena::{Arena, Incoming, SealedRange};
use silversink::batch::exchange::Told;
use silversink::config::{
    BinaryHandlingMode, DecimalHandlingMode, Format, Table, TimePrecisionMode,
};
use silversink::decode::plan::{self, SchemaText, describe};
use silversink::decode::slot::Scratch;
use silversink::decode::{ChangeKind, Decoded, RegistryId, RowBuffer, SchemaId, TopicDecoder};
use silversink::demo::capture::{Capture, TableTruth};
use silversink::demo::ground_truth::{Difference, Mismatch, verify};
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const TYPES: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION isn;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very, happy', 'ÜBER \"q\"');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN short_text AS varchar(12);
    CREATE DOMAIN price AS numeric(8,3);
    CREATE TYPE pair AS (a integer, b text);";

/// What the conversions of the same values are known to do: each line is something that Debezium lost before us, or that
/// is refused in words.
const KNOWN: &str =
    include_str!("../convert_postgres/snapshots/convert_postgres__differences.snap");

fn capture(scenario: &str) -> Capture {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/debezium").join(scenario);
    Capture::open(root).unwrap()
}

/// What a replay left.
struct Replayed {
    differences: Vec<Difference>,
    /// Key and reason of each dead letter.
    poison: Vec<(String, String)>,
    live: u64,
}

/// Replays one table of an encoding in small batches; `ddl` tells the Silver type of a column.
async fn replay(
    silver: &Silver,
    capture: &Capture,
    (encoding, records): (&str, &[OwnedRecord]),
    truth: &TableTruth,
    settings: &Table,
    ddl: &dyn Fn(&str, &str) -> String,
    skip: &dyn Fn(&OwnedRecord) -> bool,
) -> Replayed {
    let table = truth.name.as_str();
    let name = TableName::new(format!("silver_{}", encoding.replace('-', "_")), table);
    let source = &capture.tables[table];
    let columns: Vec<String> = source
        .columns
        .iter()
        .map(|c| match &c.generated {
            Some(by) => format!("{} {} GENERATED ALWAYS AS ({by}) STORED", c.name, c.ty),
            None => format!("{} {}", c.name, ddl(&c.name, &c.ty)),
        })
        .collect();
    let text = format!(
        "CREATE SCHEMA IF NOT EXISTS {}; CREATE TABLE {name} ({}, _version bytea NOT NULL, _deleted_at timestamptz,
         _source_ts timestamptz, _applied_at timestamptz, PRIMARY KEY ({}))",
        name.schema,
        columns.join(", "),
        source.key.join(", ")
    );
    silver.client.batch_execute(&text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let described = silver.destination.describe(&name, &Bookkeeping::default()).await.unwrap();
    let shape = Arc::new(described.unwrap().shape);
    let schemas = capture.schemas(encoding).unwrap();
    let schema_text = |id: &SchemaId| match id {
        SchemaId::Avro(RegistryId::Confluent(id)) => schemas[id].schema.clone(),
        SchemaId::ConnectJson(text) => text.to_string(),
        SchemaId::Avro(_) | SchemaId::Schemaless | SchemaId::None => String::new(),
    };
    let mut decoder = TopicDecoder::new(Format::Auto, settings.clone());
    let (mut scratch, mut row) = (Scratch::default(), RowBuffer::default());
    let mut arena = Arena::default();
    let mut range = silver.claim(&format!("{encoding}.{table}")).await;
    let mut writer = silver.destination.writer().await.unwrap();
    let mut poison = Vec::new();
    let of_table: Vec<&OwnedRecord> = records
        .iter()
        .filter(|r| r.at.topic.rsplit('.').next() == Some(table) && !skip(r))
        .collect();
    for (number, records) in of_table.chunks(7).enumerate() {
        arena.set_shape(Arc::clone(&shape));
        for record in records {
            let decoded = loop {
                match decoder.decode(&record.as_raw(), &mut scratch, &mut row) {
                    Decoded::NeedsPlan(need) => {
                        let (key, value) = (schema_text(&need.key), schema_text(&need.value));
                        let schema = describe(known(&need.key, &key), known(&need.value, &value));
                        let compiled = plan::compile(
                            &schema.unwrap(),
                            Arc::clone(&shape),
                            decoder.overrides(),
                        );
                        decoder.install(&need, Arc::new(compiled.unwrap()));
                    }
                    decoded => break decoded,
                }
            };
            let change = match decoded {
                Decoded::Change(change) => change,
                Decoded::Poison(fault) => {
                    arena.dead_letter(0);
                    poison.push((key_of(record), fault.text));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            let kind = match change.kind {
                ChangeKind::Row if change.has_kept => Kind::Partial,
                ChangeKind::Row => Kind::Whole,
                ChangeKind::Delete => Kind::Delete,
                ChangeKind::Tombstone => Kind::Tombstone,
                ChangeKind::Truncate => panic!("nothing is truncated here"),
            };
            arena.fold(Incoming {
                body: &row.body,
                key: &row.key,
                kind,
                version: change.version,
                deleted_at: change.deleted_at,
                source_ts: change.source_ts,
                own_time: change.own_time,
                kept: &row.kept,
                old_key: None,
                told: Told::Nothing,
                needs_base: change.needs_base,
                slot: 0,
                offset: record.at.offset,
            });
        }
        range.next = range.from + i64::try_from(records.len()).unwrap();
        let sealed = vec![SealedRange { slot: 0, range: range.clone() }];
        let batch = arena.seal(u64::try_from(number).unwrap(), sealed);
        writer.write("types", None, &batch).await.unwrap();
        range.from = range.next;
    }
    let readback = silver.readback().await;
    let verdict = verify(&readback, &name, &Bookkeeping::default(), truth, 100_000).await.unwrap();
    Replayed { differences: verdict.differences, poison, live: verdict.live }
}

fn known<'t>(id: &SchemaId, text: &'t str) -> SchemaText<'t> {
    match id {
        SchemaId::Avro(_) => SchemaText::Avro(text),
        SchemaId::ConnectJson(_) => SchemaText::ConnectJson(text),
        SchemaId::Schemaless => SchemaText::Schemaless,
        SchemaId::None => SchemaText::None,
    }
}

/// `id=7`, as differences name rows; the captured tables have one integer key.
fn key_of(record: &OwnedRecord) -> String {
    let key = record.key.as_deref().unwrap();
    let id = match key {
        [0, _, _, _, _, rest @ ..] => {
            let zigzag =
                rest.iter().rev().fold(0_i64, |sum, byte| sum << 7 | i64::from(byte & 0x7f));
            zigzag >> 1
        }
        _ => {
            let json: serde_json::Value = serde_json::from_slice(key).unwrap();
            json.get("payload").unwrap_or(&json)["id"].as_i64().unwrap()
        }
    };
    format!("id={id}")
}

/// Not in the events: types that Debezium does not know, always or without `include.unknown.datatypes`.
const NEVER_SENT: [&str; 4] = ["a_interval", "a_money", "a_point", "a_xml"];
const UNKNOWN: [&str; 11] = [
    "a_domain",
    "c_box",
    "c_circle",
    "c_composite",
    "c_int4multirange",
    "c_line",
    "c_lseg",
    "c_path",
    "c_pg_lsn",
    "c_polygon",
    "c_tsquery",
];

/// Silver's types where the source's are not used.
fn silver_type(encoding: &str, column: &str, ty: &str) -> String {
    match column {
        // A float that stands for the largest money is beyond it.
        "c_money" if encoding.starts_with("double") => "double precision",
        _ => ty,
    }
    .to_owned()
}

fn settings(encoding: &str) -> Table {
    let (decimal, time, binary) = match encoding.rsplit_once('-').map_or("", |(mode, _)| mode) {
        "string-connect-base64" => {
            (DecimalHandlingMode::String, TimePrecisionMode::Connect, BinaryHandlingMode::Base64)
        }
        "double-micros-hex" => {
            (DecimalHandlingMode::Double, TimePrecisionMode::Microseconds, BinaryHandlingMode::Hex)
        }
        "precise-iso-url" => (
            DecimalHandlingMode::Precise,
            TimePrecisionMode::Isostring,
            BinaryHandlingMode::Base64UrlSafe,
        ),
        _ => (DecimalHandlingMode::Precise, TimePrecisionMode::Adaptive, BinaryHandlingMode::Bytes),
    };
    Table {
        decimal_handling_mode: decimal,
        time_precision_mode: time,
        binary_handling_mode: binary,
        // An array of bits arrives as NULL, which has to be accepted.
        column_types: [("a_bit".to_owned(), "bit(3)[]".to_owned())].into(),
        ..Table::default()
    }
}

/// Is it a difference that the list of the conversions has, or one that this capture is there to show?
fn is_known(
    (encoding, postgis): (&str, bool),
    column: &str,
    expected: Option<&str>,
    found: Option<&str>,
) -> bool {
    let sent = encoding.starts_with("precise") || !UNKNOWN.contains(&column);
    // The converters of these two write a default where the row has NULL.
    let defaults = matches!(encoding, "json-stock") || encoding.ends_with("avro");
    let line = format!(
        "{column} | {}: landed as {} | ",
        expected.unwrap_or("NULL"),
        found.unwrap_or("NULL")
    );
    NEVER_SENT.contains(&column)
        || (column == "a_bit" && found.is_none())
        || (!postgis && matches!(column, "c_geometry" | "c_geography"))
        || (column == "c_money" && encoding.starts_with("double"))
        || !sent
        // Connect's own timestamps count milliseconds.
        || (column == "d_ts_nn"
            && encoding.starts_with("string-connect")
            && expected.unwrap_or_default().strip_prefix(found.unwrap_or("?")) == Some("456"))
        || (defaults && expected.is_none() && column.starts_with("d_"))
        || KNOWN.contains(&line)
}

#[tokio::test]
async fn the_capture_of_every_type_lands_in_every_encoding() {
    let silver = Silver::with(TYPES).await;
    let postgis = silver.real("postgis").await;
    let types = capture("types");
    let truth = types.truth().unwrap();
    let [big, every_type] = truth.as_slice() else { panic!("two tables") };
    for encoding in [
        "avro",
        "json",
        "json-plain",
        "json-stock",
        "string-connect-base64-avro",
        "string-connect-base64-json",
        "double-micros-hex-avro",
        "double-micros-hex-json",
        "precise-iso-url-avro",
        "precise-iso-url-json",
    ] {
        let records = types.records(encoding).unwrap();
        let settings = settings(encoding);
        let ddl = |column: &str, ty: &str| match ty {
            "geometry" | "geography" if !postgis => "bytea".to_owned(),
            _ => silver_type(encoding, column, ty),
        };
        let done =
            replay(&silver, &types, (encoding, &records), every_type, &settings, &ddl, &|_| false)
                .await;
        for (key, reason) in &done.poison {
            let (column, why) = reason
                .strip_prefix("column \"")
                .and_then(|rest| rest.split_once("\": "))
                .unwrap_or_else(|| panic!("{reason}"));
            let line = format!(": column \"v\": {why} | ");
            let listed =
                KNOWN.lines().any(|l| l.starts_with(&format!("{column} | ")) && l.contains(&line));
            assert!(listed, "{encoding} {key}: {reason}");
        }
        let poisoned: BTreeSet<&str> = done.poison.iter().map(|(key, _)| key.as_str()).collect();
        for difference in done.differences.iter().filter(|d| !poisoned.contains(d.key.as_str())) {
            let Mismatch::Column { column, expected, found } = &difference.what else {
                panic!("{encoding}: {difference}")
            };
            let known =
                is_known((encoding, postgis), column, expected.as_deref(), found.as_deref());
            assert!(known, "{encoding}: {difference}");
        }
        assert!(done.live >= 20, "{encoding}: {} rows", done.live);
        if matches!(encoding, "avro" | "json" | "json-plain" | "json-stock") {
            let same = |_: &str, ty: &str| ty.to_owned();
            let settings = Table::default();
            let done =
                replay(&silver, &types, (encoding, &records), big, &settings, &same, &|_| false)
                    .await;
            assert!(done.poison.is_empty() && done.differences.is_empty(), "{encoding}");
            assert_eq!(done.live, 3);
        }
    }
}

#[tokio::test]
async fn values_that_are_not_sent_again_stay_in_every_type() {
    let silver = Silver::with("CREATE EXTENSION hstore").await;
    let toast = capture("toast");
    let truth = toast.truth().unwrap();
    for encoding in
        ["avro", "json", "json-plain", "flat-json", "hex-json", "base64-json", "base64-avro"]
    {
        let mode = encoding.split('-').next().unwrap();
        let settings = match mode {
            "hex" => Table {
                binary_handling_mode: BinaryHandlingMode::Hex,
                decimal_handling_mode: DecimalHandlingMode::String,
                ..Table::default()
            },
            "base64" => Table {
                binary_handling_mode: BinaryHandlingMode::Base64,
                unavailable_value_placeholder: "N/A-7c1d".to_owned(),
                ..Table::default()
            },
            _ => Table::default(),
        };
        let records = toast.records(encoding).unwrap();
        for truth in
            truth.iter().filter(|t| matches!(t.name.as_str(), "docs_full" | "docs_default"))
        {
            let table = &truth.name;
            let full = table == "docs_full";
            let same = |_: &str, ty: &str| ty.to_owned();
            // Its values are in the row of its old key only.
            let moved = |record: &OwnedRecord| !full && key_of(record) == "id=115";
            let done =
                replay(&silver, &toast, (encoding, &records), truth, &settings, &same, &moved)
                    .await;
            assert!(done.poison.is_empty(), "{encoding} {table}: {:?}", done.poison);
            for difference in &done.differences {
                if let Mismatch::Column { column, expected: Some(expected), found: Some(found) } =
                    &difference.what
                    && matches!(column.as_str(), "prices" | "huge")
                {
                    // Debezium cuts the zeros at the end of decimals whose scale is not declared.
                    assert_eq!(without_last_zeros(expected), without_last_zeros(found));
                    continue;
                }
                let excused = !full
                    && (difference.key == "id=115"
                        // Its title really is the placeholder.
                        || difference.key == "id=13" && difference.to_string().contains("title is")
                        || matches!(&difference.what, Mismatch::Column { column, found, .. }
                            if found.is_none() && arrives_as_null(mode, column)));
                assert!(excused, "{encoding}: {difference}");
            }
        }
    }
}

fn without_last_zeros(numbers: &str) -> Vec<&str> {
    let numbers = numbers.trim_matches(['{', '}']).split(',');
    numbers
        .map(|n| if n.contains('.') { n.trim_end_matches('0').trim_end_matches('.') } else { n })
        .collect()
}

/// No placeholder fits these: an unchanged value arrives as a bare NULL.
fn arrives_as_null(mode: &str, column: &str) -> bool {
    match column {
        "prices" | "flags" => true,
        "huge" => mode != "hex",
        "parts" => matches!(mode, "hex" | "base64"),
        "raw" => mode == "base64",
        _ => false,
    }
}
