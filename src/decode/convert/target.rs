//! A column's type as far as a conversion has to know it.

use super::shape::Shape;
use crate::table::ColumnType;

/// How a column is staged: natively in its own type, or as text that the MERGE casts to the column's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Staging {
    /// Binary form of the type itself (for a domain of its base type).
    Native,
    /// The value's text form.
    Text,
}

/// How columns of this type are staged: a pure function of the type, because staging tables belong to a table and not
/// to a schema version.
#[must_use]
pub fn staging(ty: &ColumnType) -> Staging {
    match Target::of(ty) {
        Target::Cast(_) => Staging::Text,
        _ => Staging::Native,
    }
}

/// Limits of `numeric(p,s)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Total digits.
    pub precision: i32,
    /// Digits after the point; may be negative or above the precision.
    pub scale: i32,
}

/// A type that is staged as text, by what its text form needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CastKind {
    /// `bit(n)`.
    Bit(u32),
    /// `bit varying`, with its limit.
    VarBit(Option<u32>),
    /// The one-byte type `"char"`.
    Char,
    /// An array whose elements have no native form here.
    Array,
    /// `hstore`.
    Hstore,
    /// An array of bit strings: the PostgreSQL connector reads none of them and sends NULL.
    BitArray,
    /// An array of an enum, which Debezium knows, or of another base type that was created by a user, which it may not know.
    UserArray,
    /// An array of a domain or composite, whose texts Debezium sends as it sends bytes.
    OpaqueArray,
    /// `hstore[]`.
    HstoreArray,
    /// `geometry[]` and `geography[]`.
    GeometryArray {
        /// `geography[]`.
        geodetic: bool,
    },
    /// `money`.
    Money,
    /// `money[]`.
    MoneyArray,
    /// PostgreSQL's own geometric types.
    Shape(Shape),
    /// Arrays of them.
    ShapeArray(Shape),
    /// PostGIS.
    Geometry {
        /// `geography`: degrees of longitude and latitude.
        geodetic: bool,
    },
    /// pgvector's `vector` and `halfvec`.
    Vector {
        /// `halfvec`: 16 bits each.
        half: bool,
    },
    /// pgvector's `sparsevec`.
    Sparse,
    /// A type that Debezium does not know: it sends PostgreSQL's text as bytes (`include.unknown.datatypes`).
    Opaque,
    /// Any other.
    Other,
}

/// What a column wants, by PostgreSQL's names; a domain wants what its base type wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric(Option<Limit>),
    Text,
    Varchar(u32),
    Bpchar(u32),
    Name,
    Bytea,
    Date,
    /// Digits of the fraction.
    Time(u8),
    TimeTz(u8),
    Timestamp(u8),
    TimestampTz(u8),
    /// Digits of the fraction; `None` when the declared fields are restricted (`interval year to month`).
    Interval(Option<u8>),
    Uuid,
    Json,
    Jsonb,
    Enum,
    Array {
        element: Box<Target>,
        oid: u32,
    },
    Cast(CastKind),
}

impl Target {
    pub fn of(ty: &ColumnType) -> Self {
        if ty.typtype == 'e' {
            return Self::Enum;
        }
        if let Some(scalar) = Self::scalar(ty.base_oid, ty.typmod) {
            return scalar;
        }
        if ty.element_oid != 0 {
            return match Self::scalar(ty.element_oid, ty.typmod) {
                Some(element) => Self::Array { element: Box::new(element), oid: ty.element_oid },
                None => Self::Cast(array_kind(ty)),
            };
        }
        Self::Cast(cast_kind(ty))
    }

    /// Types with a binary form, by the oid in `pg_type.dat`.
    fn scalar(oid: u32, typmod: i32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            19 => Self::Name,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            25 => Self::Text,
            26 => Self::Oid,
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1042 => characters(typmod).map_or(Self::Text, Self::Bpchar),
            1043 => characters(typmod).map_or(Self::Text, Self::Varchar),
            1082 => Self::Date,
            1083 => Self::Time(fraction(typmod)),
            1114 => Self::Timestamp(fraction(typmod)),
            1184 => Self::TimestampTz(fraction(typmod)),
            1186 => Self::Interval(interval(typmod)),
            1266 => Self::TimeTz(fraction(typmod)),
            1700 => Self::Numeric(numeric(typmod)),
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }
}

/// PostgreSQL's own geometric types, by the oid in `pg_type.dat`.
fn shape(oid: u32) -> Option<Shape> {
    Some(match oid {
        600 => Shape::Point,
        601 => Shape::Lseg,
        602 => Shape::Path,
        603 => Shape::Box,
        604 => Shape::Polygon,
        628 => Shape::Line,
        718 => Shape::Circle,
        _ => return None,
    })
}

fn array_kind(ty: &ColumnType) -> CastKind {
    if let Some(shape) = shape(ty.element_oid) {
        return CastKind::ShapeArray(shape);
    }
    match ty.element_oid {
        790 => return CastKind::MoneyArray,
        1560 | 1562 => return CastKind::BitArray,
        // pg_lsn, tsquery.
        3220 | 3615 => return CastKind::OpaqueArray,
        _ => {}
    }
    match ty.base_name.as_str() {
        _ if matches!(ty.base_typtype, 'd' | 'c' | 'm') => CastKind::OpaqueArray,
        "lquery" | "ltxtquery" => CastKind::OpaqueArray,
        "hstore" => CastKind::HstoreArray,
        "geometry" => CastKind::GeometryArray { geodetic: false },
        "geography" => CastKind::GeometryArray { geodetic: true },
        "citext" | "isbn" => CastKind::Array,
        _ if ty.element_oid >= FIRST_OF_USERS => CastKind::UserArray,
        _ => CastKind::Array,
    }
}

fn cast_kind(ty: &ColumnType) -> CastKind {
    let length = u32::try_from(ty.typmod).ok();
    if let Some(shape) = shape(ty.base_oid) {
        return CastKind::Shape(shape);
    }
    match ty.base_oid {
        18 => return CastKind::Char,
        790 => return CastKind::Money,
        1560 => return CastKind::Bit(length.unwrap_or(1)),
        1562 => return CastKind::VarBit(length),
        // pg_lsn, tsquery; composites and multiranges.
        3220 | 3615 => return CastKind::Opaque,
        _ if matches!(ty.base_typtype, 'c' | 'm') => return CastKind::Opaque,
        _ => {}
    }
    // Extension types have no fixed oid: the name must do.
    match ty.base_name.as_str() {
        "hstore" => CastKind::Hstore,
        "geometry" => CastKind::Geometry { geodetic: false },
        "geography" => CastKind::Geometry { geodetic: true },
        // Debezium does not know them, and base64 would pass for one.
        "lquery" | "ltxtquery" => CastKind::Opaque,
        "vector" => CastKind::Vector { half: false },
        "halfvec" => CastKind::Vector { half: true },
        "sparsevec" => CastKind::Sparse,
        _ => CastKind::Other,
    }
}

/// `FirstNormalObjectId` of `access/transam.h`: below it are PostgreSQL's own types.
const FIRST_OF_USERS: u32 = 16_384;

/// `atttypmod` of varchar and bpchar is the length plus four.
fn characters(typmod: i32) -> Option<u32> {
    u32::try_from(typmod.checked_sub(4)?).ok()
}

fn fraction(typmod: i32) -> u8 {
    u8::try_from(typmod).ok().filter(|p| *p <= 6).unwrap_or(6)
}

/// `INTERVAL_PRECISION` and `INTERVAL_RANGE` of `utils/timestamp.h`.
fn interval(typmod: i32) -> Option<u8> {
    if typmod < 0 {
        return Some(6);
    }
    ((typmod >> 16) & 0x7fff == 0x7fff).then(|| fraction(typmod & 0xffff))
}

/// `numeric_typmod_precision` and `numeric_typmod_scale` of `numeric.c`: the scale is 11 bits, two's complement.
fn numeric(typmod: i32) -> Option<Limit> {
    let packed = typmod.checked_sub(4).filter(|packed| *packed >= 0)?;
    Some(Limit { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(oid: u32, typmod: i32, sql: &str) -> ColumnType {
        ColumnType {
            oid,
            base_oid: oid,
            element_oid: 0,
            typtype: 'b',
            base_typtype: 'b',
            base_name: sql.rsplit('.').next().unwrap().into(),
            typmod,
            sql: sql.into(),
        }
    }

    #[test]
    fn type_modifiers_are_read_as_postgresql_packs_them() {
        assert_eq!(
            Target::of(&column(1700, ((10 << 16) | 2) + 4, "numeric(10,2)")),
            Target::Numeric(Some(Limit { precision: 10, scale: 2 }))
        );
        assert_eq!(
            Target::of(&column(1700, ((5 << 16) | 2046) + 4, "numeric(5,-2)")),
            Target::Numeric(Some(Limit { precision: 5, scale: -2 }))
        );
        assert_eq!(Target::of(&column(1700, -1, "numeric")), Target::Numeric(None));
        assert_eq!(Target::of(&column(1043, 24, "character varying(20)")), Target::Varchar(20));
        assert_eq!(
            Target::of(&column(1114, 3, "timestamp(3) without time zone")),
            Target::Timestamp(3)
        );
        assert_eq!(
            Target::of(&column(1114, -1, "timestamp without time zone")),
            Target::Timestamp(6)
        );
        assert_eq!(
            Target::of(&column(1186, 0x7fff_0003, "interval(3)")),
            Target::Interval(Some(3))
        );
        assert_eq!(
            Target::of(&column(1186, 0x0006_ffff, "interval year to month")),
            Target::Interval(None)
        );
    }

    #[test]
    fn types_without_a_binary_form_here_are_staged_as_text() {
        assert_eq!(staging(&column(869, -1, "inet")), Staging::Text);
        assert_eq!(staging(&column(142, -1, "xml")), Staging::Text);
        assert_eq!(staging(&column(3904, -1, "int4range")), Staging::Text);
        assert_eq!(Target::of(&column(16500, -1, "public.hstore")), Target::Cast(CastKind::Hstore));
        assert_eq!(Target::of(&column(1560, 8, "bit(8)")), Target::Cast(CastKind::Bit(8)));
    }

    #[test]
    fn enums_domains_and_arrays_of_builtin_types_are_staged_natively() {
        let mood = ColumnType { typtype: 'e', ..column(16400, -1, "mood") };
        let domain = ColumnType { typtype: 'd', base_oid: 23, ..column(16401, -1, "positive") };
        let array = ColumnType { element_oid: 1700, ..column(1231, -1, "numeric[]") };
        let moods = ColumnType { element_oid: 16400, ..column(16402, -1, "mood[]") };
        assert_eq!(staging(&mood), Staging::Native);
        assert_eq!(Target::of(&domain), Target::Int4);
        assert_eq!(staging(&array), Staging::Native);
        assert_eq!(staging(&moods), Staging::Text);
    }
}
