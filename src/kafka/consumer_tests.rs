//! The consumer against librdkafka's mock cluster.

use super::client::tests::kafka;
use super::*;
use crate::config;
use crate::fault::{Class, Code, Fault};
use crate::record::{Coordinates, Headers, OwnedRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

fn record(topic: &str, partition: i32, offset: i64) -> OwnedRecord {
    OwnedRecord {
        at: Coordinates { topic: topic.into(), partition, offset },
        timestamp_ms: Some(1_700_000_000_000 + offset),
        key: Some(format!("k{offset}").into_bytes()),
        value: Some(format!("v{offset}").into_bytes()),
        headers: vec![],
    }
}

fn fill(broker: &MockBroker, topic: &str, partition: i32, offsets: std::ops::Range<i64>) {
    broker
        .produce_exactly(&offsets.map(|o| record(topic, partition, o)).collect::<Vec<_>>())
        .unwrap();
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// The mock waits for a silent member almost as long as its session lasts.
fn settings(broker: &MockBroker) -> config::Kafka {
    let mut settings = kafka(broker.bootstrap(), "g");
    for (name, value) in [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "100")] {
        settings.properties.insert(name.into(), value.to_owned().into());
    }
    settings
}

fn open(broker: &MockBroker, topics: &[&str]) -> Consumer {
    open_with(&settings(broker), topics)
}

fn open_with(settings: &config::Kafka, topics: &[&str]) -> Consumer {
    let consumer = Consumer::open(settings, "test").unwrap();
    consumer.subscribe(&topics.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).unwrap();
    consumer
}

/// Offsets by partition, in the order of arrival.
type Read = BTreeMap<(String, i32), Vec<i64>>;

fn note(read: &mut Read, message: &Message<'_>) {
    let raw = message.raw();
    read.entry((raw.topic.to_owned(), raw.partition)).or_default().push(raw.offset);
}

/// Polls until `done` says so; fails when it does not within the deadline.
fn until<T>(consumer: &Consumer, what: &str, mut done: impl FnMut(Event<'_>) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(value) = done(consumer.poll(TICK)) {
            return value;
        }
    }
    panic!("{what} did not happen");
}

fn assigned(consumer: &Consumer) -> Vec<TopicPartition> {
    let mut partitions = until(consumer, "an assignment", |event| match event {
        Event::Assigned(partitions) => Some(partitions),
        Event::Record(m) => panic!("a stray record {m:?}"),
        Event::Stopped(_, fault) => panic!("{fault}"),
        _ => None,
    });
    partitions.sort();
    consumer.assign_paused(&partitions).unwrap();
    partitions
}

fn read(consumer: &Consumer, count: usize) -> Read {
    let mut all = Read::new();
    let mut left = count;
    if left > 0 {
        until(consumer, "reading", |event| {
            match event {
                Event::Record(m) => {
                    note(&mut all, &m);
                    left -= 1;
                }
                Event::Stopped(_, fault) | Event::Failed(fault) => panic!("{fault}"),
                _ => {}
            }
            (left == 0).then_some(())
        });
    }
    all
}

/// Polls for a while and wants no record. A negative can only be observed for some time.
fn nothing_comes(consumer: &Consumer, why: &str) {
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end {
        match consumer.poll(TICK) {
            Event::Record(m) => panic!("{m:?} came although {why}"),
            Event::Stopped(p, fault) => panic!("{p} stopped although {why}: {fault}"),
            _ => {}
        }
    }
}

fn stopped(consumer: &Consumer) -> (TopicPartition, Fault) {
    until(consumer, "a stopped partition", |event| match event {
        Event::Stopped(partition, fault) => Some((partition, fault)),
        Event::Record(m) => panic!("a stray record {m:?}"),
        _ => None,
    })
}

#[test]
fn each_partition_starts_at_exactly_its_offset_and_not_before() {
    let broker = MockBroker::start(&[("t", 3)]).unwrap();
    (0..3).for_each(|p| fill(&broker, "t", p, 0..10));
    let consumer = open(&broker, &["t"]);
    assert_eq!(assigned(&consumer), [tp("t", 0), tp("t", 1), tp("t", 2)]);
    nothing_comes(&consumer, "nothing was started");
    consumer.start(&[(tp("t", 1), 4)]).unwrap();
    let mut all = read(&consumer, 6);
    consumer.start(&[(tp("t", 0), 0), (tp("t", 2), 10)]).unwrap();
    all.append(&mut read(&consumer, 10));
    nothing_comes(&consumer, "everything was read");
    fill(&broker, "t", 2, 10..12);
    all.append(&mut read(&consumer, 2));
    assert_eq!(all[&("t".into(), 0)], (0..10).collect::<Vec<_>>());
    assert_eq!(all[&("t".into(), 1)], (4..10).collect::<Vec<_>>());
    assert_eq!(all[&("t".into(), 2)], [10, 11]);
}

#[test]
fn a_group_offset_that_someone_left_behind_does_not_decide_where_reading_starts() {
    let broker = MockBroker::start(&[("t", 1)]).unwrap();
    fill(&broker, "t", 0, 0..10);
    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    consumer.commit_sync(&[(tp("t", 0), 7, "by hand".into())], PATIENCE).unwrap();
    consumer.close();
    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), 2)]).unwrap();
    assert_eq!(read(&consumer, 8)[&("t".into(), 0)], (2..10).collect::<Vec<_>>());
}

#[test]
fn a_record_comes_with_key_value_headers_and_timestamp() {
    let broker = MockBroker::start(&[("t", 1)]).unwrap();
    let mut first = record("t", 0, 0);
    first.headers = vec![
        ("a".into(), Some(b"1".to_vec())),
        ("n".into(), None),
        ("a".into(), Some(b"2".to_vec())),
        ("e".into(), Some(vec![])),
    ];
    let mut tombstone = record("t", 0, 1);
    tombstone.value = None;
    let mut keyless = record("t", 0, 2);
    keyless.key = None;
    let records = [first, tombstone, keyless];
    broker.produce_exactly(&records).unwrap();
    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), 0)]).unwrap();
    for expected in &records {
        until(&consumer, "a record", |event| match event {
            Event::Record(m) => {
                assert_eq!(&m.raw().to_owned_record(), expected);
                assert_eq!(Headers::get(&m, "a"), expected.headers.get("a"));
                assert_eq!(Headers::get(&m, "n"), expected.headers.get("n"));
                assert_eq!(Headers::get(&m, "missing"), None);
                assert!(!format!("{m:?}").contains('v'), "a row value in Debug");
                Some(())
            }
            _ => None,
        });
    }
}

#[test]
fn topics_are_found_by_expression() {
    let broker = MockBroker::start(&[("shop.a", 1), ("shop.b", 1), ("other", 1)]).unwrap();
    let consumer = open(&broker, &["^shop\\..*"]);
    assert_eq!(assigned(&consumer), [tp("shop.a", 0), tp("shop.b", 0)]);
}

#[test]
fn pausing_loses_and_repeats_nothing() {
    let broker = MockBroker::start(&[("t", 2)]).unwrap();
    (0..2).for_each(|p| fill(&broker, "t", p, 0..500));
    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), 5), (tp("t", 1), 5)]).unwrap();
    // Before anything was read, and then again and again in the middle.
    let both = [tp("t", 0), tp("t", 1)];
    let mut all = Read::new();
    for round in 0..10 {
        consumer.pause(&both).unwrap();
        nothing_comes(&consumer, "everything is paused");
        consumer.resume(&both).unwrap();
        for (key, mut offsets) in read(&consumer, if round == 9 { 990 - 9 * 37 } else { 37 }) {
            all.entry(key).or_default().append(&mut offsets);
        }
    }
    for partition in 0..2 {
        assert_eq!(all[&("t".into(), partition)], (5..500).collect::<Vec<_>>());
    }
}

#[test]
fn seeking_goes_to_exactly_that_offset_back_and_forth() {
    let broker = MockBroker::start(&[("t", 1)]).unwrap();
    fill(&broker, "t", 0, 0..50);
    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), 10)]).unwrap();
    assert_eq!(read(&consumer, 5)[&("t".into(), 0)], (10..15).collect::<Vec<_>>());
    consumer.seek(&[(tp("t", 0), 3)]).unwrap();
    assert_eq!(read(&consumer, 5)[&("t".into(), 0)], (3..8).collect::<Vec<_>>());
    consumer.seek(&[(tp("t", 0), 40)]).unwrap();
    assert_eq!(read(&consumer, 10)[&("t".into(), 0)], (40..50).collect::<Vec<_>>());
}

#[test]
fn a_start_outside_of_the_log_stops_that_partition_and_no_other() {
    let broker = MockBroker::start(&[("t", 3)]).unwrap();
    // The mock keeps 5 MiB: the head of this partition is gone.
    for offset in 0..12 {
        let mut large = record("t", 0, offset);
        large.value = Some(vec![7; 700_000]);
        broker.produce_exactly(&[large]).unwrap();
    }
    (1..3).for_each(|p| fill(&broker, "t", p, 0..5));
    let facts = Facts::open(&kafka(broker.bootstrap(), "g")).unwrap();
    let (low, high) = facts.watermarks(&[tp("t", 0)]).unwrap()[0];
    assert!(low > 0 && high == 12, "the mock kept everything: {low}..{high}");

    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), low - 1)]).unwrap();
    let (partition, fault) = stopped(&consumer);
    assert_eq!(
        (partition, fault.class, fault.code),
        (tp("t", 0), Class::Blocked, Code::RetentionGap)
    );
    consumer.start(&[(tp("t", 1), 99)]).unwrap();
    let (partition, fault) = stopped(&consumer);
    assert_eq!((partition, fault.code), (tp("t", 1), Code::RetentionGap));
    consumer.start(&[(tp("t", 2), 1)]).unwrap();
    assert_eq!(read(&consumer, 4)[&("t".into(), 2)], [1, 2, 3, 4]);
    // Once the gap is accepted, the same partition goes on where it is told to.
    consumer.start(&[(tp("t", 0), low)]).unwrap();
    let rest = usize::try_from(high - low).unwrap();
    assert_eq!(read(&consumer, rest)[&("t".into(), 0)], (low..high).collect::<Vec<_>>());
}

#[test]
fn a_commit_carries_its_marker_and_is_answered() {
    let broker = MockBroker::start(&[("t", 2)]).unwrap();
    (0..2).for_each(|p| fill(&broker, "t", p, 0..5));
    let settings = settings(&broker);
    let facts = Facts::open(&settings).unwrap();
    let consumer = open_with(&settings, &["t"]);
    assigned(&consumer);
    consumer.commit(&[(tp("t", 0), 3, marker::marker(9, 3))]).unwrap();
    let (offsets, outcome) = until(&consumer, "the outcome of a commit", |event| match event {
        Event::Committed { offsets, outcome } => Some((offsets, outcome)),
        _ => None,
    });
    assert_eq!((offsets, outcome), (vec![(tp("t", 0), 3)], Ok(())));
    let group = facts.group_offsets(&[tp("t", 1), tp("t", 0)]).unwrap();
    assert_eq!(
        group,
        [None, Some(GroupOffset { offset: 3, metadata: "silversink/1 epoch=9 next=3".into() })]
    );
    consumer.commit_sync(&[(tp("t", 0), 4, marker::marker(9, 4))], PATIENCE).unwrap();
    assert_eq!(facts.group_offsets(&[tp("t", 0)]).unwrap()[0].as_ref().unwrap().offset, 4);
    // A generation that the broker no longer knows is fenced, not an error of the pipeline (G7).
    broker.inject(
        RDKafkaApiKey::OffsetCommit,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION],
    );
    let refused =
        consumer.commit_sync(&[(tp("t", 0), 5, marker::marker(9, 5))], PATIENCE).unwrap_err();
    assert_eq!(refused.class, Class::Fenced);
}

#[test]
fn a_synchronous_commit_to_a_broker_that_is_down_ends_in_time() {
    let broker = MockBroker::start(&[("t", 1)]).unwrap();
    let consumer = open(&broker, &["t"]);
    assigned(&consumer);
    broker.down().unwrap();
    let began = Instant::now();
    let fault = consumer
        .commit_sync(&[(tp("t", 0), 0, String::new())], Duration::from_millis(500))
        .unwrap_err();
    assert_eq!(fault.class, Class::Transient);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_revocation_may_be_answered_late_and_the_group_goes_on() {
    let broker = MockBroker::start(&[("t", 4)]).unwrap();
    (0..4).for_each(|p| fill(&broker, "t", p, 0..10));
    let settings = settings(&broker);
    let first = open_with(&settings, &["t"]);
    let all = assigned(&first);
    first.start(&all.iter().map(|p| (p.clone(), 0)).collect::<Vec<_>>()).unwrap();
    read(&first, 40);

    let second = open_with(&settings, &["t"]);
    let revoked = until(&first, "a revocation", |event| {
        assert!(!matches!(second.poll(Duration::ZERO), Event::Assigned(p) if !p.is_empty()));
        match event {
            Event::Revoked(partitions) => Some(partitions),
            _ => None,
        }
    });
    assert_eq!(revoked.len(), 2);
    // Drain for a while: new records of what is given up must not come, and the other must not get it yet.
    (0..4).for_each(|p| fill(&broker, "t", p, 10..12));
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end {
        if let Event::Record(m) = first.poll(TICK) {
            assert!(!revoked.contains(&tp("t", m.raw().partition)), "{m:?} of a revoked partition");
        }
        assert!(!matches!(second.poll(Duration::ZERO), Event::Assigned(p) if !p.is_empty()));
    }
    let commits: Vec<_> = revoked.iter().map(|p| (p.clone(), 10, marker::marker(1, 10))).collect();
    // The mock may have started the next generation without the member that drains (a real broker waits for
    // max.poll.interval.ms): then the mirror is refused as fenced, and nothing else.
    if let Err(fault) = first.commit_sync(&commits, PATIENCE) {
        assert_eq!(fault.class, Class::Fenced, "{fault}");
    }
    first.unassign(&revoked).unwrap();

    let mut given = Vec::new();
    let mut kept = Read::new();
    let deadline = Instant::now() + PATIENCE;
    while given.is_empty() || kept.values().map(Vec::len).sum::<usize>() < 4 {
        assert!(Instant::now() < deadline, "the group did not go on: {given:?} {kept:?}");
        match first.poll(TICK) {
            Event::Record(m) => {
                assert!(
                    !revoked.contains(&tp("t", m.raw().partition)),
                    "{m:?} of a revoked partition"
                );
                note(&mut kept, &m);
            }
            Event::Assigned(p) => first.assign_paused(&p).unwrap(),
            Event::Stopped(_, fault) => panic!("{fault}"),
            _ => {}
        }
        if let Event::Assigned(p) = second.poll(TICK) {
            second.assign_paused(&p).unwrap();
            given.extend(p);
        }
    }
    given.sort();
    let mut wanted = revoked.clone();
    wanted.sort();
    assert_eq!(given, wanted);
    second.start(&given.iter().map(|p| (p.clone(), 10)).collect::<Vec<_>>()).unwrap();
    for offsets in read(&second, 4).values() {
        assert_eq!(offsets, &[10, 11]);
    }
    // What was given up cannot be started by a claim that comes too late.
    first.start(&[(revoked[0].clone(), 0)]).unwrap();
    nothing_comes(&first, "the partition belongs to someone else");
}

#[test]
fn a_lost_assignment_is_told_apart_and_the_next_one_starts_clean() {
    let broker = MockBroker::start(&[("t", 1)]).unwrap();
    fill(&broker, "t", 0, 0..20);
    let settings = settings(&broker);
    let consumer = open_with(&settings, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), 0)]).unwrap();
    read(&consumer, 15);
    consumer.pause(&[tp("t", 0)]).unwrap();
    broker.inject(
        RDKafkaApiKey::Heartbeat,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID; 1],
    );
    let lost = until(&consumer, "losing the assignment", |event| match event {
        Event::Lost(partitions) => Some(partitions),
        Event::Revoked(_) => panic!("a lost assignment looks like an orderly revocation"),
        _ => None,
    });
    assert_eq!(lost, [tp("t", 0)]);
    consumer.unassign(&lost).unwrap();
    assigned(&consumer);
    // Neither the pause nor the position of the former assignment may survive.
    consumer.start(&[(tp("t", 0), 2)]).unwrap();
    consumer.pause(&[tp("t", 0)]).unwrap();
    consumer.resume(&[tp("t", 0)]).unwrap();
    assert_eq!(read(&consumer, 18)[&("t".into(), 0)], (2..20).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_is_down_is_reported_once_and_reading_goes_on_afterwards() {
    let broker = MockBroker::start(&[("t", 1)]).unwrap();
    fill(&broker, "t", 0, 0..5);
    // A session that outlives the outage.
    let mut settings = kafka(broker.bootstrap(), "g");
    settings.properties.insert("reconnect.backoff.max.ms".into(), "200".to_owned().into());
    let consumer = open_with(&settings, &["t"]);
    assigned(&consumer);
    consumer.start(&[(tp("t", 0), 0)]).unwrap();
    read(&consumer, 5);
    broker.down().unwrap();
    let fault = until(&consumer, "a report", |event| match event {
        Event::Failed(fault) => Some(fault),
        _ => None,
    });
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::KafkaUnavailable));
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert!(
            !matches!(consumer.poll(TICK), Event::Failed(_)),
            "the same trouble was reported twice"
        );
    }
    broker.up().unwrap();
    fill(&broker, "t", 0, 5..7);
    assert_eq!(read(&consumer, 2)[&("t".into(), 0)], [5, 6]);
}

#[test]
fn closing_ends_in_time_even_with_an_unanswered_assignment_or_no_broker() {
    let broker = MockBroker::start(&[("t", 2)]).unwrap();
    let unanswered = open(&broker, &["t"]);
    until(&unanswered, "an assignment", |event| matches!(event, Event::Assigned(_)).then_some(()));
    let began = Instant::now();
    unanswered.close();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // The group is free at once: the next member does not wait for a session to expire.
    let held = open(&broker, &["t"]);
    assert_eq!(assigned(&held).len(), 2);
    broker.down().unwrap();
    let began = Instant::now();
    held.close();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn closing_in_the_middle_of_a_revocation_hands_everything_over() {
    let broker = MockBroker::start(&[("t", 2)]).unwrap();
    (0..2).for_each(|p| fill(&broker, "t", p, 0..3));
    let first = open(&broker, &["t"]);
    let all = assigned(&first);
    first.start(&all.iter().map(|p| (p.clone(), 0)).collect::<Vec<_>>()).unwrap();
    read(&first, 6);
    let second = open(&broker, &["t"]);
    until(&first, "a revocation", |event| {
        second.poll(Duration::ZERO);
        matches!(event, Event::Revoked(_)).then_some(())
    });
    let began = Instant::now();
    first.close();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let mut given = Vec::new();
    while given.len() < 2 {
        given.extend(assigned(&second));
    }
    second.start(&given.iter().map(|p| (p.clone(), 1)).collect::<Vec<_>>()).unwrap();
    for offsets in read(&second, 4).values() {
        assert_eq!(offsets, &[1, 2]);
    }
}

#[test]
fn the_new_group_protocol_is_served_by_the_same_calls() {
    let broker = MockBroker::start(&[("t", 2)]).unwrap();
    (0..2).for_each(|p| fill(&broker, "t", p, 0..10));
    let mut settings = kafka(broker.bootstrap(), "g");
    settings.properties.insert("group.protocol".into(), "consumer".to_owned().into());
    let consumer = open_with(&settings, &["t"]);
    assert_eq!(assigned(&consumer).len(), 2);
    nothing_comes(&consumer, "nothing was started");
    consumer.start(&[(tp("t", 0), 3), (tp("t", 1), 9)]).unwrap();
    let all = read(&consumer, 8);
    assert_eq!(all[&("t".into(), 0)], (3..10).collect::<Vec<_>>());
    assert_eq!(all[&("t".into(), 1)], [9]);
}
