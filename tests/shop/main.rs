//! The captured shop lands right in Silver, in each form, however it is read.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod rig;

use rig::Rig;
use silversink::demo::capture::Capture;
use silversink::record::OwnedRecord;

fn records(encoding: &str) -> Vec<OwnedRecord> {
    Capture::open("testdata/debezium/shop").unwrap().records(encoding).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_lands_right() {
    let rig = Rig::start("avro", 1, &records("avro"));

    rig.run().await.unwrap();

    rig.assert_equal().await;
}
