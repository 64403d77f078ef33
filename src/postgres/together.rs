//! One transaction for a batch of many tables.
//!
//! # Decisions
//! - The positions come first and move once, with the batch's own call; each table's settle function then finds them where
//!   they are to be, moves them by nothing and adds its table's counts. So fence, repetition and counts are as for one table.
//! - Every table is staged before the first shared lock is taken. The last table's rows, all calls and the COMMIT go out as
//!   one flight, tables in the order of their names.
//! - What the transaction meets in one table is told of that table, so that only its rows are looked at again.

use super::copy::Frames;
use super::params::{Letters, Ranges};
use super::sqlstate;
use super::stages::{Stage, variant};
use super::truncate::TIMED_OUT;
use super::writer::{Writer, contradiction, explain, internal, read_counts, send};
use crate::batch::{Applied, Batch, Part, Truncate};
use crate::fault::Fault;
use crate::sql::merge::Variant;
use crate::sql::settle;
use crate::sql::stage::TOO_LARGE;
use crate::table::TableName;
use bytes::Bytes;
use std::pin::pin;
use std::task::Poll;
use tokio_postgres::{CopyInSink, Error, Statement};

/// What went wrong in a transaction that was rolled back: in which part, if in one.
struct Failed {
    part: Option<usize>,
    fault: Fault,
}

/// How one part is staged and settled.
struct Call<'b> {
    part: &'b Part,
    /// Number of its stage and form of its MERGE; `None` where it has neither rows nor a truncate.
    stage: Option<(u32, Variant)>,
    settle: Statement,
    truncate: Option<&'b Truncate>,
}

/// A COPY that is begun, and the call whose rows it is for.
struct Begun {
    sink: CopyInSink<Bytes>,
    at: usize,
}

impl Writer {
    /// As [`Writer::write`], for a batch with parts.
    pub(super) async fn write_together(
        &mut self,
        pipeline: &str,
        batch: &Batch,
    ) -> Result<Applied, Fault> {
        let doing = format!("writing to {} tables at once", batch.parts.len());
        self.unbroken(&doing)?;
        self.busy = true;
        let known = self.settle_together(&doing, pipeline, batch).await?;
        self.busy = false;
        self.held.clear();
        let mut applied = match known {
            Err(fault) if fault.sqlstate.as_deref() == Some(settle::ALREADY) => Applied {
                already: true,
                parts: vec![Applied::default(); batch.parts.len()],
                ..Applied::default()
            },
            known => known?,
        };
        for (applied, part) in applied.parts.iter_mut().zip(&batch.parts) {
            applied.exchanged = part.batch.suspects.answer.get().cloned().unwrap_or_default();
        }
        Ok(applied)
    }

    /// The outer error means that the transaction's end is unknown; the inner one that it was rolled back.
    async fn settle_together(
        &mut self,
        doing: &str,
        pipeline: &str,
        batch: &Batch,
    ) -> Result<Result<Applied, Fault>, Fault> {
        // Truncates that are too much for one statement are made ahead, each in transactions of its own.
        let mut ahead = vec![false; batch.parts.len()];
        loop {
            let failed = match self.before(pipeline, batch, &mut ahead).await? {
                Ok(()) => self.transact_together(doing, pipeline, batch, &ahead).await?,
                Err(failed) => Err(failed),
            };
            let Failed { part, fault } = match failed {
                Ok(applied) => return Ok(Ok(applied)),
                Err(failed) => failed,
            };
            let shape = part.and_then(|at| batch.parts.get(at)?.batch.shape.as_ref());
            let outgrown = fault.sqlstate.as_deref() == Some(TOO_LARGE)
                && shape.is_some_and(|shape| self.outgrow(shape));
            let truncate = part.and_then(|at| {
                let truncate = batch.parts.get(at)?.batch.truncate.as_ref();
                truncate.filter(|_| ahead.get(at) == Some(&false))
            });
            let timed_out = fault.sqlstate.as_deref() == Some(TIMED_OUT);
            match (truncate, shape, part) {
                _ if outgrown => {}
                (Some(truncate), Some(shape), Some(at)) if timed_out => {
                    let ranges = Ranges::of(batch)?;
                    let doing = writing_to(&shape.table);
                    self.truncate_ahead(&doing, pipeline, shape, &ranges, truncate).await?;
                    if let Some(ahead) = ahead.get_mut(at) {
                        *ahead = true;
                    }
                }
                _ => return Ok(Err(fault)),
            }
        }
    }

    /// What comes before the transaction: a look at suspects, and truncates of large tables.
    async fn before(
        &mut self,
        pipeline: &str,
        batch: &Batch,
        ahead: &mut [bool],
    ) -> Result<Result<(), Failed>, Fault> {
        for (at, (part, ahead)) in batch.parts.iter().zip(ahead).enumerate() {
            let doing = writing_to(&part.table);
            if let Err(fault) = self.judge_suspects(&doing, &part.batch).await? {
                return Ok(Err(Failed { part: Some(at), fault }));
            }
            if let (Some(truncate), Some(shape), false) =
                (&part.batch.truncate, &part.batch.shape, *ahead)
                && self.is_large(&doing, shape).await?
            {
                self.truncate_ahead(&doing, pipeline, shape, &Ranges::of(batch)?, truncate).await?;
                *ahead = true;
            }
        }
        Ok(Ok(()))
    }

    async fn transact_together(
        &mut self,
        doing: &str,
        pipeline: &str,
        batch: &Batch,
        ahead: &[bool],
    ) -> Result<Result<Applied, Failed>, Fault> {
        let positions = match self.positions_call(doing).await? {
            Ok(statement) => statement,
            Err(fault) => return Ok(Err(Failed { part: None, fault })),
        };
        let mut calls = Vec::with_capacity(batch.parts.len());
        self.held.clear();
        for (at, (part, ahead)) in batch.parts.iter().zip(ahead).enumerate() {
            let truncate = part.batch.truncate.as_ref().filter(|_| !*ahead);
            match self.ready(part, truncate, &positions).await? {
                Ok(call) => calls.push(call),
                Err(fault) => return Ok(Err(Failed { part: Some(at), fault })),
            }
        }
        let staged = match self.stage_all(doing, &calls).await? {
            Ok(staged) => staged,
            Err(failed) => {
                self.rollback(doing).await?;
                return Ok(Err(failed));
            }
        };
        self.fly(doing, pipeline, (batch, &positions), &calls, staged).await
    }

    async fn ready<'b>(
        &mut self,
        part: &'b Part,
        truncate: Option<&'b Truncate>,
        positions: &Statement,
    ) -> Result<Result<Call<'b>, Fault>, Fault> {
        let doing = writing_to(&part.table);
        let Some(shape) =
            part.batch.shape.as_ref().filter(|_| !part.batch.rows.is_empty() || truncate.is_some())
        else {
            if !part.batch.rows.is_empty() || truncate.is_some() {
                return Ok(Err(internal(
                    &doing,
                    "a batch without a table holds rows or a truncate",
                )));
            }
            let settle = positions.clone();
            return Ok(Ok(Call { part, stage: None, settle, truncate: None }));
        };
        let variant = variant(&part.batch);
        let width = self.width(&part.batch, variant);
        let index = match self.stage(&doing, shape, variant, width).await? {
            Ok(index) => index,
            Err(fault) => return Ok(Err(fault)),
        };
        let stage = self.stage_at(index);
        let Some((number, settle)) =
            stage.and_then(|s| Some((s.number, s.settle(variant)?.clone())))
        else {
            return Ok(Err(internal(&doing, "a stage has no settle function")));
        };
        self.held.push(number);
        Ok(Ok(Call { part, stage: Some((number, variant)), settle, truncate }))
    }

    /// Begins the transaction and copies the rows of every part but the last that has any, whose COPY is only begun.
    async fn stage_all(
        &self,
        doing: &str,
        calls: &[Call<'_>],
    ) -> Result<Result<Option<Begun>, Failed>, Fault> {
        let begun = self.limits.wait(doing, self.client.batch_execute("BEGIN")).await?;
        if let Err(error) = begun {
            return self.met(doing, calls, None, &error).map(Err);
        }
        let mut open: Option<Begun> = None;
        for (at, call) in calls.iter().enumerate().filter(|(_, c)| !c.part.batch.rows.is_empty()) {
            let Some((stage, variant)) = self.staging(call) else {
                let fault = internal(doing, "a stage is missing");
                return Ok(Err(Failed { part: Some(at), fault }));
            };
            let earlier = open.as_ref().map(|begun| begun.at);
            // Not in one flight: a COPY that is refused from the start, as all are after a failure, costs the connection.
            let copied = self.limits.wait(doing, self.copy(calls, open.take())).await?;
            if let Err(error) = copied {
                return self.met(doing, calls, earlier, &error).map(Err);
            }
            let begun = self.limits.wait(doing, self.client.copy_in(stage.copy(variant))).await?;
            match begun {
                Ok(sink) => open = Some(Begun { sink, at }),
                Err(error) => return self.met(doing, calls, Some(at), &error).map(Err),
            }
        }
        Ok(Ok(open))
    }

    fn staging(&self, call: &Call<'_>) -> Option<(&Stage, Variant)> {
        let (number, variant) = call.stage?;
        Some((self.stages.iter().find(|stage| stage.number == number)?, variant))
    }

    async fn copy(&self, calls: &[Call<'_>], begun: Option<Begun>) -> Result<(), Error> {
        let Some(Begun { sink, at }) = begun else { return Ok(()) };
        let Some(Call { part, stage: Some((_, variant)), .. }) = calls.get(at) else {
            return Ok(());
        };
        let frames = Frames::new(&part.batch, 0..part.batch.rows.len(), *variant);
        send(sink, frames).await.map(|_| ())
    }

    /// The flight: the last rows, letters and holes, positions, every table, COMMIT.
    async fn fly(
        &self,
        doing: &str,
        pipeline: &str,
        (batch, positions): (&Batch, &Statement),
        calls: &[Call<'_>],
        begun: Option<Begun>,
    ) -> Result<Result<Applied, Failed>, Fault> {
        let last = begun.as_ref().map(|begun| begun.at);
        let ranges = Ranges::of(batch)?;
        let of_parts: Vec<Ranges<'_>> =
            calls.iter().map(|call| Ranges::of(&call.part.batch)).collect::<Result<_, _>>()?;
        let flight = async {
            // The rows must be on their way before what follows them; their answer is waited for together with the rest.
            let staged = self.copy(calls, begun);
            let mut staged = pin!(staged);
            let whose = std::iter::once((None, batch))
                .chain(calls.iter().map(|call| (Some(&call.part.table), &call.part.batch)));
            let letters = whose.map(|(table, batch)| self.letters(pipeline, table, batch));
            let again = calls.iter().map(|call| {
                let stage = self.staging(call).map(|(stage, _)| stage);
                self.supersede_again(stage, &call.part.batch)
            });
            let head = self.settle(pipeline, positions, (&ranges, &ranges.from), batch, None);
            let tables = calls.iter().zip(&of_parts).map(|(call, ranges)| {
                // The positions are where they are to be by now.
                let ranges = (ranges, &ranges.next);
                self.settle(pipeline, &call.settle, ranges, &call.part.batch, call.truncate)
            });
            let commit = self.client.batch_execute("COMMIT");
            futures::join!(
                staged.as_mut(),
                in_order(again),
                in_order(letters),
                head,
                in_order(tables),
                commit
            )
        };
        let (staged, again, lettered, head, tables, committed) =
            self.limits.wait(doing, flight).await?;
        // The first thing that failed is the cause; what came after it only found the transaction aborted.
        let mut failures = vec![(last, staged.err())];
        failures.extend(again.into_iter().enumerate().map(|(at, done)| (Some(at), done.err())));
        failures.extend(lettered.into_iter().map(|lettered| (None, lettered.err())));
        let mut rows = Vec::with_capacity(calls.len() + 1);
        let parts = tables.into_iter().enumerate().map(|(at, row)| (Some(at), row));
        for (part, row) in std::iter::once((None, head)).chain(parts) {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => failures.push((part, Some(error))),
            }
        }
        failures.push((None, committed.err()));
        if let Some((part, error)) = failures.into_iter().find_map(|(part, e)| Some((part, e?))) {
            return self.met(doing, calls, part, &error).map(Err);
        }
        let strict = std::iter::once(false)
            .chain(calls.iter().map(|call| call.part.batch.tripwire.is_some()));
        let read = rows.iter().zip(strict).map(|(row, strict)| read_counts(row, strict));
        let mut read = read.map(|applied| applied.map_err(|e| sqlstate::fault(doing, &e)));
        let head = read.next().unwrap_or_else(|| Err(internal(doing, "a call has no answer")))?;
        Ok(Ok(Applied { parts: read.collect::<Result<_, _>>()?, ..head }))
    }

    async fn letters(
        &self,
        pipeline: &str,
        table: Option<&TableName>,
        batch: &Batch,
    ) -> Result<(), Error> {
        let letters = Letters::of(&batch.letters);
        let (letters, holes) = futures::join!(
            self.insert_letters(pipeline, table, &letters),
            self.keep_holes(table, batch)
        );
        letters.and(holes)
    }

    /// What an error means, told of the part that met it. The outer error means that the transaction's end is unknown.
    fn met(
        &self,
        doing: &str,
        calls: &[Call<'_>],
        part: Option<usize>,
        error: &Error,
    ) -> Result<Failed, Fault> {
        let call = part.and_then(|at| calls.get(at));
        let fault = match call {
            Some(call) => contradiction(&call.part.batch, error).unwrap_or_else(|| {
                let stage = self.staging(call).map(|(stage, _)| stage);
                explain(&writing_to(&call.part.table), error, stage)
            }),
            None => explain(doing, error, None),
        };
        if error.as_db_error().is_none() { Err(fault) } else { Ok(Failed { part, fault }) }
    }
}

fn writing_to(table: &TableName) -> String {
    format!("writing to {table}")
}

/// Runs futures side by side; each has begun before the next one does, so that requests go out in this order.
async fn in_order<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waits = false;
        for (future, answer) in running.iter_mut().filter(|(_, answer)| answer.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *answer = Some(value),
                Poll::Pending => waits = true,
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, answer)| answer).collect()
}
