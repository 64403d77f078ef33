//! The sink over one history: workers that read partitions in any interleaving, fold, write, crash, move and replay. Order,
//! epochs and fold are the product's own; the destination is the model.

use super::guard::{Guard, sighting};
use super::history::History;
use super::shape::{body, key_field, sealed, shape, slot};
use super::silver::Silver;
use super::source::COLUMNS;
use super::topic::{Op, Record, Topic};
use super::unread::{Letters, Unread};
use fastrand::Rng;
use silversink::batch::arena::{Arena, Incoming, SealedRange};
use silversink::batch::exchange::Told;
use silversink::batch::{ColumnSet, Kind, Truncate};
use silversink::epoch::{Epochs, Lineage, Placed, Signal, Start, Tracker};
use silversink::version::Version;
use std::sync::Arc;

const SOURCE: &str = "shop";

/// A partition's committed position.
#[derive(Clone, Debug, Default)]
struct Position {
    next: usize,
    lineages: Vec<(String, Lineage)>,
}

/// How far a worker has read one of its partitions.
#[derive(Clone, Debug)]
struct Reading {
    next: usize,
    tracker: Tracker,
}

/// A change that waits for the seal: only where the guard itself keeps the last row of a key.
#[derive(Clone, Copy)]
struct Waiting {
    version: Version,
    record: Record,
    partition: usize,
    offset: usize,
}

#[derive(Default)]
struct Worker {
    arena: Arena,
    /// By partition; `None` is not read by this worker, or has not been since it came.
    reading: Vec<Option<Reading>>,
    waiting: Vec<Waiting>,
}

/// What is left when everything has been read.
pub struct Sink<'h> {
    pub silver: Silver,
    /// Records that were dead-lettered: their unchanged values have no base. Incarnation, partition, offset.
    pub parked: Vec<(usize, usize, usize)>,
    /// Rows that the last, complete replay wrote: there is nothing to write any more.
    pub rewritten: usize,
    /// What the workers did: for people.
    pub steps: Vec<String>,
    pub epochs: Epochs,
    pub letters: Letters,
    /// Epochs raised by the data.
    pub raised: usize,
    /// Partitions that were read again, because they had gone past the beginning of an epoch.
    pub led_back: usize,
    traced: bool,
    guard: Guard,
    rng: Rng,
    topics: &'h [Topic],
    incarnation: usize,
    starts: Vec<Vec<Start>>,
    positions: Vec<Position>,
    workers: Vec<Worker>,
    owner: Vec<usize>,
    written: usize,
}

impl<'h> Sink<'h> {
    /// Reads everything that the history left in Kafka.
    pub fn run(
        history: &'h History,
        seed: u64,
        (guard, unread): (Guard, Unread),
        traced: bool,
    ) -> Self {
        let rng = Rng::with_seed(seed ^ 0x5eed_0f51_17e5);
        let workers = (0..history.workers).map(|_| Worker::default()).collect();
        let mut sink = Self {
            silver: Silver::default(),
            parked: Vec::new(),
            rewritten: 0,
            steps: Vec::new(),
            epochs: Epochs::default(),
            letters: Letters::new(unread, seed, history.workers),
            raised: 0,
            led_back: 0,
            traced,
            guard,
            rng,
            topics: &history.kafka.topics,
            incarnation: 0,
            starts: Vec::new(),
            positions: Vec::new(),
            workers,
            owner: Vec::new(),
            written: 0,
        };
        for incarnation in 0..sink.topics.len() {
            sink.begin(incarnation);
            sink.read_all();
        }
        sink.replay_all();
        sink
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.traced {
            self.steps.push(what());
        }
    }

    fn topic(&self) -> &'h Topic {
        &self.topics[self.incarnation]
    }

    /// A topic, or the next one of its name, which the operator has accepted: positions and offsets start over, so its
    /// records belong to an epoch of their own.
    fn begin(&mut self, incarnation: usize) {
        self.incarnation = incarnation;
        let count = self.topic().partitions.len();
        self.starts = vec![Vec::new(); count];
        if incarnation > 0 {
            let highest = self.epochs.highest();
            let epoch = self.epochs.enter(highest, Signal::FreshOffsets, None).number;
            for starts in &mut self.starts {
                starts.push(Start { source: SOURCE.to_owned(), offset: 0, epoch });
            }
        }
        self.positions = vec![Position::default(); count];
        self.owner = (0..count).map(|_| self.rng.usize(0..self.workers.len())).collect();
        (0..self.workers.len()).for_each(|worker| self.crash(worker));
        self.say(|| format!("topic {incarnation}, {count} partitions"));
    }

    fn read_all(&mut self) {
        let partitions = self.positions.len();
        // A partition that lags until the others are through.
        let mut lagging = self.rng.bool().then(|| self.rng.usize(0..partitions));
        let mut replays = self.rng.usize(0..=2);
        loop {
            let unread: Vec<usize> = (0..partitions)
                .filter(|at| self.next(*at) < self.topic().partitions[*at].len())
                .collect();
            let ready = unread.iter().copied().filter(|at| Some(*at) != lagging);
            let ready: Vec<usize> = ready.collect();
            if ready.is_empty() && !unread.is_empty() {
                lagging = None;
                continue;
            }
            if unread.is_empty() {
                (0..self.workers.len()).for_each(|worker| self.seal(worker));
                if (0..partitions).all(|at| self.committed(at)) {
                    if replays == 0 {
                        return;
                    }
                    replays -= 1;
                    let at = self.rng.usize(0..partitions);
                    self.rewind(at);
                }
                continue;
            }
            let at = ready[self.rng.usize(0..ready.len())];
            for _ in 0..self.rng.usize(1..10) {
                self.take(at);
            }
            match self.rng.u8(0..100) {
                0..30 => self.seal(self.owner[at]),
                30..34 => {
                    let worker = self.owner[at];
                    self.say(|| format!("worker {worker} crashes"));
                    self.crash(worker);
                }
                34..38 => self.rebalance(at),
                38..41 if replays > 0 => {
                    replays -= 1;
                    self.rewind(at);
                }
                _ => {}
            }
        }
    }

    /// Everything once more from the start: no row may be written.
    fn replay_all(&mut self) {
        if self.rng.u8(0..4) != 0 {
            return;
        }
        let written = self.written;
        self.say(|| "replay of everything".to_owned());
        for position in &mut self.positions {
            *position = Position::default();
        }
        (0..self.workers.len()).for_each(|worker| self.crash(worker));
        // An epoch that is entered costs a turn, and may lead other partitions back.
        let unread = |sink: &Self| {
            (0..sink.positions.len()).find(|at| sink.next(*at) < sink.topic().partitions[*at].len())
        };
        while let Some(at) = unread(self) {
            self.take(at);
        }
        (0..self.workers.len()).for_each(|worker| self.seal(worker));
        self.rewritten = self.written - written;
    }

    /// The next record of a partition to read.
    fn next(&self, at: usize) -> usize {
        let reading = self.workers[self.owner[at]].reading[at].as_ref();
        reading.map_or(self.positions[at].next, |reading| reading.next)
    }

    fn committed(&self, at: usize) -> bool {
        self.positions[at].next >= self.topic().partitions[at].len()
    }

    /// The worker starts anew: what it gathered is gone, the floor is the one that the table knows now.
    fn crash(&mut self, worker: usize) {
        let mut arena = Arena::default();
        arena.set_shape(Arc::clone(shape()));
        if self.guard != Guard::WithoutFloor {
            arena.set_floor(self.silver.floor);
        }
        let reading = vec![None; self.positions.len()];
        self.workers[worker] = Worker { arena, reading, waiting: Vec::new() };
        self.letters.load(worker, true);
    }

    /// A partition moves to another worker, whose floor is older than the partition's coming.
    fn rebalance(&mut self, at: usize) {
        let from = self.owner[at];
        if self.rng.bool() {
            self.seal(from);
        }
        self.discard(from);
        self.owner[at] = self.rng.usize(0..self.workers.len());
        let to = self.owner[at];
        self.letters.load(to, false);
        self.say(|| format!("partition {at} moves from worker {from} to {to}"));
    }

    /// Someone moved the group's offset back.
    fn rewind(&mut self, at: usize) {
        let worker = self.owner[at];
        self.discard(worker);
        let next = self.rng.usize(0..=self.positions[at].next);
        let lineages = Tracker::anew(
            &self.positions[at].lineages,
            &self.starts[at],
            i64::try_from(next).unwrap(),
            i64::try_from(self.positions[at].next).unwrap(),
        );
        self.positions[at] = Position { next, lineages };
        self.say(|| format!("partition {at} is read again from {next}"));
    }

    /// The worker forgets what it gathered, and goes on from the committed positions.
    fn discard(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        worker.arena.discard();
        worker.waiting.clear();
        worker.reading.fill(None);
    }

    fn take(&mut self, at: usize) {
        let owner = self.owner[at];
        let topic = self.topic();
        self.claim(at);
        let offset = self.next(at);
        let Some(record) = topic.partitions[at].get(offset) else { return };
        if self.letters.takes(record) {
            let Worker { arena, reading, .. } = &mut self.workers[owner];
            let reading = reading[at].as_mut().unwrap();
            reading.next += 1;
            let reached = reading.tracker.reached(offset as i64);
            self.letters.letter(owner, arena, record, Err(reached));
            arena.dead_letter(slot(at));
            return self
                .say(|| format!("#{} at {at}/{offset} is not read: {reached}", record.number));
        }
        let epoch = if self.guard.epochs() { self.epoch(at, offset, record) } else { Some(0) };
        let Some(epoch) = epoch else { return };
        let reading = self.workers[owner].reading[at].as_mut().unwrap();
        reading.next += 1;
        let version = self.guard.version(record, epoch, offset as i64);
        let arena = &mut self.workers[owner].arena;
        if self.parked.contains(&(self.incarnation, at, offset))
            || self.letters.has_hole(owner, arena, record, version)
        {
            self.letters.letter(owner, arena, record, Ok(version));
            return arena.dead_letter(slot(at));
        }
        self.say(|| format!("worker {owner} reads #{} at {at}/{offset}: {version}", record.number));
        match record.op {
            Op::Truncate => self.truncate(at, Truncate { version, at: record.ts }),
            _ if self.guard == Guard::LastRowWins => {
                let change = Waiting { version, record: *record, partition: at, offset };
                wait(&mut self.workers[owner].waiting, change);
            }
            _ => fold(&mut self.workers[owner].arena, version, record, at, offset, true),
        }
    }

    /// The partition's worker goes on from the committed position, or from where an epoch that it has gone past begins.
    fn claim(&mut self, at: usize) {
        let owner = self.owner[at];
        if self.workers[owner].reading[at].is_some() {
            return;
        }
        let Position { next, lineages } = self.positions[at].clone();
        let mut tracker = Tracker::new(lineages, self.starts[at].clone());
        let known = self.known();
        if known.highest() > 0 {
            tracker.learn(SOURCE, known);
        }
        let Some((back, lineages)) = tracker.read_again(next as i64, 0) else {
            self.workers[owner].reading[at] = Some(Reading { next, tracker });
            return;
        };
        let back = usize::try_from(back).unwrap();
        self.say(|| format!("partition {at} goes back to {back}"));
        self.led_back += 1;
        tracker.rewind(lineages.clone());
        self.positions[at] = Position { next: back, lineages };
        self.workers[owner].reading[at] = Some(Reading { next: back, tracker });
    }

    /// The epochs that partitions of this topic have entered.
    fn known(&self) -> Epochs {
        let entered = self.starts.iter().flatten().map(|start| start.epoch);
        self.epochs.only(&entered.collect::<Vec<_>>())
    }

    /// The epoch of a record. A new one is written down before the record counts: what came before it lands first, and
    /// where others have to know, all partitions are claimed again.
    fn epoch(&mut self, at: usize, offset: usize, record: &Record) -> Option<u32> {
        let owner = self.owner[at];
        let seen = sighting(record);
        let offset = offset as i64;
        loop {
            let tracker = &mut self.workers[owner].reading[at].as_mut().unwrap().tracker;
            let Some(seen) = &seen else { return Some(tracker.highest(offset)) };
            let placed = tracker.place_at(SOURCE, offset, Some(seen), seen.source_ts);
            let (current, signal) = match placed {
                Placed::In(epoch) => return Some(epoch),
                Placed::StartsOver { current, signal } => (current, signal),
            };
            let since = tracker.since(SOURCE, seen.source_ts);
            self.seal(owner);
            // A dead letter comes first: the worker reads again.
            self.workers[owner].reading[at].as_ref()?;
            let before = self.known();
            let entered = self.epochs.enter(current, signal, since);
            let epoch = entered.number;
            assert!(epoch > current, "an epoch that starts over is above the one before");
            self.raised += usize::from(entered.raised);
            self.starts[at].retain(|start| start.offset != offset);
            self.starts[at].push(Start { source: SOURCE.to_owned(), offset, epoch });
            self.say(|| format!("partition {at} enters epoch {epoch} by {signal:?}"));
            if self.known() != before {
                (0..self.workers.len()).for_each(|worker| self.discard(worker));
                (0..self.positions.len()).for_each(|at| self.claim(at));
                return None;
            }
            let tracker = &mut self.workers[owner].reading[at].as_mut().unwrap().tracker;
            tracker.enter(SOURCE, offset, epoch);
        }
    }

    fn truncate(&mut self, at: usize, truncate: Truncate) {
        let owner = self.owner[at];
        if self.guard == Guard::WithoutFloor {
            self.workers[owner].arena.skip(slot(at));
            self.seal(owner);
            self.silver.truncate(truncate);
        } else {
            self.workers[owner].arena.truncate(slot(at), truncate);
        }
    }

    /// Closes the worker's batch and writes it.
    fn seal(&mut self, worker: usize) {
        let ranges: Vec<SealedRange> = (0..self.positions.len())
            .filter_map(|at| {
                let next = self.workers[worker].reading[at].as_ref()?.next;
                let from = self.positions[at].next;
                (self.owner[at] == worker && next > from).then(|| sealed(at, from, next))
            })
            .collect();
        if ranges.is_empty() {
            return;
        }
        let read: Vec<usize> = ranges.iter().map(|range| usize::from(range.slot)).collect();
        let it = &mut self.workers[worker];
        for change in it.waiting.drain(..) {
            let Waiting { version, record, partition, offset } = change;
            fold(&mut it.arena, version, &record, partition, offset, false);
        }
        if ranges.iter().any(|sealed| {
            let tracker = &it.reading[usize::from(sealed.slot)].as_ref().unwrap().tracker;
            tracker.is_again(sealed.range.from)
        }) {
            it.arena.read_again();
        }
        it.arena.leave_holes(self.letters.holes(worker));
        let batch = it.arena.seal(0, ranges);
        match self.silver.write(&batch) {
            Ok(merged) => {
                self.written += merged.written;
                self.letters.store(&batch);
                for at in read {
                    let reading = self.workers[worker].reading[at].as_ref().unwrap();
                    let lineages = reading.tracker.lineages().to_vec();
                    self.positions[at] = Position { next: reading.next, lineages };
                }
                self.say(|| format!("worker {worker} writes {merged:?}"));
            }
            Err(baseless) => {
                for index in baseless {
                    let (range, offset) = batch.rows[index].needs_base.unwrap();
                    let at = read[usize::from(range)];
                    self.parked.push((self.incarnation, at, offset as usize));
                    self.say(|| format!("worker {worker} parks {at}/{offset}"));
                }
                self.discard(worker);
            }
        }
    }
}

/// Keeps the last row of each key, whatever it lacks.
fn wait(waiting: &mut Vec<Waiting>, change: Waiting) {
    let same = |other: &&mut Waiting| {
        other.record.key == change.record.key && other.record.op != Op::Tombstone
    };
    match waiting.iter_mut().find(same) {
        _ if change.record.op == Op::Tombstone => waiting.push(change),
        Some(other) if other.version < change.version => *other = change,
        Some(_) => {}
        None => waiting.push(change),
    }
}

fn fold(
    arena: &mut Arena,
    version: Version,
    record: &Record,
    partition: usize,
    offset: usize,
    needs_base: bool,
) {
    let mut kept = ColumnSet::default();
    let (kind, values, deleted_at) = match record.op {
        Op::Read | Op::Write => {
            let given = |column: usize| record.unchanged & 1 << column == 0;
            (0..COLUMNS).filter(|column| !given(*column)).for_each(|at| kept.insert(at + 1));
            let kind = if record.unchanged == 0 { Kind::Whole } else { Kind::Partial };
            let value = |column: usize| given(column).then_some(record.values[column]);
            (kind, std::array::from_fn(value), None)
        }
        Op::Delete => (Kind::Delete, [None; COLUMNS], Some(record.ts)),
        Op::Tombstone => (Kind::Tombstone, [None; COLUMNS], Some(record.ts)),
        Op::Truncate => unreachable!("a truncate is no row"),
    };
    let old_key = record.old_key.filter(|_| needs_base && kind == Kind::Partial).map(key_field);
    arena.fold(Incoming {
        body: body(record.key, values).bytes(),
        key: &key_field(record.key),
        kind,
        version,
        deleted_at,
        source_ts: Some(record.ts),
        old_key: old_key.as_ref().map(|key| &key[..]),
        told: Told::Nothing,
        kept: &kept,
        needs_base: needs_base && kind == Kind::Partial,
        slot: slot(partition),
        offset: offset as i64,
        own_time: false,
    });
}
