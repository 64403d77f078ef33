//! The named rules by which records are skipped.

use crate::fault::closed_set;

closed_set! {
    /// Why a record is nothing for a table: metric label, row of the README. Closed set.
    SkipRule:
    /// A heartbeat of the connector.
    Heartbeat = "heartbeat",
    /// Begin or end of a transaction (`provide.transaction.metadata`).
    Transaction = "transaction",
    /// DDL of the source.
    SchemaChange = "schema_change",
    /// A signal to the connector, from its topic or its table.
    Signal = "signal",
    /// A notification of the connector.
    Notification = "notification",
    /// A logical message (`pg_logical_emit_message`), op `m`.
    Message = "message",
    /// Maxwell's marks around a bootstrap.
    Bootstrap = "bootstrap",
    /// A null value that follows its delete, or that an append table has no use for.
    Tombstone = "tombstone",
    /// A null value of a table whose configured key is not in the record key.
    TombstoneWithoutKey = "tombstone_without_key",
    /// A null value in a topic whose records name their tables: it names none.
    TombstoneWithoutTable = "tombstone_without_table",
}
