//! Dead letters on their way: what is sent, what waits for its acknowledgement, and the row that remembers it (I8).

use super::lane::Lane;
use super::table::LaneTable;
use crate::batch::{DeadLetterRow, Part};
use crate::core::Input;
use crate::decode::{UNPLACED, keytext};
use crate::fault::{Class, Code, Fault};
use crate::kafka::letters::{LetterReason, Letters};
use crate::record::{Coordinates, OwnedRecord, RawRecord};
use crate::table::TableName;
use crate::version::Version;
use std::sync::Arc;
use uuid::Uuid;

/// Of log lines about dead letters: a target of its own, so that what may come often can be silenced without silencing the
/// worker.
pub(super) const TARGET: &str = "silversink::dead_letter";

/// A letter that is not acknowledged yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// The number of its table.
    pub(super) table: usize,
    /// The batch that was open when the record was read.
    pub(super) batch: u64,
    pub(super) record: OwnedRecord,
    pub(super) reason: LetterReason,
    pub(super) topic_id: Uuid,
    /// Version of the change, if it could be read.
    pub(super) version: Option<Version>,
    /// Encoded key and version of the hole that it leaves, if its key could be read.
    pub(super) hole: Option<(Vec<u8>, Version)>,
    /// It leaves a hole, and nobody can tell where.
    pub(super) unguarded: bool,
}

/// What a dead letter leaves behind (I9); the key is in the row buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing that a later change could rest on.
    Nothing,
    /// A hole at the version of its change.
    Hole(Version),
    /// A hole at the place that its partition has reached, for its own position cannot be read.
    HoleReached(Version),
    /// A hole that nobody can find, and why.
    Unguarded(&'static str),
}

/// Opens the hole in the table.
pub(super) fn open_hole(
    table: &mut LaneTable,
    key: &[u8],
    left: Left,
) -> Option<(Vec<u8>, Version)> {
    let version = match left {
        Left::Hole(version) => {
            table.holes.open(key, version);
            version
        }
        Left::HoleReached(version) => {
            let version = table.holes.open_again(key, version);
            table.arena.keep_hole(key, version);
            version
        }
        Left::Nothing | Left::Unguarded(_) => return None,
    };
    Some((key.to_vec(), version))
}

/// Tells that nothing guards the rows behind a dead letter.
pub(super) fn tell_unguarded(table: &TableName, raw: &RawRecord<'_>, why: &str) {
    tracing::warn!(
        target: TARGET,
        code = "dead_letter_unguarded",
        %table,
        topic = raw.topic,
        partition = raw.partition,
        offset = raw.offset,
        hint = "find its row by the bytes in the dead-letter topic, and update all columns of the row or snapshot it again",
        "no hole guards the row of a dead letter, {why}: its next change with unchanged columns takes them from a row that may be older"
    );
}

/// Describes why a record is dead-lettered. The fingerprint groups letters of one cause and holds no value.
pub(super) fn reason(
    pipeline: &str,
    (table, is_told): (&TableName, bool),
    fault: &Fault,
    stage: &str,
) -> LetterReason {
    let sqlstate = fault.sqlstate.clone();
    let fingerprint = format!("{}:{table}:{}", fault.code, sqlstate.as_deref().unwrap_or("-"));
    LetterReason {
        code: fault.code,
        class: fault.class,
        text: fault.text.clone(),
        table: is_told.then(|| table.to_string()),
        pipeline: pipeline.to_owned(),
        stage: stage.to_owned(),
        fingerprint,
        sqlstate,
        schema_id: None,
        version: None,
        attempt: 1,
    }
}

/// An acknowledged letter becomes a row of the batch that covers its record.
pub(super) fn acknowledged(
    lane: &mut Lane,
    pending: Pending,
    partition: i32,
    offset: i64,
) -> Option<Input> {
    let Pending { table, batch, record, reason, topic_id, version, hole, .. } = pending;
    let row = DeadLetterRow {
        key: record.key.as_deref().and_then(keytext::printable),
        at: record.at,
        topic_id,
        code: reason.code.as_str().to_owned(),
        fingerprint: reason.fingerprint,
        version,
        hole,
        reason: reason.text,
        sqlstate: reason.sqlstate,
        dlq_partition: partition,
        dlq_offset: offset,
    };
    if batch == lane.open_batch {
        lane.tables[table].arena.add_letter(row);
    } else {
        let sealed = lane.sealed.as_mut().filter(|sealed| sealed.number == batch)?;
        // A batch with letters under way is not at the writer yet, so nobody else holds it.
        let sealed = Arc::get_mut(sealed)?;
        let its = |part: &&mut Part| table != UNPLACED && part.table == lane.tables[table].table;
        match sealed.parts.iter_mut().find(its) {
            Some(part) => part.batch.letters.push(row),
            None => sealed.letters.push(row),
        }
    }
    Some(Input::LetterAcknowledged { lane: lane.id, batch })
}

/// Sends every letter of a lane that waits.
pub(super) fn resend(lane: &Lane, letters: &Letters) -> Option<Fault> {
    lane.letters
        .iter()
        .find_map(|(token, pending)| letters.send(*token, &pending.record, &pending.reason).err())
}

/// The lane cannot dead-letter anything.
pub(super) fn no_topic(at: &Coordinates, cause: &Fault) -> Fault {
    Fault {
        class: Class::Blocked,
        code: Code::DeadLetterTopicMissing,
        text: format!(
            "record {at} can never be applied ({cause}), and there is no dead-letter topic to park it in"
        ),
        hint: Some(
            "set [dlq] topic and restart: the record is parked there and the lane goes on"
                .to_owned(),
        ),
        sqlstate: cause.sqlstate.clone(),
    }
}
