//! The PostgreSQL type that a Debezium type lands in when a Silver table is created from the schema.

use crate::decode::convert::decimal::declared_scale;
use crate::decode::schema::{FieldType, Semantic, SourceColumn, Structured, Wire};

/// SQL type for a column that is created from this field, using the propagated source type where there is one
/// (`column.propagate.source.type`); `None` if there is no type that holds the field without help.
#[must_use]
pub fn natural_type(field: &FieldType) -> Option<String> {
    if let Wire::Array(element) = &field.wire {
        if matches!(element.wire, Wire::Array(_)) {
            return None;
        }
        return natural_type(element).map(|element| format!("{element}[]"));
    }
    // An array of bits, which arrives as NULL whatever it holds.
    if matches!(field.semantic, Semantic::Bits { .. })
        && field.source_column.as_ref().is_some_and(|source| source.ty.starts_with('_'))
    {
        return None;
    }
    if let Some(sql) = field.source_column.as_ref().and_then(|source| propagated(field, source)) {
        return Some(sql);
    }
    let sql = match &field.semantic {
        Semantic::Date | Semantic::IsoDate => "date",
        Semantic::Time => "time(3)",
        Semantic::MicroTime | Semantic::NanoTime | Semantic::IsoTime => "time",
        Semantic::Timestamp => "timestamp(3)",
        Semantic::MicroTimestamp | Semantic::NanoTimestamp | Semantic::IsoTimestamp => "timestamp",
        Semantic::ZonedTimestamp => "timestamptz",
        Semantic::ZonedTime => "timetz",
        Semantic::Year => "integer",
        Semantic::Interval | Semantic::MicroDuration | Semantic::NanoDuration => "interval",
        Semantic::Decimal { scale, precision } => return Some(decimal(*scale, *precision)),
        Semantic::VariableScaleDecimal => "numeric",
        Semantic::Bits { length } => return Some(bits(*length)),
        Semantic::Enum | Semantic::Ltree => "text",
        Semantic::EnumSet => "text[]",
        Semantic::Structured { kind, digits } => return Some(structured(*kind, *digits)),
        Semantic::Json => "jsonb",
        Semantic::Xml => "xml",
        Semantic::Uuid => "uuid",
        Semantic::Tsvector => "tsvector",
        Semantic::Point => "point",
        Semantic::Circle => "circle",
        Semantic::Line => "line",
        // EWKB, which PostGIS reads; pgvector's text, which it reads. Neither extension has to be there.
        Semantic::Geometry | Semantic::Geography => "bytea",
        Semantic::SparseVector => "text",
        Semantic::None | Semantic::Vector | Semantic::Other(_) => return plain(&field.wire),
    };
    Some(sql.to_owned())
}

fn structured(kind: Structured, digits: Option<u8>) -> String {
    let (name, zone) = match kind {
        Structured::Date => return "date".to_owned(),
        Structured::Duration => return "interval".to_owned(),
        Structured::Time => ("time", ""),
        Structured::Timestamp => ("timestamp", ""),
        Structured::ZonedTime => ("time", " with time zone"),
        Structured::ZonedTimestamp => ("timestamp", " with time zone"),
    };
    match digits {
        Some(digits @ 0..6) => format!("{name}({digits}){zone}"),
        _ => format!("{name}{zone}"),
    }
}

fn plain(wire: &Wire) -> Option<String> {
    let sql = match wire {
        Wire::Boolean => "boolean",
        Wire::Int8 | Wire::Int16 => "smallint",
        Wire::Int32 => "integer",
        Wire::Int64 => "bigint",
        Wire::Float32 => "real",
        Wire::Float64 => "double precision",
        Wire::String => "text",
        Wire::Bytes => "bytea",
        Wire::Map(key, value) if key.wire == Wire::String && value.wire == Wire::String => "jsonb",
        Wire::Map(..) | Wire::Array(_) | Wire::Struct(_) | Wire::Untyped => return None,
    };
    Some(sql.to_owned())
}

fn decimal(scale: i32, precision: Option<u32>) -> String {
    let scale = declared_scale(scale);
    match precision {
        Some(precision @ 1..=1000) if (-1000..=1000).contains(&scale) => {
            format!("numeric({precision},{scale})")
        }
        _ => "numeric".to_owned(),
    }
}

/// The longest bit string that PostgreSQL declares (`BITMAXLEN`); Debezium says `Integer.MAX_VALUE` for no limit.
const MOST_BITS: u32 = 83_886_080;

fn bits(length: Option<u32>) -> String {
    match length {
        Some(length @ 1..=MOST_BITS) => format!("bit({length})"),
        _ => "bit varying".to_owned(),
    }
}

/// Source types that say more than the wire does. Names are upper case.
fn propagated(field: &FieldType, source: &SourceColumn) -> Option<String> {
    let length = source.length.filter(|length| (1..=10_485_760).contains(length));
    if let Some((precision, scale)) = super::narrow::decimal(field, source) {
        return Some(precision.map_or("numeric".to_owned(), |p| format!("numeric({p},{scale})")));
    }
    let sql = match (&field.wire, &field.semantic, source.ty.as_str()) {
        (Wire::String, Semantic::None, ty) => match ty {
            "VARCHAR" | "NVARCHAR" | "VARCHAR2" | "NVARCHAR2" | "CHARACTER VARYING" | "CHAR"
            | "NCHAR" => {
                return length.map(|length| format!("varchar({length})"));
            }
            "BPCHAR" => return length.map(|length| format!("char({length})")),
            "INET" | "CIDR" | "MACADDR" | "MACADDR8" | "INT4RANGE" | "INT8RANGE" | "NUMRANGE"
            | "TSRANGE" | "TSTZRANGE" | "DATERANGE" => {
                return Some(ty.to_ascii_lowercase());
            }
            _ => return None,
        },
        (Wire::Int64, Semantic::None, "OID") => "oid",
        (Wire::Struct(_), Semantic::Geometry, "BOX" | "LSEG" | "PATH" | "POLYGON") => {
            return Some(source.ty.to_ascii_lowercase());
        }
        (Wire::Bytes, Semantic::Bits { .. }, "VARBIT") => {
            let limit = source.length.filter(|length| (1..=MOST_BITS).contains(length));
            return Some(limit.map_or("varbit".to_owned(), |limit| format!("varbit({limit})")));
        }
        _ => return None,
    };
    Some(sql.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(wire: Wire, semantic: Semantic) -> FieldType {
        FieldType { wire, semantic, optional: true, source_column: None }
    }

    #[test]
    fn each_debezium_type_has_its_natural_type() {
        for (wire, semantic, sql) in [
            (Wire::Int16, Semantic::None, Some("smallint")),
            (Wire::Int64, Semantic::MicroTimestamp, Some("timestamp")),
            (Wire::Int64, Semantic::Timestamp, Some("timestamp(3)")),
            (
                Wire::Bytes,
                Semantic::Decimal { scale: 2, precision: Some(10) },
                Some("numeric(10,2)"),
            ),
            (
                Wire::Bytes,
                Semantic::Decimal { scale: 2046, precision: Some(5) },
                Some("numeric(5,-2)"),
            ),
            (Wire::Bytes, Semantic::Decimal { scale: 2, precision: None }, Some("numeric")),
            (Wire::Bytes, Semantic::Bits { length: Some(8) }, Some("bit(8)")),
            (Wire::Bytes, Semantic::Bits { length: Some(2_147_483_647) }, Some("bit varying")),
            (Wire::String, Semantic::Json, Some("jsonb")),
            (Wire::Untyped, Semantic::None, None),
            (Wire::Struct(vec![]), Semantic::None, None),
        ] {
            assert_eq!(
                natural_type(&field(wire.clone(), semantic.clone())).as_deref(),
                sql,
                "{wire:?} {semantic:?}"
            );
        }
        let uuids =
            field(Wire::Array(Box::new(field(Wire::String, Semantic::Uuid))), Semantic::None);
        assert_eq!(natural_type(&uuids).as_deref(), Some("uuid[]"));
    }

    #[test]
    fn propagated_source_types_sharpen_the_type() {
        let with = |ty: &str, length| FieldType {
            source_column: Some(SourceColumn { ty: ty.into(), length, scale: None, name: None }),
            ..field(Wire::String, Semantic::None)
        };
        assert_eq!(natural_type(&with("VARCHAR", Some(120))).as_deref(), Some("varchar(120)"));
        assert_eq!(natural_type(&with("VARCHAR", Some(2_147_483_647))).as_deref(), Some("text"));
        assert_eq!(natural_type(&with("INET", None)).as_deref(), Some("inet"));
        assert_eq!(natural_type(&with("TEXT", None)).as_deref(), Some("text"));
    }
}
