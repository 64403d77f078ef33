//! Chooses the text form of a field for a column that is staged as text, or says why there is none that loses nothing.

use super::bytea::Alphabet;
use super::cast::{Cast, Form, List};
use super::resolve::{Operation, Resolved, cannot_hold};
use super::shape::Shape;
use super::target::{CastKind, Target};
use super::vector::Width as Kept;
use crate::config::Table;
use crate::decode::schema::{FieldType, Semantic, Wire};
use crate::table::ColumnType;

/// How a column of several values is written.
pub fn list_of(kind: CastKind) -> Option<List> {
    match kind {
        CastKind::Array
        | CastKind::BitArray
        | CastKind::MoneyArray
        | CastKind::UserArray
        | CastKind::OpaqueArray
        | CastKind::HstoreArray => Some(List::Array(b',')),
        // Commas stand inside a box and in the texts of geometries.
        CastKind::ShapeArray(Shape::Box) => Some(List::Array(b';')),
        CastKind::ShapeArray(_) => Some(List::Array(b',')),
        CastKind::GeometryArray { .. } => Some(List::Array(b':')),
        CastKind::Vector { half: true } => Some(List::Vector(Kept::Half)),
        CastKind::Vector { half: false } => Some(List::Vector(Kept::Single)),
        _ => None,
    }
}

/// The operation for a field and a column that is staged as text.
pub fn cast_from(field: &FieldType, kind: CastKind, modes: &Table) -> Resolved {
    let list = list_of(kind);
    let (wire, semantic, list) = match (&field.wire, list) {
        (Wire::Array(element), Some(list)) => (&element.wire, &element.semantic, Some(list)),
        (Wire::Array(_), None) => return Err(cannot_hold(field)),
        (wire @ Wire::String, Some(List::Array(_))) if field.semantic == Semantic::EnumSet => {
            (wire, &field.semantic, Some(List::Set))
        }
        (wire, list) => (wire, &field.semantic, list),
    };
    // Each element is what a column of its own would be.
    let kind = if kind == CastKind::MoneyArray { CastKind::Money } else { kind };
    let form = match (wire, semantic, kind) {
        (Wire::Boolean, _, CastKind::Bit(1)) => Form::Bits(Some(1), Some(1)),
        (Wire::Boolean, _, CastKind::VarBit(limit)) => Form::Bits(Some(1), limit),
        (Wire::Bytes, Semantic::Bits { length }, CastKind::Bit(n))
            // Bits have no place value: a longer column would need to know on which side to fill up.
            if length.is_none_or(|length| length == n) && !is_varying(field) =>
        {
            Form::Bits(Some(n), Some(n))
        }
        // Of bit(n) every bit is known, of bit varying only those from the highest that is set.
        (Wire::Bytes, Semantic::Bits { length }, CastKind::VarBit(limit)) => {
            let fixed = field.source_column.as_ref().is_some_and(|source| source.ty == "BIT");
            Form::Bits(length.filter(|_| fixed), limit)
        }
        (Wire::Bytes, Semantic::Decimal { scale, .. }, CastKind::Money) if *scale > 2 => {
            return Err(cannot_hold(field));
        }
        (Wire::Bytes, Semantic::Decimal { scale, .. }, CastKind::Money) => {
            Form::Money(Some(*scale))
        }
        (
            Wire::String | Wire::Float64,
            Semantic::None,
            CastKind::Money,
        )
        | (_, Semantic::VariableScaleDecimal, CastKind::Money) => Form::Money(None),
        (Wire::Struct(_), Semantic::Point, CastKind::ShapeArray(shape @ Shape::Point)) => {
            Form::Shape(shape, Alphabet::Base64)
        }
        // NULL, and nothing else: who accepts that has named the column's type.
        (Wire::Bytes, Semantic::Bits { .. }, CastKind::BitArray) => Form::Plain,
        (_, Semantic::Bits { .. }, _) | (_, _, CastKind::Bit(_) | CastKind::VarBit(_)) => {
            return Err(cannot_hold(field));
        }
        (Wire::Bytes, Semantic::Decimal { scale, .. }, _) => Form::Decimal(*scale),
        (_, Semantic::VariableScaleDecimal, _) => Form::VariableScale,
        (Wire::Bytes, Semantic::None, _) => Form::TextBytes(Alphabet::Base64),
        (Wire::String, Semantic::None, CastKind::Opaque | CastKind::OpaqueArray | CastKind::UserArray | CastKind::ShapeArray(_)) => {
            match Alphabet::of_text(modes.binary_handling_mode) {
                Some(alphabet) => Form::TextBytes(alphabet),
                None => Form::Plain,
            }
        }
        (Wire::String | Wire::Map(..), _, CastKind::Hstore | CastKind::HstoreArray) => Form::Hstore,
        (Wire::String, _, CastKind::Char) => Form::Char,
        (Wire::Struct(_), Semantic::Point, CastKind::Shape(shape @ Shape::Point))
        | (Wire::Struct(_), Semantic::Circle, CastKind::Shape(shape @ Shape::Circle))
        | (Wire::Struct(_), Semantic::Line, CastKind::Shape(shape @ Shape::Line))
        | (
            Wire::Struct(_),
            Semantic::Geometry,
            CastKind::Shape(shape @ (Shape::Lseg | Shape::Path | Shape::Box | Shape::Polygon)),
        ) => Form::Shape(shape, Alphabet::Base64),
        (Wire::String, Semantic::None, CastKind::Shape(shape)) => {
            match Alphabet::of_text(modes.binary_handling_mode) {
                Some(alphabet) => Form::Shape(shape, alphabet),
                None => Form::Plain,
            }
        }
        (
            Wire::Struct(_),
            Semantic::Geometry | Semantic::Geography | Semantic::Point,
            CastKind::Geometry { geodetic } | CastKind::GeometryArray { geodetic },
        ) => Form::Geometry { geodetic },
        (Wire::Struct(_), Semantic::SparseVector, CastKind::Sparse) => Form::Sparse(Kept::Single),
        (Wire::Struct(_) | Wire::Map(..) | Wire::Array(_) | Wire::Bytes | Wire::Untyped, _, _) => {
            return Err(cannot_hold(field));
        }
        // A count has to be told from a number: text of it means nothing to a cast.
        (Wire::Int32 | Wire::Int64, semantic, _)
            if !matches!(semantic, Semantic::None | Semantic::Year | Semantic::Other(_)) =>
        {
            return Err(cannot_hold(field));
        }
        _ => Form::Plain,
    };
    Ok(Operation::Cast(Cast { form, list }))
}

/// `bit varying` at the source, as far as the schema tells: its values are no `bit(n)`, whose zeros all count.
fn is_varying(field: &FieldType) -> bool {
    field.source_column.as_ref().is_some_and(|source| source.ty == "VARBIT")
}

/// Why every value of this field arrives as NULL: the PostgreSQL connector describes an array of bits as the bits of one
/// element, and reads none. Without a propagated source type the column tells, which is an array; `None` for all else.
pub fn arrives_as_null(field: &FieldType, column: &ColumnType) -> Option<String> {
    let of_bits = matches!(field.semantic, Semantic::Bits { .. });
    let told =
        of_bits && field.source_column.as_ref().is_some_and(|source| source.ty.starts_with('_'));
    let shown = Target::of(column) == Target::Cast(CastKind::BitArray)
        && (of_bits || field.wire == Wire::Untyped);
    (told || shown).then(|| NO_ARRAYS_OF_BITS.to_owned())
}

/// What is to be done about arrays of bits.
pub const NO_ARRAYS_OF_BITS: &str = "the PostgreSQL connector cannot read arrays of bits and sends NULL for each; leave \
     the column out at the source (column.exclude.list), keep it there in another type (text), or accept NULL by naming \
     the column's type in this table's configuration (columns.NAME.type)";
