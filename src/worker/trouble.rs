//! Tells people what stands still and why: log line, `/readyz`, `/metrics`, `silversink.position`.
//!
//! # Decisions
//! - An outage is said once, however many lanes wait for its end; `/readyz` names each of them.
//! - A lane that is tried again counts as stopped until it has applied something, so that nothing flickers.

use super::intake::Intake;
use crate::core::{LaneId, PartitionId};
use crate::decode::UNPLACED;
use crate::fault::{Code, Fault};
use crate::telemetry::metrics;
use crate::telemetry::names::Target;
use std::sync::Arc;

/// What `/readyz` calls the claims, which concern all lanes.
const CLAIMS: &str = "partitions";

impl Intake {
    fn part(&self, lane: Option<LaneId>) -> String {
        lane.map_or_else(|| CLAIMS.to_owned(), |id| self.lanes[id.0 as usize].name())
    }

    pub(super) fn lane_stopped(&mut self, id: LaneId, fault: Fault, again: bool) {
        self.waiting_for.remove(&Some(id));
        self.shared.health.set_trouble(self.part(Some(id)), format!("stopped {fault}"));
        let lane = &mut self.lanes[id.0 as usize];
        // First the old one goes: its end sets the same series to 0.
        lane.retried = false;
        lane.stopped = None;
        lane.stopped = Some(metrics::lane_stopped(&lane.table, fault.code));
        if !again {
            if fault.code == Code::OrderContradicted {
                lane.tables[UNPLACED].metrics.contradicted(1);
            }
            tracing::error!(
                code = fault.code.as_str(),
                table = %lane.table,
                sqlstate = fault.sqlstate,
                hint = fault.hint,
                "lane stopped: {}",
                fault.text
            );
        }
        for slot in lane.slots.clone() {
            self.record_state(slot, "stopped", Some(fault.code.as_str().to_owned()));
        }
        self.stopped.get_or_insert(fault);
    }

    pub(super) fn partition_stopped(&mut self, id: PartitionId, fault: Fault) {
        let partition = &mut self.partitions[id.0 as usize];
        let table = &self.lanes[partition.lane].table;
        partition.stopped = None;
        partition.stopped = Some(metrics::lane_stopped(table, fault.code));
        tracing::error!(
            code = fault.code.as_str(),
            %table,
            topic = &*partition.topic,
            partition = partition.number,
            hint = fault.hint,
            "partition stopped: {}",
            fault.text
        );
        let part = self.topic_partition(id).to_string();
        self.shared.health.set_trouble(part, format!("stopped {fault}"));
        self.stopped.get_or_insert(fault);
    }

    /// Leaves a lane's state in `silversink.position` for `status` and SQL.
    fn record_state(&mut self, id: PartitionId, state: &'static str, reason: Option<String>) {
        let partition = &self.partitions[id.0 as usize];
        let (topic, topic_id) = (Arc::clone(&partition.topic), partition.topic_id);
        let (number, epoch) = (partition.number, partition.owner_epoch);
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn_on(
            async move {
                let pipeline = &shared.config.name;
                let marked = shared
                    .destination
                    .mark_state(pipeline, &topic, topic_id, number, epoch, state, reason.as_deref())
                    .await;
                if let Err(fault) = marked {
                    tracing::debug!("could not record the state of a partition: {fault}");
                }
            },
            &self.runtime,
        );
    }

    pub(super) fn waiting(&mut self, id: Option<LaneId>, fault: &Fault, attempt: u32) {
        metrics::retry(target(fault.code));
        let known = self.waiting_for.values().any(|code| *code == fault.code);
        self.waiting_for.insert(id, fault.code);
        self.shared.health.set_trouble(self.part(id), format!("waiting {fault}"));
        let table = id.map(|id| self.lanes[id.0 as usize].table.to_string());
        let (code, hint) = (fault.code.as_str(), &fault.hint);
        if known {
            tracing::debug!(code, table, attempt, "still waiting: {}", fault.text);
        } else {
            tracing::warn!(code, table, hint, "waiting: {}", fault.text);
        }
    }

    pub(super) fn recovered(&mut self, id: Option<LaneId>) {
        let Some(code) = self.waiting_for.remove(&id) else { return };
        let part = self.part(id);
        if id.is_none_or(|id| self.lanes[id.0 as usize].stopped.is_none()) {
            self.shared.health.clear_trouble(&part);
        }
        if !self.waiting_for.values().any(|other| *other == code) {
            tracing::info!(code = code.as_str(), "going on after an outage");
        }
    }

    /// Lanes of which no partition is left here are another worker's concern.
    pub(super) fn forget_troubles_of_released(&mut self) {
        let partitions = &self.partitions;
        for lane in &mut self.lanes {
            if lane.slots.iter().all(|id| partitions[id.0 as usize].metrics.is_none()) {
                lane.stopped = None;
                self.waiting_for.remove(&Some(lane.id));
                self.shared.health.clear_trouble(&lane.name());
            }
        }
    }
}

/// Whose outage a retry waits for.
fn target(code: Code) -> Target {
    match code {
        Code::KafkaUnavailable | Code::DeadLetterUnacknowledged => Target::Kafka,
        Code::RegistryUnavailable | Code::RegistryUnauthorized => Target::Registry,
        _ => Target::Postgres,
    }
}
