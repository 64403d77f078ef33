//! Topics that are missing, that have no key, or that are no table data.

use crate::records::{key, raw, row, value};
use crate::rig::Rig;
use crate::worker::eventually;
use serde_json::json;

const TOPIC: &str = "shop.public.orders";

#[test]
fn a_missing_topic_is_named_with_its_neighbour_and_read_as_soon_as_it_is_there() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.routes = vec![("shop.public.order".to_owned(), "silver.orders".to_owned())];

    let mut worker = rig.worker();
    let line = worker.says("no topic matches yet");
    assert_eq!(line["topics"], "shop.public.order");
    assert_eq!(line["nearest"], TOPIC);
    rig.broker.create_topic("shop.public.order", 1).unwrap();
    rig.broker.produce(&[row("shop.public.order", 1, "a")]).unwrap();

    rig.until("SELECT count(*) FROM pg_tables WHERE schemaname = 'silver'", "1");
    rig.until("SELECT count(*) FROM silver.orders", "1");
    assert_eq!(worker.said("no topic matches").len(), 1);
    worker.stop();
}

#[test]
fn a_missing_topic_ends_a_run_that_is_to_catch_up() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.routes = vec![("shop.public.order".to_owned(), "silver.orders".to_owned())];

    let mut worker = rig.catch_up();

    assert_eq!(worker.exit().code(), Some(78), "{}", worker.output());
    println!("{}", worker.output());
    assert!(
        worker.output().contains("error: [configuration] no topic matches \"shop.public.order\"")
    );
    assert!(worker.output().contains("help: did you mean \"shop.public.orders\"?"));
}

#[test]
fn a_topic_without_keys_stops_its_lane_and_parks_nothing() {
    let other = "shop.public.customers";
    let rig = Rig::new(&[TOPIC, other]);
    let keyless: Vec<_> = (0..5).map(|i| raw(TOPIC, None, Some(value(i, "a")))).collect();
    rig.broker.produce(&keyless).unwrap();
    rig.broker.produce(&[row(other, 1, "a")]).unwrap();

    // Without a table nobody knows its primary key; with one, nobody knows the row's.
    let mut worker = rig.worker();
    let line = worker.says("lane stopped");
    assert_eq!(
        (line["code"].as_str(), line["table"].as_str()),
        (Some("key_missing"), Some("silver.orders"))
    );
    rig.execute("CREATE SCHEMA IF NOT EXISTS silver; CREATE TABLE silver.orders (id int PRIMARY KEY, name text)");
    let line = worker.says("shop.public.orders-0@0 has no key");
    assert!(line["hint"].as_str().unwrap().contains("message.key.columns"), "{line}");

    worker.unready_because("silver.orders: stopped [key_missing]");
    rig.until("SELECT count(*) FROM silver.customers", "1");
    assert_eq!(rig.state(TOPIC), "stopped key_missing");
    assert_eq!(rig.ask("SELECT count(*) FROM silversink.dead_letter"), "0");
    worker.stop();
}

#[test]
fn a_topic_without_keys_lands_when_the_key_columns_are_named() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.extra = "[table.\"silver.orders\"]\nkey = [\"id\"]".to_owned();
    rig.broker.produce(&[raw(TOPIC, None, Some(value(1, "a")))]).unwrap();

    let mut worker = rig.catch_up();

    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    assert_eq!(rig.ask("SELECT id || name FROM silver.orders"), "1a");
}

#[test]
fn one_record_without_a_key_among_others_becomes_a_dead_letter_even_after_a_restart() {
    let rig = Rig::new(&[TOPIC]);
    let stray = raw(TOPIC, None, Some(value(2, "b")));
    rig.broker.produce(&[row(TOPIC, 1, "a"), stray.clone(), row(TOPIC, 3, "c")]).unwrap();
    let mut worker = rig.catch_up();
    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    rig.broker.produce(&[stray, row(TOPIC, 4, "d")]).unwrap();

    let mut worker = rig.catch_up();
    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());

    let letters = "SELECT string_agg(code || \"offset\", ' ' ORDER BY \"offset\") FROM silversink.dead_letter";
    assert_eq!(rig.ask(letters), "key_missing1 key_missing3");
    assert_eq!(rig.ask("SELECT string_agg(name, '' ORDER BY id) FROM silver.orders"), "acd");
}

#[test]
fn heartbeats_and_transaction_metadata_on_a_routed_topic_are_skipped() {
    let rig = Rig::new(&[TOPIC]);
    let json = |value: serde_json::Value| Some(value.to_string().into_bytes());
    let heartbeat = raw(TOPIC, json(json!({"serverName": "shop"})), json(json!({"ts_ms": 1})));
    let transaction = raw(
        TOPIC,
        json(json!({"id": "1:2"})),
        json(
            json!({"status": "BEGIN", "id": "1:2", "event_count": null, "data_collections": null, "ts_ms": 1}),
        ),
    );
    rig.broker.produce(&[heartbeat, transaction, row(TOPIC, 1, "a")]).unwrap();

    let mut worker = rig.worker();

    rig.until("SELECT count(*) FROM pg_tables WHERE schemaname = 'silver'", "1");
    let counts = "SELECT concat_ws(' ', next_offset, applied, skipped, dead_lettered) FROM silversink.position";
    rig.until(counts, "3 1 2 0");
    for rule in ["heartbeat", "transaction"] {
        let line = format!(
            "silversink_skipped_records_total{{table=\"silver.orders\",rule=\"{rule}\"}} 1"
        );
        eventually(&line, || worker.get("/metrics").filter(|(_, text)| text.contains(&line)));
    }
    let skipped = "silversink_records_total{table=\"silver.orders\",outcome=\"skipped\"} 2";
    assert!(worker.get("/metrics").unwrap().1.contains(skipped));
    worker.stop();
}

#[test]
fn a_record_above_the_limit_becomes_a_dead_letter() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.limits = "record_bytes = \"2KiB\"".to_owned();
    let large = raw(TOPIC, Some(key(2)), Some(value(2, &"x".repeat(5_000))));
    rig.broker.produce(&[row(TOPIC, 1, "a"), large, row(TOPIC, 3, "c")]).unwrap();

    let mut worker = rig.catch_up();

    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    let line = worker.says("dead-lettering a record");
    assert_eq!(
        (line["code"].as_str(), line["offset"].as_i64()),
        (Some("record_too_large"), Some(1))
    );
    assert!(!worker.output().contains("xxxx"));
    assert_eq!(
        rig.ask("SELECT string_agg(code, ',') FROM silversink.dead_letter"),
        "record_too_large"
    );
    assert_eq!(rig.ask("SELECT count(*) FROM silver.orders"), "2");
}

#[test]
fn poison_without_a_dead_letter_topic_stops_the_lane_and_what_came_before_it_lands() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.dlq = false;
    let poison = raw(TOPIC, Some(key(3)), Some(b"{no json".to_vec()));
    rig.broker
        .produce(&[row(TOPIC, 1, "a"), row(TOPIC, 2, "b"), poison, row(TOPIC, 4, "d")])
        .unwrap();

    let mut worker = rig.worker();

    let line = worker.says("lane stopped");
    assert_eq!(line["code"], "dead_letter_topic_missing");
    assert!(line["message"].as_str().unwrap().contains("shop.public.orders-0@2"), "{line}");
    worker.unready_because("silver.orders: stopped [dead_letter_topic_missing]");
    assert_eq!(rig.ask("SELECT string_agg(name, '' ORDER BY id) FROM silver.orders"), "ab");
    assert_eq!(rig.ask("SELECT next_offset FROM silversink.position"), "2");
    rig.until(
        "SELECT concat_ws(' ', state, reason) FROM silversink.position",
        "stopped dead_letter_topic_missing",
    );
    assert!(worker.said("lane goes on").is_empty(), "{}", worker.output());
    worker.stop();
}
