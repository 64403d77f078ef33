//! Records in librdkafka's fetch buffer, and those that were taken out of a queue together.

use super::{NativeEvent, Polled, Queue, failure, text};
use crate::kafka::event::TopicPartition;
use rdkafka_sys as sys;
use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Records that are taken out of a queue at once. One by one each costs two looks at the clock and two more locks: 0.1 us of
/// 1.4 us per record of the whole consumer side.
const AT_ONCE: usize = 32;

/// Who gives a record back to librdkafka.
enum Owner {
    /// The event that it came with.
    Event { _event: NativeEvent },
    /// It came alone.
    Itself,
}

/// A record in librdkafka's fetch buffer; given back on drop.
pub(in crate::kafka) struct NativeMessage {
    message: NonNull<sys::rd_kafka_message_t>,
    owner: Owner,
}

impl Drop for NativeMessage {
    fn drop(&mut self) {
        if matches!(self.owner, Owner::Itself) {
            // SAFETY: the message was given to us and is destroyed once.
            unsafe { sys::rd_kafka_message_destroy(self.message.as_ptr()) }
        }
    }
}

impl NativeMessage {
    /// The record that is alive as long as this event.
    pub(super) fn of_event(message: NonNull<sys::rd_kafka_message_t>, event: NativeEvent) -> Self {
        Self { message, owner: Owner::Event { _event: event } }
    }

    /// librdkafka tells the failure of a partition as a record of it.
    pub(super) fn or_error(self) -> Polled {
        let Some(code) = failure(self.raw().err) else { return Polled::Message(self) };
        let at = TopicPartition { topic: Arc::from(self.topic()), partition: self.raw().partition };
        // SAFETY: the message is alive; the text is copied.
        let reason = unsafe { text(sys::rd_kafka_message_errstr(self.message.as_ptr())) };
        Polled::Error { code, fatal: false, reason, at: Some((at, self.raw().offset)) }
    }

    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the message is given back when `self` goes; nobody writes to these fields.
        unsafe { self.message.as_ref() }
    }

    pub(in crate::kafka) fn topic(&self) -> &str {
        if self.raw().rkt.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to its topic, whose name is a C string. Kafka allows only ASCII in it.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.raw().rkt)) }
            .to_str()
            .unwrap_or_default()
    }

    pub(in crate::kafka) fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub(in crate::kafka) fn offset(&self) -> i64 {
        self.raw().offset
    }

    pub(in crate::kafka) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, `kind` is ours.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        (ms >= 0).then_some(ms)
    }

    pub(in crate::kafka) fn key(&self) -> Option<&[u8]> {
        // SAFETY: key and length belong together and live as long as the message.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(in crate::kafka) fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// The header at `index`; `None` past the last.
    pub(in crate::kafka) fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the message is alive; librdkafka parses the headers once and keeps them with the message, so that
        // name and value live as long as it. Each pointer is read only after the call said that it set it.
        unsafe {
            if failure(sys::rd_kafka_message_headers(self.message.as_ptr(), &raw mut headers))
                .is_some()
                || failure(sys::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut len,
                ))
                .is_some()
            {
                return None;
            }
            Some((CStr::from_ptr(name).to_str().unwrap_or_default(), bytes(value, len)))
        }
    }
}

/// # Safety
/// A non-null `data` points to `len` bytes that live for `'b`.
pub(super) unsafe fn bytes<'b>(data: *const c_void, len: usize) -> Option<&'b [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// The queue of one partition with what was taken out of it and not polled yet: at most [`AT_ONCE`] records, of those that
/// the bound of the queue had let in.
pub(in crate::kafka) struct Fetched {
    queue: Queue,
    taken: [*mut sys::rd_kafka_message_t; AT_ONCE],
    from: usize,
    to: usize,
}

// SAFETY: messages of librdkafka are not bound to a thread, and nobody else knows these.
unsafe impl Send for Fetched {}

impl Fetched {
    pub(in crate::kafka) fn from(queue: Queue) -> Self {
        Self { queue, taken: [ptr::null_mut(); AT_ONCE], from: 0, to: 0 }
    }

    /// The next record, or the end or the failure of the partition; never waits.
    pub(in crate::kafka) fn poll(&mut self) -> Option<Polled> {
        if self.from == self.to {
            // SAFETY: the queue is alive, and the array has room for as many as it says.
            let count = unsafe {
                sys::rd_kafka_consume_batch_queue(
                    self.queue.0.as_ptr(),
                    0,
                    self.taken.as_mut_ptr(),
                    AT_ONCE,
                )
            };
            (self.from, self.to) = (0, usize::try_from(count).unwrap_or(0).min(AT_ONCE));
        }
        self.next().map(NativeMessage::or_error)
    }

    /// Drops what was not polled: the partition is read from elsewhere.
    pub(in crate::kafka) fn forget(&mut self) {
        while self.next().is_some() {}
    }

    fn next(&mut self) -> Option<NativeMessage> {
        let message = NonNull::new(*self.taken[..self.to].get(self.from)?)?;
        self.from += 1;
        Some(NativeMessage { message, owner: Owner::Itself })
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.forget();
    }
}
