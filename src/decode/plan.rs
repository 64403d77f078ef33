//! A record schema compiled against a Silver table.
//!
//! # Decisions
//! - A field that its column cannot hold is a [`Mismatch::Widening`] where a wider type loses nothing ([`widening`]), and
//!   a [`Mismatch::TypeMismatch`] everywhere else. A column whose type the configuration names is never widened.
//! - A narrower source type is no mismatch: the column holds it, and has to go on holding the older records that may still
//!   come. It is noticed ([`history`]) and reported.

pub mod append;
mod compiler;
pub mod history;
mod null_shaped;
pub mod propose;
pub mod widening;

use super::avro::{Group, Node};
use super::convert::Conversion;
use super::json::walk::Role;
use super::schema::describe::{KeyWalk, ValueWalk};
use super::schema::{Field, Form, Wire};
use super::skip::SkipRule;
use super::slot::NestedReader;
use super::sources;
use crate::config;
use crate::table::{Bookkeeping, ProposedColumn, TableName, TableShape};
use compiler::{Compiler, key_columns};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use widening::Widened;

pub use super::schema::describe::{RecordSchema, SchemaText, describe};
pub use append::Place;
pub use propose::propose;

/// Labels of enum types, by the column that has the type.
pub type EnumLabels = BTreeMap<String, BTreeSet<String>>;

/// What is known beside a record schema and the shape of its table.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Columns that other schemas of the topic have and this one has not ([`history::SchemaHistory::gone`]).
    pub gone: BTreeSet<String>,
    /// Labels of the table's enum types.
    pub labels: EnumLabels,
}

/// Why a record schema does not fit a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The table lacks a column.
    ColumnMissing(ProposedColumn),
    /// The column's type cannot hold the field, and a wider one of its family can.
    Widening {
        /// Column name.
        column: String,
        /// Its type now.
        from: String,
        /// The type to widen it to.
        to: Widened,
    },
    /// The column's type cannot hold the field.
    TypeMismatch {
        /// Column name.
        column: String,
        /// Why not; names the column.
        reason: String,
        /// The type that could.
        wanted_sql_type: Option<String>,
    },
    /// The table's primary key is not the record key; the text says how they differ.
    KeyMismatch(String),
}

/// Everything that has to be known to turn bytes into rows of one table.
#[derive(Debug)]
pub struct Plan {
    pub(super) target: Target,
    pub(super) key: KeyPlan,
    pub(super) value: ValuePlan,
}

/// What becomes of the records.
#[derive(Debug)]
pub(super) enum Target {
    /// They are skipped by this rule.
    Skip(SkipRule),
    /// They are rows of a table.
    Table(TablePlan),
}

#[derive(Debug)]
pub(super) struct TablePlan {
    pub shape: Arc<TableShape>,
    /// One per column of the shape.
    pub columns: Vec<Source>,
    /// One per key column, in the key's order.
    pub key: Vec<KeySource>,
    /// The row's fields in the order of their slots.
    pub fields: usize,
    /// The key holds an identifier of the source table, so several may share the topic.
    pub tells_source: bool,
    /// The key of a table to which every change is appended; empty for every other table.
    pub append: Vec<Place>,
    /// Slots and columns where NULL may stand for an unchanged value.
    pub null_shaped: Vec<(usize, String)>,
}

/// Where a column of the table comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The record has no such field, nor had any schema of its topic: the target keeps its value.
    Absent,
    /// The record has no such field any more (or not yet): NULL.
    Gone,
    /// From the key: its place there.
    Key(usize),
    /// From the row.
    Row(Reading),
    /// Append tables: a field of the record key that the row does not have.
    RecordKey(Reading),
    /// Append tables: from the record's place or op.
    Place(Place),
}

/// A key column: from the record key, or from the row where the configuration names another key.
#[derive(Debug)]
pub(super) struct KeySource {
    pub record: Option<Reading>,
    pub row: Option<Reading>,
}

/// A slot and how it is written.
#[derive(Debug)]
pub(super) struct Reading {
    pub slot: usize,
    pub conversion: Conversion,
    pub nested: Nested,
    /// A negative number stands for one above 2^63 - 1.
    pub unsigned: bool,
    /// The source has an enum there and the table too: the labels that the table's has.
    pub labels: Option<BTreeSet<String>>,
}

impl Reading {
    fn of_key(mut self) -> Self {
        self.conversion = self.conversion.of_key();
        self
    }
}

/// What reads the inside of a nested value.
#[derive(Clone, Debug)]
pub(super) enum Nested {
    Avro(Node),
    Json(Wire),
}

impl Nested {
    pub(super) fn reader(&self) -> &dyn NestedReader {
        match self {
            Self::Avro(node) => node,
            Self::Json(wire) => wire,
        }
    }
}

#[derive(Debug)]
pub(super) enum KeyPlan {
    None,
    Avro(Group, usize),
    Json { names: Box<[Box<str>]> },
}

#[derive(Debug)]
pub(super) enum ValuePlan {
    None,
    Avro {
        datum: Group,
        before: Option<Group>,
        flattened: bool,
    },
    Json {
        names: Box<[Box<str>]>,
        flattened: bool,
    },
    /// JSON without schema.
    Untyped {
        names: Box<[Box<str>]>,
    },
}

impl ValuePlan {
    /// The walk through values of a schema, into slots in the order of these fields.
    fn of(schema: &RecordSchema, row: &[Field]) -> Self {
        let names: Box<[Box<str>]> = row.iter().map(|f| f.name.as_str().into()).collect();
        let flattened = schema.form == Form::Flattened;
        match &schema.value_walk {
            ValueWalk::None => Self::None,
            ValueWalk::Avro(walk) => {
                Self::Avro { datum: walk.datum.clone(), before: walk.before.clone(), flattened }
            }
            ValueWalk::Json => Self::Json { names, flattened },
            ValueWalk::Untyped => Self::Untyped { names },
        }
    }

    /// Whether its records are rows with metadata among their columns; `role` is what a value without schema is.
    #[inline]
    pub(super) fn is_flattened(&self, role: Role) -> bool {
        match self {
            Self::Avro { flattened, .. } | Self::Json { flattened, .. } => *flattened,
            Self::Untyped { .. } | Self::None => role == Role::Flattened,
        }
    }
}

impl Plan {
    /// A plan for records that are no table data, whatever their bytes: the rule that skips them.
    #[must_use]
    pub fn skipping(rule: SkipRule) -> Self {
        Self { target: Target::Skip(rule), key: KeyPlan::None, value: ValuePlan::None }
    }

    /// A plan that walks records of a schema without knowing their table yet: for topics whose records name theirs.
    #[must_use]
    pub fn placing(schema: &RecordSchema) -> Self {
        if let Form::NotTableData(rule) = schema.form {
            return Self::skipping(rule);
        }
        let shape = TableShape {
            table: TableName::new("", ""),
            columns: Vec::new(),
            generated: Vec::new(),
            key: Vec::new(),
            bookkeeping: Bookkeeping::default(),
        };
        let table = TablePlan {
            columns: Vec::new(),
            key: Vec::new(),
            fields: schema.row.len(),
            tells_source: false,
            append: Vec::new(),
            null_shaped: Vec::new(),
            shape: Arc::new(shape),
        };
        let value = ValuePlan::of(schema, &schema.row);
        Self { target: Target::Table(table), key: KeyPlan::None, value }
    }

    /// Columns whose unchanged value arrives as NULL unless the source's replica identity is full.
    #[must_use]
    pub fn null_shaped(&self) -> Vec<&str> {
        match &self.target {
            Target::Table(table) => table.null_shaped.iter().map(|(_, name)| &**name).collect(),
            Target::Skip(_) => Vec::new(),
        }
    }

    /// The shape that rows are encoded for; `None` when the records are skipped.
    #[must_use]
    pub fn shape(&self) -> Option<&Arc<TableShape>> {
        match &self.target {
            Target::Table(table) => Some(&table.shape),
            Target::Skip(_) => None,
        }
    }
}

/// The name of the column that a field belongs to: its own, else that of its source column, which a field name adjustment
/// mode has changed on the wire.
#[must_use]
pub fn column_of<'f>(shape: &TableShape, field: &'f Field) -> &'f str {
    let original = || field.ty.source_column.as_ref()?.name.as_deref();
    match original() {
        Some(original)
            if shape.column(&field.name).is_none() && shape.column(original).is_some() =>
        {
            original
        }
        _ => &field.name,
    }
}

/// As [`compile_after`], for a topic without earlier schemas.
///
/// # Errors
/// Every way in which schema and table do not fit.
pub fn compile(
    schema: &RecordSchema,
    shape: Arc<TableShape>,
    overrides: &config::Table,
) -> Result<Plan, Vec<Mismatch>> {
    compile_after(schema, shape, overrides, &Known::default())
}

/// Compiles a record schema against a table: fields go to columns of the same name, columns without a field keep the
/// target's value or, where they are gone, become NULL; the record key (or the
/// configured one) has to be the primary key.
///
/// # Errors
/// Every way in which schema and table do not fit, each column at most once.
pub fn compile_after(
    schema: &RecordSchema,
    shape: Arc<TableShape>,
    overrides: &config::Table,
    known: &Known,
) -> Result<Plan, Vec<Mismatch>> {
    if let Form::NotTableData(rule) = schema.form {
        return Ok(Plan::skipping(rule));
    }
    let mut compiler = Compiler { schema, shape: &shape, overrides, known, mismatches: Vec::new() };
    let row = compiler.row_fields();
    compiler.missing_columns(&row);
    let append = if overrides.append { compiler.append(&row) } else { Vec::new() };
    let key = if overrides.append { Vec::new() } else { compiler.key(&row) };
    let columns: Vec<Source> =
        (0..shape.columns.len()).map(|index| compiler.column(index, &row)).collect();
    if !compiler.mismatches.is_empty() {
        return Err(compiler.mismatches);
    }
    let value = ValuePlan::of(schema, &row);
    let key_plan = match &schema.key_walk {
        KeyWalk::None => KeyPlan::None,
        // Nothing of it would be wanted.
        KeyWalk::Untyped if overrides.append => KeyPlan::None,
        KeyWalk::Avro(group, nodes) => KeyPlan::Avro(group.clone(), nodes.len()),
        KeyWalk::Json => {
            KeyPlan::Json { names: schema.key.iter().map(|f| f.name.as_str().into()).collect() }
        }
        KeyWalk::Untyped => {
            KeyPlan::Json { names: key_columns(&shape).map(|c| c.name.as_str().into()).collect() }
        }
    };
    let tells_source = key_columns(&shape).any(|c| sources::is_identifier(&c.name));
    let fields = row.len();
    let null_shaped = null_shaped::of(&columns, &row, &shape);
    let table = TablePlan { columns, key, fields, tells_source, append, null_shaped, shape };
    Ok(Plan { target: Target::Table(table), key: key_plan, value })
}
