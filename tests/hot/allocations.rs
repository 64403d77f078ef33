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
use silversink::decode::ChangeKind;
use silversink::record::OwnedRecord;

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
    let mut path = Path::new().unwrap();
    for _ in 0..WARM {
        take(&mut path, records);
        let batch = path.seal().unwrap();
        // The worker gives a batch back when it is written, while the next one gathers.
        let change = path.decode(&records[0].as_raw()).unwrap();
        path.fold(&change, &records[0].as_raw()).unwrap();
        path.arena.recycle(Some(batch));
    }
    let before = spent::allocations();
    take(&mut path, records);
    spent::allocations() - before
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
