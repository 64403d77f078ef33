//! One lane's connection: stages a batch, settles it, commits, in one pipelined flight (design section 8).

use super::connect::{Connection, Target};
use super::copy::Frames;
use super::params::{Letters, Ranges};
use super::stages::{Stage, variant};
use super::{Limits, session, sqlstate, truncate};
use crate::batch::{Applied, Batch, Settled, Truncate};
use crate::config::Tripwire;
use crate::fault::{Class, Code, Fault};
use crate::record::Coordinates;
use crate::sql::merge::CREATE_COUNTERS;
use crate::sql::settle::{self, Backend};
use crate::sql::stage::TOO_LARGE;
use crate::sql::{again, ledger};
use crate::table::TableName;
use crate::version::Version;
use bytes::Bytes;
use futures::SinkExt;
use std::pin::pin;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyInSink, Error, Row, Statement};
use uuid::Uuid;

/// A connection that writes batches. One transaction at a time; when [`Writer::is_broken`], drop it and open another.
pub struct Writer {
    pub(super) client: Client,
    driver: JoinHandle<()>,
    /// Numbers of the stages that a batch of many tables has so far: none of them makes room for another.
    pub(super) held: Vec<u32>,
    pub(super) limits: Limits,
    pub(super) backend: Backend,
    /// In the order in which they were made.
    pub(super) stages: Vec<Stage>,
    /// Number of the next stage: never used twice, so that a dropped stage's plans cannot be met again.
    pub(super) next: u32,
    pub(super) positions: Option<Statement>,
    /// Set while a transaction is under way, and left set when its end is unknown.
    pub(super) busy: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("backend", &self.backend.pid)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without this, a connection with an unanswered request would live on until the server answers.
        self.driver.abort();
    }
}

impl Writer {
    pub(super) async fn open(target: &Target, limits: Limits) -> Result<Self, Fault> {
        let Connection { client, driver } =
            target.open().await.map_err(|e| target.fault(&e, false))?;
        let doing = format!("opening a writer's session at {}", target.name());
        let settings = format!(
            "{}; {}; {CREATE_COUNTERS}",
            session::settings(limits),
            session::WRITER_SETTINGS
        );
        let work = async {
            client.batch_execute(&settings).await?;
            let row = client
                .query_typed_one(
                    "SELECT pid, backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()",
                    &[],
                )
                .await?;
            Ok(Backend { pid: row.try_get(0)?, start: row.try_get(1)? })
        };
        let backend = limits.wait(&doing, work).await?.map_err(|e| not_alone(&doing, &e))?;
        Ok(Self {
            client,
            driver,
            held: Vec::new(),
            limits,
            backend,
            stages: Vec::new(),
            // Names that no other session has: behind a pooler in transaction mode a statement may reach the server of
            // another writer, and must find nothing there.
            next: Uuid::new_v4().as_fields().0,
            positions: None,
            busy: false,
        })
    }

    /// True when the connection is gone, or when a transaction was cut off so that its state is unknown.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.busy || self.client.is_closed()
    }

    /// Refuses work on a broken connection.
    pub(super) fn unbroken(&self, doing: &str) -> Result<(), Fault> {
        if self.is_broken() {
            let text = format!("{doing}: the connection is broken");
            return Err(Fault::transient(Code::PostgresUnavailable, text));
        }
        Ok(())
    }

    /// Applies a batch: rows, truncate, dead letters and positions in one transaction, or nothing at all.
    ///
    /// `table` is named in messages and in dead letters; it may be given without a shape.
    ///
    /// # Errors
    /// - poison: some row can never be applied; [`Writer::isolate`] tells which;
    /// - fenced: another worker owns a partition;
    /// - transient: the same batch may be tried again, on a new writer when this one is broken. A lost COMMIT is found out
    ///   by that repetition: [`Applied::already`];
    /// - blocked: the table, its constraints or privileges are in the way.
    pub async fn write(
        &mut self,
        pipeline: &str,
        table: Option<&TableName>,
        batch: &Batch,
    ) -> Result<Applied, Fault> {
        if !batch.parts.is_empty() {
            return self.write_together(pipeline, batch).await;
        }
        let table = table.or_else(|| batch.shape.as_ref().map(|s| &s.table));
        let doing = match table {
            // Nothing that differs from try to try: a stop that comes again is told once.
            Some(table) => format!("writing to {table}"),
            None => "writing positions".to_owned(),
        };
        self.unbroken(&doing)?;
        let ranges = Ranges::of(batch)?;
        if i16::try_from(batch.ranges.len()).is_err() {
            return Err(internal(&doing, "a batch has too many partitions"));
        }
        if batch.shape.is_none() && (!batch.rows.is_empty() || batch.truncate.is_some()) {
            return Err(internal(&doing, "a batch without a table holds rows or a truncate"));
        }
        self.busy = true;
        // An error of the outer kind leaves the session in an unknown state, and the writer busy.
        let known = loop {
            let known = match self.judge_suspects(&doing, batch).await? {
                Ok(()) => {
                    self.truncate_and_transact(&doing, pipeline, table, batch, &ranges).await?
                }
                Err(fault) => Err(fault),
            };
            match (&known, &batch.shape) {
                (Err(fault), Some(shape))
                    if fault.sqlstate.as_deref() == Some(TOO_LARGE) && self.outgrow(shape) => {}
                _ => break known,
            }
        };
        self.busy = false;
        let exchanged = || batch.suspects.answer.get().cloned().unwrap_or_default();
        match known {
            Err(fault) if fault.sqlstate.as_deref() == Some(settle::ALREADY) => {
                Ok(Applied { already: true, exchanged: exchanged(), ..Applied::default() })
            }
            known => known.map(|applied| Applied { exchanged: exchanged(), ..applied }),
        }
    }

    /// As [`Writer::transact`], with the truncate ahead of the batch where it is too large for one statement.
    async fn truncate_and_transact(
        &mut self,
        doing: &str,
        pipeline: &str,
        table: Option<&TableName>,
        batch: &Batch,
        ranges: &Ranges<'_>,
    ) -> Result<Result<Applied, Fault>, Fault> {
        let (Some(truncate), Some(shape)) = (&batch.truncate, &batch.shape) else {
            return self.transact(doing, pipeline, table, batch, None, ranges).await;
        };
        if !self.is_large(doing, shape).await? {
            match self.transact(doing, pipeline, table, batch, Some(truncate), ranges).await? {
                Err(fault) if fault.sqlstate.as_deref() == Some(truncate::TIMED_OUT) => {}
                known => return Ok(known),
            }
        }
        tracing::info!(table = %shape.table, "a truncate marks many rows: step by step, ahead of its batch");
        self.truncate_ahead(doing, pipeline, shape, ranges, truncate).await?;
        self.transact(doing, pipeline, table, batch, None, ranges).await
    }

    /// The outer error means that the transaction's end is unknown; the inner one that it was rolled back.
    async fn transact(
        &mut self,
        doing: &str,
        pipeline: &str,
        table: Option<&TableName>,
        batch: &Batch,
        truncate: Option<&Truncate>,
        ranges: &Ranges<'_>,
    ) -> Result<Result<Applied, Fault>, Fault> {
        let limits = self.limits;
        let merging = match &batch.shape {
            Some(shape) if !batch.rows.is_empty() || truncate.is_some() => Some(shape),
            _ => None,
        };
        let variant = variant(batch);
        let width = self.width(batch, variant);
        let (stage, settle) = match merging {
            Some(shape) => match self.stage(doing, shape, variant, width).await? {
                Ok(index) => {
                    if truncate.is_none()
                        && let Some(loaded) =
                            self.load(doing, pipeline, batch, index, ranges).await?
                    {
                        return Ok(Ok(loaded));
                    }
                    let stage = self.stages.get(index);
                    (stage, stage.and_then(|s| s.settle(variant)).cloned())
                }
                Err(fault) => return Ok(Err(fault)),
            },
            None => match self.positions_call(doing).await? {
                Ok(statement) => (None, Some(statement)),
                Err(fault) => return Ok(Err(fault)),
            },
        };
        let Some(settle) = settle else {
            return Ok(Err(internal(doing, "a stage has no settle function")));
        };
        let explain = |error: &Error| {
            contradiction(batch, error).unwrap_or_else(|| explain(doing, error, stage))
        };

        let copying = if batch.rows.is_empty() { None } else { stage };
        let sink = match copying {
            Some(stage) => {
                let work = async {
                    futures::join!(
                        self.client.batch_execute("BEGIN"),
                        self.client.copy_in(stage.copy(variant))
                    )
                };
                let (begun, sink) = limits.wait(doing, work).await?;
                match begun.and(sink) {
                    Ok(sink) => Some(sink),
                    Err(error) => {
                        self.rollback(doing).await?;
                        return Ok(Err(explain(&error)));
                    }
                }
            }
            None => None,
        };
        let begins = sink.is_none();
        let letters = Letters::of(&batch.letters);

        let flight = async {
            let begin =
                async { if begins { self.client.batch_execute("BEGIN").await } else { Ok(()) } };
            let staged = async {
                match sink {
                    Some(sink) => {
                        let frames = Frames::new(batch, 0..batch.rows.len(), variant);
                        send(sink, frames).await.map(|_| ())
                    }
                    None => Ok(()),
                }
            };
            let mut staged = pin!(staged);
            // The rows must be on their way before what follows them; their answer is waited for together with the rest.
            let letters = async {
                let (again, letters, holes) = futures::join!(
                    self.supersede_again(copying, batch),
                    self.insert_letters(pipeline, table, &letters),
                    self.keep_holes(table, batch)
                );
                again.and(letters).and(holes)
            };
            let settled = self.settle(pipeline, &settle, (ranges, &ranges.from), batch, truncate);
            let commit = self.client.batch_execute("COMMIT");
            futures::join!(begin, staged.as_mut(), letters, settled, commit)
        };
        let (begun, staged, lettered, settled, committed) = limits.wait(doing, flight).await?;
        let settled = first_error([begun.err(), staged.err(), lettered.err()], settled);
        match settled.and_then(|row| committed.map(|()| row)) {
            Ok(row) => {
                Ok(read_counts(&row, batch.tripwire.is_some())
                    .map_err(|e| sqlstate::fault(doing, &e)))
            }
            Err(error) if error.as_db_error().is_none() => Err(explain(&error)),
            Err(error) => Ok(Err(explain(&error))),
        }
    }

    /// One call of a settle function; `from` is where it is to find the positions.
    pub(super) async fn settle(
        &self,
        pipeline: &str,
        settle: &Statement,
        (ranges, from): (&Ranges<'_>, &Vec<i64>),
        batch: &Batch,
        truncate: Option<&Truncate>,
    ) -> Result<Row, Error> {
        let offered = i64::try_from(batch.rows.len()).unwrap_or(i64::MAX);
        let version = truncate.map(|t| *t.version.as_bytes());
        let version = version.as_ref().map(<[u8; 37]>::as_slice);
        let at = truncate.map(|t| t.at);
        let strict = batch.tripwire.map(|tripwire| tripwire == Tripwire::Stop);
        let params: [&(dyn ToSql + Sync); 16] = [
            &pipeline,
            &ranges.topics,
            &ranges.topic_ids,
            &ranges.partitions,
            &ranges.epochs,
            from,
            &ranges.next,
            &ranges.changes,
            &ranges.folded,
            &ranges.skipped,
            &ranges.letters,
            &offered,
            &version,
            &at,
            &ranges.lineages,
            &strict,
        ];
        self.client.query_one(settle, &params).await
    }

    /// Supersedes what rows behind it, of an earlier epoch, have in them already.
    pub(super) async fn supersede_again(
        &self,
        stage: Option<&Stage>,
        batch: &Batch,
    ) -> Result<(), Error> {
        match stage.filter(|_| batch.again) {
            Some(stage) => {
                self.client.batch_execute(&again::supersede(&stage.shape, stage.number)).await
            }
            None => Ok(()),
        }
    }

    pub(super) async fn rollback(&self, doing: &str) -> Result<(), Fault> {
        self.limits
            .wait(doing, self.client.batch_execute("ROLLBACK"))
            .await?
            .map_err(|e| sqlstate::fault(doing, &e))
    }
}

/// The fault of a session that could not be set up. When the counters are there already, it is another writer's too.
fn not_alone(doing: &str, error: &Error) -> Fault {
    let fault = sqlstate::fault(doing, error);
    if fault.sqlstate.as_deref() != Some("42P07") {
        return fault;
    }
    Fault { class: Class::Blocked, code: Code::PostgresPooled, ..fault }
        .with_hint("connect to PostgreSQL itself, or set pool_mode = session for this database")
}

/// Sends rows and ends the COPY; answers how many rows arrived.
pub(super) async fn send(
    sink: CopyInSink<Bytes>,
    frames: Option<Frames<'_>>,
) -> Result<u64, Error> {
    let mut sink = pin!(sink);
    for chunk in frames.into_iter().flatten() {
        sink.feed(chunk).await?;
    }
    sink.as_mut().finish().await
}

/// The fault of a failed flight. A unique violation on the key is a race of two first writers (F7): repeat. Elsewhere it
/// is a constraint that the stream violates.
pub(super) fn explain(doing: &str, error: &Error, stage: Option<&Stage>) -> Fault {
    let fault = sqlstate::fault(doing, error);
    let Some(db) = error.as_db_error() else { return fault };
    if db.code().code() != "23505" {
        return fault;
    }
    let on_key = match db.constraint() {
        Some(name) => stage.is_some_and(|s| s.key_constraints.iter().any(|k| k == name)),
        None => false,
    };
    if on_key || db.schema() == Some(ledger::SCHEMA) {
        return Fault { class: Class::Transient, code: Code::PostgresConflict, ..fault };
    }
    fault.with_hint("drop the unique index, or make it partial over live rows")
}

/// The settle function found a row that contradicts the order; its detail names the row and the target's version.
pub(super) fn contradiction(batch: &Batch, error: &Error) -> Option<Fault> {
    let db = error.as_db_error().filter(|db| db.code().code() == settle::CONTRADICTED)?;
    let (row, version) = db.detail()?.split_once(':')?;
    let row = batch.rows.get(row.parse::<usize>().ok()?)?;
    let range = batch.ranges.get(usize::from(row.range))?;
    let at = Coordinates {
        topic: range.topic.clone(),
        partition: range.partition,
        offset: i64::try_from(row.version.parts().kafka_offset).ok()?,
    };
    let fault = crate::batch::contradicted(
        &batch.shape.as_ref()?.table,
        &at,
        row.version,
        Version::from_hex(version)?,
    );
    Some(fault.with_sqlstate(settle::CONTRADICTED))
}

/// The first thing that failed is the cause; what came after it only found the transaction aborted.
fn first_error<T, const N: usize>(
    earlier: [Option<Error>; N],
    last: Result<T, Error>,
) -> Result<T, Error> {
    match earlier.into_iter().flatten().next() {
        Some(error) => Err(error),
        None => last,
    }
}

pub(super) fn read_counts(row: &Row, times_count: bool) -> Result<Applied, Error> {
    let applied: Vec<i64> = row.try_get(0)?;
    let superseded: Vec<i64> = row.try_get(1)?;
    let contradicted: i64 = row.try_get(2)?;
    let whole = |n: i64| u64::try_from(n).unwrap_or(0);
    let contradicted = if times_count { whole(contradicted) } else { 0 };
    let ranges = applied
        .into_iter()
        .zip(superseded)
        .map(|(a, s)| Settled { applied: whole(a), superseded: whole(s) })
        .collect();
    Ok(Applied { ranges, contradicted, ..Applied::default() })
}

pub(super) fn internal(doing: &str, what: &str) -> Fault {
    Fault::new(Class::Fatal, Code::Internal, format!("{doing}: {what}"))
}
