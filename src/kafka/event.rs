//! What the consumer tells the intake thread: records, rebalances, commit outcomes and faults.

use super::consumer::Consumer;
use super::native::NativeMessage;
use crate::fault::Fault;
use crate::record::{Headers, RawRecord};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition by topic name and number.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What one poll gave.
#[derive(Debug)]
pub enum Event<'c> {
    /// A record, borrowed from the fetch buffer.
    Record(Message<'c>),
    /// New partitions: answer with one [`Consumer::assign_paused`], claim, then [`Consumer::start`]. None at all, at the end
    /// of a rebalance that brought nothing, is answered already.
    Assigned(Vec<TopicPartition>),
    /// Partitions to give up: drain, then answer with **one** [`Consumer::unassign`] of all of them. No record of them
    /// follows, unless a start crossed the revocation on its way: the check of the assignment generation at the door
    /// stays necessary. librdkafka holds back the records of *all* partitions until the answer, so drain without delay.
    Revoked(Vec<TopicPartition>),
    /// Partitions that already belong to someone else: drop their work, do not commit, answer with
    /// [`Consumer::unassign`].
    Lost(Vec<TopicPartition>),
    /// Outcome of a [`Consumer::commit`]: partition and next offset.
    Committed {
        /// What was to be committed.
        offsets: Vec<(TopicPartition, i64)>,
        /// A failed commit is never a reason to redo work.
        outcome: Result<(), Fault>,
    },
    /// Everything before this offset of the partition has been delivered; the log ends here for now. It can be beyond the
    /// last record: control records and aborted transactions take offsets too.
    End(TopicPartition, i64),
    /// One partition cannot be fetched any more (retention gap, truncation): its lane stops, others go on.
    Stopped(TopicPartition, Fault),
    /// The client as a whole. Transient: log it (it is reported once, librdkafka reconnects by itself). Fatal: exit.
    Failed(Fault),
    /// Nothing came in time.
    Idle,
}

/// A record in librdkafka's fetch buffer.
pub struct Message<'c> {
    native: NativeMessage,
    // The buffer belongs to the client.
    _consumer: PhantomData<&'c Consumer>,
}

impl<'c> Message<'c> {
    /// `_consumer` is the one whose queue gave the message.
    pub(super) fn new(native: NativeMessage, _consumer: &'c Consumer) -> Self {
        Self { native, _consumer: PhantomData }
    }
}

impl fmt::Debug for Message<'_> {
    /// Coordinates only (I17).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.native.topic(), self.native.partition(), self.native.offset())
    }
}

impl Message<'_> {
    /// The record as the decoder takes it; headers are read when asked for.
    #[must_use]
    pub fn raw(&self) -> RawRecord<'_> {
        RawRecord {
            topic: self.native.topic(),
            partition: self.native.partition(),
            offset: self.native.offset(),
            timestamp_ms: self.native.timestamp_ms(),
            key: self.native.key(),
            value: self.native.value(),
            headers: self,
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        (0..).map_while(|index| self.native.header(index))
    }
}

impl Headers for Message<'_> {
    fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        self.headers().filter(|(n, _)| *n == name).last().map(|(_, value)| value)
    }

    fn to_vec(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect()
    }
}
