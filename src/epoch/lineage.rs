//! Watches the positions of one source in one partition, and tells when they start over.
//!
//! # Decisions
//! - A record is judged before it is noted, so that the caller can first write the new epoch down.
//! - All changes of a lineage whose commit position is null belong to its first transaction and carry its commit time, so
//!   another time means fresh offsets, and the same time a redelivery of that transaction.
//! - Positions that fell count as a new lineage only when the change is also later than every change streamed before:
//!   a connector that repeats itself after a crash repeats the old times too. Times of snapshot rows are not used, as
//!   they are the connector's own.

use serde::{Deserialize, Serialize};

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
            Self::Header { .. } => "header",
        }
    }
}

/// What is known of one source in one partition since its positions last started over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The source epoch.
    pub epoch: u32,
    /// Position of the initial snapshot, if rows of it were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<u64>,
    /// A streamed change was seen.
    #[serde(default)]
    streamed: bool,
    /// Commit time of the first transaction (commit position null), if changes of it were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opening: Option<i64>,
    /// Highest commit position of a streamed change.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal")]
    commit: Option<u128>,
    /// Latest source time of a streamed change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest: Option<i64>,
}

impl Lineage {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Whether this record shows that positions started over. Changes nothing.
    #[must_use]
    pub fn judge(&self, seen: &Sighting) -> Option<Signal> {
        match (seen.read, seen.commit_position) {
            (true, None) if !seen.incremental => {
                let other = match self.snapshot {
                    Some(position) => position != seen.change_position,
                    None => self.streamed,
                };
                other.then_some(Signal::Snapshot { position: seen.change_position })
            }
            (true, _) => None,
            (false, None) => {
                let known = match (self.opening, seen.source_ts) {
                    (Some(opening), Some(at)) => opening == at,
                    _ => self.commit.is_none(),
                };
                (self.streamed && !known).then_some(Signal::FreshOffsets)
            }
            (false, Some(commit)) => {
                let fell = self.commit.is_some_and(|highest| commit < highest);
                let later = seen.source_ts.zip(self.latest).is_some_and(|(at, latest)| at > latest);
                (fell && later).then_some(Signal::PositionsFell)
            }
        }
    }

    /// Takes the record into account.
    pub fn note(&mut self, seen: &Sighting) {
        if seen.read {
            if seen.commit_position.is_none() && !seen.incremental {
                self.snapshot = Some(seen.change_position);
            }
            return;
        }
        self.streamed = true;
        self.latest = self.latest.max(seen.source_ts);
        match seen.commit_position {
            None => self.opening = self.opening.or(seen.source_ts),
            Some(commit) => self.commit = self.commit.max(Some(commit)),
        }
    }
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
