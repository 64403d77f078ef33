//! What topics cannot tell, said where the data shows a sign of it.

use crate::batch::Batch;
use crate::batch::exchange::Exchanged;
use crate::record::RawRecord;
use crate::table::TableName;
use crate::telemetry::metrics::TableMetrics;

/// Lines for one batch; the rest is one line with their number.
const LINES: usize = 20;

/// Tells of deletes that marked a row whose key the source still has; the batch is committed.
pub(super) fn tell_exchanged(
    table: &TableName,
    metrics: &TableMetrics,
    batch: &Batch,
    exchanged: &[Exchanged],
) {
    for Exchanged { range, offset, certain } in exchanged.iter().take(LINES) {
        let Some(range) = batch.ranges.get(usize::from(*range)) else { continue };
        let text = if *certain {
            "keys exchanged rows inside one transaction: this delete marked the row, and the source still has one of its key"
        } else {
            "keys may have exchanged rows inside one transaction: then this delete marked a row that the source still has"
        };
        tracing::warn!(
            code = "keys_exchanged",
            certain,
            %table,
            topic = range.topic,
            partition = range.partition,
            offset,
            hint = "the row stays marked until its next change: read it again by an incremental snapshot (signal execute-snapshot), and make the source's primary key not deferrable, or do not move rows onto living keys",
            "{text}"
        );
    }
    if let Some(more) = exchanged.len().checked_sub(LINES).filter(|more| *more > 0) {
        tracing::warn!(code = "keys_exchanged", %table, "and {more} more deletes of the same batch");
    }
    for certain in [true, false] {
        let deletes = exchanged.iter().filter(|found| found.certain == certain).count() as u64;
        if deletes > 0 {
            metrics.keys_exchanged(certain, deletes);
        }
    }
}

/// Updates of a lane with a NULL that may stand for an unchanged value.
#[derive(Debug, Default)]
pub(super) struct Nulls {
    /// Columns of the newest schema where that may be, separated by commas.
    columns: String,
    /// The columns that were told last.
    told: String,
    /// In the open batch.
    open: u64,
    /// In the sealed one.
    sealed: u64,
}

impl Nulls {
    /// A schema has these columns.
    pub(super) fn expect(&mut self, columns: &[&str]) {
        if !columns.is_empty() {
            self.columns = columns.join(", ");
        }
    }

    /// Counts one; says so once for each schema.
    pub(super) fn doubt(&mut self, table: &TableName, raw: &RawRecord<'_>) {
        self.open += 1;
        if self.told != self.columns {
            self.told.clone_from(&self.columns);
            tracing::warn!(
                code = "null_in_doubt",
                %table,
                topic = raw.topic,
                partition = raw.partition,
                offset = raw.offset,
                columns = self.columns,
                hint = "set the source table's replica identity to full; rows that have lost a value already come back by an incremental snapshot (signal execute-snapshot)",
                "an update brings NULL for a column whose large values, when they are unchanged, arrive as NULL too: NULL is written, and a value may be lost"
            );
        }
    }

    /// The open batch is forgotten; its records are read again.
    pub(super) fn discard(&mut self) {
        self.open = 0;
    }

    /// The open batch is sealed.
    pub(super) fn seal(&mut self) {
        self.sealed = std::mem::take(&mut self.open);
    }

    /// The sealed batch is committed: what it held.
    pub(super) fn settle(&mut self) -> u64 {
        std::mem::take(&mut self.sealed)
    }
}
