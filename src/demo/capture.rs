//! Reads a capture: the records, schemas and final rows that a real connector and its source left behind.
//!
//! The layout is that of `testdata/debezium`: `<scenario>/tables.json`, `expected/`, `deleted/`, and one directory per
//! encoding with `records.ndjson[.gz]` and, for Avro, `schemas/<id>.json`.

use crate::fault::{Class, Code, Fault};
use crate::record::{Coordinates, OwnedRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A source row or key: column name to the text that PostgreSQL prints, `None` for NULL.
pub type TextRow = BTreeMap<String, Option<String>>;

/// One schema of a capture, as the registry that was used had it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CapturedSchema {
    /// First subject that it was registered under.
    pub subject: String,
    /// Version inside that subject, from 1.
    pub version: u32,
    /// Global id: the number behind the magic byte.
    pub id: u32,
    /// Schema text.
    pub schema: String,
    /// Other subjects with the same schema.
    #[serde(default)]
    pub also: Vec<SubjectVersion>,
}

/// A subject and a version in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SubjectVersion {
    /// Subject.
    pub subject: String,
    /// Version, from 1.
    pub version: u32,
}

/// A captured table as the source's catalogue had it (`tables.json`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SourceTable {
    /// Primary key columns in order; empty for a table without one.
    pub key: Vec<String>,
    /// Columns in order.
    pub columns: Vec<SourceColumn>,
}

/// A column of a [`SourceTable`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SourceColumn {
    /// Name.
    pub name: String,
    /// Type as `format_type` prints it.
    #[serde(rename = "type")]
    pub ty: String,
    /// NOT NULL.
    pub not_null: bool,
    /// Expression of a generated column.
    #[serde(default)]
    pub generated: Option<String>,
}

/// A key that existed at some time and is gone at the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeletedKey {
    /// The key's columns.
    pub key: TextRow,
    /// The key occurs in the topic.
    pub in_topic: bool,
    /// Its last record there is a delete; not given means yes if `in_topic`.
    #[serde(default)]
    pub delete_in_topic: Option<bool>,
}

impl DeletedKey {
    /// Whether the topic alone tells that the row is gone, so that Silver must hold it as a marked row.
    #[must_use]
    pub fn must_be_marked(&self) -> bool {
        self.in_topic && self.delete_in_topic.unwrap_or(true)
    }
}

/// What one source table held at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTruth {
    /// Table name at the source, without schema.
    pub name: String,
    /// Primary key columns.
    pub key: Vec<String>,
    /// Columns that can be compared: all but generated ones, which the stream does not carry.
    pub columns: Vec<String>,
    /// Final rows.
    pub rows: Vec<TextRow>,
    /// Keys that are gone.
    pub deleted: Vec<DeletedKey>,
}

/// A scenario's directory.
#[derive(Clone, Debug)]
pub struct Capture {
    root: PathBuf,
    /// Captured tables by name.
    pub tables: BTreeMap<String, SourceTable>,
}

impl Capture {
    /// Opens a scenario by reading its `tables.json`.
    ///
    /// # Errors
    /// Fatal, naming the file, when it is missing or not what it should be.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Fault> {
        let root = root.into();
        let path = root.join("tables.json");
        let tables = parse(&path, None, &read_whole(&path)?, "a map of captured tables")?;
        Ok(Self { root, tables })
    }

    /// Every record of an encoding (`avro`, `json-plain` ...), in the order of production.
    ///
    /// # Errors
    /// As [`read_records`].
    pub fn records(&self, encoding: &str) -> Result<Vec<OwnedRecord>, Fault> {
        read_records(&either(&self.root.join(encoding).join("records.ndjson")))
    }

    /// The schemas of an encoding by id; empty for encodings that need none.
    ///
    /// # Errors
    /// As [`read_schemas`].
    pub fn schemas(&self, encoding: &str) -> Result<BTreeMap<u32, CapturedSchema>, Fault> {
        let directory = self.root.join(encoding).join("schemas");
        if directory.is_dir() { read_schemas(&directory) } else { Ok(BTreeMap::new()) }
    }

    /// The final rows and the deleted keys of every captured table, by name.
    ///
    /// # Errors
    /// Fatal, naming file and line, when a file is missing or a line is not what it should be.
    pub fn truth(&self) -> Result<Vec<TableTruth>, Fault> {
        self.tables.iter().map(|(name, table)| self.truth_of(name, table)).collect()
    }

    fn truth_of(&self, name: &str, table: &SourceTable) -> Result<TableTruth, Fault> {
        let file = format!("{name}.ndjson");
        let expected = either(&self.root.join("expected").join(&file));
        let deleted = either(&self.root.join("deleted").join(&file));
        let visible = table.columns.iter().filter(|column| column.generated.is_none());
        Ok(TableTruth {
            name: name.to_owned(),
            key: table.key.clone(),
            columns: visible.map(|column| column.name.clone()).collect(),
            rows: read_lines(&expected, "a row of text columns")?,
            deleted: match deleted.exists() {
                true => read_lines(&deleted, "a deleted key (key, in_topic)")?,
                false => Vec::new(),
            },
        })
    }
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(default)]
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    #[serde(default)]
    headers: Vec<(String, Option<String>)>,
}

/// Reads one capture file, gzipped when its name ends in `.gz`, in the order of its lines.
///
/// # Errors
/// Fatal, naming file and line, when the file cannot be read, or a line is no record or holds broken base64.
pub fn read_records(path: &Path) -> Result<Vec<OwnedRecord>, Fault> {
    let what = "a record (topic, partition, offset, timestamp, key, value, headers)";
    let lines: Vec<Line> = read_lines(path, what)?;
    let mut records = Vec::with_capacity(lines.len());
    for (index, line) in lines.into_iter().enumerate() {
        let bytes = |field: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => STANDARD.decode(text).map(Some).map_err(|_| {
                fault(path, Some(index + 1), &format!("{field} is not base64 with padding"))
            }),
        };
        let mut headers = Vec::with_capacity(line.headers.len());
        for (name, value) in line.headers {
            headers.push((name, bytes("a header", value)?));
        }
        records.push(OwnedRecord {
            at: Coordinates { topic: line.topic, partition: line.partition, offset: line.offset },
            timestamp_ms: line.timestamp,
            key: bytes("key", line.key)?,
            value: bytes("value", line.value)?,
            headers,
        });
    }
    Ok(records)
}

/// Reads every `<id>.json` of a directory, by id.
///
/// # Errors
/// Fatal, naming the file, when one cannot be read, is no schema, or says another id than its name.
pub fn read_schemas(directory: &Path) -> Result<BTreeMap<u32, CapturedSchema>, Fault> {
    let entries =
        std::fs::read_dir(directory).map_err(|e| fault(directory, None, &e.to_string()))?;
    let mut schemas = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|e| fault(directory, None, &e.to_string()))?.path();
        let named = path.file_stem().and_then(|stem| stem.to_str()).and_then(|s| s.parse().ok());
        let schema: CapturedSchema =
            parse(&path, None, &read_whole(&path)?, "a schema (subject, version, id, schema)")?;
        if named != Some(schema.id) {
            return Err(fault(&path, None, &format!("holds schema {}", schema.id)));
        }
        schemas.insert(schema.id, schema);
    }
    Ok(schemas)
}

/// The plain file if it is there, else the gzipped one.
fn either(plain: &Path) -> PathBuf {
    let mut gzipped = plain.as_os_str().to_owned();
    gzipped.push(".gz");
    let gzipped = PathBuf::from(gzipped);
    if !plain.exists() && gzipped.exists() { gzipped } else { plain.to_owned() }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Fault> {
    let file = File::open(path).map_err(|e| fault(path, None, &format!("cannot be read: {e}")))?;
    Ok(match path.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file))),
        false => Box::new(BufReader::new(file)),
    })
}

fn read_whole(path: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    match open(path)?.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(e) => Err(fault(path, None, &format!("cannot be read: {e}"))),
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Vec<T>, Fault> {
    let lines = open(path)?.lines().enumerate();
    lines
        .map(|(index, line)| {
            let number = Some(index + 1);
            let line = line.map_err(|e| fault(path, number, &format!("cannot be read: {e}")))?;
            parse(path, number, &line, what)
        })
        .collect()
}

/// Parses JSON; the error tells the column only, because serde's own text would quote values.
fn parse<T: DeserializeOwned>(
    path: &Path,
    line: Option<usize>,
    text: &str,
    what: &str,
) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|e| {
        let text = format!("is not {what} (character {})", e.column());
        // Inside a whole file the parser knows the line, inside one line we do.
        fault(path, line.or_else(|| (e.line() > 0).then(|| e.line())), &text)
    })
}

fn fault(path: &Path, line: Option<usize>, text: &str) -> Fault {
    let place = path.display();
    let text = match line {
        Some(line) => format!("{place} line {line}: {text}"),
        None => format!("{place}: {text}"),
    };
    Fault::new(Class::Fatal, Code::Configuration, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn shop() -> Capture {
        Capture::open("testdata/debezium/shop").unwrap()
    }

    fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn every_encoding_of_the_shop_is_read_whole_and_in_order() {
        for (encoding, count) in [
            ("avro", 5863),
            ("json", 5863),
            ("json-plain", 5863),
            ("flat-json", 5214),
            ("flat-avro", 5863),
        ] {
            let records = shop().records(encoding).unwrap();
            assert_eq!(records.len(), count, "{encoding}");
            let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
            for record in &records {
                let expected = next.entry((&record.at.topic, record.at.partition)).or_default();
                assert_eq!(record.at.offset, *expected, "{encoding} {}", record.at);
                *expected += 1;
            }
        }
    }

    #[test]
    fn avro_values_name_schemas_that_the_capture_holds() {
        let schemas = shop().schemas("avro").unwrap();
        for record in shop().records("avro").unwrap() {
            for bytes in [&record.key, &record.value].into_iter().flatten() {
                let id = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
                assert!(schemas.contains_key(&id), "{} names schema {id}", record.at);
            }
        }
        assert!(shop().schemas("json-plain").unwrap().is_empty());
    }

    #[test]
    fn the_shop_s_truth_has_the_rows_that_its_page_tells() {
        let truth = shop().truth().unwrap();
        let counts: Vec<_> =
            truth.iter().map(|t| (t.name.as_str(), t.rows.len(), t.deleted.len())).collect();
        assert_eq!(
            counts,
            [
                ("customers", 283, 48),
                ("order_items", 1186, 323),
                ("orders", 466, 107),
                ("products", 188, 1)
            ]
        );
        assert_eq!(truth[1].key, ["order_id", "line_no"]);
        assert!(truth.iter().flat_map(|t| &t.deleted).all(DeletedKey::must_be_marked));
    }

    #[test]
    fn a_key_that_the_topic_does_not_delete_need_not_be_marked() {
        let key = |in_topic, delete_in_topic| DeletedKey {
            key: TextRow::new(),
            in_topic,
            delete_in_topic,
        };
        assert!(key(true, None).must_be_marked());
        assert!(key(true, Some(true)).must_be_marked());
        assert!(!key(true, Some(false)).must_be_marked());
        assert!(!key(false, None).must_be_marked());
    }

    #[test]
    fn a_plain_and_a_gzipped_file_hold_the_same_records() {
        let directory = tempfile::tempdir().unwrap();
        let line = r#"{"topic":"t","partition":3,"offset":7,"timestamp":9,"key":"aw==","value":null,"headers":[["h","dg=="],["n",null]]}"#;
        let plain = file(&directory, "records.ndjson", line);
        let gzipped = directory.path().join("records.ndjson.gz");
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(&gzipped).unwrap(),
            flate2::Compression::fast(),
        );
        encoder.write_all(line.as_bytes()).unwrap();
        encoder.finish().unwrap();

        let records = read_records(&plain).unwrap();

        assert_eq!(read_records(&gzipped).unwrap(), records);
        assert_eq!(records[0].at.to_string(), "t-3@7");
        assert_eq!(records[0].timestamp_ms, Some(9));
        assert_eq!(records[0].key.as_deref(), Some(b"k".as_slice()));
        assert_eq!(records[0].value, None);
        assert_eq!(
            records[0].headers,
            [("h".to_owned(), Some(b"v".to_vec())), ("n".to_owned(), None)]
        );
    }

    #[test]
    fn a_broken_line_is_named_and_its_values_are_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let good = r#"{"topic":"t","partition":0,"offset":0,"key":null,"value":null}"#;
        let secret = r#"{"topic":"t","partition":"secret","offset":0,"key":null,"value":null}"#;
        let path = file(&directory, "r.ndjson", &format!("{good}\n{secret}\n"));

        let fault = read_records(&path).unwrap_err();

        assert!(fault.text.contains("r.ndjson line 2: is not a record"), "{fault}");
        assert!(!fault.text.contains("secret"), "{fault}");
    }

    #[test]
    fn broken_base64_and_a_missing_file_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(
            &directory,
            "r.ndjson",
            r#"{"topic":"t","partition":0,"offset":0,"key":"a*b","value":null}"#,
        );
        let fault = read_records(&path).unwrap_err();
        assert!(fault.text.ends_with("line 1: key is not base64 with padding"), "{fault}");
        let fault = read_records(&directory.path().join("none.ndjson")).unwrap_err();
        assert!(fault.text.contains("none.ndjson: cannot be read"), "{fault}");
        let fault = Capture::open(directory.path()).unwrap_err();
        assert!(fault.text.contains("tables.json: cannot be read"), "{fault}");
    }

    #[test]
    fn a_schema_under_another_id_than_its_file_s_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        file(&directory, "4.json", r#"{"subject":"s","version":1,"id":5,"schema":"\"int\""}"#);
        let fault = read_schemas(directory.path()).unwrap_err();
        assert!(fault.text.ends_with("4.json: holds schema 5"), "{fault}");
    }
}
