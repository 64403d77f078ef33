//! Source epochs in the destination: entering one, and finding out that they are lost.

use super::Destination;
use super::bookkeeping::finish;
use crate::epoch::{Entered, Epoch, Epochs, Signal, Start};
use crate::fault::{Class, Code, Fault};
use crate::sql::{epochs, ident};
use crate::table::{Bookkeeping, TableName};
use crate::version::Version;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

/// A source's positions start over in one partition that is ours.
#[derive(Clone, Debug)]
pub struct StartOver {
    /// Name of the source.
    pub source: String,
    /// Topic name.
    pub topic: String,
    /// Topic id, as claimed.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// The epoch of our claim.
    pub owner_epoch: i64,
    /// First offset of the new epoch.
    pub offset: i64,
    /// The source epoch so far.
    pub current: u32,
    /// Why.
    pub signal: Signal,
    /// Source time of the beginning, microseconds since 2000-01-01.
    pub source_ts: Option<i64>,
    /// Topics and partitions of our lane: whoever reads the table's others has to be told.
    pub lane: Vec<(String, i32)>,
}

impl Destination {
    /// Enters the epoch that a partition's positions start over into, and writes it down: one transaction under a lock of
    /// the source. Repeating it after a lost answer changes nothing. Tells all epochs of the source that the table's
    /// partitions have entered beside it; those who read the others and do not know of it are fenced off.
    ///
    /// # Errors
    /// Fenced when the partition has been claimed by another worker since; transient when the server is away.
    pub async fn enter_epoch(
        &self,
        pipeline: &str,
        owner: &str,
        over: &StartOver,
    ) -> Result<(Entered, Epochs), Fault> {
        let doing =
            format!("entering a source epoch at {}-{}@{}", over.topic, over.partition, over.offset);
        let mut client = self.client().await?;
        let work = async {
            let tx = client.transaction().await?;
            let made = enter(&tx, pipeline, owner, over).await;
            finish(tx, made).await
        };
        let entered = self.ask(&doing, work).await.map_err(|fault| match fault.class {
            // A time that PostgreSQL cannot hold is a property of the record, but an epoch must not be skipped for it.
            Class::Poison => Fault { class: Class::Blocked, ..fault },
            _ => fault,
        })?;
        match entered {
            Some(known) if known.0.number > over.current => Ok(known),
            Some((entered, _)) => Err(Fault::new(
                Class::Blocked,
                Code::Internal,
                format!("{doing}: epoch {} is not above {}", entered.number, over.current),
            )),
            None => Err(Fault::new(
                Class::Fenced,
                Code::Fenced,
                format!("{doing}: another worker has claimed the partition since"),
            )),
        }
    }

    /// Makes sure that a table holds no row of an epoch above those that the registry knows. Where the pipeline has not
    /// applied anything to the table yet, as far as positions know, every row is looked at; else a sample of 256 blocks,
    /// because a scan of a large table at each start would be too dear, and a registry that is lost without the positions
    /// beside it is a deed of hands.
    ///
    /// # Errors
    /// Blocked `source_epoch_behind`, with both numbers.
    pub async fn check_epochs(
        &self,
        pipeline: &str,
        table: &TableName,
        names: &Bookkeeping,
    ) -> Result<(), Fault> {
        let doing = format!("comparing the source epochs of {table} with the registry");
        let client = self.client().await?;
        let work = async {
            let known = client.query_typed_one(epochs::HIGHEST, &[(&pipeline, Type::TEXT)]).await?;
            let known = number(&known, 0)?;
            let above = *epochs::above(known).as_bytes();
            let above = above.as_slice();
            let applied = client
                .query_typed_one(
                    epochs::HAS_APPLIED,
                    &[
                        (&pipeline, Type::TEXT),
                        (&table.schema, Type::TEXT),
                        (&table.name, Type::TEXT),
                    ],
                )
                .await?;
            let sampled: bool = applied.try_get(0)?;
            let text = epochs::row_above(table, names, sampled);
            let found = if sampled {
                let quoted = ident::table(table);
                let share = epochs::sample_percent();
                let percent = client.query_typed_one(&share, &[(&quoted, Type::TEXT)]).await?;
                let percent: f32 = percent.try_get(0)?;
                client
                    .query_typed(&text, &[(&above, Type::BYTEA), (&percent, Type::FLOAT4)])
                    .await?
            } else {
                client.query_typed(&text, &[(&above, Type::BYTEA)]).await?
            };
            let Some(row) = found.first() else { return Ok(None) };
            let version: &[u8] = row.try_get(0)?;
            let found = Version::from_bytes(version).map_or(0, |found| found.parts().source_epoch);
            // Another worker may have raised it meanwhile; the registry is written before the rows.
            let known = client.query_typed_one(epochs::HIGHEST, &[(&pipeline, Type::TEXT)]).await?;
            let known = number(&known, 0)?;
            Ok((found > known).then_some((found, known)))
        };
        match self.ask(&doing, work).await? {
            None => Ok(()),
            Some((found, known)) => Err(Fault::blocked(
                Code::SourceEpochBehind,
                format!(
                    "table {table} holds rows of source epoch {found}, the registry of pipeline {pipeline:?} knows none above {known}: changes would be taken for older than they are"
                ),
                format!(
                    "restore silversink.source_epoch and silversink.source_epoch_start from a backup; where there is none, `silversink epoch raise --source NAME --topic TOPIC --epoch {} --execute` puts what follows above the table, and a rebuild brings what was skipped",
                    found.saturating_add(1)
                ),
            )),
        }
    }
}

async fn enter(
    tx: &Transaction<'_>,
    pipeline: &str,
    owner: &str,
    over: &StartOver,
) -> Result<Option<(Entered, Epochs)>, Error> {
    let source = [(&pipeline as _, Type::TEXT), (&over.source as _, Type::TEXT)];
    tx.query_typed(epochs::LOCK, &source).await?;
    let owned = tx
        .query_typed(
            epochs::FENCE,
            &[
                (&pipeline, Type::TEXT),
                (&over.topic, Type::TEXT),
                (&over.topic_id, Type::UUID),
                (&over.partition, Type::INT4),
                (&over.owner_epoch, Type::INT8),
            ],
        )
        .await?;
    let Some(owned) = owned.first() else { return Ok(None) };
    let (schema, table): (Option<&str>, Option<&str>) = (owned.try_get(0)?, owned.try_get(1)?);
    let written = tx
        .query_typed(
            epochs::START_AT,
            &[
                (&pipeline, Type::TEXT),
                (&over.source, Type::TEXT),
                (&over.topic, Type::TEXT),
                (&over.topic_id, Type::UUID),
                (&over.partition, Type::INT4),
                (&over.offset, Type::INT8),
            ],
        )
        .await?;
    let mut known = read_epochs(tx, pipeline, &over.source).await?;
    let reached = EnteredBy::read(tx, pipeline).await?;
    let mut numbers = reached.numbers(&over.topic, schema.zip(table), &over.source);
    let told = known.only(&numbers);
    if let Some(row) = written.first() {
        let number = number(row, 0)?;
        if number > over.current {
            return Ok(Some((Entered { number, raised: false }, told)));
        }
    }
    // A partition that sees the source for the first time begins where the others of its table are.
    let entered = match over.signal {
        Signal::FirstSeen { .. } => told.clone().enter(over.current, over.signal, over.source_ts),
        _ => known.enter(over.current, over.signal, over.source_ts),
    };
    numbers.push(entered.number);
    let Some(epoch) = known.all().iter().find(|epoch| epoch.number == entered.number) else {
        return Ok(Some((entered, known)));
    };
    let (number, reason) = (i64::from(epoch.number), over.signal.as_str());
    let snapshot = epoch.snapshot.map(|position| position.to_string());
    tx.execute_typed(
        epochs::PUT_EPOCH,
        &[
            (&pipeline, Type::TEXT),
            (&over.source, Type::TEXT),
            (&number, Type::INT8),
            (&reason, Type::TEXT),
            (&snapshot, Type::TEXT),
            (&epoch.since, Type::INT8),
            (&owner, Type::TEXT),
            (&over.topic, Type::TEXT),
            (&over.topic_id, Type::UUID),
            (&over.partition, Type::INT4),
            (&over.offset, Type::INT8),
        ],
    )
    .await?;
    let start = (over.topic.clone(), over.topic_id, over.partition, over.offset);
    put_starts(tx, pipeline, &over.source, entered.number, reason, &[start]).await?;
    let tells = known.only(&numbers);
    if tells != told {
        let knew = told.all().iter().any(|known| known.number == entered.number);
        let (topics, partitions): (Vec<_>, Vec<_>) =
            over.lane.iter().map(|(topic, partition)| (topic.as_str(), *partition)).unzip();
        tx.execute_typed(
            epochs::FENCE_OTHERS,
            &[
                (&pipeline, Type::TEXT),
                (&over.source, Type::TEXT),
                (&over.topic, Type::TEXT),
                (&schema, Type::TEXT),
                (&table, Type::TEXT),
                (&topics, Type::TEXT_ARRAY),
                (&partitions, Type::INT4_ARRAY),
                (&knew, Type::BOOL),
                (&number, Type::INT8),
                (&epoch.since, Type::INT8),
            ],
        )
        .await?;
    }
    Ok(Some((entered, tells)))
}

/// Which epochs partitions have entered: by topic and table, source and number.
pub(super) struct EnteredBy(Vec<Row>);

impl EnteredBy {
    pub(super) async fn read(tx: &Transaction<'_>, pipeline: &str) -> Result<Self, Error> {
        Ok(Self(tx.query_typed(epochs::ENTERED, &[(&pipeline, Type::TEXT)]).await?))
    }

    /// The epochs of a source that some partition of the topic or of its table has entered.
    pub(super) fn numbers(
        &self,
        topic: &str,
        table: Option<(&str, &str)>,
        source: &str,
    ) -> Vec<u32> {
        let here = |row: &&Row| {
            let its: Option<(&str, &str)> =
                row.get::<_, Option<&str>>(1).zip(row.get::<_, Option<&str>>(2));
            row.get::<_, &str>(3) == source
                && (row.get::<_, &str>(0) == topic || its.is_some() && its == table)
        };
        self.0.iter().filter(here).filter_map(|row| number(row, 4).ok()).collect()
    }
}

pub(super) async fn put_starts(
    tx: &Transaction<'_>,
    pipeline: &str,
    source: &str,
    epoch: u32,
    reason: &str,
    starts: &[(String, Uuid, i32, i64)],
) -> Result<(), Error> {
    let (topics, ids, partitions, offsets) = columns(starts);
    tx.execute_typed(
        epochs::PUT_STARTS,
        &[
            (&pipeline, Type::TEXT),
            (&source, Type::TEXT),
            (&i64::from(epoch), Type::INT8),
            (&reason, Type::TEXT),
            (&topics, Type::TEXT_ARRAY),
            (&ids, Type::UUID_ARRAY),
            (&partitions, Type::INT4_ARRAY),
            (&offsets, Type::INT8_ARRAY),
        ],
    )
    .await
    .map(|_| ())
}

pub(super) fn columns(
    starts: &[(String, Uuid, i32, i64)],
) -> (Vec<&str>, Vec<Uuid>, Vec<i32>, Vec<i64>) {
    let mut fields = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (topic, id, partition, offset) in starts {
        fields.0.push(topic.as_str());
        fields.1.push(*id);
        fields.2.push(*partition);
        fields.3.push(*offset);
    }
    fields
}

pub(super) async fn read_epochs(
    tx: &Transaction<'_>,
    pipeline: &str,
    source: &str,
) -> Result<Epochs, Error> {
    let rows =
        tx.query_typed(epochs::EPOCHS, &[(&pipeline, Type::TEXT), (&source, Type::TEXT)]).await?;
    Ok(Epochs::new(rows.iter().map(read_epoch).collect::<Result<_, _>>()?))
}

fn read_epoch(row: &Row) -> Result<Epoch, Error> {
    let snapshot: Option<&str> = row.try_get(1)?;
    Ok(Epoch {
        number: number(row, 0)?,
        snapshot: snapshot.and_then(|text| text.parse().ok()),
        since: row.try_get(2)?,
    })
}

/// The epochs of every source of a pipeline.
pub(super) async fn all_epochs(
    tx: &Transaction<'_>,
    pipeline: &str,
) -> Result<Vec<(String, Epochs)>, Error> {
    let rows = tx.query_typed(epochs::EPOCHS_OF_ALL, &[(&pipeline, Type::TEXT)]).await?;
    let mut sources: BTreeMap<String, Vec<Epoch>> = BTreeMap::new();
    for row in &rows {
        sources.entry(row.try_get(3)?).or_default().push(read_epoch(row)?);
    }
    Ok(sources.into_iter().map(|(source, epochs)| (source, Epochs::new(epochs))).collect())
}

/// The starts of partitions, by topic and partition.
pub(super) async fn starts_of(
    tx: &Transaction<'_>,
    pipeline: &str,
    topics: &[&str],
    topic_ids: &[Uuid],
    partitions: &[i32],
) -> Result<Vec<(String, i32, Start)>, Error> {
    let rows = tx
        .query_typed(
            epochs::STARTS_OF,
            &[
                (&pipeline, Type::TEXT),
                (&topics, Type::TEXT_ARRAY),
                (&topic_ids, Type::UUID_ARRAY),
                (&partitions, Type::INT4_ARRAY),
            ],
        )
        .await?;
    let start = |row: &Row| {
        let start =
            Start { source: row.try_get(2)?, offset: row.try_get(3)?, epoch: number(row, 4)? };
        Ok((row.try_get(0)?, row.try_get(1)?, start))
    };
    rows.iter().map(start).collect()
}

/// An epoch; a number that somebody wrote beyond 32 bits counts as the highest there is.
pub(super) fn number(row: &Row, column: usize) -> Result<u32, Error> {
    let number: i64 = row.try_get(column)?;
    Ok(u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX }))
}
