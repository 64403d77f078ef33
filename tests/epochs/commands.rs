//! `epoch show` and `epoch raise`, also while a worker runs.

use crate::hand::{change, look, rig};
use crate::rig::at_once;

async fn a_raise_reaches_a_worker_that_runs() {
    let rig = rig().await;
    rig.produce(&[change(0, 1, 900, 10)]);
    let worker = rig.process();
    rig.wait_for("SELECT next_offset FROM silversink.position", "1").await;

    let dry = rig.says(&["epoch", "raise", "--source", "hand"]);
    assert_eq!((dry.0, rig.epochs().await.len()), (Some(0), 0), "{}", dry.1);
    let raise = ["epoch", "raise", "--source", "hand", "--reason", "restored", "--execute"];
    let (code, text) = rig.says(&raise);
    assert_eq!(code, Some(0), "{text}");
    // As old as the first one, by position and by time: only the epoch puts it above.
    rig.produce(&[change(1, 1, 5, 5)]);

    rig.wait_for("SELECT came FROM silver.items", "1").await;
    worker.kill();
    assert_eq!(look(&rig).await, ["1 1 1"]);
    assert_eq!(rig.starts().await, [(0, 1, 1)]);
    let starts = rig.logged().matches("partition starts").count();
    assert_eq!(starts, 2, "it was fenced off and claimed again: {}", rig.logged());
    let (code, shown) = rig.says(&["epoch", "show", "--json"]);
    assert_eq!(code, Some(0), "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["epochs"][0]["reason"], "restored");
    assert_eq!(shown["starts"][0]["start_offset"], 1);
}

async fn what_cannot_be_raised_is_refused() {
    let rig = rig().await;
    let (code, shown) = rig.says(&["epoch", "show"]);
    assert_eq!((code, shown.as_str()), (Some(0), "every source is in epoch 0\n"));
    rig.produce(&[change(0, 1, 900, 10)]);
    rig.run().await.unwrap();

    let (code, text) = rig.says(&["epoch", "raise", "--source", "stranger", "--execute"]);
    assert_eq!(code, Some(78), "{text}");
    let (code, text) =
        rig.says(&["epoch", "raise", "--source", "hand", "--epoch", "0", "--execute"]);
    assert_eq!(code, Some(78), "{text}");
    let (code, _) = rig.says(&["epoch", "raise", "--source", "hand", "--partition", "0"]);
    assert_eq!(code, Some(2));

    assert_eq!(rig.epochs().await, [""; 0]);
}

#[test]
fn epochs_by_command() {
    at_once(&[
        || Box::pin(a_raise_reaches_a_worker_that_runs()),
        || Box::pin(what_cannot_be_raised_is_refused()),
    ]);
}
