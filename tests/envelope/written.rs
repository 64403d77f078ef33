//! Connectors that were not captured: their records, written by hand, land with the version that the design's table says.

use crate::rig::Rig;
use serde::Deserialize;
use serde_json::Value;
use silversink::demo::capture::{read_records, read_schemas};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    key: BTreeMap<String, String>,
    row: BTreeMap<String, Option<Value>>,
    version: (String, u8, u64, u64),
    deleted: bool,
}

const CONNECTORS: [&str; 6] = ["sqlserver", "db2", "oracle", "mongodb", "vitess", "spanner"];
const FORMS: [&str; 2] = ["json", "avro"];

fn directory(connector: &str) -> PathBuf {
    Path::new("testdata/debezium-written").join(connector)
}

#[test]
fn every_connector_is_ordered_by_what_it_has() {
    let (mut records, mut schemas) = (Vec::new(), BTreeMap::new());
    for connector in CONNECTORS {
        schemas.extend(read_schemas(&directory(connector).join("avro/schemas")).unwrap());
        for form in FORMS {
            let file = directory(connector).join(form).join("records.ndjson");
            for mut record in read_records(&file).unwrap() {
                record.at.topic = format!("{connector}_{form}");
                records.push(record);
            }
        }
    }
    let route = "[[route]]\ntopics = '^(?<topic>\\w+_(json|avro))$'\ntable = \"silver.${topic}\"\n";
    let rig = Rig::new(&records, route).with_schemas(&schemas);

    rig.run().unwrap();

    for connector in CONNECTORS {
        let text = std::fs::read_to_string(directory(connector).join("expected.ndjson")).unwrap();
        let expected: Vec<Expected> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for form in FORMS {
            has(&rig, &format!("{connector}_{form}"), &expected);
        }
    }
}

/// The table holds exactly these rows, with these versions.
fn has(rig: &Rig, table: &str, expected: &[Expected]) {
    assert_eq!(rig.counts(table)[3], 0, "{table}");
    assert_eq!(rig.rows(&format!("SELECT FROM silver.{table}")).len(), expected.len(), "{table}");
    for row in expected {
        let quoted = |name: &str| format!("\"{name}\"");
        let (key, value) = row.key.first_key_value().unwrap();
        let columns: String = row.row.keys().map(|c| format!(", {}::text", quoted(c))).collect();
        let sql = format!(
            "SELECT concat_ws(' ', v.commit_position, v.phase, v.change_position, v.kafka_offset), \
             (t._deleted_at IS NOT NULL)::text{columns} FROM silver.{table} AS t, \
             silversink.version_parts(t._version) AS v WHERE {}::text = '{value}'",
            quoted(key)
        );
        let found = rig.rows(&sql).remove(0);
        let (commit, phase, change, offset) = &row.version;
        let version = format!("{commit} {phase} {change} {offset}");
        assert_eq!(found[0].as_deref(), Some(version.as_str()), "{table} {value}");
        assert_eq!(found[1].as_deref(), Some(if row.deleted { "true" } else { "false" }));
        for ((column, expected), found) in row.row.iter().zip(&found[2..]) {
            assert!(
                same(expected.as_ref(), found.as_deref()),
                "{table} {value} {column}: {found:?}, not {expected:?}"
            );
        }
    }
}

/// Equal texts, or equal documents.
fn same(expected: Option<&Value>, found: Option<&str>) -> bool {
    let document = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    match (expected.and_then(Value::as_str), found) {
        (None, None) => true,
        (Some(expected), Some(found)) => {
            expected == found || document(expected).is_some_and(|d| Some(d) == document(found))
        }
        _ => false,
    }
}
