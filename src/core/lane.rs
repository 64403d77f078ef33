//! State of one lane and of one partition inside the core. Data only; the transitions are in `step`.

use super::{Generation, LaneId, PartitionId, Stretch, Tick};
use crate::fault::Fault;
use std::collections::BTreeSet;

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a claim; at that moment it is asked for again.
    Claiming { retry_at: Option<Tick> },
    /// Records are read.
    Running(Progress),
    /// A revocation waits until what was gathered is settled.
    Leaving(Progress),
    /// A start rule or the operator keeps it from starting.
    Stopped,
}

/// Offsets of a running partition: `settled <= sealed <= gathered` (I2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) owner_epoch: i64,
    /// The destination's position.
    pub(super) settled: i64,
    /// End of the sealed batch.
    pub(super) sealed: i64,
    /// End of the open batch.
    pub(super) gathered: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) lane: LaneId,
    pub(super) generation: Generation,
    pub(super) phase: Phase,
}

impl Partition {
    pub(super) fn progress(&self) -> Option<&Progress> {
        match &self.phase {
            Phase::Running(progress) | Phase::Leaving(progress) => Some(progress),
            Phase::Claiming { .. } | Phase::Stopped => None,
        }
    }
    pub(super) fn progress_mut(&mut self) -> Option<&mut Progress> {
        match &mut self.phase {
            Phase::Running(progress) | Phase::Leaving(progress) => Some(progress),
            Phase::Claiming { .. } | Phase::Stopped => None,
        }
    }
}

/// Whether a lane takes records.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Gate {
    /// It does.
    Open,
    /// It waits for a plan: `asked` once nothing is in flight any more.
    Resolving { asked: bool, retry_at: Option<Tick> },
    /// It is stopped; at that moment it is tried again.
    Stopped { fault: Fault, recheck_at: Option<Tick> },
}

/// What a sealed batch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// For its letters to be acknowledged.
    Letters,
    /// For the transaction.
    Writing,
    /// For the culprits.
    Isolating,
    /// For the next try.
    Backoff(Tick),
}

#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) stretches: Vec<Stretch>,
    pub(super) letters: usize,
    pub(super) stage: Stage,
    pub(super) bytes: usize,
    /// It was isolated once without finding a culprit.
    pub(super) isolated: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) members: BTreeSet<PartitionId>,
    pub(super) gate: Gate,
    pub(super) next_batch: u64,
    pub(super) sealed: Option<Sealed>,
    /// A batch that was given up while its transaction was under way: nothing is read until its outcome is known.
    pub(super) orphan: Option<Sealed>,
    pub(super) open_rows: usize,
    pub(super) open_bytes: usize,
    pub(super) open_letters: usize,
    /// The open batch is full while the one before it is under way.
    pub(super) full: bool,
    pub(super) attempt: u32,
    pub(super) resend_at: Option<Tick>,
    pub(super) last_stop: Option<Fault>,
    /// Start of the minute and letters sent in it.
    pub(super) letters: (Tick, u32),
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            members: BTreeSet::new(),
            gate: Gate::Open,
            next_batch: 1,
            sealed: None,
            orphan: None,
            open_rows: 0,
            open_bytes: 0,
            open_letters: 0,
            full: false,
            attempt: 0,
            resend_at: None,
            last_stop: None,
            letters: (Tick(0), 0),
        }
    }

    pub(super) fn forget_open(&mut self) {
        self.open_rows = 0;
        self.open_bytes = 0;
        self.open_letters = 0;
        self.full = false;
        // A letter of the forgotten batch must not be counted for the next one.
        self.next_batch += 1;
    }

    /// Nothing of the lane is at the writer or waits for it.
    pub(super) fn is_landed(&self) -> bool {
        self.sealed.is_none() && self.orphan.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        let held = self.sealed.iter().chain(&self.orphan).map(|sealed| sealed.bytes);
        self.open_bytes + held.sum::<usize>()
    }
}

/// A revocation that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Revocation {
    pub(super) partitions: Vec<PartitionId>,
    pub(super) deadline: Tick,
}
