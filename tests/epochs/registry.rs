//! A registry of epochs that was lost is noticed before anything is taken for older than it is.

use crate::hand::{change, look, rig};
use crate::rig::{Rig, at_once};
use silversink::fault::{Class, Code};

/// A table in epoch 1, and a registry that knows nothing.
async fn lost(lose: &str) -> Rig {
    let rig = rig().await;
    rig.produce(&[change(0, 1, 900, 10), change(1, 1, 5, 20)]);
    rig.run().await.unwrap();
    assert_eq!(look(&rig).await, ["1 1 1"]);
    rig.execute(lose).await;
    rig.produce(&[change(2, 2, 6, 30)]);
    rig
}

async fn is_refused(rig: &Rig) {
    let fault = rig.run().await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Blocked, Code::SourceEpochBehind));
    assert!(fault.text.contains("epoch 1") && fault.text.contains("above 0"), "{fault}");
    assert_eq!(rig.rows("SELECT count(*) FROM silver.items").await, ["1"]);
}

/// The positions are still there: a sample of the table is looked at, which is all of a small one.
async fn a_lost_registry_is_refused_until_the_epoch_is_raised_above() {
    let rig = lost("TRUNCATE silversink.source_epoch, silversink.source_epoch_start").await;
    is_refused(&rig).await;

    let raise = ["epoch", "raise", "--source", "hand", "--epoch", "2", "--execute"];
    let (code, text) = rig.says(&raise);
    assert_eq!(code, Some(0), "{text}");
    rig.run().await.unwrap();

    assert_eq!(rig.rows("SELECT came, (silversink.version_parts(_version)).source_epoch FROM silver.items ORDER BY id").await, ["1 1", "2 2"]);
}

/// Nothing at all is known any more: the whole table is looked at.
async fn lost_bookkeeping_is_refused() {
    let rig = lost("DROP SCHEMA silversink CASCADE").await;
    rig.rewind();
    is_refused(&rig).await;
}

#[test]
fn lost_registries() {
    at_once(&[
        || Box::pin(a_lost_registry_is_refused_until_the_epoch_is_raised_above()),
        || Box::pin(lost_bookkeeping_is_refused()),
    ]);
}
