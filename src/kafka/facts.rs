//! Blocking questions to the cluster, on a client of their own that joins no group.

use super::client::{self, Context};
use super::error::{classify, from_error};
use super::event::TopicPartition;
use super::native;
use crate::config;
use crate::fault::{Class, Code, Fault};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Time that one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often [`Facts::probe`] looks whether the login was refused: librdkafka itself would try again until the end.
const LOOK: Duration = Duration::from_millis(500);

/// A committed offset of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// Next offset to be read.
    pub offset: i64,
    /// Metadata of the commit; see [`super::marker`].
    pub metadata: String,
}

/// Asks the cluster. Each question blocks for seconds at worst: call it on a blocking thread.
pub struct Facts {
    consumer: BaseConsumer<Context>,
    servers: String,
    patience: Duration,
}

impl Facts {
    /// Opens the client; connects in the background.
    ///
    /// # Errors
    /// Fatal `configuration` when librdkafka refuses a property.
    pub fn open(kafka: &config::Kafka) -> Result<Self, Fault> {
        Self::open_with(kafka, PATIENCE)
    }

    pub(super) fn open_with(kafka: &config::Kafka, patience: Duration) -> Result<Self, Fault> {
        // `group.id` is for reading the group's offsets; without a subscription nothing is joined. The end of a
        // partition is the last stable offset, as the worker sees it.
        let fixed = [
            ("group.id", kafka.group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
        ];
        let consumer = client::properties(
            kafka,
            "silversink-facts",
            &[("allow.auto.create.topics", "false")],
            &fixed,
        )?
        .create_with_context(Context::default())
        .map_err(|e| from_error(&e, "open the Kafka client"))?;
        Ok(Self { consumer, servers: kafka.bootstrap_servers.clone(), patience })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<impl rdkafka::consumer::ConsumerContext> {
        &self.consumer
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Every topic that we may see, with its number of partitions.
    ///
    /// # Errors
    /// Transient when no broker answers.
    pub fn topics(&self) -> Result<Vec<(String, usize)>, Fault> {
        self.begin();
        let metadata = self
            .consumer
            .fetch_metadata(None, self.patience)
            .map_err(|e| self.fault(&e, "list the topics"))?;
        Ok(metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none())
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect())
    }

    /// Topic ids (KIP-516) by name; nil where the broker does not tell (before Kafka 2.8). They tell a topic that was
    /// deleted and created again (F10). Topics that the broker does not know, perhaps not yet, are left out.
    ///
    /// # Errors
    /// Transient when no broker answers.
    pub fn topic_ids(&self, topics: &[String]) -> Result<BTreeMap<String, Uuid>, Fault> {
        self.begin();
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut ids: BTreeMap<String, Uuid> =
            topics.iter().map(|t| (t.clone(), Uuid::nil())).collect();
        let attempt = "describe the topics";
        // librdkafka refuses a name that comes twice.
        let names: Vec<String> = ids.keys().cloned().collect();
        let metadata = self
            .consumer
            .fetch_metadata(names.first().map(String::as_str), self.patience)
            .map_err(|e| self.fault(&e, attempt))?;
        // The broker that just answered; the bootstrap connection has no number.
        let answered = metadata.orig_broker_id();
        let broker = metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id);
        let broker = broker.max_by_key(|id| *id == answered).unwrap_or(answered);
        let told =
            native::topic_ids(self.consumer.client().native_ptr(), broker, &names, self.patience)
                .map_err(|code| self.fault(&KafkaError::AdminOp(code), attempt))?;
        for (topic, id) in told {
            match id {
                Some(id) => ids.insert(topic, id),
                None => ids.remove(&topic),
            };
        }
        Ok(ids)
    }

    /// Log start and end (last stable offset), in the order asked.
    ///
    /// # Errors
    /// Transient when the leader does not answer or the partition does not exist.
    pub fn watermarks(&self, partitions: &[TopicPartition]) -> Result<Vec<(i64, i64)>, Fault> {
        self.begin();
        partitions
            .iter()
            .map(|p| {
                self.consumer
                    .fetch_watermarks(&p.topic, p.partition, self.patience)
                    .map_err(|e| self.fault(&e, &format!("read start and end of {p}")))
            })
            .collect()
    }

    /// The group's committed offsets, in the order asked; `None` where there is none.
    ///
    /// # Errors
    /// Transient when the coordinator does not answer.
    pub fn group_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupOffset>>, Fault> {
        self.begin();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let attempt = "read the group's offsets";
        let mut list = TopicPartitionList::new();
        for p in partitions {
            list.add_partition(&p.topic, p.partition);
        }
        let answered = self
            .consumer
            .committed_offsets(list, self.patience)
            .map_err(|e| self.fault(&e, attempt))?;
        let mut known = BTreeMap::new();
        for entry in native::entries(&answered) {
            if let Some(code) = entry.error {
                return Err(classify(code, &format!("{attempt} of {}", entry.at)));
            }
            // librdkafka answers a logical offset below zero where nothing is committed.
            let offset = (entry.offset >= 0)
                .then_some(GroupOffset { offset: entry.offset, metadata: entry.metadata });
            known.insert(entry.at, offset);
        }
        Ok(partitions.iter().map(|p| known.remove(p).flatten()).collect())
    }

    /// Whether a broker answers and takes the login.
    ///
    /// # Errors
    /// Transient `kafka_unavailable` naming the addresses; fatal when the login is refused.
    pub fn probe(&self) -> Result<(), Fault> {
        self.begin();
        let deadline = Instant::now() + self.patience;
        let mut told: Option<Fault> = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Err(error) = self.consumer.fetch_metadata(None, left.min(LOOK)) else {
                return Ok(());
            };
            let fault = self.fault(&error, "list the topics");
            if fault.class == Class::Fatal {
                return Err(fault);
            }
            // The client tells the reason of an outage once, and then only that it lasts.
            let tells_more = |told: &Fault| told.text.len() >= fault.text.len();
            let told = &mut told;
            if !told.as_ref().is_some_and(tells_more) {
                *told = Some(fault);
            }
            if left.is_zero()
                && let Some(fault) = told.take()
            {
                return Err(fault);
            }
        }
    }

    /// A new question: what the client complained of before is no longer its cause.
    fn begin(&self) {
        self.serve();
        self.consumer.context().take_error();
    }

    /// Gives librdkafka's log lines and errors their way out; without it they would gather.
    fn serve(&self) {
        // An event that rdkafka consumes by itself looks like none, so the answer tells nothing.
        for _ in 0..256 {
            let _ = self.consumer.poll(Duration::ZERO);
        }
    }

    fn fault(&self, error: &KafkaError, attempt: &str) -> Fault {
        self.serve();
        let fault = from_error(error, attempt);
        let code = match error {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        match code {
            Some(code) if fault.code == Code::KafkaUnavailable => self.unavailable(attempt, code),
            _ => fault,
        }
    }

    /// A time-out or lost connection, with the reason that the client reported by itself, if there is one.
    fn unavailable(&self, attempt: &str, code: RDKafkaErrorCode) -> Fault {
        let attempt = format!("{attempt} at {}", self.servers);
        let Some((cause, reason)) = self.consumer.context().take_error() else {
            return classify(code, &attempt);
        };
        let mut fault = classify(cause, &attempt);
        fault.text = format!("{} ({reason})", fault.text);
        fault
    }
}
