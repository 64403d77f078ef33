//! Which source epoch each record of one partition belongs to.

use super::epochs::Epochs;
use super::lineage::{Lineage, Sighting, Signal};
use crate::version::{Version, VersionParts};

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
    /// The epochs of sources that are past epoch 0.
    epochs: Vec<(String, Epochs)>,
}

impl Tracker {
    /// `lineages` as stored with the position that reading goes on from (none when it starts anew), `starts` as written
    /// down for this incarnation of the partition.
    #[must_use]
    pub fn new(lineages: Vec<(String, Lineage)>, mut starts: Vec<Start>) -> Self {
        starts.sort_by_key(|start| (start.offset, start.epoch));
        Self { lineages, starts, epochs: Vec::new() }
    }

    /// The lineages to go on with at an offset that is not the stored `position`: of what was seen only the epochs are left,
    /// and that everything below the position has been judged. A source that the partition has met before does not count as
    /// seen for the first time.
    #[must_use]
    pub fn anew(
        stored: &[(String, Lineage)],
        starts: &[Start],
        offset: i64,
        position: i64,
    ) -> Vec<(String, Lineage)> {
        let anew = |(source, lineage): &(String, Lineage)| {
            let written = || starts.iter().filter(|start| start.source == *source);
            let here = written().filter(|start| start.offset <= offset).map(|start| start.epoch);
            let epoch = match here.max() {
                Some(epoch) => epoch,
                None if written().next().is_some() => 0,
                None => lineage.epoch,
            };
            let mut anew = Lineage::new(epoch);
            anew.judged = lineage.judged.max(position);
            anew.again = lineage.again;
            if epoch == lineage.epoch {
                lineage.keep_times(&mut anew);
            }
            (source.clone(), anew)
        };
        stored.iter().map(anew).collect()
    }

    /// What is known of a source's epochs, for partitions that have not seen it yet.
    pub fn learn(&mut self, source: &str, epochs: Epochs) {
        self.epochs.retain(|(name, _)| name != source);
        self.epochs.push((source.to_owned(), epochs));
    }

    /// The lineages after the records placed so far, to be stored with the position.
    #[must_use]
    pub fn lineages(&self) -> &[(String, Lineage)] {
        &self.lineages
    }

    /// Reading goes on from the position that these lineages were stored with. The starts stay.
    pub fn rewind(&mut self, lineages: Vec<(String, Lineage)>) {
        self.lineages = lineages;
    }

    /// Places the record at `offset`; offsets only grow. What is written down comes before what the record itself tells.
    /// `source_ts` is the record's source time, microseconds since 2000-01-01.
    pub fn place_at(
        &mut self,
        source: &str,
        offset: i64,
        seen: Option<&Sighting>,
        source_ts: Option<i64>,
    ) -> Placed {
        if !self.epochs.is_empty() {
            if let Some(signal) = self.first_seen(source, seen, source_ts) {
                return Placed::StartsOver { current: 0, signal };
            }
            if let Some((current, signal)) = self.passed(source, offset, seen, source_ts) {
                return Placed::StartsOver { current, signal };
            }
        }
        let mark = self.mark(source, offset);
        let lineage = self.lineage(source, offset);
        if let Some(seen) = seen {
            let signal = if lineage.is_judged(offset, mark) { None } else { lineage.judge(seen) };
            if let Some(signal) = signal {
                return Placed::StartsOver { current: lineage.epoch, signal };
            }
            lineage.note(seen);
            if seen.is_timed() {
                lineage.until = lineage.until.max(source_ts);
            }
        }
        Placed::In(lineage.epoch)
    }

    /// As [`Tracker::place_at`], without the record's time.
    #[cfg(test)]
    pub fn place(&mut self, source: &str, offset: i64, seen: Option<&Sighting>) -> Placed {
        self.place_at(source, offset, seen, None)
    }

    /// As [`Tracker::place_at`], for a record that names its epoch itself: its signals are not asked. An epoch below the
    /// current one is a late record of that epoch and tells nothing about the current one.
    pub fn place_declared(
        &mut self,
        source: &str,
        offset: i64,
        seen: Option<&Sighting>,
        epoch: u32,
    ) -> Placed {
        let lineage = self.lineage(source, offset);
        let current = lineage.epoch;
        if epoch > current {
            return Placed::StartsOver { current, signal: Signal::Header { epoch } };
        }
        if epoch == current
            && let Some(seen) = seen
        {
            lineage.note(seen);
        }
        Placed::In(epoch)
    }

    /// The epoch of a record that tells no source (a null value): the highest that any source has at `offset`.
    #[must_use]
    pub fn highest(&self, offset: i64) -> u32 {
        let lineages = self.lineages.iter().map(|(_, lineage)| lineage.epoch);
        let before = self.starts.partition_point(|start| start.offset <= offset);
        lineages.chain(self.starts[..before].iter().map(|start| start.epoch)).max().unwrap_or(0)
    }

    /// Where a record stands whose own position cannot be read: above everything that its partition brought before it, below
    /// everything that its source tells after it. Of several sources nobody knows which one it is of, so there it is only
    /// below what comes.
    #[must_use]
    pub fn reached(&self, offset: i64) -> Version {
        let epoch = self.highest(offset);
        let reached = match self.lineages.as_slice() {
            [(_, lineage)] if lineage.epoch == epoch => lineage.reached(),
            [_] => VersionParts { source_epoch: epoch, ..VersionParts::default() },
            lineages => {
                let lowest = lineages.iter().map(|(_, lineage)| lineage.epoch).min();
                VersionParts { source_epoch: lowest.unwrap_or(0), ..VersionParts::default() }
            }
        };
        let kafka_offset = u64::try_from(offset).unwrap_or(0);
        Version::new(VersionParts { kafka_offset, ..reached })
    }

    /// Whether a source that this partition has not seen yet is past epoch 0 here. A start further on means that it was
    /// seen, and was in epoch 0 before.
    fn first_seen(
        &self,
        source: &str,
        seen: Option<&Sighting>,
        source_ts: Option<i64>,
    ) -> Option<Signal> {
        if self.lineages.iter().any(|(name, _)| name == source)
            || self.starts.iter().any(|start| start.source == source)
        {
            return None;
        }
        let (_, epochs) = self.epochs.iter().find(|(name, _)| name == source)?;
        let initial = seen.filter(|seen| seen.is_initial());
        let snapshot = initial.map(|seen| seen.change_position);
        (epochs.begin(snapshot, source_ts) > 0).then_some(Signal::FirstSeen { snapshot })
    }

    /// The epoch that a record without a sign of its own passes into by its source time, and the epoch before.
    fn passed(
        &mut self,
        source: &str,
        offset: i64,
        seen: Option<&Sighting>,
        source_ts: Option<i64>,
    ) -> Option<(u32, Signal)> {
        let (seen, at) = (seen.filter(|seen| seen.is_timed())?, source_ts?);
        let known = self.epochs.iter().position(|(name, _)| name == source)?;
        let current = self.lineage(source, offset).epoch;
        // In the latest epoch, where a partition nearly always is, nothing else is asked.
        let epoch = self.epochs[known].1.passed(current, at)?;
        let mark = self.mark(source, offset);
        let (_, lineage) = self.lineages.iter().find(|(name, _)| name == source)?;
        if !lineage.is_judged(offset, mark) && lineage.judge(seen).is_some() {
            return None;
        }
        let epochs = &self.epochs[known].1;
        // What has been read past a beginning already is read again from there ([`Tracker::read_again`]).
        if let Some(until) = lineage.until
            && self.unmarked(source, offset, epochs.passed(current, until)).is_some()
        {
            return None;
        }
        let epoch = self.unmarked(source, offset, Some(epoch))?;
        Some((current, Signal::Passed { epoch }))
    }

    /// The epoch that is written down for just this offset.
    fn mark(&self, source: &str, offset: i64) -> Option<u32> {
        let mut from =
            self.starts.partition_point(|start| start.offset < offset)..self.starts.len();
        let at = from.find(|at| self.starts[*at].source == source)?;
        Some(&self.starts[at]).filter(|start| start.offset == offset).map(|start| start.epoch)
    }

    /// The epoch, unless the partition has a mark of its own at `offset` or further on: that is where it starts here.
    fn unmarked(&self, source: &str, offset: i64, epoch: Option<u32>) -> Option<u32> {
        let ahead = |start: &Start| {
            start.source == source && start.offset >= offset && Some(start.epoch) >= epoch
        };
        epoch.filter(|_| !self.starts.iter().any(ahead))
    }

    /// The offset from which a partition at `offset` has to be read again, and the lineages to go on with there: it had gone
    /// past the beginning of an epoch that another partition of the table has found since. `log_start` is what there still is.
    #[must_use]
    pub fn read_again(&self, offset: i64, log_start: i64) -> Option<(i64, Vec<(String, Lineage)>)> {
        let mut back = None;
        for (source, epochs) in &self.epochs {
            let of = |(name, _): &&(String, Lineage)| name == source;
            let Some((_, lineage)) = self.lineages.iter().find(of) else { continue };
            let Some(until) = lineage.until else { continue };
            if self.unmarked(source, offset, epochs.passed(lineage.epoch, until)).is_none() {
                continue;
            }
            // From the last mark before any of the epochs began; those of hands and headers are no matter of time.
            let since = epochs.earliest_above(lineage.epoch);
            let before = |start: &&Start| {
                start.source == *source
                    && start.offset <= offset
                    && epochs.of(start.epoch).is_none_or(|epoch| epoch.since < since)
            };
            let began = self.starts.iter().rfind(before).map_or(0, |start| start.offset);
            back = Some(back.unwrap_or(offset).min(began.max(log_start)));
        }
        let back = back?;
        let mut lineages = Self::anew(&self.lineages, &self.starts, back, offset);
        for (_, lineage) in &mut lineages {
            lineage.until = None;
            lineage.again = lineage.again.max(offset);
        }
        Some((back, lineages))
    }

    /// Whether the record at `offset` was read before, in an epoch that it is not in ([`Tracker::read_again`]).
    #[must_use]
    pub fn is_again(&self, offset: i64) -> bool {
        self.lineages.iter().any(|(_, lineage)| offset < lineage.again)
    }

    /// The source time of a beginning in this partition: not before what it has read of the epoch before.
    #[must_use]
    pub fn since(&self, source: &str, source_ts: Option<i64>) -> Option<i64> {
        let lineage = self.lineages.iter().find(|(name, _)| name == source);
        source_ts
            .max(lineage.and_then(|(_, lineage)| lineage.until).filter(|_| source_ts.is_some()))
    }

    /// What is known of a source, once the record at `offset` is reached.
    fn lineage(&mut self, source: &str, offset: i64) -> &mut Lineage {
        let written = self.written(source, offset);
        let at = match self.lineages.iter().position(|(name, _)| is_same(name, source)) {
            Some(at) => at,
            None => {
                self.lineages.push((source.to_owned(), Lineage::new(written.unwrap_or(0))));
                self.lineages.len() - 1
            }
        };
        let lineage = &mut self.lineages[at].1;
        if let Some(epoch) = written
            && epoch > lineage.epoch
        {
            lineage.start_over(epoch);
        }
        lineage
    }

    /// From `offset` on the source is in `epoch`, which has been written down.
    pub fn enter(&mut self, source: &str, offset: i64, epoch: u32) {
        self.starts.retain(|start| start.source != source || start.offset != offset);
        let start = Start { source: source.to_owned(), offset, epoch };
        let at = self.starts.partition_point(|other| other.offset <= offset);
        self.starts.insert(at, start);
    }

    /// The epoch that is written down for a source at an offset.
    fn written(&self, source: &str, offset: i64) -> Option<u32> {
        let before = self.starts.partition_point(|start| start.offset <= offset);
        self.starts[..before]
            .iter()
            .rfind(|start| is_same(&start.source, source))
            .map(|start| start.epoch)
    }
}

/// As `==`, byte by byte. glibc's `memcmp` loads 32 bytes at once; where a short name lies at the end of the memory that is
/// there, the processor takes 150 ns to find out that it need not fault. That was seen: a fold of 50 ns took 200.
fn is_same(name: &str, other: &str) -> bool {
    name.len() == other.len() && name.bytes().eq(other.bytes())
}
