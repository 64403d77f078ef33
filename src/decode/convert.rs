//! Slot -> PostgreSQL binary field.

use super::schema::{FieldType, Semantic, Wire};
use super::slot::{NestedReader, Scratch, Slot};
use crate::config;
use crate::fault::{Code, Fault};
use crate::table::{Column, ColumnType};

/// How a column is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// In its own type.
    Native,
    /// As text that the server casts.
    Text,
}

/// How a column of this type is staged.
#[must_use]
pub fn staging(_: &ColumnType) -> Staging {
    Staging::Native
}

/// The PostgreSQL type that holds a field.
#[must_use]
pub fn natural_type(field: &FieldType) -> Option<String> {
    Some(
        match (&field.semantic, &field.wire) {
            (Semantic::Date, _) => "date",
            (_, Wire::Boolean) => "boolean",
            (_, Wire::Int8 | Wire::Int16) => "smallint",
            (_, Wire::Int32) => "integer",
            (_, Wire::Int64) => "bigint",
            (_, Wire::Float32) => "real",
            (_, Wire::Float64) => "double precision",
            (_, Wire::String) => "text",
            (_, Wire::Bytes) => "bytea",
            (_, Wire::Untyped) => return None,
            _ => "jsonb",
        }
        .to_owned(),
    )
}

/// A field's way into a column.
#[derive(Clone, Debug)]
pub struct Conversion {
    width: usize,
    placeholder: String,
}

impl Conversion {
    /// Finds the way.
    ///
    /// # Errors
    /// Why there is none.
    pub fn resolve(_: &FieldType, column: &Column, modes: &config::Table) -> Result<Self, String> {
        let width = match column.ty.sql.as_str() {
            "smallint" => 2,
            "integer" => 4,
            _ => 8,
        };
        Ok(Self { width, placeholder: modes.unavailable_value_placeholder.clone() })
    }

    /// Whether the slot is the placeholder of an unchanged value.
    #[must_use]
    pub fn is_unavailable(&self, slot: &Slot<'_>, _: &dyn NestedReader, scratch: &Scratch) -> bool {
        *slot == Slot::Unavailable || scratch.text(slot) == Some(self.placeholder.as_str())
    }

    /// Appends length and bytes.
    ///
    /// # Errors
    /// Poison when the value does not fit.
    pub fn encode(&self, slot: &Slot<'_>, _: &dyn NestedReader, scratch: &Scratch, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut field = |bytes: &[u8]| -> Result<(), Fault> {
            let length = i32::try_from(bytes.len()).map_err(|_| Fault::poison(Code::ValueOutOfRange, "encode column"))?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
            Ok(())
        };
        match slot {
            Slot::Absent | Slot::Unavailable | Slot::Null => {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                Ok(())
            }
            Slot::Bool(b) => field(&[u8::from(*b)]),
            Slot::Int(n) => field(n.to_be_bytes().get(8 - self.width..).unwrap_or_default()),
            Slot::Unsigned(n) => field(&n.to_be_bytes()),
            Slot::Float(n) => field(&n.to_be_bytes()),
            Slot::Double(n) => field(&n.to_be_bytes()),
            Slot::Text(_) | Slot::Unescaped { .. } => field(scratch.text(slot).unwrap_or_default().as_bytes()),
            Slot::Bytes(b) | Slot::Nested(b) => field(b),
            Slot::Number(n) => field(n.as_bytes()),
        }
    }
}
