//! Which source epoch each record of one partition belongs to.

use super::lineage::{Lineage, Sighting, Signal};

/// From `offset` on, records of `source` belong to `epoch`: one row of `silversink.source_epoch_start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// `source.name`, the connector's topic prefix; empty when records do not tell.
    pub source: String,
    /// First offset of the epoch in this partition.
    pub offset: i64,
    /// The epoch.
    pub epoch: u32,
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In this epoch.
    In(u32),
    /// Positions start over with this record: an epoch above `current` has to be entered first ([`super::Epochs::enter`],
    /// written down, then [`Tracker::enter`]), and the record placed again.
    StartsOver {
        /// The epoch so far.
        current: u32,
        /// Why.
        signal: Signal,
    },
}

/// The lineages of one partition and the starts that are written down for it.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// By source name; nearly always one.
    lineages: Vec<(String, Lineage)>,
    /// In order of offset.
    starts: Vec<Start>,
}

impl Tracker {
    /// `lineages` as stored with the position, also where reading goes on from an earlier one (none for a new incarnation
    /// of the partition), `starts` as written down for this incarnation.
    #[must_use]
    pub fn new(lineages: Vec<(String, Lineage)>, mut starts: Vec<Start>) -> Self {
        starts.sort_by_key(|start| start.offset);
        Self { lineages, starts }
    }

    /// The lineages after the records placed so far, to be stored with the position.
    #[must_use]
    pub fn lineages(&self) -> &[(String, Lineage)] {
        &self.lineages
    }

    /// Places the record at `offset`; offsets only grow. What is written down comes before what the record itself tells.
    pub fn place(&mut self, source: &str, offset: i64, seen: Option<&Sighting>) -> Placed {
        let written = self.written(source, offset);
        let lineage = match self.lineages.iter().position(|(name, _)| name == source) {
            Some(at) => &mut self.lineages[at].1,
            None => {
                self.lineages.push((source.to_owned(), Lineage::new(written.unwrap_or(0))));
                let Some((_, lineage)) = self.lineages.last_mut() else { return Placed::In(0) };
                lineage
            }
        };
        if let Some(epoch) = written
            && epoch > lineage.epoch
        {
            let next = lineage.next;
            *lineage = Lineage::new(epoch);
            lineage.next = next;
        }
        if offset < lineage.next {
            return Placed::In(written.unwrap_or(0));
        }
        if let Some(seen) = seen {
            if let Some(signal) = lineage.judge(seen) {
                return Placed::StartsOver { current: lineage.epoch, signal };
            }
            lineage.note(seen);
        }
        lineage.next = offset + 1;
        Placed::In(lineage.epoch)
    }

    /// From `offset` on the source is in `epoch`, which has been written down.
    pub fn enter(&mut self, source: &str, offset: i64, epoch: u32) {
        let start = Start { source: source.to_owned(), offset, epoch };
        let at = self.starts.partition_point(|other| other.offset <= offset);
        self.starts.insert(at, start);
    }

    /// The epoch that is written down for a source at an offset.
    fn written(&self, source: &str, offset: i64) -> Option<u32> {
        let before = self.starts.partition_point(|start| start.offset <= offset);
        self.starts[..before].iter().rfind(|start| start.source == source).map(|start| start.epoch)
    }
}
