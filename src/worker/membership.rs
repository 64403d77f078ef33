//! Which partitions this worker has, and which lane each belongs to.

use super::epochs::Sources;
use super::intake::Intake;
use super::lane::{Lane, Partition};
use crate::core::{Input, LaneId, PartitionId};
use crate::decode::PayloadId;
use crate::fault::{Class, Code, Fault};
use crate::kafka::consumer::TopicPartition;
use crate::route;
use crate::telemetry::metrics::{self, PartitionMetrics};
use crate::telemetry::names::Rebalance;
use std::sync::Arc;

impl Intake {
    /// The client has delivered everything before this offset, so the position may pass what holds no record: control
    /// records, aborted transactions, compacted ones.
    pub(super) fn reached_end(&mut self, partition: &TopicPartition, offset: i64) {
        for id in self.ids(std::slice::from_ref(partition)) {
            let partition = self.partition_mut(id);
            if partition.accepting && partition.next < offset {
                partition.next = offset;
                partition.touched = true;
                let lane = partition.lane;
                self.lanes[lane].touched = true;
            }
        }
    }

    pub(super) fn count_assigned(&self) {
        self.metrics.assigned(self.partitions.iter().filter(|p| p.metrics.is_some()).count());
    }

    /// One partition cannot be read any more (its records are gone, or the log was cut): its lane stops (I12).
    pub(super) fn fetch_failed(&mut self, partition: &TopicPartition, fault: Fault) {
        for id in self.ids(std::slice::from_ref(partition)) {
            let lane = self.lanes[self.partitions[id.0 as usize].lane].id;
            self.inputs.push_back(Input::LaneFailed { lane, fault: fault.clone() });
        }
    }

    pub(super) fn consumer_failed(&mut self, fault: Fault) {
        match fault.class {
            Class::Fatal => self.exit = Some(Err(fault)),
            Class::Transient => {
                if !std::mem::replace(&mut self.broker_trouble, true) {
                    tracing::warn!(code = fault.code.as_str(), "waiting for Kafka: {}", fault.text);
                }
            }
            Class::Poison | Class::Blocked | Class::Fenced => {
                tracing::error!(code = fault.code.as_str(), hint = fault.hint, "{}", fault.text);
                self.stopped.get_or_insert(fault);
            }
        }
    }

    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        metrics::rebalance(Rebalance::Assigned);
        self.assigned_once |= !partitions.is_empty();
        self.broker_trouble = false;
        self.shared.health.set_joined(true);
        if partitions.is_empty() {
            return;
        }
        tracing::info!(partitions = partitions.len(), "partitions assigned");
        if let Err(fault) = self.consumer.assign_paused(partitions) {
            self.consumer_failed(fault);
            return;
        }
        let mut assigned = Vec::with_capacity(partitions.len());
        for partition in partitions {
            if let Some(id) = self.register(partition) {
                let at = &mut self.partitions[id.0 as usize];
                at.accepting = false;
                at.lost = false;
                at.mirrored = None;
                at.confirmed = None;
                at.metrics = Some(PartitionMetrics::new(&partition.topic, partition.partition));
                assigned.push((id, self.lanes[at.lane].id));
            }
        }
        self.count_assigned();
        self.inputs.push_back(Input::Assigned(assigned));
    }

    /// The number of a partition; a new one gets its lane by the route of its topic.
    fn register(&mut self, partition: &TopicPartition) -> Option<PartitionId> {
        if let Some(id) =
            self.numbers.get(&partition.topic).and_then(|n| n.get(&partition.partition))
        {
            return Some(*id);
        }
        let Some(routed) = route::route(&self.shared.config, &partition.topic) else {
            tracing::error!(
                topic = &*partition.topic,
                code = Code::Unrouted.as_str(),
                "the topic matches no route; it is not read"
            );
            return None;
        };
        let lane = self.lane_of(&routed, partition.partition);
        let lane_shell = &mut self.lanes[lane];
        if !routed.merge_sources
            && lane_shell.topics.first().is_some_and(|first| *first != partition.topic)
        {
            let fault = Fault::blocked(
                Code::Unrouted,
                format!(
                    "topics {} and {} both lead to table {}",
                    lane_shell.topics[0], partition.topic, lane_shell.table
                ),
                "give them different tables, or set merge_sources = true on the route if they share their keys",
            );
            tracing::error!(code = fault.code.as_str(), hint = fault.hint, "{}", fault.text);
            self.stopped.get_or_insert(fault);
            return None;
        }
        let payload_id = PayloadId::of(self.shared.config.registry.as_ref());
        let decoder = lane_shell.decoder_of(&partition.topic, &routed, payload_id);
        let id = PartitionId(u32::try_from(self.partitions.len()).ok()?);
        let slot = u16::try_from(lane_shell.slots.len()).ok()?;
        self.consumer.feed(partition, lane);
        lane_shell.slots.push(id);
        self.partitions.push(Partition {
            topic: Arc::clone(&partition.topic),
            number: partition.partition,
            lane,
            decoder,
            slot,
            accepting: false,
            next: 0,
            topic_id: uuid::Uuid::nil(),
            owner_epoch: 0,
            sources: Sources::default(),
            log_end: 0,
            stopped: None,
            metrics: None,
            lost: false,
            mirrored: None,
            confirmed: None,
            polled: 0,
            touched: false,
        });
        self.numbers
            .entry(Arc::clone(&partition.topic))
            .or_default()
            .insert(partition.partition, id);
        Some(id)
    }

    /// The lane of a partition. A table that may have several writers has as many lanes, and its partitions are dealt out
    /// among them by number: what they have to agree on, they agree on as the workers of a group do, in the destination.
    fn lane_of(&mut self, routed: &route::Routed, partition: i32) -> usize {
        let config = &self.shared.config;
        // What records name has no name yet, and goes by the defaults.
        let named = config.tables.get(&routed.table).filter(|_| routed.tables.is_none());
        let overrides = named.unwrap_or(&config.defaults).clone();
        let lanes = overrides.writers.max(1);
        let share = usize::try_from(partition).unwrap_or(0) % lanes;
        let its = |lane: &Lane| lane.table == routed.table && lane.share == share;
        if let Some(at) = self.lanes.iter().position(its) {
            return at;
        }
        let id =
            LaneId(u32::try_from(self.lanes.len()).expect("a worker has fewer than 2^32 tables"));
        let batch_rows = overrides.batch_rows.unwrap_or(config.limits.batch_rows);
        self.core.limit_rows(id, batch_rows);
        self.lanes.push(Lane::new(id, routed, share, overrides, batch_rows, config.guard.tripwire));
        self.lanes.len() - 1
    }

    pub(super) fn ids(&self, partitions: &[TopicPartition]) -> Vec<PartitionId> {
        partitions
            .iter()
            .filter_map(|p| self.numbers.get(&p.topic).and_then(|n| n.get(&p.partition)).copied())
            .collect()
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> &mut Partition {
        &mut self.partitions[id.0 as usize]
    }
}
