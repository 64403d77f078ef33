//! Op, version and source time of a record, from the facts that a walker found beside the row.

use super::sequence;
use super::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};
use crate::version::{Version, VersionParts};

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's zero.
const UNIX_TO_POSTGRES_US: i64 = 946_684_800_000_000;

/// What a record tells beside its row. The number is the place in [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `op` or `__op`.
    Op,
    /// `__deleted` of flattened records.
    Deleted,
    /// `source.connector`.
    Connector,
    /// `source.sequence`.
    Sequence,
    /// `source.lsn`.
    Lsn,
    /// `source.commit_lsn`.
    CommitLsn,
    /// `source.commit_scn`.
    CommitScn,
    /// `source.ts_us`.
    SourceTsUs,
    /// `source.ts_ms`.
    SourceTsMs,
    /// The envelope's own `ts_us`.
    TsUs,
    /// The envelope's own `ts_ms`.
    TsMs,
}

const FACTS: usize = 11;

impl Fact {
    /// By name inside Debezium's `source` block.
    #[must_use]
    pub fn of_source(name: &str) -> Option<Self> {
        Some(match name {
            "connector" => Self::Connector,
            "sequence" => Self::Sequence,
            "lsn" => Self::Lsn,
            "commit_lsn" => Self::CommitLsn,
            "commit_scn" => Self::CommitScn,
            "ts_us" => Self::SourceTsUs,
            "ts_ms" => Self::SourceTsMs,
            _ => return None,
        })
    }

    /// By name at the top of the envelope.
    #[must_use]
    pub fn of_envelope(name: &str) -> Option<Self> {
        Some(match name {
            "op" => Self::Op,
            "ts_us" => Self::TsUs,
            "ts_ms" => Self::TsMs,
            _ => return None,
        })
    }

    /// By name in a flattened record (`add.fields` of ExtractNewRecordState with its standard prefix `__`).
    #[must_use]
    pub fn of_flattened(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("__")? {
            "op" => Self::Op,
            "deleted" => Self::Deleted,
            "connector" | "source_connector" => Self::Connector,
            "sequence" | "source_sequence" => Self::Sequence,
            "lsn" | "source_lsn" => Self::Lsn,
            "commit_lsn" | "source_commit_lsn" => Self::CommitLsn,
            "commit_scn" | "source_commit_scn" => Self::CommitScn,
            "source_ts_us" => Self::SourceTsUs,
            "source_ts_ms" => Self::SourceTsMs,
            "ts_us" => Self::TsUs,
            "ts_ms" => Self::TsMs,
            _ => return None,
        })
    }
}

/// The facts of one record.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    slots: [Slot<'r>; FACTS],
    /// The before image.
    pub before: Image<'r>,
    /// Whether there is an after image.
    pub after: bool,
}

/// Where the before image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image<'r> {
    /// There is none.
    Missing,
    /// Its bytes (Avro: from its start to the end of the record; JSON: exactly its text).
    At(&'r [u8]),
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self { slots: [Slot::Absent; FACTS], before: Image::Missing, after: false }
    }
}

impl<'r> Facts<'r> {
    /// Sets a fact; the last one wins.
    pub fn set(&mut self, fact: Fact, slot: Slot<'r>) {
        if let Some(place) = self.slots.get_mut(fact as usize) {
            *place = slot;
        }
    }

    /// Whether a fact was found, null included.
    #[must_use]
    pub fn has(&self, fact: Fact) -> bool {
        !matches!(self.get(fact), Slot::Absent)
    }

    /// Whether the op is `c`, or not told.
    #[must_use]
    pub fn may_create(&self, scratch: &Scratch) -> bool {
        !matches!(self.text(Fact::Op, scratch), Ok(Some("u" | "r")))
    }

    fn get(&self, fact: Fact) -> &Slot<'r> {
        self.slots.get(fact as usize).unwrap_or(&Slot::Absent)
    }

    /// A fact that is text; `None` when it is absent or null.
    fn text<'a>(&'a self, fact: Fact, scratch: &'a Scratch) -> Result<Option<&'a str>, Fault> {
        match self.get(fact) {
            Slot::Absent | Slot::Null => Ok(None),
            slot => {
                scratch.text(slot).map(Some).ok_or_else(|| invalid(format!("{fact:?} is no text")))
            }
        }
    }

    /// A fact that is an integer (a decimal in quotes counts too); `None` when it is absent or null.
    fn integer(&self, fact: Fact, scratch: &Scratch) -> Result<Option<i64>, Fault> {
        match self.get(fact) {
            Slot::Absent | Slot::Null => Ok(None),
            Slot::Int(n) => Ok(Some(*n)),
            slot => scratch
                .text(slot)
                .and_then(|text| text.parse().ok())
                .map(Some)
                .ok_or_else(|| invalid(format!("{fact:?} is no 64-bit integer"))),
        }
    }
}

fn invalid(what: impl std::fmt::Display) -> Fault {
    Fault::poison(Code::EnvelopeInvalid, format!("read envelope: {what}"))
}

/// Debezium's `op`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `r`: snapshot read.
    Read,
    /// `c` or `u`.
    Write,
    /// `d`.
    Delete,
    /// `t`.
    Truncate,
    /// `m`.
    Message,
}

fn op(text: &str) -> Result<Op, Fault> {
    match text {
        "r" => Ok(Op::Read),
        "c" | "u" => Ok(Op::Write),
        "d" => Ok(Op::Delete),
        "t" => Ok(Op::Truncate),
        "m" => Ok(Op::Message),
        _ => Err(invalid("op is none of c, u, r, d, t, m")),
    }
}

/// What an envelope asks for.
///
/// # Errors
/// Poison `EnvelopeInvalid` when op is missing or unknown, or `after` is missing where the op needs it.
pub fn envelope_op(facts: &Facts<'_>, scratch: &Scratch) -> Result<Op, Fault> {
    let op = op(facts.text(Fact::Op, scratch)?.ok_or_else(|| invalid("op is missing"))?)?;
    if matches!(op, Op::Read | Op::Write) && !facts.after {
        return Err(invalid("after is missing for op c, u or r"));
    }
    Ok(op)
}

/// What a flattened record asks for; without `__op` it is a write.
///
/// # Errors
/// Poison `EnvelopeInvalid` when `__op` or `__deleted` is unknown.
pub fn flattened_op(facts: &Facts<'_>, scratch: &Scratch) -> Result<Op, Fault> {
    let deleted = match (facts.get(Fact::Deleted), facts.text(Fact::Deleted, scratch)) {
        (Slot::Bool(deleted), _) => *deleted,
        (_, Ok(None | Some("false"))) => false,
        (_, Ok(Some("true"))) => true,
        _ => return Err(invalid("__deleted is neither true nor false")),
    };
    let op = facts.text(Fact::Op, scratch)?.map_or(Ok(Op::Write), op)?;
    Ok(if deleted { Op::Delete } else { op })
}

/// The version of a tombstone, and of everything that carries no position: order by Kafka offset alone.
///
/// # Errors
/// Poison when the offset is negative.
pub fn offset_version(source_epoch: u32, offset: i64) -> Result<Version, Fault> {
    let kafka_offset = u64::try_from(offset).map_err(|_| invalid("kafka offset is negative"))?;
    Ok(Version::new(VersionParts {
        source_epoch,
        phase: 1,
        kafka_offset,
        ..VersionParts::default()
    }))
}

/// The version of a change (design: version guard).
///
/// # Errors
/// Poison `EnvelopeInvalid` when a position is there but cannot be read.
pub fn version(
    facts: &Facts<'_>,
    op: Op,
    flattened: bool,
    source_epoch: u32,
    offset: i64,
    scratch: &Scratch,
) -> Result<Version, Fault> {
    let by_offset = offset_version(source_epoch, offset)?;
    // A flattened record has a position only together with its op: without op the phase is unknown.
    if flattened && facts.text(Fact::Op, scratch)?.is_none() {
        return Ok(by_offset);
    }
    let mut parts = by_offset.parts();
    parts.phase = u8::from(op != Op::Read);
    match facts.text(Fact::Connector, scratch)? {
        Some("postgresql") if !flattened => postgres(facts, &mut parts, scratch)?,
        None | Some("postgresql") if flattened => {
            let missing = |fact| matches!(facts.get(fact), Slot::Absent | Slot::Null);
            if missing(Fact::Sequence) && missing(Fact::Lsn) {
                return Ok(by_offset);
            }
            postgres(facts, &mut parts, scratch)?;
        }
        Some("sqlserver" | "db2") => {
            parts.commit_position = match facts.text(Fact::CommitLsn, scratch)? {
                Some(text) => sequence::commit_lsn(text)
                    .ok_or_else(|| invalid("source.commit_lsn is not 8:8:4 hex digits"))?,
                None => 0,
            };
        }
        Some("oracle") => {
            parts.commit_position = match facts.text(Fact::CommitScn, scratch)? {
                Some(text) => sequence::decimal(text.as_bytes())
                    .ok_or_else(|| invalid("source.commit_scn is no decimal"))?
                    .into(),
                None => 0,
            };
        }
        _ => return Ok(by_offset),
    }
    Ok(Version::new(parts))
}

fn postgres(facts: &Facts<'_>, parts: &mut VersionParts, scratch: &Scratch) -> Result<(), Fault> {
    let sequence = match facts.text(Fact::Sequence, scratch)? {
        Some(text) => sequence::parse(text)
            .ok_or_else(|| invalid("source.sequence is no array of two positions"))?,
        None => sequence::Sequence::default(),
    };
    parts.commit_position = sequence.commit.unwrap_or(0).into();
    parts.change_position = match sequence.change {
        Some(change) => change,
        None => match facts.integer(Fact::Lsn, scratch)? {
            Some(lsn) => u64::try_from(lsn).map_err(|_| invalid("source.lsn is negative"))?,
            None => 0,
        },
    };
    Ok(())
}

/// When the change happened at the source, in microseconds since 2000-01-01: `source.ts_us`, else `source.ts_ms`, else
/// the envelope's own time, else Kafka's timestamp.
///
/// # Errors
/// Poison when a time is there but is no integer.
pub fn source_time(
    facts: &Facts<'_>,
    kafka_ms: Option<i64>,
    scratch: &Scratch,
) -> Result<Option<i64>, Fault> {
    for (micros, millis) in [(Fact::SourceTsUs, Fact::SourceTsMs), (Fact::TsUs, Fact::TsMs)] {
        if let Some(us) = facts.integer(micros, scratch)? {
            return Ok(us.checked_sub(UNIX_TO_POSTGRES_US));
        }
        if let Some(ms) = facts.integer(millis, scratch)? {
            return Ok(from_unix_millis(ms));
        }
    }
    Ok(kafka_ms.and_then(from_unix_millis))
}

/// Milliseconds since 1970 as microseconds since 2000-01-01; `None` when that does not fit.
#[must_use]
pub fn from_unix_millis(ms: i64) -> Option<i64> {
    ms.checked_mul(1000)?.checked_sub(UNIX_TO_POSTGRES_US)
}
