//! The columns that a record schema implies for a table that is to be created.

use super::RecordSchema;
use super::append;
use crate::config;
use crate::config::BigintUnsignedHandlingMode;
use crate::decode::convert::{NO_ARRAYS_OF_BITS, natural_type};
use crate::decode::schema::describe::{KeyWalk, ValueWalk};
use crate::decode::schema::{Field, Semantic, Wire};
use crate::fault::{Code, Fault};
use crate::table::ProposedColumn;

/// The columns of a table for these records: configured types first, natural types otherwise.
///
/// # Errors
/// Blocked: a column has no known type (JSON without schema and none configured), or the key is not known.
pub fn propose(
    schema: &RecordSchema,
    overrides: &config::Table,
) -> Result<Vec<ProposedColumn>, Fault> {
    let key = if overrides.append { Vec::new() } else { key_names(schema, overrides)? };
    let of_key = || schema.key.iter().map(|f| f.name.as_str()).filter(|name| !name.is_empty());
    let place = |name: &str| key.iter().position(|k| *k == name);
    let mut columns = Vec::with_capacity(schema.row.len());
    let mut add = |name: &str,
                   sql_type: Option<String>,
                   field: Option<&Field>|
     -> Result<(), Fault> {
        let sql_type = sql_type.ok_or_else(|| no_type(name, field.and_then(why_none)))?;
        let comment = field.and_then(comment);
        columns.push(ProposedColumn { name: name.to_owned(), sql_type, key: place(name), comment });
        Ok(())
    };
    for field in &schema.row {
        add(&field.name, sql_type(field, overrides), Some(field))?;
    }
    let in_row = |name: &str| schema.row.iter().any(|f| f.name == name);
    // Key columns that are not in the row: all of them without a schema of it, or the source identifier of a merged topic.
    let beside = if overrides.append { of_key().collect() } else { key.clone() };
    for name in beside.into_iter().filter(|name| !in_row(name)) {
        let field = schema.key.iter().find(|f| f.name == name);
        let configured = overrides.column_types.get(name).cloned();
        add(name, configured.or_else(|| sql_type(field?, overrides)), field)?;
    }
    if matches!(schema.value_walk, ValueWalk::Untyped) {
        if overrides.column_types.is_empty() {
            return Err(no_types());
        }
        for (name, sql_type) in
            overrides.column_types.iter().filter(|(name, _)| place(name).is_none())
        {
            add(name, Some(sql_type.clone()), None)?;
        }
    }
    if overrides.append {
        columns.extend(append::columns());
    }
    Ok(columns)
}

fn key_names<'a>(
    schema: &'a RecordSchema,
    overrides: &'a config::Table,
) -> Result<Vec<&'a str>, Fault> {
    if let Some(key) = &overrides.key {
        return Ok(key.iter().map(String::as_str).collect());
    }
    let names: Vec<&str> = schema.key.iter().map(|f| f.name.as_str()).collect();
    let (code, why) = match schema.key_walk {
        KeyWalk::None => (Code::KeyMissing, "the records have no key"),
        KeyWalk::Untyped => (Code::TableMissing, "the key is JSON without schema"),
        _ if names.contains(&"") => {
            (Code::TableMissing, "the record key is a bare value without a name")
        }
        _ if names.is_empty() => (Code::TableMissing, "the record key has no fields"),
        _ => return Ok(names),
    };
    Err(Fault::blocked(
        code,
        format!("cannot create the table: {why}, so its primary key is not known"),
        "name the key columns under [table.\"schema.name\"] key, set append = true there, or create the table",
    ))
}

/// Why a field has no natural type, where there is more to say than that.
pub(super) fn why_none(field: &Field) -> Option<&'static str> {
    matches!(field.ty.semantic, Semantic::Bits { .. }).then_some(NO_ARRAYS_OF_BITS)
}

fn no_type(column: &str, why: Option<&str>) -> Fault {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Fault::blocked(
        Code::TypeMismatch,
        format!("cannot create the table: no PostgreSQL type is known for column {column}{why}"),
        format!("give it one under [table.\"schema.name\"]: columns.{column}.type = \"...\""),
    )
}

fn no_types() -> Fault {
    Fault::blocked(
        Code::TableMissing,
        "cannot create the table: JSON without schema tells no column types",
        "give them under [table.\"schema.name\"]: columns.NAME.type = \"...\"; or create the table",
    )
}

/// The configured type of a field's column, else its natural one.
pub(super) fn sql_type(field: &Field, overrides: &config::Table) -> Option<String> {
    let configured = overrides.column_types.get(&field.name).cloned();
    let unsigned = || {
        let source = field.ty.source_column.as_ref()?;
        let is_long = overrides.bigint_unsigned_handling_mode == BigintUnsignedHandlingMode::Long;
        (is_long && field.ty.wire == Wire::Int64 && source.ty.starts_with("BIGINT UNSIGNED"))
            .then(|| "numeric(20,0)".to_owned())
    };
    configured.or_else(unsigned).or_else(|| natural_type(&field.ty))
}

/// A proposed column for a field.
pub(super) fn column(field: &Field, sql_type: String, key: Option<usize>) -> ProposedColumn {
    ProposedColumn { name: field.name.clone(), sql_type, key, comment: comment(field) }
}

/// The source's own type name, where the connector propagates it.
fn comment(field: &Field) -> Option<String> {
    field.ty.source_column.as_ref().map(|source| match (source.length, source.scale) {
        (Some(length), Some(scale)) => format!("{}({length},{scale})", source.ty),
        (Some(length), None) => format!("{}({length})", source.ty),
        _ => source.ty.clone(),
    })
}
