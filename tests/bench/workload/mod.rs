//! What a topic of the benchmark holds: the changes of one table, computed from a seed, so that the broker that writes them
//! and the expectation that checks them need not speak to each other.

pub mod avro;
pub mod expected;
pub mod json;
pub mod row;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use silversink::demo::capture::Capture;

/// How the records of a topic are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Avro,
    /// JSON without schema.
    Json,
    /// JSON with its schema in each record.
    JsonSchema,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "Avro",
            Self::Json => "JSON",
            Self::JsonSchema => "JSON with schema",
        }
    }
}

/// Which rows are changed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    /// 70 % updates, 25 % inserts, 5 % deletes over the whole table.
    Uniform,
    /// The same mix without inserts over the first rows of the table only.
    Hot(i64),
    /// The same mix, no key twice.
    Distinct,
    /// Rows of a snapshot.
    Snapshot,
}

/// Moments of the changes, in microseconds since 1970: the first one and the step from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    pub from: i64,
    pub step: f64,
}

/// One topic and the table behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Names the topics of one kind; the tables behind them have the same names in every kind.
    pub kind: String,
    /// Number of the table.
    pub table: usize,
    pub partitions: i32,
    pub format: Format,
    /// Columns of the row, 2 at least.
    pub columns: usize,
    /// Rows that the table holds before; also the range that updates and deletes hit.
    pub rows: i64,
    pub events: usize,
    pub keys: Keys,
    pub clock: Clock,
    /// Texts without randomness: the mock broker keeps 5 MiB of a partition, and these compress well.
    pub bland: bool,
}

impl Spec {
    /// The topic that most rows of the result measure: the mixed load on a table of a million rows.
    pub fn mixed(kind: &str, format: Format, events: usize) -> Self {
        Self {
            kind: kind.to_owned(),
            table: 0,
            partitions: 64,
            format,
            columns: row::COLUMNS.len(),
            rows: 1_000_000,
            events,
            keys: Keys::Uniform,
            clock: Clock { from: 1_760_000_000_000_000, step: 1_000.0 },
            bland: false,
        }
    }

    pub fn topic(&self) -> String {
        format!("bench.{}.orders_{}", self.kind, self.table)
    }

    /// The Silver table.
    pub fn silver(&self) -> String {
        format!("silver.orders_{}", self.table)
    }

    /// The changes in the order of the source.
    pub fn changes(&self) -> impl Iterator<Item = Change> + use<> {
        let mut random = fastrand::Rng::with_seed(u64::try_from(self.table).unwrap_or(0));
        let Self { rows, keys, clock, bland, .. } = *self;
        let mut inserted = rows;
        (0_i64..).take(self.events).map(move |number| {
            let op = match (keys, random.u8(0..100)) {
                (Keys::Snapshot, _) => b'r',
                (Keys::Hot(_), 70..95) | (_, 0..70) => b'u',
                (_, 70..95) => b'c',
                _ => b'd',
            };
            let id = match (op, keys) {
                (b'c' | b'r', _) => {
                    inserted += 1;
                    inserted
                }
                (_, Keys::Hot(hot)) => random.i64(1..=hot),
                // The factor has no divisor in common with the round numbers that tables are long.
                (_, Keys::Distinct) => 1 + number * 618_031 % rows,
                _ => random.i64(1..=rows),
            };
            let random = random.u64(..);
            let at = clock.from + whole(number, clock.step);
            // The rows of a snapshot all stand at the position at which it was taken.
            let lsn = 24_023_128_000 + if op == b'r' { 0 } else { number * 240 };
            Change { op, id, random: if bland { random & 0xff } else { random }, lsn, number, at }
        })
    }

    /// Partition of a key.
    pub fn partition(&self, id: i64) -> i32 {
        i32::try_from(id % i64::from(self.partitions)).expect("less than the partitions")
    }

    /// Schemas of key and value, in Connect's JSON form or in Avro's.
    pub fn schemas(&self) -> anyhow::Result<(Value, Value)> {
        let capture =
            Capture::open(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/debezium/shop"))?;
        match self.format {
            Format::Avro => avro::schemas(&capture, self.columns),
            Format::Json | Format::JsonSchema => json::schemas(&capture, self.columns),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "microseconds of a run"
)]
fn whole(number: i64, step: f64) -> i64 {
    (number as f64 * step) as i64
}

/// One change of one row.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub op: u8,
    pub id: i64,
    pub random: u64,
    pub lsn: i64,
    pub number: i64,
    /// When the source made it, in microseconds since 1970.
    pub at: i64,
}

impl Change {
    /// The images that the record holds: the row before, the row after.
    pub fn images(&self) -> (bool, bool) {
        (matches!(self.op, b'u' | b'd'), self.op != b'd')
    }

    /// Debezium's `source.sequence`: a snapshot's row has no commit.
    pub fn sequence(&self) -> String {
        match self.op {
            b'r' => format!("[null,\"{}\"]", self.lsn),
            _ => format!("[\"{}\",\"{}\"]", self.lsn - 56, self.lsn),
        }
    }

    pub fn snapshot(&self) -> &'static str {
        if self.op == b'r' { "true" } else { "false" }
    }

    pub fn op(&self) -> &'static str {
        match self.op {
            b'r' => "r",
            b'c' => "c",
            b'u' => "u",
            _ => "d",
        }
    }
}

/// A record as the broker gets it.
pub struct Record {
    pub partition: i32,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// The records of a topic in the order of the source. `ids` are the schema ids of key and value, for Avro.
pub fn records(spec: &Spec, ids: (u32, u32)) -> anyhow::Result<Vec<Record>> {
    let writer: Box<dyn Fn(&Change) -> (Vec<u8>, Vec<u8>)> = match spec.format {
        Format::Avro => {
            let columns = spec.columns;
            Box::new(move |change| avro::record(change, columns, ids))
        }
        Format::Json => Box::new(json::writer(spec, None)),
        Format::JsonSchema => Box::new(json::writer(spec, Some(spec.schemas()?))),
    };
    Ok(spec
        .changes()
        .map(|change| {
            let (key, value) = writer(&change);
            let partition = spec.partition(change.id);
            Record { partition, timestamp_ms: change.at / 1_000, key, value }
        })
        .collect())
}
