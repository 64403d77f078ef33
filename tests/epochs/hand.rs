//! Records made by hand, and what headers and a lost owner do to their epochs.

use crate::rig::{Rig, at_once};
use silversink::fault::{Class, Code};
use silversink::record::{Coordinates, OwnedRecord};

pub const TOPIC: &str = "hand.public.items";
const TABLE: &str =
    "CREATE SCHEMA silver; CREATE TABLE silver.items (id bigint PRIMARY KEY, came bigint)";

/// One change of one row.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub offset: i64,
    pub id: i64,
    pub op: &'static str,
    /// `source.sequence`.
    pub sequence: (Option<u64>, u64),
    /// Source time in seconds; `None` leaves it out.
    pub at: Option<i64>,
}

/// The row holds the offset that it came from.
pub fn record(event: Event) -> OwnedRecord {
    let Event { offset, id, op, sequence: (commit, change), at } = event;
    let commit = commit.map_or("null".to_owned(), |commit| format!(r#"\"{commit}\""#));
    let time = at.map_or(String::new(), |at| format!(r#","ts_ms":{at}000"#));
    let value = format!(
        r#"{{"before":null,"after":{{"id":{id},"came":{offset}}},"source":{{"connector":"postgresql","name":"hand","snapshot":"false","sequence":"[{commit},\"{change}\"]"{time}}},"op":"{op}"}}"#
    );
    OwnedRecord {
        at: Coordinates { topic: TOPIC.to_owned(), partition: 0, offset },
        timestamp_ms: Some(1_700_000_000_000 + offset),
        key: Some(format!(r#"{{"id":{id}}}"#).into_bytes()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }
}

pub fn change(offset: i64, id: i64, commit: u64, at: i64) -> OwnedRecord {
    record(Event { offset, id, op: "u", sequence: (Some(commit), commit + 1), at: Some(at) })
}

/// A pipeline with its table, for records by hand.
pub async fn rig() -> Rig {
    let rig = Rig::new(TOPIC, 1);
    rig.execute(TABLE).await;
    rig
}

/// Key, offset that it came from, and epoch of every row.
pub async fn look(rig: &Rig) -> Vec<String> {
    rig.rows("SELECT id, came, (silversink.version_parts(_version)).source_epoch FROM silver.items ORDER BY id")
        .await
}

fn with_header(mut record: OwnedRecord, value: &str) -> OwnedRecord {
    record.headers.push(("cdc.epoch".to_owned(), Some(value.as_bytes().to_vec())));
    record
}

async fn a_header_raises_the_epoch_and_a_late_record_keeps_its_own() {
    let mut rig = rig().await;
    rig.extra = "[guard]\nepoch_header = \"cdc.epoch\"\n".to_owned();
    rig.produce(&[
        with_header(change(0, 1, 900, 10), "0"),
        with_header(change(1, 1, 5, 20), "4"),
        // Late, from before; and no signal of positions that fell.
        with_header(change(2, 1, 901, 11), "0"),
        with_header(change(3, 2, 4, 30), "4"),
        // Without the header the record belongs to where its source is.
        change(4, 3, 6, 31),
    ]);

    rig.run().await.unwrap();

    assert_eq!(look(&rig).await, ["1 1 4", "2 3 4", "3 4 4"]);
    assert_eq!(rig.epochs().await, ["hand 4 header"]);
    assert_eq!(rig.starts().await, [(0, 1, 4)]);
}

async fn a_header_that_is_no_number_stops_the_lane_before_its_record() {
    let mut rig = rig().await;
    rig.extra = "[guard]\nepoch_header = \"cdc.epoch\"\n".to_owned();
    rig.produce(&[with_header(change(0, 1, 5, 10), "1"), with_header(change(1, 1, 6, 20), "one")]);

    let fault = rig.run().await.unwrap_err();

    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::EpochHeaderInvalid));
    assert_eq!(look(&rig).await, ["1 0 1"]);
    assert_eq!(rig.rows("SELECT next_offset FROM silversink.position").await, ["1"]);
}

async fn without_the_option_headers_are_not_read() {
    let rig = rig().await;
    rig.produce(&[with_header(change(0, 1, 5, 10), "one")]);
    rig.run().await.unwrap();
    assert_eq!(look(&rig).await, ["1 0 0"]);
}

/// The sign falls on the first record behind a restart: only what is stored with the position can tell.
async fn positions_that_fall_while_no_worker_runs_are_seen() {
    let rig = rig().await;
    rig.produce(&[change(0, 1, 900, 10)]);
    rig.run().await.unwrap();
    rig.produce(&[change(1, 1, 5, 20)]);

    rig.run().await.unwrap();

    assert_eq!(look(&rig).await, ["1 1 1"]);
    assert_eq!(rig.epochs().await, ["hand 1 positions_fell"]);
}

/// Keys move when a topic gets more partitions: the new one begins in the epoch that its source is in.
async fn a_partition_that_is_seen_later_begins_where_its_source_is() {
    let rig = Rig::new(TOPIC, 2);
    rig.execute(TABLE).await;
    rig.produce(&[change(0, 1, 900, 10), change(1, 1, 5, 20)]);
    rig.run().await.unwrap();
    assert_eq!(look(&rig).await, ["1 1 1"]);
    let moved = |mut record: OwnedRecord| {
        record.at.partition = 1;
        record
    };
    rig.produce(&[moved(change(0, 1, 7, 30)), moved(change(1, 2, 8, 31))]);

    rig.run().await.unwrap();

    assert_eq!(look(&rig).await, ["1 0 1", "2 1 1"]);
    assert_eq!(rig.starts().await, [(0, 1, 1), (1, 0, 1)]);
    assert_eq!(rig.epochs().await, ["hand 1 positions_fell"]);
}

fn of(partition: i32, mut record: OwnedRecord) -> OwnedRecord {
    record.at.partition = partition;
    record
}

/// A partition shows nothing, and was read before the one that does: it is read again.
async fn what_was_read_past_a_beginning_is_read_again() {
    let rig = Rig::new(TOPIC, 2);
    rig.execute(TABLE).await;
    rig.produce(&[of(1, change(0, 2, 890, 10)), of(1, change(1, 2, 950, 30))]);
    rig.run().await.unwrap();
    assert_eq!(look(&rig).await, ["2 1 0"]);
    rig.produce(&[change(0, 1, 900, 10), change(1, 1, 5, 20)]);

    rig.run().await.unwrap();

    assert_eq!(look(&rig).await, ["1 1 1", "2 1 1"]);
    assert_eq!(rig.epochs().await, ["hand 1 positions_fell"]);
    assert_eq!(rig.starts().await, [(0, 1, 1), (1, 1, 1)]);
    // It happens once.
    rig.produce(&[change(2, 1, 6, 40), of(1, change(2, 2, 960, 50))]);
    rig.run().await.unwrap();
    assert_eq!(look(&rig).await, ["1 2 1", "2 2 1"]);
    assert_eq!(rig.starts().await.len(), 2);
}

/// Partitions of one lineage that begin in different transactions, at different times, read in any order.
async fn partitions_that_begin_apart_stay_in_epoch_0() {
    let rig = Rig::new(TOPIC, 3);
    rig.execute(TABLE).await;
    for records in [
        [of(2, change(0, 3, 900, 90)), of(2, change(1, 3, 990, 99))],
        [of(0, change(0, 1, 100, 10)), of(0, change(1, 1, 950, 95))],
        [of(1, change(0, 2, 500, 50)), of(1, change(1, 2, 510, 51))],
    ] {
        rig.produce(&records);
        rig.run().await.unwrap();
    }
    assert_eq!(look(&rig).await, ["1 1 0", "2 1 0", "3 1 0"]);
    assert_eq!(rig.epochs().await, [""; 0]);
    assert_eq!(rig.starts().await, []);
}

#[test]
fn hand_made_lineages() {
    at_once(&[
        || Box::pin(what_was_read_past_a_beginning_is_read_again()),
        || Box::pin(partitions_that_begin_apart_stay_in_epoch_0()),
        || Box::pin(a_header_raises_the_epoch_and_a_late_record_keeps_its_own()),
        || Box::pin(a_header_that_is_no_number_stops_the_lane_before_its_record()),
        || Box::pin(without_the_option_headers_are_not_read()),
        || Box::pin(a_partition_that_is_seen_later_begins_where_its_source_is()),
        || Box::pin(positions_that_fall_while_no_worker_runs_are_seen()),
    ]);
}
