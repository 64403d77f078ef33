//! Dead letters and the holes that they leave.

use crate::log::{Decoded, Item, What, version_at};
use silversink::batch::DeadLetterRow;
use silversink::batch::holes::Holes;
use silversink::fault::Fault;
use silversink::record::Coordinates;
use silversink::version::Version;
use uuid::Uuid;

impl Item {
    /// Key and version of its row, if it has been decoded.
    pub fn row(&self, epoch: u32, offset: i64) -> Option<(Vec<u8>, Version)> {
        match &self.what {
            What::Change(change) => {
                Some((change.key.clone(), version_at(change.version, epoch, offset)))
            }
            _ => None,
        }
    }
}

/// Whether a partial row stands above a hole, so that what Silver holds is no base for it.
pub fn has_hole(holes: &Holes, change: &Decoded, version: Version) -> bool {
    let key = change.old_key.as_ref().unwrap_or(&change.key);
    change.needs_base && !holes.is_empty() && holes.covers(key, version)
}

/// The row that an acknowledged letter leaves in the destination.
pub fn dead_letter(
    topic: &str,
    partition: i32,
    offset: i64,
    fault: &Fault,
    row: Option<(Vec<u8>, Version)>,
) -> DeadLetterRow {
    let version = row.as_ref().map(|(_, version)| *version);
    DeadLetterRow {
        at: Coordinates { topic: topic.to_owned(), partition, offset },
        topic_id: Uuid::nil(),
        code: fault.code.as_str().to_owned(),
        fingerprint: fault.code.as_str().to_owned(),
        key: None,
        version,
        hole: row,
        reason: fault.text.clone(),
        sqlstate: fault.sqlstate.clone(),
        dlq_partition: 0,
        dlq_offset: 0,
    }
}
