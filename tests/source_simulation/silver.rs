//! A Silver table and its guarded MERGE as a small model: kinds, bases, floors, guard.

use super::source::{COLUMNS, KEYS};
use silversink::batch::{Batch, Kind, StagedRow, Truncate};
use silversink::version::{Version, VersionParts};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub values: [Option<i32>; COLUMNS],
    pub version: Version,
    pub deleted_at: Option<i64>,
    pub source_ts: Option<i64>,
}

/// The table, and the floor that truncates have left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Silver {
    pub rows: [Option<Row>; KEYS],
    pub floor: Option<Truncate>,
}

/// What a batch did to the rows that it offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub written: usize,
    pub superseded: usize,
    /// Of these, what a row behind it holds already, in an epoch below.
    pub behind: usize,
}

/// Rows of a batch, by index, that lack a base: nothing of the batch was done.
pub type Baseless = Vec<usize>;

/// What one staged row did.
enum Outcome {
    Written(Row),
    Superseded,
    Baseless,
}

/// A staged row, as the steps of the transaction change it.
struct Offer {
    key: usize,
    kind: Kind,
    version: Version,
    values: [Option<i32>; COLUMNS],
    deleted_at: Option<i64>,
    source_ts: Option<i64>,
    needs_base: bool,
    base_from: Option<Version>,
}

impl Silver {
    /// One transaction.
    pub fn write(&mut self, batch: &Batch) -> Result<Merged, Baseless> {
        let before = self.clone();
        if let Some(truncate) = batch.truncate
            && self.floor.is_none_or(|floor| truncate.version > floor.version)
        {
            self.floor = Some(truncate);
        }
        let mut merged = Merged::default();
        let mut baseless = Vec::new();
        for (index, staged) in batch.rows.iter().enumerate() {
            let offer = before.stage(batch, staged, self.floor);
            let key = offer.key;
            let behind = |row: &Row| is_behind(row, staged.version, staged.source_ts);
            if batch.again
                && matches!(staged.kind, Kind::Delete | Kind::Partial)
                && before.rows[key].as_ref().is_some_and(behind)
            {
                (merged.superseded, merged.behind) = (merged.superseded + 1, merged.behind + 1);
                continue;
            }
            match merge(before.rows[key].as_ref(), staged, offer) {
                Outcome::Written(row) => {
                    self.rows[key] = Some(row);
                    merged.written += 1;
                }
                Outcome::Superseded => merged.superseded += 1,
                Outcome::Baseless => baseless.push(index),
            }
        }
        if !baseless.is_empty() {
            *self = before;
            return Err(baseless);
        }
        if let Some(truncate) = batch.truncate {
            self.truncate(truncate);
        }
        Ok(merged)
    }

    /// Marks what is older, and leaves no floor.
    pub fn truncate(&mut self, truncate: Truncate) {
        for row in self.rows.iter_mut().flatten() {
            if row.version < truncate.version {
                row.deleted_at = row.deleted_at.or(Some(truncate.at));
            }
        }
    }

    /// A staged row under the floor, with the values of its old key where that row is its base.
    fn stage(&self, batch: &Batch, staged: &StagedRow, floor: Option<Truncate>) -> Offer {
        let mut offer = Offer {
            key: key_of(batch.key(staged)),
            kind: staged.kind,
            version: staged.version,
            values: values_of(batch.body(staged)),
            deleted_at: staged.deleted_at,
            source_ts: staged.source_ts,
            needs_base: staged.kind == Kind::Partial && staged.needs_base.is_some(),
            base_from: staged.base.as_ref().map(|base| base.from),
        };
        let mut old = staged.base.as_ref().and_then(|base| base.old.as_ref());
        if let Some(floor) = floor {
            if offer.version < floor.version {
                offer.deleted_at = offer.deleted_at.or(Some(floor.at));
                if offer.needs_base {
                    old = None;
                }
                offer.needs_base = false;
            } else if offer.needs_base && offer.version > floor.version {
                offer.base_from = offer.base_from.max(Some(floor.version));
            }
        }
        let Some(old) = old.filter(|_| offer.kind == Kind::Partial) else { return offer };
        let from = offer.base_from;
        let known = |row: Row| from.is_some_and(|from| row.version >= from);
        let Some(base) = self.rows[key_of(batch.old_key(old))] else { return offer };
        let state = match base.deleted_at {
            Some(_) => base.version.same_position(&old.at),
            None => old.live.as_ref().is_some_and(|live| {
                live.contains(&base.version) && !is_behind(&base, live.end, offer.source_ts)
            }),
        };
        let kept = |column: &usize| staged.kept.contains(column + 1);
        let lends = (0..COLUMNS).filter(kept).any(|column| base.values[column].is_some());
        if state && lends && !self.rows[offer.key].is_some_and(known) {
            offer.kind = Kind::Whole;
            (0..COLUMNS).filter(kept).for_each(|at| offer.values[at] = base.values[at]);
        }
        offer
    }
}

/// Whether a row stands behind a change of this version and time at the source, in an epoch below.
fn is_behind(row: &Row, version: Version, source_ts: Option<i64>) -> bool {
    let (row_at, at) = (row.version.parts(), version.parts());
    row_at.source_epoch < at.source_epoch
        && row_at.kafka_offset > at.kafka_offset
        && row.source_ts.zip(source_ts).is_some_and(|(row, change)| row >= change)
}

/// The MERGE's decision for one row and its target.
fn merge(target: Option<&Row>, staged: &StagedRow, offer: Offer) -> Outcome {
    let Offer { kind, version, mut values, deleted_at, source_ts, needs_base, base_from, .. } =
        offer;
    let Some(target) = target else {
        return match kind {
            Kind::Tombstone => Outcome::Superseded,
            Kind::Partial if needs_base => Outcome::Baseless,
            _ => Outcome::Written(Row { values, version, deleted_at, source_ts }),
        };
    };
    if kind == Kind::Tombstone {
        let parts = target.version.parts();
        let kafka_offset = version.parts().kafka_offset;
        if target.deleted_at.is_some() || kafka_offset <= parts.kafka_offset {
            return Outcome::Superseded;
        }
        let version = Version::new(VersionParts { kafka_offset, ..parts });
        return Outcome::Written(Row { values: target.values, version, deleted_at, source_ts });
    }
    if version <= target.version {
        return Outcome::Superseded;
    }
    match kind {
        Kind::Delete => values = target.values,
        Kind::Partial => {
            let another_life = base_from.is_some_and(|from| target.version < from);
            if needs_base && (target.deleted_at.is_some() || another_life) {
                return Outcome::Baseless;
            }
            for (column, value) in values.iter_mut().enumerate() {
                if staged.kept.contains(column + 1) {
                    *value = target.values[column];
                }
            }
        }
        Kind::Whole | Kind::Tombstone => {}
    }
    Outcome::Written(Row { values, version, deleted_at, source_ts })
}

/// A key: one `bigint`.
fn key_of(key: &[u8]) -> usize {
    usize::from(*key.last().unwrap())
}

/// The columns beside the key: `integer` each.
fn values_of(body: &[u8]) -> [Option<i32>; COLUMNS] {
    let mut body = &body[KEY_FIELD..];
    let mut values = [None; COLUMNS];
    for value in &mut values {
        let (length, rest) = body.split_at(4);
        body = rest;
        if length == [0, 0, 0, 4] {
            let (bytes, rest) = body.split_at(4);
            *value = Some(i32::from_be_bytes(bytes.try_into().unwrap()));
            body = rest;
        }
    }
    values
}

/// Bytes of the key's field: length word and `bigint`.
pub const KEY_FIELD: usize = 12;
