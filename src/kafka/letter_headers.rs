//! Headers of a dead letter: the record's own, then Kafka Connect's and ours. Pure.

use super::letters::LetterReason;
use crate::record::OwnedRecord;

/// Headers as Kafka has them: names may repeat, values may be null.
pub(super) type Headers = Vec<(String, Option<Vec<u8>>)>;

const CONNECT: &str = "__connect.errors.";
const OURS: &str = "silversink.";

/// The record's own headers without those of earlier letters (replaced, never appended: a record that is redriven and
/// parked again tells its last reason), then the names of Kafka Connect's `DeadLetterQueueReporter`, then ours.
pub(super) fn letter_headers(record: &OwnedRecord, reason: &LetterReason) -> Headers {
    let mut headers: Headers = record
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(CONNECT) && !name.starts_with(OURS))
        .cloned()
        .collect();
    let mut add = |prefix: &str, name: &str, value: String| {
        headers.push((format!("{prefix}{name}"), Some(value.into_bytes())));
    };
    let exception = format!("io.silversink.{}", reason.code);
    add(CONNECT, "topic", record.at.topic.clone());
    add(CONNECT, "partition", record.at.partition.to_string());
    add(CONNECT, "offset", record.at.offset.to_string());
    add(CONNECT, "connector.name", reason.pipeline.clone());
    add(CONNECT, "task.id", "0".to_owned());
    add(CONNECT, "stage", reason.stage.to_uppercase());
    add(CONNECT, "class.name", "silversink".to_owned());
    add(CONNECT, "exception.class.name", exception.clone());
    add(CONNECT, "exception.message", reason.text.clone());
    // Readers of Connect's topics expect the header; there is no stack worth telling.
    add(CONNECT, "exception.stacktrace", format!("{exception}: {}", reason.text));
    add(OURS, "class", format!("{:?}", reason.class).to_lowercase());
    add(OURS, "code", reason.code.to_string());
    add(OURS, "fingerprint", reason.fingerprint.clone());
    add(OURS, "attempt", reason.attempt.to_string());
    let optional = [
        ("table", reason.table.clone()),
        ("schema_id", reason.schema_id.map(|id| id.to_string())),
        ("sqlstate", reason.sqlstate.clone()),
        ("version", reason.version.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            add(OURS, name, value);
        }
    }
    headers
}

/// Headers of a letter that stands in for a record which the broker does not take: only what we know of it, since its
/// own headers may be what is too large.
pub(super) fn reference_headers(full: &Headers, key: usize, value: usize) -> Headers {
    let mut headers: Headers = full
        .iter()
        .filter(|(name, _)| name.starts_with(CONNECT) || name.starts_with(OURS))
        .cloned()
        .collect();
    for (name, number) in [("truncated.key_bytes", key), ("truncated.value_bytes", value)] {
        headers.push((format!("{OURS}{name}"), Some(number.to_string().into_bytes())));
    }
    headers
}
