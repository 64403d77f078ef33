//! The epochs of one source: which number a partition enters when its positions start over.
//!
//! # Decisions
//! - Each partition finds the moment by itself, in its own offsets, so that replay finds it again; the number is shared:
//!   the first partition raises it, the others join. Without that, a truncate in one partition could not be ordered against
//!   rows of another.
//! - A snapshot's position names its lineage. Where a partition has no snapshot rows, the source time decides: the
//!   latest epoch that had begun by then.
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
            Signal::FirstSeen { snapshot } => {
                return Entered { number: self.begin(snapshot, source_ts), raised: false };
            }
            Signal::FreshOffsets | Signal::PositionsFell | Signal::Header { .. } => None,
        };
        let joined = match signal {
            Signal::Header { epoch } => self.0.iter().position(|known| known.number == epoch),
            _ => self.join(current, position, source_ts),
        };
        if let Some(at) = joined {
            let epoch = &mut self.0[at];
            epoch.snapshot = epoch.snapshot.or(position);
            epoch.since = match (epoch.since, source_ts) {
                (Some(since), Some(at)) => Some(since.min(at)),
                (since, at) => since.or(at),
            };
            return Entered { number: epoch.number, raised: false };
        }
        let number = match signal {
            Signal::Header { epoch } => epoch,
            _ => self.highest().max(current).saturating_add(1),
        };
        self.0.push(Epoch { number, snapshot: position, since: source_ts });
        self.0.sort_by_key(|epoch| epoch.number);
        Entered { number, raised: true }
    }

    /// The epoch of a partition's first record: that of its snapshot, else the latest that had begun at its time. Without
    /// a time, the latest.
    #[must_use]
    pub fn begin(&self, snapshot: Option<u64>, source_ts: Option<i64>) -> u32 {
        let begun = |epoch: &&Epoch| source_ts.is_none() || epoch.since <= source_ts;
        let same = |epoch: &&Epoch| snapshot.is_some() && epoch.snapshot == snapshot;
        let found = self.0.iter().find(same).or_else(|| self.0.iter().rfind(begun));
        found.map_or(0, |epoch| epoch.number)
    }

    /// Place of the epoch above `current` that the moment belongs to.
    fn join(&self, current: u32, snapshot: Option<u64>, source_ts: Option<i64>) -> Option<usize> {
        let same = |epoch: &Epoch| snapshot.is_some() && epoch.snapshot == snapshot;
        let may = |epoch: &Epoch| snapshot.is_none() || epoch.snapshot.is_none();
        let begun = |epoch: &Epoch| epoch.since <= source_ts;
        let above = || self.0.iter().enumerate().filter(|(_, epoch)| epoch.number > current);
        above()
            .find(|(_, epoch)| same(epoch))
            .or_else(|| above().rfind(|(_, epoch)| may(epoch) && begun(epoch)))
            .or_else(|| above().find(|(_, epoch)| may(epoch)))
            .map(|(at, _)| at)
    }
}
