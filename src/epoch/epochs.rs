//! The epochs of one source: which number a partition enters when its positions start over.
//!
//! # Decisions
//! - Each partition finds the moment by itself, in its own offsets, so that replay finds it again; the number is shared:
//!   the first partition raises it, the others join. Without that, a truncate in one partition could not be ordered against
//!   rows of another.
//! - Two things name a lineage whoever reads it: the position of its snapshot, and the commit time of its first transaction
//!   (all its changes have a null commit position, no others have). Where neither is at hand, the source time decides: the
//!   latest epoch that had begun by then. A partition that sees no sign passes into an epoch by time, too.
//! - The first epoch is written down like the others, and numbers leave room ([`STEP`]): a partition that is read ahead of
//!   the others begins in a later lineage, and those that are found behind it go below it and between.
//! - An epoch too many does no harm: it begins at a source time, for all partitions. One too few puts a lineage's rows below
//!   what came before it. So what may be another lineage is one.
//! - What no rule can tell when it is read: a partition that goes on behind the moment without a sign of its own, while no
//!   other has been read so far. `[C1] [C2]` may be one lineage or two, and only the rest of another partition says which.
//!   Its rows until then stand in the epoch before. Reading it again, now that the epoch is known, puts them right.

use super::lineage::Signal;

/// Between the numbers of epochs that follow each other: room for lineages that are found later.
pub const STEP: u32 = 1_000_000;

/// Commit times do not grow strictly in commit order; lineages are further apart (microseconds).
const CLOSE: i64 = 100_000;

/// One epoch of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Its number; greater is later.
    pub number: u32,
    /// Position of its initial snapshot, if one was seen.
    pub snapshot: Option<u64>,
    /// Commit time of its first transaction, if that was seen; as all times here microseconds since 2000-01-01.
    pub opening: Option<i64>,
    /// Earliest source time seen at its start in any partition.
    pub since: Option<i64>,
    /// The same of changes behind a commit position alone: the first transaction came before.
    pub committed: Option<i64>,
}

/// What the record that enters an epoch tells of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Its source time, microseconds since 2000-01-01.
    pub at: Option<i64>,
    /// The latest source time that its partition has seen of the epoch before.
    pub before: Option<i64>,
    /// It is a streamed change with a commit position.
    pub committed: bool,
}

/// What entering an epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The epoch.
    pub number: u32,
    /// It is new: this partition is the first to see it.
    pub raised: bool,
}

/// All epochs of one source, in order. Sources that tell no positions stay in epoch 0, which is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs(Vec<Epoch>);

impl Epochs {
    /// From what is written down, in any order.
    #[must_use]
    pub fn new(mut epochs: Vec<Epoch>) -> Self {
        epochs.sort_by_key(|epoch| epoch.number);
        Self(epochs)
    }

    /// The epochs, in order.
    #[must_use]
    pub fn all(&self) -> &[Epoch] {
        &self.0
    }

    /// The highest number.
    #[must_use]
    pub fn highest(&self) -> u32 {
        self.0.last().map_or(0, |epoch| epoch.number)
    }

    /// The epoch of a number.
    #[must_use]
    pub fn of(&self, number: u32) -> Option<&Epoch> {
        self.0.iter().find(|epoch| epoch.number == number)
    }

    /// One partition's positions start over while it is in epoch `current`: joins the epoch that another partition has
    /// raised for the same moment, or raises one. [`Signal::Opening`] only adds to `current`.
    pub fn enter(&mut self, current: u32, signal: Signal, moment: Moment) -> Entered {
        let seen = Epoch {
            number: current,
            snapshot: signal.snapshot(),
            opening: moment.at.filter(|_| signal.opens()),
            since: moment.at,
            committed: moment.at.filter(|_| moment.committed),
        };
        let named = |number| self.0.iter().position(|known| known.number == number);
        let joined = match signal {
            Signal::Opening => named(current),
            Signal::Header { epoch } | Signal::Passed { epoch } => named(epoch),
            _ => self.join(&seen, moment.before),
        };
        if let Some(at) = joined {
            let epoch = &mut self.0[at];
            epoch.snapshot = epoch.snapshot.or(seen.snapshot);
            epoch.opening = epoch.opening.or(seen.opening);
            epoch.since = earliest(epoch.since, seen.since);
            epoch.committed = earliest(epoch.committed, seen.committed);
            return Entered { number: epoch.number, raised: false };
        }
        let number = match signal {
            Signal::Header { epoch } | Signal::Passed { epoch } => epoch,
            _ => self.above(current, moment.at),
        };
        if self.of(number).is_some() {
            // No room is left between: it shares the next one's.
            return Entered { number, raised: false };
        }
        self.0.push(Epoch { number, ..seen });
        self.0.sort_by_key(|epoch| epoch.number);
        Entered { number, raised: true }
    }

    /// The epoch above `current` that a record without a sign is in by its source time: the latest that had begun.
    #[must_use]
    pub fn passed(&self, current: u32, at: i64) -> Option<u32> {
        let begun = |epoch: &&Epoch| epoch.since.is_some_and(|since| since <= at);
        self.0.iter().rfind(begun).map(|epoch| epoch.number).filter(|number| *number > current)
    }

    /// The epoch of a partition's first record where positions tell nothing: the latest that had begun at its time. Without
    /// a time, the latest.
    #[must_use]
    pub fn begin(&self, at: Option<i64>) -> u32 {
        let begun = |epoch: &&Epoch| at.is_none() || epoch.since <= at;
        self.0.iter().rfind(begun).map_or(0, |epoch| epoch.number)
    }

    /// A number above `current` for an epoch that begins at a time.
    fn above(&self, current: u32, at: Option<i64>) -> u32 {
        let below = current.max(self.begin(at));
        match self.0.iter().find(|epoch| epoch.number > below) {
            Some(next) => below + (next.number - below).div_ceil(2),
            None => below.saturating_add(STEP),
        }
    }

    /// Place of the epoch above the current one that the moment belongs to.
    fn join(&self, seen: &Epoch, before: Option<i64>) -> Option<usize> {
        let same = |epoch: &Epoch| {
            seen.snapshot.is_some() && epoch.snapshot == seen.snapshot
                || seen.opening.is_some() && epoch.opening == seen.opening
        };
        let after = |opening: Option<i64>, committed: Option<i64>| {
            opening.zip(committed).is_some_and(|(opening, committed)| opening - CLOSE > committed)
        };
        let may = |epoch: &Epoch| {
            (seen.snapshot.is_none() || epoch.snapshot.is_none())
                && (seen.opening.is_none() || epoch.opening.is_none())
                && !after(seen.opening, epoch.committed)
                && !after(epoch.opening, seen.committed)
                // This partition has not seen it begin without noticing.
                && (before.is_none() || epoch.since.is_none() || epoch.since > before)
        };
        let above = || self.0.iter().enumerate().filter(|(_, epoch)| epoch.number > seen.number);
        above()
            .find(|(_, epoch)| same(epoch))
            .or_else(|| {
                let begun =
                    above().rfind(|(_, epoch)| seen.since.is_none() || epoch.since <= seen.since);
                begun.filter(|(_, epoch)| may(epoch))
            })
            .map(|(at, _)| at)
    }
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
