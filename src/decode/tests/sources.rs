//! Ops that nobody knows, and the positions of sources beside PostgreSQL.

use super::capture::Worker;
use super::tables::{fields, json, shape};
use crate::config::{self, BigintUnsignedHandlingMode, Format, Position};
use crate::decode::{ChangeKind, Decoded};
use crate::fault::{Class, Code};
use crate::record::OwnedRecord;
use crate::version::VersionParts;
use std::collections::HashMap;
use std::sync::Arc;

fn worker() -> Worker {
    let shape = shape("notes", &[("id", "integer"), ("body", "text")], &["id"]);
    Worker::new(Arc::new(shape), HashMap::new())
}

fn ordered_by_binlog() -> Worker {
    let mut worker = worker();
    worker.decoder = worker.decoder.with_sources(Position::Binlog, false);
    worker
}

fn event(offset: i64, op: &str, source: &str) -> OwnedRecord {
    let image = r#"{"id":1,"body":"a"}"#;
    let (before, after) = if op == "d" { (image, "null") } else { ("null", image) };
    let value =
        format!(r#"{{"before":{before},"after":{after},"source":{{{source}}},"op":"{op}"}}"#);
    json(offset, r#"{"id":1}"#, &value)
}

fn refused(worker: &mut Worker, record: &OwnedRecord) -> (Class, Code) {
    match worker.decode(record) {
        Decoded::Poison(fault) => (fault.class, fault.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_op_stops_the_lane() {
    let flattened =
        |op: &str| json(0, r#"{"id":1}"#, &format!(r#"{{"id":1,"body":"a","__op":"{op}"}}"#));
    for record in [event(0, "x", ""), event(0, "", ""), event(0, "C", ""), flattened("x")] {
        assert_eq!(refused(&mut worker(), &record), (Class::Blocked, Code::OpUnknown));
    }
    let maxwell = json(0, r#"{"pk.id":1}"#, r#"{"type":"upsert","data":{"id":1,"body":"a"}}"#);
    let mut worker = worker();
    worker.decoder = crate::decode::TopicDecoder::new(Format::Maxwell, config::Table::default());
    assert_eq!(refused(&mut worker, &maxwell), (Class::Blocked, Code::OpUnknown));
}

#[test]
fn a_place_in_the_binary_log_is_a_version() {
    let at = |offset, op, file: &str, pos: u64, row: u64| {
        let source = format!(r#""connector":"mysql","file":"{file}","pos":{pos},"row":{row}"#);
        ordered_by_binlog().change(&event(offset, op, &source)).change.version
    };
    assert_eq!(
        at(9, "u", "bin.000002", 4711, 3).parts(),
        VersionParts {
            source_epoch: 0,
            commit_position: 2 << 32 | 4711,
            phase: 1,
            change_position: 3,
            kafka_offset: 9
        }
    );
    let snapshot = at(1, "r", "bin.000002", 4711, 0);
    let order = [
        at(8, "u", "bin.000001", 9999, 0),
        snapshot,
        at(0, "d", "bin.000002", 4711, 0),
        at(0, "u", "bin.000002", 4711, 1),
        at(0, "u", "bin.000002", 4712, 0),
        at(0, "u", "bin.1000000", 4, 0),
    ];
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
}

#[test]
fn a_record_without_a_place_in_the_binary_log_stops_its_lane() {
    let blocked = (Class::Blocked, Code::EnvelopeInvalid);
    let connector = r#""connector":"mysql""#;
    for record in [
        event(0, "u", connector),
        event(0, "u", &format!(r#"{connector},"file":"b.1""#)),
        // Flattened: without its op the phase is not known.
        json(0, r#"{"id":1}"#, r#"{"id":1,"body":"a","__file":"b.1","__pos":4}"#),
    ] {
        assert_eq!(refused(&mut ordered_by_binlog(), &record), blocked);
    }
    for place in
        [r#""file":"b","pos":1"#, r#""file":"b.1","pos":-1"#, r#""file":"b.1","pos":4294967296"#]
    {
        let record = event(0, "u", &format!("{connector},{place}"));
        let poison = (Class::Poison, Code::EnvelopeInvalid);
        assert_eq!(refused(&mut ordered_by_binlog(), &record), poison, "{place}");
    }
}

#[test]
fn a_document_without_schema_lands_whole_or_stops_the_lane() {
    let value = |op: &str, after: &str| {
        json(
            0,
            r#"{"id":"{\"$oid\":\"01\"}"}"#,
            &format!(
                r#"{{"before":null,"after":{after},"updateDescription":null,"source":{{"connector":"mongodb"}},"op":"{op}"}}"#
            ),
        )
    };
    let whole = value("c", r#""{\"_id\": {\"$oid\": \"01\"}, \"a\": 1}""#);
    let mut with = Worker::new(
        Arc::new(shape("docs", &[("id", "text"), ("document", "jsonb")], &["id"])),
        HashMap::new(),
    );
    let done = with.change(&whole);
    let document = fields(&done.body)[1].clone().unwrap();
    assert_eq!(document.strip_prefix(&[1]), Some(&br#"{"_id": {"$oid": "01"}, "a": 1}"#[..]));
    // The document was deleted before it could be looked up, or capture.mode has no full documents.
    assert_eq!(refused(&mut with, &value("u", "null")), (Class::Poison, Code::EnvelopeInvalid));
    let mut without = Worker::new(
        Arc::new(shape("docs", &[("id", "text"), ("a", "text")], &["id"])),
        HashMap::new(),
    );
    assert_eq!(refused(&mut without, &whole), (Class::Blocked, Code::ColumnMissing));
}

#[test]
fn a_missing_lsn_is_printed_as_a_word() {
    for connector in ["sqlserver", "db2"] {
        let source = format!(r#""connector":"{connector}","commit_lsn":"NULL""#);
        let parts = worker().change(&event(5, "r", &source)).change.version.parts();
        assert_eq!((parts.commit_position, parts.phase, parts.kafka_offset), (0, 0, 5));
    }
}

#[test]
fn a_negative_number_of_an_unsigned_column_is_turned_back_only_when_told() {
    let number = |mode, value: &str| {
        let shape = shape("t", &[("id", "integer"), ("big", "numeric(20,0)")], &["id"]);
        let overrides =
            config::Table { bigint_unsigned_handling_mode: mode, ..config::Table::default() };
        let mut worker = Worker::with(Arc::new(shape), HashMap::new(), Format::Auto, overrides);
        let value = format!(r#"{{"id":1,"big":{value}}}"#);
        let done = worker.change(&json(0, r#"{"id":1}"#, &value));
        assert_eq!(done.change.kind, ChangeKind::Row);
        fields(&done.body)[1].clone()
    };
    let (long, precise) = (BigintUnsignedHandlingMode::Long, BigintUnsignedHandlingMode::Precise);
    assert_eq!(number(long, "-1"), number(precise, "18446744073709551615"));
    assert_eq!(number(long, "-9223372036854775808"), number(precise, "9223372036854775808"));
    assert_eq!(number(long, "7"), number(precise, "7"));
    assert_ne!(number(precise, "-1"), number(long, "-1"));
}
