//! Workers that are killed, told to stop, or joined by others, each a process or thread of its own.

use crate::logs::{self, Form, interleave, spread};
use crate::rig::{PATIENCE, Rig, at_once};
use std::process::Child;
use std::time::{Duration, Instant};

fn total(records: &[silversink::record::OwnedRecord]) -> i64 {
    i64::try_from(records.len()).unwrap()
}

/// A process that nobody waits for must not outlive a test that failed.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    async fn ended(&mut self, within: Duration) -> std::process::ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the worker does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Ten times `kill -9`, then to the end.
async fn survives_ten_kills(form: Form, seed: u64) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let records = form.records();
    let mut rig = Rig::start(form, 1, &records).await;
    rig.extra = "[limits]\nbatch_rows = 1\n".to_owned();
    rig.properties = "\"fetch.wait.max.ms\" = \"10\"\n".to_owned();
    let directory = tempfile::tempdir().unwrap();
    let mut in_the_middle = 0;
    for round in 1..=10 {
        let before = rig.settled().await;
        let mut worker = Process(rig.process(directory.path(), &[]));
        if round % 3 == 0 {
            // At any moment, also while it starts and claims.
            tokio::time::sleep(Duration::from_millis(random.u64(20..900))).await;
        } else {
            let share = (total(&records) - before) / (13 - round);
            rig.wait_for(before + random.i64(1..=share.max(1))).await;
        }
        // First of all: how far it has come is asked over a connection of its own, which takes its time on a busy machine.
        assert!(worker.is_alive(), "seed {seed}, round {round}: nothing to kill");
        worker.0.kill().unwrap();
        assert_eq!(worker.ended(PATIENCE).await.code(), None, "it ended by a signal");
        let after = rig.settled().await;
        assert!(after < total(&records), "seed {seed}, round {round}: nothing was left to do");
        in_the_middle += i32::from(after > before);
    }
    assert!(in_the_middle >= 7, "seed {seed}: {in_the_middle} of 10 lives did some work");

    let mut last = Process(rig.process(directory.path(), &["--until-caught-up"]));
    assert_eq!(last.ended(PATIENCE).await.code(), Some(0));

    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
}

#[test]
fn every_form_survives_ten_kills() {
    at_once(
        [
            (logs::AVRO, 1),
            (logs::JSON, 2),
            (logs::JSON_PLAIN, 3),
            (logs::FLAT_AVRO, 4),
            (logs::FLAT_JSON, 5),
        ],
        |(form, seed)| survives_ten_kills(form, seed),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_leaves_in_time_and_the_next_one_goes_on_where_it_was() {
    let records = logs::AVRO.records();
    let mut rig = Rig::start(logs::AVRO, 1, &records).await;
    rig.extra = "[limits]\nbatch_rows = 20\n".to_owned();
    rig.properties = "\"fetch.wait.max.ms\" = \"10\"\n".to_owned();
    let directory = tempfile::tempdir().unwrap();
    let mut worker = Process(rig.process(directory.path(), &[]));
    rig.wait_for(total(&records) / 10).await;

    let pid = worker.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(worker.ended(Duration::from_secs(30)).await.code(), Some(0));

    let settled = rig.settled().await;
    assert!(settled < total(&records), "nothing was left to do");
    let first = rig.total("applied + superseded + skipped").await;
    assert_eq!(first, settled);
    let mut next = Process(rig.process(directory.path(), &["--until-caught-up"]));
    assert_eq!(next.ended(PATIENCE).await.code(), Some(0));
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let starts = log.lines().filter(|line| line.contains("partition starts"));
    assert_eq!(starts.filter(|line| line.contains("\"reason\":\"position\"")).count(), 4, "{log}");
    rig.assert_equal().await;
    // Counts that tile from offset 0 over both lives: nothing was read twice.
    rig.assert_tiled(records.len(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_group_and_one_leaves_while_they_read() {
    let mut random = fastrand::Rng::with_seed(7);
    let records = interleave(spread(logs::AVRO.records(), 4, 7), &mut random);
    let (early, late) = records.split_at(records.len() / 2);
    let mut rig = Rig::start(logs::AVRO, 4, early).await;
    rig.extra = "[limits]\nbatch_rows = 20\n".to_owned();
    rig.properties = "\"fetch.wait.max.ms\" = \"10\"\n".to_owned();
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut first = Process(rig.process(directories[0].path(), &[]));
    rig.wait_for(100).await;
    let mut second = Process(rig.process(directories[1].path(), &[]));
    let owners = "SELECT count(DISTINCT owner) FROM silversink.position";
    let deadline = Instant::now() + PATIENCE;
    while rig.ask(owners).await != "2" {
        assert!(Instant::now() < deadline, "the second worker got no partition");
    }
    rig.produce(late);
    rig.wait_for(total(early) + 1).await;
    let pid = first.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(first.ended(Duration::from_secs(30)).await.code(), Some(0));

    rig.wait_for(total(&records)).await;

    assert!(second.is_alive());
    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
}
