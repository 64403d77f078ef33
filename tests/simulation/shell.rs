//! A small model of the shell: performs what a core asks for, as the docs of the vocabulary say, and no better.

use super::world::{At, Entry, Event, Owner, Transaction, TxResult, World};
use silversink::core::{
    Action, Core, Generation, Input, LaneId, PartitionId, Settings, Stretch, Tick,
};
use silversink::fault::Code;
use std::collections::{BTreeMap, BTreeSet};

/// What the consumer knows of an assigned partition.
#[derive(Debug)]
pub struct Consumed {
    pub lane: LaneId,
    pub generation: Option<Generation>,
    pub position: i64,
    pub accepted: bool,
    pub paused: bool,
    /// Records that were fetched before the pause.
    pub prefetched: u32,
}

#[derive(Debug, Default)]
pub struct Batch {
    pub stretches: Vec<Stretch>,
    pub entries: Vec<Entry>,
    pub unacknowledged: BTreeSet<At>,
    pub in_flight: bool,
}

#[derive(Debug)]
pub struct ShellLane {
    pub number: u64,
    pub open: Batch,
    pub held: BTreeMap<u64, Batch>,
    pub plans: BTreeSet<i64>,
    pub wanted: Option<i64>,
    pub stopped: Option<Code>,
}

/// One process: a core and its shell.
pub struct Worker {
    pub number: usize,
    pub incarnation: u64,
    pub alive: bool,
    pub core: Core,
    pub consumed: BTreeMap<PartitionId, Consumed>,
    pub lanes: BTreeMap<LaneId, ShellLane>,
    pub condemned: BTreeSet<At>,
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
        self.core.is_stopped(id)
            && lane.is_some_and(|lane| lane.stopped == Some(Code::DeadLetterFlood))
    }

    pub fn lane(&mut self, id: LaneId) -> &mut ShellLane {
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
                world.later(
                    delay,
                    Event::ClaimApply { worker, incarnation, partitions, generation, fails },
                );
            }
            Action::Read(starts) => {
                starts.into_iter().for_each(|(id, offset)| self.read(world, id, offset))
            }
            Action::Pause(partitions) => {
                for id in partitions {
                    let fetched = world.rng.u32(0..4);
                    if let Some(consumed) =
                        self.consumed.get_mut(&id).filter(|consumed| !consumed.paused)
                    {
                        consumed.paused = true;
                        consumed.prefetched = fetched;
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
            Action::Drop { lane, batch } => match self.lane(lane).held.remove(&batch) {
                None => world.violate(format!("drops unknown batch {batch} of {lane:?}")),
                Some(held) if held.in_flight => {
                    world.violate(format!("drops batch {batch} of {lane:?} under the writer"));
                }
                Some(_) => {}
            },
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
                let held = state
                    .held
                    .iter()
                    .flat_map(|(n, b)| b.unacknowledged.iter().map(|at| (*n, *at)));
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
                world.see(if fault.code == Code::DeadLetterFlood {
                    "flooded by letters"
                } else {
                    "lane stopped"
                });
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

    pub fn holds(&self, stretch: &Stretch) -> bool {
        self.consumed
            .get(&stretch.partition)
            .is_some_and(|c| c.generation == Some(stretch.generation))
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
            world.violate(format!(
                "{stretches:?} do not cover the {} records gathered",
                batch.entries.len()
            ));
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
        let copy = Batch {
            stretches: batch.stretches.clone(),
            entries: batch.entries.clone(),
            ..Batch::default()
        };
        if !batch.unacknowledged.is_empty() {
            world.violate(format!(
                "I8: writes batch {number} of {id:?} before its letters are acknowledged"
            ));
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
                1 => {
                    result = Some(if world.one_in(5) { TxResult::Fatal } else { TxResult::Blocked })
                }
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
        let mut culprits: Vec<_> =
            batch.entries.iter().filter(|e| world.is_poison(e)).map(|e| e.at).collect();
        if world.fault() && world.one_in(4) {
            culprits.clear();
            world.see("no culprit found");
        }
        let culprits = if world.fault() { Err(()) } else { Ok(culprits) };
        let delay = world.delay();
        let (worker, incarnation) = (self.number, self.incarnation);
        world.later(delay, Event::Isolated { worker, incarnation, lane, batch: number, culprits });
    }

    pub fn assigned(&mut self, world: &mut World, partitions: &[PartitionId]) {
        let mut assigned = Vec::new();
        for id in partitions {
            let lane = world.logs[id].lane;
            world.owners.insert(*id, Owner::Worker(self.number));
            let consumed = Consumed {
                lane,
                generation: None,
                position: 0,
                accepted: false,
                paused: true,
                prefetched: 0,
            };
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
}
