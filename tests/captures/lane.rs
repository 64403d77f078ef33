//! What workers work on, and what they count.

use silversink::table::{TableName, TableShape};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A lane of every worker: its table.
#[derive(Clone, Debug)]
pub struct Lane {
    pub table: TableName,
    pub topic: String,
    pub shape: Option<Arc<TableShape>>,
}

/// What happened since the beginning.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Rows that were inserted or changed.
    pub applied: u64,
    /// Records read, the repeated ones too.
    pub read: u64,
    pub batches: u64,
    /// Dead letters: topic, code, partition and offset.
    pub letters: BTreeSet<(String, &'static str, i32, i64)>,
    /// Deletes after which the source still has a row of the key: topic, key, captured offset, and whether that is certain.
    /// Each time that one is told.
    pub exchanged: Vec<(String, Vec<u8>, i64, bool)>,
}
