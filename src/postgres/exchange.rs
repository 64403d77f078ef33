//! Looks, ahead of a batch, at the Silver rows of deletes after which the source may still have a row of their key.

use super::copy::Frames;
use super::sqlstate;
use super::writer::{Writer, internal, send};
use crate::batch::Batch;
use crate::batch::exchange::{Exchanged, Found};
use crate::fault::{Class, Fault};
use crate::sql::exchange;
use crate::sql::merge::Variant;
use crate::sql::stage::{TOO_LARGE, Width};
use crate::version::Version;
use tokio_postgres::Error;

impl Writer {
    /// Answers what the batch asks about its suspects, once. Nothing is written. A key comes to one lane, so what is
    /// read ahead of the batch's transaction is what the transaction will meet; where the number of partitions has changed
    /// another lane may come between, and the report may be off, but no row is.
    ///
    /// The outer error means that nobody knows what the connection still has open.
    pub(super) async fn judge_suspects(
        &mut self,
        doing: &str,
        batch: &Batch,
    ) -> Result<Result<(), Fault>, Fault> {
        let Some(shape) = &batch.shape else { return Ok(Ok(())) };
        if batch.suspects.rows.is_empty() || batch.suspects.answer.get().is_some() {
            return Ok(Ok(()));
        }
        let staged = batch.of_suspects();
        let width = self.width(&staged, Variant::Full);
        let index = match self.stage(doing, shape, Variant::Full, width).await? {
            Ok(index) => index,
            Err(fault) => return Ok(Err(fault)),
        };
        let stage = self.stage_at(index).ok_or_else(|| internal(doing, "a stage is missing"))?;
        let sql = exchange::found(shape, stage.number);
        let look = async {
            self.client.batch_execute("BEGIN").await?;
            let sink = self.client.copy_in(stage.copy(Variant::Full)).await?;
            send(sink, Frames::new(&staged, 0..staged.rows.len(), Variant::Full)).await?;
            let mut found = vec![None; staged.rows.len()];
            for row in self.client.query_typed(&sql, &[]).await? {
                let (at, version): (i32, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
                let place = usize::try_from(at).ok().and_then(|at| found.get_mut(at));
                if let (Some(place), Some(version)) = (place, Version::from_bytes(version)) {
                    *place = Some(Found { version, live: row.try_get(2)?, same: row.try_get(3)? });
                }
            }
            Ok::<_, Error>(found)
        };
        let looked = self.limits.wait(doing, look).await?;
        if let Err(error) = &looked
            && error.as_db_error().is_none()
        {
            return Err(sqlstate::fault(doing, error));
        }
        self.rollback(doing).await?;
        let exchanged = match looked.map_err(|error| sqlstate::fault(doing, &error)) {
            Ok(found) => judge(batch, &found),
            // A value takes more room than it looked: once more, in a wide stage.
            Err(fault)
                if width == Width::Narrow && fault.sqlstate.as_deref() == Some(TOO_LARGE) =>
            {
                return Ok(Err(fault));
            }
            // The old row of one of them does not fit the table of today: none can be told.
            Err(fault) if fault.class == Class::Poison => all(batch),
            Err(fault) => return Ok(Err(fault)),
        };
        // Another attempt may have been quicker; it saw the same.
        batch.suspects.answer.get_or_init(|| exchanged);
        Ok(Ok(()))
    }
}

fn judge(batch: &Batch, found: &[Option<Found>]) -> Vec<Exchanged> {
    let judged = batch.suspects.rows.iter().zip(found).filter_map(|(suspect, found)| {
        let certain = suspect.judge(*found, batch.truncate.as_ref())?;
        let (range, offset) = suspect.origin;
        Some(Exchanged { range, offset, certain })
    });
    judged.collect()
}

fn all(batch: &Batch) -> Vec<Exchanged> {
    let one = |(range, offset)| Exchanged { range, offset, certain: false };
    batch.suspects.rows.iter().map(|suspect| one(suspect.origin)).collect()
}
