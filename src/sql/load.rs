//! The load: a COPY of whole rows straight into a table that was empty, as SQL.
//!
//! # Decisions
//! - A row costs the server 1.5 us this way, 2.9 us by way of a stage and a MERGE, 2.3 us by a stage and an INSERT, and 1.0 us
//!   in a plain COPY without version and key (PostgreSQL 15, 100-byte rows).
//! - The key's index is the guard: a row that is there already fails the COPY, and the batch takes the other way.

use super::settle::FENCE;
use super::{floor, ident};
use crate::decode::convert::{Staging, staging};
use crate::table::TableShape;
use postgres_protocol::escape::escape_literal;

/// SQLSTATE raised when the table has a truncate floor, other columns or another key than the shape says, or may not be inserted
/// into.
pub const NOT_LOADABLE: &str = "SS006";

/// Whether each column takes its value as it stands in a batch.
#[must_use]
pub fn takes(shape: &TableShape) -> bool {
    shape.columns.iter().all(|column| staging(&column.ty) == Staging::Native)
}

/// Whether the table has no row, not even a deleted one.
#[must_use]
pub fn is_empty(shape: &TableShape) -> String {
    format!("SELECT NOT EXISTS (SELECT FROM {})", ident::table(&shape.table))
}

/// Unqualified name of the function; `number` is that of the table's stage.
#[must_use]
pub fn name(number: u32) -> String {
    format!("silversink_load_{number}")
}

/// `CREATE FUNCTION` of what comes before the rows. It takes the locks of [`super::settle`] in the same order, and answers
/// the transaction's time in microseconds since 2000. Parameters: those of [`super::settle::create`] up to `$7`.
///
/// COPY trusts its reader's idea of the columns where MERGE converts or refuses, and the key's index to refuse a row that is
/// there: both are compared with the catalogue, under a lock that keeps them as they are.
#[must_use]
pub fn create(shape: &TableShape, number: u32) -> String {
    let table = ident::table(&shape.table);
    let columns: Vec<(&str, u32)> = shape
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty.oid))
        .chain(bookkeeping(shape))
        .collect();
    let names: Vec<String> = columns.iter().map(|(name, _)| escape_literal(name)).collect();
    let types: Vec<String> = columns.iter().map(|(_, oid)| oid.to_string()).collect();
    let mut key: Vec<&str> =
        shape.key.iter().filter_map(|&at| Some(shape.columns.get(at)?.name.as_str())).collect();
    key.sort_unstable();
    let key: Vec<String> = key.into_iter().map(escape_literal).collect();
    let body = format!(
        "
#variable_conflict use_column
DECLARE
  owned int8;
BEGIN
{FENCE}
  PERFORM {shared};
  LOCK TABLE {table} IN ROW EXCLUSIVE MODE;
  IF {floor} OR NOT pg_catalog.has_table_privilege({literal}, 'INSERT')
    OR (SELECT pg_catalog.count(*) FROM unnest(ARRAY[{names}], ARRAY[{types}]) AS c(name, ty)
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = {literal}::pg_catalog.regclass AND NOT a.attisdropped
        AND a.attgenerated = '' AND a.attname = c.name AND a.atttypid = c.ty::pg_catalog.oid) <> {count}
    OR NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = {literal}::pg_catalog.regclass
      AND i.indisprimary AND i.indisvalid AND i.indimmediate
      AND ARRAY[{key}] = (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\")
        FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))) THEN
    RAISE EXCEPTION USING ERRCODE = '{NOT_LOADABLE}', MESSAGE = 'silversink: the table takes no load';
  END IF;
  RETURN (extract(epoch FROM pg_catalog.now() - '2000-01-01 00:00:00+00'::pg_catalog.timestamptz) * 1000000)::int8;
END",
        shared = floor::lock_shared(&shape.table),
        floor = floor::exists(&shape.table),
        literal = escape_literal(&table),
        names = names.join(", "),
        types = types.join(", "),
        key = key.join(", "),
        count = columns.len(),
    );
    format!(
        "CREATE FUNCTION pg_temp.{}(text, text[], uuid[], int4[], int8[], int8[], int8[]) RETURNS int8 LANGUAGE plpgsql AS {}",
        name(number),
        escape_literal(&body)
    )
}

/// The call of the function.
#[must_use]
pub fn call(number: u32) -> String {
    format!("SELECT pg_temp.{}($1, $2, $3, $4, $5, $6, $7)", name(number))
}

/// `DROP FUNCTION`.
#[must_use]
pub fn drop(number: u32) -> String {
    format!("DROP FUNCTION IF EXISTS pg_temp.{}", name(number))
}

/// `COPY ... FROM STDIN BINARY` into the table: its data columns, then version, time of deletion, time at the source, and
/// time of the transaction.
#[must_use]
pub fn copy(shape: &TableShape) -> String {
    let data = shape.columns.iter().map(|column| column.name.as_str());
    let names: Vec<String> =
        data.chain(bookkeeping(shape).map(|(name, _)| name)).map(ident::quote).collect();
    format!("COPY {} ({}) FROM STDIN (FORMAT binary)", ident::table(&shape.table), names.join(", "))
}

/// Number of fields that [`copy`] lists.
#[must_use]
pub fn fields(shape: &TableShape) -> usize {
    shape.columns.len() + bookkeeping(shape).count()
}

/// Names of the bookkeeping columns, and `pg_type.oid` of `bytea` and `timestamptz`.
fn bookkeeping(shape: &TableShape) -> impl Iterator<Item = (&str, u32)> {
    let names = &shape.bookkeeping;
    [
        (names.version.as_str(), 17),
        (names.deleted_at.as_str(), 1184),
        (names.source_ts.as_str(), 1184),
        (names.applied_at.as_str(), 1184),
    ]
    .into_iter()
}
