//! Any value of any semantic type for any column: it is refused, or becomes exactly one field that its column can take.

use super::shapes;
use serde_json::value::RawValue;
use silversink::config::{BinaryHandlingMode, DecimalHandlingMode, Table, TimePrecisionMode};
use silversink::decode::convert::{Conversion, Staging, natural_type, staging};
use silversink::decode::json::scan::{self, Scanner};
use silversink::decode::schema::{Field, FieldType, Semantic, Wire};
use silversink::decode::slot::{Scratch, Slot};
use silversink::fault::Class;
use silversink::table::Column;

/// The columns that a field is brought into, beside its natural one.
const COLUMNS: [&str; 44] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "oid",
    "real",
    "double precision",
    "numeric",
    "numeric(10,2)",
    "numeric(5,-2)",
    "numeric(3,5)",
    "text",
    "varchar(5)",
    "char(5)",
    "name",
    "bytea",
    "date",
    "time",
    "time(3)",
    "timetz",
    "timestamp",
    "timestamp(3)",
    "timestamptz",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "bit(8)",
    "varbit",
    "\"char\"",
    "money",
    "point",
    "inet",
    "xml",
    "tsvector",
    "int4range",
    "hstore",
    "geometry",
    "vector",
    "text[]",
    "integer[]",
    "numeric[]",
    "bytea[]",
    "timestamptz[]",
];

pub fn check(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<6>() else { return };
    let [wire, semantic, scale, column, modes, slot] = *head;
    let field = FieldType {
        wire: wire_of(wire),
        semantic: semantic_of(semantic, scale),
        optional: true,
        source_column: None,
    };
    let sql = match COLUMNS.get(usize::from(column)) {
        Some(sql) => (*sql).to_owned(),
        None => match natural_type(&field) {
            Some(sql) => sql,
            None => return,
        },
    };
    let column = Column {
        name: "c".to_owned(),
        ty: shapes::column_type(&sql),
        not_null: false,
        generated: false,
        identity_always: false,
    };
    let Ok(conversion) = Conversion::resolve(&field, &column, &modes_of(modes)) else { return };
    let mut scratch = Scratch::default();
    let Some(slot) = slot_of(slot, rest, &mut scratch) else { return };
    let mut out = vec![7];
    let _: bool = conversion.is_unavailable(&slot, &field.wire, &scratch);
    match conversion.encode(&slot, &field.wire, &scratch, &mut out) {
        Ok(()) => {
            let out = out.strip_prefix(&[7]).expect("what was there before is left alone");
            shapes::assert_fields(out, 1);
            let null = out == [255; 4];
            assert_eq!(
                null,
                matches!(slot, Slot::Absent | Slot::Null | Slot::Unavailable),
                "NULL comes from NULL alone"
            );
            if staging(&column.ty) == Staging::Text && !null {
                let text = std::str::from_utf8(&out[4..]).expect("text is UTF-8");
                assert!(!text.contains('\0'), "PostgreSQL has no text with a zero byte");
            }
        }
        Err(fault) => assert_eq!(fault.class, Class::Poison),
    }
}

fn slot_of<'d>(kind: u8, data: &'d [u8], scratch: &mut Scratch) -> Option<Slot<'d>> {
    let eight = data.first_chunk::<8>().copied().unwrap_or_default();
    Some(match kind % 10 {
        0 => Slot::Int(i64::from_le_bytes(eight)),
        1 => Slot::Float(f32::from_bits(i64::from_le_bytes(eight) as u32)),
        2 => Slot::Double(f64::from_le_bytes(eight)),
        3 => Slot::Text(std::str::from_utf8(data).ok()?),
        4 => Slot::Bytes(data),
        5 => Slot::Bool(data.first()? & 1 == 1),
        6 => Slot::Unsigned(u64::from_le_bytes(eight) | 1 << 63),
        7 => Slot::Null,
        // As JSON, which is how numbers, escaped texts and nested values arrive.
        _ => {
            let raw = raw(data);
            let expected = serde_json::from_slice::<&RawValue>(data).ok().map(RawValue::get);
            assert_eq!(raw, expected, "as serde_json reads it");
            Scanner::new(raw?).slot(scratch).ok()?
        }
    })
}

fn raw(data: &[u8]) -> Option<&str> {
    let mut scanner = Scanner::new(scan::text(data).ok()?);
    let raw = scanner.raw().ok()?;
    scanner.finish().ok().map(|()| raw)
}

fn of(wire: Wire) -> Box<FieldType> {
    Box::new(FieldType { wire, semantic: Semantic::None, optional: true, source_column: None })
}

fn wire_of(choice: u8) -> Wire {
    match choice % 16 {
        0 => Wire::Boolean,
        1 => Wire::Int8,
        2 => Wire::Int16,
        3 => Wire::Int32,
        4 => Wire::Int64,
        5 => Wire::Float32,
        6 => Wire::Float64,
        7 => Wire::Bytes,
        8 => Wire::String,
        9 => Wire::Array(of(Wire::String)),
        10 => Wire::Array(of(Wire::Int32)),
        11 => Wire::Array(of(Wire::Bytes)),
        12 => Wire::Map(of(Wire::String), of(Wire::String)),
        13 => Wire::Struct(vec![
            Field { name: "scale".to_owned(), ty: *of(Wire::Int32) },
            Field { name: "value".to_owned(), ty: *of(Wire::Bytes) },
        ]),
        14 => Wire::Struct(vec![
            Field { name: "x".to_owned(), ty: *of(Wire::Float64) },
            Field { name: "y".to_owned(), ty: *of(Wire::Float64) },
        ]),
        _ => Wire::Untyped,
    }
}

fn semantic_of(choice: u8, scale: u8) -> Semantic {
    let geometry = |name: &str| Semantic::Other(format!("io.debezium.data.geometry.{name}"));
    match choice % 32 {
        0 => Semantic::Date,
        1 => Semantic::Time,
        2 => Semantic::MicroTime,
        3 => Semantic::NanoTime,
        4 => Semantic::Timestamp,
        5 => Semantic::MicroTimestamp,
        6 => Semantic::NanoTimestamp,
        7 => Semantic::ZonedTimestamp,
        8 => Semantic::ZonedTime,
        9 => Semantic::IsoDate,
        10 => Semantic::IsoTime,
        11 => Semantic::IsoTimestamp,
        12 => Semantic::Year,
        13 => Semantic::Interval,
        14 => Semantic::MicroDuration,
        15 => Semantic::NanoDuration,
        16 => Semantic::Decimal { scale: i32::from(scale) - 60, precision: None },
        17 => Semantic::Decimal { scale: i32::from(scale) * 16, precision: Some(38) },
        18 => Semantic::VariableScaleDecimal,
        19 => Semantic::Bits { length: Some(u32::from(scale)) },
        20 => Semantic::Bits { length: None },
        21 => Semantic::Enum,
        22 => Semantic::EnumSet,
        23 => Semantic::Json,
        24 => Semantic::Xml,
        25 => Semantic::Uuid,
        26 => Semantic::Ltree,
        27 => Semantic::Tsvector,
        28 => geometry("Point"),
        29 => geometry("Geometry"),
        _ => Semantic::None,
    }
}

fn modes_of(choice: u8) -> Table {
    use BinaryHandlingMode as Binary;
    use TimePrecisionMode as Time;
    Table {
        binary_handling_mode: [Binary::Bytes, Binary::Base64, Binary::Base64UrlSafe, Binary::Hex]
            [usize::from(choice & 3)],
        decimal_handling_mode: [
            DecimalHandlingMode::Precise,
            DecimalHandlingMode::String,
            DecimalHandlingMode::Double,
            DecimalHandlingMode::Precise,
        ][usize::from(choice >> 2 & 3)],
        time_precision_mode: [
            Time::Adaptive,
            Time::AdaptiveTimeMicroseconds,
            Time::Connect,
            Time::Isostring,
            Time::Microseconds,
            Time::Nanoseconds,
        ][usize::from(choice >> 4) % 6],
        ..Table::default()
    }
}
