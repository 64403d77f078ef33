//! Dead letters on their way: what is sent, what waits for its acknowledgement, and the row that remembers it (I8).

use super::lane::Lane;
use crate::batch::DeadLetterRow;
use crate::core::Input;
use crate::decode::keytext;
use crate::fault::{Class, Code, Fault};
use crate::kafka::letters::{LetterReason, Letters};
use crate::record::{Coordinates, OwnedRecord};
use crate::version::Version;
use std::sync::Arc;
use uuid::Uuid;

/// A letter that is not acknowledged yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// The batch that was open when the record was read.
    pub(super) batch: u64,
    pub(super) record: OwnedRecord,
    pub(super) reason: LetterReason,
    pub(super) topic_id: Uuid,
    /// Encoded key and version of the row, if they could be read.
    pub(super) row: Option<(Vec<u8>, Version)>,
}

/// Describes why a record is dead-lettered. The fingerprint groups letters of one cause and holds no value.
pub(super) fn reason(pipeline: &str, lane: &Lane, fault: &Fault, stage: &str) -> LetterReason {
    let sqlstate = fault.sqlstate.clone();
    let fingerprint =
        format!("{}:{}:{}", fault.code, lane.table, sqlstate.as_deref().unwrap_or("-"));
    LetterReason {
        code: fault.code,
        class: fault.class,
        text: fault.text.clone(),
        table: Some(lane.table.to_string()),
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
    let Pending { batch, record, reason, topic_id, row } = pending;
    let (row_key, version) = row.unzip();
    let row = DeadLetterRow {
        key: record.key.as_deref().and_then(keytext::printable),
        at: record.at,
        topic_id,
        code: reason.code.as_str().to_owned(),
        fingerprint: reason.fingerprint,
        row_key,
        version,
        reason: reason.text,
        sqlstate: reason.sqlstate,
        dlq_partition: partition,
        dlq_offset: offset,
    };
    if batch == lane.open_batch {
        lane.arena.add_letter(row);
    } else {
        let sealed = lane.sealed.as_mut().filter(|sealed| sealed.number == batch)?;
        // A batch with letters under way is not at the writer yet, so nobody else holds it.
        Arc::get_mut(sealed)?.letters.push(row);
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
