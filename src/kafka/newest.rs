//! The newest record of a topic that has a value: what its writer's schema is now, where no registry tells.

use super::client::{self, Context};
use super::error::from_error;
use super::event::TopicPartition;
use super::facts::Facts;
use super::record_at::owned;
use crate::config;
use crate::fault::Fault;
use crate::record::OwnedRecord;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Records at the end of each partition among which one has a value: a delete is followed by a tombstone.
const TAIL: i64 = 20;
/// Time that reading them may take.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// The record with a value that was appended last, as Kafka's timestamps tell; `None` when the ends of all partitions hold
/// none. Joins no group and commits nothing. Blocks.
///
/// # Errors
/// Fatal `configuration` when librdkafka refuses a property; transient when no broker answers.
pub fn newest_record(
    kafka: &config::Kafka,
    facts: &Facts,
    topic: &str,
    partitions: usize,
) -> Result<Option<OwnedRecord>, Fault> {
    let attempt = format!("read the newest record of {topic}");
    let fixed = [
        ("group.id", kafka.group_id.as_str()),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
    ];
    let consumer: BaseConsumer<Context> =
        client::properties(kafka, "silversink-newest", &[], &fixed)?
            .create_with_context(Context::default())
            .map_err(|e| from_error(&e, &attempt))?;
    let mut list = TopicPartitionList::new();
    let mut open = 0;
    for number in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        let at = TopicPartition::new(topic, number);
        let log = facts.watermarks(std::slice::from_ref(&at))?;
        if let Some((start, end)) = log.first().filter(|(start, end)| start < end) {
            let from = Offset::Offset((end - TAIL).max(*start));
            list.add_partition_offset(topic, number, from).map_err(|e| from_error(&e, &attempt))?;
            open += 1;
        }
    }
    consumer.assign(&list).map_err(|e| from_error(&e, &attempt))?;
    let deadline = Instant::now() + PATIENCE;
    let mut newest: Option<OwnedRecord> = None;
    while open > 0 && Instant::now() < deadline {
        match consumer.poll(LOOK) {
            Some(Ok(message)) if message.payload().is_some() => {
                let record = owned(&message);
                if newest.as_ref().is_none_or(|known| known.timestamp_ms <= record.timestamp_ms) {
                    newest = Some(record);
                }
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(from_error(&error, &attempt)),
            Some(Ok(_)) | None => {}
        }
    }
    Ok(newest)
}
