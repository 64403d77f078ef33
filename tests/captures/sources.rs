//! Source epochs as the destination keeps them: shared epochs, and starts and lineages by partition.

use crate::log::Seen;
use silversink::epoch::{Epochs, Lineage, Placed, Signal, Start, Tracker};
use std::collections::BTreeMap;

/// The epochs of every source, by name.
#[derive(Debug, Default)]
pub struct Sources(BTreeMap<String, Epochs>);

/// What is known of the sources in one partition.
#[derive(Debug, Default)]
pub struct Place {
    tracker: Tracker,
    /// As they are stored with the position.
    lineages: Vec<(String, Lineage)>,
    /// As they are written down.
    starts: Vec<Start>,
}

impl Place {
    /// The position was stored, the lineages with it.
    pub fn stored(&mut self) {
        self.lineages = self.tracker.lineages().to_vec();
    }

    /// Reading goes on from the stored position.
    pub fn resume(&mut self) {
        self.tracker.rewind(self.lineages.clone());
    }

    /// Reading goes on at another offset than the stored position.
    pub fn move_to(&mut self, offset: i64, position: i64) {
        self.lineages = Tracker::anew(&self.lineages, &self.starts, offset, position);
        self.resume();
    }

    /// Where a record belongs. One that tells nothing, such as a tombstone, belongs to the highest epoch so far.
    pub fn of(&mut self, offset: i64, seen: Option<&Seen>) -> Placed {
        match seen {
            None => Placed::In(self.highest(offset)),
            Some(Seen { source, sighting, source_ts }) => {
                self.tracker.place_at(source, offset, sighting.as_ref(), *source_ts)
            }
        }
    }

    /// The highest epoch of any source so far.
    pub fn highest(&self, offset: i64) -> u32 {
        self.tracker.highest(offset)
    }

    /// From this offset on the source is in this epoch.
    pub fn enter(&mut self, source: &str, offset: i64, epoch: u32) {
        self.tracker.enter(source, offset, epoch);
        self.starts.push(Start { source: source.to_owned(), offset, epoch });
    }

    /// Another partition has entered an epoch.
    pub fn learn(&mut self, source: &str, epochs: Epochs) {
        self.tracker.learn(source, epochs);
    }
}

impl Sources {
    /// Positions of the source start over in a partition: the epoch that it enters, and all of the source's.
    pub fn enter(&mut self, seen: &Seen, current: u32, signal: Signal) -> (u32, Epochs) {
        let epochs = self.0.entry(seen.source.clone()).or_default();
        let entered = epochs.enter(current, signal, seen.source_ts);
        (entered.number, epochs.clone())
    }
}
