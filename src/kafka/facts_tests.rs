//! Facts and the loader against librdkafka's mock cluster.

use super::client::tests::kafka;
use super::*;
use crate::fault::{Class, Code};
use crate::record::{Coordinates, OwnedRecord};
use std::time::{Duration, Instant};

fn record(topic: &str, partition: i32, value: &[u8]) -> OwnedRecord {
    OwnedRecord {
        at: Coordinates { topic: topic.into(), partition, offset: -1 },
        timestamp_ms: Some(1),
        key: Some(b"k".to_vec()),
        value: Some(value.to_vec()),
        headers: vec![],
    }
}

#[test]
fn topics_ids_and_watermarks_are_told() {
    let broker = MockBroker::start(&[("a", 2), ("b", 1)]).unwrap();
    broker.produce(&[record("a", 1, b"x"), record("a", 1, b"y")]).unwrap();
    let facts = Facts::open(&kafka(broker.bootstrap(), "g")).unwrap();
    facts.probe().unwrap();
    let mut topics = facts.topics().unwrap();
    topics.sort();
    assert_eq!(topics, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    let of_a = [TopicPartition::new("a", 1), TopicPartition::new("a", 0)];
    assert_eq!(facts.watermarks(&of_a).unwrap(), [(0, 2), (0, 0)]);
    let ids = facts.topic_ids(&["a".to_owned(), "b".to_owned()]).unwrap();
    assert_eq!(ids.len(), 2);
    assert!(ids["a"] != ids["b"] && !ids["a"].is_nil(), "{ids:?}");
    assert_eq!(facts.topic_ids(&["a".to_owned()]).unwrap()["a"], ids["a"], "an id must be stable");
    // A broker whose metadata lags must not look like one that tells no ids.
    assert!(facts.topic_ids(&["missing".to_owned()]).unwrap().is_empty());
    assert!(facts.topic_ids(&[]).unwrap().is_empty());
}

#[test]
fn an_unreachable_broker_is_transient_and_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let facts = Facts::open_with(&kafka(&address, "g"), Duration::from_millis(1500)).unwrap();
    let began = Instant::now();
    let fault = facts.probe().unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::KafkaUnavailable));
    assert!(fault.text.contains(&address), "{}", fault.text);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_loader_keeps_partitions_and_leaves_the_choice_where_none_is_given() {
    let broker = MockBroker::start(&[("a", 3)]).unwrap();
    let producer = Producer::open(&kafka(broker.bootstrap(), "g")).unwrap();
    let records = [record("a", 2, b"1"), record("a", 2, b"2"), record("a", -1, b"3")];
    producer.ensure_topics(&records).unwrap();
    let places = producer.load(&records).unwrap();
    assert_eq!((places[0].partition, places[0].offset), (2, 0));
    assert_eq!((places[1].partition, places[1].offset), (2, 1));
    assert!((0..3).contains(&places[2].partition));
}

#[test]
fn a_capture_with_a_gap_is_refused_by_the_exact_loader() {
    let broker = MockBroker::start(&[("a", 1)]).unwrap();
    let mut gap = record("a", 0, b"x");
    gap.at.offset = 1;
    let fault = broker.produce_exactly(&[gap]).unwrap_err();
    assert!(fault.text.contains("gap"), "{}", fault.text);
}

#[test]
fn a_login_that_the_broker_cannot_take_is_not_waited_for() {
    let broker = MockBroker::start(&[]).unwrap();
    let mut settings = kafka(broker.bootstrap(), "g");
    for (name, value) in [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "me"),
        ("sasl.password", "hunter2"),
    ] {
        settings.properties.insert(name.into(), value.to_owned().into());
    }
    let fault = Facts::open_with(&settings, Duration::from_secs(8)).unwrap().probe().unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fatal, Code::KafkaFatal), "{fault:?}");
    assert!(!format!("{fault:?}").contains("hunter2"));
}

#[test]
fn clients_can_be_handed_to_the_threads_that_use_them() {
    fn send<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    send::<Consumer>();
    shared::<Facts>();
    shared::<Letters>();
    shared::<Producer>();
    shared::<MockBroker>();
}

#[test]
fn one_record_is_read_by_its_coordinates() {
    let broker = MockBroker::start(&[("a", 1)]).unwrap();
    let mut second = record("a", 0, b"y");
    second.headers = vec![("h".into(), Some(b"1".to_vec())), ("empty".into(), None)];
    broker.produce(&[record("a", 0, b"x"), second.clone(), record("a", 0, b"z")]).unwrap();
    let facts = Facts::open(&kafka(broker.bootstrap(), "g")).unwrap();
    let at = |offset| Coordinates { topic: "a".into(), partition: 0, offset };

    // Twice, and backwards: nothing of the first question is left over.
    for offset in [1, 2, 0, 1] {
        let Found::Record(found) = facts.record_at(&at(offset)).unwrap() else {
            panic!("record {offset} is there");
        };
        assert_eq!(found.at, at(offset));
        assert_eq!(found.value.unwrap(), [b"xyz"[usize::try_from(offset).unwrap()]]);
        if offset == 1 {
            assert_eq!((found.key, found.headers), (second.key.clone(), second.headers.clone()));
        }
    }
    assert_eq!(facts.record_at(&at(3)).unwrap(), Found::Outside { start: 0, end: 3 });
}
