//! The calls of librdkafka that rdkafka does not wrap; every `unsafe` of the Kafka adapter is here and in [`message`].
//!
//! rdkafka's own poll loses the partition of a consumer error and runs rebalances in a callback. Polling the queue
//! ourselves gives each event with its partition, in one order, without allocation per record.

#![allow(unsafe_code, reason = "the one place that calls librdkafka itself")]

mod message;

use super::event::TopicPartition;
use message::bytes;
pub(super) use message::{Fetched, NativeMessage};
use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A pointer to a librdkafka client that outlives what is made from it: the caller keeps the client.
pub(super) type ClientPtr = *mut sys::rd_kafka_t;

/// One entry of a partition list.
pub(super) struct Entry {
    pub(super) at: TopicPartition,
    pub(super) offset: i64,
    pub(super) metadata: String,
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// What one poll gave.
pub(super) enum Polled {
    Message(NativeMessage),
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
    Committed(Option<RDKafkaErrorCode>, Vec<Entry>),
    Error { code: RDKafkaErrorCode, fatal: bool, reason: String, at: Option<(TopicPartition, i64)> },
    Log { level: i32, facility: String, line: String },
    Other,
}

/// A librdkafka queue. Must be dropped before its client.
pub(super) struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are thread safe (rdkafka.h, "thread-safe"), and nothing here is bound to a thread.
unsafe impl Send for Queue {}

impl Queue {
    /// The consumer's own queue: records, rebalances, commit outcomes, errors and log lines in one order.
    pub(super) fn of_consumer(client: ClientPtr) -> Option<Self> {
        // SAFETY: the caller guarantees a live client; a null answer becomes `None`.
        NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(client) }).map(Self)
    }

    /// A fresh queue for the answer to one request.
    pub(super) fn new(client: ClientPtr) -> Option<Self> {
        // SAFETY: as above.
        NonNull::new(unsafe { sys::rd_kafka_queue_new(client) }).map(Self)
    }

    /// The queue of one partition: its records come out of here and nowhere else from now on, whichever assignment they
    /// belong to. (Forwarding it to a queue of ours would not last: librdkafka undoes that whenever fetching stops.)
    pub(super) fn of_partition(client: ClientPtr, at: &TopicPartition) -> Option<Self> {
        let topic = CString::new(&*at.topic).ok()?;
        // SAFETY: client and name are alive; a null answer becomes `None`; forwarding to nowhere is documented.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), at.partition);
            let queue = Self(NonNull::new(queue)?);
            sys::rd_kafka_queue_forward(queue.0.as_ptr(), ptr::null_mut());
            Some(queue)
        }
    }

    /// Calls `wake` whenever something comes while the queue is empty.
    pub(super) fn wake_by(&self, wake: &Wake) {
        // SAFETY: `wake` stays at its address and outlives the client, which is promised by its owner ([`Wake`]).
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(
                self.0.as_ptr(),
                Some(woken),
                ptr::from_ref::<Callback>(&wake.0).cast_mut().cast(),
            );
        }
    }

    fn next(&self, timeout: Duration) -> Option<NativeEvent> {
        // SAFETY: the queue is alive as long as `self`; a null answer means that nothing came in time.
        NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.0.as_ptr(), millis(timeout)) })
            .map(NativeEvent)
    }

    /// The next event, or `None` when none came in time.
    pub(super) fn poll(&self, timeout: Duration) -> Option<Polled> {
        let event = self.next(timeout)?;
        // SAFETY: for the whole match: the event is alive until `event` drops; each accessor is called only on the event type
        // that it is documented for; borrowed strings and lists are copied before that.
        unsafe {
            let raw = event.0.as_ptr();
            Some(match sys::rd_kafka_event_type(raw) {
                sys::RD_KAFKA_EVENT_FETCH => {
                    let message = NonNull::new(sys::rd_kafka_event_message_next(raw).cast_mut());
                    match message {
                        Some(message) => NativeMessage::of_event(message, event).or_error(),
                        None => Polled::Other,
                    }
                }
                sys::RD_KAFKA_EVENT_REBALANCE => {
                    let list = entries_of(sys::rd_kafka_event_topic_partition_list(raw));
                    let partitions = list.into_iter().map(|entry| entry.at).collect();
                    match sys::rd_kafka_event_error(raw) {
                        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                            Polled::Assign(partitions)
                        }
                        _ => Polled::Revoke(partitions),
                    }
                }
                sys::RD_KAFKA_EVENT_OFFSET_COMMIT => Polled::Committed(
                    failure(sys::rd_kafka_event_error(raw)),
                    entries_of(sys::rd_kafka_event_topic_partition_list(raw)),
                ),
                sys::RD_KAFKA_EVENT_ERROR => match failure(sys::rd_kafka_event_error(raw)) {
                    Some(code) => {
                        let partition = sys::rd_kafka_event_topic_partition(raw);
                        let at = NonNull::new(partition).map(|p| {
                            let entry = entry_of(p.as_ref());
                            (entry.at, entry.offset)
                        });
                        if !partition.is_null() {
                            sys::rd_kafka_topic_partition_destroy(partition);
                        }
                        Polled::Error {
                            code,
                            fatal: sys::rd_kafka_event_error_is_fatal(raw) != 0,
                            reason: text(sys::rd_kafka_event_error_string(raw)),
                            at,
                        }
                    }
                    None => Polled::Other,
                },
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                    if sys::rd_kafka_event_log(
                        raw,
                        &raw mut facility,
                        &raw mut line,
                        &raw mut level,
                    ) == 0
                    {
                        Polled::Log { level, facility: text(facility), line: text(line) }
                    } else {
                        Polled::Other
                    }
                }
                _ => Polled::Other,
            })
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: this handle was given to us and is destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

type Callback = Box<dyn Fn() + Send + Sync>;

/// What queues call when something comes. Must be dropped after the client whose queues know it.
pub(super) struct Wake(Box<Callback>);

impl Wake {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(Box::new(wake)))
    }
}

unsafe extern "C" fn woken(_client: ClientPtr, wake: *mut c_void) {
    // SAFETY: `wake_by` gave this pointer, and its owner keeps it for longer than the client lives.
    let wake = unsafe { &*wake.cast::<Callback>() };
    wake();
}

struct NativeEvent(NonNull<sys::rd_kafka_event_t>);

impl Drop for NativeEvent {
    fn drop(&mut self) {
        // SAFETY: the event was given to us and is destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `data` is null or a C string.
unsafe fn text(data: *const c_char) -> String {
    if data.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(data) }.to_string_lossy().trim().to_owned()
}

fn failure(code: sys::rd_kafka_resp_err_t) -> Option<RDKafkaErrorCode> {
    (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// # Safety
/// The entry's strings are valid.
unsafe fn entry_of(raw: &sys::rd_kafka_topic_partition_t) -> Entry {
    // SAFETY: the caller's promise; metadata and its size belong together.
    let (topic, metadata) = unsafe { (text(raw.topic), bytes(raw.metadata, raw.metadata_size)) };
    Entry {
        at: TopicPartition { topic: Arc::from(topic), partition: raw.partition },
        offset: raw.offset,
        metadata: metadata.map(|m| String::from_utf8_lossy(m).into_owned()).unwrap_or_default(),
        error: failure(raw.err),
    }
}

/// # Safety
/// `list` is null or a live list.
unsafe fn entries_of(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    // SAFETY: the caller's promise; `elems` holds `cnt` entries.
    unsafe {
        let Some(list) = list.as_ref() else { return Vec::new() };
        let count = usize::try_from(list.cnt).unwrap_or(0);
        if count == 0 || list.elems.is_null() {
            return Vec::new();
        }
        std::slice::from_raw_parts(list.elems, count).iter().map(|entry| entry_of(entry)).collect()
    }
}

/// Entries of a list, with metadata of any bytes (rdkafka's own accessor panics on what is not UTF-8).
pub(super) fn entries(list: &TopicPartitionList) -> Vec<Entry> {
    // SAFETY: the list is alive.
    unsafe { entries_of(list.ptr()) }
}

/// Commits in the background; the outcome comes out of `queue`. (rdkafka's own asynchronous commit tells no outcome:
/// librdkafka has one only for a configured callback or for a queue.)
pub(super) fn commit_to(
    client: ClientPtr,
    offsets: &TopicPartitionList,
    queue: &Queue,
) -> Result<(), RDKafkaErrorCode> {
    // SAFETY: client, list and queue are alive; librdkafka copies the list and keeps its own reference to the queue.
    let code = unsafe {
        sys::rd_kafka_commit_queue(client, offsets.ptr(), queue.0.as_ptr(), None, ptr::null_mut())
    };
    failure(code).map_or(Ok(()), Err)
}

/// Commits and waits for the outcome at most `timeout`; `None` when it did not come.
pub(super) fn commit(
    client: ClientPtr,
    offsets: &TopicPartitionList,
    timeout: Duration,
) -> Option<(Option<RDKafkaErrorCode>, Vec<Entry>)> {
    let queue = Queue::new(client)?;
    if let Err(refused) = commit_to(client, offsets, &queue) {
        return Some((Some(refused), Vec::new()));
    }
    match queue.poll(timeout)? {
        Polled::Committed(error, list) => Some((error, list)),
        _ => None,
    }
}

/// End of a partition's log as the last fetch told it; asks nobody. `None` before the first fetch.
pub(super) fn log_end(client: ClientPtr, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and name are alive, librdkafka writes both numbers and keeps nothing.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            client,
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (failure(code).is_none() && high >= 0).then_some(high)
}

/// Topic ids by name through `DescribeTopics`: nil where the broker does not tell, `None` where it does not know the topic. `broker` is asked: left to itself,
/// librdkafka waits for the controller, which any broker can stand in for.
pub(super) fn topic_ids(
    client: ClientPtr,
    broker: i32,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<(String, Option<Uuid>)>, RDKafkaErrorCode> {
    let names: Vec<CString> = topics.iter().filter_map(|t| CString::new(t.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let queue = Queue::new(client).ok_or(RDKafkaErrorCode::Fail)?;
    let mut why: [c_char; 256] = [0; 256];
    // SAFETY: names live until the collection has copied them; collection and options are destroyed once, after the
    // request has copied them; the result is read while its event is alive.
    unsafe {
        let collection =
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options = sys::rd_kafka_AdminOptions_new(
            client,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            millis(timeout),
            why.as_mut_ptr(),
            why.len(),
        );
        sys::rd_kafka_AdminOptions_set_broker(options, broker, why.as_mut_ptr(), why.len());
        sys::rd_kafka_DescribeTopics(client, collection, options, queue.0.as_ptr());
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(collection);

        // The request's own time-out comes first and says more.
        let event = queue
            .next(timeout + Duration::from_secs(1))
            .ok_or(RDKafkaErrorCode::OperationTimedOut)?;
        if let Some(code) = failure(sys::rd_kafka_event_error(event.0.as_ptr())) {
            return Err(code);
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if described.is_null() {
            return Ok(Vec::new());
        }
        let mut ids = Vec::with_capacity(count);
        for &topic in std::slice::from_raw_parts(described, count) {
            // A broker whose metadata lags tells no id; taking that for "has none" would stop the topic.
            let error = sys::rd_kafka_TopicDescription_error(topic);
            let code =
                if error.is_null() { None } else { failure(sys::rd_kafka_error_code(error)) };
            match code {
                None => {}
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ) => {
                    ids.push((text(sys::rd_kafka_TopicDescription_name(topic)), None));
                    continue;
                }
                Some(code) => return Err(code),
            }
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            let id = if id.is_null() {
                Uuid::nil()
            } else {
                Uuid::from_u64_pair(
                    sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
                    sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned(),
                )
            };
            ids.push((text(sys::rd_kafka_TopicDescription_name(topic)), Some(id)));
        }
        Ok(ids)
    }
}

/// Shortens the wait of the mock cluster in `client` before a group's first assignment (3 s by default).
pub(super) fn shorten_mock_group_join(client: ClientPtr, delay: Duration) {
    // SAFETY: the client is alive; a null cluster means that it has no mock cluster.
    unsafe {
        let cluster = sys::rd_kafka_handle_mock_cluster(client);
        if !cluster.is_null() {
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, millis(delay));
        }
    }
}
