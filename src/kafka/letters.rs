//! The dead-letter producer: idempotent, acknowledged by all replicas, one answer for each letter.

use super::admin;
use super::client::{self, Context};
use super::error::{classify, from_error};
use super::letter_headers::{self, Headers};
use crate::config;
use crate::fault::{Class, Code, Fault};
use crate::record::OwnedRecord;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(50);

/// Why a record is parked. Never holds a row value, except through the record itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterReason {
    /// Stable cause.
    pub code: Code,
    /// Class of the failure.
    pub class: Class,
    /// One sentence without row values (I17).
    pub text: String,
    /// Silver table, where it is known.
    pub table: Option<String>,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Where it failed: `decode`, `convert`, `write`.
    pub stage: String,
    /// Groups letters of one cause.
    pub fingerprint: String,
    /// SQLSTATE, where PostgreSQL was the one to refuse.
    pub sqlstate: Option<String>,
    /// Registry id of the value's schema.
    pub schema_id: Option<u32>,
    /// Version of the change, as hexadecimal.
    pub version: Option<String>,
    /// How often the record has been tried, from 1.
    pub attempt: u32,
}

/// The broker's answer to one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The token of [`Letters::send`].
    pub token: u64,
    /// Partition and offset in the dead-letter topic.
    pub outcome: Result<(i32, i64), Fault>,
}

/// A letter on its way, kept until the broker has answered.
struct Pending {
    token: u64,
    headers: Headers,
    timestamp_ms: Option<i64>,
    key_len: usize,
    value_len: usize,
    is_reference: bool,
}

struct LettersContext {
    client: Context,
    topic: String,
    answers: Sender<Acknowledged>,
    // Letters that are too large for the broker; sent again as a reference by the serving thread.
    oversized: Mutex<Vec<Pending>>,
    unanswered: Mutex<usize>,
}

impl LettersContext {
    fn answer(&self, token: u64, outcome: Result<(i32, i64), Fault>) {
        *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        // Nobody listens any more when the worker stops; the record is not settled then.
        let _ = self.answers.send(Acknowledged { token, outcome });
    }

    fn refused(&self, pending: Pending, code: RDKafkaErrorCode) {
        if code == RDKafkaErrorCode::MessageSizeTooLarge && !pending.is_reference {
            self.oversized.lock().unwrap_or_else(PoisonError::into_inner).push(pending);
            return;
        }
        let fault = classify(code, &format!("park a record in {}", self.topic));
        let fault = match fault.class {
            Class::Fatal => fault,
            // Whatever the broker says to a letter, the record is not settled: never poison, try again.
            _ => Fault { class: Class::Transient, code: Code::DeadLetterUnacknowledged, ..fault },
        };
        self.answer(pending.token, Err(fault));
    }
}

impl ClientContext for LettersContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for LettersContext {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        match result {
            Ok(message) => self.answer(pending.token, Ok((message.partition(), message.offset()))),
            Err((error, _)) => {
                self.refused(
                    *pending,
                    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
                );
            }
        }
    }
}

/// Parks records in the dead-letter topic.
pub struct Letters {
    producer: Arc<BaseProducer<LettersContext>>,
    properties: ClientConfig,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Letters {
    /// Opens the producer, and the channel on which each letter is answered exactly once.
    ///
    /// # Errors
    /// Fatal `configuration` when librdkafka refuses a property.
    pub fn open(
        kafka: &config::Kafka,
        topic: &str,
    ) -> Result<(Self, Receiver<Acknowledged>), Fault> {
        let attempt = "open the dead-letter producer";
        let properties = client::properties(
            kafka,
            "silversink-letters",
            // The same partition for a key as Java's producer; letters do not wait for company.
            &[("partitioner", "murmur2_random"), ("linger.ms", "5"), ("compression.type", "lz4")],
            &[("acks", "all"), ("enable.idempotence", "true")],
        )?;
        let (answers, receiver) = mpsc::channel();
        let context = LettersContext {
            client: Context::default(),
            topic: topic.to_owned(),
            answers,
            oversized: Mutex::default(),
            unanswered: Mutex::default(),
        };
        let producer: Arc<BaseProducer<LettersContext>> =
            Arc::new(properties.create_with_context(context).map_err(|e| from_error(&e, attempt))?);
        let stop = Arc::new(AtomicBool::new(false));
        let server = std::thread::Builder::new()
            .name("kafka-letters".into())
            .spawn({
                let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        serve(&producer, TICK);
                    }
                }
            })
            .map_err(|e| {
                Fault::new(Class::Fatal, Code::Internal, format!("could not {attempt}: {e}"))
            })?;
        Ok((Self { producer, properties, stop, server: Some(server) }, receiver))
    }

    /// Sends one letter: original key, value bytes and timestamp, with the reason in headers. Its answer comes on the
    /// channel under `token`. A letter that is too large goes once more as a reference: coordinates and reason, no body.
    ///
    /// # Errors
    /// Transient when the client's own queue is full: nothing was sent and no answer follows.
    pub fn send(
        &self,
        token: u64,
        record: &OwnedRecord,
        reason: &LetterReason,
    ) -> Result<(), Fault> {
        let pending = Pending {
            token,
            headers: letter_headers::letter_headers(record, reason),
            timestamp_ms: record.timestamp_ms,
            key_len: record.key.as_ref().map_or(0, Vec::len),
            value_len: record.value.as_ref().map_or(0, Vec::len),
            is_reference: false,
        };
        let context = self.producer.context();
        *context.unanswered.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let Err((error, pending)) =
            produce(&self.producer, pending, record.key.as_deref(), record.value.as_deref())
        else {
            return Ok(());
        };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if code == RDKafkaErrorCode::MessageSizeTooLarge {
            context.refused(*pending, code);
            return Ok(());
        }
        *context.unanswered.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        let fault = classify(code, &format!("park a record in {}", context.topic));
        Err(if fault.class == Class::Fatal {
            fault
        } else {
            Fault { class: Class::Transient, code: Code::DeadLetterUnacknowledged, ..fault }
        })
    }

    /// Creates the topic when it is missing, with the broker's default partitions and replicas. Blocks for seconds at
    /// worst.
    ///
    /// # Errors
    /// What the broker said. Letters may still pass when the broker creates topics by itself: warn and go on.
    pub fn ensure_topic(&self) -> Result<(), Fault> {
        let topic = &self.producer.context().topic;
        let attempt = format!("look for the dead-letter topic {topic}");
        // A broker that creates topics by itself does it when it is asked about one.
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(topic), PATIENCE)
            .map_err(|e| from_error(&e, &attempt))?;
        if metadata.topics().iter().any(|t| t.name() == topic && t.error().is_none()) {
            return Ok(());
        }
        admin::create_topic(&self.properties, topic, admin::BROKER_DEFAULT)
    }

    /// Waits until every letter is answered, at most `timeout`; says whether all are.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            // A letter that became a reference is produced by the serving thread, hence the loop.
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = self.producer.flush(left.min(TICK));
            if *self.producer.context().unanswered.lock().unwrap_or_else(PoisonError::into_inner)
                == 0
            {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn serve(producer: &BaseProducer<LettersContext>, tick: Duration) {
    producer.poll(tick);
    let context = producer.context();
    let oversized =
        std::mem::take(&mut *context.oversized.lock().unwrap_or_else(PoisonError::into_inner));
    for pending in oversized {
        let reference = Pending {
            headers: letter_headers::reference_headers(
                &pending.headers,
                pending.key_len,
                pending.value_len,
            ),
            is_reference: true,
            ..pending
        };
        if let Err((error, pending)) = produce(producer, reference, None, None) {
            context.refused(*pending, error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail));
        }
    }
}

fn produce(
    producer: &BaseProducer<LettersContext>,
    pending: Pending,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(), (KafkaError, Box<Pending>)> {
    let topic = producer.context().topic.clone();
    let headers = native_headers(&pending.headers);
    let timestamp = pending.timestamp_ms;
    let mut letter = BaseRecord::with_opaque_to(&topic, Box::new(pending)).headers(headers);
    letter.key = key;
    letter.payload = value;
    letter.timestamp = timestamp;
    producer.send(letter).map_err(|(error, letter)| (error, letter.delivery_opaque))
}

/// Headers in the client's own form, order and null values kept.
pub(super) fn native_headers(headers: &Headers) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |list, (name, value)| {
        list.insert(Header { key: name, value: value.as_deref() })
    })
}
