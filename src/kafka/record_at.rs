//! Reads one record by its coordinates, outside of any group.

use super::error::from_error;
use super::event::TopicPartition;
use super::facts::Facts;
use crate::fault::{Code, Fault};
use crate::record::{Coordinates, OwnedRecord};
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Instant;

/// What stands at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record.
    Record(OwnedRecord),
    /// Nothing that a read-committed consumer can see: compacted away, aborted, or a control record.
    Nothing {
        /// Offset of the next record that it can see.
        next: i64,
    },
    /// The offset is outside of the log.
    Outside {
        /// First offset of the log.
        start: i64,
        /// Offset behind its last stable record.
        end: i64,
    },
}

impl Facts {
    /// The record at these coordinates. Nothing is committed and no group is joined.
    ///
    /// # Errors
    /// Transient when the leader does not answer in time or the partition does not exist.
    pub fn record_at(&self, at: &Coordinates) -> Result<Found, Fault> {
        let partition = TopicPartition::new(at.topic.as_str(), at.partition);
        let (start, end) = self.watermarks(&[partition])?.first().copied().unwrap_or_default();
        if at.offset < start || at.offset >= end {
            return Ok(Found::Outside { start, end });
        }
        let attempt = format!("read record {at}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(at.offset))
            .and_then(|()| self.consumer().assign(&list))
            .map_err(|e| from_error(&e, &attempt))?;
        let found = self.first_of(at, &attempt);
        self.consumer().assign(&TopicPartitionList::new()).map_err(|e| from_error(&e, &attempt))?;
        found
    }

    fn first_of(&self, at: &Coordinates, attempt: &str) -> Result<Found, Fault> {
        let deadline = Instant::now() + self.patience();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.consumer().poll(left) {
                None => {}
                Some(Err(error)) => return Err(from_error(&error, attempt)),
                Some(Ok(message)) if message.offset() == at.offset => {
                    return Ok(Found::Record(owned(&message)));
                }
                Some(Ok(message)) => return Ok(Found::Nothing { next: message.offset() }),
            }
        }
        Err(Fault::transient(
            Code::KafkaUnavailable,
            format!("could not {attempt}: no record came in time"),
        ))
    }
}

/// A record of its own.
pub(super) fn owned(message: &BorrowedMessage<'_>) -> OwnedRecord {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    OwnedRecord {
        at: Coordinates {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
        },
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
    }
}
