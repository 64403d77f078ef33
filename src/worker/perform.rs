//! Performs the core's actions: the only place where a decision becomes an effect.

use super::claim::{self, Ask};
use super::epochs;
use super::intake::Intake;
use super::lane::Need;
use super::letters;
use super::resolve::{self, Job, LabelJob};
use super::suspicions;
use super::writers::{self, Task};
use crate::batch::arena::SealedRange;
use crate::batch::{Applied, OffsetRange};
use crate::core::{Action, Input, LaneId, PartitionId, Stretch};
use crate::decode::UNPLACED;
use crate::kafka::consumer::TopicPartition;
use crate::kafka::marker::marker;
use crate::postgres::StartOver;
use crate::telemetry::metrics;
use crate::telemetry::names::{Commit, Pause};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// How often positions that Kafka has not taken are committed again.
const MIRROR_AGAIN: Duration = Duration::from_secs(2);
/// How long giving partitions back may wait for Kafka to take their last offsets.
const RELEASE_COMMIT: Duration = Duration::from_secs(3);

impl Intake {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Claim { partitions, generation } => {
                let asks = partitions.iter().map(|id| self.ask(*id)).collect();
                self.prepare_writers(&partitions);
                self.under_way += 1;
                self.tasks.spawn_on(
                    claim::claim(Arc::clone(&self.shared), self.reports.clone(), generation, asks),
                    &self.runtime,
                );
            }
            Action::Read(starts) => self.read(&starts),
            Action::Pause(ids) => self.pause(&ids),
            Action::Refuse(ids) => {
                for id in ids {
                    self.partition_mut(id).accepting = false;
                }
            }
            Action::Discard(lane) => self.discard(lane),
            Action::Seal { lane, batch, stretches } => self.seal(lane, batch, &stretches),
            Action::Write { lane, batch } => self.start_job(lane, batch, Task::Write),
            Action::Isolate { lane, batch } => self.start_job(lane, batch, Task::Isolate),
            Action::Drop { lane, batch } => {
                let lane = &mut self.lanes[lane.0 as usize];
                if let Some(sealed) = lane.sealed.take_if(|sealed| sealed.number == batch) {
                    lane.recycle(Arc::into_inner(sealed));
                }
            }
            Action::Resolve(lane) => self.resolve(lane),
            Action::ResendLetters(lane) => self.resend_letters(lane),
            Action::Mirror(stretches) => self.mirror(&stretches),
            Action::Release(ids) => self.release(&ids),
            Action::LaneStopped { lane, fault, again } => self.lane_stopped(lane, fault, again),
            Action::LaneRetried(lane) => {
                let lane = &mut self.lanes[lane.0 as usize];
                lane.condemned.clear();
                for table in &mut lane.tables {
                    table.holes.clear();
                    table.unplanned.clear();
                }
                lane.need = None;
                lane.refused = None;
                lane.retried = true;
                lane.decoders.iter_mut().for_each(crate::decode::TopicDecoder::forget_plans);
            }
            Action::PartitionStopped { partition, fault } => {
                self.partition_stopped(partition, fault)
            }
            Action::Waiting { lane, fault, attempt } => self.waiting(lane, &fault, attempt),
            Action::Recovered { lane } => self.recovered(lane),
            Action::Exit(outcome) => self.exit = Some(outcome),
        }
    }

    /// While a lane's partitions are claimed, its connection gets ready.
    fn prepare_writers(&mut self, partitions: &[PartitionId]) {
        let lanes: BTreeSet<usize> =
            partitions.iter().map(|id| self.partitions[id.0 as usize].lane).collect();
        for lane in lanes {
            let lane = &self.lanes[lane];
            // What records will name is not known yet.
            if lane.names_tables() {
                continue;
            }
            let (shared, writers) = (Arc::clone(&self.shared), Arc::clone(&self.writers));
            let job = writers::prepare(shared, writers, lane.id, lane.table.clone());
            self.tasks.spawn_on(job, &self.runtime);
        }
    }

    pub(super) fn topic_partition(&self, id: PartitionId) -> TopicPartition {
        let partition = &self.partitions[id.0 as usize];
        TopicPartition { topic: Arc::clone(&partition.topic), partition: partition.number }
    }

    fn ask(&self, id: PartitionId) -> Ask {
        let lane = &self.lanes[self.partitions[id.0 as usize].lane];
        Ask { id, partition: self.topic_partition(id), table: lane.table.clone() }
    }

    fn read(&mut self, starts: &[(PartitionId, i64)]) {
        tracing::debug!(partitions = starts.len(), "reading from the destination's positions");
        let mut sought = Vec::with_capacity(starts.len());
        for (id, offset) in starts {
            sought.push((self.topic_partition(*id), *offset));
            let partition = self.partition_mut(*id);
            partition.accepting = true;
            partition.next = *offset;
            partition.sources.rewind();
            let lane = partition.lane;
            self.lanes[lane].paused = None;
        }
        // Partitions that are being fetched are moved; the others start.
        let moved = self.consumer.restart(&sought);
        if let Err(fault) = moved.and_then(|()| self.consumer.start(&sought)) {
            // Without the seek nothing may be taken; the partitions are read again as soon as the lane is.
            for (id, _) in starts {
                self.partition_mut(*id).accepting = false;
                let lane = self.partitions[id.0 as usize].lane;
                let id = self.lanes[lane].id;
                self.input(Input::LaneFailed { lane: id, fault: fault.clone() });
            }
        }
    }

    fn pause(&mut self, ids: &[PartitionId]) {
        for id in ids {
            let lane = &mut self.lanes[self.partitions[id.0 as usize].lane];
            if lane.need.is_some() && lane.paused.is_none() {
                lane.paused = Some(metrics::paused(&lane.table, Pause::Registry));
            }
        }
        let partitions: Vec<_> = ids.iter().map(|id| self.topic_partition(*id)).collect();
        if let Err(fault) = self.consumer.pause(&partitions) {
            tracing::warn!("could not pause {} partitions: {fault}", ids.len());
        }
    }

    fn discard(&mut self, id: LaneId) {
        // What the burst still had to report about the forgotten batch must not count for the next one.
        self.inputs.retain(|input| match input {
            Input::LetterSent(lane) | Input::PlanNeeded(lane) => *lane != id,
            Input::Gathered { lane, .. } | Input::LettersFailed { lane, .. } => *lane != id,
            _ => true,
        });
        let lane = &mut self.lanes[id.0 as usize];
        lane.discard_gathered();
        lane.open_batch += 1;
        lane.letters.clear();
        lane.letter_bytes = 0;
        lane.refused = None;
        lane.touched = false;
        for slot in lane.slots.clone() {
            let partition = self.partition_mut(slot);
            partition.touched = false;
            // What was gathered is gone; nothing is taken until the partition is read again.
            partition.accepting = false;
        }
    }

    fn seal(&mut self, id: LaneId, batch: u64, stretches: &[Stretch]) {
        let mut again = false;
        let mut ranges: Vec<_> = stretches
            .iter()
            .map(|stretch| {
                let partition = &mut self.partitions[stretch.partition.0 as usize];
                again |= partition.sources.tracker.is_again(stretch.from);
                let lineage = partition.sources.seal(stretch.next);
                SealedRange {
                    slot: partition.slot,
                    range: OffsetRange {
                        topic: partition.topic.to_string(),
                        topic_id: partition.topic_id,
                        partition: partition.number,
                        owner_epoch: stretch.owner_epoch,
                        from: stretch.from,
                        next: stretch.next,
                        changes: 0,
                        folded: 0,
                        skipped: 0,
                        dead_lettered: 0,
                        lineage,
                    },
                }
            })
            .collect();
        ranges.sort_by(|a, b| {
            (&a.range.topic, a.range.partition).cmp(&(&b.range.topic, b.range.partition))
        });
        let lane = &mut self.lanes[id.0 as usize];
        debug_assert_eq!(lane.open_batch, batch);
        lane.open_batch = batch + 1;
        let sealed = lane.seal(batch, ranges, again);
        tracing::debug!(
            table = %lane.table,
            batch,
            rows = sealed.parts.iter().map(|p| p.batch.rows.len()).sum::<usize>() + sealed.rows.len(),
            partitions = sealed.ranges.len(),
            "batch sealed"
        );
        lane.sealed = Some(Arc::new(sealed));
    }

    fn start_job(&mut self, id: LaneId, number: u64, task: Task) {
        let lane = &self.lanes[id.0 as usize];
        let Some(batch) = lane.sealed.as_ref().filter(|sealed| sealed.number == number) else {
            return;
        };
        let job = writers::perform(
            Arc::clone(&self.shared),
            Arc::clone(&self.writers),
            self.reports.clone(),
            id,
            (lane.table.clone(), !lane.names_tables()),
            Arc::clone(batch),
            task,
        );
        self.under_way += 1;
        self.tasks.spawn_on(job, &self.runtime);
    }

    fn resolve(&mut self, id: LaneId) {
        let lane = &mut self.lanes[id.0 as usize];
        if let Some(fault) = lane.refused.take() {
            self.input(Input::Planned { lane: id, outcome: Err(fault) });
            return;
        }
        let (shared, reports) = (Arc::clone(&self.shared), self.reports.clone());
        let for_letter = matches!(lane.need, Some(Need::Key(..)));
        match lane.need.clone() {
            // The need was discarded meanwhile; the record will ask again.
            None => return self.input(Input::Planned { lane: id, outcome: Ok(()) }),
            Some(Need::Plan(whose, need) | Need::Key(whose, need)) => {
                let table = &lane.tables[whose.table];
                let job = Job {
                    lane: id,
                    table: table.table.clone(),
                    topic: Arc::clone(&lane.topics[whose.decoder]),
                    overrides: table.overrides.clone(),
                    whose,
                    need,
                    for_letter,
                    epochs_checked: table.epochs_checked,
                    places: lane.names_tables() && whose.table == UNPLACED,
                };
                self.tasks.spawn_on(resolve::resolve(shared, reports, job), &self.runtime);
            }
            Some(Need::Label(missing)) => {
                let job = LabelJob {
                    lane: id,
                    table: lane.tables[missing.whose.table].table.clone(),
                    topic: Arc::clone(&lane.topics[missing.whose.decoder]),
                    missing,
                };
                self.tasks.spawn_on(resolve::add_label(shared, reports, job), &self.runtime);
            }
            Some(Need::Epoch(partition, over)) => {
                let over = StartOver { lane: self.members(id), ..*over };
                let job = epochs::enter(shared, reports, id, partition, over);
                self.tasks.spawn_on(job, &self.runtime);
            }
        }
        self.under_way += 1;
    }

    fn resend_letters(&mut self, id: LaneId) {
        let Some((letters, _)) = &self.letters else { return };
        if let Some(fault) = letters::resend(&self.lanes[id.0 as usize], letters) {
            self.input(Input::LettersFailed { lane: id, fault });
        }
    }

    /// Writes our mark at the start, so that a reset that was honoured is not honoured twice.
    pub(super) fn mirror_start(&mut self, id: PartitionId, owner_epoch: i64, offset: i64) {
        let commit = [(self.topic_partition(id), offset, marker(owner_epoch, offset))];
        self.commit(&commit);
        self.partition_mut(id).mirrored = Some(offset);
    }

    fn mirror(&mut self, stretches: &[Stretch]) {
        let mut commits = Vec::with_capacity(stretches.len());
        for stretch in stretches {
            let tp = self.topic_partition(stretch.partition);
            let partition = self.partition_mut(stretch.partition);
            partition.mirrored = Some(stretch.next);
            partition.sources.settle(stretch.next);
            let lane = partition.lane;
            self.lanes[lane]
                .condemned
                .retain(|(id, offset), _| *id != stretch.partition || *offset >= stretch.next);
            commits.push((tp, stretch.next, marker(stretch.owner_epoch, stretch.next)));
        }
        if !commits.is_empty() {
            self.commit(&commits);
        }
    }

    fn commit(&self, commits: &[(TopicPartition, i64, String)]) {
        if let Err(fault) = self.consumer.commit(commits) {
            // The destination has the truth; the next commit covers this one.
            metrics::offset_commit(Commit::Failed);
            tracing::debug!("could not hand a commit to Kafka: {fault}");
        }
    }

    /// Kafka took these commits.
    pub(super) fn confirm(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (partition, offset) in offsets {
            for id in self.ids(std::slice::from_ref(partition)) {
                self.partition_mut(id).confirmed = Some(*offset);
            }
        }
    }

    /// Tells the lag, and commits again what Kafka has not taken: a commit can fail in a rebalance, and on a quiet topic no later one would
    /// cover it.
    pub(super) fn keep_mirror(&mut self) {
        if self.mirrored_at.elapsed() < MIRROR_AGAIN {
            return;
        }
        self.mirrored_at = Instant::now();
        let mut commits = Vec::new();
        for partition in &mut self.partitions {
            let tp =
                TopicPartition { topic: Arc::clone(&partition.topic), partition: partition.number };
            if let (Some(metrics), Some(settled), Some(end)) =
                (&mut partition.metrics, partition.mirrored, self.consumer.log_end(&tp))
            {
                metrics.lag(u64::try_from(end - settled).unwrap_or(0));
            }
            if let Some(next) = partition.mirrored
                && !partition.lost
                && partition.confirmed != Some(next)
            {
                commits.push((tp, next, marker(partition.owner_epoch, next)));
            }
        }
        if !commits.is_empty() {
            self.commit(&commits);
        }
    }

    fn release(&mut self, ids: &[PartitionId]) {
        let mut commits = Vec::new();
        let mut partitions = Vec::with_capacity(ids.len());
        for id in ids {
            let tp = self.topic_partition(*id);
            let partition = self.partition_mut(*id);
            partition.accepting = false;
            if let Some(next) = partition.mirrored.take().filter(|_| !partition.lost) {
                commits.push((tp.clone(), next, marker(partition.owner_epoch, next)));
            }
            partition.metrics = None;
            partition.stopped = None;
            self.shared.health.clear_trouble(&tp.to_string());
            partitions.push(tp);
        }
        self.forget_troubles_of_released();
        self.count_assigned();
        if !commits.is_empty()
            && let Err(fault) = self.consumer.commit_sync(&commits, RELEASE_COMMIT)
        {
            metrics::offset_commit(Commit::Failed);
            tracing::debug!(
                "Kafka did not take the last offsets; the destination holds them: {fault}"
            );
        }
        if let Err(fault) = self.consumer.unassign(&partitions) {
            tracing::debug!("could not give partitions back: {fault}");
        }
    }

    pub(super) fn count_applied(
        &mut self,
        id: LaneId,
        number: u64,
        took: Duration,
        applied: &Applied,
    ) {
        let lane = &mut self.lanes[id.0 as usize];
        let Some(batch) = lane.sealed.as_ref().filter(|sealed| sealed.number == number) else {
            return;
        };
        tracing::debug!(table = %lane.table, batch = number, took_ms = took.as_millis(), "batch committed");
        // Not when it is the last batch from before the stop.
        if std::mem::take(&mut lane.retried) && lane.stopped.take().is_some() {
            tracing::info!(table = %lane.table, "lane goes on");
            self.shared.health.clear_trouble(&lane.name());
        }
        let batches = lane.by_table(batch).into_iter();
        let answers = std::iter::once(applied).chain(&applied.parts);
        let has_rows = !lane.names_tables();
        for ((number, batch), applied) in batches.zip(answers) {
            let table = &mut lane.tables[number];
            let sum =
                |count: fn(&crate::batch::Settled) -> u64| applied.ranges.iter().map(count).sum();
            table.metrics.applied(sum(|s| s.applied));
            table.metrics.superseded(sum(|s| s.superseded));
            for (rule, records) in table.sealed_skips.drain() {
                table.metrics.skipped(rule, records);
            }
            table.metrics.contradicted(applied.contradicted);
            table.metrics.nulls_in_doubt(table.nulls.settle());
            suspicions::tell_exchanged(&table.table, &table.metrics, batch, &applied.exchanged);
            if has_rows || number != UNPLACED {
                table.metrics.batch(batch.rows.len(), table.sealed_bytes, took);
            }
            if let Some(newest) = batch.rows.iter().filter_map(|row| row.source_ts).max() {
                let unix_ms = (newest + POSTGRES_EPOCH_US) / 1_000;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let then = Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0));
                table.metrics.fresh(unix_ms, now.saturating_sub(then));
            }
        }
    }
}
