//! Source epochs as the destination keeps them: shared epochs, starts and lineages by partition.

use silversink::epoch::{Epochs, Lineage, Placed, Sighting, Start, Tracker};
use std::collections::BTreeMap;

/// The epochs of every source, by name.
#[derive(Debug, Default)]
pub struct Sources(BTreeMap<String, Epochs>);

/// What is written down for one partition, and the tracker that reads it.
#[derive(Debug, Default)]
pub struct Place {
    tracker: Tracker,
    starts: Vec<Start>,
    lineages: Vec<(String, Lineage)>,
    /// Where the last record was placed: one that tells nothing, such as a tombstone, belongs there too.
    current: u32,
}

impl Place {
    /// The position was stored, the lineages with it.
    pub fn stored(&mut self) {
        self.lineages = self.tracker.lineages().to_vec();
    }

    /// Reading goes on from the stored position, or starts anew somewhere else.
    pub fn resume(&mut self, from_stored: bool) {
        if !from_stored {
            self.lineages.clear();
        }
        self.current = self.lineages.iter().map(|(_, lineage)| lineage.epoch).max().unwrap_or(0);
        self.tracker = Tracker::new(self.lineages.clone(), self.starts.clone());
    }
}

impl Sources {
    /// The epoch of the record at this offset.
    pub fn place(
        &mut self,
        place: &mut Place,
        offset: i64,
        seen: Option<&(String, Sighting)>,
    ) -> u32 {
        let Some((source, sighting)) = seen else { return place.current };
        loop {
            match place.tracker.place(source, offset, Some(sighting)) {
                Placed::In(epoch) => {
                    place.current = epoch;
                    return epoch;
                }
                Placed::StartsOver { current, signal } => {
                    let epochs = self.0.entry(source.clone()).or_default();
                    let entered = epochs.enter(current, signal, sighting.source_ts);
                    let start = Start { source: source.clone(), offset, epoch: entered.number };
                    place.starts.push(start);
                    place.tracker.enter(source, offset, entered.number);
                }
            }
        }
    }
}
