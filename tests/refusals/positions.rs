//! Positions that the log or the group contradicts: the partition stops, nothing is ever reset by itself.

use crate::records::{key, raw, row, value};
use crate::rig::Rig;
use crate::worker::Worker;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const TOPIC: &str = "shop.public.orders";
const OTHER: &str = "shop.public.customers";

/// A pipeline that has read two orders and a customer.
fn read_once() -> Rig {
    let rig = Rig::new(&[TOPIC, OTHER]);
    rig.broker.produce(&[row(TOPIC, 1, "a"), row(TOPIC, 2, "b"), row(OTHER, 1, "a")]).unwrap();
    let mut worker = rig.catch_up();
    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    rig
}

/// What `kafka-consumer-groups --reset-offsets` does: a commit without our marker. The group must not have had members: the
/// mock would take it for a zombie.
fn commit(rig: &Rig, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &rig.bootstrap)
        .set("group.id", rig.group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// The orders' partition is stopped and says so everywhere; the other one goes on; no position moved.
fn only_orders_stopped(rig: &Rig, code: &str, text: &str) -> Worker {
    let next_offset = || {
        let there = !rig.ask("SELECT to_regclass('silversink.position')").is_empty();
        let sql =
            format!("SELECT max(next_offset) FROM silversink.position WHERE topic = '{TOPIC}'");
        if there { rig.ask(&sql) } else { String::new() }
    };
    let before = next_offset();
    rig.broker.produce(&[row(OTHER, 2, "b")]).unwrap();

    let mut worker = rig.worker();

    let line = worker.says("partition stopped");
    assert_eq!((&line["code"], &line["topic"]), (&code.into(), &TOPIC.into()), "{line}");
    assert!(line["message"].as_str().unwrap().contains(text), "no `{text}` in {line}");
    assert!(line["hint"].is_string(), "{line}");
    worker.unready_because(&format!("stopped [{code}]"));
    rig.until("SELECT count(*) FROM pg_tables WHERE tablename = 'customers'", "1");
    rig.until("SELECT count(*) FROM silver.customers WHERE id = 2", "1");
    rig.until(
        &format!(
            "SELECT concat_ws(' ', state, reason) FROM silversink.position WHERE topic = '{TOPIC}'"
        ),
        &format!("stopped {code}"),
    );
    let metrics = worker.get("/metrics").unwrap().1;
    assert!(metrics.contains(&format!("code=\"{code}\"}} 1")), "{metrics}");
    assert_eq!(next_offset(), before);
    worker.stop();
    worker
}

#[test]
fn a_position_below_the_log_start_stops_the_partition() {
    let rig = read_once();
    // The mock keeps 5 MiB a partition: the oldest batches go.
    let large: Vec<_> = (10..20)
        .map(|id| raw(TOPIC, Some(key(id)), Some(value(id, &"x".repeat(900_000)))))
        .collect();
    for record in large {
        rig.broker.produce(&[record]).unwrap();
    }

    only_orders_stopped(&rig, "retention_gap", "position 2 is below the log start");

    let mut worker = rig.catch_up();
    assert_eq!(worker.exit().code(), Some(1), "{}", worker.output());
}

#[test]
fn a_position_beyond_the_log_end_stops_the_partition() {
    let rig = read_once();
    rig.execute(&format!("UPDATE silversink.position SET next_offset = 7 WHERE topic = '{TOPIC}'"));

    only_orders_stopped(&rig, "truncated", "7");
}

#[test]
fn a_group_offset_that_was_moved_forward_stops_the_partition() {
    let mut rig = read_once();
    rig.broker.produce(&[row(TOPIC, 3, "c"), row(TOPIC, 4, "d")]).unwrap();
    rig.group = "shop-moved";
    commit(&rig, 3);

    only_orders_stopped(&rig, "forward_reset_refused", "moved forward from 2 to 3");
    assert_eq!(rig.ask("SELECT count(*) FROM silver.orders"), "2");
}

#[test]
fn a_group_offset_without_a_position_stops_the_partition() {
    let rig = Rig::new(&[TOPIC, OTHER]);
    rig.broker.produce(&[row(TOPIC, 1, "a"), row(TOPIC, 2, "b")]).unwrap();
    commit(&rig, 1);

    only_orders_stopped(&rig, "kafka_offsets_without_position", "offset 1");
}

#[test]
fn a_destination_that_lost_its_positions_stops_the_partition() {
    let rig = read_once();
    rig.execute(&format!("DELETE FROM silversink.position WHERE topic = '{TOPIC}'"));

    only_orders_stopped(&rig, "destination_rewound", "our commit at 2");
}

#[test]
fn a_topic_that_was_created_again_stops_the_partition() {
    let rig = read_once();
    rig.execute(&format!(
        "UPDATE silversink.position SET topic_id = gen_random_uuid() WHERE topic = '{TOPIC}'"
    ));

    let mut worker = rig.worker();

    let line = worker.says("partition stopped");
    assert_eq!((&line["code"], &line["topic"]), (&"incarnation_changed".into(), &TOPIC.into()));
    assert!(line["hint"].as_str().unwrap().contains("epoch raise"), "{line}");
    worker.unready_because("stopped [incarnation_changed]");
    assert_eq!(rig.ask("SELECT count(*) FROM silver.orders"), "2");
    worker.stop();
}
