//! The captured scenarios: where they are, how their encodings are configured, how much work their orders are.

use silversink::config::{BinaryHandlingMode, DecimalHandlingMode, Table, TimePrecisionMode};
use silversink::demo::capture::Capture;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Every scenario of `testdata/debezium`, sorted.
pub fn all() -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(directory(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| directory(name).join("tables.json").exists())
        .collect();
    found.sort_unstable();
    found
}

/// Where a scenario is.
pub fn directory(scenario: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/debezium").join(scenario)
}

/// Opens a scenario.
pub fn open(scenario: &str) -> Capture {
    Capture::open(directory(scenario)).unwrap()
}

/// The encodings of a scenario, the first with schemas first: tables of the others take its column types.
pub fn encodings(scenario: &str) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(directory(scenario))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            let records = directory(scenario).join(name).join("records.ndjson");
            records.exists() || records.with_extension("ndjson.gz").exists()
        })
        .collect();
    found.sort_by_key(|name| (is_schemaless(scenario, name), name.clone()));
    assert!(!found.is_empty(), "{scenario} has no encoding");
    found
}

/// JSON without schema: column types and keys come from the configuration.
pub fn is_schemaless(scenario: &str, encoding: &str) -> bool {
    match encoding {
        "json-plain" | "flat-json" => true,
        "json-3-partitions" => scenario == "noise",
        _ => false,
    }
}

/// What a user of this connector would write under `[defaults]`.
pub fn defaults(encoding: &str) -> Table {
    let mut table = Table::default();
    match encoding {
        "string-connect-base64-avro" | "string-connect-base64-json" => {
            table.decimal_handling_mode = DecimalHandlingMode::String;
            table.time_precision_mode = TimePrecisionMode::Connect;
            table.binary_handling_mode = BinaryHandlingMode::Base64;
        }
        "double-micros-hex-avro" | "double-micros-hex-json" => {
            table.decimal_handling_mode = DecimalHandlingMode::Double;
            table.time_precision_mode = TimePrecisionMode::Microseconds;
            table.binary_handling_mode = BinaryHandlingMode::Hex;
        }
        "precise-iso-url-avro" | "precise-iso-url-json" => {
            table.time_precision_mode = TimePrecisionMode::Isostring;
            table.binary_handling_mode = BinaryHandlingMode::Base64UrlSafe;
        }
        "hex-json" => {
            table.decimal_handling_mode = DecimalHandlingMode::String;
            table.binary_handling_mode = BinaryHandlingMode::Hex;
        }
        "base64-json" | "base64-avro" => {
            table.binary_handling_mode = BinaryHandlingMode::Base64;
            "N/A-7c1d".clone_into(&mut table.unavailable_value_placeholder);
        }
        "precise-json" | "precise-avro" => {
            table.decimal_handling_mode = DecimalHandlingMode::String;
            table.time_precision_mode = TimePrecisionMode::Connect;
        }
        _ => {}
    }
    table
}

/// Scenarios about types: their tables get the source's own types where PostgreSQL has them, as a user would configure it.
/// The others have natural types.
pub fn has_source_types(scenario: &str) -> bool {
    matches!(scenario, "types" | "toast")
}

/// What makes the source's own types known.
pub const SOURCE_TYPES: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION isn;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very, happy', '\u{DC}BER \"q\"');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN short_text AS varchar(12);
    CREATE DOMAIN price AS numeric(8,3);
    CREATE TYPE pair AS (a integer, b text);";

/// Natural types that some values of a table do not fit.
pub fn column_types(scenario: &str, table: &str) -> BTreeMap<String, String> {
    let configured: &[(&str, &str)] = match (scenario, table) {
        // MariaDB's time goes from -838 to 838 hours.
        ("mariadb", "orders") => &[("span", "interval")],
        _ => &[],
    };
    configured.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect()
}

/// Somebody runs the DDL that is printed where a lane stops for a change of type or key.
pub fn has_operator(scenario: &str) -> bool {
    scenario.starts_with("schema-change")
}

/// Without a schema nobody can tell one type from the next: where types change, such records cannot be read.
pub fn is_readable(scenario: &str, encoding: &str, table: &str) -> bool {
    !(scenario.starts_with("schema-change") && encoding == "json-plain" && table != "routes")
}

/// The key of a table whose key changes: records with the older one are read by the new one.
pub fn key(table: &str) -> Option<Vec<String>> {
    (table == "routes").then(|| vec!["id".to_owned(), "region".to_owned()])
}

/// Column types of a table as the source has them.
pub fn source_types(capture: &Capture, table: &str) -> BTreeMap<String, String> {
    // PostGIS is not part of PostgreSQL.
    let columns = capture.tables[table].columns.iter();
    let columns = columns.filter(|c| c.generated.is_none() && !c.ty.starts_with("geo"));
    columns.map(|column| (column.name.clone(), column.ty.clone())).collect()
}
