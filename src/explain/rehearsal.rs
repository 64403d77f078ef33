//! What the change would do: merged for real, in a transaction that is rolled back.

use super::steps::{Asked, is_missing, verdict_of};
use super::{Explanation, Outcome, Silver, Verdict};
use crate::batch::arena::{Arena, Incoming, SealedRange};
use crate::batch::exchange::Told;
use crate::batch::{Batch, Kind, OffsetRange};
use crate::decode::{Change, ChangeKind, RowBuffer, keytext};
use crate::fault::{Code, Fault};
use crate::postgres::SilverRow;
use crate::record::OwnedRecord;
use crate::table::{TableName, TableShape};
use std::sync::Arc;
use uuid::Uuid;

/// Merges the change in a transaction that is rolled back.
pub(super) async fn rehearse(
    asked: &Asked<'_>,
    table: &TableName,
    shape: Arc<TableShape>,
    change: &Change,
    row: &RowBuffer,
    told: &mut Explanation,
) -> Result<Verdict, Fault> {
    if told.row_key.is_none() {
        told.row_key = asked.record.key.as_deref().and_then(keytext::printable).map(Into::into);
    }
    let floor = asked.destination.truncate_floor(table).await;
    let floor = match floor {
        Err(fault) if is_missing(&fault) => None,
        floor => floor?,
    };
    if change.kind == ChangeKind::Truncate {
        let newer = floor.is_none_or(|(version, _)| change.version > version);
        return Ok(Verdict {
            outcome: if newer { Outcome::Applied } else { Outcome::Superseded },
            code: None,
            why: format!("a truncate: rows of {table} below its version are marked deleted"),
            hint: None,
        });
    }
    let below = floor.filter(|(version, _)| change.version < *version);
    let batch = batch_of(asked.record, shape, change, row);
    let rehearsal = asked.destination.writer().await?.rehearse(&batch).await?;
    told.sql = Some(rehearsal.sql);
    told.silver = rehearsal.before.as_ref().map(|row| silver(row, asked.values));
    let after = match rehearsal.after {
        Ok(after) => after,
        Err(fault) => return Ok(verdict_of(&fault)),
    };
    let stored = rehearsal.before.as_ref().and_then(|row| row.version);
    let changed = after != rehearsal.before;
    if changed {
        let what = match (change.kind, &rehearsal.before) {
            (ChangeKind::Delete | ChangeKind::Tombstone, Some(_)) => "the row is marked deleted",
            (ChangeKind::Delete | ChangeKind::Tombstone, None) => {
                "the key is unknown: a row marked deleted keeps its version"
            }
            (_, None) => "the row is inserted",
            (_, Some(row)) if row.deleted_at.is_some() => {
                "the marked row is replaced and lives again"
            }
            (_, Some(_)) => "the row is updated",
        };
        let why = match below {
            Some(_) => {
                format!("{what}, and marked deleted, as it is below the table's truncate floor")
            }
            None => what.to_owned(),
        };
        return Ok(Verdict { outcome: Outcome::Applied, code: None, why, hint: None });
    }
    if change.kind == ChangeKind::Row
        && change.needs_base
        && stored.is_none_or(|s| change.version > s)
    {
        let fault = Fault::poison(
            Code::UnchangedWithoutBase,
            "some columns are unchanged placeholders, and Silver has no row to take their values from",
        )
        .with_hint("a full image of the row settles it: an update of all columns, or an incremental snapshot");
        return Ok(verdict_of(&fault));
    }
    let why = match stored {
        Some(stored) if stored == change.version => {
            "Silver holds exactly this version: the record has been applied".to_owned()
        }
        Some(stored) => {
            format!("Silver holds version {stored}, which is greater than {}", change.version)
        }
        None => "there is no live row to mark".to_owned(),
    };
    Ok(Verdict { outcome: Outcome::Superseded, code: None, why, hint: None })
}

fn batch_of(
    record: &OwnedRecord,
    shape: Arc<TableShape>,
    change: &Change,
    row: &RowBuffer,
) -> Batch {
    let mut arena = Arena::default();
    arena.set_shape(shape);
    let kind = match change.kind {
        ChangeKind::Row if change.has_kept => Kind::Partial,
        ChangeKind::Row | ChangeKind::Truncate => Kind::Whole,
        ChangeKind::Delete => Kind::Delete,
        ChangeKind::Tombstone => Kind::Tombstone,
    };
    arena.fold(Incoming {
        body: &row.body,
        key: &row.key,
        kind,
        version: change.version,
        deleted_at: change.deleted_at,
        source_ts: change.source_ts,
        own_time: change.own_time,
        kept: &row.kept,
        needs_base: change.needs_base,
        old_key: change.moved.then_some(&row.old_key),
        told: Told::Nothing,
        slot: 0,
        offset: record.at.offset,
    });
    let range = OffsetRange {
        topic: record.at.topic.clone(),
        topic_id: Uuid::nil(),
        partition: record.at.partition,
        owner_epoch: 0,
        from: record.at.offset,
        next: record.at.offset.saturating_add(1),
        changes: 0,
        folded: 0,
        skipped: 0,
        dead_lettered: 0,
        lineage: None,
    };
    arena.seal(1, vec![SealedRange { slot: 0, range }])
}

fn silver(row: &SilverRow, values: bool) -> Silver {
    Silver {
        version: row.version.map(Into::into),
        deleted_at: row.deleted_at.clone(),
        source_ts: row.source_ts.clone(),
        applied_at: row.applied_at.clone(),
        row: if values { serde_json::from_str(&row.json).ok() } else { None },
    }
}
