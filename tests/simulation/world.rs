//! The world around the cores: partitions with records, a destination with the fence, a consumer group, and time.

use silversink::core::{Claim, Generation, LaneId, PartitionId, Stretch};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Coordinates of a record.
pub type At = (PartitionId, i64);

/// What a record is, a pure function of its coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Plain,
    Skipped,
    /// The decoder refuses it.
    Undecodable,
    /// PostgreSQL refuses it.
    Refused,
}

/// How a record was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Applied,
    Skipped,
    DeadLettered,
}

/// A record inside a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: At,
    pub class: Class,
}

/// One topic partition.
#[derive(Debug)]
pub struct Log {
    pub lane: LaneId,
    pub end: i64,
    /// A start rule forbids to start it.
    pub forbidden: bool,
}

/// What the destination holds of one partition.
#[derive(Debug, Default)]
pub struct Position {
    pub owner_epoch: i64,
    pub next_offset: i64,
    /// Effects in the order in which they were committed; index is the offset if all is well (I1, I5).
    pub ledger: Vec<Entry>,
}

/// A transaction on its way.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub worker: usize,
    pub incarnation: u64,
    pub lane: LaneId,
    pub batch: u64,
    pub stretches: Vec<Stretch>,
    pub entries: Vec<Entry>,
    /// The answer, once it is decided; `None` while it is under way.
    pub result: Option<TxResult>,
    /// The connection breaks: whatever happens, the worker hears of a transient failure.
    pub answer_lost: bool,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxResult {
    Committed,
    Already,
    Fenced,
    Poison,
    Transient,
    Blocked,
    Fatal,
}

/// Who has a partition, as the coordinator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    Worker(usize),
    /// Asked to give it back.
    Revoking(usize),
}

/// Something that happens later.
#[derive(Clone, Debug)]
pub enum Event {
    Apply(usize),
    Answer(usize),
    Isolated {
        worker: usize,
        incarnation: u64,
        lane: LaneId,
        batch: u64,
        culprits: Result<Vec<At>, ()>,
    },
    ClaimApply {
        worker: usize,
        incarnation: u64,
        partitions: Vec<PartitionId>,
        generation: Generation,
        fails: bool,
    },
    Claimed {
        worker: usize,
        incarnation: u64,
        granted: Vec<(PartitionId, Claim)>,
        generation: Generation,
        fails: bool,
    },
    Planned {
        worker: usize,
        incarnation: u64,
        lane: LaneId,
        wanted: Option<i64>,
        fails: bool,
    },
    Letter {
        worker: usize,
        incarnation: u64,
        lane: LaneId,
        batch: u64,
        at: At,
        fails: bool,
    },
    Lost {
        worker: usize,
        incarnation: u64,
        partitions: Vec<PartitionId>,
    },
    Restart {
        worker: usize,
    },
}

/// Everything outside the cores.
pub struct World {
    pub seed: u64,
    pub rng: fastrand::Rng,
    pub now: u64,
    pub faults: bool,
    /// The mutant: a destination that does not check the fence.
    pub without_fence: bool,
    /// The mutant: letters are acknowledged and not stored.
    pub forgets_letters: bool,
    /// The mutant: positions move without the last effect of their batch.
    pub forgets_effects: bool,
    pub fault_rate: u32,
    pub schema_period: i64,
    pub logs: BTreeMap<PartitionId, Log>,
    pub positions: BTreeMap<PartitionId, Position>,
    pub owners: BTreeMap<PartitionId, Owner>,
    pub letters: BTreeSet<At>,
    pub transactions: Vec<Transaction>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    pub seen: BTreeMap<&'static str, u64>,
    pub hash: u64,
    /// Number of things that happened.
    pub notes: u64,
    pub trace: Option<Vec<String>>,
    pub violation: Option<String>,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let lanes = rng.u32(1..=2);
        let logs: BTreeMap<_, _> = (0..rng.u32(2..=4))
            .map(|n| {
                let log = Log {
                    lane: LaneId(n % lanes),
                    end: rng.i64(0..12),
                    forbidden: rng.u32(0..40) == 0,
                };
                (PartitionId(n), log)
            })
            .collect();
        Self {
            seed,
            now: 0,
            faults: true,
            without_fence: false,
            forgets_letters: false,
            forgets_effects: false,
            fault_rate: [3, 10, 25][rng.usize(0..3)],
            schema_period: [6, 15, 1000][rng.usize(0..3)],
            positions: logs.keys().map(|id| (*id, Position::default())).collect(),
            owners: logs.keys().map(|id| (*id, Owner::Nobody)).collect(),
            logs,
            letters: BTreeSet::new(),
            transactions: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            seen: BTreeMap::new(),
            hash: seed,
            notes: 0,
            trace: traced.then(Vec::new),
            violation: None,
            rng,
        }
    }

    pub fn nature(&self, at: At) -> Nature {
        match mix(self.seed ^ (u64::from(at.0.0) << 32) ^ at.1.cast_unsigned()) % 100 {
            0..3 => Nature::Undecodable,
            3..7 => Nature::Refused,
            7..17 => Nature::Skipped,
            _ => Nature::Plain,
        }
    }

    /// Number of the plan that a record needs.
    pub fn schema(&self, at: At) -> i64 {
        at.1 / self.schema_period
    }

    pub fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Notes what happened: into the hash always, as text when traced.
    pub fn note(&mut self, number: u64, text: impl FnOnce() -> String) {
        self.notes += 1;
        self.hash = mix(self.hash ^ mix(number ^ (self.now << 20)));
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} {}", self.now, text()));
        }
    }

    /// Whether a fault happens now.
    pub fn fault(&mut self) -> bool {
        self.faults && self.rng.u32(0..100) < self.fault_rate
    }

    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    pub fn later(&mut self, ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + ms, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    pub fn next_event_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    pub fn pop(&mut self) -> Option<Event> {
        let Reverse((at, sequence)) = self.queue.pop()?;
        self.now = self.now.max(at);
        self.events.remove(&sequence)
    }

    /// A delay: mostly short, sometimes long enough to be overtaken by anything.
    pub fn delay(&mut self) -> u64 {
        if self.faults && self.rng.u32(0..8) == 0 {
            self.rng.u64(50..900)
        } else {
            self.rng.u64(0..20)
        }
    }

    /// Raises the owner epoch: the destination's half of a claim.
    pub fn claim(&mut self, id: PartitionId) -> Claim {
        let position = self.positions.get_mut(&id).expect("partitions are fixed");
        position.owner_epoch += 1;
        Claim { owner_epoch: position.owner_epoch, offset: position.next_offset }
    }

    /// Commits a transaction, or not.
    pub fn apply(&mut self, number: usize) {
        let transaction = self.transactions[number].clone();
        if transaction.result.is_some() {
            return;
        }
        let holds = |from: bool| {
            transaction.stretches.iter().all(|stretch| {
                let position = &self.positions[&stretch.partition];
                let expected = if from { stretch.from } else { stretch.next };
                position.owner_epoch == stretch.owner_epoch && position.next_offset == expected
            })
        };
        let result = if !holds(true) && holds(false) {
            TxResult::Already
        } else if !holds(true) && !self.without_fence {
            TxResult::Fenced
        } else if self.has_poison(&transaction.entries) {
            TxResult::Poison
        } else {
            self.commit(&transaction);
            TxResult::Committed
        };
        self.note(number as u64, || format!("destination: transaction {number} {result:?}"));
        self.transactions[number].result = Some(result);
        match result {
            TxResult::Already => self.see("answered already"),
            TxResult::Fenced => self.see("fenced write"),
            TxResult::Committed if transaction.answer_lost => {
                self.see("unknown outcome, committed")
            }
            _ if transaction.answer_lost => self.see("unknown outcome, not committed"),
            _ => {}
        }
    }

    pub fn has_poison(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| self.is_poison(entry))
    }

    pub fn is_poison(&self, entry: &Entry) -> bool {
        entry.class == Class::Applied && self.nature(entry.at) == Nature::Refused
    }

    fn commit(&mut self, transaction: &Transaction) {
        for stretch in &transaction.stretches {
            let position =
                self.positions.get_mut(&stretch.partition).expect("partitions are fixed");
            let entries =
                transaction.entries.iter().filter(|entry| entry.at.0 == stretch.partition);
            position.ledger.extend(entries);
            if self.forgets_effects {
                position.ledger.pop();
            }
            position.next_offset = stretch.next;
        }
        for stretch in &transaction.stretches {
            self.check_ledger(stretch.partition);
        }
    }
}
