//! Where a record names its schema: in front of the datum or in a header, by every kind of id.

use super::capture::{Done, Worker};
use super::tables::{fields, json, record, shape};
use crate::decode::{Decoded, PayloadId, RegistryId};
use crate::fault::Code;
use crate::record::{Headers, OwnedRecord, RawRecord};
use crate::table::TableShape;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

const KEY: &str = r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}"#;
const ROW: &str = r#"{"type":"record","name":"Row","fields":[
    {"name":"id","type":"int"},{"name":"body","type":["null","string"]}]}"#;
/// `id` 0 and `body` NULL: the bare datum starts with a zero byte.
const ZERO: &[u8] = &[0, 0];
/// `id` -25: the bare key is the byte `1`, which is JSON as well.
const LIKE_JSON: &[u8] = b"1";

fn notes() -> Arc<TableShape> {
    Arc::new(shape("notes", &[("id", "integer"), ("body", "text")], &["id"]))
}

fn worker(ids: [(RegistryId, &str); 2]) -> Worker {
    let mut worker = Worker::new(notes(), HashMap::new());
    worker.others = ids.map(|(id, text)| (id, text.to_owned())).into();
    worker
}

fn confluent() -> Worker {
    Worker::new(notes(), HashMap::from([(1, KEY.to_owned()), (2, ROW.to_owned())]))
}

fn with_headers(key: &[u8], value: Option<&[u8]>, headers: [(&str, &[u8]); 2]) -> OwnedRecord {
    let mut record = record(0, Some(key), value);
    record.headers = headers.map(|(name, value)| (name.to_owned(), Some(value.to_vec()))).into();
    record
}

fn by_number(key: &[u8], value: Option<&[u8]>) -> OwnedRecord {
    with_headers(
        key,
        value,
        [("__key_schema_id", &[0, 0, 0, 0, 1]), ("__value_schema_id", &[0, 0, 0, 0, 2])],
    )
}

fn id(done: &Done) -> i32 {
    i32::from_be_bytes(fields(&done.key)[0].clone().unwrap().try_into().unwrap())
}

#[test]
fn a_guid_in_front_of_the_datum_names_its_schema() {
    let mut worker = worker([(RegistryId::Guid([1; 16]), KEY), (RegistryId::Guid([2; 16]), ROW)]);
    let framed = |guid: u8, datum: &[u8]| [&[1][..], &[guid; 16], datum].concat();
    let record = record(0, Some(&framed(1, &[14])), Some(&framed(2, &[14, 2, 2, b'a'])));
    let done = worker.change(&record);
    assert_eq!((id(&done), fields(&done.body)[1].clone()), (7, Some(b"a".to_vec())));
}

#[test]
fn every_kind_of_header_names_the_schema_of_a_bare_datum() {
    let hash = |digit: char| digit.to_string().repeat(64);
    let (key_hash, value_hash) = (hash('1'), hash('2'));
    type Case<'c> = ([(RegistryId, &'static str); 2], [(&'c str, &'c [u8]); 2]);
    let cases: [Case<'_>; 4] = [
        (
            [(RegistryId::Guid([3; 16]), KEY), (RegistryId::Guid([4; 16]), ROW)],
            [
                ("__key_schema_id", &[1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]),
                ("__value_schema_id", &[1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]),
            ],
        ),
        (
            [(RegistryId::ContentId(5), KEY), (RegistryId::ContentId(6), ROW)],
            [
                ("apicurio.key.contentId", &[0, 0, 0, 0, 0, 0, 0, 5]),
                ("apicurio.value.contentId", &[0, 0, 0, 0, 0, 0, 0, 6]),
            ],
        ),
        (
            [(RegistryId::GlobalId(5), KEY), (RegistryId::GlobalId(6), ROW)],
            [
                ("apicurio.key.globalId", &[0, 0, 0, 0, 0, 0, 0, 5]),
                ("apicurio.value.globalId", &[0, 0, 0, 0, 0, 0, 0, 6]),
            ],
        ),
        (
            [
                (RegistryId::ContentHash([0x11; 32]), KEY),
                (RegistryId::ContentHash([0x22; 32]), ROW),
            ],
            [
                ("apicurio.key.contentHash", key_hash.as_bytes()),
                ("apicurio.value.contentHash", value_hash.as_bytes()),
            ],
        ),
    ];
    for (ids, headers) in cases {
        let mut worker = worker(ids);
        for (key, expected) in [(&[14][..], 7), (ZERO.get(..1).unwrap(), 0), (LIKE_JSON, -25)] {
            let value = [key, &[0]].concat();
            let done = worker.change(&with_headers(key, Some(&value), headers));
            assert_eq!((id(&done), fields(&done.body)[1].clone()), (expected, None), "{headers:?}");
        }
        assert_eq!(worker.plans, 1);
    }
}

#[test]
fn a_bare_key_that_reads_as_json_is_taken_for_what_its_header_says() {
    // A tombstone has nothing but its key; here it is the first record, and one after JSON records.
    assert_eq!(id(&confluent().change(&by_number(LIKE_JSON, None))), -25);
    let mut worker = confluent();
    assert_eq!(id(&worker.change(&json(0, "3", r#"{"id":3,"body":null}"#))), 3);
    assert_eq!(id(&worker.change(&json(0, "3", "null"))), 3);
    assert_eq!(id(&worker.change(&by_number(LIKE_JSON, None))), -25);
    // And back.
    assert_eq!(id(&worker.change(&json(0, "3", "null"))), 3);
}

#[test]
fn a_topic_may_change_from_ids_in_front_to_ids_in_headers_and_back() {
    let mut worker = confluent();
    let framed = |id: u8, datum: &[u8]| [&[0, 0, 0, 0, id], datum].concat();
    let in_front = |n: u8| record(0, Some(&framed(1, &[n])), Some(&framed(2, &[n, 0])));
    assert_eq!(id(&worker.change(&in_front(14))), 7);
    for n in [0, 1, 14] {
        assert_eq!(
            id(&worker.change(&by_number(&[n], Some(&[n, 0])))),
            [0, -1, 7][usize::from(n.min(2))]
        );
        assert_eq!(id(&worker.change(&in_front(14))), 7);
    }
    assert_eq!(worker.plans, 1, "the same schemas have the same plan");
}

#[test]
fn the_number_in_front_is_of_the_kind_that_the_registry_has() {
    for (kind, ids) in [
        (
            PayloadId::ContentId { wide: false },
            [RegistryId::ContentId(1), RegistryId::ContentId(2)],
        ),
        (PayloadId::GlobalId { wide: true }, [RegistryId::GlobalId(1), RegistryId::GlobalId(2)]),
    ] {
        let mut worker = worker([(ids[0], KEY), (ids[1], ROW)]);
        // A registry of Confluent's with the same numbers is not asked.
        worker.registry = HashMap::from([(1, "nonsense".to_owned()), (2, "nonsense".to_owned())]);
        worker.decoder = worker.decoder.with_payload_id(kind);
        let zeros = if matches!(kind, PayloadId::GlobalId { .. }) { 8 } else { 4 };
        let framed = |id: u8, datum: &[u8]| [&vec![0; zeros][..], &[id], datum].concat();
        assert_eq!(
            id(&worker.change(&record(0, Some(&framed(1, &[14])), Some(&framed(2, &[14, 0]))))),
            7
        );
    }
}

#[test]
fn a_header_that_holds_no_id_is_the_record_s_fault() {
    let mut bad = by_number(&[14], Some(&[14, 0]));
    bad.headers[1].1 = Some(vec![9; 3]);
    match confluent().decode(&bad) {
        Decoded::Poison(fault) => {
            assert_eq!(fault.code, Code::UnknownMagicByte);
            assert!(fault.text.contains("__value_schema_id"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
}

/// Headers that count how often they are asked.
struct Counted(Cell<u32>);

impl Headers for Counted {
    fn get(&self, _: &str) -> Option<Option<&[u8]>> {
        self.0.set(self.0.get() + 1);
        None
    }
    fn to_vec(&self) -> Vec<(String, Option<Vec<u8>>)> {
        Vec::new()
    }
}

#[test]
fn headers_are_not_touched_while_records_decode_by_their_first_bytes() {
    use crate::decode::slot::Scratch;
    let framed = |id: u8, datum: &[u8]| [&[0, 0, 0, 0, id], datum].concat();
    let avro = record(0, Some(&framed(1, &[14])), Some(&framed(2, &[14, 0])));
    let plain = json(0, r#"{"id":3}"#, r#"{"id":3,"body":null}"#);
    let tombstone = record(0, Some(br#"{"id":3}"#), None);
    let mut worker = confluent();
    for record in [&avro, &plain, &tombstone] {
        worker.change(record);
    }
    let counted = Counted(Cell::new(0));
    for record in [&avro, &plain, &tombstone] {
        let raw = RawRecord { headers: &counted, ..record.as_raw() };
        let row = &mut crate::decode::RowBuffer::default();
        let decoded = worker.decoder.decode(&raw, &mut Scratch::default(), row);
        assert!(matches!(decoded, Decoded::Change(_)), "{decoded:?}");
    }
    assert_eq!(counted.0.get(), 0);
}
