//! Compares the fields of a record schema with the columns of a table, one by one.

use super::append::{self, Place};
use super::propose;
use super::widening::widened;
use super::{KeySource, Known, Mismatch, Nested, Reading, Source, column_of};
use crate::config::{self, BigintUnsignedHandlingMode};
use crate::decode::avro::Node;
use crate::decode::convert::{Conversion, arrives_as_null, natural_type};
use crate::decode::plan::RecordSchema;
use crate::decode::schema::describe::{KeyWalk, ValueWalk};
use crate::decode::schema::{Field, FieldType, Semantic, Wire};
use crate::table::{Column, TableShape};

pub(super) fn key_columns(shape: &TableShape) -> impl Iterator<Item = &Column> {
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

pub(super) struct Compiler<'a> {
    pub(super) schema: &'a RecordSchema,
    pub(super) shape: &'a TableShape,
    pub(super) overrides: &'a config::Table,
    pub(super) known: &'a Known,
    pub(super) mismatches: Vec<Mismatch>,
}

impl Compiler<'_> {
    /// The row's fields; without a schema the table's own columns, generated ones too: they are read and left out.
    pub(super) fn row_fields(&self) -> Vec<Field> {
        match self.schema.value_walk {
            ValueWalk::Untyped => {
                let is_data = |c: &&Column| !self.overrides.append || Place::of(&c.name).is_none();
                let columns = self.shape.columns.iter().filter(is_data).map(|c| c.name.as_str());
                let generated = self.shape.generated.iter().map(String::as_str);
                columns.chain(generated).map(untyped).collect()
            }
            _ => self.schema.row.clone(),
        }
    }

    fn home<'f>(&self, field: &'f Field) -> &'f str {
        column_of(self.shape, field)
    }

    /// The key of an append table. The record key's fields are columns like any other.
    pub(super) fn append(&mut self, row: &[Field]) -> Vec<Place> {
        let in_row = |field: &&Field| !row.iter().any(|f| f.name == field.name);
        let only_in_key: Vec<Field> = match self.schema.key_walk {
            KeyWalk::None | KeyWalk::Untyped => Vec::new(),
            _ if is_bare(&self.schema.key) => Vec::new(),
            KeyWalk::Avro(..) | KeyWalk::Json => {
                self.schema.key.iter().filter(in_row).cloned().collect()
            }
        };
        self.missing_columns(&only_in_key);
        append::key(self.shape).unwrap_or_else(|mismatches| {
            self.mismatches.extend(mismatches);
            Vec::new()
        })
    }

    pub(super) fn missing_columns(&mut self, row: &[Field]) {
        let shape = self.shape;
        let homeless = |f: &&Field| !shape.knows(self.home(f));
        let homeless: Vec<&Field> = row.iter().filter(homeless).collect();
        for field in homeless {
            self.mismatches.push(match propose::sql_type(field, self.overrides) {
                Some(sql_type) => Mismatch::ColumnMissing(propose::column(field, sql_type, None)),
                None => Mismatch::TypeMismatch {
                    column: field.name.clone(),
                    reason: match propose::why_none(field) {
                        Some(why) => format!("column \"{}\" is missing, and {why}", field.name),
                        None => format!(
                            "column \"{}\" is missing, and {:?} has no natural type",
                            field.name, field.ty.semantic
                        ),
                    },
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

    pub(super) fn key(&mut self, row: &[Field]) -> Vec<KeySource> {
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
            None => Some(record.iter().map(|f| self.home(f)).collect()),
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
            let named =
                |f: &Field| self.home(f) == column.name || (is_bare(&record) && table.len() == 1);
            let in_record = record.iter().position(named);
            let in_row = match &self.overrides.key {
                Some(_) => row.iter().position(|f| self.home(f) == column.name),
                None => None,
            };
            let from_record = in_record
                .and_then(|slot| self.reading(slot, record.get(slot)?, nodes, column))
                .map(Reading::of_key);
            let from_row =
                in_row.and_then(|slot| self.row_reading(slot, row, column)).map(Reading::of_key);
            // One that is there and does not fit is a mismatch of its own already.
            let known = in_record.is_some() || in_row.is_some();
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

    pub(super) fn column(&mut self, index: usize, row: &[Field]) -> Source {
        let Some(column) = self.shape.columns.get(index) else { return Source::Absent };
        if self.overrides.append {
            if let Some(place) = Place::of(&column.name) {
                return Source::Place(place);
            }
        } else if let Some(place) = self.shape.key.iter().position(|key| *key == index) {
            return Source::Key(place);
        }
        match row.iter().position(|f| self.home(f) == column.name) {
            Some(slot) => self.row_reading(slot, row, column).map_or(Source::Absent, Source::Row),
            None if self.overrides.append => self.record_key(column),
            None if self.known.gone.contains(&column.name) => Source::Gone,
            None => Source::Absent,
        }
    }

    fn record_key(&mut self, column: &Column) -> Source {
        let schema = self.schema;
        let nodes = match &schema.key_walk {
            KeyWalk::Avro(_, nodes) => nodes.as_slice(),
            _ => &[],
        };
        let slot = schema.key.iter().position(|f| self.home(f) == column.name);
        slot.and_then(|slot| self.reading(slot, schema.key.get(slot)?, nodes, column))
            .map_or(Source::Absent, Source::RecordKey)
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
            Ok(conversion) => {
                let unsigned = self.is_unsigned(&field.ty, column);
                let labels = match field.ty.semantic {
                    Semantic::Enum => self.known.labels.get(&column.name).cloned(),
                    _ => None,
                };
                Some(Reading { slot, conversion, nested, unsigned, labels })
            }
            Err(reason) => {
                self.mismatch(Mismatch::TypeMismatch {
                    column: column.name.clone(),
                    reason,
                    // Another type would not bring the values back.
                    wanted_sql_type: wanted
                        .filter(|_| arrives_as_null(&field.ty, &column.ty).is_none()),
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

impl Compiler<'_> {
    /// `bigint unsigned` under the connector's mode `long`: the wire holds the same 64 bits as a signed number. No schema
    /// tells it, so the column has to: a signed one would never be numeric.
    fn is_unsigned(&self, field: &FieldType, column: &Column) -> bool {
        const NUMERIC: u32 = 1700;
        self.overrides.bigint_unsigned_handling_mode == BigintUnsignedHandlingMode::Long
            && matches!(field.wire, Wire::Int64 | Wire::Untyped)
            && field.semantic == Semantic::None
            && column.ty.base_oid == NUMERIC
            && column.ty.sql.starts_with("numeric(20")
    }
}

fn is_bare(key: &[Field]) -> bool {
    matches!(key, [only] if only.name.is_empty())
}

fn same_names(a: &[&str], b: &[&str]) -> bool {
    a.len() == b.len() && a.iter().all(|name| b.contains(name))
}
