//! A source schema in one form, whether it came as Avro, as Connect JSON or not at all.

pub mod avro_text;
pub mod connect_text;
pub mod describe;
pub mod semantic;

use super::skip::SkipRule;

/// What a record schema describes.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Debezium's envelope: before, after, source, op.
    Envelope,
    /// ExtractNewRecordState: the row itself, with `__op` and friends.
    Flattened,
    /// Not table data; the rule that skips it.
    NotTableData(SkipRule),
}

/// The wire type of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Wire {
    /// `boolean`.
    Boolean,
    /// `int8`.
    Int8,
    /// `int16`.
    Int16,
    /// `int32`.
    Int32,
    /// `int64`.
    Int64,
    /// `float32`.
    Float32,
    /// `float64`.
    Float64,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `array`.
    Array(Box<FieldType>),
    /// `map` (keys, values).
    Map(Box<FieldType>, Box<FieldType>),
    /// `struct`.
    Struct(Vec<Field>),
    /// JSON without a schema: whatever the token says.
    Untyped,
}

/// Debezium's and Connect's semantic types (`reference`: schema names in the Debezium documentation, "Data type mappings").
#[derive(Clone, Debug, PartialEq)]
pub enum Semantic {
    /// No schema name: the wire type is the meaning.
    None,
    /// `io.debezium.time.Date` and `org.apache.kafka.connect.data.Date`: days since 1970.
    Date,
    /// `io.debezium.time.Time` and Connect's `Time`: milliseconds of the day.
    Time,
    /// `io.debezium.time.MicroTime`.
    MicroTime,
    /// `io.debezium.time.NanoTime`.
    NanoTime,
    /// `io.debezium.time.Timestamp` and Connect's `Timestamp`: milliseconds since 1970.
    Timestamp,
    /// `io.debezium.time.MicroTimestamp`.
    MicroTimestamp,
    /// `io.debezium.time.NanoTimestamp`.
    NanoTimestamp,
    /// `io.debezium.time.ZonedTimestamp`: ISO 8601 text with an offset.
    ZonedTimestamp,
    /// `io.debezium.time.ZonedTime`: ISO 8601 text with an offset.
    ZonedTime,
    /// `io.debezium.time.IsoDate`.
    IsoDate,
    /// `io.debezium.time.IsoTime`.
    IsoTime,
    /// `io.debezium.time.IsoTimestamp`.
    IsoTimestamp,
    /// `io.debezium.time.Year`.
    Year,
    /// `io.debezium.time.Interval`: ISO 8601 duration text.
    Interval,
    /// `io.debezium.time.MicroDuration`: microseconds.
    MicroDuration,
    /// `io.debezium.time.NanoDuration`: nanoseconds.
    NanoDuration,
    /// `org.apache.kafka.connect.data.Decimal`: two's complement unscaled value.
    Decimal {
        /// Digits after the point.
        scale: i32,
        /// Total digits, if declared.
        precision: Option<u32>,
    },
    /// `io.debezium.data.VariableScaleDecimal`: struct of scale and value.
    VariableScaleDecimal,
    /// `io.debezium.data.Bits`: little-endian bytes.
    Bits {
        /// Number of bits, if declared.
        length: Option<u32>,
    },
    /// `io.debezium.data.Enum`.
    Enum,
    /// `io.debezium.data.EnumSet`.
    EnumSet,
    /// `io.debezium.data.Json`.
    Json,
    /// `io.debezium.data.Xml`.
    Xml,
    /// `io.debezium.data.Uuid`.
    Uuid,
    /// `io.debezium.data.Ltree`.
    Ltree,
    /// `io.debezium.data.Tsvector`.
    Tsvector,
    /// `io.debezium.time.Structured*` (`time.precision.mode=structured`): a struct of calendar and clock parts.
    Structured {
        /// Which of them.
        kind: Structured,
        /// Digits of the fraction that the source column has, if declared.
        digits: Option<u8>,
    },
    /// `io.debezium.data.geometry.Point`: struct of x, y, and for some sources WKB and SRID.
    Point,
    /// `io.debezium.data.geometry.Geometry`: struct of WKB and SRID; `extensions` tells PostgreSQL's own shapes apart.
    Geometry,
    /// `io.debezium.data.geometry.Geography`: as Geometry.
    Geography,
    /// `io.debezium.data.geometry.Circle`: struct of center and radius.
    Circle,
    /// `io.debezium.data.geometry.Line`: struct of a, b and c.
    Line,
    /// `io.debezium.data.DoubleVector` and `FloatVector`: array of numbers.
    Vector,
    /// `io.debezium.data.SparseDoubleVector`, also named `SparseVector`: struct of dimensions and a map of numbers.
    SparseVector,
    /// Any other schema name, kept for messages.
    Other(String),
}

/// What a structured time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structured {
    /// `StructuredDate`.
    Date,
    /// `StructuredTime`.
    Time,
    /// `StructuredTimestamp`.
    Timestamp,
    /// `StructuredZonedTime`.
    ZonedTime,
    /// `StructuredZonedTimestamp`.
    ZonedTimestamp,
    /// `StructuredDuration`.
    Duration,
}

/// Type of a field: wire type and meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldType {
    /// How it is written.
    pub wire: Wire,
    /// What it means.
    pub semantic: Semantic,
    /// May be null.
    pub optional: bool,
    /// `__debezium.source.column.type`, `.length`, `.scale` and `.name`, if propagated (e.g. `VARCHAR`, `120`).
    pub source_column: Option<SourceColumn>,
}

/// What `column.propagate.source.type` tells about a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Upper-cased type name.
    pub ty: String,
    /// Length.
    pub length: Option<u32>,
    /// Scale.
    pub scale: Option<i32>,
    /// The column's own name, which a field name adjustment mode may have changed on the wire.
    pub name: Option<String>,
}

/// A named field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name on the wire, which is the column name.
    pub name: String,
    /// Type.
    pub ty: FieldType,
}
