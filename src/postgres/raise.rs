//! Source epochs by command: raising one, and showing what is written down.

use super::bookkeeping::finish;
use super::epochs::{columns, number, put_starts, read_epochs};
use super::{Destination, sqlstate};
use crate::fault::{Code, Fault};
use crate::sql::epochs;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

/// A source epoch that a person raises.
#[derive(Clone, Debug)]
pub struct Raise<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Only in this topic.
    pub topic: Option<&'a str>,
    /// Only in this partition of the topic.
    pub partition: Option<i32>,
    /// The number; one above the highest that is known when `None`.
    pub epoch: Option<u32>,
    /// Why, for people.
    pub reason: &'a str,
    /// Who.
    pub by: &'a str,
}

/// What raising an epoch comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The highest epoch of the source before.
    pub before: u32,
    /// The new one.
    pub epoch: u32,
    /// Topic, topic id, partition and first offset.
    pub starts: Vec<(String, Uuid, i32, i64)>,
}

/// One epoch of a source, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EpochRow {
    /// Name of the source.
    pub source: String,
    /// Its number.
    pub epoch: u32,
    /// Why it was raised.
    pub reason: String,
    /// Position of its initial snapshot, if one was seen.
    pub snapshot_position: Option<String>,
    /// Earliest source time seen at its start.
    pub since: Option<String>,
    /// When it was raised.
    pub raised_at: String,
    /// By whom.
    pub raised_by: String,
    /// Where it was seen first.
    pub topic: Option<String>,
    /// Where it was seen first.
    pub partition: Option<i32>,
    /// Where it was seen first.
    pub offset: Option<i64>,
}

/// Where an epoch starts in one partition, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StartRow {
    /// Name of the source.
    pub source: String,
    /// Topic name.
    pub topic: String,
    /// Topic id; nil when the broker does not tell.
    pub topic_id: String,
    /// Partition.
    pub partition: i32,
    /// First offset of the epoch.
    pub start_offset: i64,
    /// The epoch.
    pub epoch: u32,
    /// Why.
    pub reason: String,
    /// When it was written down.
    pub at: String,
}

impl Destination {
    /// Raises the epoch of a source from the stored positions on, and fences off whoever owns them. Without `execute`
    /// nothing is changed.
    ///
    /// # Errors
    /// Blocked when nothing is known of the source, or the number is not above what is known.
    pub async fn raise_epoch(
        &self,
        pipeline: &str,
        raise: &Raise<'_>,
        execute: bool,
    ) -> Result<Raised, Fault> {
        let doing = format!("raising the epoch of source {:?}", raise.source);
        let mut client = self.client().await?;
        let work = async {
            let tx = client.transaction().await?;
            let made = raise_by_command(&tx, pipeline, raise, execute).await;
            finish(tx, made).await
        };
        let raised = self.ask(&doing, work).await?;
        if raised.starts.is_empty() {
            return Err(Fault::blocked(
                Code::Configuration,
                format!("{doing}: no position of pipeline {pipeline:?} is known to be fed by it"),
                "`silversink epoch show` names the sources that are known; --topic picks the topic of one that is not",
            ));
        }
        if raised.epoch <= raised.before {
            return Err(Fault::blocked(
                Code::Configuration,
                format!("{doing}: it is in epoch {} already", raised.before),
                "leave --epoch out to go one above",
            ));
        }
        Ok(raised)
    }

    /// Every epoch and every start that a pipeline has written down.
    ///
    /// # Errors
    /// Transient when the server is away; blocked when the bookkeeping tables are missing.
    pub async fn source_epochs(
        &self,
        pipeline: &str,
    ) -> Result<(Vec<EpochRow>, Vec<StartRow>), Fault> {
        let doing = "reading source epochs";
        let client = self.client().await?;
        let parameter = [(&pipeline as _, Type::TEXT)];
        let epochs = self.ask(doing, client.query_typed(epochs::ALL_EPOCHS, &parameter)).await?;
        let starts = self.ask(doing, client.query_typed(epochs::ALL_STARTS, &parameter)).await?;
        let read = || {
            let epochs = epochs.iter().map(epoch_row).collect::<Result<_, _>>()?;
            let starts = starts.iter().map(start_row).collect::<Result<_, _>>()?;
            Ok((epochs, starts))
        };
        read().map_err(|e| sqlstate::fault(doing, &e))
    }
}

async fn raise_by_command(
    tx: &Transaction<'_>,
    pipeline: &str,
    raise: &Raise<'_>,
    execute: bool,
) -> Result<Raised, Error> {
    tx.query_typed(epochs::LOCK, &[(&pipeline, Type::TEXT), (&raise.source, Type::TEXT)]).await?;
    let before = read_epochs(tx, pipeline, raise.source).await?.highest();
    let epoch = raise.epoch.unwrap_or_else(|| before.saturating_add(1));
    let rows = tx
        .query_typed(
            epochs::RAISE_AT,
            &[
                (&pipeline, Type::TEXT),
                (&raise.source, Type::TEXT),
                (&raise.topic, Type::TEXT),
                (&raise.partition, Type::INT4),
            ],
        )
        .await?;
    let starts = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)))
        .collect::<Result<Vec<(String, Uuid, i32, i64)>, Error>>()?;
    if execute && epoch > before && !starts.is_empty() {
        let number = i64::from(epoch);
        let none: [Option<&str>; 1] = [None];
        tx.execute_typed(
            epochs::PUT_EPOCH,
            &[
                (&pipeline, Type::TEXT),
                (&raise.source, Type::TEXT),
                (&number, Type::INT8),
                (&raise.reason, Type::TEXT),
                (&none[0], Type::TEXT),
                (&None::<i64>, Type::INT8),
                (&raise.by, Type::TEXT),
                (&None::<&str>, Type::TEXT),
                (&None::<Uuid>, Type::UUID),
                (&None::<i32>, Type::INT4),
                (&None::<i64>, Type::INT8),
            ],
        )
        .await?;
        put_starts(tx, pipeline, raise.source, epoch, raise.reason, &starts).await?;
        let (topics, ids, partitions, _) = columns(&starts);
        tx.execute_typed(
            epochs::FENCE_OFF,
            &[
                (&pipeline, Type::TEXT),
                (&topics, Type::TEXT_ARRAY),
                (&ids, Type::UUID_ARRAY),
                (&partitions, Type::INT4_ARRAY),
            ],
        )
        .await?;
    }
    Ok(Raised { before, epoch, starts })
}

fn epoch_row(row: &Row) -> Result<EpochRow, Error> {
    Ok(EpochRow {
        source: row.try_get(0)?,
        epoch: number(row, 1)?,
        reason: row.try_get(2)?,
        snapshot_position: row.try_get(3)?,
        since: row.try_get(4)?,
        raised_at: row.try_get(5)?,
        raised_by: row.try_get(6)?,
        topic: row.try_get(7)?,
        partition: row.try_get(8)?,
        offset: row.try_get(9)?,
    })
}

fn start_row(row: &Row) -> Result<StartRow, Error> {
    let topic_id: Uuid = row.try_get(2)?;
    Ok(StartRow {
        source: row.try_get(0)?,
        topic: row.try_get(1)?,
        topic_id: topic_id.to_string(),
        partition: row.try_get(3)?,
        start_offset: row.try_get(4)?,
        epoch: number(row, 5)?,
        reason: row.try_get(6)?,
        at: row.try_get(7)?,
    })
}
