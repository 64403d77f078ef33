//! The order that a sink goes by: ours, and those that are known to fail.

use super::topic::{Op, Record, Snapshot};
use silversink::epoch::Sighting;
use silversink::version::{Version, VersionParts};

/// What decides which of two changes of a row is newer, and what else is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The version as designed.
    Design,
    /// `source.lsn`, nothing else.
    Lsn,
    /// `source.sequence` and the offset, under the source epoch, without the phase.
    Sequence,
    /// `source.ts_us`.
    Timestamp,
    /// The Kafka offset.
    Offset,
    /// As designed, but positions never start over.
    WithoutEpoch,
    /// As designed, but a truncate only marks what is there.
    WithoutFloor,
    /// As designed, but of a key's changes in a batch only the last is kept, placeholders and all.
    LastRowWins,
}

impl Guard {
    pub const WEAKER: [Self; 7] = [
        Self::Lsn,
        Self::Sequence,
        Self::Timestamp,
        Self::Offset,
        Self::WithoutEpoch,
        Self::WithoutFloor,
        Self::LastRowWins,
    ];

    /// Whether source epochs are tracked.
    pub fn epochs(self) -> bool {
        !matches!(self, Self::Lsn | Self::Timestamp | Self::Offset | Self::WithoutEpoch)
    }

    /// The version of a record in a source epoch.
    pub fn version(self, record: &Record, source_epoch: u32, offset: i64) -> Version {
        let kafka_offset = offset.cast_unsigned();
        let by_offset =
            VersionParts { source_epoch, phase: 1, kafka_offset, ..VersionParts::default() };
        if record.op == Op::Tombstone {
            return Version::new(by_offset);
        }
        let phase = u8::from(record.op != Op::Read);
        let alone = |change_position| VersionParts { change_position, ..VersionParts::default() };
        Version::new(match self {
            Self::Lsn => alone(record.lsn.unwrap_or(0)),
            Self::Timestamp => alone(record.ts.cast_unsigned()),
            Self::Offset => by_offset,
            _ => VersionParts {
                commit_position: record.commit.unwrap_or(0).into(),
                phase: if self == Self::Sequence { 1 } else { phase },
                change_position: if self != Self::Sequence && phase == 0 && record.commit.is_some()
                {
                    0
                } else {
                    record.change
                },
                ..by_offset
            },
        })
    }
}

/// What a record tells of its source's positions; a tombstone nothing.
pub fn sighting(record: &Record) -> Option<Sighting> {
    (record.op != Op::Tombstone).then(|| Sighting {
        read: record.op == Op::Read,
        incremental: record.snapshot == Snapshot::Incremental,
        commit_position: record.commit.map(u128::from),
        change_position: record.change,
        source_ts: Some(record.ts),
    })
}
