//! Finding the rows of a batch that PostgreSQL refuses, by bisecting under a savepoint (P12). Writes nothing.

use super::copy::Frames;
use super::sqlstate;
use super::stages::{Stage, variant};
use super::writer::{Writer, explain, internal, send};
use crate::batch::Batch;
use crate::fault::{Class, Code, Fault};
use crate::sql::merge::Variant;
use crate::sql::stage::Width;
use crate::sql::{again, base, floor, merge};
use crate::table::TableShape;
use std::ops::Range;
use tokio_postgres::Error;

const TO_SAVEPOINT: &str = "ROLLBACK TO SAVEPOINT silversink_bisect";

/// What a stretch of rows met.
enum Verdict {
    /// Nothing, except that these rows have no base (I9).
    Accepted { without_base: Vec<usize> },
    /// At least one row is refused.
    Refused(Fault),
}

impl Writer {
    /// Every row of the batch that PostgreSQL refuses, with the reason, by row index and in order. Costs about `2 k log n`
    /// trials for `k` bad rows of `n`; each is rolled back at once, so no row stays locked between trials.
    ///
    /// # Errors
    /// Whatever is no property of a row: then nothing can be said about any of them.
    pub async fn isolate(
        &mut self,
        pipeline: &str,
        batch: &Batch,
    ) -> Result<Vec<(usize, Fault)>, Fault> {
        let Some(shape) = &batch.shape else { return Ok(Vec::new()) };
        let doing = format!("isolating rows for {} of pipeline {pipeline}", shape.table);
        self.unbroken(&doing)?;
        self.busy = true;
        let index = match self.stage(&doing, shape, variant(batch), Width::Wide).await? {
            Ok(index) => index,
            Err(fault) => {
                self.busy = false;
                return Err(fault);
            }
        };
        let found = self.bisect(&doing, index, batch).await;
        // Also after an error: the session stays usable if this works.
        self.rollback(&doing).await?;
        self.busy = false;
        found
    }

    async fn bisect(
        &self,
        doing: &str,
        index: usize,
        batch: &Batch,
    ) -> Result<Vec<(usize, Fault)>, Fault> {
        let stage = self.stage_at(index).ok_or_else(|| internal(doing, "a stage is missing"))?;
        self.limits
            .wait(doing, self.client.batch_execute("BEGIN; SAVEPOINT silversink_bisect"))
            .await?
            .map_err(|e| sqlstate::fault(doing, &e))?;
        let mut found = Vec::new();
        // The left half is on top, so that rows are met in order.
        let mut open: Vec<Range<usize>> = std::iter::once(0..batch.rows.len()).collect();
        while let Some(rows) = open.pop() {
            if rows.is_empty() {
                continue;
            }
            match self.attempt(doing, stage, batch, rows.clone()).await? {
                Verdict::Accepted { without_base } => found.extend(without_base.into_iter().map(|row| {
                    let text = format!("{doing}: unchanged columns of a row that the Silver table does not have");
                    (row, Fault::poison(Code::UnchangedWithoutBase, text))
                })),
                Verdict::Refused(fault) if rows.len() == 1 => found.push((rows.start, fault)),
                Verdict::Refused(_) => {
                    let middle = rows.start + rows.len() / 2;
                    open.push(middle..rows.end);
                    open.push(rows.start..middle);
                }
            }
        }
        found.sort_by_key(|(row, _)| *row);
        Ok(found)
    }

    /// Stages and merges a stretch, and takes it back, in one flight.
    async fn attempt(
        &self,
        doing: &str,
        stage: &Stage,
        batch: &Batch,
        rows: Range<usize>,
    ) -> Result<Verdict, Fault> {
        let variant = variant(batch);
        let merge = merging(&stage.shape, stage.number, batch, variant);
        let without_base = base::rows_without_base(&stage.shape, stage.number);
        let work = async {
            let sink = match self.client.copy_in(stage.copy(variant)).await {
                Ok(sink) => sink,
                Err(error) => {
                    self.client.batch_execute(TO_SAVEPOINT).await?;
                    return Err(error);
                }
            };
            let (staged, merged, baseless, back) = futures::join!(
                send(sink, Frames::new(batch, rows, variant)),
                self.client.batch_execute(&merge),
                self.client.query_typed_one(&without_base, &[]),
                self.client.batch_execute(TO_SAVEPOINT),
            );
            staged.and(merged)?;
            let baseless: Option<String> = baseless?.try_get(0)?;
            back?;
            Ok::<_, Error>(baseless)
        };
        match self.limits.wait(doing, work).await? {
            Ok(rows) => {
                let rows = rows.unwrap_or_default();
                Ok(Verdict::Accepted {
                    without_base: rows.split(',').filter_map(|row| row.parse().ok()).collect(),
                })
            }
            Err(error) => {
                let fault = explain(doing, &error, Some(stage));
                if fault.class == Class::Poison { Ok(Verdict::Refused(fault)) } else { Err(fault) }
            }
        }
    }
}

/// What the settle function does with staged rows, as statements.
pub(super) fn merging(shape: &TableShape, stage: u32, batch: &Batch, variant: Variant) -> String {
    let mut statements = Vec::new();
    if let Some(truncate) = &batch.truncate {
        let (version, at) = floor::literals(truncate);
        statements.push(floor::raise(&shape.table, &version, &at));
    }
    if batch.again {
        statements.push(again::supersede(shape, stage));
    }
    statements.extend(floor::apply(shape, stage, variant));
    if variant == Variant::Moved {
        statements.push(base::carry_over(shape, stage));
    }
    statements.push(merge::merge(shape, stage, variant));
    statements.join("; ")
}
