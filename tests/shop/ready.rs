//! A worker that waits for records has its connections and stages already.

use crate::logs;
use crate::rig::{PATIENCE, Rig};
use std::time::{Duration, Instant};

const STAGES: &str =
    "SELECT (count(*) > 0)::text FROM pg_class WHERE relname LIKE 'silversink\\_stage\\_%'";

/// Waits until there are stages, or none.
async fn stages(rig: &Rig, wanted: bool) {
    let begun = Instant::now();
    while rig.ask(STAGES).await != wanted.to_string() {
        assert!(begun.elapsed() < PATIENCE, "stages: not {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_are_made_before_the_first_record() {
    let records = logs::AVRO.records();
    let rig = Rig::start(logs::AVRO, 1, &records).await;
    rig.run().await.unwrap();
    stages(&rig, false).await;
    let worker = rig.spawn();
    stages(&rig, true).await;
    assert_eq!(
        rig.settled().await,
        i64::try_from(records.len()).unwrap(),
        "nothing is left to be read"
    );
    worker.stopped().await.unwrap();
    rig.assert_tiled(records.len(), 0).await;
}
