//! The captured shop with its schemas named in every other way: by GUID, in headers, by Apicurio's ids.

use crate::logs;
use crate::rig::{Rig, at_once};
use silversink::demo::capture::CapturedSchema;
use silversink::demo::registry::{DemoRegistry, GLOBAL_ID_ABOVE};
use silversink::record::OwnedRecord;
use std::collections::BTreeMap;

type Schemas = BTreeMap<u32, CapturedSchema>;

/// A way to name a schema: what replaces the first five bytes, and the header beside them.
#[derive(Clone, Copy, Debug)]
enum Way {
    GuidInFront,
    GuidInHeader,
    /// Every other record in a header, by Confluent's number.
    Mixed,
    ContentIdInHeader,
    GlobalIdOfEightBytes,
}

impl Way {
    fn registry_lines(self) -> &'static str {
        match self {
            Self::GuidInFront | Self::GuidInHeader | Self::Mixed => "",
            Self::ContentIdInHeader => "api = \"apicurio\"\n",
            Self::GlobalIdOfEightBytes => {
                "api = \"apicurio\"\nuse_id = \"globalId\"\nid_bytes = 8\n"
            }
        }
    }

    fn rename(self, record: &mut OwnedRecord, schemas: &Schemas) {
        let in_header = record.at.offset % 2 == 0;
        for (half, name) in [(&mut record.key, "key"), (&mut record.value, "value")] {
            let Some(bytes) = half else { continue };
            let datum = bytes.split_off(5);
            let id = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
            let guid = || [&[1][..], &DemoRegistry::guid(&schemas[&id].schema)].concat();
            let confluent = format!("__{name}_schema_id");
            let (front, header) = match self {
                Self::GuidInFront => (guid(), None),
                Self::GuidInHeader => (Vec::new(), Some((confluent, guid()))),
                Self::Mixed if in_header => (Vec::new(), Some((confluent, bytes.clone()))),
                Self::Mixed => (bytes.clone(), None),
                Self::ContentIdInHeader => {
                    let id = u64::from(id).to_be_bytes().to_vec();
                    (Vec::new(), Some((format!("apicurio.{name}.contentId"), id)))
                }
                Self::GlobalIdOfEightBytes => {
                    let id = u64::from(id + GLOBAL_ID_ABOVE).to_be_bytes();
                    ([&[0][..], &id].concat(), None)
                }
            };
            *bytes = [front, datum].concat();
            record.headers.extend(header.map(|(name, value)| (name, Some(value))));
        }
    }
}

async fn lands(way: Way) {
    let mut records = logs::AVRO.records();
    let mut rig = Rig::empty(logs::AVRO, 1).await;
    let schemas = rig.capture.schemas(logs::AVRO.directory).unwrap();
    for record in &mut records {
        way.rename(record, &schemas);
    }
    rig.produce(&records);
    rig.registry_lines = way.registry_lines().to_owned();

    rig.run().await.unwrap();

    println!("{way:?}");
    rig.assert_equal().await;
    rig.assert_tiled(records.len(), 0).await;
}

#[test]
fn the_shop_lands_whatever_names_its_schemas() {
    at_once(
        [
            Way::GuidInFront,
            Way::GuidInHeader,
            Way::Mixed,
            Way::ContentIdInHeader,
            Way::GlobalIdOfEightBytes,
        ],
        lands,
    );
}
