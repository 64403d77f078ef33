//! Truncates of tables that are too large for one statement.
//!
//! # Decisions
//! - Up to [`AT_ONCE`] blocks rows are marked in the batch's own transaction: readers see the whole truncate at once. Beyond,
//!   or when that runs into `statement_timeout`, the floor is raised first, in a transaction of its own; from then on every
//!   batch of every worker stores what is below it as deleted. Then rows are marked range of blocks by range of blocks, and
//!   the batch itself comes last, with the position.
//! - Every step is safe to repeat and a repetition does only what is left, so neither a lost connection nor a time limit
//!   can make it start over for ever. Readers see the table empty bit by bit.
//! - Raising the floor is fenced. What follows is true of the log whoever does it.

use super::params::Ranges;
use super::sqlstate;
use super::writer::Writer;
use crate::batch::Truncate;
use crate::fault::{Class, Code, Fault};
use crate::sql::{floor, ledger};
use crate::table::TableShape;
use tokio_postgres::Error;
use tokio_postgres::types::Type;

/// Heap blocks that are marked in the batch's own transaction (256 MiB of them).
const AT_ONCE: i64 = 32_768;
/// Heap blocks that are marked in one step, to begin with; a step that takes too long is halved.
const STEP: i64 = 8_192;
/// SQLSTATE of a statement that ran into its time limit.
pub(super) const TIMED_OUT: &str = "57014";

impl Writer {
    /// Whether a table is too large to be marked in one statement. Errors leave the session as it is.
    pub(super) async fn is_large(&self, doing: &str, shape: &TableShape) -> Result<bool, Fault> {
        Ok(self.blocks(doing, shape).await? > AT_ONCE)
    }

    async fn blocks(&self, doing: &str, shape: &TableShape) -> Result<i64, Fault> {
        let sql = floor::blocks(&shape.table);
        let work = async { self.client.query_typed_one(&sql, &[]).await?.try_get(0) };
        self.limits.wait(doing, work).await?.map_err(|e: Error| sqlstate::fault(doing, &e))
    }

    /// Raises the floor and marks every live row below it, step by step, each committed.
    ///
    /// # Errors
    /// Fenced when a partition of the batch has another owner; whatever a step meets, with those before it done.
    pub(super) async fn truncate_ahead(
        &self,
        doing: &str,
        pipeline: &str,
        shape: &TableShape,
        ranges: &Ranges<'_>,
        truncate: &Truncate,
    ) -> Result<(), Fault> {
        let (version, at) = floor::literals(truncate);
        let raise = format!(
            "SELECT {}; {}; COMMIT",
            floor::lock_alone(&shape.table),
            floor::raise(&shape.table, &version, &at)
        );
        let owned = self.limits.wait(doing, self.hold_positions(pipeline, ranges)).await?;
        if owned.map_err(|e| sqlstate::fault(doing, &e))? != ranges.partitions.len() {
            self.rollback(doing).await?;
            let text = format!("{doing}: another worker owns a partition of the batch");
            return Err(Fault::new(Class::Fenced, Code::Fenced, text));
        }
        if let Err(error) = self.limits.wait(doing, self.client.batch_execute(&raise)).await? {
            self.rollback(doing).await?;
            return Err(sqlstate::fault(doing, &error));
        }
        let end = self.blocks(doing, shape).await?;
        let (mut from, mut step) = (0, STEP);
        while from < end {
            let to = end.min(from + step);
            let mark = format!(
                "SELECT {}; {}",
                floor::lock_alone(&shape.table),
                floor::mark(shape, &version, &at, Some((from, to)))
            );
            match self.limits.wait(doing, self.client.batch_execute(&mark)).await? {
                Ok(()) => from = to,
                Err(error) => {
                    let fault = sqlstate::fault(doing, &error);
                    if fault.sqlstate.as_deref() != Some(TIMED_OUT) || step == 1 {
                        return Err(fault);
                    }
                    step /= 2;
                }
            }
        }
        Ok(())
    }

    /// Begins a transaction and locks the positions that are ours; their number.
    async fn hold_positions(&self, pipeline: &str, ranges: &Ranges<'_>) -> Result<usize, Error> {
        self.client.batch_execute("BEGIN").await?;
        let rows = self
            .client
            .query_typed(
                ledger::HOLD_POSITIONS,
                &[
                    (&pipeline, Type::TEXT),
                    (&ranges.topics, Type::TEXT_ARRAY),
                    (&ranges.topic_ids, Type::UUID_ARRAY),
                    (&ranges.partitions, Type::INT4_ARRAY),
                    (&ranges.epochs, Type::INT8_ARRAY),
                ],
            )
            .await?;
        Ok(rows.len())
    }
}
