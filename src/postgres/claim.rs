//! Claims: raising the fence, reading where to start, recording starts and stops (I6).

use super::bookkeeping::finish;
use super::epochs::{EnteredBy, all_epochs, starts_of};
use super::{Destination, sqlstate};
use crate::epoch::{Epochs, Lineage, Start, stored};
use crate::fault::{Class, Code, Fault};
use crate::sql::ledger;
use crate::table::TableName;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// A partition that was assigned to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimAsk {
    /// Topic name.
    pub topic: String,
    /// Topic id; nil when the broker does not tell.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// The Silver table it feeds, for whoever reads the position; `None` when it feeds none.
    pub table: Option<TableName>,
}

/// What the destination knows about a claimed partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Topic name.
    pub topic: String,
    /// Topic id, as asked.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Our epoch: every write of ours must carry it.
    pub owner_epoch: i64,
    /// How far the partition has been applied; `None` when it never started.
    pub stored: Option<StoredPosition>,
    /// Another topic id under which this topic and partition has a position: the topic was deleted and created again
    /// (or, when one of the two is nil, the broker did not tell ids then or now).
    pub other_incarnation: Option<Uuid>,
    /// What was known of the sources at the stored position.
    pub lineages: Vec<(String, Lineage)>,
    /// Where source epochs start in this incarnation of the partition.
    pub starts: Vec<Start>,
    /// The epochs of each source that partitions of the table have entered.
    pub epochs: Vec<(String, Epochs)>,
}

/// A stored position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// The next offset to apply.
    pub next_offset: i64,
    /// Its leader epoch, if known.
    pub leader_epoch: Option<i32>,
}

/// Where a claimed partition starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginAt<'r> {
    /// Topic name.
    pub topic: &'r str,
    /// Topic id, as claimed.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// The epoch of our claim.
    pub owner_epoch: i64,
    /// First offset to apply.
    pub start_offset: i64,
    /// True when the position is moved (reset from outside): counts start over.
    pub rewound: bool,
    /// The start rule that decided, for people.
    pub reason: &'r str,
    /// The lineages to go on with where the position is moved, in their stored form.
    pub lineage: Option<String>,
}

/// Attempts of a claim, each as long as `lock_timeout`, before it is given back to the caller's backoff.
const ATTEMPTS: u32 = 3;

#[derive(Default)]
struct Keys<'a> {
    topics: Vec<&'a str>,
    topic_ids: Vec<Uuid>,
    partitions: Vec<i32>,
}

impl Destination {
    /// Raises the owner epoch of each partition by one, in one transaction, and tells where each stands.
    ///
    /// A predecessor's flight is waited for: the server finishes it without its client. When the wait for its lock runs
    /// out, its backend is terminated (allowed for sessions of the same role) and the claim repeated.
    ///
    /// # Errors
    /// Transient when the lock is not to be had or the server is away.
    pub async fn claim(
        &self,
        pipeline: &str,
        owner: &str,
        asks: &[ClaimAsk],
    ) -> Result<Vec<Claimed>, Fault> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let mut attempt = 1;
        loop {
            match self.claim_once(pipeline, owner, asks).await {
                Err(fault) if fault.sqlstate.as_deref() == Some("55P03") && attempt < ATTEMPTS => {
                    let ended = self.terminate_holders(pipeline, asks).await?;
                    tracing::warn!(
                        ended,
                        attempt,
                        "claim waited too long for a predecessor's transaction"
                    );
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn claim_once(
        &self,
        pipeline: &str,
        owner: &str,
        asks: &[ClaimAsk],
    ) -> Result<Vec<Claimed>, Fault> {
        let doing = format!("claiming {} partitions", asks.len());
        let keys = Keys::of(asks);
        let schemas: Vec<Option<&str>> =
            asks.iter().map(|a| a.table.as_ref().map(|t| t.schema.as_str())).collect();
        let tables: Vec<Option<&str>> =
            asks.iter().map(|a| a.table.as_ref().map(|t| t.name.as_str())).collect();
        let mut client = self.client().await?;
        let work = async {
            let tx = client.transaction().await?;
            let made = async {
                let claimed = tx
                    .query_typed(
                        ledger::CLAIM,
                        &[
                            (&pipeline, Type::TEXT),
                            (&owner, Type::TEXT),
                            (&keys.topics, Type::TEXT_ARRAY),
                            (&keys.topic_ids, Type::UUID_ARRAY),
                            (&keys.partitions, Type::INT4_ARRAY),
                            (&schemas, Type::TEXT_ARRAY),
                            (&tables, Type::TEXT_ARRAY),
                        ],
                    )
                    .await?;
                let others = tx
                    .query_typed(
                        ledger::OTHER_INCARNATIONS,
                        &[
                            (&pipeline, Type::TEXT),
                            (&keys.topics, Type::TEXT_ARRAY),
                            (&keys.topic_ids, Type::UUID_ARRAY),
                            (&keys.partitions, Type::INT4_ARRAY),
                        ],
                    )
                    .await?;
                let starts =
                    starts_of(&tx, pipeline, &keys.topics, &keys.topic_ids, &keys.partitions)
                        .await?;
                let lineages = claimed
                    .iter()
                    .map(|row| row.try_get(6))
                    .collect::<Result<Vec<Option<String>>, _>>()?;
                let mut claimed = claimed.iter().map(claimed_row).collect::<Result<Vec<_>, _>>()?;
                for (topic, partition, start) in starts {
                    let of = |c: &&mut Claimed| c.topic == topic && c.partition == partition;
                    if let Some(claimed) = claimed.iter_mut().find(of) {
                        claimed.starts.push(start);
                    }
                }
                for row in &others {
                    let (topic, partition): (&str, i32) = (row.try_get(0)?, row.try_get(1)?);
                    let id: Uuid = row.try_get(2)?;
                    for c in
                        claimed.iter_mut().filter(|c| c.topic == topic && c.partition == partition)
                    {
                        c.other_incarnation = Some(id);
                    }
                }
                let epochs = all_epochs(&tx, pipeline).await?;
                let reached = EnteredBy::read(&tx, pipeline).await?;
                for claimed in &mut claimed {
                    let of = |ask: &&ClaimAsk| {
                        ask.topic == claimed.topic && ask.partition == claimed.partition
                    };
                    let table = asks.iter().find(of).and_then(|ask| ask.table.as_ref());
                    let table = table.map(|table| (table.schema.as_str(), table.name.as_str()));
                    let here = |(source, epochs): &(String, Epochs)| {
                        let numbers = reached.numbers(&claimed.topic, table, source);
                        (!numbers.is_empty()).then(|| (source.clone(), epochs.only(&numbers)))
                    };
                    claimed.epochs = epochs.iter().filter_map(here).collect();
                }
                Ok((claimed, lineages))
            }
            .await;
            finish(tx, made).await
        };
        let (mut claimed, lineages) = self.ask(&doing, work).await.map_err(raced)?;
        for (claimed, text) in claimed.iter_mut().zip(lineages) {
            claimed.lineages = match text.as_deref().map_or(Ok(Vec::new()), stored::from_text) {
                Ok(lineages) => lineages,
                Err(error) => {
                    let (topic, partition) = (&claimed.topic, claimed.partition);
                    let text = format!("{doing}: the lineage of {topic}-{partition}: {error}");
                    return Err(Fault::blocked(
                        Code::Internal,
                        text,
                        "set lineage to null in silversink.position; a new source epoch is then only found by what follows",
                    ));
                }
            };
        }
        Ok(claimed)
    }

    async fn terminate_holders(&self, pipeline: &str, asks: &[ClaimAsk]) -> Result<i64, Fault> {
        let doing = "ending a predecessor's transaction";
        let keys = Keys::of(asks);
        let client = self.client().await?;
        let row = self
            .ask(
                doing,
                client.query_typed_one(
                    ledger::TERMINATE_HOLDERS,
                    &[
                        (&pipeline, Type::TEXT),
                        (&keys.topics, Type::TEXT_ARRAY),
                        (&keys.topic_ids, Type::UUID_ARRAY),
                        (&keys.partitions, Type::INT4_ARRAY),
                    ],
                ),
            )
            .await?;
        row.try_get(0).map_err(|e| sqlstate::fault(doing, &e))
    }

    /// Records where claimed partitions start, all or none.
    ///
    /// # Errors
    /// Fenced when one of them has been claimed by another worker since.
    pub async fn begin_at(&self, pipeline: &str, starts: &[BeginAt<'_>]) -> Result<(), Fault> {
        let doing = format!("starting {} partitions", starts.len());
        let topics: Vec<&str> = starts.iter().map(|s| s.topic).collect();
        let topic_ids: Vec<Uuid> = starts.iter().map(|s| s.topic_id).collect();
        let partitions: Vec<i32> = starts.iter().map(|s| s.partition).collect();
        let epochs: Vec<i64> = starts.iter().map(|s| s.owner_epoch).collect();
        let offsets: Vec<i64> = starts.iter().map(|s| s.start_offset).collect();
        let rewound: Vec<bool> = starts.iter().map(|s| s.rewound).collect();
        let reasons: Vec<&str> = starts.iter().map(|s| s.reason).collect();
        let lineages: Vec<Option<&str>> = starts.iter().map(|s| s.lineage.as_deref()).collect();
        let mut client = self.client().await?;
        let work = async {
            let tx = client.transaction().await?;
            let updated = tx
                .execute_typed(
                    ledger::BEGIN_AT,
                    &[
                        (&pipeline, Type::TEXT),
                        (&topics, Type::TEXT_ARRAY),
                        (&topic_ids, Type::UUID_ARRAY),
                        (&partitions, Type::INT4_ARRAY),
                        (&epochs, Type::INT8_ARRAY),
                        (&offsets, Type::INT8_ARRAY),
                        (&rewound, Type::BOOL_ARRAY),
                        (&reasons, Type::TEXT_ARRAY),
                        (&lineages, Type::TEXT_ARRAY),
                    ],
                )
                .await;
            match updated {
                Ok(n) if usize::try_from(n) != Ok(starts.len()) => tx.rollback().await.map(|()| n),
                other => finish(tx, other).await,
            }
        };
        let updated = self.ask(&doing, work).await?;
        if usize::try_from(updated) == Ok(starts.len()) { Ok(()) } else { Err(fenced(&doing)) }
    }

    /// Records that a partition is `running` or `stopped`, and why.
    ///
    /// # Errors
    /// Fenced when it has been claimed by another worker since.
    #[expect(clippy::too_many_arguments, reason = "the key of a position has four parts")]
    pub async fn mark_state(
        &self,
        pipeline: &str,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
        owner_epoch: i64,
        state: &str,
        reason: Option<&str>,
    ) -> Result<(), Fault> {
        let doing = format!("marking {topic}-{partition} as {state}");
        let client = self.client().await?;
        let updated = self
            .ask(
                &doing,
                client.execute_typed(
                    ledger::MARK_STATE,
                    &[
                        (&pipeline, Type::TEXT),
                        (&topic, Type::TEXT),
                        (&topic_id, Type::UUID),
                        (&partition, Type::INT4),
                        (&owner_epoch, Type::INT8),
                        (&state, Type::TEXT),
                        (&reason, Type::TEXT),
                    ],
                ),
            )
            .await?;
        if updated == 1 { Ok(()) } else { Err(fenced(&doing)) }
    }
}

impl<'a> Keys<'a> {
    fn of(asks: &'a [ClaimAsk]) -> Self {
        Self {
            topics: asks.iter().map(|a| a.topic.as_str()).collect(),
            topic_ids: asks.iter().map(|a| a.topic_id).collect(),
            partitions: asks.iter().map(|a| a.partition).collect(),
        }
    }
}

fn claimed_row(row: &Row) -> Result<Claimed, tokio_postgres::Error> {
    let next_offset: Option<i64> = row.try_get(4)?;
    let leader_epoch = row.try_get(5)?;
    Ok(Claimed {
        topic: row.try_get(0)?,
        topic_id: row.try_get(1)?,
        partition: row.try_get(2)?,
        owner_epoch: row.try_get(3)?,
        stored: next_offset.map(|next_offset| StoredPosition { next_offset, leader_epoch }),
        other_incarnation: None,
        lineages: Vec::new(),
        starts: Vec::new(),
        epochs: Vec::new(),
    })
}

/// A claim touches our own tables only: a unique violation there is a race of two first claims.
fn raced(fault: Fault) -> Fault {
    match fault.sqlstate.as_deref() {
        Some("23505") => Fault { class: Class::Transient, code: Code::PostgresConflict, ..fault },
        _ => fault,
    }
}

fn fenced(doing: &str) -> Fault {
    Fault::new(Class::Fenced, Code::Fenced, format!("{doing}: another worker has claimed it since"))
}
