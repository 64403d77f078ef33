//! Bytes that do not follow their schema are refused, and nothing makes the decoder panic.

use super::capture::{Capture, Worker, table_of};
use super::tables::record;
use crate::decode::Decoded;
use crate::decode::plan::{SchemaText, describe};
use crate::fault::Class;
use crate::record::OwnedRecord;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

fn poison(worker: &mut Worker, record: &OwnedRecord) -> bool {
    matches!(worker.decode(record), Decoded::Poison(fault) if fault.class == Class::Poison)
}

#[test]
fn every_part_of_a_datum_and_every_longer_one_is_refused() {
    for encoding in ["avro", "flat-avro"] {
        let capture = Capture::load("shop", encoding);
        let mut workers = super::capture::workers(&capture);
        for record in capture.records.iter().step_by(151).filter(|r| r.value.is_some()) {
            let worker = workers.get_mut(table_of(record)).unwrap();
            worker.change(record);
            let (key, value) = (record.key.clone().unwrap(), record.value.clone().unwrap());
            for end in 0..value.len() {
                let cut = OwnedRecord { value: Some(value[..end].to_vec()), ..record.clone() };
                assert!(
                    poison(worker, &cut),
                    "{encoding} {}: {end} of {} bytes",
                    record.at,
                    value.len()
                );
            }
            for end in 0..key.len() {
                let cut = OwnedRecord { key: Some(key[..end].to_vec()), ..record.clone() };
                assert!(
                    poison(worker, &cut),
                    "{encoding} {}: {end} of {} key bytes",
                    record.at,
                    key.len()
                );
            }
            for extra in [0, 1, 2, 255] {
                let longer =
                    OwnedRecord { value: Some([&value[..], &[extra]].concat()), ..record.clone() };
                assert!(poison(worker, &longer), "{encoding} {}: one byte more", record.at);
                let longer =
                    OwnedRecord { key: Some([&key[..], &[extra]].concat()), ..record.clone() };
                assert!(poison(worker, &longer), "{encoding} {}: one key byte more", record.at);
            }
        }
    }
}

#[test]
fn every_part_of_a_json_text_is_refused() {
    for encoding in ["json", "json-plain", "flat-json"] {
        let capture = Capture::load("shop", encoding);
        let mut workers = super::capture::workers(&capture);
        for record in capture.records.iter().step_by(977).filter(|r| r.value.is_some()) {
            let worker = workers.get_mut(table_of(record)).unwrap();
            worker.change(record);
            let value = record.value.clone().unwrap();
            for end in (0..value.len()).step_by(if encoding == "json" { 13 } else { 1 }) {
                let cut = OwnedRecord { value: Some(value[..end].to_vec()), ..record.clone() };
                assert!(
                    poison(worker, &cut),
                    "{encoding} {}: {end} of {} bytes",
                    record.at,
                    value.len()
                );
            }
            let longer = OwnedRecord { value: Some([&value[..], b"}"].concat()), ..record.clone() };
            assert!(poison(worker, &longer), "{encoding} {}: one byte more", record.at);
        }
    }
}

static AVRO: LazyLock<Capture> = LazyLock::new(|| Capture::load("shop", "avro"));
static JSON: LazyLock<Capture> = LazyLock::new(|| Capture::load("shop", "json"));
static PLAIN: LazyLock<Capture> = LazyLock::new(|| Capture::load("shop", "flat-json"));

fn mangle(capture: &Capture, pick: usize, changes: &[(usize, u8)]) {
    let mut record = capture.records[pick % capture.records.len()].clone();
    let table = table_of(&record).to_owned();
    for (at, byte) in changes {
        let bytes = if at % 5 == 0 { &mut record.key } else { &mut record.value };
        if let Some(bytes) = bytes
            && !bytes.is_empty()
        {
            let at = at % bytes.len();
            bytes[at] = *byte;
        }
    }
    let mut decoder = Worker::new(Arc::clone(&capture.shapes[&table]), capture.registry.clone());
    let mut scratch = crate::decode::slot::Scratch::default();
    let mut row = crate::decode::RowBuffer::default();
    let pristine = &capture.records[pick % capture.records.len()];
    decoder.change(pristine);
    let _ = decoder.decoder.decode(&record.as_raw(), &mut scratch, &mut row);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn mangled_records_never_panic(pick: usize, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        mangle(&AVRO, pick, &changes);
        mangle(&JSON, pick, &changes);
        mangle(&PLAIN, pick, &changes);
    }

    #[test]
    fn random_bytes_never_panic(key: Option<Vec<u8>>, value: Option<Vec<u8>>, id in 0_u8..8) {
        let framed = |bytes: Vec<u8>| [&[0, 0, 0, 0, id], &bytes[..]].concat();
        let shape = Arc::clone(&AVRO.shapes["customers"]);
        let mut worker = Worker::new(Arc::clone(&shape), AVRO.registry.clone());
        worker.change(&AVRO.records[0]);
        let mut scratch = crate::decode::slot::Scratch::default();
        let mut row = crate::decode::RowBuffer::default();
        for (k, v) in [(key.clone(), value.clone()), (key.clone().map(framed), value.clone().map(framed)), (AVRO.records[0].key.clone(), value.map(framed))] {
            let record = record(1, k.as_deref(), v.as_deref());
            let _ = worker.decoder.decode(&record.as_raw(), &mut scratch, &mut row);
        }
    }

    #[test]
    fn no_schema_text_panics(text: String, pick: usize, at: usize, byte in 32_u8..127) {
        let _ = describe(SchemaText::Avro(&text), SchemaText::ConnectJson(&text));
        let ids: Vec<_> = AVRO.registry.values().collect();
        let mut known = ids[pick % ids.len()].clone().into_bytes();
        let at = at % known.len();
        known[at] = byte;
        if let Ok(text) = String::from_utf8(known) {
            let _ = describe(SchemaText::Avro(&text), SchemaText::Avro(&text));
        }
    }
}

#[test]
fn a_schema_that_contains_itself_is_unusable() {
    let list =
        r#"{"type":"record","name":"List","fields":[{"name":"next","type":["null","List"]}]}"#;
    let fault = describe(SchemaText::None, SchemaText::Avro(list)).unwrap_err();
    assert_eq!(fault.code, crate::fault::Code::SchemaUnusable);
}

#[test]
fn a_small_text_that_means_a_huge_schema_is_unusable() {
    let mut text =
        r#"{"type":"record","name":"a0","fields":[{"name":"x","type":"int"}]}"#.to_owned();
    for n in 1..40 {
        text = format!(
            r#"{{"type":"record","name":"a{n}","fields":[{{"name":"x","type":{text}}},{{"name":"y","type":"a{}"}}]}}"#,
            n - 1
        );
    }
    let fault = describe(SchemaText::None, SchemaText::Avro(&text)).unwrap_err();
    assert_eq!(fault.code, crate::fault::Code::SchemaUnusable);
}
