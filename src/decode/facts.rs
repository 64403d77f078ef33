//! What a record tells beside its row, by the names that Debezium's envelope and flattened records give it.

use super::envelope::invalid;
use super::slot::{Scratch, Slot};
use crate::fault::Fault;

/// What a record tells beside its row. The number is the place in [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `op` or `__op`.
    Op,
    /// `__deleted` of flattened records.
    Deleted,
    /// `source.connector`.
    Connector,
    /// `source.sequence`.
    Sequence,
    /// `source.lsn`.
    Lsn,
    /// `source.commit_lsn`.
    CommitLsn,
    /// `source.commit_scn`.
    CommitScn,
    /// `source.ts_us`.
    SourceTsUs,
    /// `source.ts_ms`.
    SourceTsMs,
    /// Maxwell's `ts`: seconds.
    SourceTsS,
    /// `source.snapshot`: `incremental` on rows of an incremental snapshot.
    Snapshot,
    /// `source.name`: the connector's topic prefix, which names the source.
    SourceName,
    /// `source.db`.
    Database,
    /// `source.schema`; Vitess calls it `keyspace`.
    Schema,
    /// `source.table`; MongoDB calls it `collection`.
    Table,
    /// `source.file`: binary log file.
    BinlogFile,
    /// `source.pos`: start of the event in it.
    BinlogPos,
    /// `source.row`: row inside the event.
    BinlogRow,
    /// The envelope's own `ts_us`.
    TsUs,
    /// The envelope's own `ts_ms`.
    TsMs,
}

const FACTS: usize = 20;

impl Fact {
    /// By name inside Debezium's `source` block.
    #[must_use]
    pub fn of_source(name: &str) -> Option<Self> {
        Some(match name {
            "connector" => Self::Connector,
            "sequence" => Self::Sequence,
            "lsn" => Self::Lsn,
            "commit_lsn" => Self::CommitLsn,
            "commit_scn" => Self::CommitScn,
            "ts_us" => Self::SourceTsUs,
            "ts_ms" => Self::SourceTsMs,
            "snapshot" => Self::Snapshot,
            "name" => Self::SourceName,
            "db" => Self::Database,
            "schema" | "keyspace" => Self::Schema,
            "table" | "collection" => Self::Table,
            "file" => Self::BinlogFile,
            "pos" => Self::BinlogPos,
            "row" => Self::BinlogRow,
            _ => return None,
        })
    }

    /// Whether a field of the `source` block is the same in record after record: it names the source, not the change.
    #[must_use]
    pub fn repeats(name: &str) -> bool {
        match Self::of_source(name) {
            Some(fact) => matches!(
                fact,
                Self::Connector
                    | Self::Snapshot
                    | Self::SourceName
                    | Self::Database
                    | Self::Schema
                    | Self::Table
            ),
            None => name == "version",
        }
    }

    /// By name at the top of the envelope.
    #[must_use]
    pub fn of_envelope(name: &str) -> Option<Self> {
        Some(match name {
            "op" => Self::Op,
            "ts_us" => Self::TsUs,
            "ts_ms" => Self::TsMs,
            _ => return None,
        })
    }

    /// By name in a flattened record (`add.fields` of ExtractNewRecordState with its standard prefix `__`).
    #[must_use]
    pub fn of_flattened(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("__")? {
            "op" => Self::Op,
            "deleted" => Self::Deleted,
            "connector" | "source_connector" => Self::Connector,
            "sequence" | "source_sequence" => Self::Sequence,
            "lsn" | "source_lsn" => Self::Lsn,
            "commit_lsn" | "source_commit_lsn" => Self::CommitLsn,
            "commit_scn" | "source_commit_scn" => Self::CommitScn,
            "snapshot" | "source_snapshot" => Self::Snapshot,
            "name" | "source_name" => Self::SourceName,
            "db" | "source_db" => Self::Database,
            "schema" | "source_schema" | "keyspace" | "source_keyspace" => Self::Schema,
            "table" | "source_table" | "collection" | "source_collection" => Self::Table,
            "file" | "source_file" => Self::BinlogFile,
            "pos" | "source_pos" => Self::BinlogPos,
            "row" | "source_row" => Self::BinlogRow,
            "source_ts_us" => Self::SourceTsUs,
            "source_ts_ms" => Self::SourceTsMs,
            "ts_us" => Self::TsUs,
            "ts_ms" => Self::TsMs,
            _ => return None,
        })
    }
}

#[cold]
fn other_kind(fact: Fact, wanted: &str) -> Fault {
    invalid(format!("{fact:?} is no {wanted}"))
}

/// The facts of one record.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    slots: [Slot<'r>; FACTS],
    /// The before image.
    pub before: Image<'r>,
    /// Whether there is an after image.
    pub after: bool,
    /// The `source` block.
    pub block: Block,
}

/// Whether the fields of the `source` block that repeat are those of the record before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Not known.
    Unknown,
    /// They are.
    Same,
    /// They are not, or nothing is known of that record.
    New {
        /// Where it starts: so many bytes before the end of the datum.
        from_end: usize,
        /// Its length in bytes.
        length: usize,
    },
}

/// Where the before image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image<'r> {
    /// There is none.
    Missing,
    /// Its bytes (Avro: from its start to the end of the record; JSON: exactly its text).
    At(&'r [u8]),
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            slots: [Slot::Absent; FACTS],
            before: Image::Missing,
            after: false,
            block: Block::Unknown,
        }
    }
}

impl<'r> Facts<'r> {
    /// Sets a fact; the last one wins.
    pub fn set(&mut self, fact: Fact, slot: Slot<'r>) {
        if let Some(place) = self.slots.get_mut(fact as usize) {
            *place = slot;
        }
    }

    /// Where a fact stands.
    pub fn place(&mut self, fact: Fact) -> &mut Slot<'r> {
        // One place per fact, so the number is never beyond the last.
        &mut self.slots[(fact as usize).min(FACTS - 1)]
    }

    /// Whether a fact was found, null included.
    #[must_use]
    pub fn has(&self, fact: Fact) -> bool {
        !matches!(self.get(fact), Slot::Absent)
    }

    /// A fact as it was found.
    #[must_use]
    pub fn get(&self, fact: Fact) -> &Slot<'r> {
        self.slots.get(fact as usize).unwrap_or(&Slot::Absent)
    }

    /// Whether the op is `c`, or not told.
    #[must_use]
    pub fn may_create(&self, scratch: &Scratch) -> bool {
        !matches!(self.text(Fact::Op, scratch), Ok(Some("u" | "r")))
    }

    /// A fact that is text; `None` when it is absent or null.
    ///
    /// # Errors
    /// Poison `EnvelopeInvalid` when it is something else.
    #[inline]
    pub fn text<'a>(&'a self, fact: Fact, scratch: &'a Scratch) -> Result<Option<&'a str>, Fault> {
        match self.get(fact) {
            Slot::Absent | Slot::Null => Ok(None),
            slot => scratch.text(slot).map(Some).ok_or_else(|| other_kind(fact, "text")),
        }
    }

    /// A fact that is an integer (a decimal in quotes counts too); `None` when it is absent or null.
    ///
    /// # Errors
    /// Poison `EnvelopeInvalid` when it is something else.
    pub fn integer(&self, fact: Fact, scratch: &Scratch) -> Result<Option<i64>, Fault> {
        match self.get(fact) {
            Slot::Absent | Slot::Null => Ok(None),
            Slot::Int(n) => Ok(Some(*n)),
            slot => scratch
                .text(slot)
                .and_then(|text| text.parse().ok())
                .map(Some)
                .ok_or_else(|| other_kind(fact, "64-bit integer")),
        }
    }

    /// Whether the row came from an incremental snapshot: its position is that of the stream around it, not of its own
    /// (`SnapshotRecord` of Debezium; other connectors write booleans, which never mean incremental).
    ///
    /// # Errors
    /// Poison `EnvelopeInvalid` when `source.snapshot` is neither text nor boolean.
    pub fn is_incremental(&self, scratch: &Scratch) -> Result<bool, Fault> {
        match self.get(Fact::Snapshot) {
            Slot::Bool(_) => Ok(false),
            _ => Ok(self.text(Fact::Snapshot, scratch)? == Some("incremental")),
        }
    }

    /// The source's name (topic prefix of its connector); `None` when the record does not tell it.
    ///
    /// # Errors
    /// Poison `EnvelopeInvalid` when it is no text.
    pub fn source_name<'a>(&'a self, scratch: &'a Scratch) -> Result<Option<&'a str>, Fault> {
        self.text(Fact::SourceName, scratch)
    }
}
