//! The claim of assigned partitions: facts, fence, start rules (I2, I6, I12).

use super::report::{Granted, Report, Reports};
use super::{Shared, blocking};
use crate::core::start::{self, GroupOffset, Log, Reason, Start, Stored};
use crate::core::{Generation, PartitionId};
use crate::epoch::{Lineage, Tracker, stored};
use crate::fault::{Code, Fault};
use crate::kafka::consumer::TopicPartition;
use crate::kafka::marker::is_ours;
use crate::postgres::{BeginAt, ClaimAsk, Claimed};
use crate::table::TableName;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A partition to claim.
pub(super) struct Ask {
    pub(super) id: PartitionId,
    pub(super) partition: TopicPartition,
    pub(super) table: TableName,
}

/// What Kafka says about the asked partitions, in their order.
struct KafkaFacts {
    topic_ids: BTreeMap<String, Uuid>,
    logs: Vec<(i64, i64)>,
    groups: Vec<Option<crate::kafka::facts::GroupOffset>>,
}

pub(super) async fn claim(
    shared: Arc<Shared>,
    reports: Reports,
    generation: Generation,
    asks: Vec<Ask>,
) {
    let report = match grants(&shared, &asks).await {
        Ok(grants) => Report::Claimed { generation, grants },
        Err(fault) => Report::ClaimFailed {
            partitions: asks.iter().map(|ask| ask.id).collect(),
            generation,
            fault,
        },
    };
    reports.send(report);
}

async fn grants(
    shared: &Shared,
    asks: &[Ask],
) -> Result<Vec<(PartitionId, Result<Granted, Fault>)>, Fault> {
    let kafka = ask_kafka(shared, asks).await?;
    let mut claim_asks = Vec::with_capacity(asks.len());
    for ask in asks {
        let topic = &*ask.partition.topic;
        let Some(topic_id) = kafka.topic_ids.get(topic).copied() else {
            // We were assigned it, so it exists: the broker that was asked lags behind.
            let text = format!("the broker does not know topic {topic} yet");
            return Err(Fault::transient(Code::KafkaUnavailable, text));
        };
        claim_asks.push(ClaimAsk {
            topic: topic.to_owned(),
            topic_id,
            partition: ask.partition.partition,
            table: Some(ask.table.clone()),
        });
    }
    let pipeline = &shared.config.name;
    let claimed = shared.destination.claim(pipeline, &shared.owner, &claim_asks).await?;
    let mut grants = Vec::with_capacity(asks.len());
    let mut begins = Vec::new();
    for (at, ask) in asks.iter().enumerate() {
        let found = claimed.iter().find(|claimed| {
            claimed.topic == *ask.partition.topic && claimed.partition == ask.partition.partition
        });
        let (Some(claimed), Some(log)) = (found, kafka.logs.get(at)) else { continue };
        let group = kafka.groups.get(at).and_then(Option::as_ref);
        let facts = facts(shared, claimed, *log, group);
        let grant = match start::decide(&facts) {
            Ok(mut start) => {
                let goes_on = facts.stored.map(|stored| stored.next_offset) == Some(start.offset);
                let lineages = if goes_on {
                    claimed.lineages.clone()
                } else {
                    // Elsewhere they start anew; what is written down stays.
                    let position = facts.stored.map_or(0, |stored| stored.next_offset);
                    Tracker::anew(&claimed.lineages, &claimed.starts, start.offset, position)
                };
                let (goes_on, lineages) =
                    match again(claimed, start.offset, lineages.clone(), log.0) {
                        Some((offset, lineages)) if offset < start.offset => {
                            start = Start { offset, reason: Reason::ReadAgain };
                            (false, lineages)
                        }
                        // What there is to be read again is gone from the log.
                        Some((_, lineages)) => (goes_on, lineages),
                        None => (goes_on, lineages),
                    };
                if !goes_on {
                    begins.push(begin(claimed, start, &lineages));
                }
                say(ask, &facts, start);
                Ok(Granted {
                    owner_epoch: claimed.owner_epoch,
                    offset: start.offset,
                    topic_id: claimed.topic_id,
                    lineages,
                    starts: claimed.starts.clone(),
                    epochs: claimed.epochs.clone(),
                    log_end: log.1,
                    progressed: facts.stored.is_some_and(|stored| stored.next_offset > log.0),
                    mirror: facts.group.is_none_or(|g| !g.ours || g.offset != start.offset),
                })
            }
            Err(fault) => {
                let (code, state) = (fault.code.as_str(), "stopped");
                shared
                    .destination
                    .mark_state(
                        pipeline,
                        &claimed.topic,
                        claimed.topic_id,
                        claimed.partition,
                        claimed.owner_epoch,
                        state,
                        Some(code),
                    )
                    .await?;
                Err(fault)
            }
        };
        grants.push((ask.id, grant));
    }
    shared.destination.begin_at(pipeline, &begins).await?;
    Ok(grants)
}

async fn ask_kafka(shared: &Shared, asks: &[Ask]) -> Result<KafkaFacts, Fault> {
    let partitions: Vec<_> = asks.iter().map(|ask| ask.partition.clone()).collect();
    let facts = Arc::clone(&shared.facts);
    blocking(move || {
        let mut topics: Vec<String> = partitions.iter().map(|p| p.topic.to_string()).collect();
        topics.sort_unstable();
        topics.dedup();
        Ok(KafkaFacts {
            topic_ids: facts.topic_ids(&topics)?,
            logs: facts.watermarks(&partitions)?,
            groups: facts.group_offsets(&partitions)?,
        })
    })
    .await
}

fn facts(
    shared: &Shared,
    claimed: &Claimed,
    log: (i64, i64),
    group: Option<&crate::kafka::facts::GroupOffset>,
) -> start::Facts {
    start::Facts {
        stored: claimed.stored.as_ref().map(|stored| Stored { next_offset: stored.next_offset }),
        other_incarnation: claimed.other_incarnation.is_some(),
        group: group.map(|g| GroupOffset { offset: g.offset, ours: is_ours(&g.metadata) }),
        log: Log { start: log.0, end: log.1 },
        adopt_kafka_offsets: shared.config.adopt_kafka_offsets,
    }
}

/// Where the partition has to be read again from, if another one has found a source epoch that it had gone past.
fn again(
    claimed: &Claimed,
    offset: i64,
    lineages: Vec<(String, Lineage)>,
    log_start: i64,
) -> Option<(i64, Vec<(String, Lineage)>)> {
    let mut tracker = Tracker::new(lineages, claimed.starts.clone());
    for (source, epochs) in &claimed.epochs {
        tracker.learn(source, epochs.clone());
    }
    tracker.read_again(offset, log_start)
}

fn begin<'c>(claimed: &'c Claimed, start: Start, lineages: &[(String, Lineage)]) -> BeginAt<'c> {
    BeginAt {
        topic: &claimed.topic,
        topic_id: claimed.topic_id,
        partition: claimed.partition,
        owner_epoch: claimed.owner_epoch,
        start_offset: start.offset,
        rewound: claimed.stored.is_some(),
        reason: start.reason.as_str(),
        lineage: stored::to_text(lineages),
    }
}

fn say(ask: &Ask, facts: &start::Facts, start: Start) {
    let (topic, partition) = (&*ask.partition.topic, ask.partition.partition);
    match start.reason {
        Reason::DestinationRewound => tracing::warn!(
            topic,
            partition,
            offset = start.offset,
            kafka = facts.group.map(|g| g.offset),
            "Kafka is ahead of the destination: it lost its tail or was restored; the difference is replayed"
        ),
        Reason::ResetHonoured => tracing::warn!(
            topic,
            partition,
            offset = start.offset,
            position = facts.stored.map(|s| s.next_offset),
            "the group offset was moved back: replaying from there, older changes are superseded"
        ),
        Reason::ReadAgain => tracing::warn!(
            topic,
            partition,
            offset = start.offset,
            position = facts.stored.map(|s| s.next_offset),
            "another partition of the table has found the beginning of a source epoch that this one had gone past: reading it \
             again puts its rows there, older changes are superseded"
        ),
        Reason::Earliest | Reason::Position | Reason::Adopted => tracing::info!(
            topic,
            partition,
            offset = start.offset,
            reason = start.reason.as_str(),
            "partition starts"
        ),
    }
}
