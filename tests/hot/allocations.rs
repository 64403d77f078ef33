//! Nothing is allocated per record: decode and fold of a batch, once the batches before it have shown how much memory it
//! takes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "path.rs"]
mod path;
#[path = "records.rs"]
mod records;
#[path = "spent.rs"]
mod spent;
#[path = "../bench/peer/workload.rs"]
mod workload;

use path::Path;
use records::{Encoding, records};
use silversink::config::load;
use silversink::decode::ChangeKind;
use silversink::record::OwnedRecord;
use silversink::route::{self, Template};

#[global_allocator]
static ALLOCATOR: spent::Counting = spent::Counting;

const EVENTS: usize = 4_000;
/// Batches before the one that counts: a batch is made with as much memory as the one before it took.
const WARM: usize = 3;

/// Deletes followed by their tombstones, as the connector writes them by default.
fn with_tombstones(encoding: Encoding) -> Vec<OwnedRecord> {
    let mut path = Path::new().unwrap();
    let mut all = Vec::new();
    for record in records(encoding, EVENTS).unwrap() {
        let is_delete = path.decode(&record.as_raw()).unwrap().kind == ChangeKind::Delete;
        let tombstone = OwnedRecord { value: None, ..record.clone() };
        all.push(record);
        if is_delete {
            all.push(tombstone);
        }
    }
    in_one_partition(all)
}

fn in_one_partition(mut records: Vec<OwnedRecord>) -> Vec<OwnedRecord> {
    for (offset, record) in (0..).zip(&mut records) {
        (record.at.partition, record.at.offset) = (0, offset);
    }
    records
}

/// Allocations of one batch of these records.
fn allocations(records: &[OwnedRecord]) -> u64 {
    allocations_on(&mut Path::new().unwrap(), records)
}

fn allocations_on(path: &mut Path, records: &[OwnedRecord]) -> u64 {
    for _ in 0..WARM {
        take(path, records);
        let batch = path.seal().unwrap();
        // The worker gives a batch back when it is written, while the next one gathers.
        let change = path.decode(&records[0].as_raw()).unwrap();
        path.fold(&change, &records[0].as_raw()).unwrap();
        path.arena.recycle(Some(batch));
    }
    let before = spent::allocations();
    take(path, records);
    spent::allocations() - before
}

/// How records of this route name their tables.
fn template() -> Template {
    let text = "name = \"x\"\n[kafka]\nbootstrap_servers = \"h:1\"\n[postgres]\nurl = \"postgresql://h/d\"\n\
        [[route]]\ntopics = \"t\"\ntable = \"silver.${source.table}\"\n";
    let config = load::parse(text, "x", &|_| None).unwrap();
    route::route(&config, "t").unwrap().tables.unwrap()
}

/// The same records as if every third were of another table.
fn of_two_tables(encoding: Encoding) -> Vec<OwnedRecord> {
    let mut records = in_one_partition(records(encoding, EVENTS).unwrap());
    for record in records.iter_mut().step_by(3) {
        for half in [&mut record.key, &mut record.value].into_iter().flatten() {
            for at in 0..half.len().saturating_sub(5) {
                if &half[at..at + 6] == b"orders" {
                    half[at + 5] = b'z';
                }
            }
        }
    }
    records
}

#[test]
fn nothing_is_allocated_per_record_of_a_topic_of_many_tables() {
    for encoding in Encoding::ALL {
        let mut path = Path::of_many(template()).unwrap();
        assert_eq!(allocations_on(&mut path, &of_two_tables(encoding)), 0, "{}", encoding.name());
        assert_eq!(path.tables, 2, "{}", encoding.name());
    }
}

fn take(path: &mut Path, records: &[OwnedRecord]) {
    for record in records {
        let raw = record.as_raw();
        let change = path.decode(&raw).unwrap();
        path.fold(&change, &raw).unwrap();
    }
}

#[test]
fn nothing_is_allocated_per_record() {
    for encoding in Encoding::ALL {
        let records = with_tombstones(encoding);
        let deletes = records.iter().filter(|record| record.value.is_none()).count();
        assert!(deletes > EVENTS / 40, "{}: only {deletes} deletes", encoding.name());
        assert_eq!(allocations(&records), 0, "{}", encoding.name());
        let hot = in_one_partition([&records[..200]; 20].concat());
        assert_eq!(allocations(&hot), 0, "{}, hot keys", encoding.name());
    }
}

#[test]
fn the_count_counts() {
    let before = spent::allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(spent::allocations() - before, 1);
}
