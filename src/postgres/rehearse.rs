//! What a batch would do to one row: staged and merged for real, looked at before and after, and taken back.

use super::copy::Frames;
use super::isolate::merging;
use super::stages::{Stage, variant};
use super::writer::{Writer, explain, internal, send};
use crate::batch::Batch;
use crate::fault::{Class, Fault};
use crate::sql::stage::Width;
use crate::sql::{ledger, merge};
use crate::version::Version;
use tokio_postgres::{Error, Row};

/// A Silver row as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilverRow {
    /// Its version; `None` when the column holds no version of ours.
    pub version: Option<Version>,
    /// When it was marked deleted, as PostgreSQL prints it; `None` means live.
    pub deleted_at: Option<String>,
    /// When its last change happened at the source.
    pub source_ts: Option<String>,
    /// When its last change was applied.
    pub applied_at: Option<String>,
    /// The whole row as JSON text.
    pub json: String,
}

/// What a batch of one row would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// The row of that key now.
    pub before: Option<SilverRow>,
    /// The row afterwards, or why PostgreSQL refuses the change.
    pub after: Result<Option<SilverRow>, Fault>,
    /// The statement that was run, with the stage under the name that the first stage might have.
    pub sql: String,
}

impl Writer {
    /// Merges a batch of one row in a transaction that is rolled back. Positions are neither read nor moved; the row is
    /// locked for a moment.
    ///
    /// # Errors
    /// Whatever is no property of the row: connection, privileges, locks.
    pub async fn rehearse(&mut self, batch: &Batch) -> Result<Rehearsal, Fault> {
        let Some(shape) = &batch.shape else {
            return Err(internal("rehearsing a change", "the batch has no table"));
        };
        let doing = format!("rehearsing a change of {}", shape.table);
        self.unbroken(&doing)?;
        self.busy = true;
        let index = match self.stage(&doing, shape, variant(batch), Width::Wide).await? {
            Ok(index) => index,
            Err(fault) => {
                self.busy = false;
                return Err(fault);
            }
        };
        let stage = self.stage_at(index).ok_or_else(|| internal(&doing, "a stage is missing"))?;
        let rehearsed = self.limits.wait(&doing, self.run(stage, batch)).await?;
        let outcome = match rehearsed {
            Ok(rehearsal) => Ok(rehearsal),
            Err(error) => Err(explain(&doing, &error, Some(stage))),
        };
        self.rollback(&doing).await?;
        self.busy = false;
        outcome
    }

    async fn run(&self, stage: &Stage, batch: &Batch) -> Result<Rehearsal, Error> {
        let variant = variant(batch);
        let sql = merging(&stage.shape, stage.number, batch, variant);
        let look = merge::rows_of_stage(&stage.shape, stage.number);
        self.client.batch_execute("BEGIN").await?;
        // A pipeline that never ran has no bookkeeping tables; what the statements need of them goes with the rollback.
        let present: i64 = self.client.query_typed_one(ledger::PRESENT, &[]).await?.try_get(0)?;
        if present < ledger::OBJECTS {
            for statement in ledger::CREATE {
                self.client.batch_execute(statement).await?;
            }
        }
        let sink = self.client.copy_in(stage.copy(variant)).await?;
        send(sink, Frames::new(batch, 0..batch.rows.len(), variant)).await?;
        let before = self.look(&look).await?;
        self.client.batch_execute("SAVEPOINT silversink_rehearse").await?;
        let after = match self.client.batch_execute(&sql).await {
            Ok(()) => Ok(self.look(&look).await?),
            Err(error) => {
                let fault = explain("merging the row", &error, Some(stage));
                if fault.class != Class::Poison {
                    return Err(error);
                }
                Err(fault)
            }
        };
        // The stage has another name in each session: told is the same text for the same change.
        let sql = merging(&stage.shape, 1, batch, variant);
        Ok(Rehearsal { before, after, sql })
    }

    async fn look(&self, sql: &str) -> Result<Option<SilverRow>, Error> {
        self.client.query_typed(sql, &[]).await?.first().map(silver_row).transpose()
    }
}

fn silver_row(row: &Row) -> Result<SilverRow, Error> {
    let version: &[u8] = row.try_get(0)?;
    Ok(SilverRow {
        version: Version::from_bytes(version),
        deleted_at: row.try_get(1)?,
        source_ts: row.try_get(2)?,
        applied_at: row.try_get(3)?,
        json: row.try_get(4)?,
    })
}
