//! Chooses the text form of a field for a column that is staged as text, or says why there is none that loses nothing.

use super::bytea::Alphabet;
use super::cast::{Cast, Form, List};
use super::resolve::{Operation, Resolved, cannot_hold};
use super::shape::Shape;
use super::target::CastKind;
use super::vector::Width as Kept;
use crate::config::Table;
use crate::decode::schema::{FieldType, Semantic, Wire};

/// How a column of several values is written.
pub fn list_of(kind: CastKind) -> Option<List> {
    match kind {
        CastKind::Array
        | CastKind::OpaqueArray
        | CastKind::HstoreArray
        | CastKind::ShapeArray(_)
        | CastKind::GeometryArray => Some(List::Array),
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
        (wire @ Wire::String, Some(List::Array)) if field.semantic == Semantic::EnumSet => {
            (wire, &field.semantic, Some(List::Set))
        }
        (wire, list) => (wire, &field.semantic, list),
    };
    let form = match (wire, semantic, kind) {
        (Wire::Boolean, _, CastKind::Bit(1)) => Form::Bits(Some(1), Some(1)),
        (Wire::Boolean, _, CastKind::VarBit(limit)) => Form::Bits(Some(1), limit),
        (Wire::Bytes, Semantic::Bits { length }, CastKind::Bit(n))
            if length.is_none_or(|length| length <= n) =>
        {
            Form::Bits(Some(n), Some(n))
        }
        (Wire::Bytes, Semantic::Bits { .. }, CastKind::VarBit(limit)) => Form::Bits(None, limit),
        (Wire::Struct(_), Semantic::Point, CastKind::ShapeArray(shape @ Shape::Point)) => {
            Form::Shape(shape, Alphabet::Base64)
        }
        (_, Semantic::Bits { .. }, _) | (_, _, CastKind::Bit(_) | CastKind::VarBit(_)) => {
            return Err(cannot_hold(field));
        }
        (Wire::Bytes, Semantic::Decimal { scale, .. }, _) => Form::Decimal(*scale),
        (_, Semantic::VariableScaleDecimal, _) => Form::VariableScale,
        (Wire::Bytes, Semantic::None, _) => Form::TextBytes(Alphabet::Base64),
        (Wire::String, Semantic::None, CastKind::Opaque | CastKind::OpaqueArray) => {
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
            CastKind::Geometry | CastKind::GeometryArray,
        ) => Form::Geometry,
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
