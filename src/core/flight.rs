//! What happens to batches: gathering, sealing, writing, isolating, dead letters, stopped and resolving lanes.

use super::lane::{Gate, Lane, Partition, Phase, Sealed, Stage};
use super::step::Core;
use super::{Action, Generation, LaneId, PartitionId, Stretch, Tick};
use crate::fault::{Class, Code, Fault};

/// Tries after which a race or a time-out that comes again and again is no accident any more.
const STUBBORN: u32 = 8;

/// What a failure means that is worth a retry, but not for ever; `None` for outages.
fn stubborn(fault: &Fault) -> Option<Fault> {
    let (code, hint) = match fault.sqlstate.as_deref()? {
        "23505" => (
            Code::KeyMismatch,
            "two source keys are one key to the Silver table: look at the types and collations of its key columns",
        ),
        "57014" => (
            Code::PostgresConflict,
            "the batch does not finish in time: raise [postgres] statement_timeout, or lower [limits] batch_rows",
        ),
        _ => return None,
    };
    Some(Fault { class: Class::Blocked, code, hint: Some(hint.to_owned()), ..fault.clone() })
}

impl Core {
    pub(super) fn gathered(
        &mut self,
        id: LaneId,
        progress: &[(PartitionId, i64)],
        rows: usize,
        bytes: usize,
    ) {
        if self.lanes.get(&id).is_none_or(|lane| matches!(lane.gate, Gate::Stopped { .. })) {
            // Gathered in the same burst that stopped the lane: already discarded.
            return;
        }
        for (partition, next) in progress {
            if let Some(p) = self.partitions.get_mut(partition).and_then(Partition::progress_mut) {
                p.gathered = p.gathered.max(*next);
            }
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.open_rows = rows;
        lane.open_bytes = bytes;
        self.try_seal(id);
        self.balance();
    }

    fn members<'c>(&'c self, lane: &'c Lane) -> impl Iterator<Item = (PartitionId, &'c Partition)> {
        lane.members.iter().filter_map(|id| self.partitions.get(id).map(|p| (*id, p)))
    }

    /// Closes the open batch if there is one and nothing of the lane is in flight.
    pub(super) fn try_seal(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if !lane.is_landed() || matches!(lane.gate, Gate::Stopped { .. }) {
            return;
        }
        let stretches: Vec<_> = self
            .members(lane)
            .filter_map(|(partition, p)| {
                let progress =
                    p.progress().filter(|progress| progress.gathered > progress.sealed)?;
                Some(Stretch {
                    partition,
                    generation: p.generation,
                    owner_epoch: progress.owner_epoch,
                    from: progress.sealed,
                    next: progress.gathered,
                })
            })
            .collect();
        if stretches.is_empty() {
            return;
        }
        for stretch in &stretches {
            if let Some(p) =
                self.partitions.get_mut(&stretch.partition).and_then(Partition::progress_mut)
            {
                p.sealed = p.gathered;
            }
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let batch = lane.next_batch;
        let stage = if lane.open_letters == 0 { Stage::Writing } else { Stage::Letters };
        lane.sealed = Some(Sealed {
            number: batch,
            stretches: stretches.clone(),
            letters: lane.open_letters,
            stage,
            bytes: lane.open_bytes,
            isolated: false,
        });
        lane.forget_open();
        self.out.push(Action::Seal { lane: id, batch, stretches });
        if stage == Stage::Writing {
            self.out.push(Action::Write { lane: id, batch });
        }
    }

    /// Backpressure by rows and bytes (I14): a full lane takes nothing until the batch before has landed.
    pub(super) fn balance(&mut self) {
        let total: usize = self.lanes.values().map(Lane::bytes).sum();
        let share = self.settings.memory_bytes / self.lanes.len().max(1);
        let crowded = total > self.settings.memory_bytes;
        for (id, lane) in &mut self.lanes {
            let limit = self.batch_rows.get(id).copied().unwrap_or(self.settings.batch_rows);
            let full = lane.open_rows >= limit
                || lane.open_bytes >= self.settings.batch_bytes
                || (crowded && lane.bytes() > share);
            lane.full = full && lane.sealed.is_some();
        }
    }

    fn running_members(&self, id: LaneId) -> Vec<PartitionId> {
        let Some(lane) = self.lanes.get(&id) else { return Vec::new() };
        let running = |p: &Partition| matches!(p.phase, Phase::Running(_));
        self.members(lane).filter(|(_, p)| running(p)).map(|(id, _)| id).collect()
    }

    /// The sealed batch of that number, if it is still the one that the lane waits for.
    fn sealed_mut(&mut self, id: LaneId, batch: u64) -> Option<&mut Sealed> {
        self.lanes.get_mut(&id)?.sealed.as_mut().filter(|sealed| sealed.number == batch)
    }

    pub(super) fn written(&mut self, id: LaneId, batch: u64, outcome: Result<(), Fault>) {
        if self.sealed_mut(id, batch).is_none() {
            match outcome {
                Err(fault) if fault.class == Class::Fatal => self.exit(Err(fault)),
                _ => self.orphan_landed(id, batch, outcome.is_ok()),
            }
            return;
        }
        match outcome {
            Ok(()) => self.settled_batch(id, batch),
            Err(fault) => match fault.class {
                Class::Transient => self.retry_later(id, fault),
                Class::Poison => {
                    if let Some(sealed) = self.sealed_mut(id, batch) {
                        if sealed.isolated {
                            sealed.stage = Stage::Letters;
                            // The culprit cannot be found row by row: nothing that a dead letter could settle.
                            return self.fail_lane(id, Fault { class: Class::Blocked, ..fault });
                        }
                        sealed.stage = Stage::Isolating;
                    }
                    self.out.push(Action::Isolate { lane: id, batch });
                }
                Class::Blocked => {
                    if let Some(sealed) = self.sealed_mut(id, batch) {
                        sealed.stage = Stage::Letters;
                    }
                    self.fail_lane(id, fault);
                }
                Class::Fenced => self.fenced(id, batch),
                Class::Fatal => self.exit(Err(fault)),
            },
        }
    }

    fn settled_batch(&mut self, id: LaneId, batch: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(sealed) = lane.sealed.take() else { return };
        lane.last_stop = None;
        self.recovered(id);
        self.settle(sealed.stretches);
        self.out.push(Action::Drop { lane: id, batch });
        self.release_what_is_settled();
        self.try_seal(id);
        self.try_resolve(id);
        self.balance();
    }

    /// Takes the destination's new positions over, for the partitions that are still the same assignment, and mirrors them.
    fn settle(&mut self, stretches: Vec<Stretch>) {
        let mut mirrored = Vec::with_capacity(stretches.len());
        for stretch in stretches {
            let Some(partition) = self.partitions.get_mut(&stretch.partition) else { continue };
            if partition.generation != stretch.generation {
                continue;
            }
            if let Some(progress) = partition.progress_mut() {
                progress.settled = stretch.next;
                progress.sealed = progress.sealed.max(stretch.next);
                progress.gathered = progress.gathered.max(stretch.next);
                mirrored.push(stretch);
            }
        }
        if !mirrored.is_empty() {
            self.out.push(Action::Mirror(mirrored));
        }
    }

    /// The outcome of a batch that was given up: only now is it known from where to read again.
    fn orphan_landed(&mut self, id: LaneId, batch: u64, committed: bool) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(orphan) = lane.orphan.take_if(|orphan| orphan.number == batch) else { return };
        if committed {
            self.settle(orphan.stretches);
        }
        self.out.push(Action::Drop { lane: id, batch });
        self.read_rest(id);
    }

    fn retry_later(&mut self, id: LaneId, fault: Fault) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.attempt += 1;
        let attempt = lane.attempt;
        if attempt >= STUBBORN
            && let Some(fault) = stubborn(&fault)
        {
            if let Some(sealed) = lane.sealed.as_mut() {
                sealed.stage = Stage::Letters;
            }
            return self.fail_lane(id, fault);
        }
        let at = self.backoff(attempt);
        if let Some(sealed) = self.lanes.get_mut(&id).and_then(|lane| lane.sealed.as_mut()) {
            sealed.stage = Stage::Backoff(at);
        }
        self.out.push(Action::Waiting { lane: Some(id), fault, attempt });
    }

    /// Whatever the lane was waiting for came, or is waited for no longer.
    pub(super) fn recovered(&mut self, id: LaneId) {
        if self.lanes.get_mut(&id).is_some_and(|lane| std::mem::take(&mut lane.attempt) > 0) {
            self.out.push(Action::Recovered { lane: Some(id) });
        }
    }

    pub(super) fn isolated(&mut self, id: LaneId, batch: u64, outcome: Result<usize, Fault>) {
        let Some(sealed) = self.sealed_mut(id, batch) else {
            return self.orphan_landed(id, batch, false);
        };
        match outcome {
            Ok(0) => {
                sealed.isolated = true;
                sealed.stage = Stage::Writing;
                self.out.push(Action::Write { lane: id, batch });
            }
            Ok(_) => {
                sealed.stage = Stage::Letters;
                self.read_again(id);
            }
            Err(fault) if fault.class == Class::Transient => self.retry_later(id, fault),
            Err(fault) => {
                sealed.stage = Stage::Letters;
                self.fail_lane(id, fault);
            }
        }
    }

    /// The destination says that another worker owns a partition of the batch (I6). Kafka will tell which one; until then
    /// nothing of the lane is read, and if no rebalance comes the partitions are claimed again.
    fn fenced(&mut self, id: LaneId, batch: u64) {
        let mut stretches = Vec::new();
        if let Some(sealed) = self.sealed_mut(id, batch) {
            // Its transaction is over.
            sealed.stage = Stage::Letters;
            stretches.clone_from(&sealed.stretches);
        }
        self.forget_batches(id);
        self.claim_again(id, stretches.iter().map(|s| (s.partition, s.generation)).collect());
    }

    /// Gives partitions back to the claim; nothing of the lane is in flight.
    fn claim_again(&mut self, id: LaneId, partitions: Vec<(PartitionId, Generation)>) {
        let retry_at = Some(self.now.plus_ms(self.settings.fenced_ms));
        let mut held = Vec::new();
        for (at, generation) in partitions {
            if let Some(partition) = self.partitions.get_mut(&at)
                && partition.generation == generation
            {
                if let Phase::Leaving(progress) = &mut partition.phase {
                    // Nothing more can be settled: let the revocation go.
                    progress.gathered = progress.settled;
                    progress.sealed = progress.settled;
                } else {
                    partition.phase = Phase::Claiming { retry_at };
                    held.push(at);
                }
            }
        }
        self.out.push(Action::Refuse(held.clone()));
        self.out.push(Action::Pause(held));
        self.read_rest(id);
        self.release_what_is_settled();
    }

    /// Drops everything that the lane holds and reads it again from the destination's positions.
    pub(super) fn read_again(&mut self, id: LaneId) {
        self.forget_batches(id);
        self.read_rest(id);
    }

    fn read_rest(&mut self, id: LaneId) {
        let orphaned = self.lane_is_orphaned(id);
        if orphaned {
            let members = self.running_members(id);
            self.out.push(Action::Refuse(members));
        }
        if orphaned || self.stopping.is_some() || !self.lane_is_open(id) {
            self.release_what_is_settled();
            self.try_resolve(id);
            return;
        }
        let starts: Vec<_> = self
            .running_members(id)
            .into_iter()
            .filter_map(|partition| Some((partition, self.settled(partition)?)))
            .collect();
        if !starts.is_empty() {
            self.out.push(Action::Read(starts));
        }
        self.release_what_is_settled();
    }

    /// Forgets the open and the sealed batch; partitions fall back to what is settled.
    fn forget_batches(&mut self, id: LaneId) {
        self.recovered(id);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.out.push(Action::Discard(id));
        match lane.sealed.take() {
            Some(sealed) if matches!(sealed.stage, Stage::Writing | Stage::Isolating) => {
                lane.orphan = Some(sealed);
            }
            Some(sealed) => self.out.push(Action::Drop { lane: id, batch: sealed.number }),
            None => {}
        }
        lane.forget_open();
        lane.resend_at = None;
        for member in lane.members.clone() {
            if let Some(p) = self.partitions.get_mut(&member).and_then(Partition::progress_mut) {
                p.sealed = p.settled;
                p.gathered = p.settled;
            }
        }
    }

    pub(super) fn fail_lane(&mut self, id: LaneId, fault: Fault) {
        if fault.class == Class::Fatal {
            return self.exit(Err(fault));
        }
        self.forget_batches(id);
        let members = self.running_members(id);
        self.out.push(Action::Refuse(members.clone()));
        self.out.push(Action::Pause(members));
        // A flood of dead letters would only start again.
        let recheck = fault.code != Code::DeadLetterFlood && fault.code != Code::RowCountMismatch;
        let recheck_at = recheck.then(|| self.now.plus_ms(self.settings.recheck_ms));
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let again = lane.last_stop.as_ref() == Some(&fault);
        lane.last_stop = Some(fault.clone());
        lane.gate = Gate::Stopped { fault: fault.clone(), recheck_at };
        self.out.push(Action::LaneStopped { lane: id, fault, again });
        self.release_what_is_settled();
    }

    pub(super) fn plan_needed(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.gate != Gate::Open {
            return;
        }
        lane.gate = Gate::Resolving { asked: false, retry_at: None };
        let members = self.running_members(id);
        self.out.push(Action::Pause(members));
        self.try_seal(id);
        self.try_resolve(id);
    }

    fn try_resolve(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let drained = lane.is_landed()
            && self
                .members(lane)
                .filter_map(|(_, p)| p.progress())
                .all(|p| p.settled == p.gathered);
        if !drained {
            return;
        }
        if let Some(Lane { gate: Gate::Resolving { asked, .. }, .. }) = self.lanes.get_mut(&id)
            && !std::mem::replace(asked, true)
        {
            self.out.push(Action::Resolve(id));
        }
    }

    pub(super) fn planned(&mut self, id: LaneId, outcome: Result<(), Fault>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Gate::Resolving { asked: true, .. } = lane.gate else { return };
        match outcome {
            Ok(()) => {
                lane.gate = Gate::Open;
                self.recovered(id);
                self.read_rest(id);
            }
            Err(fault) if fault.class == Class::Fenced => {
                lane.gate = Gate::Open;
                self.recovered(id);
                let members = self.running_members(id);
                let of = |id: &PartitionId| Some((*id, self.partitions.get(id)?.generation));
                let partitions = members.iter().filter_map(of).collect();
                self.claim_again(id, partitions);
            }
            Err(fault) if fault.class == Class::Transient => {
                lane.attempt += 1;
                let attempt = lane.attempt;
                let retry_at = Some(self.backoff(attempt));
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.gate = Gate::Resolving { asked: true, retry_at };
                }
                self.out.push(Action::Waiting { lane: Some(id), fault, attempt });
            }
            Err(fault) => self.fail_lane(id, fault),
        }
    }

    pub(super) fn retry_lane(&mut self, id: LaneId) {
        let now = self.now;
        let due = |at: Option<Tick>| at.is_some_and(|at| at <= now);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if due(lane.resend_at) {
            lane.resend_at = None;
            self.out.push(Action::ResendLetters(id));
        }
        if let Some(sealed) = lane.sealed.as_mut()
            && let Stage::Backoff(at) = sealed.stage
            && at <= now
        {
            sealed.stage = Stage::Writing;
            self.out.push(Action::Write { lane: id, batch: sealed.number });
        }
        match &mut lane.gate {
            Gate::Resolving { retry_at, .. } if due(*retry_at) => {
                *retry_at = None;
                self.out.push(Action::Resolve(id));
            }
            Gate::Stopped { recheck_at, .. } if due(*recheck_at) && self.stopping.is_none() => {
                lane.gate = Gate::Open;
                self.out.push(Action::LaneRetried(id));
                self.read_rest(id);
            }
            Gate::Open | Gate::Resolving { .. } | Gate::Stopped { .. } => {}
        }
    }
}
