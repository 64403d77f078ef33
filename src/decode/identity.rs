//! What a delete tells under the source table's replica identity: keys that Debezium had to invent, old images that are whole.
//!
//! A key is invented when the replica identity is an index that is not the primary key.
//!
//! PostgreSQL then sends the index's columns of the old row and nothing else. Debezium fills the key that it does not know with
//! the type's default, so every delete reads as one of row 0: rows that are gone stay live, and a real row 0 would be deleted.
//!
//! # Decisions
//! - The sign is a key of nothing but defaults beside an old image that has a value outside the key and lacks another. A real row
//!   0 under replica identity full can look the same when it holds NULLs, but there every update brings its old image; under an
//!   index none does. An update of the topic therefore settles it, and without one the lane stops: a person can look.

use super::plan::{Source, TablePlan};
use super::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};

/// What a topic's updates have told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Identity {
    /// The last update brought its old image.
    full: bool,
}

impl Identity {
    /// An update has come, with or without its old image.
    pub fn updated(&mut self, has_before: bool) {
        self.full = has_before;
    }

    /// Whether the old image of a delete is that of the whole row.
    pub fn is_full(self, table: &TablePlan, row: &[Slot<'_>], scratch: &Scratch) -> bool {
        let mut others = table.columns.iter().filter_map(|source| match source {
            Source::Row(reading) => row.get(reading.slot),
            _ => None,
        });
        let given = |slot: &Slot<'_>| {
            !matches!(slot, Slot::Null | Slot::Absent)
                && !is_default(slot, scratch)
                && !scratch.text(slot).is_some_and(reads_as_default)
        };
        self.full || others.clone().next().is_none() || others.any(given)
    }

    /// Whether a delete of this key has to be looked at.
    pub fn suspects(self, key: &[Slot<'_>], scratch: &Scratch) -> bool {
        !self.full && !key.is_empty() && key.iter().all(|slot| is_default(slot, scratch))
    }
}

/// Whether an old image has some columns outside the key and lacks others.
pub(super) fn is_partial(table: &TablePlan, row: &[Slot<'_>], scratch: &Scratch) -> bool {
    let (mut some, mut lacks) = (false, false);
    for source in &table.columns {
        if let Source::Row(reading) = source
            && let Some(slot) = row.get(reading.slot)
        {
            let empty = matches!(slot, Slot::Null | Slot::Absent) || is_default(slot, scratch);
            some |= !empty;
            lacks |= empty;
        }
    }
    some && lacks
}

/// The fault of such a delete.
pub(super) fn fault(table: &TablePlan) -> Fault {
    Fault::blocked(
        Code::ReplicaIdentity,
        format!(
            "a delete for {} has a key of defaults and an old image of a few columns: the source table's replica identity is an index that is not its primary key, so the row that it means is not known",
            table.shape.table
        ),
        "set the replica identity of the source table to default or full and take a new snapshot, or name the index's columns under [table.\"schema.name\"] key; if the row is real, stop the worker, mark it by hand, and set next_offset behind the record in silversink.position",
    )
}

/// Whether a text may be the default of some type in some mode: JSON has decimals in base64 or in digits, and times as texts.
fn reads_as_default(text: &str) -> bool {
    let made_of = |characters: &str| text.chars().all(|c| characters.contains(c));
    made_of("A=") || made_of("0.:-TZ") || made_of("{}[] ") || text.starts_with("1970-01-01")
}

/// What Debezium puts where a NOT NULL column has no value: zero, nothing, false (`JdbcValueConverters`).
fn is_default(slot: &Slot<'_>, scratch: &Scratch) -> bool {
    match slot {
        Slot::Int(0) | Slot::Unsigned(0) | Slot::Bool(false) => true,
        Slot::Float(value) => *value == 0.0,
        Slot::Double(value) => *value == 0.0,
        Slot::Bytes(bytes) => bytes.iter().all(|byte| *byte == 0),
        Slot::Text(_) | Slot::Unescaped { .. } => scratch.text(slot) == Some(""),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_types_that_are_texts_in_json_are_known() {
        for default in ["", "AA==", "0", "0.00", "00:00:00Z", "1970-01-01T00:00:00Z", "{}"] {
            assert!(reads_as_default(default), "{default:?}");
        }
        for value in ["B", "10", "CzSy", "2026-11-21", "{\"a\":0}"] {
            assert!(!reads_as_default(value), "{value:?}");
        }
    }
}
