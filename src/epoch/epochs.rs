//! The epochs of one source: which number a partition enters when its positions start over.
//!
//! # Decisions
//! - Each partition finds the moment by itself, in its own offsets, so that replay finds it again; the number is shared:
//!   the first partition raises it, the others join. Without that, a truncate in one partition could not be ordered against
//!   rows of another.
//! - A snapshot's position names its lineage. Where a partition has no snapshot rows, the source time decides: the
//!   latest epoch that had begun by then.
//! - An epoch is raised by a sign in one partition alone, never by comparing two: partitions of one lineage begin in
//!   different transactions, at different times, days apart, and neither tells of another lineage. What is written down of
//!   an epoch that had a sign is evidence for the other partitions of the table: a record at its time or later is in it.
//! - What a partition without a sign was read past, before another one showed it, is read again: by the claim
//!   ([`super::Tracker::read_again`]), once, from the last mark before it. A partition's own sign is never overruled by time.
//!   Partitions of other tables are let be: where none has a sign, all stay in one epoch, and nothing is compared with others.
//! - Times of a header's epoch count for nobody: each record names its own.
//! - What no rule can tell: `[C1, T1] | [C2, T2]` in two partitions, with greater numbers in the second, are two transactions
//!   of one lineage or the ends of two, and a truncate in the second is above or below a replay of the first. Only a sign
//!   says so, and where lineages without a snapshot end before any partition shows one, none is there. The same where a
//!   first transaction has a commit time before that of its own snapshot, which begins the epoch.
//! - A partition that sees a source for the first time (it was empty, or was added later) begins in the epoch that its
//!   first record belongs to by the same two marks, and not in epoch 0: a key that moved there would be behind its row.

use super::lineage::Signal;

/// One epoch of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number; greater is later.
    pub number: u32,
    /// Position of its initial snapshot, if one was seen.
    pub snapshot: Option<u64>,
    /// Earliest source time seen at its start in any partition, microseconds since 2000-01-01.
    pub since: Option<i64>,
}

/// What entering an epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The epoch.
    pub number: u32,
    /// It is new: this partition is the first to see it.
    pub raised: bool,
}

/// All epochs of one source that were raised, in order. Epoch 0 is where every source starts, and is not listed.
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

    /// One partition's positions start over while it is in epoch `current`: joins the epoch that another partition has
    /// raised for the same moment, or raises one.
    pub fn enter(&mut self, current: u32, signal: Signal, source_ts: Option<i64>) -> Entered {
        let position = match signal {
            Signal::Snapshot { position } => Some(position),
            Signal::Passed { epoch } => return Entered { number: epoch, raised: false },
            Signal::FirstSeen { snapshot } => {
                return Entered { number: self.begin(snapshot, source_ts), raised: false };
            }
            Signal::FreshOffsets | Signal::PositionsFell | Signal::Header { .. } => None,
        };
        let joined = match signal {
            Signal::Header { epoch } => self.0.iter().position(|known| known.number == epoch),
            _ => self.join(current, position, source_ts),
        };
        // A header tells each record's epoch by itself: no other partition is to go by the time.
        let since = source_ts.filter(|_| !matches!(signal, Signal::Header { .. }));
        if let Some(at) = joined {
            let epoch = &mut self.0[at];
            epoch.snapshot = epoch.snapshot.or(position);
            epoch.since = match (epoch.since, since) {
                (Some(since), Some(at)) => Some(since.min(at)),
                (since, at) => since.or(at),
            };
            return Entered { number: epoch.number, raised: false };
        }
        let number = match signal {
            Signal::Header { epoch } => epoch,
            _ => self.highest().max(current).saturating_add(1),
        };
        // A partition that was ahead has found the same lineage under a number below the current one.
        let ahead = self.ahead(current, position, since);
        let snapshot = position.or(ahead.and_then(|ahead| ahead.snapshot));
        let since = ahead.map_or(since, |ahead| ahead.since.min(since));
        self.0.push(Epoch { number, snapshot, since });
        self.0.sort_by_key(|epoch| epoch.number);
        Entered { number, raised: true }
    }

    /// The epoch of a partition's first record: that of its snapshot, else the latest that had begun at its time. Without
    /// a time, the latest.
    #[must_use]
    pub fn begin(&self, snapshot: Option<u64>, source_ts: Option<i64>) -> u32 {
        let begun = |epoch: &&Epoch| source_ts.is_none() || epoch.since <= source_ts;
        let same = |epoch: &&Epoch| snapshot.is_some() && epoch.snapshot == snapshot;
        let found = self.0.iter().rfind(same).or_else(|| self.0.iter().rfind(begun));
        found.map_or(0, |epoch| epoch.number)
    }

    /// The epoch above `current` that a record is in by its source time alone: the latest that had begun.
    #[must_use]
    pub fn passed(&self, current: u32, at: i64) -> Option<u32> {
        let begun = |epoch: &&Epoch| epoch.since.is_some_and(|since| since <= at);
        self.0.iter().rfind(begun).map(|epoch| epoch.number).filter(|number| *number > current)
    }

    /// Earliest beginning of an epoch above `current`.
    #[must_use]
    pub fn earliest_above(&self, current: u32) -> Option<i64> {
        self.0.iter().filter(|epoch| epoch.number > current).filter_map(|epoch| epoch.since).min()
    }

    /// The epoch of a number.
    #[must_use]
    pub fn of(&self, number: u32) -> Option<&Epoch> {
        self.0.iter().find(|epoch| epoch.number == number)
    }

    /// Those of these numbers.
    #[must_use]
    pub fn only(&self, numbers: &[u32]) -> Self {
        Self(self.0.iter().filter(|epoch| numbers.contains(&epoch.number)).cloned().collect())
    }

    /// The epoch that had begun last at a time, if it is numbered below `current` and began later.
    fn ahead(&self, current: u32, snapshot: Option<u64>, at: Option<i64>) -> Option<&Epoch> {
        let since = self.of(current).and_then(|epoch| epoch.since)?;
        let may = |epoch: &&Epoch| {
            snapshot.is_none() || epoch.snapshot.is_none() || epoch.snapshot == snapshot
        };
        let begun = |epoch: &&Epoch| epoch.since > Some(since) && epoch.since <= at;
        let below = self.0.iter().filter(|epoch| epoch.number < current);
        below.filter(begun).max_by_key(|epoch| epoch.since).filter(may)
    }

    /// Place of the epoch above `current` that the moment belongs to.
    fn join(&self, current: u32, snapshot: Option<u64>, source_ts: Option<i64>) -> Option<usize> {
        let same = |epoch: &Epoch| snapshot.is_some() && epoch.snapshot == snapshot;
        let may = |epoch: &Epoch| snapshot.is_none() || epoch.snapshot.is_none();
        let begun = |epoch: &Epoch| epoch.since <= source_ts;
        let above = || self.0.iter().enumerate().filter(|(_, epoch)| epoch.number > current);
        above()
            .rfind(|(_, epoch)| same(epoch))
            .or_else(|| above().rfind(|(_, epoch)| may(epoch) && begun(epoch)))
            .or_else(|| above().find(|(_, epoch)| may(epoch)))
            .map(|(at, _)| at)
    }
}
