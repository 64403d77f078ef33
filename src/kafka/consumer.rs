//! The group member: one thread polls it, and records, assignments and revocations come out in one order.
//!
//! Nothing is decided in a callback. librdkafka waits for the answer to a rebalance while polling goes on, so the
//! intake thread takes the event, and answers later with [`Consumer::assign_paused`] or [`Consumer::unassign`].
//!
//! Fetching starts only in [`Consumer::start`], which hands the partition to librdkafka with its exact offset. Assigning
//! first and seeking later would make librdkafka look up the group offset, raise a reset error where there is none, and
//! fetch records that nobody asked for.

mod feed;
mod fetching;

use super::client::{self, Context};
use super::error::{classify, from_error};
pub use super::event::{Event, Message, TopicPartition};
use super::native::{self, Entry, Polled, Queue, Wake};
use crate::config;
use crate::fault::{Class, Code, Fault};
use feed::{Fed, Feed};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use secrecy::ExposeSecret;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time that [`Consumer::seek`] waits for librdkafka's own thread; no broker is asked.
const SEEK: Duration = Duration::from_secs(5);
/// Time that closing may take before the client is left to itself (G14: a coordinator that is down must not hold SIGTERM).
const CLOSE: Duration = Duration::from_secs(5);
/// What is fetched ahead of the decoder, in KiB over all partitions.
const FETCHED_AHEAD_KIB: usize = 16 << 10;
/// librdkafka tries a broker again at least every 10 s (`reconnect.backoff.max.ms`): after so long without a complaint the
/// next one is a new outage.
const QUIET: Duration = Duration::from_secs(60);

/// What librdkafka knows of a partition that the group gave us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// Ours, not yet known to librdkafka's fetcher.
    Held,
    /// librdkafka gave up fetching it and waits for a new assignment.
    Stopped,
    /// Being fetched, or paused.
    Started,
    /// To be given up: known to librdkafka until [`Consumer::unassign`], never started again.
    Leaving,
}

/// The client with its queues. Dropped in this order: queues before the client that they belong to, and what the queues call
/// after it.
struct Client {
    feeds: RefCell<Vec<Feed>>,
    queue: Queue,
    consumer: BaseConsumer<Context>,
    wake: Wake,
}

/// Member of the consumer group. [`Send`], but used by one thread.
pub struct Consumer {
    client: Option<Client>,
    /// Which feed brings the records of a partition.
    fed: RefCell<BTreeMap<TopicPartition, usize>>,
    holdings: RefCell<BTreeMap<TopicPartition, Holding>>,
    /// A revocation waits for its answer.
    revoking: Cell<bool>,
    // When the client last complained of an outage that was reported and not followed by a sign of life.
    complained: Cell<Option<Instant>>,
    group: String,
}

impl Consumer {
    /// A consumer without feeds, whose polls wait.
    ///
    /// # Errors
    /// As [`Consumer::open_fed`].
    pub fn open(kafka: &config::Kafka, client_id: &str) -> Result<Self, Fault> {
        Self::open_fed(kafka, client_id, 1, || {})
    }

    /// Opens the client; connects in the background. `partitions` is how many there will be, more or less: the
    /// bytes that are fetched ahead are shared among them. `wake` is called by librdkafka's threads when something comes
    /// that [`Consumer::poll`] or [`Consumer::poll_feed`] would give, and nothing was there before; it must not call back.
    ///
    /// # Errors
    /// Fatal `configuration` when librdkafka refuses a property.
    pub fn open_fed(
        kafka: &config::Kafka,
        client_id: &str,
        partitions: usize,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let mut fixed = vec![
            ("group.id", kafka.group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // Never reset automatically: a gap stops the lane (design section 5).
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            // The end of a log can lie beyond its last record; the position must get there.
            ("enable.partition.eof", "true"),
        ];
        // The new protocol (KIP-848) brings its own assignor and refuses this property.
        let protocol = kafka.properties.get("group.protocol").map(ExposeSecret::expose_secret);
        if protocol != Some("consumer") {
            fixed.push(("partition.assignment.strategy", "cooperative-sticky"));
        }
        if let Some(instance) = &kafka.instance_id {
            fixed.push(("group.instance.id", instance));
        }
        let share = FETCHED_AHEAD_KIB / partitions.max(1);
        // One partition's part of an answer; a larger record comes alone.
        let part = (share * 1024).clamp(64 << 10, 1 << 20).to_string();
        let ahead = share.clamp(64, FETCHED_AHEAD_KIB).to_string();
        let defaults = [
            ("check.crcs", "true"),
            // A partition over a queue limit waits this long for its next fetch; the default of 1000 costs up to 95 %.
            ("fetch.queue.backoff.ms", "5"),
            // A fetch that waits at the end of one log holds back a partition that was just started, moved or resumed: with
            // the default of 500 every start of a lane lost half a second.
            ("fetch.wait.max.ms", "100"),
            // Of each partition: it has a queue of its own.
            ("queued.max.messages.kbytes", &ahead),
            ("fetch.message.max.bytes", &part),
            ("allow.auto.create.topics", "false"),
        ];
        let attempt = "open the Kafka consumer";
        let consumer: BaseConsumer<Context> =
            client::properties(kafka, client_id, &defaults, &fixed)?
                .create_with_context(Context::default())
                .map_err(|e| from_error(&e, attempt))?;
        let queue = Queue::of_consumer(consumer.client().native_ptr()).ok_or_else(|| {
            Fault::new(
                Class::Fatal,
                Code::Internal,
                format!("could not {attempt}: it has no queue"),
            )
        })?;
        let wake = Wake::new(wake);
        queue.wake_by(&wake);
        Ok(Self {
            client: Some(Client { feeds: RefCell::default(), queue, consumer, wake }),
            fed: RefCell::default(),
            holdings: RefCell::default(),
            revoking: Cell::new(false),
            complained: Cell::new(None),
            group: kafka.group_id.clone(),
        })
    }

    /// Joins the group for topics by literal name, or by regular expression when it starts with `^`.
    ///
    /// # Errors
    /// Fatal when librdkafka refuses the list (an invalid expression).
    pub fn subscribe(&self, topics: &[String]) -> Result<(), Fault> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.client().subscribe(&names).map_err(|e| from_error(&e, "subscribe to the topics"))
    }

    /// Lets the records of a partition come from a feed of that number, from its next start on and for as long as the consumer
    /// lives. A partition without one comes with everything else ([`Consumer::poll`]).
    pub fn feed(&self, partition: &TopicPartition, feed: usize) {
        self.fed.borrow_mut().insert(partition.clone(), feed);
    }

    /// The next record of a feed, or the end or the failure of one of its partitions; never waits.
    pub fn poll_feed(&self, feed: usize) -> Event<'_> {
        let polled = self.open_client().feeds.borrow_mut().get_mut(feed).and_then(Feed::poll);
        self.event(polled)
    }

    /// The next thing that happened, waiting at most `timeout`. Call it all the time: also heartbeats of the application
    /// (`max.poll.interval.ms`), outcomes of commits and rebalances come this way.
    pub fn poll(&self, timeout: Duration) -> Event<'_> {
        self.event(self.queue().poll(timeout))
    }

    fn event(&self, polled: Option<Polled>) -> Event<'_> {
        match polled {
            None | Some(Polled::Other) => Event::Idle,
            Some(Polled::Message(native)) => {
                self.complained.set(None);
                Event::Record(Message::new(native, self))
            }
            Some(Polled::Assign(partitions)) => {
                self.complained.set(None);
                // Cooperative rebalances end with an assignment of nothing, which wants its answer too.
                if partitions.is_empty()
                    && let Err(fault) = self.assign_paused(&[])
                {
                    return Event::Failed(fault);
                }
                Event::Assigned(partitions)
            }
            Some(Polled::Revoke(partitions)) => self.revoked(partitions),
            Some(Polled::Committed(error, entries)) => {
                let outcome = self.commit_outcome(error, &entries);
                Event::Committed {
                    offsets: entries.into_iter().map(|e| (e.at, e.offset)).collect(),
                    outcome,
                }
            }
            Some(Polled::Error { code, fatal, reason, at }) => {
                self.failed(code, fatal, &reason, at)
            }
            Some(Polled::Log { level, facility, line }) => {
                client::log(log_level(level), &facility, &line);
                Event::Idle
            }
        }
    }

    /// Answers [`Event::Assigned`]: the partitions are ours, nothing is fetched before [`Consumer::start`].
    ///
    /// # Errors
    /// Fatal when the client has given up.
    pub fn assign_paused(&self, partitions: &[TopicPartition]) -> Result<(), Fault> {
        let mut holdings = self.holdings.borrow_mut();
        for partition in partitions {
            holdings.entry(partition.clone()).or_insert(Holding::Held);
        }
        // An empty list is a full answer to the group; librdkafka learns of the partitions with their offsets.
        self.client()
            .incremental_assign(&TopicPartitionList::new())
            .map_err(|e| from_error(&e, "accept the assignment"))
    }

    /// Answers [`Event::Revoked`] or [`Event::Lost`], with all of its partitions in one call: the group goes on with it.
    ///
    /// # Errors
    /// Fatal when the client has given up.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), Fault> {
        self.revoking.set(false);
        let mut holdings = self.holdings.borrow_mut();
        let mut started = TopicPartitionList::new();
        for partition in partitions {
            let holding = holdings.remove(partition);
            if holding.is_some_and(|h| h != Holding::Held) {
                started.add_partition(&partition.topic, partition.partition);
            }
        }
        self.each_fed(partitions, Fed::begin_anew);
        // An empty list still answers for partitions that were never started.
        self.client()
            .incremental_unassign(&started)
            .map_err(|e| from_error(&e, "give up partitions"))?;
        // The application's pause outlives the assignment inside librdkafka; the next start must not inherit it.
        self.client().resume(&started).map_err(|e| from_error(&e, "give up partitions"))
    }

    /// End of a partition's log as the last fetch told it, without asking the broker; `None` before the first fetch.
    #[must_use]
    pub fn log_end(&self, partition: &TopicPartition) -> Option<i64> {
        let client = self.client().client().native_ptr();
        native::log_end(client, &partition.topic, partition.partition)
    }

    /// Commits next offsets with metadata (see [`super::marker`]) in the background; the outcome comes back as
    /// [`Event::Committed`].
    ///
    /// # Errors
    /// When it could not even be queued.
    pub fn commit(&self, offsets: &[(TopicPartition, i64, String)]) -> Result<(), Fault> {
        let list = commit_list(offsets)?;
        native::commit_to(self.client().client().native_ptr(), &list, self.queue())
            .map_err(|code| classify(code, &self.committing()))
    }

    /// Commits and waits for the outcome, at most `timeout`: for release and shutdown.
    ///
    /// # Errors
    /// Transient when the broker did not answer in time, fenced when it no longer takes commits of ours.
    pub fn commit_sync(
        &self,
        offsets: &[(TopicPartition, i64, String)],
        timeout: Duration,
    ) -> Result<(), Fault> {
        let list = commit_list(offsets)?;
        match native::commit(self.client().client().native_ptr(), &list, timeout) {
            Some((error, entries)) => self.commit_outcome(error, &entries),
            None => Err(classify(RDKafkaErrorCode::OperationTimedOut, &self.committing())),
        }
    }

    /// Leaves the group and closes within a few seconds; a client that cannot be closed in that time is left to end with
    /// the process (G14). Dropping does the same.
    pub fn close(self) {
        drop(self);
    }

    fn revoked(&self, partitions: Vec<TopicPartition>) -> Event<'_> {
        if partitions.is_empty() {
            return self.unassign(&[]).map_or_else(Event::Failed, |()| Event::Idle);
        }
        self.revoking.set(true);
        let mut holdings = self.holdings.borrow_mut();
        for partition in &partitions {
            // A claim that ends from here on must not start what is being given up.
            match holdings.get_mut(partition) {
                None => {}
                Some(Holding::Held) => {
                    holdings.remove(partition);
                }
                Some(holding) => *holding = Holding::Leaving,
            }
        }
        self.each_fed(&partitions, |fed| fed.fetched.forget());
        if self.client().assignment_lost() {
            Event::Lost(partitions)
        } else {
            Event::Revoked(partitions)
        }
    }

    fn failed(
        &self,
        code: RDKafkaErrorCode,
        fatal: bool,
        reason: &str,
        at: Option<(TopicPartition, i64)>,
    ) -> Event<'_> {
        tracing::debug!(target: "librdkafka", "{reason}");
        if fatal {
            let text = format!("the Kafka client of group {} gave up: {reason}", self.group);
            return Event::Failed(Fault::new(Class::Fatal, Code::KafkaFatal, text));
        }
        if code == RDKafkaErrorCode::PartitionEOF {
            return at.map_or(Event::Idle, |(partition, offset)| Event::End(partition, offset));
        }
        if let Some((partition, offset)) = at {
            let fault = classify(code, &format!("fetch {partition} at offset {offset}"));
            if fault.class == Class::Blocked {
                if let Some(holding @ Holding::Started) =
                    self.holdings.borrow_mut().get_mut(&partition)
                {
                    *holding = Holding::Stopped;
                }
                return Event::Stopped(partition, fault);
            }
        }
        let fault = classify(code, &format!("consume as group {}", self.group));
        if fault.class == Class::Transient {
            // Each broker's trouble and "all brokers down" come again with each attempt to connect.
            let last = self.complained.replace(Some(Instant::now()));
            if last.is_some_and(|at| at.elapsed() < QUIET) {
                return Event::Idle;
            }
        }
        Event::Failed(fault)
    }

    fn commit_outcome(
        &self,
        error: Option<RDKafkaErrorCode>,
        entries: &[Entry],
    ) -> Result<(), Fault> {
        match error.or_else(|| entries.iter().find_map(|e| e.error)) {
            // Nothing was to be committed.
            None | Some(RDKafkaErrorCode::NoOffset) => {
                self.complained.set(None);
                Ok(())
            }
            Some(code) => Err(classify(code, &self.committing())),
        }
    }

    fn committing(&self) -> String {
        format!("commit offsets of group {}", self.group)
    }

    fn started(&self, partition: &TopicPartition) -> bool {
        matches!(self.holdings.borrow().get(partition), Some(Holding::Started))
    }

    fn started_list(&self, partitions: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions.iter().filter(|p| self.started(p)) {
            list.add_partition(&partition.topic, partition.partition);
        }
        list
    }

    fn open_client(&self) -> &Client {
        self.client.as_ref().expect("taken only by drop")
    }

    fn client(&self) -> &BaseConsumer<Context> {
        &self.open_client().consumer
    }

    fn queue(&self) -> &Queue {
        &self.open_client().queue
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        let (done, closed) = mpsc::channel();
        let spawned = std::thread::Builder::new().name("kafka-close".into()).spawn(move || {
            drop(client);
            // Nobody waits any more when the time was up.
            let _ = done.send(());
        });
        match spawned {
            Ok(_) if closed.recv_timeout(CLOSE).is_err() => {
                tracing::warn!(
                    "the Kafka consumer did not close within {} s; it ends with the process",
                    CLOSE.as_secs()
                );
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "could not start the thread that closes the Kafka consumer");
            }
        }
    }
}

fn add(
    list: &mut TopicPartitionList,
    partition: &TopicPartition,
    offset: i64,
) -> Result<(), Fault> {
    list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))
        .map_err(|e| from_error(&e, &format!("use offset {offset} for {partition}")))
}

fn commit_list(offsets: &[(TopicPartition, i64, String)]) -> Result<TopicPartitionList, Fault> {
    let mut list = TopicPartitionList::new();
    for (partition, next, metadata) in offsets {
        let mut entry = list.add_partition(&partition.topic, partition.partition);
        entry
            .set_offset(Offset::Offset(*next))
            .map_err(|e| from_error(&e, &format!("commit offset {next} for {partition}")))?;
        entry.set_metadata(metadata);
    }
    Ok(list)
}

/// Syslog's numbers, as librdkafka uses them.
fn log_level(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=0 => RDKafkaLogLevel::Emerg,
        1 => RDKafkaLogLevel::Alert,
        2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
