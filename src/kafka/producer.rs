//! A plain producer that loads owned records into a broker: for captures, the demo and tests.

use super::admin;
use super::client::{self, Context};
use super::error::{classify, from_error};
use super::letters::native_headers;
use crate::config;
use crate::fault::{Class, Code, Fault};
use crate::record::{Coordinates, OwnedRecord};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(20);

/// Partition and offset of a record, or why it was refused.
type Outcome = Result<(i32, i64), RDKafkaErrorCode>;

/// Where each record went, by its place in the input.
#[derive(Default)]
pub(super) struct Deliveries {
    client: Context,
    done: Mutex<Vec<(usize, Outcome)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
    }
}

/// Loads records into a broker.
pub struct Producer {
    producer: BaseProducer<Deliveries>,
    properties: ClientConfig,
}

impl Producer {
    /// Opens the producer; connects in the background.
    ///
    /// # Errors
    /// Fatal `configuration` when librdkafka refuses a property.
    pub fn open(kafka: &config::Kafka) -> Result<Self, Fault> {
        let properties = client::properties(
            kafka,
            "silversink-loader",
            &[("partitioner", "murmur2_random"), ("linger.ms", "5")],
            &[("acks", "all"), ("enable.idempotence", "true")],
        )?;
        let producer = properties
            .create_with_context(Deliveries::default())
            .map_err(|e| from_error(&e, "open the producer"))?;
        Ok(Self { producer, properties })
    }

    /// Creates missing topics with the partitions that the records name, and adds partitions where there are too few.
    /// Blocks for seconds at worst.
    ///
    /// # Errors
    /// Transient when no broker answers, else what the broker said.
    pub fn ensure_topics(&self, records: &[OwnedRecord]) -> Result<(), Fault> {
        let mut needed: BTreeMap<&str, i32> = BTreeMap::new();
        for record in records {
            let count = needed.entry(&record.at.topic).or_insert(1);
            *count = (*count).max(record.at.partition.saturating_add(1));
        }
        let deadline = Instant::now() + PATIENCE;
        let mut asked = false;
        loop {
            let known = self.partitions()?;
            let missing: Vec<(&str, i32)> = needed
                .iter()
                .map(|(topic, count)| (*topic, *count))
                .filter(|(topic, count)| known.get(*topic).is_none_or(|have| have < count))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            if asked && Instant::now() > deadline {
                let text = "the brokers do not show the new topics or partitions";
                return Err(Fault::transient(Code::KafkaUnavailable, text));
            }
            for (topic, count) in missing.into_iter().filter(|_| !asked) {
                if known.contains_key(topic) {
                    let total = usize::try_from(count).unwrap_or(1);
                    admin::add_partitions(&self.properties, topic, total)?;
                } else {
                    admin::create_topic(&self.properties, topic, count)?;
                }
            }
            // Brokers learn of a new topic one after the other; a partition that they do not show yet would be refused.
            if std::mem::replace(&mut asked, true) {
                std::thread::sleep(TICK);
            }
        }
    }

    fn partitions(&self) -> Result<BTreeMap<String, i32>, Fault> {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(None, PATIENCE)
            .map_err(|e| from_error(&e, "list the topics"))?;
        let exist = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(exist
            .map(|t| (t.name().to_owned(), i32::try_from(t.partitions().len()).unwrap_or(i32::MAX)))
            .collect())
    }

    /// Sends the records in order, each to its own partition, with key, value, headers and timestamp as they are, and
    /// waits until the broker has acknowledged all of them. The answer is where each one went. A negative partition
    /// leaves the choice to the key.
    ///
    /// # Errors
    /// The first record that the broker refused; others may have been written.
    pub fn load(&self, records: &[OwnedRecord]) -> Result<Vec<Coordinates>, Fault> {
        send_all(&self.producer, records)
    }
}

/// See [`Producer::load`].
pub(super) fn send_all(
    producer: &BaseProducer<Deliveries>,
    records: &[OwnedRecord],
) -> Result<Vec<Coordinates>, Fault> {
    let refused = |record: &OwnedRecord, code| classify(code, &format!("produce {}", record.at));
    for (index, record) in records.iter().enumerate() {
        let mut deadline = None;
        loop {
            let mut native =
                BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.at.topic, index)
                    .headers(native_headers(&record.headers));
            native.partition = (record.at.partition >= 0).then_some(record.at.partition);
            native.key = record.key.as_deref();
            native.payload = record.value.as_deref();
            native.timestamp = record.timestamp_ms;
            let Err((error, _)) = producer.send(native) else { break };
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let until = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            if code != RDKafkaErrorCode::QueueFull || Instant::now() > until {
                return Err(refused(record, code));
            }
            producer.poll(TICK);
        }
    }
    producer.flush(PATIENCE).map_err(|e| from_error(&e, "produce the records"))?;
    let done = std::mem::take(
        &mut *producer.context().done.lock().unwrap_or_else(PoisonError::into_inner),
    );
    let mut places = vec![None; records.len()];
    for (index, outcome) in done {
        let Some((record, place)) = records.get(index).zip(places.get_mut(index)) else { continue };
        let (partition, offset) = outcome.map_err(|code| refused(record, code))?;
        *place = Some(Coordinates { topic: record.at.topic.clone(), partition, offset });
    }
    places.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
        Fault::new(Class::Fatal, Code::Internal, "a produced record was never answered")
    })
}
