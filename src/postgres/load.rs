//! Batches of whole rows go straight into a table that was empty when its stage was made ([`crate::sql::load`]).
//!
//! # Decisions
//! - Whatever PostgreSQL has against a load, the batch is rolled back and takes the way of every other batch, which also
//!   finds the words for it. After the first, third, ... such end one, two, four, ... batches do not try: in a table that
//!   fills by snapshot few do, in one that fills by a mixed stream nearly all.
//! - Only tables that were empty: a load that meets rows has written WAL by then, and a replay must write none.
//! - The server waits for the client's rows while it holds the position's lock, unlike anywhere else (I6). A client that is
//!   frozen then is what [`crate::sql::ledger::TERMINATE_HOLDERS`] is for: the successor's claim ends its backend.

use super::copy::Frames;
use super::params::Ranges;
use super::sqlstate;
use super::stages::Stage;
use super::writer::{Writer, read_counts, send};
use crate::batch::{Applied, Batch, Kind};
use crate::fault::Fault;
use crate::sql::load;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

/// A smaller batch gains less than the round trips cost that a load has more.
const LEAST_ROWS: usize = 1_000;

/// The statements of a table's loads, and when to try the next one.
#[derive(Default)]
pub(super) struct Load {
    /// The call before the rows, and the COPY; made for the first load.
    statements: Option<(Statement, Statement)>,
    /// Batches that do not try after the next failure.
    pause: u32,
    /// Of those, the ones to come.
    left: u32,
}

impl Load {
    /// Counts the batch, if this is one that does not try.
    fn is_due(&mut self) -> bool {
        let due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        due
    }

    fn failed(&mut self) {
        self.pause = (self.pause * 2).max(1);
        self.left = self.pause;
    }

    fn landed(&mut self) {
        self.pause = 0;
    }
}

/// Whether a batch holds nothing but whole rows, enough of them.
fn is_loadable(batch: &Batch) -> bool {
    batch.rows.len() >= LEAST_ROWS
        && batch.letters.is_empty()
        && batch.closed.is_empty()
        && batch.rows.iter().all(|row| row.kind == Kind::Whole)
}

impl Writer {
    /// Loads a batch into the table of its stage; `None` when it is to be merged.
    ///
    /// # Errors
    /// The transaction's end is unknown.
    pub(super) async fn load(
        &mut self,
        doing: &str,
        pipeline: &str,
        batch: &Batch,
        index: usize,
        ranges: &Ranges<'_>,
    ) -> Result<Option<Applied>, Fault> {
        let Some(load) = self.stages.get_mut(index).and_then(|stage| stage.load.as_mut()) else {
            return Ok(None);
        };
        if !is_loadable(batch) || !load.is_due() {
            return Ok(None);
        }
        let applied = self.try_load(doing, pipeline, batch, index, ranges).await?;
        if let Some(load) = self.stages.get_mut(index).and_then(|stage| stage.load.as_mut()) {
            match &applied {
                Some(_) => load.landed(),
                None => load.failed(),
            }
        }
        Ok(applied)
    }

    async fn try_load(
        &mut self,
        doing: &str,
        pipeline: &str,
        batch: &Batch,
        index: usize,
        ranges: &Ranges<'_>,
    ) -> Result<Option<Applied>, Fault> {
        let limits = self.limits;
        let Ok(settle) = self.positions_call(doing).await? else { return Ok(None) };
        let made = match self.stages.get_mut(index) {
            Some(stage) => limits.wait(doing, statements(&self.client, stage)).await?,
            None => return Ok(None),
        };
        let Some((begin, copy)) = known(doing, made)? else { return Ok(None) };

        let params: [&(dyn ToSql + Sync); 7] = [
            &pipeline,
            &ranges.topics,
            &ranges.topic_ids,
            &ranges.partitions,
            &ranges.epochs,
            &ranges.from,
            &ranges.next,
        ];
        // Not in one flight with what comes before it: a COPY that is refused from the start costs the connection.
        let opening = async {
            let (begun, now) = futures::join!(
                self.client.batch_execute("BEGIN"),
                self.client.query_one(&begin, &params)
            );
            begun?;
            now?.try_get(0)
        };
        let loading = async {
            let applied_at: i64 = opening.await?;
            send(self.client.copy_in(&copy).await?, Frames::of_table(batch, applied_at)).await
        };
        let copied = known(doing, limits.wait(doing, loading).await?)?;
        // A trigger may have swallowed rows.
        if copied.is_none_or(|copied| copied != batch.rows.len() as u64) {
            self.rollback(doing).await?;
            return Ok(None);
        }
        let ending = async {
            let (settled, committed) = futures::join!(
                self.settle(pipeline, &settle, (ranges, &ranges.from), batch, None),
                self.client.batch_execute("COMMIT")
            );
            let settled = settled?;
            committed?;
            read_counts(&settled, false)
        };
        // A COMMIT after a failure ends the transaction as a rollback does.
        known(doing, limits.wait(doing, ending).await?)
    }
}

/// The statements of a stage's loads, made when they are missing.
async fn statements(client: &Client, stage: &mut Stage) -> Result<(Statement, Statement), Error> {
    let (shape, number) = (&stage.shape, stage.number);
    if let Some(made) = stage.load.as_ref().and_then(|load| load.statements.clone()) {
        return Ok(made);
    }
    client.batch_execute(&load::create(shape, number)).await?;
    let (call, copy) = (load::call(number), load::copy(shape));
    let made = futures::try_join!(client.prepare(&call), client.prepare(&copy))?;
    if let Some(load) = &mut stage.load {
        load.statements = Some(made.clone());
    }
    Ok(made)
}

/// `None` when PostgreSQL refused; an error when nobody knows what it did.
fn known<T>(doing: &str, result: Result<T, Error>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.as_db_error() {
            Some(refusal) => {
                tracing::debug!(
                    sqlstate = refusal.code().code(),
                    "{doing}: no load, the batch is merged"
                );
                Ok(None)
            }
            None => Err(sqlstate::fault(doing, &error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Load;

    #[test]
    fn after_each_failure_twice_as_many_batches_do_not_try() {
        let mut load = Load::default();
        let tried: Vec<usize> = (0..20)
            .filter(|_| {
                let due = load.is_due();
                if due {
                    load.failed();
                }
                due
            })
            .collect();
        assert_eq!(tried, [0, 2, 5, 10, 19]);
        load.landed();
        load.failed();
        assert!(!load.is_due());
        assert!(load.is_due());
    }
}
