//! Truncates: the floor of a table, below which rows are deleted whoever writes them (design: version guard).
//!
//! # Decisions
//! - Every batch holds the table's advisory lock in shared mode from before it reads the floor until it commits; whoever
//!   raises the floor or marks rows holds it alone. So a batch either is seen by the marking, or sees the floor.
//! - The floor is applied to staged rows before the MERGE: what is superseded is not touched, so a replay writes nothing.
//! - Without a floor a batch pays one lock and one look by the key of a small table.

use super::ident;
use super::ledger::LOCK_KEY;
use super::merge::{Names, Variant};
use super::stage;
use crate::batch::Truncate;
use crate::table::{TableName, TableShape};
use postgres_protocol::escape::escape_literal;

/// Call that takes the table's lock in shared mode: for batches.
#[must_use]
pub fn lock_shared(table: &TableName) -> String {
    format!("pg_catalog.pg_advisory_xact_lock_shared({})", lock_key(table))
}

/// Call that takes the table's lock alone: for truncates.
#[must_use]
pub fn lock_alone(table: &TableName) -> String {
    format!("pg_catalog.pg_advisory_xact_lock({})", lock_key(table))
}

fn lock_key(table: &TableName) -> String {
    format!("pg_catalog.hashtextextended({}, {LOCK_KEY})", escape_literal(&ident::table(table)))
}

/// Version and time of a truncate as expressions.
#[must_use]
pub fn literals(truncate: &Truncate) -> (String, String) {
    let hex: String = truncate.version.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let version = format!("'\\x{hex}'::pg_catalog.bytea");
    (version, time(&truncate.at.to_string()))
}

/// Microseconds since 2000-01-01 as a `timestamptz`.
pub(super) fn time(microseconds: &str) -> String {
    format!(
        "('2000-01-01 00:00:00+00'::pg_catalog.timestamptz + {microseconds} * '1 microsecond'::pg_catalog.interval)"
    )
}

/// Raises the floor; never lowers it. `version` and `at` are expressions (`bytea`, `timestamptz`).
#[must_use]
pub fn raise(table: &TableName, version: &str, at: &str) -> String {
    format!(
        "INSERT INTO silversink.truncate_floor AS f (schema_name, table_name, version, truncated_at) \
           VALUES ({}, {}, {version}, {at}) \
           ON CONFLICT ON CONSTRAINT truncate_floor_pkey DO UPDATE \
           SET version = excluded.version, truncated_at = excluded.truncated_at WHERE f.version < excluded.version",
        escape_literal(&table.schema),
        escape_literal(&table.name),
    )
}

/// Marks live rows below a version. `blocks` restricts it to rows whose `ctid` is in a range of heap blocks.
#[must_use]
pub fn mark(shape: &TableShape, version: &str, at: &str, blocks: Option<(i64, i64)>) -> String {
    let names = Names::of(shape);
    let range = blocks.map_or_else(String::new, |(from, to)| {
        format!(
            " AND t.ctid >= '({from},0)'::pg_catalog.tid AND t.ctid < '({to},0)'::pg_catalog.tid"
        )
    });
    format!(
        "UPDATE {table} AS t SET {deleted_at} = {at}, {applied_at} = pg_catalog.now() \
           WHERE t.{version_column} < {version} AND t.{deleted_at} IS NULL{range}",
        table = ident::table(&shape.table),
        deleted_at = names.deleted_at,
        applied_at = names.applied_at,
        version_column = names.version,
    )
}

/// Heap blocks of a table, of its largest partition if it has any.
#[must_use]
pub fn blocks(table: &TableName) -> String {
    let oid = format!("{}::pg_catalog.regclass", escape_literal(&ident::table(table)));
    format!(
        "SELECT greatest(pg_catalog.pg_relation_size({oid}), (SELECT coalesce(pg_catalog.max(\
           pg_catalog.pg_relation_size(p.relid)), 0) FROM pg_catalog.pg_partition_tree({oid}) AS p)) \
         / pg_catalog.current_setting('block_size')::pg_catalog.int8"
    )
}

/// Whether the table has a floor, as a condition.
#[must_use]
pub fn exists(table: &TableName) -> String {
    format!("EXISTS (SELECT 1 FROM silversink.truncate_floor AS f WHERE {})", of(table))
}

/// Statements that apply the stored floor to the staged rows: what is below it is stored as deleted, with whatever base
/// there is; what is above it has no base below it (I9).
#[must_use]
pub fn apply(shape: &TableShape, number: u32, variant: Variant) -> Vec<String> {
    let stage = stage::name(number);
    let mut statements = vec![format!(
        "UPDATE {stage} AS s SET _deleted_at = f.truncated_at FROM silversink.truncate_floor AS f \
           WHERE {} AND s._version < f.version AND s._deleted_at IS NULL",
        of(&shape.table)
    )];
    if variant != Variant::Fast {
        statements.push(format!(
            "UPDATE {stage} AS s SET _needs_base = false, _old_at = NULL FROM silversink.truncate_floor AS f \
               WHERE {} AND s._kind = 'p' AND s._needs_base AND s._version < f.version",
            of(&shape.table)
        ));
        statements.push(format!(
            "UPDATE {stage} AS s SET _base_from = f.version FROM silversink.truncate_floor AS f \
               WHERE {} AND s._kind = 'p' AND s._needs_base AND s._version > f.version \
               AND (s._base_from IS NULL OR s._base_from < f.version)",
            of(&shape.table)
        ));
    }
    statements
}

fn of(table: &TableName) -> String {
    format!(
        "f.schema_name = {} AND f.table_name = {}",
        escape_literal(&table.schema),
        escape_literal(&table.name)
    )
}
