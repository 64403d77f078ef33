//! A small model of the shell: performs what a core asks for, as the docs of the vocabulary say, and no better.

use super::world::{At, Class, Entry, Event, Nature, Owner, Transaction, TxResult, World};
use silversink::core::{Action, Core, Generation, Input, LaneId, PartitionId, Settings, Stretch, Tick};
use silversink::fault::{Class as FaultClass, Code, Fault};
use std::collections::{BTreeMap, BTreeSet};

/// What the consumer knows of an assigned partition.
#[derive(Debug)]
pub struct Consumed {
    lane: LaneId,
    generation: Option<Generation>,
    position: i64,
    accepted: bool,
    paused: bool,
    /// Records that were fetched before the pause.
    prefetched: u32,
}

#[derive(Debug, Default)]
pub struct Batch {
    stretches: Vec<Stretch>,
    pub entries: Vec<Entry>,
    unacknowledged: BTreeSet<At>,
    in_flight: bool,
}

#[derive(Debug)]
pub struct ShellLane {
    number: u64,
    pub open: Batch,
    held: BTreeMap<u64, Batch>,
    plans: BTreeSet<i64>,
    wanted: Option<i64>,
    stopped: Option<Code>,
}

/// One process: a core and its shell.
pub struct Worker {
    number: usize,
    pub incarnation: u64,
    pub alive: bool,
    pub core: Core,
    pub consumed: BTreeMap<PartitionId, Consumed>,
    pub lanes: BTreeMap<LaneId, ShellLane>,
    condemned: BTreeSet<At>,
    /// Partitions that the coordinator took away without the worker having heard of it.
    pub losing: BTreeSet<PartitionId>,
    pub revoked: BTreeMap<PartitionId, u64>,
    pub stop_by: Option<u64>,
    /// It was asked to stop in a world without faults.
    pub drains: bool,
    pub waiting: BTreeSet<Option<LaneId>>,
}

const RELEASE_MS: u64 = 500;

pub fn settings(letters_per_minute: u32) -> Settings {
    Settings {
        batch_rows: 8,
        batch_bytes: 200,
        memory_bytes: 250,
        release_ms: RELEASE_MS,
        backoff_ms: 10,
        backoff_max_ms: 100,
        recheck_ms: 200,
        fenced_ms: 150,
        letters_per_minute,
    }
}

fn fault(class: FaultClass, code: Code) -> Fault {
    Fault::new(class, code, "simulated")
}

impl Worker {
    pub fn new(number: usize, incarnation: u64, letters_per_minute: u32) -> Self {
        Self {
            number,
            incarnation,
            alive: true,
            core: Core::new(settings(letters_per_minute)),
            consumed: BTreeMap::new(),
            lanes: BTreeMap::new(),
            condemned: BTreeSet::new(),
            losing: BTreeSet::new(),
            revoked: BTreeMap::new(),
            stop_by: None,
            drains: false,
            waiting: BTreeSet::new(),
        }
    }

    pub fn is_stopped_for_good(&self, id: PartitionId) -> bool {
        let lane = self.consumed.get(&id).and_then(|consumed| self.lanes.get(&consumed.lane));
        self.core.is_stopped(id) && lane.is_some_and(|lane| lane.stopped == Some(Code::DeadLetterFlood))
    }

    fn lane(&mut self, id: LaneId) -> &mut ShellLane {
        self.lanes.entry(id).or_insert_with(|| ShellLane {
            number: 1,
            open: Batch::default(),
            held: BTreeMap::new(),
            plans: BTreeSet::from([0]),
            wanted: None,
            stopped: None,
        })
    }

    /// Gives the core an input and performs what it answers.
    pub fn step(&mut self, world: &mut World, input: Input) {
        if !self.alive || world.violation.is_some() {
            return;
        }
        let number = self.number;
        world.note(1, || format!("w{number} <- {input:?}"));
        let mut actions = Vec::new();
        self.core.step(Tick(world.now), input, &mut actions);
        for action in actions {
            world.note(2, || format!("w{number} -> {action:?}"));
            if self.alive {
                self.perform(world, action);
            } else {
                world.violate("an action after Exit".to_owned());
            }
        }
        world.check_worker(self);
    }

    fn perform(&mut self, world: &mut World, action: Action) {
        let (worker, incarnation) = (self.number, self.incarnation);
        match action {
            Action::Claim { partitions, generation } => {
                for id in &partitions {
                    match self.consumed.get_mut(id) {
                        Some(consumed) => consumed.generation = Some(generation),
                        None => world.violate(format!("claims {id:?}, which is not assigned")),
                    }
                }
                let fails = world.fault();
                let delay = world.delay();
                world.later(delay, Event::ClaimApply { worker, incarnation, partitions, generation, fails });
            }
            Action::Read(starts) => starts.into_iter().for_each(|(id, offset)| self.read(world, id, offset)),
            Action::Pause(partitions) => {
                for id in partitions {
                    let fetched = world.rng.u32(0..4);
                    if let Some(consumed) = self.consumed.get_mut(&id).filter(|consumed| !consumed.paused) {
                        consumed.paused = true;
                        consumed.prefetched = fetched;
                    }
                }
            }
            Action::Resume(partitions) => {
                world.see("fetching resumed");
                for id in partitions {
                    if let Some(consumed) = self.consumed.get_mut(&id) {
                        consumed.paused = false;
                    }
                }
            }
            Action::Refuse(partitions) => {
                for id in partitions {
                    if let Some(consumed) = self.consumed.get_mut(&id) {
                        consumed.accepted = false;
                    }
                }
            }
            Action::Discard(lane) => {
                let lane = self.lane(lane);
                lane.open = Batch::default();
                lane.number += 1;
            }
            Action::Seal { lane, batch, stretches } => self.seal(world, lane, batch, stretches),
            Action::Write { lane, batch } => self.write(world, lane, batch),
            Action::Isolate { lane, batch } => self.isolate(world, lane, batch),
            Action::Drop { lane, batch } => {
                if self.lane(lane).held.remove(&batch).is_none() {
                    world.violate(format!("drops unknown batch {batch} of {lane:?}"));
                }
            }
            Action::Resolve(lane) => {
                let state = self.lane(lane);
                let wanted = state.wanted;
                if !state.held.is_empty() || !state.open.entries.is_empty() {
                    world.violate(format!("resolves {lane:?} with something in flight"));
                }
                let fails = world.fault();
                let delay = world.delay();
                world.later(delay, Event::Planned { worker, incarnation, lane, wanted, fails });
            }
            Action::ResendLetters(lane) => {
                world.see("letters sent again");
                let state = self.lane(lane);
                let open = state.open.unacknowledged.iter().map(|at| (state.number, *at));
                let held = state.held.iter().flat_map(|(n, b)| b.unacknowledged.iter().map(|at| (*n, *at)));
                let letters: Vec<_> = open.chain(held).collect();
                for (batch, at) in letters {
                    self.send_letter(world, lane, batch, at);
                }
            }
            Action::Mirror(stretches) => {
                for stretch in stretches {
                    if stretch.next > world.positions[&stretch.partition].next_offset {
                        world.violate(format!("I2: mirrors {stretch:?} ahead of the destination"));
                    }
                    if !self.holds(&stretch) {
                        world.violate(format!("mirrors {stretch:?}, which was released"));
                    }
                }
            }
            Action::Release(partitions) => {
                for id in partitions {
                    self.consumed.remove(&id);
                    self.revoked.remove(&id);
                    let owner = world.owners.get_mut(&id).expect("partitions are fixed");
                    if *owner == Owner::Worker(worker) || *owner == Owner::Revoking(worker) {
                        *owner = Owner::Nobody;
                    }
                }
            }
            Action::LaneStopped { lane, fault, .. } => {
                world.see(if fault.code == Code::DeadLetterFlood { "flooded by letters" } else { "lane stopped" });
                self.lane(lane).stopped = Some(fault.code);
            }
            Action::LaneRetried(lane) => {
                world.see("lane retried");
                let lane = self.lane(lane);
                lane.stopped = None;
                lane.plans = BTreeSet::from([0]);
            }
            Action::PartitionStopped { .. } => world.see("partition stopped"),
            Action::Waiting { lane, .. } => {
                self.waiting.insert(lane);
            }
            Action::Recovered { lane } => {
                if !self.waiting.remove(&lane) {
                    world.violate(format!("{lane:?} recovered without having waited"));
                }
            }
            Action::Exit(outcome) => {
                if outcome.is_err() {
                    world.see("fatal");
                }
                world.see("exit");
                if self.drains && self.stop_by.is_some_and(|deadline| world.now >= deadline) {
                    world.violate("I16: drained only by its deadline".to_owned());
                }
                self.alive = false;
                world.later(30, Event::Restart { worker });
            }
        }
    }

    fn holds(&self, stretch: &Stretch) -> bool {
        self.consumed.get(&stretch.partition).is_some_and(|c| c.generation == Some(stretch.generation))
    }

    fn read(&mut self, world: &mut World, id: PartitionId, offset: i64) {
        let Some(consumed) = self.consumed.get_mut(&id) else {
            return world.violate(format!("reads {id:?}, which is not assigned"));
        };
        consumed.position = offset;
        consumed.accepted = true;
        consumed.paused = false;
        let lane = consumed.lane;
        if self.lane(lane).open.entries.iter().any(|entry| entry.at.0 == id) {
            world.violate(format!("reads {id:?} from {offset} twice into one batch"));
        }
    }

    fn seal(&mut self, world: &mut World, id: LaneId, number: u64, stretches: Vec<Stretch>) {
        let lane = self.lane(id);
        let mut batch = std::mem::take(&mut lane.open);
        let expected = std::mem::replace(&mut lane.number, number + 1);
        if expected != number {
            world.violate(format!("seals batch {number} of {id:?}, the open one is {expected}"));
        }
        if !stretches.iter().all(|stretch| self.holds(stretch)) {
            world.violate(format!("seals what was released: {stretches:?}"));
        }
        let covered: i64 = stretches.iter().map(|stretch| stretch.next - stretch.from).sum();
        if usize::try_from(covered).ok() != Some(batch.entries.len()) {
            world.violate(format!("{stretches:?} do not cover the {} records gathered", batch.entries.len()));
        }
        batch.stretches = stretches;
        self.lane(id).held.insert(number, batch);
    }

    /// Takes a batch for the writer.
    fn take_off(&mut self, world: &mut World, id: LaneId, number: u64) -> Option<Batch> {
        let lane = self.lane(id);
        if lane.held.values().any(|batch| batch.in_flight) {
            world.violate(format!("{id:?} has two batches at the writer"));
        }
        let Some(batch) = lane.held.get_mut(&number) else {
            world.violate(format!("writes unknown batch {number} of {id:?}"));
            return None;
        };
        batch.in_flight = true;
        let copy = Batch { stretches: batch.stretches.clone(), entries: batch.entries.clone(), ..Batch::default() };
        if !batch.unacknowledged.is_empty() {
            world.violate(format!("I8: writes batch {number} of {id:?} before its letters are acknowledged"));
        }
        if !copy.stretches.iter().all(|stretch| self.holds(stretch)) {
            world.violate(format!("writes what was released: {:?}", copy.stretches));
        }
        Some(copy)
    }

    fn write(&mut self, world: &mut World, lane: LaneId, number: u64) {
        let Some(batch) = self.take_off(world, lane, number) else { return };
        let mut result = None;
        let mut answer_lost = false;
        if world.fault() {
            match world.rng.u32(0..5) {
                0 => result = Some(TxResult::Transient),
                1 => result = Some(if world.one_in(5) { TxResult::Fatal } else { TxResult::Blocked }),
                _ => answer_lost = true,
            }
        }
        let (apply, answer) = (world.delay(), world.delay());
        let index = world.transactions.len();
        world.transactions.push(Transaction {
            worker: self.number,
            incarnation: self.incarnation,
            lane,
            batch: number,
            stretches: batch.stretches,
            entries: batch.entries,
            result,
            answer_lost,
        });
        world.later(apply, Event::Apply(index));
        // With a lost answer the worker may give up before the destination commits.
        world.later(if answer_lost { answer } else { apply + answer }, Event::Answer(index));
    }

    fn isolate(&mut self, world: &mut World, lane: LaneId, number: u64) {
        let Some(batch) = self.take_off(world, lane, number) else { return };
        let mut culprits: Vec<_> = batch.entries.iter().filter(|e| world.is_poison(e)).map(|e| e.at).collect();
        if world.fault() && world.one_in(4) {
            culprits.clear();
            world.see("no culprit found");
        }
        let culprits = if world.fault() { Err(()) } else { Ok(culprits) };
        let delay = world.delay();
        let (worker, incarnation) = (self.number, self.incarnation);
        world.later(delay, Event::Isolated { worker, incarnation, lane, batch: number, culprits });
    }

    fn send_letter(&mut self, world: &mut World, lane: LaneId, batch: u64, at: At) {
        let (worker, incarnation) = (self.number, self.incarnation);
        let fails = world.fault();
        let delay = world.delay();
        world.later(delay, Event::Letter { worker, incarnation, lane, batch, at, fails });
        if world.fault() {
            let delay = world.delay();
            world.later(delay, Event::Letter { worker, incarnation, lane, batch, at, fails: false });
        }
    }

    /// Takes a burst of records of one lane, as the intake does.
    pub fn burst(&mut self, world: &mut World, id: LaneId) {
        let mut progress = BTreeMap::new();
        let number = self.lane(id).number;
        for _ in 0..world.rng.u32(1..6) {
            let ready: Vec<_> = self
                .consumed
                .iter()
                .filter(|(p, c)| c.lane == id && c.accepted && c.position < world.logs[p].end)
                .filter(|(_, c)| !c.paused || c.prefetched > 0)
                .map(|(p, _)| *p)
                .collect();
            if ready.is_empty() {
                break;
            }
            let partition = ready[world.rng.usize(0..ready.len())];
            let consumed = self.consumed.get_mut(&partition).expect("it is ready");
            let at = (partition, consumed.position);
            let schema = world.schema(at);
            if !self.lane(id).plans.contains(&schema) {
                self.lane(id).wanted = Some(schema);
                self.gathered(world, id, &progress);
                for consumed in self.consumed.values_mut().filter(|consumed| consumed.lane == id) {
                    consumed.accepted = false;
                }
                world.see("plan needed");
                return self.step(world, Input::PlanNeeded(id));
            }
            let consumed = self.consumed.get_mut(&partition).expect("it is ready");
            consumed.position += 1;
            consumed.prefetched = if consumed.paused { consumed.prefetched - 1 } else { 0 };
            progress.insert(partition, consumed.position);
            let nature = world.nature(at);
            let class = match nature {
                Nature::Skipped => Class::Skipped,
                Nature::Undecodable => Class::DeadLettered,
                Nature::Refused if self.condemned.contains(&at) => Class::DeadLettered,
                Nature::Plain | Nature::Refused => Class::Applied,
            };
            self.lane(id).open.entries.push(Entry { at, class });
            if class == Class::DeadLettered {
                self.lane(id).open.unacknowledged.insert(at);
                self.send_letter(world, id, number, at);
                self.step(world, Input::LetterSent(id));
                if self.lane(id).number != number {
                    return;
                }
            }
        }
        self.gathered(world, id, &progress);
    }

    fn gathered(&mut self, world: &mut World, lane: LaneId, progress: &BTreeMap<PartitionId, i64>) {
        if progress.is_empty() {
            return;
        }
        let open = &self.lane(lane).open.entries;
        let rows = open.iter().filter(|entry| entry.class == Class::Applied).count();
        let bytes = rows * 10 + open.len();
        let progress = progress.iter().map(|(p, next)| (*p, *next)).collect();
        self.step(world, Input::Gathered { lane, progress, rows, bytes });
    }

    pub fn assigned(&mut self, world: &mut World, partitions: &[PartitionId]) {
        let mut assigned = Vec::new();
        for id in partitions {
            let lane = world.logs[id].lane;
            world.owners.insert(*id, Owner::Worker(self.number));
            let consumed = Consumed { lane, generation: None, position: 0, accepted: false, paused: true, prefetched: 0 };
            self.consumed.insert(*id, consumed);
            assigned.push((*id, lane));
        }
        self.step(world, Input::Assigned(assigned));
    }

    pub fn revoke(&mut self, world: &mut World, partitions: Vec<PartitionId>) {
        for id in &partitions {
            world.owners.insert(*id, Owner::Revoking(self.number));
            self.revoked.insert(*id, world.now + RELEASE_MS);
        }
        self.step(world, Input::Revoked(partitions.clone()));
        if partitions.iter().any(|id| self.revoked.contains_key(id)) {
            world.see("revocation waits for a batch");
        }
    }

    /// An outcome arrives.
    pub fn hear(&mut self, world: &mut World, event: Event) {
        match event {
            Event::Answer(index) => {
                let transaction = &world.transactions[index];
                let (lane, batch) = (transaction.lane, transaction.batch);
                let result = if transaction.answer_lost { None } else { transaction.result };
                let outcome = match result {
                    Some(TxResult::Committed | TxResult::Already) => Ok(()),
                    Some(TxResult::Fenced) => Err(fault(FaultClass::Fenced, Code::Fenced)),
                    Some(TxResult::Poison) => Err(fault(FaultClass::Poison, Code::ConstraintViolation)),
                    Some(TxResult::Fatal) => Err(fault(FaultClass::Fatal, Code::PostgresLogin)),
                    Some(TxResult::Blocked) => Err(fault(FaultClass::Blocked, Code::ColumnMissing)),
                    Some(TxResult::Transient) | None => Err(fault(FaultClass::Transient, Code::PostgresUnavailable)),
                };
                self.landed(lane, batch);
                let held = self.lanes.get(&lane).and_then(|state| state.held.get(&batch));
                let orphan = held.is_some_and(|batch| !batch.stretches.iter().all(|stretch| self.holds(stretch)));
                if orphan {
                    world.see("orphaned batch");
                }
                self.step(world, Input::Written { lane, batch, outcome });
            }
            Event::Isolated { lane, batch, culprits, .. } => {
                self.landed(lane, batch);
                let outcome = match culprits {
                    Ok(culprits) => {
                        if !culprits.is_empty() {
                            world.see("poison isolated");
                        }
                        let count = culprits.len();
                        self.condemned.extend(culprits);
                        Ok(count)
                    }
                    Err(()) => Err(fault(FaultClass::Transient, Code::PostgresUnavailable)),
                };
                self.step(world, Input::Isolated { lane, batch, outcome });
            }
            Event::Claimed { granted, generation, fails, .. } => {
                if fails {
                    let partitions = granted.into_iter().map(|(id, _)| id).collect();
                    let fault = fault(FaultClass::Transient, Code::PostgresUnavailable);
                    return self.step(world, Input::ClaimFailed { partitions, generation, fault });
                }
                for (partition, claim) in granted {
                    let forbidden = world.logs[&partition].forbidden;
                    let outcome =
                        if forbidden { Err(fault(FaultClass::Blocked, Code::RetentionGap)) } else { Ok(claim) };
                    self.step(world, Input::Claimed { partition, generation, outcome });
                }
            }
            Event::Planned { lane, wanted, fails, .. } => {
                let outcome = if fails {
                    world.see("plan failed");
                    Err(fault(FaultClass::Transient, Code::RegistryUnavailable))
                } else {
                    self.lane(lane).plans.extend(wanted);
                    Ok(())
                };
                self.step(world, Input::Planned { lane, outcome });
            }
            Event::Letter { lane, batch, at, fails, .. } => {
                if fails {
                    world.see("letter failed");
                    let fault = fault(FaultClass::Transient, Code::DeadLetterUnacknowledged);
                    return self.step(world, Input::LettersFailed { lane, fault });
                }
                let state = self.lane(lane);
                let open = (state.number == batch).then_some(&mut state.open);
                let known = open.or_else(|| state.held.get_mut(&batch)).is_some_and(|b| b.unacknowledged.remove(&at));
                // A repeated acknowledgement ends in the shell, which knows the letters.
                if known {
                    self.step(world, Input::LetterAcknowledged { lane, batch });
                } else {
                    world.see("letter acknowledged twice or too late");
                }
            }
            Event::Lost { partitions, .. } => {
                for id in &partitions {
                    self.losing.remove(id);
                }
                world.see("lost");
                self.step(world, Input::Lost(partitions));
            }
            Event::Apply(_) | Event::ClaimApply { .. } | Event::Restart { .. } => {}
        }
    }

    fn landed(&mut self, lane: LaneId, batch: u64) {
        if let Some(batch) = self.lane(lane).held.get_mut(&batch) {
            batch.in_flight = false;
        }
    }
}
