//! What Kafka delivered: bytes with their coordinates, nothing interpreted.

use std::fmt;

/// Where one record stands: topic, partition and offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

/// Headers of a record, read only when something asks for them (they are not touched on the hot path).
pub trait Headers {
    /// The last header of that name; the inner `None` is a header without a value.
    fn get(&self, name: &str) -> Option<Option<&[u8]>>;
    /// Every header in order.
    fn to_vec(&self) -> Vec<(String, Option<Vec<u8>>)>;
}

/// No headers at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _: &str) -> Option<Option<&[u8]>> {
        None
    }
    fn to_vec(&self) -> Vec<(String, Option<Vec<u8>>)> {
        Vec::new()
    }
}

/// One record, borrowed from the client's fetch buffer.
#[derive(Clone, Copy)]
pub struct RawRecord<'r> {
    /// Topic name.
    pub topic: &'r str,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp in milliseconds since 1970, if the record has one.
    pub timestamp_ms: Option<i64>,
    /// Key bytes; `None` is a null key.
    pub key: Option<&'r [u8]>,
    /// Value bytes; `None` is a null value (a tombstone).
    pub value: Option<&'r [u8]>,
    /// Headers, lazily.
    pub headers: &'r dyn Headers,
}

impl RawRecord<'_> {
    /// The record's place.
    #[must_use]
    pub fn coordinates(&self) -> Coordinates {
        Coordinates { topic: self.topic.to_owned(), partition: self.partition, offset: self.offset }
    }

    /// A copy that outlives the fetch buffer, for the dead-letter topic.
    #[must_use]
    pub fn to_owned_record(&self) -> OwnedRecord {
        OwnedRecord {
            at: self.coordinates(),
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self.headers.to_vec(),
        }
    }
}

/// One record, owned: what a dead letter carries, and what a capture file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Where the record stands.
    pub at: Coordinates,
    /// Kafka's timestamp in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Headers for Vec<(String, Option<Vec<u8>>)> {
    fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        self.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_deref())
    }
    fn to_vec(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.clone()
    }
}

impl OwnedRecord {
    /// Bytes of key and value.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }

    /// The borrowed view that the decoder takes.
    #[must_use]
    pub fn as_raw(&self) -> RawRecord<'_> {
        RawRecord {
            topic: &self.at.topic,
            partition: self.at.partition,
            offset: self.at.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}
