//! `status` and `dev produce` from outside, against a database and a broker that were filled by hand.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};
use silversink::config::{Config, load};
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::kafka::{Facts, MockBroker};
use silversink::postgres::Destination;
use silversink::postgres::readback::Readback;
use silversink::record::{Coordinates, OwnedRecord};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

const TOPIC: &str = "shop.public.orders";

struct Setup {
    directory: TempDir,
    broker: MockBroker,
    postgres: String,
}

impl Setup {
    /// A broker with two partitions of the topic, five records in the first, and an empty database.
    fn start() -> Self {
        let broker = MockBroker::start(&[(TOPIC, 2)]).unwrap();
        let record = |offset| OwnedRecord {
            at: Coordinates { topic: TOPIC.to_owned(), partition: 0, offset },
            timestamp_ms: None,
            key: None,
            value: Some(b"{}".to_vec()),
            headers: Vec::new(),
        };
        broker.produce_exactly(&(0..5).map(record).collect::<Vec<_>>()).unwrap();
        let postgres = ThrowawayPostgres::shared().fresh_database().unwrap();
        Self { directory: tempfile::tempdir().unwrap(), broker, postgres }
    }

    fn text(&self, bootstrap: &str, postgres: &str) -> String {
        format!(
            "name = \"shop\"\n[kafka]\nbootstrap_servers = \"{bootstrap}\"\n[postgres]\nurl = \"{postgres}\"\n\
             [[route]]\ntopics = \"{TOPIC}\"\ntable = \"silver.orders\"\nformat = \"json\"\n"
        )
    }

    fn config(&self) -> Config {
        load::parse(&self.text(self.broker.bootstrap(), &self.postgres), "test", &|_| None).unwrap()
    }

    fn file(&self, bootstrap: &str, postgres: &str) -> PathBuf {
        let path = self.directory.path().join("sink.toml");
        std::fs::write(&path, self.text(bootstrap, postgres)).unwrap();
        path
    }

    fn status(&self, arguments: &[&str]) -> Output {
        status(&self.file(self.broker.bootstrap(), &self.postgres), arguments)
    }

    /// The first partition is two records in; one dead letter.
    async fn fill(&self) {
        let config = self.config();
        let destination = Destination::connect(&config.postgres, 1, "test").await.unwrap();
        destination.ensure_bookkeeping().await.unwrap();
        let id = Facts::open(&config.kafka).unwrap().topic_ids(&[TOPIC.to_owned()]).unwrap()[TOPIC];
        self.execute(&format!(
            "INSERT INTO silversink.position (pipeline, topic, topic_id, partition, next_offset, owner_epoch, owner, \
               start_offset, applied, superseded, skipped, dead_lettered, state, schema_name, table_name) \
             VALUES ('shop', '{TOPIC}', '{id}', 0, 2, 7, 'host/1', 0, 1, 0, 0, 1, 'running', 'silver', 'orders'), \
               ('other', '{TOPIC}', '{id}', 0, 5, 1, 'host/2', 0, 5, 0, 0, 0, 'stopped', 'silver', 'other'); \
             INSERT INTO silversink.dead_letter (pipeline, topic, topic_id, partition, \"offset\", code, fingerprint, \
               reason, dlq_partition, dlq_offset) \
             VALUES ('shop', '{TOPIC}', '{id}', 0, 1, 'key_missing', 'f', 'r', 0, 0)"
        ))
        .await;
    }

    async fn execute(&self, sql: &str) {
        Readback::connect(&self.postgres).await.unwrap().execute(sql).await.unwrap();
    }
}

fn status(file: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(cargo_bin("silversink"));
    command.arg("status").arg("--config").arg(file).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// An address where nobody listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn positions_lag_and_dead_letters_of_this_pipeline_are_told() {
    let setup = Setup::start();
    setup.fill().await;

    let output = setup.status(&["--json"]);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &told["partitions"][0];
    assert_eq!(
        (&first["next_offset"], &first["log_end"], &first["lag"]),
        (&2.into(), &5.into(), &3.into())
    );
    assert_eq!((&first["table"], &first["owner"]), (&"silver.orders".into(), &"host/1".into()));
    assert_eq!(told["partitions"][1]["state"], "unclaimed");
    assert_eq!(told["totals"]["lag"], 3);
    assert_eq!(told["dead_letters"], json!({ "key_missing": 1 }));
    let text = stdout(&setup.status(&[]));
    assert!(
        text.contains("2 partitions, 0 stopped, lag 3\n1 dead letters:\n  key_missing "),
        "{text}"
    );
}

#[tokio::test]
async fn something_stopped_exits_with_3_and_tells_why() {
    let setup = Setup::start();
    setup.fill().await;
    setup
        .execute("UPDATE silversink.position SET state = 'stopped', reason = 'retention_gap'")
        .await;

    let output = setup.status(&[]);

    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("stopped (retention_gap)"), "{output:?}");
}

#[tokio::test]
async fn a_topic_that_was_made_anew_has_no_lag_for_the_old_position() {
    let setup = Setup::start();
    setup.fill().await;
    setup.execute("UPDATE silversink.position SET topic_id = gen_random_uuid()").await;

    let told: Value = serde_json::from_slice(&setup.status(&["--json"]).stdout).unwrap();

    assert_eq!(
        (&told["partitions"][0]["state"], &told["partitions"][0]["lag"]),
        (&"gone".into(), &Value::Null)
    );
}

#[tokio::test]
async fn without_kafka_the_destination_s_part_is_told() {
    let setup = Setup::start();
    setup.fill().await;
    let nowhere = nowhere();

    let output = status(&setup.file(&nowhere, &setup.postgres), &[]);

    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.contains("Kafka cannot be asked, so ends and lags are unknown: "), "{text}");
    assert!(
        text.contains(&nowhere) && text.contains("1 partitions, 0 stopped, lag unknown"),
        "{text}"
    );
}

#[tokio::test]
async fn without_postgresql_it_exits_with_4() {
    let setup = Setup::start();
    let url = format!("postgres://me:hunter2@{}/silver", nowhere());

    let output = status(&setup.file(setup.broker.bootstrap(), &url), &[]);

    assert_eq!(output.status.code(), Some(4));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("PostgreSQL") && !complaint.contains("hunter2"), "{complaint}");
}

#[tokio::test]
async fn a_pipeline_that_never_ran_has_unclaimed_partitions_only() {
    let setup = Setup::start();

    let output = setup.status(&[]);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("unclaimed") && text.contains("No dead letters."), "{text}");
}

#[test]
fn produce_names_what_is_wrong_with_a_capture_or_a_broker() {
    let setup = tempfile::tempdir().unwrap();
    let file = setup.path().join("records.ndjson");
    let produce = |bootstrap: &str| {
        let mut command = Command::new(cargo_bin("silversink"));
        command.args(["dev", "produce", "--bootstrap", bootstrap]).arg(&file);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let broker = MockBroker::start(&[(TOPIC, 1)]).unwrap();
    let (code, complaint) = produce(broker.bootstrap());
    assert_ne!(code, Some(0));
    assert!(complaint.contains("records.ndjson: cannot be read"), "{complaint}");
    std::fs::write(&file, "{\"topic\":1}\n").unwrap();
    let (_, complaint) = produce(broker.bootstrap());
    assert!(complaint.contains("records.ndjson line 1: is not a record"), "{complaint}");
}
