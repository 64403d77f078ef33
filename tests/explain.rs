//! `explain` from outside: captured records against an empty database, a filled one, and records that cannot land.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use silversink::demo::capture::Capture;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::kafka::MockBroker;
use silversink::record::OwnedRecord;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const TOPIC: &str = "shop.public.customers";

struct Setup {
    directory: TempDir,
    broker: MockBroker,
    postgres: String,
    records: Vec<OwnedRecord>,
    /// The route's table.
    table: &'static str,
}

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/debezium/shop")
}

impl Setup {
    /// A broker with the topic's captured records as JSON with schema, and an empty database.
    fn start() -> Self {
        let broker = MockBroker::start(&[(TOPIC, 1)]).unwrap();
        let mut records = Capture::open(shop()).unwrap().records("json-plain").unwrap();
        records.retain(|record| record.at.topic == TOPIC);
        broker.produce_exactly(&records).unwrap();
        let postgres = ThrowawayPostgres::shared().fresh_database().unwrap();
        let table = "silver.customers";
        Self { directory: tempfile::tempdir().unwrap(), broker, postgres, records, table }
    }

    fn file(&self, route: &str) -> PathBuf {
        let path = self.directory.path().join("sink.toml");
        let text = format!(
            "name = \"shop\"\n[kafka]\nbootstrap_servers = \"{}\"\n[postgres]\nurl = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [[route]]\ntopics = \"{route}\"\ntable = \"{}\"\n",
            self.broker.bootstrap(),
            self.postgres,
            self.table
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn explain(&self, arguments: &[&str]) -> Output {
        self.explain_routed(TOPIC, arguments)
    }

    fn explain_routed(&self, route: &str, arguments: &[&str]) -> Output {
        Command::new(cargo_bin!("silversink"))
            .args(["explain", "--config"])
            .arg(self.file(route))
            .args(["--topic", TOPIC])
            .args(arguments)
            .output()
            .unwrap()
    }

    fn told(&self, arguments: &[&str]) -> Value {
        let output = self.explain(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn sql(&self, text: &str) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let database =
                silversink::postgres::readback::Readback::connect(&self.postgres).await.unwrap();
            database.execute(text).await.unwrap();
        });
    }

    fn run_worker(&self) {
        let status = Command::new(cargo_bin!("silversink"))
            .args(["run", "--until-caught-up", "--config"])
            .arg(self.file(TOPIC))
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }
}

#[test]
fn a_captured_avro_record_is_told_step_by_step_before_there_is_a_table() {
    let setup = Setup::start();
    let file = shop().join("avro/records.ndjson.gz");
    let from = ["--offset", "3", "--capture", file.to_str().unwrap()];

    let output = setup.explain(&from);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "record    shop.public.customers-0@3",
        "key       Avro, schema",
        "shop.public.customers.Envelope",
        "envelope  r (snapshot read)",
        "route     silver.customers",
        "verdict   the table is altered first [table_missing]",
        "CREATE TABLE IF NOT EXISTS \"silver\".\"customers\"",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }

    // Its own DDL makes it applicable.
    let told = setup.told(&from);
    setup.sql(told["sql"].as_str().unwrap());
    let told = setup.told(&from);
    assert_eq!(told["verdict"]["outcome"], "applied", "{told}");
    assert_eq!(told["version"]["phase"], 0);
    assert!(told["sql"].as_str().unwrap().contains("MERGE INTO \"silver\".\"customers\""));
    assert!(told["silver"].is_null() && told["position"].is_null(), "{told}");
    // It changed nothing: the same again.
    assert_eq!(setup.told(&from), told);
}

#[test]
fn a_record_that_was_applied_is_superseded_and_its_row_is_shown_only_where_asked() {
    let setup = Setup::start();
    let first = setup.records.first().unwrap().at.offset.to_string();
    let last = setup.records.last().unwrap().at.offset.to_string();
    setup.sql(
        "CREATE SCHEMA silver; CREATE TABLE silver.customers (id integer PRIMARY KEY, full_name text, email text, \
         phone text, city text, country text, birth_date date, credit numeric(10,2), opted_in boolean, tags text[], \
         preferences jsonb, created_at timestamptz, updated_at timestamp(3))",
    );
    setup.run_worker();

    let told = setup.told(&["--offset", &last]);
    assert_eq!(told["verdict"]["outcome"], "superseded", "{told}");
    assert_eq!(told["position"]["settled"], true);
    assert_eq!(told["silver"]["version"], told["version"], "the newest record of its key: {told}");
    assert!(told["silver"]["row"].is_null());

    let told = setup.told(&["--offset", &first]);
    assert_eq!(told["verdict"]["outcome"], "superseded", "{told}");
    let output = setup.explain(&["--offset", &first]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let email = setup.told(&["--offset", &first, "--values"])["silver"]["row"]["email"].clone();
    assert!(
        !text.contains(email.as_str().unwrap()),
        "row values are shown only where asked:\n{text}"
    );
}

#[test]
fn what_cannot_land_says_why() {
    let setup = Setup::start();
    let end = setup.records.len();

    let output = setup.explain(&["--offset", &end.to_string()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is outside of the log, which holds offsets 0 to"), "{text}");

    let output = setup.explain_routed("other", &["--offset", "0", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verdict"]["code"], "unrouted", "{told}");

    let poison = OwnedRecord { value: Some(b"{\"op\":".to_vec()), ..setup.records[0].clone() };
    let at = setup.broker.produce(&[poison]).unwrap();
    let told = setup.told(&["--offset", &at[0].offset.to_string()]);
    assert_eq!(told["verdict"]["outcome"], "dead_lettered", "{told}");
    assert_eq!(told["verdict"]["code"], "undecodable");
}

#[test]
fn a_record_that_names_its_table_is_told_of_in_that_table() {
    let setup = Setup { table: "silver.its_${source.table}", ..Setup::start() };
    let file = shop().join("avro/records.ndjson.gz");
    let from = ["--offset", "3", "--capture", file.to_str().unwrap()];
    let told = setup.told(&from);
    assert_eq!(told["table"], "silver.its_customers", "{told}");
    assert_eq!(told["verdict"]["code"], "table_missing");
    setup.sql(told["sql"].as_str().unwrap());
    let told = setup.told(&from);
    assert_eq!(told["verdict"]["outcome"], "applied", "{told}");
    assert!(told["sql"].as_str().unwrap().contains("MERGE INTO \"silver\".\"its_customers\""));

    let tombstone = setup.records.iter().find(|record| record.value.is_none()).unwrap();
    let told = setup.told(&["--offset", &tombstone.at.offset.to_string()]);
    assert_eq!(told["verdict"]["outcome"], "skipped", "{told}");
    assert!(told["verdict"]["why"].as_str().unwrap().contains("tombstone_without_table"));
}

#[test]
fn status_doctor_and_plan_name_the_tables_that_records_name() {
    let setup = Setup { table: "silver.${source.table}", ..Setup::start() };
    let ask = |command: &str| {
        let asked = Command::new(cargo_bin!("silversink"))
            .args([command, "--json", "--config"])
            .arg(setup.file(TOPIC))
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    assert!(ask("plan").contains("each record names its table"), "{}", ask("plan"));
    // A table from JSON with a schema, as only those are remembered.
    let mut records = Capture::open(shop()).unwrap().records("json").unwrap();
    records.retain(|record| record.at.topic == TOPIC);
    let end = i64::try_from(setup.records.len()).unwrap();
    records.iter_mut().for_each(|record| record.at.offset += end);
    setup.sql(
        "CREATE SCHEMA silver; CREATE TABLE silver.customers (id integer PRIMARY KEY, full_name text, email text, \
         phone text, city text, country text, birth_date date, credit numeric(10,2), opted_in boolean, tags text[], \
         preferences jsonb, created_at timestamptz, updated_at timestamp(3))",
    );
    setup.broker.produce_exactly(&records).unwrap();
    setup.run_worker();
    let status: Value = serde_json::from_str(&ask("status")).unwrap();
    assert_eq!(status["partitions"][0]["table"], "silver.customers", "{status}");
    assert_eq!(status["partitions"][0]["lag"], 0, "{status}");
    let doctor = ask("doctor");
    assert!(doctor.contains("name their tables (silver.${source.table}): 1 more"), "{doctor}");
    assert!(doctor.contains("silver.customers can be written"), "{doctor}");
}
