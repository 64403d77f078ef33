//! Each form of the capture, read once, again from earliest, record by record, and in other interleavings.

use crate::logs::{self, Form, interleave, spread};
use crate::rig::{Rig, at_once};

async fn lands_and_a_replay_changes_nothing(form: Form) {
    let records = form.records();
    let rig = Rig::start(form, 1, &records).await;

    rig.run().await.unwrap();

    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
    let (tuples, (written, dead)) = (rig.tuples().await, rig.written_and_dead().await);
    assert!(written > 0);

    rig.rewind();
    rig.run().await.unwrap();

    // The counts started over with the replay: every record was read again, and nothing applied.
    assert_eq!(rig.total("applied").await, 0);
    assert!(rig.total("superseded").await > 0);
    rig.assert_tiled(records.len(), 0).await;
    assert_eq!(rig.tuples().await, tuples);
    let (written_now, dead_now) = rig.written_and_dead().await;
    assert_eq!(written_now, written);
    assert!(dead_now <= dead, "{dead_now} dead tuples, before the replay {dead}");
    rig.assert_equal().await;
}

async fn lands_record_by_record(form: Form) {
    let records = form.records();
    let mut rig = Rig::start(form, 1, &records).await;
    rig.extra = "[limits]\nbatch_rows = 1\n".to_owned();

    rig.run().await.unwrap();

    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
    rig.written_and_dead().await;
    // One transaction per batch, and each one updates its partition's position once.
    let transactions: usize = rig
        .ask("SELECT n_tup_upd FROM pg_stat_all_tables WHERE schemaname = 'silversink' AND relname = 'position'")
        .await
        .parse()
        .unwrap();
    let skipped = usize::try_from(rig.total("skipped").await).unwrap();
    assert!(
        transactions >= records.len() - skipped,
        "{} records in {transactions} transactions",
        records.len()
    );
}

async fn lands_in_any_interleaving(form: Form) {
    for seed in [1, 2] {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let records = interleave(spread(form.records(), 4, seed), &mut random);
        let rig = Rig::empty(form, 4).await;
        let worker = rig.spawn();

        // What a stage holds is read before the next one is there: the interleaving is the seed's.
        let mut produced = 0;
        for stage in 1..=4 {
            let end =
                if stage == 4 { records.len() } else { random.usize(produced..records.len()) };
            rig.produce(&records[produced..end]);
            produced = end;
            rig.wait_for(i64::try_from(produced).unwrap()).await;
        }

        worker.stopped().await.unwrap();
        rig.assert_equal().await;
        rig.assert_tiled(records.len(), 0).await;
    }
}

/// Partitions of one table are dealt out among lanes with connections of their own, while keys stay in their partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_several_writers_lands_and_a_replay_changes_nothing() {
    let records = spread(logs::AVRO.records(), 4, 3);
    let mut rig = Rig::start(logs::AVRO, 4, &records).await;
    rig.extra = "[defaults]\nwriters = 3\n[limits]\nbatch_rows = 20\n".to_owned();

    rig.run().await.unwrap();

    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
    let shared = "SELECT count(*) > 0 FROM (SELECT FROM silversink.position \
        GROUP BY table_name HAVING count(DISTINCT backend_pid) > 1) AS shared";
    assert_eq!(rig.ask(shared).await, "t", "no table was written by two connections");
    let tuples = rig.tuples().await;

    rig.rewind();
    rig.run().await.unwrap();

    assert_eq!(rig.total("applied").await, 0);
    rig.assert_tiled(records.len(), 0).await;
    assert_eq!(rig.tuples().await, tuples);
}

macro_rules! each_form {
    ($($module:ident: $form:expr;)*) => {$(
        mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn lands_and_a_replay_changes_nothing() {
                super::lands_and_a_replay_changes_nothing($form).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn lands_in_any_interleaving() {
                super::lands_in_any_interleaving($form).await;
            }
        }
    )*};
}

each_form! {
    avro: logs::AVRO;
    json_with_schema: logs::JSON;
    json_without_schema: logs::JSON_PLAIN;
    flattened_avro: logs::FLAT_AVRO;
    flattened_json: logs::FLAT_JSON;
}

#[test]
fn every_form_lands_record_by_record() {
    at_once(
        [logs::AVRO, logs::JSON, logs::JSON_PLAIN, logs::FLAT_AVRO, logs::FLAT_JSON],
        lands_record_by_record,
    );
}
