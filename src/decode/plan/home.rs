//! Which column a field belongs to, and what its configuration makes of it.

use crate::config::{self, BigintUnsignedHandlingMode};
use crate::decode::schema::{Field, FieldType, Semantic, Wire};
use crate::table::{Column, TableShape};

/// The column that a field belongs to: the one of its name, else the one of its source column's name, which a field name
/// adjustment mode has changed on the wire.
pub(super) fn home<'f>(field: &'f Field, shape: &TableShape) -> &'f str {
    let original = || field.ty.source_column.as_ref()?.name.as_deref();
    match original() {
        Some(original) if !shape.knows(&field.name) && shape.knows(original) => original,
        _ => &field.name,
    }
}

/// `bigint unsigned` under the connector's mode `long`: the wire holds the same 64 bits as a signed number. No schema tells
/// it, so the column has to: a signed one would never be numeric(20).
pub(super) fn is_unsigned(field: &FieldType, column: &Column, overrides: &config::Table) -> bool {
    const NUMERIC: u32 = 1700;
    overrides.bigint_unsigned_handling_mode == BigintUnsignedHandlingMode::Long
        && matches!(field.wire, Wire::Int64 | Wire::Untyped)
        && field.semantic == Semantic::None
        && column.ty.base_oid == NUMERIC
        && column.ty.sql.starts_with("numeric(20")
}
