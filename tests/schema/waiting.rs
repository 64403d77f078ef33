//! Locks that are not to be had, and several workers that want the same.

use crate::rig::{PATIENCE, Rig, TOPIC, field, row};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn id() -> Value {
    field("id", "int32")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_is_waited_for_and_altered_once() {
    let mut rig = Rig::items();
    rig.postgres_extra = "lock_timeout = \"200ms\"".to_owned();
    rig.produce(&[row(&[id()], &[json!(1)])]);
    rig.run().await.unwrap();
    // A report that reads the table for a long time.
    let reader = rig.database().await;
    reader.execute("BEGIN; SELECT * FROM silver.items").await.unwrap();
    rig.produce(&[row(&[id(), field("colour", "string")], &[json!(2), json!("red")])]);
    let worker = rig.spawn();

    // The lock ran out at least once: the lane says that it waits, and for what.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let troubles = worker.health.ready().err().unwrap_or_default().join("; ");
        if troubles.contains("waiting [postgres_conflict]") {
            break;
        }
        assert!(Instant::now() < deadline, "it never waits: {troubles}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rig.types().await, "id|integer");
    reader.execute("COMMIT").await.unwrap();

    rig.until("SELECT count(*) FROM silver.items WHERE id = 2", "1").await;
    worker.stopped().await;
    assert_eq!(rig.ask("SELECT colour FROM silver.items WHERE id = 2").await, "red");
    assert_eq!(rig.recorded().await, "table|- column|colour");
    assert_eq!(rig.ask("SELECT state FROM silversink.position").await, "running");
    rig.assert_no_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_one_table_alter_it_once() {
    let rig = Rig::new(&[(TOPIC, 2)]);
    let on = |partition: i32, mut record: silversink::record::OwnedRecord| {
        record.at.partition = partition;
        record
    };
    let old = |n: i32| row(&[id(), field("n", "int32")], &[json!(n), json!(n)]);
    let new = |n: i32| {
        let fields = [id(), field("n", "int64"), field("colour", "string")];
        row(&fields, &[json!(n), json!(n), json!("red")])
    };
    rig.produce(&[on(0, old(1)), on(1, old(2))]);
    let workers = [rig.spawn(), rig.spawn()];
    rig.until("SELECT count(*) FROM pg_class WHERE relname = 'schema_change'", "1").await;
    let owners = "SELECT count(DISTINCT owner_epoch || owner), coalesce(min(next_offset), 0) FROM silversink.position";
    rig.until("SELECT coalesce(sum(next_offset), 0) FROM silversink.position", "2").await;
    println!("owners and offset: {}", rig.ask(owners).await);

    rig.produce(&[on(0, new(3)), on(1, new(4)), on(0, old(5)), on(1, old(6))]);
    rig.until("SELECT coalesce(sum(next_offset), 0) FROM silversink.position", "6").await;

    for worker in workers {
        worker.stopped().await;
    }
    assert_eq!(
        rig.ask("SELECT id, n, colour FROM silver.items ORDER BY id").await,
        "1|1|- 2|2|- 3|3|red 4|4|red 5|5|- 6|6|-"
    );
    assert_eq!(rig.recorded().await, "table|- column|colour widening|n");
    rig.assert_no_letters().await;
}
