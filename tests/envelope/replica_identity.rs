//! What each replica identity of PostgreSQL lets Silver know: default, full, nothing, and an index that is not the key.

use crate::made::{change, fields, source};
use crate::rig::Rig;
use serde_json::{Value, json};
use silversink::demo::capture::{Capture, TableTruth};
use silversink::fault::Code;
use silversink::record::OwnedRecord;

fn capture() -> Capture {
    Capture::open("testdata/debezium/toast").unwrap()
}

fn of_table(form: &str, table: &str) -> (Vec<OwnedRecord>, String) {
    let topic = format!("cms.public.{table}");
    let mut records = capture().records(form).unwrap();
    records.retain(|record| record.at.topic == topic);
    (records, format!("[[route]]\ntopics = \"{topic}\"\ntable = \"silver.docs\"\n"))
}

fn truth(table: &str) -> TableTruth {
    capture().truth().unwrap().into_iter().find(|truth| truth.name == table).unwrap()
}

#[test]
fn full_and_nothing_tell_every_row() {
    for table in ["docs_full", "docs_nothing"] {
        let (records, route) = of_table("avro", table);
        let rig = Rig::new(&records, &route).with_schemas(&capture().schemas("avro").unwrap());

        rig.run().unwrap();

        let mut truth = truth(table);
        // hstore lands as jsonb, and a numeric without a scale of its own comes without zeros at its end.
        truth.columns.retain(|column| !["props", "prices", "huge"].contains(&column.as_str()));
        rig.equals("silver.docs", &truth);
    }
}

#[test]
fn an_index_that_is_not_the_key_stops_the_lane_at_the_first_delete() {
    for form in ["avro", "json"] {
        let (records, route) = of_table(form, "docs_index");
        let first = records.iter().position(|r| r.key.as_ref().is_some_and(|k| is_zero(form, k)));
        let schemas = match form {
            "avro" => capture().schemas("avro").unwrap(),
            _ => std::collections::BTreeMap::new(),
        };
        let rig = Rig::new(&records, &route).with_schemas(&schemas);

        rig.stops(Code::ReplicaIdentity);

        assert_eq!(rig.list("next_offset", "silversink.position"), first.unwrap().to_string());
        assert_eq!(rig.list("count(*)", "silver.docs WHERE id = 0"), "0");

        // The hint's other way: the index's column as key.
        let by_code = format!("{route}[table.\"silver.docs\"]\nkey = [\"code\"]\n");
        let rig = Rig::new(&records, &by_code).with_schemas(&schemas);
        rig.run().unwrap();
        let live = rig.list("code", "silver.docs WHERE _deleted_at IS NULL");
        let mut codes: Vec<String> =
            truth("docs_index").rows.iter().map(|row| row["code"].clone().unwrap()).collect();
        // Its large values were not sent when its code changed, and the row that has them is another one now (I9).
        codes.retain(|code| code != "c-16-b");
        codes.sort();
        assert_eq!(live, codes.join(", "));
        assert_eq!(rig.list("code", "silversink.dead_letter"), "unchanged_without_base");
    }
}

fn is_zero(form: &str, key: &[u8]) -> bool {
    match form {
        "avro" => key.get(5..) == Some(&[0]),
        _ => serde_json::from_slice::<Value>(key).unwrap()["payload"]["id"] == 0,
    }
}

/// Deletes of a real row 0, with images as each replica identity has them.
#[test]
fn a_real_row_of_key_zero_is_deleted() {
    let columns = fields(&[("id", "int32"), ("name", "string"), ("note", "string")]);
    let key_fields = fields(&[("id", "int32")]);
    let event = |op: &str, image: Value, position: u64| {
        let id = json!({"id": 0});
        change("docs", (&key_fields, &id), &columns, op, &image, &source("docs", position))
    };
    let created = event("c", json!({"id": 0, "name": "a", "note": null}), 1);
    let of_default = event("d", json!({"id": 0, "name": null, "note": null}), 2);
    let of_full = event("d", json!({"id": 0, "name": "a", "note": null}), 2);
    let mut update = event("u", json!({"id": 0, "name": "a", "note": null}), 2);
    let mut with_before: Value = serde_json::from_slice(update.value.as_ref().unwrap()).unwrap();
    with_before["payload"]["before"] = with_before["payload"]["after"].clone();
    update.value = Some(with_before.to_string().into_bytes());
    let route = "[[route]]\ntopics = \"docs\"\ntable = \"silver.docs\"\n";
    for records in
        [vec![created.clone(), of_default], vec![created.clone(), update, of_full.clone()]]
    {
        let rig = Rig::new(&records, route);
        rig.run().unwrap();
        assert_eq!(rig.list("id, _deleted_at IS NULL", "silver.docs"), "0 f");
    }
    // Nothing tells it from an index on `name`: a person has to look.
    Rig::new(&[created, of_full], route).stops(Code::ReplicaIdentity);
}
