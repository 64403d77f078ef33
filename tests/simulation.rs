//! Seeded histories: real cores against a simulated world that fails in every way it can, with the invariants checked
//! after every step and progress demanded once the world is healed.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "simulation/checker.rs"]
mod checker;
#[path = "simulation/intake.rs"]
mod intake;
#[path = "simulation/outcomes.rs"]
mod outcomes;
#[path = "simulation/shell.rs"]
mod shell;
#[path = "simulation/world.rs"]
mod world;

use shell::Worker;
use silversink::core::{Claim, Core, Generation, Input, LaneId, PartitionId, Tick};
use silversink::fault::{Class, Code, Fault};
use std::collections::BTreeMap;
use world::{Event, Owner, World};

struct History {
    world: World,
    workers: Vec<Worker>,
    letters_per_minute: u32,
}

impl History {
    fn new(seed: u64, traced: bool) -> Self {
        let mut world = World::new(seed, traced);
        let letters_per_minute = if world.one_in(12) { 4 } else { 1_000 };
        let count = world.rng.usize(1..=3);
        let workers = (0..count).map(|n| Worker::new(n, 0, letters_per_minute)).collect();
        Self { world, workers, letters_per_minute }
    }

    fn run(mut self) -> World {
        for _ in 0..self.world.rng.u32(60..400) {
            if self.world.violation.is_some() {
                return self.world;
            }
            self.chaos();
        }
        self.world.faults = false;
        self.heal();
        self.world
    }

    fn chaos(&mut self) {
        let worker = self.world.rng.usize(0..self.workers.len());
        match self.world.rng.u32(0..200) {
            0..60 => self.burst(worker),
            60..75 => self.grow(),
            75..90 => self.assign(4),
            90..95 => self.revoke(),
            95..97 => self.expire(worker),
            97 if self.world.one_in(4) => self.assign_again(worker),
            97 => self.crash(worker),
            98 => self.stop(worker),
            99 if self.world.faults => {
                let lane = LaneId(self.world.rng.u32(0..2));
                let fault = Fault::blocked(Code::TypeMismatch, "simulated", "none");
                if self.workers[worker].lanes.contains_key(&lane) {
                    self.workers[worker].step(&mut self.world, Input::LaneFailed { lane, fault });
                }
            }
            _ => self.advance(),
        }
    }

    fn burst(&mut self, worker: usize) {
        let lane = LaneId(self.world.rng.u32(0..2));
        self.workers[worker].burst(&mut self.world, lane);
    }

    fn grow(&mut self) {
        let world = &mut self.world;
        let id = PartitionId(world.rng.u32(0..4));
        let more = world.rng.i64(1..8);
        if let Some(log) = world.logs.get_mut(&id)
            && log.end < 60
        {
            log.end += more;
        }
    }

    /// Gives partitions that nobody has to a worker that is a member of the group.
    fn assign(&mut self, at_most: usize) {
        let members = self.workers.iter().enumerate();
        let members: Vec<_> = members
            .filter(|(_, w)| w.alive && w.losing.is_empty() && w.stop_by.is_none())
            .map(|(n, _)| n)
            .collect();
        let free: Vec<_> = self
            .world
            .owners
            .iter()
            .filter(|(_, owner)| **owner == Owner::Nobody)
            .map(|(id, _)| *id)
            .take(at_most)
            .collect();
        if members.is_empty() || free.is_empty() {
            return;
        }
        let member = members[self.world.rng.usize(0..members.len())];
        self.workers[member].assigned(&mut self.world, &free);
    }

    fn owned(&self, worker: usize) -> Vec<PartitionId> {
        let mine = [Owner::Worker(worker), Owner::Revoking(worker)];
        self.world.owners.iter().filter(|(_, o)| mine.contains(o)).map(|(id, _)| *id).collect()
    }

    fn revoke(&mut self) {
        let worker = self.world.rng.usize(0..self.workers.len());
        let all: Vec<_> =
            self.world.owners.iter().filter(|(_, o)| **o == Owner::Worker(worker)).collect();
        let mut chosen: Vec<_> = all.into_iter().map(|(id, _)| *id).collect();
        self.world.rng.shuffle(&mut chosen);
        chosen.truncate(self.world.rng.usize(1..3));
        if self.workers[worker].alive && !chosen.is_empty() {
            self.workers[worker].revoke(&mut self.world, chosen);
        }
    }

    /// The coordinator gives up on a worker, which goes on as a zombie until it hears of it.
    fn expire(&mut self, worker: usize) {
        let mut lost = self.owned(worker);
        if self.world.one_in(3) {
            lost.truncate(1);
        }
        if lost.is_empty() || !self.workers[worker].alive {
            return;
        }
        for id in &lost {
            self.world.owners.insert(*id, Owner::Nobody);
        }
        self.workers[worker].losing.extend(&lost);
        let incarnation = self.workers[worker].incarnation;
        let delay = self.world.delay();
        self.world.later(delay, Event::Lost { worker, incarnation, partitions: lost });
    }

    /// An assignment that repeats what the worker has, without a word before it.
    fn assign_again(&mut self, worker: usize) {
        let mine = self.world.owners.iter().filter(|(_, owner)| **owner == Owner::Worker(worker));
        let mine: Vec<_> = mine.map(|(id, _)| *id).take(2).collect();
        let held = mine.iter().all(|id| self.workers[worker].consumed.contains_key(id));
        if self.workers[worker].alive
            && self.workers[worker].stop_by.is_none()
            && !mine.is_empty()
            && held
        {
            self.world.see("assigned twice");
            self.workers[worker].assigned(&mut self.world, &mine);
        }
    }

    fn leave_group(&mut self, worker: usize) {
        for id in self.owned(worker) {
            self.world.owners.insert(id, Owner::Nobody);
        }
    }

    fn crash(&mut self, worker: usize) {
        self.world.see("crash");
        self.leave_group(worker);
        let incarnation = self.workers[worker].incarnation + 1;
        self.workers[worker] = Worker::new(worker, incarnation, self.letters_per_minute);
        self.world.note(3, || format!("w{worker} crashed"));
    }

    fn stop(&mut self, worker: usize) {
        if self.workers[worker].alive && self.workers[worker].stop_by.is_none() {
            let deadline = self.world.now + self.world.rng.u64(0..600);
            self.workers[worker].stop_by = Some(deadline);
            self.workers[worker].step(&mut self.world, Input::Stop { deadline: Tick(deadline) });
        }
    }

    /// Stops a worker that has all the time it wants.
    fn drain(&mut self, worker: usize) {
        if self.workers[worker].alive && self.workers[worker].stop_by.is_none() {
            let deadline = self.world.now + 100_000_000;
            self.workers[worker].stop_by = Some(deadline);
            self.workers[worker].drains = true;
            self.workers[worker].step(&mut self.world, Input::Stop { deadline: Tick(deadline) });
        }
    }

    /// Lets the next thing happen that was going to happen: an event, or a core that wants to be woken.
    fn advance(&mut self) {
        let wake = self.workers.iter().enumerate().filter(|(_, worker)| worker.alive);
        let wake = wake.filter_map(|(n, worker)| Some((worker.core.next_wake()?.0, n))).min();
        let event = self.world.next_event_at();
        match (wake, event) {
            (Some((at, worker)), event) if event.is_none_or(|event| at <= event) => {
                self.world.now = self.world.now.max(at);
                self.workers[worker].step(&mut self.world, Input::Woke);
            }
            (_, Some(_)) => {
                if let Some(event) = self.world.pop() {
                    self.happen(event);
                }
            }
            (_, None) => self.world.now += 5,
        }
    }

    fn happen(&mut self, event: Event) {
        let (worker, incarnation) = match &event {
            Event::Apply(index) => return self.world.apply(*index),
            Event::Restart { worker } => {
                self.leave_group(*worker);
                let incarnation = self.workers[*worker].incarnation + 1;
                self.workers[*worker] = Worker::new(*worker, incarnation, self.letters_per_minute);
                return;
            }
            Event::ClaimApply { worker, incarnation, partitions, generation, fails } => {
                // Half of the failures happen after the destination has raised the epoch.
                let reaches = !fails || self.world.rng.bool();
                let granted = partitions.iter().map(|id| {
                    let claim = if reaches {
                        self.world.claim(*id)
                    } else {
                        Claim { owner_epoch: 0, offset: 0 }
                    };
                    (*id, claim)
                });
                let granted = granted.collect();
                let (worker, incarnation, generation, fails) =
                    (*worker, *incarnation, *generation, *fails);
                let delay = self.world.delay();
                let claimed = Event::Claimed { worker, incarnation, granted, generation, fails };
                return self.world.later(delay, claimed);
            }
            Event::Answer(index) => {
                let transaction = &self.world.transactions[*index];
                (transaction.worker, transaction.incarnation)
            }
            Event::Letter { worker, incarnation, at, fails, .. } => {
                if !fails && !self.world.forgets_letters {
                    self.world.letters.insert(*at);
                }
                (*worker, *incarnation)
            }
            Event::Isolated { worker, incarnation, .. }
            | Event::Claimed { worker, incarnation, .. }
            | Event::Planned { worker, incarnation, .. }
            | Event::Lost { worker, incarnation, .. } => (*worker, *incarnation),
        };
        if self.workers[worker].incarnation == incarnation && self.workers[worker].alive {
            self.workers[worker].hear(&mut self.world, event);
        }
    }

    /// No faults any more: everything must be settled to the end of its log (I15), and whoever is asked to stop drains
    /// and leaves without waiting for the deadline (I16).
    fn heal(&mut self) {
        if self.world.rng.bool() {
            self.drain(0);
        }
        for _ in 0..3_000 {
            self.assign(4);
            for worker in 0..self.workers.len() {
                for lane in 0..2 {
                    self.workers[worker].burst(&mut self.world, LaneId(lane));
                }
            }
            self.advance();
            if self.world.violation.is_some() {
                return;
            }
            if self.world.next_event_at().is_none() && self.world.unsettled(&self.workers).is_none()
            {
                break;
            }
        }
        if let Some(unsettled) = self.world.unsettled(&self.workers) {
            self.world.violate(unsettled);
        }
        for id in self.world.logs.keys().copied().collect::<Vec<_>>() {
            self.world.check_ledger(id);
        }
        for worker in 0..self.workers.len() {
            self.drain(worker);
            if self.workers[worker].alive {
                self.world.violate("I16: an idle worker does not leave at once".to_owned());
            }
        }
    }
}

fn histories() -> u64 {
    std::env::var("SILVERSINK_SIM_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000)
}

/// What many histories showed: how often which event was seen, and which seeds broke an invariant after how many events.
#[derive(Default)]
struct Outcome {
    seen: BTreeMap<&'static str, u64>,
    broken: Vec<(u64, u64, String)>,
}

fn run_all(seeds: std::ops::Range<u64>) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in seeds {
        let world = History::new(seed, false).run();
        if let Some(violation) = world.violation {
            outcome.broken.push((world.notes, seed, violation));
        }
        for (what, times) in world.seen {
            *outcome.seen.entry(what).or_default() += times;
        }
    }
    outcome
}

/// Tells the end of the shortest history that broke an invariant.
fn panic_if_broken(mut broken: Vec<(u64, u64, String)>) {
    broken.sort();
    let Some((_, seed, violation)) = broken.first() else { return };
    let trace = History::new(*seed, true).run().trace.unwrap_or_default();
    let tail = trace[trace.len().saturating_sub(60)..].join("\n");
    panic!(
        "{tail}\n{} histories are broken, the shortest is seed {seed}: {violation}",
        broken.len()
    );
}

#[test]
fn every_history_keeps_the_invariants_and_settles_once_healed() {
    let count = histories();
    let first: u64 =
        std::env::var("SILVERSINK_SIM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let middle = first + count / 2;
    let (mut outcome, more) = std::thread::scope(|scope| {
        let other = scope.spawn(move || run_all(middle..first + count));
        let outcome = run_all(first..middle);
        (outcome, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    outcome.broken.extend(more.broken);
    panic_if_broken(outcome.broken);
    let mut seen = outcome.seen;
    for (what, times) in more.seen {
        *seen.entry(what).or_default() += times;
    }
    println!("{count} histories: {seen:#?}");
    if count < 2_000 {
        return;
    }
    // A run that saw no faults proves nothing.
    for what in [
        "unknown outcome, committed",
        "unknown outcome, not committed",
        "answered already",
        "fenced write",
        "orphaned batch",
        "poison isolated",
        "no culprit found",
        "revocation waits for a batch",
        "lost",
        "crash",
        "exit",
        "letter failed",
        "letters sent again",
        "letter acknowledged twice or too late",
        "lane stopped",
        "lane retried",
        "partition stopped",
        "plan needed",
        "plan failed",
        "fatal",
        "held",
        "flooded by letters",
        "assigned twice",
    ] {
        assert!(seen.contains_key(what), "no history saw: {what}");
    }
}

/// One input of any kind, naming what may or may not exist.
fn any_input(rng: &mut fastrand::Rng, now: u64) -> Input {
    let lane = LaneId(rng.u32(0..3));
    let partition = PartitionId(rng.u32(0..4));
    let generation = Generation(rng.u64(0..6));
    let batch = rng.u64(0..8);
    let class = [Class::Transient, Class::Poison, Class::Blocked, Class::Fenced][rng.usize(0..4)];
    let fault = Fault::new(class, Code::ALL[rng.usize(0..Code::ALL.len())], "simulated");
    let outcome = if rng.bool() { Ok(()) } else { Err(fault.clone()) };
    match rng.u32(0..16) {
        0 => Input::Assigned(vec![(partition, lane), (PartitionId(rng.u32(0..4)), lane)]),
        1 => Input::Revoked(vec![partition]),
        2 => Input::Lost(vec![partition]),
        3..6 => {
            let claim = Claim { owner_epoch: rng.i64(0..9), offset: rng.i64(0..9) };
            Input::Claimed { partition, generation, outcome: outcome.map(|()| claim) }
        }
        6 => Input::ClaimFailed { partitions: vec![partition], generation, fault },
        7 | 8 => Input::Gathered {
            lane,
            progress: vec![(partition, rng.i64(0..99))],
            rows: rng.usize(0..20),
            bytes: 300,
        },
        9 => Input::PlanNeeded(lane),
        10 => Input::Planned { lane, outcome },
        11 => Input::LetterSent(lane),
        12 => Input::LetterAcknowledged { lane, batch },
        13 => Input::LettersFailed { lane, fault },
        14 => Input::Written { lane, batch, outcome },
        _ => match rng.u32(0..8) {
            0 => Input::Stop { deadline: Tick(now + rng.u64(0..2_000)) },
            1 => Input::LaneFailed { lane, fault },
            2..5 => Input::Isolated { lane, batch, outcome: outcome.map(|()| rng.usize(0..3)) },
            _ => Input::Woke,
        },
    }
}

#[test]
fn any_input_is_accepted_in_any_state() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut core = Core::new(shell::settings(20));
        let mut actions = Vec::new();
        let mut now = 0;
        for _ in 0..200 {
            now += rng.u64(0..100);
            core.step(Tick(now), any_input(&mut rng, now), &mut actions);
            assert!(
                core.next_wake().is_none_or(|at| at > Tick(now)),
                "seed {seed}: would spin at {now}"
            );
        }
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..50 {
        let (one, two) = (History::new(seed, false).run(), History::new(seed, true).run());
        assert_eq!((one.hash, one.now), (two.hash, two.now), "seed {seed}");
    }
}

/// Histories out of 200 in which the checker sees that the world itself is broken.
fn caught(sabotage: impl Fn(&mut World), complaint: &str) -> usize {
    let broken = (0..200).filter(|seed| {
        let mut history = History::new(*seed, false);
        sabotage(&mut history.world);
        history.run().violation.is_some_and(|text| text.contains(complaint))
    });
    broken.count()
}

#[test]
fn without_the_fence_the_checker_sees_double_effects() {
    assert!(caught(|world| world.without_fence = true, "I1") > 0);
}

#[test]
fn a_letter_acknowledged_before_it_is_stored_does_not_escape_the_checker() {
    assert!(caught(|world| world.forgets_letters = true, "I8") > 0);
}

#[test]
fn a_position_that_moves_without_its_effects_does_not_escape_the_checker() {
    assert!(caught(|world| world.forgets_effects = true, "I1") > 0);
}
