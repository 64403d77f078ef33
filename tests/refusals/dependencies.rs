//! PostgreSQL, Kafka and the registry are not there, or say no.

use crate::records::{raw, row};
use crate::rig::{Rig, free_port};
use crate::worker::Worker;
use silversink::demo::capture::Capture;
use silversink::demo::registry::{DemoRegistry, Outage};
use silversink::demo::throwaway::{Options, ThrowawayPostgres};
use silversink::kafka::mock::MockBroker;
use std::time::{Duration, Instant};

const TOPIC: &str = "shop.public.orders";

fn is_told_once(worker: &Worker, text: &str, address: &str) {
    let line = worker.says(text);
    assert!(line["message"].as_str().unwrap().contains(address), "no {address} in {line}");
    assert!(line["hint"].as_str().unwrap().contains("goes on by itself"), "{line}");
    worker.unready_because("waiting [");
}

fn stops_at_once(worker: &mut Worker) {
    let began = Instant::now();
    worker.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}

#[test]
fn a_postgresql_that_is_not_there_is_waited_for_and_said_once() {
    let server = ThrowawayPostgres::start(&Options::default()).unwrap();
    let mut rig = Rig::new(&[TOPIC]);
    rig.broker.produce(&[row(TOPIC, 1, "a")]).unwrap();
    rig.postgres = server.url();
    server.stop_immediately().unwrap();

    let mut worker = rig.worker();
    is_told_once(&worker, "waiting for PostgreSQL", &server.port().to_string());
    worker.unready_because("PostgreSQL is not reachable");
    server.start_again().unwrap();

    worker.says("PostgreSQL answers");
    worker.ready();
    worker.says("partition starts");
    rig.until("SELECT count(*) FROM pg_tables WHERE schemaname = 'silver'", "1");
    rig.until("SELECT count(*) FROM silver.orders", "1");
    assert_eq!(worker.said("waiting for PostgreSQL").len(), 1);
    worker.stop();
}

#[test]
fn a_worker_that_waits_for_postgresql_stops_at_once() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.postgres = format!("postgres://me:hunter2@127.0.0.1:{}/silver", free_port());
    let mut worker = rig.worker();
    worker.says("waiting for PostgreSQL");

    stops_at_once(&mut worker);
    assert!(!worker.output().contains("hunter2"));
}

#[test]
fn brokers_that_are_not_there_are_waited_for_and_said_once() {
    let mut rig = Rig::new(&[TOPIC]);
    let other = MockBroker::start(&[(TOPIC, 1)]).unwrap();
    other.produce(&[row(TOPIC, 1, "a")]).unwrap();
    rig.bootstrap = other.bootstrap().to_owned();
    other.down().unwrap();

    let mut worker = rig.worker();
    is_told_once(&worker, "waiting for Kafka", &rig.bootstrap);
    other.up().unwrap();

    worker.says("Kafka answers");
    worker.ready();
    rig.until("SELECT count(*) FROM pg_tables WHERE schemaname = 'silver'", "1");
    rig.until("SELECT count(*) FROM silver.orders", "1");
    assert_eq!(worker.said("waiting for Kafka").len(), 1);
    worker.stop();
}

#[test]
fn a_worker_that_waits_for_kafka_stops_at_once() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.bootstrap = format!("127.0.0.1:{}", free_port());
    let mut worker = rig.worker();
    worker.says("waiting for Kafka");

    stops_at_once(&mut worker);
}

#[test]
fn a_wrong_password_ends_the_worker_without_printing_it() {
    let mut rig = Rig::new(&[TOPIC]);
    let password = rig.postgres.split(['@', ':']).nth(2).unwrap().to_owned();
    rig.postgres = rig.postgres.replace(&password, "hunter2");

    let mut worker = rig.worker();
    assert_eq!(worker.exit().code(), Some(1));

    let output = worker.output();
    println!("{output}");
    assert!(output.contains("error: [postgres_login] connecting to PostgreSQL at 127.0.0.1:"));
    assert!(output.contains("help: check user and password of [postgres] url"));
    assert!(!output.contains("hunter2"));
}

#[test]
fn an_unknown_database_ends_the_worker() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.postgres = ThrowawayPostgres::shared().url_of("nowhere");

    let mut worker = rig.worker();
    assert_eq!(worker.exit().code(), Some(1));

    let output = worker.output();
    println!("{output}");
    assert!(output.contains("error: [postgres_login]"));
    assert!(output.contains("help: the database of [postgres] url does not exist"));
}

/// The first records of two tables of the captured shop, in Avro.
fn avro() -> (Rig, DemoRegistry) {
    let topics = ["shop.public.customers", "shop.public.products"];
    let mut rig = Rig::new(&topics);
    let capture = Capture::open("testdata/debezium/shop").unwrap();
    let registry = DemoRegistry::start().unwrap();
    registry.preload(capture.schemas("avro").unwrap().values());
    rig.registry = Some(registry.url());
    let records = capture.records("avro").unwrap();
    for topic in topics {
        let first = records.iter().find(|r| r.at.topic == topic).unwrap();
        rig.broker.produce(std::slice::from_ref(first)).unwrap();
    }
    (rig, registry)
}

fn lands(rig: &Rig) {
    for table in ["customers", "products"] {
        let there = format!("SELECT count(*) FROM pg_tables WHERE tablename = '{table}'");
        rig.until(&there, "1");
        rig.until(&format!("SELECT count(*) FROM silver.{table}"), "1");
    }
    assert_eq!(rig.ask("SELECT count(*) FROM silversink.dead_letter"), "0");
}

#[test]
fn a_registry_that_fails_is_waited_for_once_for_all_lanes_and_parks_nothing() {
    for status in [500, 401] {
        let (rig, registry) = avro();
        registry.disturb(u64::MAX, Outage::status(status));

        let mut worker = rig.worker();
        let line = worker.says("waiting: could not get schema");
        let told = line["message"].as_str().unwrap();
        assert!(told.contains(registry.url().trim_start_matches("http://")), "{told}");
        assert!(told.contains(&format!("status {status}")) && line["hint"].is_string(), "{line}");
        worker.unready_because("silver.customers: waiting [registry_un");
        worker.unready_because("silver.products: waiting [registry_un");
        registry.recover();

        worker.says("going on after an outage");
        lands(&rig);
        worker.ready();
        assert_eq!(worker.said("waiting").len(), 1, "{}", worker.output());
        worker.stop();
    }
}

#[test]
fn a_registry_that_is_not_there_is_waited_for() {
    let (mut rig, _registry) = avro();
    let address = format!("127.0.0.1:{}", free_port());
    rig.registry = Some(format!("http://{address}"));

    let mut worker = rig.worker();
    let line = worker.says("waiting: could not get schema");
    assert!(line["message"].as_str().unwrap().contains(&address), "{line}");
    worker.unready_because("registry_unavailable");
    stops_at_once(&mut worker);
}

#[test]
fn a_schema_that_the_registry_denies_becomes_a_dead_letter() {
    let (rig, _registry) = avro();
    let topic = "shop.public.customers";
    let denied = [0, 0, 15, 66, 63, 2].to_vec();
    rig.broker.produce(&[raw(topic, Some(denied.clone()), Some(denied))]).unwrap();

    let mut worker = rig.catch_up();

    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    println!("{}", worker.says("dead-lettering a record"));
    assert_eq!(
        rig.ask("SELECT string_agg(code, ',') FROM silversink.dead_letter"),
        "schema_unknown"
    );
    assert_eq!(rig.ask("SELECT count(*) FROM silver.customers"), "1");
}
