//! Source epochs in the worker: which one a record belongs to, and the job that writes a new one down.
//!
//! # Decisions
//! - A record that starts an epoch waits like one that lacks its plan: what came before it lands, the epoch is written
//!   down, and the record is read again. So a stored row never carries an epoch that the registry does not know.
//! - A partition of the lane that had gone past the new epoch's beginning goes back by being claimed again, as if another
//!   worker had taken it; whoever reads the table's other partitions is fenced off in the transaction that writes the epoch
//!   down, and finds out in the same way at its next batch. So no batch is written by who does not know of it.
//! - The lineages go with the records: what is given up and read again goes back to those of the settled position.

use super::Shared;
use super::intake::Intake;
use super::lane::{Need, Partition};
use super::report::{Report, Reports};
use crate::core::{Input, LaneId, PartitionId};
use crate::decode::{Change, ChangeKind};
use crate::epoch::{Entered, Epochs, Lineage, Placed, Signal, Start, Tracker, stored};
use crate::fault::{Class, Code, Fault};
use crate::postgres::StartOver;
use crate::record::RawRecord;
use crate::telemetry::metrics;
use std::sync::Arc;

/// What one partition knows of its sources: with what is taken, with what is sealed, with what is settled.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) tracker: Tracker,
    /// The end of the sealed stretch, and the lineages there.
    sealed: Option<(i64, Vec<(String, Lineage)>)>,
    settled: Vec<(String, Lineage)>,
}

impl Sources {
    /// As they are when the partition is claimed.
    pub(super) fn new(
        lineages: Vec<(String, Lineage)>,
        starts: Vec<Start>,
        epochs: Vec<(String, Epochs)>,
    ) -> Self {
        let mut tracker = Tracker::new(lineages.clone(), starts);
        for (source, epochs) in epochs {
            tracker.learn(&source, epochs);
        }
        Self { tracker, sealed: None, settled: lineages }
    }

    /// A stretch that ends at `next` is sealed: the lineages to store with it.
    pub(super) fn seal(&mut self, next: i64) -> Option<String> {
        let lineages = self.tracker.lineages();
        let text = stored::to_text(lineages);
        self.sealed = Some((next, lineages.to_vec()));
        text
    }

    /// The destination holds everything below `next`.
    pub(super) fn settle(&mut self, next: i64) {
        if let Some((_, lineages)) = self.sealed.take_if(|(end, _)| *end == next) {
            self.settled = lineages;
        }
    }

    /// Reading goes on from the settled position.
    pub(super) fn rewind(&mut self) {
        self.tracker.rewind(self.settled.clone());
    }

    /// The epoch of a change.
    ///
    /// # Errors
    /// Blocked `epoch_header_invalid` when the header that is to tell it holds no number.
    pub(super) fn place(
        &mut self,
        source: &str,
        change: &Change,
        raw: &RawRecord<'_>,
        header: Option<&str>,
    ) -> Result<Placed, Fault> {
        let declared = match header {
            Some(name) => declared(name, raw)?,
            None => None,
        };
        let seen = change.sighting.as_ref();
        Ok(match (change.kind, declared) {
            (ChangeKind::Tombstone, declared) => {
                Placed::In(declared.unwrap_or_else(|| self.tracker.highest(raw.offset)))
            }
            (_, Some(epoch)) => self.tracker.place_declared(source, raw.offset, seen, epoch),
            (_, None) => {
                let source_ts = change.source_ts.filter(|_| change.own_time);
                self.tracker.place_at(source, raw.offset, seen, source_ts)
            }
        })
    }
}

/// The epoch that a record's header names.
fn declared(name: &str, raw: &RawRecord<'_>) -> Result<Option<u32>, Fault> {
    let Some(value) = raw.headers.get(name) else { return Ok(None) };
    let number = value
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| {
        Fault::blocked(
            Code::EpochHeaderInvalid,
            format!("header {name} of record {} is no whole number from 0 to 4294967295", raw.coordinates()),
            "let the connector's InsertHeader transform write a decimal number, or remove [guard] epoch_header",
        )
    })
}

/// What has to be written down before the record can be taken.
pub(super) fn starts_over(
    partition: &Partition,
    source: &str,
    raw: &RawRecord<'_>,
    change: &Change,
    current: u32,
    signal: Signal,
) -> StartOver {
    StartOver {
        source: source.to_owned(),
        topic: partition.topic.to_string(),
        topic_id: partition.topic_id,
        partition: partition.number,
        owner_epoch: partition.owner_epoch,
        offset: raw.offset,
        current,
        signal,
        source_ts: partition
            .sources
            .tracker
            .since(source, change.source_ts.filter(|_| change.own_time)),
        lane: Vec::new(),
    }
}

/// Writes the epoch down.
pub(super) async fn enter(
    shared: Arc<Shared>,
    reports: Reports,
    lane: LaneId,
    partition: PartitionId,
    over: StartOver,
) {
    let outcome = shared.destination.enter_epoch(&shared.config.name, &shared.owner, &over).await;
    reports.send(Report::EpochEntered { lane, partition, over, outcome });
}

/// Tells of an epoch; one that a partition merely follows into by the time is nothing new.
fn say(over: &StartOver, entered: Entered) {
    let StartOver { source, topic, partition, offset, current, signal, .. } = over;
    let (epoch, reason, raised) = (entered.number, signal.as_str(), entered.raised);
    if matches!(signal, Signal::Passed { .. }) {
        return tracing::info!(
            source,
            epoch,
            before = current,
            topic,
            partition,
            offset,
            "the source's changes are in the source epoch that another partition has found"
        );
    }
    tracing::warn!(
        source,
        epoch,
        before = current,
        reason,
        raised,
        topic,
        partition,
        offset,
        "from here on the source's changes count as newer than all before, in another source epoch"
    );
    if raised {
        metrics::source_epoch_raised(source, reason);
    }
}

impl Intake {
    /// The epoch is written down: the record, which is read again, belongs to it.
    pub(super) fn epoch_entered(
        &mut self,
        lane: LaneId,
        id: PartitionId,
        over: &StartOver,
        outcome: Result<(Entered, Epochs), Fault>,
    ) {
        let outcome = outcome.map(|(entered, epochs)| {
            let source = &over.source;
            say(over, entered);
            self.source_epochs.tell(source, entered.number);
            // The other partitions of the lane go by it too; those of others are claimed again.
            for at in &self.lanes[lane.0 as usize].slots {
                let partition = &mut self.partitions[at.0 as usize];
                partition.sources.tracker.learn(source, epochs.clone());
            }
            let partition = self.partition_mut(id);
            // An answer for a claim that is gone must not touch the next one, which has read what is written down.
            if partition.owner_epoch == over.owner_epoch && partition.topic_id == over.topic_id {
                partition.sources.tracker.enter(source, over.offset, entered.number);
            }
        });
        let outcome = outcome.and_then(|()| self.read_past(lane));
        let waiting = &mut self.lanes[lane.0 as usize].need;
        let entered = outcome.as_ref().map_or_else(|fault| fault.class == Class::Fenced, |()| true);
        if entered && matches!(waiting, Some(Need::Epoch(..))) {
            *waiting = None;
        }
        self.input(Input::Planned { lane, outcome });
    }

    /// Whether a partition of the lane, of which nothing is in flight, has gone past the beginning of an epoch: it is
    /// claimed again, which moves it back.
    fn read_past(&self, lane: LaneId) -> Result<(), Fault> {
        let partitions = self.lanes[lane.0 as usize].slots.iter();
        for partition in partitions.map(|at| &self.partitions[at.0 as usize]) {
            if partition.sources.tracker.read_again(partition.next, 0).is_some() {
                let (topic, number) = (&partition.topic, partition.number);
                let text =
                    format!("{topic}-{number} has gone past the beginning of a source epoch");
                return Err(Fault::new(Class::Fenced, Code::Fenced, text));
            }
        }
        Ok(())
    }

    /// Topics and partitions of a lane.
    pub(super) fn members(&self, lane: LaneId) -> Vec<(String, i32)> {
        let slots = self.lanes[lane.0 as usize].slots.iter();
        let member = |at: &PartitionId| {
            let partition = &self.partitions[at.0 as usize];
            (partition.topic.to_string(), partition.number)
        };
        slots.map(member).collect()
    }
}
