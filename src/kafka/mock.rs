//! librdkafka's mock cluster as a broker for the demo and for tests. Keeps 5 MiB or 100,000 batches per partition.

use super::client;
use super::error::from_error;
use super::native;
use super::producer::{Deliveries, send_all};
use crate::config;
use crate::fault::{Class, Code, Fault};
use crate::record::{Coordinates, OwnedRecord};
use rdkafka::producer::{BaseProducer, Producer as _};
#[cfg(test)]
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::BTreeMap;
use std::time::Duration;

/// The mock waits three seconds for more members before a group's first assignment.
const JOIN_DELAY: Duration = Duration::from_millis(100);

/// A one-broker mock cluster on loopback; ends with this value.
///
/// A rebalance of several members, or the join after a member vanished, waits for silent members for
/// `session.timeout.ms` less one second: clients of a test set that low (2000, `heartbeat.interval.ms` 100).
pub struct MockBroker {
    // The cluster lives inside of the client that was opened with `test.mock.num.brokers`.
    producer: BaseProducer<Deliveries>,
    bootstrap: String,
}

impl MockBroker {
    /// Starts a broker with these topics and numbers of partitions.
    ///
    /// # Errors
    /// Fatal when the mock cluster cannot be created.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, Fault> {
        let attempt = "start the mock broker";
        let kafka = config::Kafka {
            bootstrap_servers: "mock".to_owned(),
            group_id: String::new(),
            instance_id: None,
            properties: BTreeMap::new(),
        };
        let producer: BaseProducer<Deliveries> = client::properties(
            &kafka,
            "silversink-mock",
            // A batch is the mock's unit of retention and fetching: gather records.
            &[("linger.ms", "5")],
            &[("test.mock.num.brokers", "1"), ("enable.idempotence", "true"), ("acks", "all")],
        )?
        .create_with_context(Deliveries::default())
        .map_err(|e| from_error(&e, attempt))?;
        native::shorten_mock_group_join(producer.client().native_ptr(), JOIN_DELAY);
        let bootstrap = producer
            .client()
            .mock_cluster()
            .map(|cluster| cluster.bootstrap_servers())
            .ok_or_else(|| {
                Fault::new(Class::Fatal, Code::Internal, format!("could not {attempt}: no cluster"))
            })?;
        let broker = Self { producer, bootstrap };
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Adds a topic.
    ///
    /// # Errors
    /// When it exists.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Fault> {
        self.with_cluster(&format!("create topic {topic}"), |cluster| {
            cluster.create_topic(topic, partitions, 1)
        })
    }

    /// Appends records as they are: partition, key, value, headers, timestamp. Answers where each one went.
    ///
    /// # Errors
    /// When the broker refuses one.
    pub fn produce(&self, records: &[OwnedRecord]) -> Result<Vec<Coordinates>, Fault> {
        send_all(&self.producer, records)
    }

    /// As [`MockBroker::produce`], for captures whose offsets matter: each record must end at its own coordinates, so
    /// the input is dense from 0 in each partition.
    ///
    /// # Errors
    /// Fatal for the first record that ended elsewhere.
    pub fn produce_exactly(&self, records: &[OwnedRecord]) -> Result<(), Fault> {
        for (record, at) in records.iter().zip(self.produce(records)?) {
            if record.at != at {
                let text = format!(
                    "record {} of the capture became {at}: its offsets have a gap",
                    record.at
                );
                return Err(Fault::new(Class::Fatal, Code::Internal, text));
            }
        }
        Ok(())
    }

    /// Takes the broker down: connections close, new ones are refused.
    ///
    /// # Errors
    /// When the mock refuses.
    pub fn down(&self) -> Result<(), Fault> {
        self.with_cluster("take the mock broker down", |cluster| cluster.broker_down(1))
    }

    /// Brings the broker back.
    ///
    /// # Errors
    /// When the mock refuses.
    pub fn up(&self) -> Result<(), Fault> {
        self.with_cluster("bring the mock broker back", |cluster| cluster.broker_up(1))
    }

    /// The next requests of a kind are answered with these errors, one each.
    #[cfg(test)]
    pub(super) fn inject(&self, api: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        self.with_cluster("inject errors", |cluster| {
            cluster.request_errors(api, errors);
            Ok(())
        })
        .unwrap();
    }

    fn with_cluster<T>(
        &self,
        attempt: &str,
        f: impl FnOnce(rdkafka::mocking::MockCluster<'_, Deliveries>) -> rdkafka::error::KafkaResult<T>,
    ) -> Result<T, Fault> {
        let cluster = self.producer.client().mock_cluster().ok_or_else(|| {
            Fault::new(Class::Fatal, Code::Internal, format!("could not {attempt}: no cluster"))
        })?;
        f(cluster).map_err(|e| from_error(&e, attempt))
    }
}
