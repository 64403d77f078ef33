//! One record, step by step, as the worker would take it: frame, schema, envelope, route, key, version, the row that Silver
//! has, verdict and SQL. Changes nothing.

mod envelope;
mod rehearsal;
pub mod screen;
mod steps;

pub use steps::{Asked, Schemas, explain};

use serde::Serialize;
use serde_json::Value;

/// Everything there is to say about one record; its JSON form is what `explain --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Where it stands and how large it is.
    pub record: Record,
    /// How the key is written; `None` for a null key.
    pub key: Option<Half>,
    /// How the value is written; `None` for a null value.
    pub value: Option<Half>,
    /// What Debezium says beside the row; `None` where the value cannot be read or there is none.
    pub envelope: Option<Envelope>,
    /// The Silver table that the topic feeds.
    pub table: Option<String>,
    /// The record key as JSON, if it can be read.
    pub row_key: Option<Value>,
    /// Taken apart; `None` where the record is no change.
    pub version: Option<Version>,
    /// How far the partition has been applied, and what became of this record, as the destination knows it.
    pub position: Option<Position>,
    /// The row of that key in Silver now.
    pub silver: Option<Silver>,
    /// What would become of the record now.
    pub verdict: Verdict,
    /// The statement that would apply it, or the DDL that is missing.
    pub sql: Option<String>,
}

/// Coordinates, sizes and header names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Bytes of the key.
    pub key_bytes: Option<usize>,
    /// Bytes of the value.
    pub value_bytes: Option<usize>,
    /// Names of the headers in order.
    pub headers: Vec<String>,
}

/// Frame and schema of a key or a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Half {
    /// Encoding, as the first byte tells it.
    pub frame: String,
    /// Which schema.
    pub schema: Option<String>,
    /// Why it cannot be used.
    pub fault: Option<String>,
}

/// The envelope without its rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Envelope {
    /// `op` and what it means.
    pub op: Option<String>,
    /// The source block.
    pub source: Option<Value>,
    /// The transaction block.
    pub transaction: Option<Value>,
    /// Columns of the before image, with their values only where they were asked for.
    pub before: Option<Value>,
    /// Columns of the after image, or of a flattened row.
    pub after: Option<Value>,
}

/// A version in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Source epoch.
    pub source_epoch: u32,
    /// Commit position.
    pub commit_position: u128,
    /// Phase: 0 snapshot read, 1 streamed change.
    pub phase: u8,
    /// Change position.
    pub change_position: u64,
    /// Kafka offset.
    pub kafka_offset: u64,
}

impl From<crate::version::Version> for Version {
    fn from(version: crate::version::Version) -> Self {
        let parts = version.parts();
        Self {
            source_epoch: parts.source_epoch,
            commit_position: parts.commit_position,
            phase: parts.phase,
            change_position: parts.change_position,
            kafka_offset: parts.kafka_offset,
        }
    }
}

/// What `silversink.position` and `silversink.dead_letter` say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Next offset to be applied.
    pub next_offset: Option<i64>,
    /// `running`, `stopped`, ...
    pub state: String,
    /// Why it is stopped.
    pub reason: Option<String>,
    /// The position is behind this record: it has been settled.
    pub settled: bool,
    /// Its dead letter: code, status and reason.
    pub dead_letter: Option<String>,
}

/// A row of the Silver table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Silver {
    /// Its version; `None` when the column holds none of ours.
    pub version: Option<Version>,
    /// When it was marked deleted; `None` means live.
    pub deleted_at: Option<String>,
    /// When its last change happened at the source.
    pub source_ts: Option<String>,
    /// When its last change was applied.
    pub applied_at: Option<String>,
    /// Its columns, only where they were asked for.
    pub row: Option<Value>,
}

/// What would become of the record, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// One of the four classes of a settled record, or that its lane would stop or wait.
    pub outcome: Outcome,
    /// The stable code, where something is wrong.
    pub code: Option<String>,
    /// One sentence.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The classes of a settled record (I1), and the two in which it is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Silver would change.
    Applied,
    /// Silver holds the same or a newer version.
    Superseded,
    /// A named rule skips it.
    Skipped,
    /// It can never be applied as it is.
    DeadLettered,
    /// The Silver table is altered first, then the record is applied.
    Alters,
    /// Its lane would stop until someone acts.
    LaneStops,
    /// Something that will pass is in the way.
    Waits,
}
