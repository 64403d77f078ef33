//! Watches the positions of one source in one partition, and tells when they start over.
//!
//! # Decisions
//! - A record is judged before it is noted, so that the caller can first write the new epoch down.
//! - All changes of a lineage whose commit position is null belong to its first transaction and carry its commit time, so
//!   another time means fresh offsets, and the same time a redelivery of that transaction.
//! - Positions that fell count as a new lineage only when the change is also later than what it fell below: a connector
//!   that repeats itself after a crash repeats the old times too. Rows of snapshots beside the stream carry the
//!   connector's own clock, which may be ahead of the source's, so their time counts only against their own positions.
//! - Later is more than a tenth of a second: PostgreSQL takes a commit's time before the commit has its place, and what a
//!   connector repeats lands in other partitions once there are more (`source_simulation`, seeds 1865260 and 5755885). No source starts
//!   over within a tenth of a second; if one did, the tripwire would meet its rows.

use crate::version::VersionParts;
use serde::{Deserialize, Serialize};

/// How far commit times may be out of the order of the commits, in microseconds.
const SKEW: i64 = 100_000;

/// What one record tells of its source's positions. Only for records that carry the connector's commit position (for
/// PostgreSQL `source.sequence`); the others have nothing that could start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Op `r`.
    pub read: bool,
    /// `source.snapshot` is `incremental`.
    pub incremental: bool,
    /// The version's commit position; `None` where the source says null (PostgreSQL: before the first commit).
    pub commit_position: Option<u128>,
    /// The version's change position; on rows of an initial snapshot the snapshot's own position.
    pub change_position: u64,
    /// Source time, microseconds since 2000-01-01.
    pub source_ts: Option<i64>,
}

/// Positions started over: why we think so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A row of an initial snapshot after streamed changes, or of another snapshot than the one before (S2a).
    Snapshot {
        /// Position of the snapshot.
        position: u64,
    },
    /// A change without commit position after changes with one: the connector's offsets are fresh (S2b).
    FreshOffsets,
    /// A commit position below an earlier one, at a later time (S3).
    PositionsFell,
    /// The first record of the source in this partition, while the source is past epoch 0.
    FirstSeen {
        /// Position of the initial snapshot, if the record is a row of one.
        snapshot: Option<u64>,
    },
    /// No sign, but the source time of an epoch that another partition of the table has found.
    Passed {
        /// That epoch.
        epoch: u32,
    },
    /// The record's own header says so (`[guard] epoch_header`), and it knows best.
    Header {
        /// The epoch that it names.
        epoch: u32,
    },
}

impl Signal {
    /// As it stands in logs and in `silversink.source_epoch`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::FreshOffsets => "fresh_offsets",
            Self::PositionsFell => "positions_fell",
            Self::FirstSeen { .. } => "first_seen",
            Self::Passed { .. } => "source_time",
            Self::Header { .. } => "header",
        }
    }
}

/// What is known of one source in one partition since its positions last started over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The source epoch.
    pub epoch: u32,
    /// Records below this offset were judged when they were read first; a replay only notes them.
    #[serde(default, skip_serializing_if = "is_none_judged")]
    pub(super) judged: i64,
    /// Records below this offset were read before, in an earlier epoch than they are in: the partition had gone past a beginning.
    #[serde(default, skip_serializing_if = "is_none_judged")]
    pub(super) again: i64,
    /// Position of the initial snapshot, if rows of it were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<u64>,
    /// A streamed change was seen.
    #[serde(default)]
    streamed: bool,
    /// Commit time of the first transaction (commit position null), if changes of it were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opening: Option<i64>,
    /// Highest commit position.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal")]
    commit: Option<u128>,
    /// Latest source time of a streamed change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest: Option<i64>,
    /// Highest commit position of a streamed change.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal")]
    streamed_commit: Option<u128>,
    /// Highest change position of a streamed change at that commit position.
    #[serde(default, skip_serializing_if = "is_zero")]
    streamed_change: u64,
    /// Latest source time of a row of the initial snapshot or of a streamed change, where the epoch is told by the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<i64>,
    /// Latest time of a row of a snapshot beside the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beside: Option<i64>,
}

impl Sighting {
    /// A row of an initial snapshot.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        self.read && !self.incremental && self.commit_position.is_none()
    }

    /// Its time is the source's: rows of snapshots beside the stream carry the connector's.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        !self.read || self.is_initial()
    }
}

impl Lineage {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// From here on in `epoch`: nothing seen yet of it.
    pub(super) fn start_over(&mut self, epoch: u32) {
        *self = Self { judged: self.judged, again: self.again, ..Self::new(epoch) };
    }

    /// Whether the record at `offset` was judged when it was read first. A mark that stands there below the epoch by now (what
    /// came before it has moved into a later number) is judged anew: it may still be a beginning.
    pub(super) fn is_judged(&self, offset: i64, mark: Option<u32>) -> bool {
        offset < self.judged && mark.is_none_or(|mark| mark >= self.epoch)
    }

    /// How late the epoch has been read stays true wherever it is read again: what a connector repeats further on is no
    /// later than that.
    pub(super) fn keep_times(&self, anew: &mut Self) {
        (anew.until, anew.latest, anew.beside) = (self.until, self.latest, self.beside);
    }

    /// Whether this record shows that positions started over. Changes nothing.
    #[must_use]
    pub fn judge(&self, seen: &Sighting) -> Option<Signal> {
        let begun = self.streamed || self.commit.is_some();
        let after = |latest: Option<i64>| {
            seen.source_ts.is_some_and(|at| latest.is_none_or(|latest| at > latest))
        };
        let well_after =
            |latest: Option<i64>| after(latest.map(|latest| latest.saturating_add(SKEW)));
        // Without a streamed change there is nothing else to compare with.
        let later = || well_after(if self.streamed { self.latest } else { self.beside });
        match (seen.read, seen.commit_position) {
            (true, None) if !seen.incremental => {
                let other = match self.snapshot {
                    Some(position) => position != seen.change_position,
                    None => begun,
                };
                other.then_some(Signal::Snapshot { position: seen.change_position })
            }
            (true, _) => None,
            (false, None) => {
                let known = match (self.opening, seen.source_ts) {
                    (Some(opening), Some(at)) => opening == at,
                    _ => self.commit.is_none(),
                };
                (begun && !known && later()).then_some(Signal::FreshOffsets)
            }
            (false, Some(commit)) => {
                let below_stream = self.streamed_commit.is_some_and(|highest| {
                    (commit, seen.change_position) < (highest, self.streamed_change)
                });
                let below_all = self.commit.is_some_and(|highest| commit < highest);
                let fell = (below_stream && well_after(self.latest))
                    || (below_all && well_after(self.latest.max(self.beside)));
                fell.then_some(Signal::PositionsFell)
            }
        }
    }

    /// The highest place in the order that was noted. Where nothing was, it is that of a record without a position, which
    /// stands by its offset alone.
    pub(super) fn reached(&self) -> VersionParts {
        let (phase, change_position) = match self.commit {
            commit if self.streamed && commit == self.streamed_commit => (1, self.streamed_change),
            // Rows of a snapshot beside the stream are the last.
            Some(_) => (0, 0),
            None => self.snapshot.map_or((1, 0), |position| (0, position)),
        };
        VersionParts {
            source_epoch: self.epoch,
            commit_position: self.commit.unwrap_or(0),
            phase,
            change_position,
            kafka_offset: 0,
        }
    }

    /// Takes the record into account.
    pub fn note(&mut self, seen: &Sighting) {
        // Rows of snapshots beside the stream stand at its position.
        self.commit = self.commit.max(seen.commit_position);
        if seen.read {
            if seen.commit_position.is_none() && !seen.incremental {
                self.snapshot = Some(seen.change_position);
            } else if seen.commit_position.is_some() {
                self.beside = self.beside.max(seen.source_ts);
            }
            return;
        }
        if seen.commit_position > self.streamed_commit {
            (self.streamed_commit, self.streamed_change) =
                (seen.commit_position, seen.change_position);
        } else if seen.commit_position == self.streamed_commit {
            self.streamed_change = self.streamed_change.max(seen.change_position);
        }
        self.streamed = true;
        self.latest = self.latest.max(seen.source_ts);
        if seen.commit_position.is_none() {
            self.opening = self.opening.or(seen.source_ts);
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
fn is_none_judged(offset: &i64) -> bool {
    *offset == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// 128-bit positions as decimal text: JSON numbers do not go that far.
mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "serde asks for this signature")]
    pub fn serialize<S: Serializer>(value: &Option<u128>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u128>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse().map_err(de::Error::custom))
            .transpose()
    }
}
