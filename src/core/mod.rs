//! The decision core: everything that can go wrong in order is decided here, by a pure state machine.
//!
//! `step(now, input) -> actions`: no clock, no I/O, no payload and no single row; it deals in lanes, batches and offset
//! ranges, so it costs nothing on the hot path. The shell performs the actions and reports their outcomes as inputs.
//!
//! # Decisions
//! - One sealed batch per lane at a time; what arrives meanwhile gathers in the open batch. Batches so form by themselves.
//!   A lane that is behind could wait until its batch is full, because a row costs the server the less, the more rows are
//!   beside it. That was built, measured and dropped: the server's work per row fell by up to 5 %, and it stood idle for more
//!   than that (JSON with schema, batches of 10,000: 0.76 of the yardstick, 0.86 without; JSON, 50,000: 0.84 and 0.86).
//! - Whatever goes wrong with a batch (poison, a lost partition, a stopped lane) is answered by forgetting it and reading
//!   its stretch again from the destination's position. Records are never patched in place.
//! - Backpressure is not taking ([`Core::takes`]): what librdkafka has fetched for the lane waits in the lane's own queue,
//!   within its bound, and other lanes go on.
//! - Batch numbers of a lane only grow, so an outcome or an acknowledgement of something forgotten names a number that
//!   nobody waits for, and falls away.
//! - The shell numbers a lane's open batch as the core does: the first is 1; after [`Action::Seal`] it is the sealed number
//!   plus one, after [`Action::Discard`] it is one more.
//! - A burst reports in this order: its letters ([`Input::LetterSent`]), then what it gathered ([`Input::Gathered`]), then
//!   the plan it ended at ([`Input::PlanNeeded`]). A burst whose open batch is discarded on the way reports nothing more.
//! - Every write, isolation, claim and plan that was asked for is answered exactly once, also when its batch was given up.

#[cfg(test)]
mod backpressure_tests;
mod flight;
mod lane;
mod letters;
pub mod start;
mod step;
#[cfg(test)]
mod tests;

pub use step::Core;

use crate::fault::Fault;

/// A moment, in milliseconds since the worker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// This moment plus milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// A lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// A topic partition, numbered by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

/// Which assignment of a partition something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// A stretch `[from, next)` of one partition inside a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: PartitionId,
    /// Under which assignment it was read.
    pub generation: Generation,
    /// The fence.
    pub owner_epoch: i64,
    /// Position before.
    pub from: i64,
    /// Position after.
    pub next: i64,
}

/// A granted claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Our owner epoch.
    pub owner_epoch: i64,
    /// Where to start.
    pub offset: i64,
}

/// What the shell tells the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// The group gave us partitions.
    Assigned(Vec<(PartitionId, LaneId)>),
    /// The group wants partitions back; answered by [`Action::Release`].
    Revoked(Vec<PartitionId>),
    /// The group took partitions away; nothing may be committed for them any more.
    Lost(Vec<PartitionId>),
    /// A claim went through, or a start rule forbids to start.
    Claimed {
        /// The partition.
        partition: PartitionId,
        /// The assignment that was claimed for.
        generation: Generation,
        /// The claim, or why the partition must not start.
        outcome: Result<Claim, Fault>,
    },
    /// Claims could not be made now.
    ClaimFailed {
        /// The partitions.
        partitions: Vec<PartitionId>,
        /// The assignment.
        generation: Generation,
        /// Why.
        fault: Fault,
    },
    /// A burst of records was decoded into a lane's open batch.
    Gathered {
        /// The lane.
        lane: LaneId,
        /// Each partition that came forward, with its next offset.
        progress: Vec<(PartitionId, i64)>,
        /// Rows in the open batch.
        rows: usize,
        /// Bytes in the open batch.
        bytes: usize,
    },
    /// A record needs a plan that does not exist yet; the shell takes no more records of the lane.
    PlanNeeded(LaneId),
    /// The answer to [`Action::Resolve`].
    Planned {
        /// The lane.
        lane: LaneId,
        /// Ok also when the schema turned out to be poison.
        outcome: Result<(), Fault>,
    },
    /// A dead letter of the lane's open batch was handed to the producer.
    LetterSent(LaneId),
    /// A dead letter was acknowledged; once per letter, repeats end in the shell.
    LetterAcknowledged {
        /// The lane.
        lane: LaneId,
        /// The batch that was open when it was sent.
        batch: u64,
    },
    /// Dead letters of a lane were not acknowledged.
    LettersFailed {
        /// The lane.
        lane: LaneId,
        /// Why.
        fault: Fault,
    },
    /// The answer to [`Action::Write`].
    Written {
        /// The lane.
        lane: LaneId,
        /// The batch.
        batch: u64,
        /// Whether it committed.
        outcome: Result<(), Fault>,
    },
    /// The answer to [`Action::Isolate`]: how many culprits were found (the shell remembers their coordinates).
    Isolated {
        /// The lane.
        lane: LaneId,
        /// The batch.
        batch: u64,
        /// Number of rows that PostgreSQL refuses.
        outcome: Result<usize, Fault>,
    },
    /// The lane cannot go on, for a reason that arose outside a batch.
    LaneFailed {
        /// The lane.
        lane: LaneId,
        /// Why.
        fault: Fault,
    },
    /// Time passed.
    Woke,
    /// Drain and exit, by then at the latest.
    Stop {
        /// The latest moment to exit.
        deadline: Tick,
    },
}

/// What the core wants done.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Action {
    /// Claim the partitions in the destination, apply the start rules, answer with `Claimed` or `ClaimFailed`.
    Claim {
        /// The partitions.
        partitions: Vec<PartitionId>,
        /// The assignment they are claimed for.
        generation: Generation,
    },
    /// Read from exactly these offsets (seek, then resume) and accept their records.
    Read(Vec<(PartitionId, i64)>),
    /// Stop fetching; what is already fetched may still be taken.
    Pause(Vec<PartitionId>),
    /// Take no more records of these partitions.
    Refuse(Vec<PartitionId>),
    /// Forget the lane's open batch and its unacknowledged letters.
    Discard(LaneId),
    /// Close the lane's open batch under this number.
    Seal {
        /// The lane.
        lane: LaneId,
        /// Its number.
        batch: u64,
        /// What it covers.
        stretches: Vec<Stretch>,
    },
    /// Apply the sealed batch in one transaction.
    Write {
        /// The lane.
        lane: LaneId,
        /// The batch.
        batch: u64,
    },
    /// Find the rows that PostgreSQL refuses.
    Isolate {
        /// The lane.
        lane: LaneId,
        /// The batch.
        batch: u64,
    },
    /// Forget the sealed batch.
    Drop {
        /// The lane.
        lane: LaneId,
        /// The batch.
        batch: u64,
    },
    /// Find or make the plan that the lane needs; nothing of the lane is in flight.
    Resolve(LaneId),
    /// Send the unacknowledged letters of the lane again.
    ResendLetters(LaneId),
    /// Commit these positions to Kafka.
    Mirror(Vec<Stretch>),
    /// Give partitions back: the answer to a revocation.
    Release(Vec<PartitionId>),
    /// The lane stopped; tell people once.
    LaneStopped {
        /// The lane.
        lane: LaneId,
        /// Why.
        fault: Fault,
        /// It was stopped for the same reason before and was tried again by itself.
        again: bool,
    },
    /// The lane goes on after a stop; plans and table shapes must be read anew.
    LaneRetried(LaneId),
    /// The partition must not start; tell people.
    PartitionStopped {
        /// The partition.
        partition: PartitionId,
        /// Why.
        fault: Fault,
    },
    /// Work is being retried because of an outage; tell people once per outage.
    Waiting {
        /// The lane, if it is one lane's trouble.
        lane: Option<LaneId>,
        /// Why.
        fault: Fault,
        /// How many times it was tried.
        attempt: u32,
    },
    /// An outage is over, or what was being retried was given up: every `Waiting` is followed by one `Recovered`.
    Recovered {
        /// The lane.
        lane: Option<LaneId>,
    },
    /// Leave.
    Exit(Result<(), Fault>),
}

/// Limits that the core works with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rows at which a lane's open batch is full.
    pub batch_rows: usize,
    /// Bytes at which a lane's open batch is full.
    pub batch_bytes: usize,
    /// Bytes of all lanes' batches together.
    pub memory_bytes: usize,
    /// How long a revocation may wait for a batch in flight.
    pub release_ms: u64,
    /// First wait after a transient failure; doubles up to `backoff_max_ms`.
    pub backoff_ms: u64,
    /// Longest wait between two tries.
    pub backoff_max_ms: u64,
    /// After how long a lane stopped by the destination's state is tried again by itself.
    pub recheck_ms: u64,
    /// How long to wait for a rebalance after the fence stopped us, before claiming again.
    pub fenced_ms: u64,
    /// Dead letters of one lane within a minute above which it stops.
    pub letters_per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_rows: 10_000,
            batch_bytes: 8 << 20,
            memory_bytes: 64 << 20,
            release_ms: 15_000,
            backoff_ms: 100,
            backoff_max_ms: 10_000,
            recheck_ms: 30_000,
            fenced_ms: 10_000,
            letters_per_minute: 1_000,
        }
    }
}
