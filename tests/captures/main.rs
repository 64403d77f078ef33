//! Orders on captures: what real Debezium wrote, through the decoder, the fold and a real PostgreSQL, in every order in
//! which Kafka and its consumers may deliver it, and each time Silver equals the source.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod doubts;
mod exchanged;
mod lane;
mod letters;
mod log;
mod order;
mod rig;
mod scenarios;
mod silver;
mod sources;
mod suite;
mod told;
mod untold;
mod verdict;
mod worker;

macro_rules! scenarios {
    ($($test:ident = $name:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() {
                suite::scenario($name).await;
            }
        )+

        #[test]
        fn every_scenario_has_a_test() {
            let mut tested = [$($name),+];
            tested.sort_unstable();
            assert_eq!(tested.as_slice(), scenarios::all());
        }
    };
}

scenarios! {
    snapshot_edge = "snapshot-edge",
    snapshot_edge_read_only = "snapshot-edge-read-only",
    shop = "shop",
    mariadb = "mariadb",
    snapshot_edge_blocking = "snapshot-edge-blocking",
    recreated_slot = "recreated-slot",
    interrupted_snapshot = "interrupted-snapshot",
    snapshot_edge_slot_first = "snapshot-edge-slot-first",
    new_cluster = "new-cluster",
    schema_change = "schema-change",
    schema_change_lag = "schema-change-lag",
    toast = "toast",
    truncate = "truncate",
    noise = "noise",
    key_swap = "key-swap",
    types = "types",
}

#[tokio::test]
async fn nulls_that_stand_for_unchanged_values_are_in_doubt() {
    Box::pin(doubts::nulls()).await;
}

#[tokio::test]
async fn keys_that_exchanged_rows_are_told_and_no_others() {
    Box::pin(exchanged::keys()).await;
}

#[tokio::test]
async fn rows_that_moved_to_free_keys_are_not_told_for_certain() {
    Box::pin(exchanged::moves_to_free_keys()).await;
}

#[tokio::test]
async fn a_wrong_row_and_a_broken_guard_are_seen() {
    Box::pin(suite::planted()).await;
}
