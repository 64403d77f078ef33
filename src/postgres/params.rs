//! Columns of parameters: one array per field, as `unnest` takes them.

use crate::batch::{Batch, DeadLetterRow};
use crate::fault::{Class, Code, Fault};
use std::borrow::Cow;
use uuid::Uuid;

/// The ranges of a batch, field by field.
#[derive(Default)]
pub(super) struct Ranges<'b> {
    pub(super) topics: Vec<&'b str>,
    pub(super) topic_ids: Vec<Uuid>,
    pub(super) partitions: Vec<i32>,
    pub(super) epochs: Vec<i64>,
    pub(super) from: Vec<i64>,
    pub(super) next: Vec<i64>,
    pub(super) changes: Vec<i64>,
    pub(super) folded: Vec<i64>,
    pub(super) skipped: Vec<i64>,
    pub(super) letters: Vec<i64>,
    pub(super) lineages: Vec<Option<&'b str>>,
}

impl<'b> Ranges<'b> {
    pub(super) fn of(batch: &'b Batch) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for range in &batch.ranges {
            fields.topics.push(&range.topic);
            fields.topic_ids.push(range.topic_id);
            fields.partitions.push(range.partition);
            fields.epochs.push(range.owner_epoch);
            fields.from.push(range.from);
            fields.next.push(range.next);
            fields.changes.push(count(range.changes)?);
            fields.folded.push(count(range.folded)?);
            fields.skipped.push(count(range.skipped)?);
            fields.letters.push(count(range.dead_lettered)?);
            fields.lineages.push(range.lineage.as_deref());
        }
        Ok(fields)
    }
}

/// Dead letters, field by field.
#[derive(Default)]
pub(super) struct Letters<'b> {
    pub(super) topics: Vec<&'b str>,
    pub(super) topic_ids: Vec<Uuid>,
    pub(super) partitions: Vec<i32>,
    pub(super) offsets: Vec<i64>,
    pub(super) codes: Vec<&'b str>,
    pub(super) fingerprints: Vec<Cow<'b, str>>,
    pub(super) keys: Vec<Option<&'b str>>,
    pub(super) versions: Vec<Option<&'b [u8]>>,
    pub(super) reasons: Vec<Cow<'b, str>>,
    pub(super) sqlstates: Vec<Option<&'b str>>,
    pub(super) dlq_partitions: Vec<i32>,
    pub(super) dlq_offsets: Vec<i64>,
}

impl<'b> Letters<'b> {
    pub(super) fn of(letters: &'b [DeadLetterRow]) -> Self {
        let mut fields = Self::default();
        for letter in letters {
            fields.topics.push(&letter.at.topic);
            fields.topic_ids.push(letter.topic_id);
            fields.partitions.push(letter.at.partition);
            fields.offsets.push(letter.at.offset);
            fields.codes.push(&letter.code);
            fields.fingerprints.push(without_nul(&letter.fingerprint));
            // The letter itself keeps the key as it is.
            fields.keys.push(letter.key.as_deref().filter(|key| !key.contains('\0')));
            fields.versions.push(letter.version.as_ref().map(|v| v.as_bytes().as_slice()));
            fields.reasons.push(without_nul(&letter.reason));
            fields.sqlstates.push(letter.sqlstate.as_deref());
            fields.dlq_partitions.push(letter.dlq_partition);
            fields.dlq_offsets.push(letter.dlq_offset);
        }
        fields
    }
}

/// A text of PostgreSQL cannot hold NUL, and a letter must not become poison itself.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A count as PostgreSQL's `bigint`.
fn count(n: u64) -> Result<i64, Fault> {
    i64::try_from(n)
        .map_err(|_| Fault::new(Class::Fatal, Code::Internal, "a count of a batch exceeds 2^63"))
}
