//! NULLs that may stand for unchanged values are noticed where a column's type has no placeholder.

use crate::log::What;
use crate::rig::Rig;
use crate::scenarios;
use std::collections::BTreeSet;

/// Columns without a placeholder, as far as schemas tell; `parts` and `raw` are texts on the wire.
const COLUMNS: [&str; 3] = ["flags", "prices", "huge"];

/// The capture `toast`: each row that lost such a value was updated by a record that was in doubt, and under replica identity
/// full there is no doubt.
pub async fn nulls() {
    for encoding in ["avro", "json", "json-plain", "hex-json"] {
        let types = match scenarios::is_schemaless("toast", encoding) {
            true => Some(Rig::open("toast", "avro", None).await.column_types()),
            false => None,
        };
        let mut rig = Rig::open("toast", encoding, types.as_ref()).await;
        let in_doubt = |table: &str| -> BTreeSet<i32> {
            let lane = rig.lanes.iter().position(|lane| lane.table.name == table).unwrap();
            let changes = rig.items.iter().filter(|item| item.lane == lane);
            let key = |what: &What| match what {
                What::Change(change) if change.null_in_doubt => {
                    Some(i32::from_be_bytes(change.key[4..].try_into().unwrap()))
                }
                _ => None,
            };
            changes.filter_map(|item| key(&item.what)).collect()
        };
        let doubted = in_doubt("docs_default");
        let differences = rig.judge.differences(&rig.silver.readback).await;
        let mut lost = 0;
        for column in COLUMNS {
            let group = format!("docs_default.{column}: is NULL, should not be");
            for line in differences.iter().filter(|line| line.group == group) {
                let id: i32 = line.key.strip_prefix("id=").unwrap().parse().unwrap();
                // Row 115 was row 15: the change of its key created it so.
                assert!(doubted.contains(&id) || id == 115, "{encoding}: {column} of {id}");
                lost += 1;
            }
        }
        assert!(lost >= 14, "{encoding}: {lost}");
        assert_eq!(in_doubt("docs_full"), BTreeSet::new(), "{encoding}");
    }
}
