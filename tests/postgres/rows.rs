//! Batches by hand: rows as the decoder and the fold would leave them.

use silversink::batch::{Applied, Batch, ColumnSet, Kind, OffsetRange, StagedRow, Truncate};
use silversink::fault::Fault;
use silversink::postgres::{BeginAt, ClaimAsk, Destination, Writer};
use silversink::table::TableShape;
use silversink::version::{Version, VersionParts};
use std::sync::Arc;
use uuid::Uuid;

pub const PIPELINE: &str = "shop";
pub const TOPIC: &str = "shop.public.orders";
/// 2020-01-01 as microseconds since 2000-01-01.
pub const AT: i64 = 631_152_000_000_000;

pub fn topic_id() -> Uuid {
    Uuid::from_u128(7)
}

/// A version whose commit position and offset are `n`.
pub fn version(n: u64) -> Version {
    Version::new(VersionParts {
        commit_position: u128::from(n),
        phase: 1,
        kafka_offset: n,
        ..VersionParts::default()
    })
}

/// A field of a row.
#[derive(Clone, Debug)]
pub enum F {
    Null,
    I(i64),
    I4(i32),
    T(&'static str),
}

#[derive(Clone, Debug)]
pub struct R {
    pub kind: Kind,
    pub version: Version,
    pub fields: Vec<F>,
    pub deleted: bool,
    pub range: u16,
    pub kept: Vec<usize>,
    pub needs_base: bool,
}

pub fn whole(v: u64, fields: Vec<F>) -> R {
    R {
        kind: Kind::Whole,
        version: version(v),
        fields,
        deleted: false,
        range: 0,
        kept: vec![],
        needs_base: false,
    }
}
pub fn delete(v: u64, fields: Vec<F>) -> R {
    R { kind: Kind::Delete, deleted: true, ..whole(v, fields) }
}
pub fn tombstone(offset: u64, fields: Vec<F>) -> R {
    let version = Version::new(VersionParts { kafka_offset: offset, ..VersionParts::default() });
    R { kind: Kind::Tombstone, deleted: true, version, ..whole(0, fields) }
}
pub fn partial(v: u64, fields: Vec<F>, kept: &[usize], needs_base: bool) -> R {
    R { kind: Kind::Partial, kept: kept.to_vec(), needs_base, ..whole(v, fields) }
}
impl R {
    pub fn of_range(self, range: u16) -> R {
        R { range, ..self }
    }
}

fn put(out: &mut Vec<u8>, field: &F) {
    match field {
        F::Null => out.extend((-1_i32).to_be_bytes()),
        F::I(n) => {
            out.extend(8_i32.to_be_bytes());
            out.extend(n.to_be_bytes());
        }
        F::I4(n) => {
            out.extend(4_i32.to_be_bytes());
            out.extend(n.to_be_bytes());
        }
        F::T(text) => {
            out.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
            out.extend(text.as_bytes());
        }
    }
}

/// A batch of `rows` over `ranges`.
pub fn batch(shape: &Arc<TableShape>, rows: Vec<R>, ranges: Vec<OffsetRange>) -> Batch {
    let mut batch = Batch {
        number: 1,
        shape: Some(Arc::clone(shape)),
        bytes: vec![],
        keys: vec![],
        rows: vec![],
        ranges,
        truncate: None,
        letters: vec![],
        tripwire: Some(silversink::config::Tripwire::Stop),
        again: false,
        closed: vec![],
        suspects: Default::default(),
        parts: vec![],
    };
    let end = |v: &Vec<u8>| u32::try_from(v.len()).unwrap();
    for row in rows {
        let (body, key) = (end(&batch.bytes), end(&batch.keys));
        for field in &row.fields {
            put(&mut batch.bytes, field);
        }
        for &i in &shape.key {
            put(&mut batch.keys, &row.fields[i]);
        }
        let mut kept = ColumnSet::default();
        row.kept.iter().for_each(|&i| kept.insert(i));
        batch.rows.push(StagedRow {
            body: body..end(&batch.bytes),
            key: key..end(&batch.keys),
            kind: row.kind,
            version: row.version,
            deleted_at: row.deleted.then_some(AT),
            source_ts: Some(AT),
            range: row.range,
            origin: (row.range, 0),
            kept,
            needs_base: row.needs_base.then_some((row.range, 0)),
            base: None,
        });
    }
    batch
}

/// The destination with partitions claimed and started at 0, and the bookkeeping of who stands where.
pub struct Lane {
    pub destination: Destination,
    pub writer: Writer,
    pub shape: Arc<TableShape>,
    pub ranges: Vec<OffsetRange>,
}

impl Lane {
    /// A lane over the table, with `partitions` partitions.
    pub async fn open(destination: Destination, shape: Arc<TableShape>, partitions: i32) -> Self {
        let ranges = claim(&destination, partitions).await;
        let writer = destination.writer().await.expect("writer");
        Self { destination, writer, shape, ranges }
    }

    /// Ranges of the next batch: per partition as many offsets as `rows` hold for it.
    pub fn next(&self, rows: &[R]) -> Vec<OffsetRange> {
        let mut ranges = self.ranges.clone();
        for (i, range) in ranges.iter_mut().enumerate() {
            range.changes = rows.iter().filter(|r| usize::from(r.range) == i).count() as u64;
            range.next = range.from + i64::try_from(range.changes).unwrap().max(1);
        }
        ranges
    }

    pub fn batch(&self, rows: Vec<R>) -> Batch {
        let ranges = self.next(&rows);
        batch(&self.shape, rows, ranges)
    }

    /// Writes rows; on success the lane moves on.
    pub async fn write(&mut self, rows: Vec<R>) -> Result<Applied, Fault> {
        let batch = self.batch(rows);
        self.write_batch(&batch).await
    }

    pub async fn write_batch(&mut self, batch: &Batch) -> Result<Applied, Fault> {
        let applied = self.writer.write(PIPELINE, None, batch).await?;
        for (mine, done) in self.ranges.iter_mut().zip(&batch.ranges) {
            mine.from = done.next;
        }
        Ok(applied)
    }

    /// (applied, superseded) of the only range.
    pub async fn counts(&mut self, rows: Vec<R>) -> (u64, u64) {
        let applied = self.write(rows).await.expect("written");
        (applied.ranges[0].applied, applied.ranges[0].superseded)
    }

    pub async fn truncate(&mut self, v: u64) {
        let mut batch = self.batch(vec![]);
        batch.truncate = Some(Truncate { version: version(v), at: AT });
        self.write_batch(&batch).await.expect("truncated");
    }
}

/// Claims partitions `0..partitions` and starts them at 0 unless they stand somewhere already.
pub async fn claim(destination: &Destination, partitions: i32) -> Vec<OffsetRange> {
    let asks: Vec<ClaimAsk> = (0..partitions)
        .map(|partition| ClaimAsk {
            topic: TOPIC.into(),
            topic_id: topic_id(),
            partition,
            table: None,
        })
        .collect();
    let mut claimed = destination.claim(PIPELINE, "worker", &asks).await.expect("claimed");
    claimed.sort_by_key(|c| c.partition);
    let starts: Vec<BeginAt<'_>> = claimed
        .iter()
        .filter(|c| c.stored.is_none())
        .map(|c| BeginAt {
            topic: TOPIC,
            topic_id: c.topic_id,
            partition: c.partition,
            owner_epoch: c.owner_epoch,
            start_offset: 0,
            rewound: false,
            reason: "initial",
            lineage: None,
        })
        .collect();
    destination.begin_at(PIPELINE, &starts).await.expect("started");
    claimed
        .iter()
        .map(|c| {
            let from = c.stored.map_or(0, |s| s.next_offset);
            OffsetRange {
                topic: TOPIC.into(),
                topic_id: c.topic_id,
                partition: c.partition,
                owner_epoch: c.owner_epoch,
                from,
                next: from,
                changes: 0,
                folded: 0,
                skipped: 0,
                dead_lettered: 0,
                lineage: None,
            }
        })
        .collect()
}
