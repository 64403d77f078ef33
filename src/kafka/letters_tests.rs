//! Dead letters against librdkafka's mock cluster: acknowledged, and read back byte for byte.

use super::client::tests::kafka;
use super::*;
use crate::fault::{Class, Code};
use crate::record::{Coordinates, Headers, OwnedRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn reason() -> LetterReason {
    LetterReason {
        code: Code::Undecodable,
        class: Class::Poison,
        text: "could not decode the value".into(),
        table: Some("silver.orders".into()),
        pipeline: "shop".into(),
        stage: "decode".into(),
        fingerprint: "f00d".into(),
        sqlstate: None,
        schema_id: Some(12),
        version: None,
        attempt: 1,
    }
}

fn record() -> OwnedRecord {
    OwnedRecord {
        at: Coordinates { topic: "orders".into(), partition: 3, offset: 42 },
        timestamp_ms: Some(1_700_000_000_123),
        key: Some(vec![0, 159, 146, 150]),
        value: Some(vec![255, 0, 1]),
        headers: vec![
            ("own".into(), Some(b"x".to_vec())),
            ("__connect.errors.topic".into(), Some(b"from an earlier letter".to_vec())),
            ("silversink.code".into(), Some(b"old".to_vec())),
            ("nothing".into(), None),
        ],
    }
}

fn read_back(broker: &MockBroker, partition: i32, offset: i64) -> OwnedRecord {
    let consumer = Consumer::open(&kafka(broker.bootstrap(), "reader"), "test").unwrap();
    consumer.subscribe(&["dlq".to_owned()]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(20)) {
            Event::Assigned(partitions) => {
                consumer.assign_paused(&partitions).unwrap();
                consumer.start(&[(TopicPartition::new("dlq", partition), offset)]).unwrap();
            }
            Event::Record(m) => return m.raw().to_owned_record(),
            _ => {}
        }
    }
    panic!("the letter did not come back");
}

fn text<'h>(letter: &'h OwnedRecord, name: &str) -> Option<&'h str> {
    letter.headers.get(name).flatten().map(|v| std::str::from_utf8(v).unwrap())
}

#[test]
fn a_letter_is_acknowledged_and_holds_the_record_with_its_reason() {
    let broker = MockBroker::start(&[("dlq", 2)]).unwrap();
    let (letters, answers) = Letters::open(&kafka(broker.bootstrap(), "g"), "dlq").unwrap();
    letters.ensure_topic().unwrap();
    letters.send(7, &record(), &reason()).unwrap();
    let answer = answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!(answer.token, 7);
    let (partition, offset) = answer.outcome.unwrap();
    assert!(letters.flush(PATIENCE));

    let letter = read_back(&broker, partition, offset);
    assert_eq!(
        (&letter.key, &letter.value, letter.timestamp_ms),
        (&record().key, &record().value, record().timestamp_ms)
    );
    assert_eq!(text(&letter, "own"), Some("x"));
    assert_eq!(letter.headers.get("nothing"), Some(None));
    for (name, value) in [
        ("__connect.errors.topic", "orders"),
        ("__connect.errors.partition", "3"),
        ("__connect.errors.offset", "42"),
        ("__connect.errors.connector.name", "shop"),
        ("__connect.errors.stage", "DECODE"),
        ("__connect.errors.exception.message", "could not decode the value"),
        ("silversink.class", "poison"),
        ("silversink.code", "undecodable"),
        ("silversink.fingerprint", "f00d"),
        ("silversink.table", "silver.orders"),
        ("silversink.schema_id", "12"),
        ("silversink.attempt", "1"),
    ] {
        assert_eq!(text(&letter, name), Some(value), "{name}");
        assert_eq!(
            letter.headers.iter().filter(|(n, _)| n == name).count(),
            1,
            "{name} replaced, not appended"
        );
    }
    assert_eq!(letter.headers.get("silversink.sqlstate"), None);
}

#[test]
fn a_letter_that_the_broker_finds_too_large_becomes_a_reference() {
    let broker = MockBroker::start(&[("dlq", 1)]).unwrap();
    let (letters, answers) = Letters::open(&kafka(broker.bootstrap(), "g"), "dlq").unwrap();
    broker.inject(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    letters.send(1, &record(), &reason()).unwrap();
    let (partition, offset) = answers.recv_timeout(PATIENCE).unwrap().outcome.unwrap();
    let letter = read_back(&broker, partition, offset);
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (None, None));
    assert_eq!(text(&letter, "__connect.errors.offset"), Some("42"));
    assert_eq!(text(&letter, "silversink.truncated.value_bytes"), Some("3"));
    assert_eq!(letter.timestamp_ms, record().timestamp_ms);
}

#[test]
fn a_letter_that_the_client_finds_too_large_becomes_a_reference() {
    let broker = MockBroker::start(&[("dlq", 1)]).unwrap();
    let (letters, answers) = Letters::open(&kafka(broker.bootstrap(), "g"), "dlq").unwrap();
    let large = OwnedRecord { value: Some(vec![7; 2_000_000]), ..record() };
    letters.send(1, &large, &reason()).unwrap();
    let (partition, offset) = answers.recv_timeout(PATIENCE).unwrap().outcome.unwrap();
    assert_eq!(
        text(&read_back(&broker, partition, offset), "silversink.truncated.value_bytes"),
        Some("2000000")
    );
}

#[test]
fn a_reference_that_is_too_large_is_answered_and_not_sent_again() {
    let broker = MockBroker::start(&[("dlq", 1)]).unwrap();
    let (letters, answers) = Letters::open(&kafka(broker.bootstrap(), "g"), "dlq").unwrap();
    broker
        .inject(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2]);
    letters.send(1, &record(), &reason()).unwrap();
    let fault = answers.recv_timeout(PATIENCE).unwrap().outcome.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::DeadLetterUnacknowledged));
    assert!(letters.flush(PATIENCE));
    assert!(answers.try_recv().is_err(), "one answer for each letter");
}

#[test]
fn a_letter_to_a_broker_that_is_down_is_not_acknowledged() {
    let broker = MockBroker::start(&[("dlq", 1)]).unwrap();
    let mut settings = kafka(broker.bootstrap(), "g");
    settings.properties.insert("message.timeout.ms".into(), "1000".to_owned().into());
    let (letters, answers) = Letters::open(&settings, "dlq").unwrap();
    letters.ensure_topic().unwrap();
    broker.down().unwrap();
    letters.send(1, &record(), &reason()).unwrap();
    let fault = answers.recv_timeout(PATIENCE).unwrap().outcome.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::DeadLetterUnacknowledged));
}

#[test]
fn a_missing_dead_letter_topic_is_created() {
    let broker = MockBroker::start(&[]).unwrap();
    let (letters, answers) = Letters::open(&kafka(broker.bootstrap(), "g"), "dlq").unwrap();
    letters.ensure_topic().unwrap();
    letters.send(1, &record(), &reason()).unwrap();
    answers.recv_timeout(PATIENCE).unwrap().outcome.unwrap();
}
