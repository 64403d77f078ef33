//! The topics in real Kafka and their schemas in the registry.

use crate::load::{self, Load};
use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use silversink::record::OwnedRecord;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(60);

/// The topic with that number of partitions.
pub fn topic(partitions: i32) -> String {
    format!("bench.public.orders_{partitions}")
}

/// Registers the schemas for the topics and answers the ids of key and value.
pub async fn register(registry: &str, partitions: &[i32]) -> anyhow::Result<(u32, u32)> {
    let (key, value) = load::schemas()?;
    let mut ids = None;
    for &partitions in partitions {
        let topic = topic(partitions);
        let found = (
            subject(registry, &format!("{topic}-key"), &key).await?,
            subject(registry, &format!("{topic}-value"), &value).await?,
        );
        if *ids.get_or_insert(found) != found {
            bail!("the registry gave one schema two ids");
        }
    }
    ids.context("no topics")
}

async fn subject(registry: &str, subject: &str, schema: &str) -> anyhow::Result<u32> {
    let answer = reqwest::Client::new()
        .post(format!("{registry}/subjects/{subject}/versions"))
        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
        .body(json!({ "schema": schema }).to_string())
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let id = answer.get("id").and_then(Value::as_u64).context("the registry gave no id")?;
    Ok(u32::try_from(id)?)
}

/// Creates a topic and writes the load into it, compressed as connectors are told to.
pub async fn fill(bootstrap: &str, load: &Load, partitions: i32) -> anyhow::Result<()> {
    let topic = topic(partitions);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
    for created in admin.create_topics([&new], &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
    }
    let producer: BaseProducer = config
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .create()?;
    let mut sent = 0;
    for record in load.records(&topic, partitions) {
        send(&producer, &record)?;
        sent += 1;
    }
    producer.flush(WAIT)?;
    let mut stored = 0;
    for partition in 0..partitions {
        stored += producer.client().fetch_watermarks(&topic, partition, WAIT)?.1;
    }
    if stored != sent {
        bail!("{topic} has {stored} of {sent} records");
    }
    Ok(())
}

fn send(producer: &BaseProducer, record: &OwnedRecord) -> anyhow::Result<()> {
    let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: value.as_deref() })
    });
    let mut next = BaseRecord::<[u8], [u8]>::to(&record.at.topic)
        .partition(record.at.partition)
        .headers(headers);
    next.key = record.key.as_deref();
    next.payload = record.value.as_deref();
    next.timestamp = record.timestamp_ms;
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(10));
                next = back;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
