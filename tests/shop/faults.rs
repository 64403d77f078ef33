//! Outages are waited for and leave no dead letter; poison is parked with its bytes, and the rows around it land.

use crate::logs;
use crate::rig::{PATIENCE, Rig};
use silversink::demo::poison::{poison, sprinkle};
use silversink::demo::registry::Outage;
use silversink::demo::throwaway::{self, ThrowawayPostgres};
use silversink::kafka::{Consumer, Event, TopicPartition};
use silversink::record::{Coordinates, OwnedRecord};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Small batches and short fetches, so that a fault finds work under way.
fn slowly(rig: &mut Rig) {
    rig.extra = "[limits]\nbatch_rows = 20\n".to_owned();
    rig.properties = "\"fetch.wait.max.ms\" = \"10\"\n".to_owned();
}

fn total(records: &[OwnedRecord]) -> i64 {
    i64::try_from(records.len()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_postgresql_is_waited_for() {
    let server = ThrowawayPostgres::start(&throwaway::Options::default()).unwrap();
    let records = logs::AVRO.records();
    let mut rig = Rig::on(logs::AVRO, 1, server.fresh_database().unwrap()).await;
    slowly(&mut rig);
    rig.produce(&records);
    let worker = rig.spawn();
    rig.wait_for(total(&records) / 10).await;

    server.stop_immediately().unwrap();
    server.start_again().unwrap();

    let after = rig.settled().await;
    assert!(
        after > 0 && after < total(&records),
        "{after} records were settled when the server came back"
    );
    rig.wait_for(total(&records)).await;
    worker.stopped().await.unwrap();
    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_registry_is_waited_for() {
    let records = logs::AVRO.records();
    let rig = Rig::start(logs::AVRO, 1, &records).await;
    rig.registry.disturb(12, Outage::status(503));

    rig.run().await.unwrap();

    assert_eq!(rig.registry.disturbed(), 12);
    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kafka_is_waited_for() {
    let records = logs::AVRO.records();
    let (early, late) = records.split_at(records.len() / 2);
    let mut rig = Rig::empty(logs::AVRO, 1).await;
    slowly(&mut rig);
    rig.produce(early);
    let worker = rig.spawn();
    rig.wait_for(total(early) / 10).await;

    rig.broker.down().unwrap();
    assert!(std::net::TcpStream::connect(rig.broker.bootstrap()).is_err());
    // Long enough that the worker meets the closed port.
    tokio::time::sleep(Duration::from_millis(700)).await;
    rig.broker.up().unwrap();
    rig.produce(late);

    rig.wait_for(total(&records)).await;
    worker.stopped().await.unwrap();
    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
}

/// The dead-letter topic by the coordinates of the records that it holds, read until so many are known. One that stands
/// there twice must be the same each time (I8: at least once).
fn letters(rig: &Rig, count: usize) -> BTreeMap<Coordinates, OwnedRecord> {
    let consumer = Consumer::open(&rig.kafka("reader"), "reader").unwrap();
    consumer.subscribe(&["shop.dlq".to_owned()]).unwrap();
    let mut found: BTreeMap<Coordinates, OwnedRecord> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while found.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} letters", found.len());
        match consumer.poll(Duration::from_millis(20)) {
            Event::Assigned(partitions) => {
                consumer.assign_paused(&partitions).unwrap();
                consumer.start(&[(TopicPartition::new("shop.dlq", 0), 0)]).unwrap();
            }
            Event::Record(message) => {
                let letter = message.raw().to_owned_record();
                let origin = Coordinates {
                    topic: header(&letter, "__connect.errors.topic").to_owned(),
                    partition: header(&letter, "__connect.errors.partition").parse().unwrap(),
                    offset: header(&letter, "__connect.errors.offset").parse().unwrap(),
                };
                if let Some(before) = found.insert(origin, letter.clone()) {
                    assert_eq!((before.key, before.value), (letter.key, letter.value));
                }
            }
            _ => {}
        }
    }
    found
}

fn header<'r>(record: &'r OwnedRecord, name: &str) -> &'r str {
    let value =
        record.headers.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.as_deref());
    std::str::from_utf8(value.unwrap()).unwrap()
}

/// Every kind of poison ends in the dead-letter topic with its bytes and in the table with its code.
async fn poison_is_parked(form: logs::Form) {
    let plain = form.records();
    let capture = Rig::empty(form, 1).await.capture;
    let template = plain
        .iter()
        .find(|record| record.at.topic == "shop.public.products" && record.value.is_some())
        .unwrap();
    let bad =
        poison(template, &capture.tables["products"], &capture.schemas(form.directory).unwrap())
            .unwrap();
    let sprinkled = sprinkle(plain, bad);
    let rig = Rig::start(form, 1, &sprinkled.records).await;

    rig.run().await.unwrap();

    rig.assert_equal().await;
    let mut expected: Vec<(Coordinates, String)> =
        sprinkled.poison.iter().map(|(at, code)| (at.clone(), code.to_string())).collect();
    expected.sort();
    assert_eq!(parked(&rig).await, expected);
    rig.assert_tiled(sprinkled.records.len(), expected.len()).await;
    let letters = letters(&rig, expected.len());
    for (at, code) in &expected {
        let original = sprinkled.records.iter().find(|record| record.at == *at).unwrap();
        let letter = &letters[at];
        assert_eq!((&letter.key, &letter.value), (&original.key, &original.value), "{at}");
        assert_eq!(header(letter, "silversink.code"), code);
    }
}

/// Coordinates and codes in `silversink.dead_letter`.
pub async fn parked(rig: &Rig) -> Vec<(Coordinates, String)> {
    let sql =
        "SELECT topic, partition, \"offset\", code FROM silversink.dead_letter ORDER BY 1, 2, 3";
    let rows = rig.database().await.query(sql).await.unwrap();
    let mut parked: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let [topic, partition, offset, code] = row.try_into().unwrap();
            let (partition, offset) =
                (partition.unwrap().parse().unwrap(), offset.unwrap().parse().unwrap());
            (Coordinates { topic: topic.unwrap(), partition, offset }, code.unwrap())
        })
        .collect();
    parked.sort();
    parked
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_in_avro_is_parked() {
    poison_is_parked(logs::AVRO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_in_json_is_parked() {
    poison_is_parked(logs::JSON_PLAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_constraint_refuses_are_parked_and_the_others_land() {
    let records = logs::JSON_PLAIN.records();
    let rig = Rig::start(logs::JSON_PLAIN, 1, &records).await;
    // Every live product was an insert or a read with its name; the constraint names one of them.
    let truth =
        rig.capture.truth().unwrap().into_iter().find(|truth| truth.name == "products").unwrap();
    let refused = truth.rows[0]["id"].clone().unwrap();
    rig.execute(&format!(
        "ALTER TABLE silver.products ADD CONSTRAINT no_such CHECK (id <> {refused})"
    ))
    .await;

    rig.run().await.unwrap();

    let parked = parked(&rig).await;
    assert!(!parked.is_empty());
    assert!(
        parked
            .iter()
            .all(|(at, code)| at.topic == "shop.public.products" && code == "constraint_violation"),
        "{parked:?}"
    );
    let sqlstates = "SELECT string_agg(DISTINCT sqlstate, ',') FROM silversink.dead_letter";
    assert_eq!(rig.ask(sqlstates).await, "23514");
    assert_eq!(
        rig.ask(&format!("SELECT count(*) FROM silver.products WHERE id = {refused}")).await,
        "0"
    );
    let landed: usize = rig
        .ask("SELECT count(*) FROM silver.products WHERE _deleted_at IS NULL")
        .await
        .parse()
        .unwrap();
    assert_eq!(landed, truth.rows.len() - 1);
    rig.assert_tiled(records.len(), parked.len()).await;
    let letters = letters(&rig, parked.len());
    for (at, _) in &parked {
        let original = records.iter().find(|record| record.at == *at).unwrap();
        assert_eq!(
            (&letters[at].key, &letters[at].value),
            (&original.key, &original.value),
            "{at}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_violates_a_check_is_parked_alone() {
    let mut records = logs::JSON_PLAIN.records();
    let template =
        records.iter().find(|r| r.at.topic == "shop.public.products" && r.value.is_some()).unwrap();
    let mut value: serde_json::Value =
        serde_json::from_slice(template.value.as_deref().unwrap()).unwrap();
    (value["after"]["id"], value["after"]["category"]) = (999_999.into(), "".into());
    let last = records.iter().rfind(|r| r.at.topic == "shop.public.products").unwrap();
    let mut bad = template.clone();
    bad.at.offset = last.at.offset + 1;
    (bad.key, bad.value) =
        (Some(br#"{"id":999999}"#.to_vec()), Some(value.to_string().into_bytes()));
    let expected = vec![(bad.at.clone(), "constraint_violation".to_owned())];
    records.push(bad.clone());
    let rig = Rig::start(logs::JSON_PLAIN, 1, &records).await;
    rig.execute("ALTER TABLE silver.products ADD CHECK (category <> '')").await;

    rig.run().await.unwrap();

    assert_eq!(parked(&rig).await, expected);
    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 1).await;
    let letters = letters(&rig, 1);
    let letter = &letters[&bad.at];
    assert_eq!((&letter.key, &letter.value), (&bad.key, &bad.value));
    assert_eq!(header(letter, "silversink.sqlstate"), "23514");
}
