//! The captured truncates: whole tables, cascades, inside transactions, and without a key in one of three partitions.

use crate::rig::Rig;
use silversink::demo::capture::Capture;

#[test]
fn every_truncate_empties_what_came_before_it() {
    let capture = Capture::open("testdata/debezium/truncate").unwrap();
    for form in ["avro", "json", "avro-3-partitions"] {
        let route = "[[route]]\ntopics = '^store\\.public\\.(?<table>\\w+)$'\ntable = \"silver.${table}\"\n";
        let rig = Rig::new(&capture.records(form).unwrap(), route)
            .with_schemas(&capture.schemas(form).unwrap());

        rig.run().unwrap();

        for truth in capture.truth().unwrap() {
            rig.equals(&format!("silver.{}", truth.name), &truth);
        }
    }
}
