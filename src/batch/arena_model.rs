//! The tests' own idea of a change, a table and the guarded write, written without a look at the fold.

use super::super::Slot;
use crate::batch::{Batch, Kind};
use crate::version::{Version, VersionParts};
use std::collections::BTreeMap;

pub const COLUMNS: usize = 4;
pub type Image = [Option<u8>; COLUMNS];

/// One change, as the tests think of it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub key: u8,
    pub kind: Kind,
    pub values: [Option<u8>; COLUMNS - 1],
    /// Bit n: data column n + 1 is not given. Partial only.
    pub kept: u8,
    /// A whole row that is marked deleted, or a partial one that needs a base.
    pub marked: bool,
    /// The key that the row had before this change.
    pub old: Option<u8>,
    pub rank: u64,
    pub slot: Slot,
    pub offset: i64,
}

impl Change {
    pub fn version(&self) -> Version {
        // A tombstone knows its place in the log and nothing else.
        let rank = if self.kind == Kind::Tombstone { 0 } else { self.rank };
        let kafka_offset = self.offset.cast_unsigned();
        Version::new(VersionParts {
            commit_position: rank.into(),
            phase: 1,
            kafka_offset,
            ..VersionParts::default()
        })
    }
    pub fn deleted_at(&self) -> Option<i64> {
        let deletes = matches!(self.kind, Kind::Delete | Kind::Tombstone)
            || self.marked && self.kind == Kind::Whole;
        deletes.then(|| 1_000 + self.offset)
    }
    pub fn image(&self) -> Image {
        let mut image = [Some(self.key), None, None, None];
        if matches!(self.kind, Kind::Whole | Kind::Partial) {
            for (n, value) in self.values.iter().enumerate() {
                image[n + 1] = value.filter(|_| !self.keeps(n + 1));
            }
        }
        image
    }
    pub fn keeps(&self, column: usize) -> bool {
        self.kind == Kind::Partial && column > 0 && self.kept & (1 << (column - 1)) != 0
    }
    pub fn needs_base(&self) -> bool {
        self.kind == Kind::Partial && self.marked
    }
}

/// A row of the table in the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub image: Image,
    pub version: Version,
    pub deleted_at: Option<i64>,
    pub source_ts: Option<i64>,
}

pub type Table = BTreeMap<u8, Row>;

/// The guarded write, for one change or one staged row alike.
fn write(table: &mut Table, key: u8, kind: Kind, new: Row, keeps: impl Fn(usize) -> bool) {
    let Some(row) = table.get_mut(&key) else {
        if kind != Kind::Tombstone {
            table.insert(key, new);
        }
        return;
    };
    if kind == Kind::Tombstone {
        let parts = row.version.parts();
        let offset = new.version.parts().kafka_offset;
        if row.deleted_at.is_some() || parts.kafka_offset >= offset {
            return;
        }
        row.version = Version::new(VersionParts { kafka_offset: offset, ..parts });
        row.deleted_at = new.deleted_at;
        row.source_ts = new.source_ts;
        return;
    }
    if new.version <= row.version {
        return;
    }
    for column in 0..COLUMNS {
        if kind == Kind::Whole || kind == Kind::Partial && !keeps(column) {
            row.image[column] = new.image[column];
        }
    }
    *row = Row { image: row.image, ..new };
}

/// One change as I9 has it, with nothing known but the table: `false` when it has no base and is quarantined.
pub fn apply_one(table: &mut Table, change: &Change, floor: Option<Version>) -> bool {
    let below_floor = floor.is_some_and(|floor| change.version() < floor).then_some(0);
    let mut new = Row {
        image: change.image(),
        version: change.version(),
        deleted_at: change.deleted_at().or(below_floor),
        source_ts: Some(change.offset),
    };
    let mut kind = change.kind;
    let superseded = table.get(&change.key).is_some_and(|row| row.version >= new.version);
    if change.needs_base() && !superseded && below_floor.is_none() {
        let left = |row: &Row| row.deleted_at.is_some() && row.version.same_position(&new.version);
        match change.old {
            Some(old) => {
                let Some(base) = table.get(&old).filter(|row| left(row)) else { return false };
                if !lends(base, |column| change.keeps(column)) {
                    return false;
                }
                fill(&mut new.image, base, |column| change.keeps(column));
                kind = Kind::Whole;
            }
            None if table.get(&change.key).is_none_or(|row| row.deleted_at.is_some()) => {
                return false;
            }
            None => {}
        }
    }
    write(table, change.key, kind, new, |column| change.keeps(column));
    true
}

fn lends(base: &Row, keeps: impl Fn(usize) -> bool) -> bool {
    (1..COLUMNS).any(|column| keeps(column) && base.image[column].is_some())
}

fn fill(image: &mut Image, base: &Row, keeps: impl Fn(usize) -> bool) {
    (1..COLUMNS).filter(|column| keeps(*column)).for_each(|column| {
        image[column] = base.image[column];
    });
}

pub fn mark_below(table: &mut Table, version: Version) {
    for row in table.values_mut().filter(|row| row.version < version) {
        row.deleted_at = row.deleted_at.or(Some(0));
    }
}

/// Applies a batch as the destination does, or tells the partition and offset of each row that has no base.
pub fn apply_batch(
    table: &mut Table,
    batch: &Batch,
    floor: &mut Option<Version>,
) -> Result<(), Vec<(i32, i64)>> {
    let truncate = batch.truncate.map(|truncate| truncate.version);
    *floor = (*floor).max(truncate);
    let before = table.clone();
    let mut refused = Vec::new();
    for row in &batch.rows {
        let image = fields(batch.body(row));
        let key = fields::<1>(batch.key(row))[0].expect("keys are not null");
        let below_floor = floor.is_some_and(|floor| row.version < floor).then_some(0);
        let mut new = Row {
            image,
            version: row.version,
            deleted_at: row.deleted_at.or(below_floor),
            source_ts: row.source_ts,
        };
        let keeps = |column| row.kept.contains(column);
        let mut kind = row.kind;
        let target = before.get(&key);
        let superseded = target.is_some_and(|target| target.version >= row.version);
        if kind == Kind::Partial
            && let Some((range, offset)) = row.needs_base
            && !superseded
            && below_floor.is_none()
        {
            let from = row.base.as_ref().map(|base| base.from);
            let from = from.max((*floor).filter(|floor| row.version > *floor));
            let old = row.base.as_ref().and_then(|base| base.old.as_ref());
            let known =
                target.is_some_and(|target| from.is_some_and(|from| target.version >= from));
            let own = target.is_some_and(|target| {
                target.deleted_at.is_none() && from.is_none_or(|from| target.version >= from)
            });
            let lent = old.filter(|_| !known).and_then(|old| {
                let key = fields::<1>(batch.old_key(old))[0].expect("keys are not null");
                before.get(&key).filter(|row| match row.deleted_at {
                    Some(_) => row.version.same_position(&old.at),
                    None => old.live.as_ref().is_some_and(|live| live.contains(&row.version)),
                })
            });
            match lent.filter(|base| lends(base, keeps)) {
                Some(base) => {
                    fill(&mut new.image, base, keeps);
                    kind = Kind::Whole;
                }
                None if own => {}
                None => refused.push((batch.ranges[usize::from(range)].partition, offset)),
            }
        }
        write(table, key, kind, new, keeps);
    }
    if !refused.is_empty() {
        *table = before;
        return Err(refused);
    }
    truncate.into_iter().for_each(|version| mark_below(table, version));
    Ok(())
}

pub fn fields<const N: usize>(mut bytes: &[u8]) -> [Option<u8>; N] {
    let decoded = std::array::from_fn(|_| {
        let (length, rest) = bytes.split_at(4);
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        assert!(length == -1 || length == 1, "a field of {length} bytes");
        bytes = if length == 1 { &rest[1..] } else { rest };
        (length == 1).then(|| rest[0])
    });
    assert!(bytes.is_empty(), "more fields than columns");
    decoded
}

pub fn encoded(fields: &[Option<u8>]) -> Vec<u8> {
    let one = |field: &Option<u8>| match field {
        Some(byte) => vec![0, 0, 0, 1, *byte],
        None => (-1_i32).to_be_bytes().to_vec(),
    };
    fields.iter().flat_map(one).collect()
}
