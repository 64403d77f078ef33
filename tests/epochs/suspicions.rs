//! What a topic cannot tell is said by the worker, with coordinates and the cure.

use crate::rig::Rig;
use serde_json::Value;
use silversink::demo::capture::Capture;

/// The lines of a run with this code.
fn lines(rig: &Rig, code: &str) -> Vec<Value> {
    let (_, text) = rig.says(&["run", "--until-caught-up"]);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["code"] == code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_exchanged_rows_are_told_once_and_without_a_value() {
    let capture = Capture::open("testdata/debezium/key-swap").unwrap();
    let topic = "hall.public.seats";
    let mut rig = Rig::of(&capture, topic, 1);
    rig.extra = "[limits]\nbatch_rows = 7\n".to_owned();
    rig.produce(&capture.records("avro").unwrap());

    let told = lines(&rig, "keys_exchanged");

    let mut offsets: Vec<i64> = told.iter().map(|line| line["offset"].as_i64().unwrap()).collect();
    offsets.sort_unstable();
    // Keys 4, 6, 7 and 22 to 30.
    assert_eq!(offsets, [42, 48, 51, 57, 60, 63, 66, 69, 72, 75, 78, 81]);
    for line in &told {
        assert_eq!((&line["level"], &line["certain"]), (&"WARN".into(), &true.into()));
        assert_eq!((&line["table"], &line["topic"]), (&"silver.seats".into(), &topic.into()));
        assert!(line["hint"].as_str().unwrap().contains("incremental snapshot"), "{line}");
        assert!(!line.to_string().contains("guest"), "{line}");
    }
    rig.rewind();
    assert_eq!(lines(&rig, "keys_exchanged"), [] as [Value; 0], "a replay");
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_in_doubt_are_told_once_for_each_schema() {
    let capture = Capture::open("testdata/debezium/toast").unwrap();
    let told_of = |table: &str| {
        let topic = format!("cms.public.{table}");
        let rig = Rig::of(&capture, &topic, 1);
        let mut records = capture.records("avro").unwrap();
        records.retain(|record| record.at.topic == topic);
        rig.produce(&records);
        lines(&rig, "null_in_doubt")
    };

    let told = told_of("docs_default");

    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["table"], "silver.docs_default");
    let columns = told[0]["columns"].as_str().unwrap();
    assert!(["flags", "prices", "huge"].iter().all(|name| columns.contains(name)), "{columns}");
    assert!(!columns.contains("tags") && !columns.contains("body"), "{columns}");
    assert!(told[0]["hint"].as_str().unwrap().contains("replica identity"), "{told:?}");
    assert_eq!(told_of("docs_full"), [] as [Value; 0]);
}
