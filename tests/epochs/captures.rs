//! What real connectors wrote while their positions started over reaches the source's final state.

use crate::rig::{Rig, at_once, spread};
use silversink::demo::capture::Capture;

struct Scenario {
    name: &'static str,
    topic: &'static str,
    table: &'static str,
    epochs: &'static [&'static str],
    /// Rows that only a sweep could remove.
    ghosts: usize,
}

const RECREATED_SLOT: Scenario = Scenario {
    name: "recreated-slot",
    topic: "yard.public.planks",
    table: "planks",
    epochs: &["yard 1 snapshot", "yard 2 snapshot"],
    ghosts: 53,
};
const NEW_CLUSTER: Scenario = Scenario {
    name: "new-cluster",
    topic: "yard.public.beams",
    table: "beams",
    epochs: &["yard 1 snapshot"],
    ghosts: 9,
};
const INTERRUPTED_SNAPSHOT: Scenario = Scenario {
    name: "interrupted-snapshot",
    topic: "yard.public.logs",
    table: "logs",
    epochs: &["yard 1 snapshot"],
    ghosts: 7,
};
const SMALL_BATCHES: &str = "[limits]\nbatch_rows = 100\n";

impl Scenario {
    fn capture(&self) -> Capture {
        Capture::open(format!("testdata/debezium/{}", self.name)).unwrap()
    }

    /// As it was: all at once, and again from the earliest offset; then with a worker killed exactly between lineages.
    async fn reaches_the_end(&self) {
        let capture = self.capture();
        let records = capture.records("avro").unwrap();
        let mut rig = Rig::of(&capture, self.topic, 1);
        rig.extra = SMALL_BATCHES.to_owned();
        rig.produce(&records);
        rig.run().await.unwrap();
        assert_eq!(rig.epochs().await, self.epochs);
        let starts = rig.starts().await;
        assert_eq!(starts.len(), self.epochs.len());
        let before = rig.tuples(self.table).await;

        rig.rewind();
        rig.run().await.unwrap();

        assert_eq!(rig.rows("SELECT applied FROM silversink.position").await, ["0"], "a replay");
        assert_eq!((rig.tuples(self.table).await, rig.starts().await), (before, starts.clone()));
        assert_eq!(rig.assert_equal(&capture).await, self.ghosts);

        let rig = Rig::of(&capture, self.topic, 1);
        let mut produced = 0;
        for (_, start, _) in &starts {
            let boundary = usize::try_from(*start).unwrap();
            rig.produce(&records[produced..boundary]);
            let worker = rig.process();
            let settled = "SELECT sum(next_offset) FROM silversink.position";
            rig.wait_for(settled, &boundary.to_string()).await;
            worker.kill();
            produced = boundary;
        }
        rig.produce(&records[produced..]);
        rig.run().await.unwrap();

        assert_eq!(rig.epochs().await, self.epochs);
        assert_eq!(rig.starts().await, starts);
        assert_eq!(rig.assert_equal(&capture).await, self.ghosts);
    }

    /// Spread over partitions that are read in another order than they were written: all enter the same epochs.
    async fn reaches_the_end_in_partitions(&self) {
        let capture = self.capture();
        let records = spread(capture.records("avro").unwrap(), 3);
        let mut rig = Rig::of(&capture, self.topic, 3);
        rig.extra = SMALL_BATCHES.to_owned();
        for partition in [2, 0, 1] {
            let of: Vec<_> =
                records.iter().filter(|r| r.at.partition == partition).cloned().collect();
            rig.produce(&of);
            rig.run().await.unwrap();
        }

        let epochs = rig.epochs().await;
        assert_eq!(epochs.len(), self.epochs.len(), "{epochs:?}");
        let mut entered: Vec<_> = rig
            .starts()
            .await
            .into_iter()
            .map(|(partition, _, epoch)| (partition, epoch))
            .collect();
        entered.sort_unstable();
        let numbers = 1..=u32::try_from(self.epochs.len()).unwrap();
        let expected: Vec<_> = (0..3)
            .flat_map(|partition| numbers.clone().map(move |epoch| (partition, epoch)))
            .collect();
        assert_eq!(entered, expected);
        assert_eq!(rig.assert_equal(&capture).await, self.ghosts);
    }
}

async fn a_slot_that_is_made_anew_twice() {
    RECREATED_SLOT.reaches_the_end().await;
}

async fn a_cluster_with_lower_positions() {
    NEW_CLUSTER.reaches_the_end().await;
}

async fn a_snapshot_that_starts_from_scratch() {
    INTERRUPTED_SNAPSHOT.reaches_the_end().await;
}

async fn partitions_of_a_recreated_slot_enter_the_same_epochs() {
    RECREATED_SLOT.reaches_the_end_in_partitions().await;
}

async fn partitions_of_a_new_cluster_enter_the_same_epoch() {
    NEW_CLUSTER.reaches_the_end_in_partitions().await;
}

/// Repeats after a crash, overlapping transactions and incremental snapshots raise no epoch and do not trip.
async fn the_edge_of_a_snapshot_is_one_lineage() {
    let capture = Capture::open("testdata/debezium/snapshot-edge").unwrap();
    let topic = "bank.public.accounts";
    let mut records = capture.records("avro").unwrap();
    records.retain(|record| record.at.topic == topic);
    let mut rig = Rig::of(&capture, topic, 1);
    rig.extra = SMALL_BATCHES.to_owned();
    rig.produce(&records);

    rig.run().await.unwrap();
    rig.rewind();
    rig.run().await.unwrap();

    assert_eq!(rig.epochs().await, [""; 0]);
    let superseded = rig.rows("SELECT superseded > 5000 FROM silversink.position").await;
    assert_eq!(superseded, ["t"], "the replay was superseded");
    assert!(
        rig.rows("SELECT lineage ->> 'bank' FROM silversink.position").await[0].contains("commit")
    );
}

#[test]
fn captured_lineages() {
    at_once(&[
        || Box::pin(a_slot_that_is_made_anew_twice()),
        || Box::pin(a_cluster_with_lower_positions()),
        || Box::pin(a_snapshot_that_starts_from_scratch()),
        || Box::pin(partitions_of_a_recreated_slot_enter_the_same_epochs()),
        || Box::pin(partitions_of_a_new_cluster_enter_the_same_epoch()),
        || Box::pin(the_edge_of_a_snapshot_is_one_lineage()),
    ]);
}
