//! Records that can never be applied: each code is provoked, parked with its coordinates, and no value is told.

use crate::records::{key, key_of, raw, row, value};
use crate::rig::Rig;
use crate::worker::eventually;
use serde_json::json;
use silversink::record::OwnedRecord;

const TOPIC: &str = "shop.public.orders";
const CANARY: &str = "canary-of-row";

const TABLE: &str = "CREATE SCHEMA silver; CREATE TABLE silver.orders (id int PRIMARY KEY, name varchar(40) CHECK (name <> 'canary-of-row'))";

/// A record for each code, with what its reason has to name.
fn poison() -> Vec<(&'static str, &'static str, OwnedRecord)> {
    let bytes = |value: Vec<u8>| raw(TOPIC, Some(key(7)), Some(value));
    let named = |name: &str| bytes(value(7, name));
    let no_type = json!({
        "schema": {"type": "struct", "fields": [{"field": "id", "type": "int7"}], "optional": false},
        "payload": {"id": 7, "name": CANARY},
    });
    let no_after = json!({
        "before": null, "after": null, "op": "u", "ts_ms": 1, "note": CANARY,
        "source": {"connector": "postgresql", "name": "shop", "ts_ms": 1, "lsn": 9},
    });
    vec![
        ("undecodable", "", bytes(format!("{{\"name\":{CANARY}").into_bytes())),
        ("unknown_magic_byte", "", bytes([&[0x7f], CANARY.as_bytes()].concat())),
        ("schema_unusable", "", bytes(no_type.to_string().into_bytes())),
        ("key_missing", "", raw(TOPIC, None, Some(value(7, CANARY)))),
        ("envelope_invalid", "after", bytes(no_after.to_string().into_bytes())),
        ("value_out_of_range", "name", named(&CANARY.repeat(5))),
        ("nul_character", "name", named("canary-of-row\0")),
        ("constraint_violation", "orders_name_check", named(CANARY)),
        (
            // A key of its own: it would be folded with the row before it, and refused with that.
            "unchanged_without_base",
            "silver.orders",
            raw(TOPIC, Some(key(8)), Some(value(8, "__debezium_unavailable_value"))),
        ),
    ]
}

#[test]
fn every_code_of_a_dead_letter_is_told_with_coordinates_and_without_values() {
    let rig = Rig::new(&[TOPIC]);
    rig.execute(TABLE);
    rig.broker.produce(&[row(TOPIC, 1, "a")]).unwrap();
    for (_, _, record) in poison() {
        rig.broker.produce(&[record]).unwrap();
    }
    rig.broker.produce(&[row(TOPIC, 2, "b")]).unwrap();

    let mut worker = rig.catch_up();

    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    assert!(!worker.output().contains("canary"), "{}", worker.output());
    let letters = rig.rows(
        "SELECT code, reason, \"offset\", topic, fingerprint FROM silversink.dead_letter ORDER BY \"offset\"",
    );
    let mut lines = worker.said("dead-lettering a record");
    lines.sort_by_key(|line| line["offset"].as_i64());
    // Those before one that PostgreSQL refused are read again with it.
    lines.dedup_by_key(|line| line["offset"].as_i64());
    assert_eq!(letters.len(), poison().len(), "{letters:?}");
    for (at, (code, names, _)) in poison().into_iter().enumerate() {
        let letter = letters[at].iter().map(|v| v.clone().unwrap_or_default()).collect::<Vec<_>>();
        let offset = (at + 1).to_string();
        assert_eq!([&*letter[0], &letter[2], &letter[3]], [code, &offset, TOPIC], "{letter:?}");
        assert!(letter[4].contains("silver.orders"), "{letter:?}");
        assert!(letter[1].contains(names) && !letter[1].contains("canary"), "{letter:?}");
        assert_eq!(
            (&lines[at]["code"], &lines[at]["table"]),
            (&json!(code), &json!("silver.orders"))
        );
        assert_eq!((&lines[at]["topic"], &lines[at]["offset"]), (&json!(TOPIC), &json!(at + 1)));
    }
    assert_eq!(rig.ask("SELECT string_agg(name, '' ORDER BY id) FROM silver.orders"), "ab");
    // Every other one has a key, so what comes behind it is guarded.
    let unguarded = worker.said("no hole guards the row");
    let at = |line: &serde_json::Value| (line["topic"].clone(), line["offset"].clone());
    assert!(unguarded.iter().all(|line| at(line) == (json!(TOPIC), json!(4))), "{unguarded:?}");
    assert_eq!(unguarded[0]["code"], "dead_letter_unguarded");
    assert_eq!(rig.ask("SELECT count(DISTINCT key) FROM silversink.hole"), "2");
}

#[test]
fn a_dead_letter_that_nothing_guards_is_told_and_counted() {
    // Without a table there is no row that could be stale.
    let other = "shop.public.later";
    let rig = Rig::new(&[TOPIC, other]);
    rig.execute(TABLE);
    let broken = |key: &[u8]| raw(TOPIC, Some(key.to_vec()), Some(b"{no json".to_vec()));
    let unfit = key_of("number", 7);
    let letters = [broken(b"{no json"), broken(&unfit), broken(&key(7))];
    rig.broker.produce(&letters).unwrap();
    rig.broker.produce(&[raw(other, Some(key(7)), Some(b"{no json".to_vec()))]).unwrap();

    let mut worker = rig.worker();

    let counted = "silversink_dlq_unguarded_total{table=\"silver.orders\"} 2";
    eventually(counted, || worker.get("/metrics").filter(|(_, text)| text.contains(counted)));
    rig.until("SELECT count(*) FROM silversink.dead_letter", "4");
    let lines = worker.said("no hole guards the row");
    let told = |line: &serde_json::Value| {
        let why = line["message"].as_str().unwrap().contains("does not fit");
        (line["code"].clone(), line["table"].clone(), line["offset"].clone(), why)
    };
    let code = json!("dead_letter_unguarded");
    let expected = [(0, false), (1, true)]
        .map(|(offset, unfit)| (code.clone(), json!("silver.orders"), json!(offset), unfit));
    assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(rig.ask("SELECT count(*) FROM silversink.hole"), "1");
    assert!(
        worker.get("/metrics").unwrap().1.contains("_unguarded_total{table=\"silver.later\"} 0")
    );
    worker.stop();
}

#[test]
fn too_many_dead_letters_stop_the_lane_until_a_restart() {
    let mut rig = Rig::new(&[TOPIC]);
    rig.dlq = false;
    rig.extra = "[dlq]\ntopic = \"parked\"\nmax_per_minute = 2".to_owned();
    rig.broker.produce(&[row(TOPIC, 1, "a")]).unwrap();
    let broken = raw(TOPIC, Some(key(7)), Some(b"{no json".to_vec()));
    rig.broker.produce(&vec![broken; 4]).unwrap();

    let mut worker = rig.worker();

    let line = worker.says("lane stopped");
    assert_eq!(line["code"], "dead_letter_flood");
    assert!(line["hint"].as_str().unwrap().contains("then restart"), "{line}");
    worker.unready_because("silver.orders: stopped [dead_letter_flood]");
    // Five times as long as a stopped lane waits before it looks again.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert!(worker.said("lane goes on").is_empty(), "{}", worker.output());
    worker.stop();
}

#[test]
fn an_op_that_is_not_known_stops_the_lane_and_the_record_is_named() {
    let rig = Rig::new(&[TOPIC]);
    rig.execute(TABLE);
    let unknown = json!({
        "before": null, "after": {"id": 2, "name": CANARY}, "op": "x", "ts_ms": 1,
        "source": {"connector": "postgresql", "name": "shop", "ts_ms": 1, "lsn": 9},
    });
    let unknown = raw(TOPIC, Some(key(2)), Some(unknown.to_string().into_bytes()));
    rig.broker.produce(&[row(TOPIC, 1, "a"), unknown]).unwrap();

    let mut worker = rig.worker();

    let line = worker.says("lane stopped");
    assert_eq!((&line["code"], &line["table"]), (&json!("op_unknown"), &json!("silver.orders")));
    assert!(line["message"].as_str().unwrap().contains("shop.public.orders-0@1"), "{line}");
    // What the hint says for a single stray record.
    worker.stop();
    rig.execute("UPDATE silversink.position SET next_offset = 2");
    rig.broker.produce(&[row(TOPIC, 3, "c")]).unwrap();
    let mut worker = rig.catch_up();
    assert_eq!(worker.exit().code(), Some(0), "{}", worker.output());
    assert_eq!(rig.ask("SELECT string_agg(name, '' ORDER BY id) FROM silver.orders"), "ac");
    assert!(!worker.output().contains(CANARY));
}
