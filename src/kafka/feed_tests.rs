//! Feeds against librdkafka's mock cluster: partitions with queues of their own.

use super::client::tests::kafka;
use super::consumer::{Consumer, Event, TopicPartition};
use super::mock::MockBroker;
use crate::record::{Coordinates, OwnedRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn fill(broker: &MockBroker, partition: i32, offsets: std::ops::Range<i64>) {
    let record = |offset| OwnedRecord {
        at: Coordinates { topic: "t".into(), partition, offset },
        timestamp_ms: Some(1),
        key: None,
        value: Some(b"v".to_vec()),
        headers: vec![],
    };
    broker.produce_exactly(&offsets.map(record).collect::<Vec<_>>()).unwrap();
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A consumer of four partitions in two feeds, by even and odd number, and how often it was woken.
fn open(broker: &MockBroker) -> (Consumer, Arc<AtomicUsize>) {
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let settings = kafka(broker.bootstrap(), "g");
    let consumer = Consumer::open_fed(&settings, "test", 4, move || {
        count.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    consumer.subscribe(&["t".to_owned()]).unwrap();
    let end = Instant::now() + PATIENCE;
    let assigned = loop {
        assert!(Instant::now() < end, "no assignment");
        if let Event::Assigned(partitions) = consumer.poll(Duration::from_millis(20)) {
            break partitions;
        }
    };
    consumer.assign_paused(&assigned).unwrap();
    for partition in 0..4 {
        consumer.feed(&tp(partition), usize::try_from(partition % 2).unwrap());
    }
    (consumer, woken)
}

/// Offsets by partition that a feed gives until it has given so many records. What comes beside the feeds is no record.
fn read(consumer: &Consumer, feed: usize, count: usize) -> BTreeMap<i32, Vec<i64>> {
    let (mut all, mut left, end) = (BTreeMap::<_, Vec<_>>::new(), count, Instant::now() + PATIENCE);
    while left > 0 {
        assert!(Instant::now() < end, "{left} records of feed {feed} did not come");
        match consumer.poll(Duration::ZERO) {
            Event::Record(message) => panic!("{message:?} came beside the feeds"),
            Event::Stopped(_, fault) | Event::Failed(fault) => panic!("{fault}"),
            _ => {}
        }
        match consumer.poll_feed(feed) {
            Event::Record(message) => {
                all.entry(message.raw().partition).or_default().push(message.raw().offset);
                left -= 1;
            }
            Event::Stopped(_, fault) | Event::Failed(fault) => panic!("{fault}"),
            Event::Idle => std::thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
    }
    all
}

#[test]
fn each_feed_gives_its_partitions_and_one_that_is_not_polled_holds_no_other_up() {
    let broker = MockBroker::start(&[("t", 4)]).unwrap();
    (0..4).for_each(|partition| fill(&broker, partition, 0..100));
    let (consumer, woken) = open(&broker);
    consumer.start(&(0..4).map(|partition| (tp(partition), 10)).collect::<Vec<_>>()).unwrap();

    let odd = read(&consumer, 1, 180);
    let even = read(&consumer, 0, 180);

    let rest: Vec<i64> = (10..100).collect();
    assert_eq!(odd, BTreeMap::from([(1, rest.clone()), (3, rest.clone())]));
    assert_eq!(even, BTreeMap::from([(0, rest.clone()), (2, rest)]));
    assert!(woken.load(Ordering::SeqCst) > 0, "nobody was woken");
}

#[test]
fn a_partition_keeps_its_feed_however_often_it_is_moved_paused_or_given_back() {
    let broker = MockBroker::start(&[("t", 4)]).unwrap();
    (0..4).for_each(|partition| fill(&broker, partition, 0..50));
    let (consumer, _woken) = open(&broker);
    consumer.start(&[(tp(0), 0)]).unwrap();
    for round in 0..20 {
        let from = round % 7;
        consumer.restart(&[(tp(0), from)]).unwrap();
        // What was fetched before the move is not given any more.
        assert_eq!(read(&consumer, 0, 3)[&0], [from, from + 1, from + 2]);
        if round % 3 == 0 {
            consumer.pause(&[tp(0)]).unwrap();
        }
    }
    consumer.unassign(&[tp(0)]).unwrap();
    consumer.assign_paused(&[tp(0)]).unwrap();
    consumer.start(&[(tp(0), 40)]).unwrap();
    assert_eq!(read(&consumer, 0, 10)[&0], (40..50).collect::<Vec<_>>());
}

/// Records were taken out of the queue already, and librdkafka takes them for polled.
#[test]
fn a_pause_between_two_records_loses_and_repeats_nothing() {
    let broker = MockBroker::start(&[("t", 4)]).unwrap();
    [0, 2].into_iter().for_each(|partition| fill(&broker, partition, 0..100));
    let (consumer, _woken) = open(&broker);
    consumer.start(&[(tp(0), 0)]).unwrap();
    assert_eq!(read(&consumer, 0, 5)[&0], (0..5).collect::<Vec<_>>());
    consumer.pause(&[tp(0)]).unwrap();
    consumer.start(&[(tp(2), 0)]).unwrap();

    // Another partition of the feed goes on alone.
    assert_eq!(read(&consumer, 0, 100), BTreeMap::from([(2, (0..100).collect())]));
    consumer.resume(&[tp(0)]).unwrap();

    assert_eq!(read(&consumer, 0, 95), BTreeMap::from([(0, (5..100).collect())]));
}

#[test]
fn what_was_taken_of_a_partition_that_is_moved_or_given_up_is_not_polled() {
    let broker = MockBroker::start(&[("t", 4)]).unwrap();
    [0, 2].into_iter().for_each(|partition| fill(&broker, partition, 0..100));
    let (consumer, _woken) = open(&broker);
    consumer.start(&[(tp(0), 0)]).unwrap();
    read(&consumer, 0, 5);
    consumer.seek(&[(tp(0), 2)]).unwrap();
    assert_eq!(read(&consumer, 0, 3)[&0], [2, 3, 4]);
    consumer.seek(&[(tp(0), 90)]).unwrap();
    assert_eq!(read(&consumer, 0, 3)[&0], [90, 91, 92]);

    consumer.unassign(&[tp(0)]).unwrap();
    consumer.start(&[(tp(2), 50)]).unwrap();

    assert_eq!(read(&consumer, 0, 50), BTreeMap::from([(2, (50..100).collect())]));
}

#[test]
fn a_record_that_comes_to_an_empty_feed_wakes() {
    let broker = MockBroker::start(&[("t", 4)]).unwrap();
    let (consumer, woken) = open(&broker);
    consumer.start(&[(tp(3), 0)]).unwrap();
    let end = Instant::now() + PATIENCE;
    // The end of the log comes first.
    while !matches!(consumer.poll_feed(1), Event::End(_, 0)) {
        assert!(Instant::now() < end, "the end did not come");
    }
    let mut heard = woken.load(Ordering::SeqCst);
    fill(&broker, 3, 0..1);
    // The feed is looked at when somebody was woken and never else.
    loop {
        assert!(Instant::now() < end, "the record woke nobody");
        if std::mem::replace(&mut heard, woken.load(Ordering::SeqCst)) == heard {
            std::thread::sleep(Duration::from_millis(1));
        } else if matches!(consumer.poll_feed(1), Event::Record(_)) {
            break;
        }
    }
}

#[test]
fn a_limit_of_the_users_own_for_large_records_is_taken() {
    let mut settings = kafka("localhost:1", "g");
    settings.properties.insert("message.max.bytes".into(), "200000000".to_owned().into());
    settings.properties.insert("receive.message.max.bytes".into(), "300000000".to_owned().into());
    Consumer::open_fed(&settings, "test", 4, || {}).unwrap();
}
