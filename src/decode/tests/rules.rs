//! Ops, versions, kinds and keys, record by record.

use super::capture::Worker;
use super::tables::{fields, json, record, shape};
use crate::config::{self, Format};
use crate::decode::plan::{Mismatch, SchemaText, compile, describe, propose};
use crate::decode::{ChangeKind, Decoded, SkipRule};
use crate::fault::{Class, Code};
use crate::record::OwnedRecord;
use crate::table::TableShape;
use crate::version::VersionParts;
use std::collections::HashMap;
use std::sync::Arc;

fn notes() -> Arc<TableShape> {
    Arc::new(shape("notes", &[("id", "integer"), ("body", "text"), ("rank", "integer")], &["id"]))
}

fn worker() -> Worker {
    Worker::new(notes(), HashMap::new())
}

fn envelope(op: &str, before: &str, after: &str, source: &str) -> String {
    format!(
        r#"{{"before":{before},"after":{after},"source":{{"connector":"postgresql"{source}}},"op":"{op}","ts_ms":5}}"#
    )
}

fn update(offset: i64, op: &str, sequence: &str) -> OwnedRecord {
    let source = format!(r#","ts_ms":1,"sequence":{}"#, serde_json::to_string(sequence).unwrap());
    json(offset, r#"{"id":1}"#, &envelope(op, "null", r#"{"id":1,"body":"a","rank":2}"#, &source))
}

fn poison(worker: &mut Worker, record: &OwnedRecord) -> Code {
    match worker.decode(record) {
        Decoded::Poison(fault) if fault.class == Class::Poison => fault.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_written_before_the_snapshot_and_committed_after_it_is_newer() {
    let mut worker = worker();
    let snapshot = worker.change(&update(0, "r", r#"[null,"208"]"#)).change.version;
    let streamed = worker.change(&update(1, "u", r#"[null,"120"]"#)).change.version;
    let later = worker.change(&update(2, "u", r#"["300","110"]"#)).change.version;
    let incremental = worker.change(&update(3, "r", r#"["300","300"]"#)).change.version;
    assert!(snapshot < streamed && streamed < later, "the phase stands before the position");
    assert!(incremental < later, "a change of the same commit bucket beats the snapshot row");
    assert!(incremental > streamed);
}

#[test]
fn rows_of_two_snapshots_between_the_same_commits_keep_the_order_of_the_topic() {
    let mut worker = worker();
    // The stream stepped back to a change that was written earlier and committed later.
    let first = worker.change(&update(0, "r", r#"["300","290"]"#)).change.version;
    let change = worker.change(&update(1, "u", r#"["300","210"]"#)).change.version;
    let second = worker.change(&update(2, "r", r#"["300","210"]"#)).change.version;
    assert!(first < second && second < change);
}

#[test]
fn lsn_stands_in_for_a_missing_sequence() {
    let mut worker = worker();
    let value =
        envelope("u", "null", r#"{"id":1,"body":"a","rank":2}"#, r#","lsn":77,"sequence":null"#);
    let parts = worker.change(&json(9, r#"{"id":1}"#, &value)).change.version.parts();
    assert_eq!(
        parts,
        VersionParts {
            source_epoch: 0,
            commit_position: 0,
            phase: 1,
            change_position: 77,
            kafka_offset: 9
        }
    );
}

#[test]
fn other_connectors_have_their_own_order() {
    let parts = |connector: &str, op: &str, extra: &str| {
        let value = format!(
            r#"{{"before":null,"after":{{"id":1,"body":"a","rank":2}},"source":{{"connector":"{connector}"{extra}}},"op":"{op}"}}"#
        );
        worker().change(&json(9, r#"{"id":1}"#, &value)).change.version.parts()
    };
    let by_offset = VersionParts { phase: 1, kafka_offset: 9, ..VersionParts::default() };
    for connector in ["mysql", "mariadb", "mongodb", "something"] {
        assert_eq!(parts(connector, "r", r#","pos":4,"file":"b.1""#), by_offset, "{connector}");
    }
    let commit_position = 0x27_0000_0ac0_0002;
    assert_eq!(
        parts("sqlserver", "u", r#","commit_lsn":"00000027:00000ac0:0002","change_lsn":"x""#),
        VersionParts { commit_position, ..by_offset }
    );
    assert_eq!(
        parts("sqlserver", "r", r#","commit_lsn":null"#),
        VersionParts { phase: 0, ..by_offset }
    );
    assert_eq!(
        parts("oracle", "d", r#","commit_scn":"123""#),
        VersionParts { commit_position: 123, ..by_offset }
    );
}

#[test]
fn a_position_that_cannot_be_read_is_poison() {
    for sequence in ["[null]", "", "[1,2]"] {
        assert_eq!(poison(&mut worker(), &update(0, "u", sequence)), Code::EnvelopeInvalid);
    }
}

#[test]
fn no_value_has_three_spellings() {
    let schema = r#"{"type":"struct","fields":[{"type":"int32","field":"id"}]}"#;
    let with_schema = format!(r#"{{"schema":{schema},"payload":null}}"#);
    for value in [None, Some("null"), Some(with_schema.as_str())] {
        let mut worker = worker();
        let done = worker.change(&record(7, Some(br#"{"id":3}"#), value.map(str::as_bytes)));
        assert_eq!(done.change.kind, ChangeKind::Tombstone, "{value:?}");
        assert_eq!(
            done.change.version.parts(),
            VersionParts { phase: 1, kafka_offset: 7, ..VersionParts::default() }
        );
        assert_eq!(fields(&done.body), [Some(3_i32.to_be_bytes().to_vec()), None, None]);
        assert_eq!(done.change.deleted_at, Some(1_700_000_000_000_000 - 946_684_800_000_000));
    }
}

#[test]
fn a_null_key_is_poison_except_for_a_truncate() {
    let mut worker = worker();
    let write = OwnedRecord { key: None, ..update(0, "u", "[null,null]") };
    assert_eq!(poison(&mut worker, &write), Code::KeyMissing);
    assert_eq!(poison(&mut worker, &record(0, None, None)), Code::KeyMissing);
    let truncate = envelope("t", "null", "null", r#","sequence":"[\"5\",\"6\"]""#);
    let done = worker.change(&record(3, None, Some(truncate.as_bytes())));
    assert_eq!(done.change.kind, ChangeKind::Truncate);
    let parts = done.change.version.parts();
    assert_eq!((parts.commit_position, parts.phase, parts.change_position), (5, 1, 6));
}

#[test]
fn a_truncate_without_a_source_position_stops_the_lane() {
    let truncate = envelope("t", "null", "null", "");
    let decoded = worker().decode(&record(3, None, Some(truncate.as_bytes())));
    assert!(
        matches!(&decoded, Decoded::Poison(fault) if fault.class == Class::Blocked),
        "{decoded:?}"
    );
}

#[test]
fn a_row_whose_columns_are_named_like_a_message_is_a_row() {
    use crate::decode::json::recognise::{Recognised, recognise};
    let value = br#"{"op":"x","source":{},"message":{}}"#;
    assert_eq!(recognise(value, Some(br#"{"id":1}"#)), Ok(Recognised::Row));
    assert_eq!(
        recognise(value, Some(br#"{"prefix":"p"}"#)),
        Ok(Recognised::NotTableData(SkipRule::Message))
    );
}

#[test]
fn a_missing_op_and_a_missing_image_are_poison() {
    let after = r#"{"id":1,"body":"a","rank":2}"#;
    for value in [
        envelope("u", "null", after, "").replace(r#""op":"u","#, r#""op":null,"#),
        envelope("u", "null", "null", ""),
        r#"{"before":null,"op":"c","source":{}}"#.to_owned(),
    ] {
        assert_eq!(
            poison(&mut worker(), &json(0, r#"{"id":1}"#, &value)),
            Code::EnvelopeInvalid,
            "{value}"
        );
    }
}

#[test]
fn a_delete_has_its_key_and_nothing_else() {
    let value =
        envelope("d", r#"{"id":1,"body":"","rank":0}"#, "null", r#","ts_us":946684800000042"#);
    let done = worker().change(&json(0, r#"{"id":1}"#, &value));
    assert_eq!((done.change.kind, done.change.deleted_at), (ChangeKind::Delete, Some(42)));
    assert_eq!(fields(&done.body), [Some(1_i32.to_be_bytes().to_vec()), None, None]);
    assert!(!done.change.has_kept);
}

#[test]
fn a_placeholder_keeps_the_column_and_needs_a_base() {
    let value =
        envelope("u", "null", r#"{"id":1,"body":"__debezium_unavailable_value","rank":2}"#, "");
    let done = worker().change(&json(0, r#"{"id":1}"#, &value));
    assert!(done.change.has_kept && done.change.needs_base);
    assert!(done.kept.contains(1) && !done.kept.contains(0) && !done.kept.contains(2));
    assert_eq!(fields(&done.body)[1], None);
}

#[test]
fn an_absent_column_is_kept_and_a_null_is_not() {
    let value = envelope("u", "null", r#"{"id":1,"body":null}"#, "");
    let done = worker().change(&json(0, r#"{"id":1}"#, &value));
    assert!(done.change.has_kept && !done.change.needs_base);
    assert!(done.kept.contains(2) && !done.kept.contains(1));
}

#[test]
fn flattened_records_use_what_position_they_have() {
    let parts = |extra: &str| {
        let value = format!(r#"{{"id":1,"body":"a","rank":2{extra}}}"#);
        worker().change(&json(4, r#"{"id":1}"#, &value)).change.version.parts()
    };
    let by_offset = VersionParts { phase: 1, kafka_offset: 4, ..VersionParts::default() };
    assert_eq!(parts(""), by_offset);
    assert_eq!(parts(r#","__lsn":5"#), by_offset, "a position without op has no phase");
    assert_eq!(parts(r#","__op":"r""#), by_offset, "an op without position is no order");
    assert_eq!(
        parts(r#","__lsn":5,"__op":"r""#),
        VersionParts { phase: 0, change_position: 5, ..by_offset }
    );
    assert_eq!(
        parts(r#","__op":"u","__source_sequence":"[\"8\",\"9\"]""#),
        VersionParts { commit_position: 8, change_position: 9, ..by_offset }
    );
}

#[test]
fn field_order_does_not_matter() {
    let value = r#"{"op":"u","source":{"connector":"postgresql"},
        "after":{"rank":3,"body":"first","id":1},"before":null}"#;
    let done = worker().change(&json(0, r#"{"id":1}"#, value));
    assert_eq!(fields(&done.body)[2], Some(3_i32.to_be_bytes().to_vec()));
    assert!(!done.change.has_kept);
}

fn with_schema(fields: &str, payload: &str) -> String {
    format!(r#"{{"schema":{{"type":"struct","fields":[{fields}]}},"payload":{payload}}}"#)
}

#[test]
fn a_changed_schema_block_asks_for_another_plan_and_the_old_one_is_known_again() {
    let id = r#"{"type":"int32","field":"id"}"#;
    let key = with_schema(id, r#"{"id":1}"#);
    let old = with_schema(
        &format!(r#"{id},{{"type":"string","field":"body"}}"#),
        r#"{"id":1,"body":"a"}"#,
    );
    let new =
        with_schema(&format!(r#"{id},{{"type":"int32","field":"rank"}}"#), r#"{"id":1,"rank":6}"#);
    let turned = format!(
        r#"{{"payload":{{"id":1,"rank":7}},"schema":{{"type":"struct","fields":[{id},{{"type":"int32","field":"rank"}}]}}}}"#
    );
    let mut worker = worker();
    for (value, field) in [
        (&old, &b"a"[..]),
        (&new, &[0, 0, 0, 6]),
        (&old, b"a"),
        (&turned, &[0, 0, 0, 7]),
        (&new, &[0, 0, 0, 6]),
    ] {
        let done = worker.change(&json(0, &key, value));
        assert!(fields(&done.body).contains(&Some(field.to_vec())));
        assert!(done.change.has_kept, "the other column is absent");
    }
    assert_eq!(worker.plans, 2);
}

#[test]
fn the_format_of_the_route_binds() {
    let mut avro_only =
        Worker::with(notes(), HashMap::new(), Format::Avro, config::Table::default());
    assert_eq!(poison(&mut avro_only, &update(0, "u", "[null,null]")), Code::UnknownMagicByte);
    let mut json_only =
        Worker::with(notes(), HashMap::new(), Format::Json, config::Table::default());
    assert_eq!(
        poison(&mut json_only, &record(0, Some(&[0, 0, 0, 0, 1, 2]), None)),
        Code::UnknownMagicByte
    );
}

#[test]
fn a_refused_schema_makes_its_records_poison_until_plans_are_forgotten() {
    let mut worker =
        Worker::new(notes(), HashMap::from([(1, "nonsense".to_owned()), (2, "{}".to_owned())]));
    let bad = record(0, Some(&[0, 0, 0, 0, 1, 2]), Some(&[0, 0, 0, 0, 2, 2]));
    assert_eq!(poison(&mut worker, &bad), Code::SchemaUnusable);
    assert_eq!(poison(&mut worker, &bad), Code::SchemaUnusable);
    assert_eq!(worker.plans, 1);
    worker.decoder.forget_plans();
    assert_eq!(poison(&mut worker, &bad), Code::SchemaUnusable);
    assert_eq!(worker.plans, 2);
}

#[test]
fn a_column_that_json_without_schema_brings_and_the_table_lacks_blocks() {
    let value = envelope("u", "null", r#"{"id":1,"body":"a","rank":2,"colour":"red"}"#, "");
    match worker().decode(&json(0, r#"{"id":1}"#, &value)) {
        Decoded::Poison(fault) => {
            assert_eq!((fault.class, fault.code), (Class::Blocked, Code::ColumnMissing));
            assert!(fault.text.contains("colour") && !fault.text.contains("red"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
}

const KEY: &str = r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}"#;

#[test]
fn topics_that_are_no_table_data_are_skipped_by_the_name_of_their_schema() {
    for (name, rule) in [
        ("io.debezium.connector.common.Heartbeat", SkipRule::Heartbeat),
        ("io.debezium.connector.common.TransactionMetadataValue", SkipRule::Transaction),
        ("io.debezium.connector.mysql.SchemaChangeValue", SkipRule::SchemaChange),
        ("io.debezium.connector.common.Notification", SkipRule::Notification),
        ("io.debezium.connector.postgresql.MessageValue", SkipRule::Message),
    ] {
        let text = format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"x","type":"int"}}]}}"#
        );
        let mut worker = Worker::new(notes(), HashMap::from([(1, KEY.to_owned()), (2, text)]));
        let record = record(0, Some(&[0, 0, 0, 0, 1, 2]), Some(&[0, 0, 0, 0, 2, 2]));
        assert_eq!(worker.decode(&record), Decoded::Skip(rule), "{name}");
    }
}

const ROW: &str = r#"{"type":"record","name":"Value","namespace":"a.b","fields":[
    {"name":"id","type":"int"},{"name":"body","type":[{"type":"string","connect.name":"io.debezium.data.Json"},"null"]},
    {"name":"__op","type":["null","string"]},{"name":"extra","type":["null","long"]}]}"#;

#[test]
fn a_schema_and_a_table_that_do_not_fit_say_so() {
    let schema = describe(SchemaText::Avro(KEY), SchemaText::Avro(ROW)).unwrap();
    let overrides = config::Table::default();
    let missing = compile(&schema, notes(), &overrides).unwrap_err();
    let [Mismatch::ColumnMissing(column)] = missing.as_slice() else { panic!("{missing:?}") };
    assert_eq!(
        (column.name.as_str(), column.sql_type.as_str(), column.key),
        ("extra", "bigint", None)
    );
    let other_key =
        shape("notes", &[("id", "integer"), ("body", "text"), ("extra", "bigint")], &["extra"]);
    let mismatches = compile(&schema, Arc::new(other_key), &overrides).unwrap_err();
    assert!(matches!(mismatches.as_slice(), [Mismatch::KeyMismatch(_)]), "{mismatches:?}");
}

#[test]
fn a_configured_key_is_read_from_the_row() {
    let schema = describe(SchemaText::Avro(KEY), SchemaText::Avro(ROW)).unwrap();
    let overrides =
        config::Table { key: Some(vec!["extra".to_owned()]), ..config::Table::default() };
    let shape = Arc::new(shape(
        "notes",
        &[("id", "integer"), ("body", "text"), ("extra", "bigint")],
        &["extra"],
    ));
    assert!(compile(&schema, Arc::clone(&shape), &overrides).is_ok());
    let registry = HashMap::from([(1, KEY.to_owned()), (2, ROW.to_owned())]);
    let mut worker = Worker::with(shape, registry, Format::Auto, overrides);
    let value = [0, 0, 0, 0, 2, 2, 2, 0, 2, 10];
    let done = worker.change(&record(0, Some(&[0, 0, 0, 0, 1, 2]), Some(&value)));
    assert_eq!(fields(&done.key), [Some(5_i64.to_be_bytes().to_vec())]);
    assert_eq!(
        fields(&done.body),
        [Some(1_i32.to_be_bytes().to_vec()), None, Some(5_i64.to_be_bytes().to_vec())]
    );
}

#[test]
fn a_table_is_proposed_from_the_schema() {
    let schema = describe(SchemaText::Avro(KEY), SchemaText::Avro(ROW)).unwrap();
    let overrides = config::Table {
        column_types: [("extra".to_owned(), "numeric".to_owned())].into(),
        ..config::Table::default()
    };
    let columns = propose(&schema, &overrides).unwrap();
    let brief: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.key)).collect();
    assert_eq!(brief, [("id", Some(0)), ("body", None), ("extra", None)], "__op is no column");
    assert_eq!(columns[2].sql_type, "numeric");
}

#[test]
fn json_without_schema_proposes_only_what_is_configured() {
    let schema = describe(SchemaText::Schemaless, SchemaText::Schemaless).unwrap();
    let fault = propose(&schema, &config::Table::default()).unwrap_err();
    assert_eq!(fault.class, Class::Blocked);
    let types =
        |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "text".to_owned())).collect();
    let key = Some(vec!["id".to_owned()]);
    let overrides =
        config::Table { key: key.clone(), column_types: types(&["a"]), ..config::Table::default() };
    assert!(propose(&schema, &overrides).unwrap_err().text.contains("column id"));
    let overrides =
        config::Table { key, column_types: types(&["a", "id"]), ..config::Table::default() };
    let columns = propose(&schema, &overrides).unwrap();
    assert_eq!(columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["id", "a"]);
}

#[test]
fn a_configured_key_without_schemas_comes_from_the_row_and_its_tombstones_are_skipped() {
    let overrides =
        config::Table { key: Some(vec!["rank".to_owned()]), ..config::Table::default() };
    let shape = Arc::new(shape(
        "notes",
        &[("id", "integer"), ("body", "text"), ("rank", "integer")],
        &["rank"],
    ));
    let mut worker = Worker::with(shape, HashMap::new(), Format::Auto, overrides);
    let done = worker.change(&update(0, "u", "[null,null]"));
    assert_eq!(fields(&done.key), [Some(2_i32.to_be_bytes().to_vec())]);
    let delete = envelope("d", r#"{"id":1,"body":"","rank":2}"#, "null", "");
    let done = worker.change(&json(1, r#"{"id":1}"#, &delete));
    assert_eq!(done.change.kind, ChangeKind::Delete);
    assert_eq!(fields(&done.body), [None, None, Some(2_i32.to_be_bytes().to_vec())]);
    let tombstone = record(2, Some(br#"{"id":1}"#), None);
    assert_eq!(worker.decode(&tombstone), Decoded::Skip(SkipRule::TombstoneWithoutKey));
}

#[test]
fn a_key_that_is_a_bare_value_is_the_only_key_column() {
    let registry = HashMap::from([(1, "\"int\"".to_owned()), (2, ROW.to_owned())]);
    let shape = Arc::new(shape(
        "notes",
        &[("id", "integer"), ("body", "text"), ("extra", "bigint")],
        &["id"],
    ));
    let mut worker = Worker::new(shape, registry);
    let done =
        worker.change(&record(0, Some(&[0, 0, 0, 0, 1, 18]), Some(&[0, 0, 0, 0, 2, 18, 2, 0, 0])));
    assert_eq!(fields(&done.key), [Some(9_i32.to_be_bytes().to_vec())]);
    let done = self::worker()
        .change(&OwnedRecord { key: Some(b"1".to_vec()), ..update(0, "u", "[null,null]") });
    assert_eq!(fields(&done.key), [Some(1_i32.to_be_bytes().to_vec())]);
}

#[test]
fn a_row_with_columns_called_before_op_and_source_is_no_envelope() {
    let shape = Arc::new(shape(
        "notes",
        &[("before", "text"), ("op", "text"), ("source", "text"), ("id", "integer")],
        &["id"],
    ));
    let mut worker = Worker::new(shape, HashMap::new());
    let row = [Some(b"a".to_vec()), None, Some(b"c".to_vec()), Some(1_i32.to_be_bytes().to_vec())];
    let done = worker.change(&json(0, r#"{"id":1}"#, r#"{"before":"a","source":"c","id":1}"#));
    assert_eq!(fields(&done.body), row);
    let done = worker.change(&json(
        1,
        r#"{"id":1}"#,
        r#"{"id":1,"source":"c","op":null,"before":"a","__op":"u"}"#,
    ));
    assert_eq!(fields(&done.body), row);
}
