//! The writing connections: a bounded set, each staying with the lane that used it last.
//!
//! # Decisions
//! - A lane has one batch under way. Two ways of having the next one ready were built, measured beside this and dropped: the
//!   next full batch sealed while the one before is written, so that it begins with that one's COMMIT (0.89 of the yardstick
//!   at batches of 10,000 rows, as without; 0.74 beside 0.84 at 50,000); and its rows staged over a second connection
//!   meanwhile (1.03 and 0.96 of the first way, for 3 to 6 % more CPU of the server). What a batch waits for is PostgreSQL's
//!   own work, and a worker with a second connection to spare can write a second lane with it (`writers` of a table).

use super::Shared;
use super::report::{Culprit, Report, Reports};
use crate::batch::Batch;
use crate::core::LaneId;
use crate::fault::Fault;
use crate::postgres::Writer;
use crate::table::TableName;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Connections that write. A lane gets the one that it had last, or one that has a stage of its table already, or the one
/// with the fewest stages: to make a stage costs milliseconds, and every COMMIT empties all that its session has.
pub(super) struct Writers {
    free: Mutex<Vec<(LaneId, Writer)>>,
    permits: Semaphore,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Write,
    Isolate,
}

impl Writers {
    pub(super) fn new(limit: usize) -> Self {
        Self { free: Mutex::new(Vec::new()), permits: Semaphore::new(limit.max(1)) }
    }

    fn take(&self, lane: LaneId, table: &TableName) -> Option<Writer> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let rank = |(last, writer): &(LaneId, Writer)| {
            let known = if *last == lane { 0 } else { 1 + u8::from(!writer.has_stage_of(table)) };
            (known, writer.stages())
        };
        let (at, _) = free.iter().enumerate().min_by_key(|(_, one)| rank(one))?;
        Some(free.swap_remove(at).1)
    }

    /// Whether a free connection has a stage of the table.
    fn is_known(&self, table: &TableName) -> bool {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.iter().any(|(_, writer)| writer.has_stage_of(table))
    }

    fn give_back(&self, lane: LaneId, writer: Writer) {
        if !writer.is_broken() {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push((lane, writer));
        }
    }
}

/// Opens a connection for a lane that is about to begin, and makes the stage of its table there: what the first batch would
/// wait for otherwise. As many lanes as there are connections get this; the others' first batches share them. What fails is
/// left to the first batch, which tells it.
pub(super) async fn prepare(
    shared: Arc<Shared>,
    writers: Arc<Writers>,
    lane: LaneId,
    table: TableName,
) {
    let Ok(_permit) = writers.permits.try_acquire() else { return };
    if writers.is_known(&table) {
        return;
    }
    let names = &shared.config.schema.bookkeeping;
    let Ok(Some(described)) = shared.destination.describe(&table, names).await else { return };
    if !described.refusals.is_empty() || !described.missing_bookkeeping.is_empty() {
        return;
    }
    let writer = match writers.take(lane, &table) {
        Some(writer) => Ok(writer),
        None => shared.destination.writer().await,
    };
    if let Ok(mut writer) = writer {
        let prepared = writer.prepare(&Arc::new(described.shape)).await;
        if let Err(fault) = prepared {
            tracing::debug!(%table, "no stage before the first batch: {fault}");
        }
        writers.give_back(lane, writer);
    }
}

/// Finds the rows that PostgreSQL refuses, table by table.
async fn isolate(
    writer: &mut Writer,
    pipeline: &str,
    batch: &Batch,
) -> Result<Vec<Culprit>, Fault> {
    let mut culprits = Vec::new();
    let parts = batch.parts.iter().enumerate().map(|(at, part)| (Some(at), &part.batch));
    for (part, batch) in std::iter::once((None, batch)).chain(parts) {
        let found = writer.isolate(pipeline, batch).await?;
        culprits.extend(found.into_iter().map(|(row, fault)| Culprit { part, row, fault }));
    }
    Ok(culprits)
}

pub(super) async fn perform(
    shared: Arc<Shared>,
    writers: Arc<Writers>,
    reports: Reports,
    lane: LaneId,
    (table, is_one): (TableName, bool),
    batch: Arc<Batch>,
    task: Task,
) {
    // The semaphore is never closed.
    let _permit = writers.permits.acquire().await;
    let number = batch.number;
    let pipeline = &shared.config.name;
    let started = Instant::now();
    let outcome = match writers.take(lane, &table) {
        Some(writer) => Ok(writer),
        None => shared.destination.writer().await,
    };
    let report = match (outcome, task) {
        (Err(fault), Task::Write) => {
            Report::Written { lane, batch: number, took: started.elapsed(), outcome: Err(fault) }
        }
        (Err(fault), Task::Isolate) => {
            Report::Isolated { lane, batch: number, outcome: Err(fault) }
        }
        (Ok(mut writer), Task::Write) => {
            let outcome = writer.write(pipeline, is_one.then_some(&table), &batch).await;
            writers.give_back(lane, writer);
            Report::Written { lane, batch: number, took: started.elapsed(), outcome }
        }
        (Ok(mut writer), Task::Isolate) => {
            let outcome = isolate(&mut writer, pipeline, &batch).await;
            writers.give_back(lane, writer);
            Report::Isolated { lane, batch: number, outcome }
        }
    };
    shared.health.set_postgres_reachable(!matches!(
        &report,
        Report::Written { outcome: Err(fault), .. } if fault.class == crate::fault::Class::Transient
    ));
    drop(batch);
    reports.send(report);
}
