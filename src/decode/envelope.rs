//! Op, version and source time of a record, from the facts that a walker found beside the row.
//!
//! # Decisions
//! - A row of an incremental or blocking snapshot (op `r` with a commit position) has change position 0. It carries the lsn
//!   that the stream had come to, which steps back from one transaction to the next, so of two snapshots between the same
//!   commits the later could have the lower one: there the rows' own order is the topic's.

use super::facts::{Fact, Facts};
use super::sequence;
use super::slot::{Scratch, Slot};
use crate::config::Position;
use crate::epoch::Sighting;
use crate::fault::{Code, Fault};
use crate::version::{Version, VersionParts};

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's zero.
const UNIX_TO_POSTGRES_US: i64 = 946_684_800_000_000;

pub(super) fn invalid(what: impl std::fmt::Display) -> Fault {
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
        // Not dead-lettered: whatever it means to the row, later records of the row rest on it.
        _ => Err(Fault::blocked(
            Code::OpUnknown,
            "read envelope: op is none of c, u, r, d, t, m",
            "a newer connector may have ops that this version does not know: update the worker; if it is a single stray record, stop the worker and set next_offset behind it in silversink.position",
        )),
    }
}

/// What an envelope asks for.
///
/// # Errors
/// Poison `EnvelopeInvalid` when op is missing, or `after` where the op needs it; blocked `OpUnknown`.
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
/// Poison `EnvelopeInvalid` when `__deleted` is no boolean; blocked `OpUnknown`.
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
pub fn offset_version(offset: i64) -> Result<Version, Fault> {
    offset_parts(offset).map(Version::new)
}

fn offset_parts(offset: i64) -> Result<VersionParts, Fault> {
    let kafka_offset = u64::try_from(offset).map_err(|_| invalid("kafka offset is negative"))?;
    Ok(VersionParts { phase: 1, kafka_offset, ..VersionParts::default() })
}

/// Where a change stands in its source.
#[derive(Clone, Copy, Debug)]
pub struct Ordered {
    /// In source epoch 0.
    pub version: Version,
    /// The version's change position.
    pub change_position: u64,
    /// The connector's commit position, which may be null; the outer `None` where the record does not tell it at all.
    pub commit: Option<Option<u128>>,
}

impl Ordered {
    fn of(parts: VersionParts, commit: Option<Option<u128>>) -> Self {
        Self { version: Version::new(parts), change_position: parts.change_position, commit }
    }
}

/// The version of a change (design: version guard).
///
/// # Errors
/// Poison `EnvelopeInvalid` when a position is there but cannot be read; blocked when the route orders by the binary log and
/// the record tells no place in it.
pub fn ordered(
    facts: &Facts<'_>,
    op: Op,
    flattened: bool,
    offset: i64,
    position: Position,
    scratch: &Scratch,
) -> Result<Ordered, Fault> {
    let unplaced = offset_parts(offset)?;
    let by_offset =
        || Ordered { version: Version::new(unplaced), change_position: 0, commit: None };
    let mut parts = unplaced;
    if position == Position::Binlog {
        parts.phase = u8::from(op != Op::Read);
        binlog(facts, flattened, &mut parts, scratch)?;
        let commit = Some(Some(parts.commit_position));
        return Ok(Ordered::of(parts, commit));
    }
    // A flattened record has a position only together with its op: without op the phase is unknown.
    if flattened && facts.text(Fact::Op, scratch)?.is_none() {
        return Ok(by_offset());
    }
    parts.phase = u8::from(op != Op::Read);
    let commit = match facts.text(Fact::Connector, scratch)? {
        Some("postgresql") if !flattened => postgres(facts, &mut parts, scratch)?,
        None | Some("postgresql") if flattened => {
            let missing = |fact| matches!(facts.get(fact), Slot::Absent | Slot::Null);
            if missing(Fact::Sequence) && missing(Fact::Lsn) {
                return Ok(by_offset());
            }
            postgres(facts, &mut parts, scratch)?
        }
        Some("sqlserver" | "db2") => {
            let commit = match facts.text(Fact::CommitLsn, scratch)? {
                // Debezium's Lsn prints a missing one so.
                None | Some("NULL") => None,
                Some(text) => Some(sequence::commit_lsn(text).ok_or_else(|| {
                    invalid("source.commit_lsn is not hex digits as 8:8:4 or more")
                })?),
            };
            parts.commit_position = commit.unwrap_or(0);
            commit.map(Some)
        }
        Some("oracle") => {
            let commit = match facts.text(Fact::CommitScn, scratch)? {
                Some(text) => Some(u128::from(
                    sequence::decimal(text.as_bytes())
                        .ok_or_else(|| invalid("source.commit_scn is no decimal"))?,
                )),
                None => None,
            };
            parts.commit_position = commit.unwrap_or(0);
            commit.map(Some)
        }
        _ => return Ok(by_offset()),
    };
    Ok(Ordered::of(parts, commit))
}

fn postgres(
    facts: &Facts<'_>,
    parts: &mut VersionParts,
    scratch: &Scratch,
) -> Result<Option<Option<u128>>, Fault> {
    let found = match facts.text(Fact::Sequence, scratch)? {
        Some(text) => Some(
            sequence::parse(text)
                .ok_or_else(|| invalid("source.sequence is no array of two positions"))?,
        ),
        None => None,
    };
    let sequence = found.unwrap_or_default();
    parts.commit_position = sequence.commit.unwrap_or(0).into();
    parts.change_position = match sequence.change {
        Some(change) => change,
        None => match facts.integer(Fact::Lsn, scratch)? {
            Some(lsn) => u64::try_from(lsn).map_err(|_| invalid("source.lsn is negative"))?,
            None => 0,
        },
    };
    if parts.phase == 0 && sequence.commit.is_some() {
        parts.change_position = 0;
    }
    Ok(found.map(|_| sequence.commit.map(u128::from)))
}

/// Place in the binary log: one server's files are numbered and its events never overlap, so `(file, pos)` orders commits
/// and `row` what one event holds.
fn binlog(
    facts: &Facts<'_>,
    flattened: bool,
    parts: &mut VersionParts,
    scratch: &Scratch,
) -> Result<(), Fault> {
    let file = facts.text(Fact::BinlogFile, scratch)?;
    let pos = facts.integer(Fact::BinlogPos, scratch)?;
    let told = !flattened || facts.text(Fact::Op, scratch)?.is_some();
    let (Some(file), Some(pos), true) = (file, pos, told) else {
        // Any other version would lose against every one that has a position.
        return Err(Fault::blocked(
            Code::EnvelopeInvalid,
            "read envelope: the route orders by the binary log, and the record does not tell its place there",
            "remove position = \"binlog\" from the route, or, if the records are flattened, set add.fields=op,source.file,source.pos,source.row in the connector",
        ));
    };
    parts.commit_position = sequence::binlog(file, pos)
        .ok_or_else(|| invalid("source.file and source.pos are no place in a binary log"))?;
    let row = facts.integer(Fact::BinlogRow, scratch)?.unwrap_or(0);
    parts.change_position = u64::try_from(row).map_err(|_| invalid("source.row is negative"))?;
    Ok(())
}

/// What the change tells of its source's positions (S2a, S2b, S3); `None` where the commit position is not there.
///
/// # Errors
/// Poison `EnvelopeInvalid` when `source.snapshot` cannot be read.
pub fn sighting(
    facts: &Facts<'_>,
    op: Op,
    flattened: bool,
    ordered: &Ordered,
    source_ts: Option<i64>,
    scratch: &Scratch,
) -> Result<Option<Sighting>, Fault> {
    let Some(commit_position) = ordered.commit else { return Ok(None) };
    let missing = |fact| matches!(facts.get(fact), Slot::Absent | Slot::Null);
    // Rows of an incremental snapshot have no lsn, which tells them where `snapshot` was not asked for.
    let untold = flattened && missing(Fact::Snapshot) && missing(Fact::Lsn);
    Ok(Some(Sighting {
        read: op == Op::Read,
        incremental: facts.is_incremental(scratch)? || untold,
        commit_position,
        change_position: ordered.change_position,
        source_ts,
    }))
}

/// When the change happened by the source's own clock, in microseconds since 2000-01-01: `source.ts_us`, else
/// `source.ts_ms`.
///
/// # Errors
/// Poison when a time is there but is no integer.
pub fn source_time(facts: &Facts<'_>, scratch: &Scratch) -> Result<Option<i64>, Fault> {
    if let Some(s) = facts.integer(Fact::SourceTsS, scratch)? {
        return Ok(s.checked_mul(1000).and_then(from_unix_millis));
    }
    time(facts, Fact::SourceTsUs, Fact::SourceTsMs, scratch)
}

/// The next best time, where the source's own is missing: the envelope's, else Kafka's timestamp.
///
/// # Errors
/// Poison when a time is there but is no integer.
pub fn delivery_time(
    facts: &Facts<'_>,
    kafka_ms: Option<i64>,
    scratch: &Scratch,
) -> Result<Option<i64>, Fault> {
    let envelope = time(facts, Fact::TsUs, Fact::TsMs, scratch)?;
    Ok(envelope.or_else(|| kafka_ms.and_then(from_unix_millis)))
}

fn time(
    facts: &Facts<'_>,
    micros: Fact,
    millis: Fact,
    scratch: &Scratch,
) -> Result<Option<i64>, Fault> {
    if let Some(us) = facts.integer(micros, scratch)? {
        return Ok(us.checked_sub(UNIX_TO_POSTGRES_US));
    }
    Ok(facts.integer(millis, scratch)?.and_then(from_unix_millis))
}

/// Milliseconds since 1970 as microseconds since 2000-01-01; `None` when that does not fit.
#[must_use]
pub fn from_unix_millis(ms: i64) -> Option<i64> {
    ms.checked_mul(1000)?.checked_sub(UNIX_TO_POSTGRES_US)
}
