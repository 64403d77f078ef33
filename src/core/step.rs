//! Dispatch, assignments, claims, revocations and shutdown. What happens to batches is in `flight`.

use super::lane::{Gate, Lane, Partition, Phase, Progress, Revocation, Stage};
use super::{Action, Claim, Generation, Input, LaneId, PartitionId, Settings, Tick};
use crate::fault::Fault;
use std::collections::BTreeMap;

/// The decision core of one worker.
#[derive(Debug)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) now: Tick,
    pub(super) lanes: BTreeMap<LaneId, Lane>,
    /// Lanes whose batches have a limit of rows of their own.
    pub(super) batch_rows: BTreeMap<LaneId, usize>,
    pub(super) partitions: BTreeMap<PartitionId, Partition>,
    pub(super) generation: Generation,
    pub(super) revocations: Vec<Revocation>,
    pub(super) claim_attempt: u32,
    pub(super) stopping: Option<Tick>,
    pub(super) exited: bool,
    pub(super) out: Vec<Action>,
}

impl Core {
    /// A core without partitions.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Tick(0),
            lanes: BTreeMap::new(),
            batch_rows: BTreeMap::new(),
            partitions: BTreeMap::new(),
            generation: Generation(0),
            revocations: Vec::new(),
            claim_attempt: 0,
            stopping: None,
            exited: false,
            out: Vec::new(),
        }
    }

    /// Gives a lane's batches a limit of rows of their own, in place of [`Settings::batch_rows`].
    pub fn limit_rows(&mut self, lane: LaneId, batch_rows: usize) {
        self.batch_rows.insert(lane, batch_rows);
    }

    /// Takes one input and appends what is to be done. Total: any input is accepted in any state.
    pub fn step(&mut self, now: Tick, input: Input, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        std::mem::swap(&mut self.out, out);
        if !self.exited {
            self.take(input);
            self.tick();
        }
        std::mem::swap(&mut self.out, out);
    }

    /// When the core wants to be woken, if nothing else happens: always later than the last step.
    #[must_use]
    pub fn next_wake(&self) -> Option<Tick> {
        if self.exited {
            return None;
        }
        let partitions = self.partitions.values().filter_map(|p| match p.phase {
            Phase::Claiming { retry_at } => retry_at.filter(|_| self.stopping.is_none()),
            _ => None,
        });
        let lanes = self.lanes.values().flat_map(|lane| {
            let gate = match &lane.gate {
                Gate::Open => None,
                Gate::Resolving { retry_at, .. } => *retry_at,
                Gate::Stopped { recheck_at, .. } => recheck_at.filter(|_| self.stopping.is_none()),
            };
            let stage = lane.sealed.as_ref().and_then(|sealed| match sealed.stage {
                Stage::Backoff(at) => Some(at),
                _ => None,
            });
            [gate, stage, lane.resend_at].into_iter().flatten()
        });
        let revocations = self.revocations.iter().map(|revocation| revocation.deadline);
        partitions.chain(lanes).chain(revocations).chain(self.stopping).min()
    }

    /// Whether the intake is to take records of a lane: not while its open batch is full and the one before it is under way.
    /// Records of a lane that is stopped or waits for a plan are taken, and refused at the door.
    #[must_use]
    pub fn takes(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_none_or(|lane| !lane.full)
    }

    /// Whether every assigned partition has been claimed or stopped, and every lane is at rest: nothing gathered that is
    /// not settled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partitions.values().all(|p| !matches!(p.phase, Phase::Claiming { .. }))
            && self.lanes.values().all(|lane| lane.is_landed() && lane.open_rows == 0)
            && self
                .partitions
                .values()
                .filter_map(Partition::progress)
                .all(|p| p.settled == p.gathered)
    }

    /// Whether a partition still waits for the claim of this assignment.
    #[must_use]
    pub fn is_claiming(&self, partition: PartitionId, generation: Generation) -> bool {
        self.partitions.get(&partition).is_some_and(|p| {
            p.generation == generation && matches!(p.phase, Phase::Claiming { .. })
        })
    }

    /// Whether some partition waits for its claim.
    #[must_use]
    pub fn has_claims_under_way(&self) -> bool {
        self.partitions.values().any(|p| matches!(p.phase, Phase::Claiming { .. }))
    }

    /// The settled position of a running partition.
    #[must_use]
    pub fn settled(&self, partition: PartitionId) -> Option<i64> {
        self.partitions.get(&partition)?.progress().map(|progress| progress.settled)
    }

    /// Whether a partition is held back by a start rule, or its lane is stopped.
    #[must_use]
    pub fn is_stopped(&self, partition: PartitionId) -> bool {
        self.partitions.get(&partition).is_some_and(|p| {
            p.phase == Phase::Stopped
                || self
                    .lanes
                    .get(&p.lane)
                    .is_some_and(|lane| matches!(lane.gate, Gate::Stopped { .. }))
        })
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Assigned(partitions) => self.assigned(&partitions),
            Input::Revoked(partitions) => self.revoked(partitions),
            Input::Lost(partitions) => self.lost(&partitions),
            Input::Claimed { partition, generation, outcome } => {
                self.claimed(partition, generation, outcome);
            }
            Input::ClaimFailed { partitions, generation, fault } => {
                self.claim_failed(&partitions, generation, fault);
            }
            Input::Gathered { lane, progress, rows, bytes } => {
                self.gathered(lane, &progress, rows, bytes);
            }
            Input::PlanNeeded(lane) => self.plan_needed(lane),
            Input::Planned { lane, outcome } => self.planned(lane, outcome),
            Input::LetterSent(lane) => self.letter_sent(lane),
            Input::LetterAcknowledged { lane, batch } => self.letter_acknowledged(lane, batch),
            Input::LettersFailed { lane, fault } => self.letters_failed(lane, fault),
            Input::Written { lane, batch, outcome } => self.written(lane, batch, outcome),
            Input::Isolated { lane, batch, outcome } => self.isolated(lane, batch, outcome),
            Input::LaneFailed { lane, fault } => self.fail_lane(lane, fault),
            Input::Woke => {}
            Input::Stop { deadline } => self.stop(deadline),
        }
    }

    fn assigned(&mut self, partitions: &[(PartitionId, LaneId)]) {
        if self.stopping.is_some() || partitions.is_empty() {
            return;
        }
        // An assignment without a revocation before it: what was gathered under the old one has no position any more.
        let known: Vec<_> = partitions.iter().map(|(id, _)| *id).collect();
        self.abandon(&known);
        self.generation.0 += 1;
        for (partition, lane) in partitions {
            self.lanes.entry(*lane).or_insert_with(Lane::new).members.insert(*partition);
            let phase = Phase::Claiming { retry_at: None };
            self.partitions
                .insert(*partition, Partition { lane: *lane, generation: self.generation, phase });
        }
        self.out.push(Action::Claim { partitions: known, generation: self.generation });
    }

    fn claimed(&mut self, id: PartitionId, generation: Generation, outcome: Result<Claim, Fault>) {
        let Some(partition) = self.partitions.get(&id) else { return };
        if partition.generation != generation || !matches!(partition.phase, Phase::Claiming { .. })
        {
            return;
        }
        self.claims_recovered();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        match outcome {
            Err(fault) => {
                partition.phase = Phase::Stopped;
                self.out.push(Action::PartitionStopped { partition: id, fault });
            }
            Ok(Claim { owner_epoch, offset }) => {
                partition.phase = Phase::Running(Progress {
                    owner_epoch,
                    settled: offset,
                    sealed: offset,
                    gathered: offset,
                });
                let lane = partition.lane;
                // While an orphan is out, the whole lane is read again as soon as it lands.
                if self.stopping.is_none()
                    && self.lane_is_open(lane)
                    && !self.lane_is_orphaned(lane)
                {
                    self.out.push(Action::Read(vec![(id, offset)]));
                }
            }
        }
    }

    fn claim_failed(&mut self, ids: &[PartitionId], generation: Generation, fault: Fault) {
        let retry_at = Some(self.backoff(self.claim_attempt + 1));
        let mut waiting = false;
        for id in ids {
            if let Some(partition) = self.partitions.get_mut(id)
                && partition.generation == generation
                && matches!(partition.phase, Phase::Claiming { .. })
            {
                partition.phase = Phase::Claiming { retry_at };
                waiting = true;
            }
        }
        if !waiting {
            return;
        }
        self.claim_attempt += 1;
        self.out.push(Action::Waiting { lane: None, fault, attempt: self.claim_attempt });
    }

    fn claims_recovered(&mut self) {
        if std::mem::take(&mut self.claim_attempt) > 0 {
            self.out.push(Action::Recovered { lane: None });
        }
    }

    /// Waits for what the partitions have in flight, then gives them back (I2, I6: the next owner starts from our
    /// position).
    fn revoked(&mut self, partitions: Vec<PartitionId>) {
        let known = partitions.iter().copied().filter(|id| self.partitions.contains_key(id));
        let known: Vec<_> = known.collect();
        self.out.push(Action::Refuse(partitions.clone()));
        let mut lanes = Vec::new();
        for id in &known {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            match partition.phase {
                Phase::Running(progress) => {
                    partition.phase = Phase::Leaving(progress);
                    lanes.push(partition.lane);
                }
                Phase::Claiming { .. } | Phase::Stopped => self.remove(*id),
                Phase::Leaving(_) => {}
            }
        }
        let deadline = self.now.plus_ms(self.settings.release_ms);
        self.revocations.push(Revocation { partitions, deadline });
        for lane in lanes {
            self.try_seal(lane);
        }
        self.release_what_is_settled();
    }

    fn lost(&mut self, partitions: &[PartitionId]) {
        self.out.push(Action::Refuse(partitions.to_vec()));
        self.abandon(partitions);
        for revocation in &mut self.revocations {
            revocation.partitions.retain(|id| !partitions.contains(id));
        }
        self.revocations.retain(|revocation| !revocation.partitions.is_empty());
        self.out.push(Action::Release(partitions.to_vec()));
        self.release_what_is_settled();
    }

    /// Gives partitions up together with what their lanes hold of them; what stays is read again.
    fn abandon(&mut self, partitions: &[PartitionId]) {
        let mut lanes = Vec::new();
        for id in partitions {
            let Some(partition) = self.partitions.get(id) else { continue };
            let dirty = partition.progress().is_some_and(|p| p.settled != p.gathered);
            let lane = partition.lane;
            self.remove(*id);
            if dirty && !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        for lane in lanes {
            self.read_again(lane);
        }
    }

    pub(super) fn remove(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.remove(&id)
            && let Some(lane) = self.lanes.get_mut(&partition.lane)
        {
            lane.members.remove(&id);
        }
    }

    pub(super) fn release_what_is_settled(&mut self) {
        let partitions = &self.partitions;
        let waiting = |id: &PartitionId| {
            partitions.get(id).is_some_and(|p| match p.phase {
                Phase::Leaving(progress) => progress.settled != progress.gathered,
                _ => false,
            })
        };
        let (keep, done): (Vec<_>, Vec<_>) =
            self.revocations.drain(..).partition(|r| r.partitions.iter().any(waiting));
        self.revocations = keep;
        for revocation in done {
            for id in &revocation.partitions {
                if matches!(self.partitions.get(id).map(|p| p.phase), Some(Phase::Leaving(_))) {
                    self.remove(*id);
                }
            }
            self.out.push(Action::Release(revocation.partitions));
        }
    }

    fn stop(&mut self, deadline: Tick) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(deadline);
        let all: Vec<_> = self.partitions.keys().copied().collect();
        self.out.push(Action::Refuse(all.clone()));
        self.out.push(Action::Pause(all));
        for lane in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.try_seal(lane);
        }
    }

    fn tick(&mut self) {
        self.retry_claims();
        if !self.partitions.values().any(|p| matches!(p.phase, Phase::Claiming { .. })) {
            // The partitions that could not be claimed are gone.
            self.claims_recovered();
        }
        for lane in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.retry_lane(lane);
        }
        while let Some(at) = self.revocations.iter().position(|r| r.deadline <= self.now) {
            let revocation = self.revocations.remove(at);
            self.abandon(&revocation.partitions);
            self.out.push(Action::Release(revocation.partitions));
        }
        self.try_exit();
    }

    fn retry_claims(&mut self) {
        if self.stopping.is_some() {
            // It would only fence off the next owner.
            return;
        }
        let now = self.now;
        let mut due: BTreeMap<Generation, Vec<PartitionId>> = BTreeMap::new();
        for (id, partition) in &mut self.partitions {
            if let Phase::Claiming { retry_at: Some(at) } = partition.phase
                && at <= now
            {
                partition.phase = Phase::Claiming { retry_at: None };
                due.entry(partition.generation).or_default().push(*id);
            }
        }
        for (generation, partitions) in due {
            self.out.push(Action::Claim { partitions, generation });
        }
    }

    fn try_exit(&mut self) {
        let Some(deadline) = self.stopping else { return };
        let drained = self.lanes.values().all(Lane::is_landed)
            && self
                .partitions
                .values()
                .filter_map(Partition::progress)
                .all(|p| p.settled == p.gathered);
        if drained || deadline <= self.now {
            let all = self.partitions.keys().copied().collect();
            self.out.push(Action::Release(all));
            self.exit(Ok(()));
        }
    }

    pub(super) fn exit(&mut self, outcome: Result<(), Fault>) {
        if !std::mem::replace(&mut self.exited, true) {
            self.out.push(Action::Exit(outcome));
        }
    }

    pub(super) fn lane_is_open(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.gate == Gate::Open)
    }

    pub(super) fn lane_is_orphaned(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.orphan.is_some())
    }

    /// Doubling wait, with a spread so that lanes do not retry in step.
    pub(super) fn backoff(&self, attempt: u32) -> Tick {
        let doubled = self.settings.backoff_ms << attempt.saturating_sub(1).min(16);
        let wait = doubled.min(self.settings.backoff_max_ms);
        let spread = (self.now.0 ^ u64::from(attempt).wrapping_mul(0x9E37_79B9)) % (wait / 4 + 1);
        self.now.plus_ms(wait + spread)
    }
}
