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
}

/// Rows of a batch, by index, that lack a base: nothing of the batch was done.
pub type Baseless = Vec<usize>;

/// What one staged row did.
enum Outcome {
    Written(Row),
    Superseded,
    Baseless,
}

impl Silver {
    /// One transaction.
    pub fn write(&mut self, batch: &Batch) -> Result<Merged, Baseless> {
        let before = self.rows;
        let mut merged = Merged::default();
        let mut baseless = Vec::new();
        for (index, staged) in batch.rows.iter().enumerate() {
            let key = key_of(batch, staged);
            match offer(before[key].as_ref(), staged, values_of(batch, staged)) {
                Outcome::Written(row) => {
                    self.rows[key] = Some(row);
                    merged.written += 1;
                }
                Outcome::Superseded => merged.superseded += 1,
                Outcome::Baseless => baseless.push(index),
            }
        }
        if !baseless.is_empty() {
            self.rows = before;
            return Err(baseless);
        }
        if let Some(truncate) = batch.truncate {
            self.truncate(truncate);
            if self.floor.is_none_or(|floor| truncate.version > floor.version) {
                self.floor = Some(truncate);
            }
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
}

/// The MERGE's decision for one staged row and its target.
fn offer(
    target: Option<&Row>,
    staged: &StagedRow,
    mut values: [Option<i32>; COLUMNS],
) -> Outcome {
    let Some(target) = target else {
        return match staged.kind {
            Kind::Tombstone => Outcome::Superseded,
            Kind::Partial if staged.needs_base => Outcome::Baseless,
            _ => Outcome::Written(row(staged, values, staged.version)),
        };
    };
    if staged.kind == Kind::Tombstone {
        let parts = target.version.parts();
        let kafka_offset = staged.version.parts().kafka_offset;
        if target.deleted_at.is_some() || kafka_offset <= parts.kafka_offset {
            return Outcome::Superseded;
        }
        let version = Version::new(VersionParts { kafka_offset, ..parts });
        return Outcome::Written(row(staged, target.values, version));
    }
    if staged.version <= target.version {
        return Outcome::Superseded;
    }
    match staged.kind {
        Kind::Delete => values = target.values,
        Kind::Partial => {
            // The deleted row's values are of another life of the key.
            if staged.needs_base && target.deleted_at.is_some() && staged.deleted_at.is_none() {
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
    Outcome::Written(row(staged, values, staged.version))
}

fn row(staged: &StagedRow, values: [Option<i32>; COLUMNS], version: Version) -> Row {
    let StagedRow { deleted_at, source_ts, .. } = *staged;
    Row { values, version, deleted_at, source_ts }
}

/// The key of a staged row: a `bigint`.
pub fn key_of(batch: &Batch, staged: &StagedRow) -> usize {
    usize::from(*batch.key(staged).last().unwrap())
}

/// The columns beside the key: `integer` each.
pub fn values_of(batch: &Batch, staged: &StagedRow) -> [Option<i32>; COLUMNS] {
    let mut body = &batch.body(staged)[KEY_FIELD..];
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
