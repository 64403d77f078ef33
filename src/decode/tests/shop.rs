//! The shop capture in its five encodings.

use super::capture::{Capture, Done, directory, table_of, workers};
use super::tables::fields;
use crate::decode::ChangeKind;
use crate::record::OwnedRecord;
use serde_json::Value;
use std::collections::BTreeMap;

/// Rows, deletes and tombstones of each table, as `about.md` counts them (r + c + u, d, tombstone).
const COUNTS: [(&str, [usize; 3]); 4] = [
    ("customers", [140 + 263 + 212, 120, 120]),
    ("order_items", [401 + 1156 + 62, 371, 371]),
    ("orders", [160 + 435 + 725, 129, 129]),
    ("products", [90 + 127 + 794, 29, 29]),
];

fn decode(encoding: &str) -> Vec<(OwnedRecord, Done)> {
    let capture = Capture::load("shop", encoding);
    let mut workers = workers(&capture);
    let done = capture
        .records
        .into_iter()
        .map(|record| {
            let done = workers.get_mut(table_of(&record)).unwrap().change(&record);
            (record, done)
        })
        .collect();
    for (table, worker) in workers {
        assert_eq!(worker.plans, 1, "{table} needs one plan");
    }
    done
}

fn check(encoding: &str, tombstones: bool) {
    let decoded = decode(encoding);
    for (table, counts) in COUNTS {
        let of = |kind| {
            decoded.iter().filter(|(r, d)| table_of(r) == table && d.change.kind == kind).count()
        };
        assert_eq!(
            [of(ChangeKind::Row), of(ChangeKind::Delete), of(ChangeKind::Tombstone)],
            [counts[0], counts[1], if tombstones { counts[2] } else { 0 }],
            "{encoding} {table}"
        );
        last_images_are_the_source(encoding, table, &decoded);
    }
    for (record, done) in &decoded {
        assert!(
            !done.change.has_kept && !done.change.needs_base,
            "{encoding} {}: every column is given",
            record.at
        );
        assert_eq!(
            done.change.deleted_at.is_some(),
            done.change.kind != ChangeKind::Row,
            "{encoding} {}",
            record.at
        );
    }
}

/// The change of the highest version of each key, compared with the source's final rows: the key, and every column whose
/// text is its binary form.
fn last_images_are_the_source(encoding: &str, table: &str, decoded: &[(OwnedRecord, Done)]) {
    let mut last: BTreeMap<&[u8], &Done> = BTreeMap::new();
    for (_, done) in decoded
        .iter()
        .filter(|(r, d)| table_of(r) == table && d.change.kind != ChangeKind::Tombstone)
    {
        let newest = last.entry(&done.key).or_insert(done);
        if done.change.version > newest.change.version {
            *newest = done;
        }
    }
    let columns = &Capture::load("shop", encoding).shapes[table].columns;
    let text = |(column, field): (&crate::table::Column, Option<Vec<u8>>)| {
        let text = match (column.ty.sql.as_str(), field) {
            (_, None) => return (column.name.clone(), Value::Null),
            ("smallint" | "integer" | "bigint", Some(bytes)) => {
                bytes.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b)).to_string()
            }
            (_, Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        (column.name.clone(), Value::String(text))
    };
    let comparable = |name: &str| {
        columns.iter().any(|c| {
            c.name == name && ["smallint", "integer", "bigint", "text"].contains(&c.ty.sql.as_str())
        })
    };
    let mut live: Vec<serde_json::Map<String, Value>> = last
        .values()
        .filter(|done| done.change.kind == ChangeKind::Row)
        .map(|done| {
            columns
                .iter()
                .zip(fields(&done.body))
                .map(text)
                .filter(|(name, _)| comparable(name))
                .collect()
        })
        .collect();
    let expected =
        std::fs::read_to_string(directory("shop").join("expected").join(format!("{table}.ndjson")))
            .unwrap();
    let mut expected: Vec<serde_json::Map<String, Value>> = expected
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Map<String, Value>>(line).unwrap())
        .map(|row| row.into_iter().filter(|(name, _)| comparable(name)).collect())
        .collect();
    live.sort_by_key(|row| format!("{row:?}"));
    expected.sort_by_key(|row| format!("{row:?}"));
    assert!(
        live == expected,
        "{encoding} {table}: {} live rows, {} expected",
        live.len(),
        expected.len()
    );
}

#[test]
fn avro_gives_every_change_and_the_final_rows() {
    check("avro", true);
}

#[test]
fn json_with_schema_gives_every_change_and_the_final_rows() {
    check("json", true);
}

#[test]
fn json_without_schema_gives_every_change_and_the_final_rows() {
    check("json-plain", true);
}

#[test]
fn flattened_json_gives_every_change_and_the_final_rows() {
    check("flat-json", false);
}

#[test]
fn flattened_avro_gives_every_change_and_the_final_rows() {
    check("flat-avro", true);
}

#[test]
fn an_event_is_the_same_change_in_every_encoding() {
    let avro = decode("avro");
    for encoding in ["json", "json-plain", "flat-avro"] {
        for ((record, a), (_, b)) in avro.iter().zip(&decode(encoding)) {
            assert_eq!(
                (a.change.kind, a.change.version),
                (b.change.kind, b.change.version),
                "{encoding} {}",
                record.at
            );
            assert_eq!((&a.key, &a.body), (&b.key, &b.body), "{encoding} {}", record.at);
            // Only the envelope has microseconds, and a tombstone's time is Kafka's.
            if encoding != "flat-avro" && a.change.kind != ChangeKind::Tombstone {
                assert_eq!(a.change, b.change, "{encoding} {}", record.at);
            }
        }
    }
}

#[test]
fn versions_hold_the_positions_of_the_source() {
    let decoded = decode("avro");
    let (_, first) = &decoded[0];
    let parts = first.change.version.parts();
    // op r, sequence [null,"180258439834672"], source.ts_us 1795246189233921.
    assert_eq!((parts.source_epoch, parts.commit_position, parts.phase), (0, 0, 0));
    assert_eq!((parts.change_position, parts.kafka_offset), (180_258_439_834_672, 0));
    assert_eq!(first.change.source_ts, Some(1_795_246_189_233_921 - 946_684_800_000_000));
    // op u, sequence ["180258440134688","180258440134992"].
    let (_, update) = decoded
        .iter()
        .find(|(r, _)| r.at.topic == "shop.public.orders" && r.at.offset == 605)
        .unwrap();
    let parts = update.change.version.parts();
    assert_eq!(
        (parts.commit_position, parts.phase, parts.change_position),
        (180_258_440_134_688, 1, 180_258_440_134_992)
    );
}
