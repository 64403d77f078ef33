//! Columns whose unchanged value arrives as NULL: their types have no placeholder for what PostgreSQL keeps out of line.
//!
//! Source: Debezium's PostgreSQL connector documentation, "Toasted values", and captures (`testdata/debezium/toast`). What a
//! record schema does not tell is left out: numbers and bytes that the connector writes as text.

use super::Source;
use crate::decode::schema::{Field, FieldType, Semantic, Wire};
use crate::table::{Column, ColumnType, TableShape};

/// `pg_type.oid` of types that are stored out of line and have no placeholder: path, polygon, bit, varbit.
const SHAPES: [u32; 4] = [602, 604, 1560, 1562];
/// Of numeric, which may be huge only without a precision.
const NUMERIC: u32 = 1700;
/// Of the elements whose arrays have a placeholder: bytea, int8, int4, text, json, bpchar, varchar, date, uuid, jsonb.
const WITH_PLACEHOLDER: [u32; 10] = [17, 20, 23, 25, 114, 1042, 1043, 1082, 2950, 3802];

/// Slots and names of those columns.
pub(super) fn of(columns: &[Source], row: &[Field], shape: &TableShape) -> Vec<(usize, String)> {
    let of = |(source, column): (&Source, &Column)| {
        let Source::Row(reading) = source else { return None };
        let field = row.get(reading.slot)?;
        is_null_shaped(&field.ty, &column.ty).then(|| (reading.slot, column.name.clone()))
    };
    columns.iter().zip(&shape.columns).filter_map(of).collect()
}

/// Whether a NULL of this field may stand for an unchanged value.
fn is_null_shaped(field: &FieldType, column: &ColumnType) -> bool {
    match (&field.wire, &field.semantic) {
        (_, Semantic::VariableScaleDecimal | Semantic::Bits { .. }) => true,
        (_, Semantic::Geometry | Semantic::Geography) => true,
        (Wire::Array(element), Semantic::None) => !matches!(
            (&element.wire, &element.semantic),
            (Wire::String, Semantic::None | Semantic::Json | Semantic::Uuid)
                | (Wire::Bytes | Wire::Int64, Semantic::None)
                | (Wire::Int32, Semantic::None | Semantic::Date)
        ),
        (Wire::Untyped, _) if column.element_oid != 0 => {
            !WITH_PLACEHOLDER.contains(&column.element_oid)
        }
        (Wire::Untyped, _) => {
            SHAPES.contains(&column.base_oid) || column.base_oid == NUMERIC && column.typmod == -1
        }
        _ => false,
    }
}
