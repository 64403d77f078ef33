//! A later change with a lower version than its row, in one epoch, stops its lane; what looks similar does not.

use crate::hand::{Event, change, look, record, rig};
use crate::rig::at_once;
use silversink::fault::{Class, Code, Fault};

/// Row 1 at commit 900; another row later still, so that what contradicts row 1 is no sign of positions that fell.
fn sound() -> [silversink::record::OwnedRecord; 2] {
    [change(0, 1, 900, 10), change(1, 2, 910, 50)]
}

fn assert_contradicted(outcome: Result<(), Fault>) {
    let fault = outcome.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::OrderContradicted));
    for part in ["hand.public.items-0@2", "(0,500,1,501,2)", "(0,900,1,901,0)"] {
        assert!(fault.text.contains(part), "{fault}");
    }
}

async fn a_contradiction_of_a_stored_row_stops_the_lane_and_commits_nothing() {
    let rig = rig().await;
    rig.produce(&sound());
    rig.run().await.unwrap();
    let before = rig.tuples("items").await;
    // What follows in the same batch is sound, and is not written either.
    rig.produce(&[change(2, 1, 500, 20), change(3, 3, 920, 60)]);

    assert_contradicted(rig.run().await);

    assert_eq!(rig.tuples("items").await, before);
    assert_eq!(
        rig.rows("SELECT next_offset, state, reason FROM silversink.position").await,
        ["2 stopped order_contradicted"]
    );
}

async fn a_contradiction_inside_a_batch_stops_the_lane_before_its_record() {
    let rig = rig().await;
    rig.produce(&sound());
    rig.produce(&[change(2, 1, 500, 20), change(3, 3, 920, 60)]);

    assert_contradicted(rig.run().await);

    assert_eq!(look(&rig).await, ["1 0 0", "2 1 0"]);
    assert_eq!(
        rig.rows("SELECT next_offset, applied, superseded FROM silversink.position").await,
        ["2 2 0"]
    );
}

async fn counted_contradictions_are_superseded() {
    for batch_rows in [1, 100] {
        let mut rig = rig().await;
        rig.extra = format!("[guard]\ntripwire = \"count\"\n[limits]\nbatch_rows = {batch_rows}\n");
        rig.produce(&sound());
        rig.produce(&[change(2, 1, 500, 20), change(3, 3, 920, 60)]);

        rig.run().await.unwrap();

        assert_eq!(look(&rig).await, ["1 0 0", "2 1 0", "3 3 0"]);
        assert_eq!(
            rig.rows("SELECT next_offset, applied, superseded FROM silversink.position").await,
            ["4 3 1"]
        );
    }
}

/// A raised epoch is the cure: it starts at the record that contradicted.
async fn raising_the_epoch_lets_the_lane_go_on() {
    let rig = rig().await;
    rig.produce(&sound());
    rig.produce(&[change(2, 1, 500, 20)]);
    assert_contradicted(rig.run().await);

    let (code, text) = rig.says(&["epoch", "raise", "--source", "hand", "--execute"]);
    assert_eq!(code, Some(0), "{text}");
    rig.run().await.unwrap();

    assert_eq!(look(&rig).await, ["1 2 1", "2 1 0"]);
}

async fn snapshot_rows_repeats_and_rows_without_a_time_do_not_trip() {
    for batch_rows in [1, 100] {
        let mut rig = rig().await;
        rig.extra = format!("[limits]\nbatch_rows = {batch_rows}\n");
        rig.produce(&sound());
        let row = Event { offset: 2, id: 1, op: "r", sequence: (Some(500), 501), at: Some(30) };
        let timeless = Event { offset: 3, op: "u", at: None, ..row };
        rig.produce(&[record(row), record(timeless)]);
        // A crash: the connector repeats itself.
        rig.produce(&[change(4, 1, 890, 9), change(5, 1, 900, 10), change(6, 2, 910, 50)]);

        rig.run().await.unwrap();
        rig.rewind();
        rig.run().await.unwrap();

        assert_eq!(look(&rig).await, ["1 5 0", "2 6 0"]);
    }
}

#[test]
fn contradicted_orders() {
    at_once(&[
        || Box::pin(a_contradiction_of_a_stored_row_stops_the_lane_and_commits_nothing()),
        || Box::pin(a_contradiction_inside_a_batch_stops_the_lane_before_its_record()),
        || Box::pin(counted_contradictions_are_superseded()),
        || Box::pin(raising_the_epoch_lets_the_lane_go_on()),
        || Box::pin(snapshot_rows_repeats_and_rows_without_a_time_do_not_trip()),
    ]);
}
