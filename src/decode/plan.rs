//! A record schema compiled against a Silver table.
//!
//! # Decisions
//! - A field that its column cannot hold is a [`Mismatch::Widening`] where a wider type loses nothing ([`widening`]), and
//!   a [`Mismatch::TypeMismatch`] everywhere else. A column whose type the configuration names is never widened.
//! - A narrower source type is no mismatch: the column holds it, and has to go on holding the older records that may still
//!   come. It is noticed ([`lineage`]) and reported.

pub mod lineage;
pub mod propose;
pub mod widening;

use super::avro::{Group, Node};
use super::convert::Conversion;
use super::convert::natural_type;
use super::schema::describe::{KeyWalk, ValueWalk};
use super::schema::{Field, FieldType, Form, Semantic, Wire};
use super::slot::NestedReader;
use crate::config;
use crate::table::{Column, ProposedColumn, TableShape};
use std::collections::BTreeSet;
use std::sync::Arc;
use widening::{Widened, widened};

pub use super::schema::describe::{RecordSchema, SchemaText, describe};
pub use propose::propose;

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
    /// The source has dropped the column, so rows have NULL there, and the column is NOT NULL.
    GoneNotNull {
        /// Column name.
        column: String,
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
    Skip(&'static str),
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
    /// Some column beside the key is NOT NULL, so a delete of an unseen row needs values from the before image.
    pub deletes_need_row: bool,
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

impl Plan {
    /// A plan for records that are no table data, whatever their bytes: the rule that skips them.
    #[must_use]
    pub fn skipping(rule: &'static str) -> Self {
        Self { target: Target::Skip(rule), key: KeyPlan::None, value: ValuePlan::None }
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

/// As [`compile_after`], for a topic without earlier schemas.
///
/// # Errors
/// Every way in which schema and table do not fit.
pub fn compile(
    schema: &RecordSchema,
    shape: Arc<TableShape>,
    overrides: &config::Table,
) -> Result<Plan, Vec<Mismatch>> {
    compile_after(schema, shape, overrides, &BTreeSet::new())
}

/// Compiles a record schema against a table: fields go to columns of the same name, columns without a field keep the
/// target's value or, where they are among the `gone` ([`lineage::Lineage::gone`]), become NULL; the record key (or the
/// configured one) has to be the primary key.
///
/// # Errors
/// Every way in which schema and table do not fit, each column at most once.
pub fn compile_after(
    schema: &RecordSchema,
    shape: Arc<TableShape>,
    overrides: &config::Table,
    gone: &BTreeSet<String>,
) -> Result<Plan, Vec<Mismatch>> {
    if let Form::NotTableData(rule) = schema.form {
        return Ok(Plan::skipping(rule));
    }
    let mut compiler = Compiler { schema, shape: &shape, overrides, gone, mismatches: Vec::new() };
    let row = compiler.row_fields();
    compiler.missing_columns(&row);
    let key = compiler.key(&row);
    let columns: Vec<Source> =
        (0..shape.columns.len()).map(|index| compiler.column(index, &row)).collect();
    if !compiler.mismatches.is_empty() {
        return Err(compiler.mismatches);
    }
    let deletes_need_row =
        columns.iter().zip(&shape.columns).any(|(s, c)| c.not_null && matches!(s, Source::Row(_)));
    let names: Box<[Box<str>]> = row.iter().map(|f| f.name.as_str().into()).collect();
    let value = match &schema.value_walk {
        ValueWalk::None => ValuePlan::None,
        ValueWalk::Avro(walk) => ValuePlan::Avro {
            datum: walk.datum.clone(),
            before: walk.before.clone(),
            flattened: schema.form == Form::Flattened,
        },
        ValueWalk::Json => ValuePlan::Json { names, flattened: schema.form == Form::Flattened },
        ValueWalk::Untyped => ValuePlan::Untyped { names },
    };
    let key_plan = match &schema.key_walk {
        KeyWalk::None => KeyPlan::None,
        KeyWalk::Avro(group, nodes) => KeyPlan::Avro(group.clone(), nodes.len()),
        KeyWalk::Json => {
            KeyPlan::Json { names: schema.key.iter().map(|f| f.name.as_str().into()).collect() }
        }
        KeyWalk::Untyped => {
            KeyPlan::Json { names: key_columns(&shape).map(|c| c.name.as_str().into()).collect() }
        }
    };
    let table = TablePlan { columns, key, fields: row.len(), deletes_need_row, shape };
    Ok(Plan { target: Target::Table(table), key: key_plan, value })
}

fn key_columns(shape: &TableShape) -> impl Iterator<Item = &Column> {
    shape.key.iter().filter_map(|index| shape.columns.get(*index))
}

fn untyped(name: &str) -> Field {
    let ty = FieldType {
        wire: Wire::Untyped,
        semantic: Semantic::None,
        optional: true,
        source_column: None,
    };
    Field { name: name.to_owned(), ty }
}

struct Compiler<'a> {
    schema: &'a RecordSchema,
    shape: &'a TableShape,
    overrides: &'a config::Table,
    gone: &'a BTreeSet<String>,
    mismatches: Vec<Mismatch>,
}

impl Compiler<'_> {
    /// The row's fields; without a schema the table's own columns, generated ones too: they are read and left out.
    fn row_fields(&self) -> Vec<Field> {
        match self.schema.value_walk {
            ValueWalk::Untyped => {
                let columns = self.shape.columns.iter().map(|c| c.name.as_str());
                let generated = self.shape.generated.iter().map(String::as_str);
                columns.chain(generated).map(untyped).collect()
            }
            _ => self.schema.row.clone(),
        }
    }

    fn missing_columns(&mut self, row: &[Field]) {
        let shape = self.shape;
        for field in row.iter().filter(|f| !shape.knows(&f.name)) {
            self.mismatches.push(match propose::sql_type(field, self.overrides) {
                Some(sql_type) => Mismatch::ColumnMissing(propose::column(field, sql_type, None)),
                None => Mismatch::TypeMismatch {
                    column: field.name.clone(),
                    reason: format!(
                        "column \"{}\" is missing, and {:?} has no natural type",
                        field.name, field.ty.semantic
                    ),
                    wanted_sql_type: None,
                },
            });
        }
        if matches!(self.schema.value_walk, ValueWalk::Untyped) {
            for (name, sql_type) in
                self.overrides.column_types.iter().filter(|(n, _)| !shape.knows(n))
            {
                self.mismatches.push(Mismatch::ColumnMissing(propose::column(
                    &untyped(name),
                    sql_type.clone(),
                    None,
                )));
            }
        }
    }

    fn key(&mut self, row: &[Field]) -> Vec<KeySource> {
        let record: Vec<Field> = match self.schema.key_walk {
            KeyWalk::Untyped => key_columns(self.shape).map(|c| untyped(&c.name)).collect(),
            KeyWalk::None | KeyWalk::Avro(..) | KeyWalk::Json => self.schema.key.clone(),
        };
        let table: Vec<&str> = key_columns(self.shape).map(|c| c.name.as_str()).collect();
        if table.is_empty() {
            self.mismatches
                .push(Mismatch::KeyMismatch(format!("{} has no primary key", self.shape.table)));
            return Vec::new();
        }
        let wanted: Option<Vec<&str>> = match &self.overrides.key {
            Some(key) => Some(key.iter().map(String::as_str).collect()),
            // A record without a key is judged when it comes: a truncate needs none.
            None if matches!(self.schema.key_walk, KeyWalk::None) => None,
            None if is_bare(&record) && table.len() == 1 => None,
            None => Some(record.iter().map(|f| f.name.as_str()).collect()),
        };
        if let Some(wanted) = wanted
            && !same_names(&wanted, &table)
        {
            self.mismatches.push(Mismatch::KeyMismatch(format!(
                "the record key is ({}), the primary key of {} is ({})",
                wanted.join(", "),
                self.shape.table,
                table.join(", ")
            )));
            return Vec::new();
        }
        let nodes = match &self.schema.key_walk {
            KeyWalk::Avro(_, nodes) => nodes.as_slice(),
            _ => &[],
        };
        let mut sources = Vec::with_capacity(table.len());
        for column in key_columns(self.shape) {
            let named = |f: &Field| f.name == column.name || (is_bare(&record) && table.len() == 1);
            let from_record = record
                .iter()
                .position(named)
                .and_then(|slot| self.reading(slot, record.get(slot)?, nodes, column))
                .map(Reading::of_key);
            let from_row = match &self.overrides.key {
                Some(_) => row
                    .iter()
                    .position(|f| f.name == column.name)
                    .and_then(|slot| self.row_reading(slot, row, column))
                    .map(Reading::of_key),
                None => None,
            };
            // One that is there and does not fit is a mismatch of its own already.
            let in_row = self.overrides.key.is_some() && row.iter().any(|f| f.name == column.name);
            let known = record.iter().any(named) || in_row;
            if !known && !matches!(self.schema.key_walk, KeyWalk::None) {
                let text = format!(
                    "key column {} of {} is in neither key nor row of the record",
                    column.name, self.shape.table
                );
                self.mismatches.push(Mismatch::KeyMismatch(text));
            }
            sources.push(KeySource { record: from_record, row: from_row });
        }
        sources
    }

    fn column(&mut self, index: usize, row: &[Field]) -> Source {
        if let Some(place) = self.shape.key.iter().position(|key| *key == index) {
            return Source::Key(place);
        }
        let Some(column) = self.shape.columns.get(index) else { return Source::Absent };
        match row.iter().position(|f| f.name == column.name) {
            Some(slot) => self.row_reading(slot, row, column).map_or(Source::Absent, Source::Row),
            None if self.gone.contains(&column.name) => {
                if column.not_null {
                    self.mismatches.push(Mismatch::GoneNotNull { column: column.name.clone() });
                }
                Source::Gone
            }
            None => Source::Absent,
        }
    }

    fn row_reading(&mut self, slot: usize, row: &[Field], column: &Column) -> Option<Reading> {
        let nodes = match &self.schema.value_walk {
            ValueWalk::Avro(walk) => walk.nodes.as_slice(),
            _ => &[],
        };
        self.reading(slot, row.get(slot)?, nodes, column)
    }

    fn reading(
        &mut self,
        slot: usize,
        field: &Field,
        nodes: &[Node],
        column: &Column,
    ) -> Option<Reading> {
        let nested = nodes
            .get(slot)
            .map_or_else(|| Nested::Json(field.ty.wire.clone()), |node| Nested::Avro(node.clone()));
        let resolved = Conversion::resolve(&field.ty, column, self.overrides);
        let wanted = natural_type(&field.ty);
        // What the configuration names is wanted as it is.
        let configured = self.overrides.column_types.contains_key(&column.name);
        if (resolved.is_err() || self.announces_more(&field.ty))
            && !configured
            && let Some(wanted) = &wanted
            && let Some(to) = widened(&column.ty.sql, wanted)
        {
            let from = column.ty.sql.clone();
            self.mismatch(Mismatch::Widening { column: column.name.clone(), from, to });
            return None;
        }
        match resolved {
            Ok(conversion) => Some(Reading { slot, conversion, nested }),
            Err(reason) => {
                self.mismatch(Mismatch::TypeMismatch {
                    column: column.name.clone(),
                    reason,
                    wanted_sql_type: wanted,
                });
                None
            }
        }
    }

    /// Whether the schema says more than the wire type about what may come: a length, or digits of a second. Without it a
    /// narrower column is the user's choice, and each value is checked.
    fn announces_more(&self, field: &FieldType) -> bool {
        match field.semantic {
            Semantic::None => field.wire == Wire::String && field.source_column.is_some(),
            Semantic::MicroTime => {
                self.overrides.time_precision_mode == config::TimePrecisionMode::Adaptive
            }
            _ => false,
        }
    }

    /// Adds a mismatch; a key column may be read from the key and from the row.
    fn mismatch(&mut self, mismatch: Mismatch) {
        if !self.mismatches.contains(&mismatch) {
            self.mismatches.push(mismatch);
        }
    }
}

fn is_bare(key: &[Field]) -> bool {
    matches!(key, [only] if only.name.is_empty())
}

fn same_names(a: &[&str], b: &[&str]) -> bool {
    a.len() == b.len() && a.iter().all(|name| b.contains(name))
}
