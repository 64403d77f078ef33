//! Schema names of Debezium and Kafka Connect -> what a field means.

use super::{Semantic, SourceColumn, Structured};

/// Connect's schema parameters: named texts beside a schema.
pub trait Parameters {
    /// The text of a parameter.
    fn parameter(&self, name: &str) -> Option<&str>;
}

/// The meaning of a schema name, with the parameters that complete it.
///
/// Source: "Data type mappings" of Debezium's connector pages, `org.apache.kafka.connect.data`.
#[must_use]
pub fn of_name(name: &str, parameters: &dyn Parameters) -> Semantic {
    match name {
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Semantic::Date,
        "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => Semantic::Time,
        "io.debezium.time.MicroTime" => Semantic::MicroTime,
        "io.debezium.time.NanoTime" => Semantic::NanoTime,
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
            Semantic::Timestamp
        }
        "io.debezium.time.MicroTimestamp" => Semantic::MicroTimestamp,
        "io.debezium.time.NanoTimestamp" => Semantic::NanoTimestamp,
        "io.debezium.time.ZonedTimestamp" => Semantic::ZonedTimestamp,
        "io.debezium.time.ZonedTime" => Semantic::ZonedTime,
        "io.debezium.time.IsoDate" => Semantic::IsoDate,
        "io.debezium.time.IsoTime" => Semantic::IsoTime,
        "io.debezium.time.IsoTimestamp" => Semantic::IsoTimestamp,
        "io.debezium.time.Year" => Semantic::Year,
        "io.debezium.time.Interval" => Semantic::Interval,
        "io.debezium.time.MicroDuration" => Semantic::MicroDuration,
        "io.debezium.time.NanoDuration" => Semantic::NanoDuration,
        "org.apache.kafka.connect.data.Decimal" => Semantic::Decimal {
            scale: number(parameters, "scale").unwrap_or(0),
            precision: number(parameters, "connect.decimal.precision"),
        },
        "io.debezium.data.VariableScaleDecimal" => Semantic::VariableScaleDecimal,
        "io.debezium.data.Bits" => Semantic::Bits { length: number(parameters, "length") },
        "io.debezium.data.Enum" => Semantic::Enum,
        "io.debezium.data.EnumSet" => Semantic::EnumSet,
        "io.debezium.data.Json" => Semantic::Json,
        "io.debezium.data.Xml" => Semantic::Xml,
        "io.debezium.data.Uuid" => Semantic::Uuid,
        "io.debezium.data.Ltree" => Semantic::Ltree,
        "io.debezium.data.Tsvector" => Semantic::Tsvector,
        "io.debezium.data.geometry.Point" => Semantic::Point,
        "io.debezium.data.geometry.Geometry" => Semantic::Geometry,
        "io.debezium.data.geometry.Geography" => Semantic::Geography,
        "io.debezium.data.geometry.Circle" => Semantic::Circle,
        "io.debezium.data.geometry.Line" => Semantic::Line,
        "io.debezium.data.DoubleVector" | "io.debezium.data.FloatVector" => Semantic::Vector,
        "io.debezium.data.SparseDoubleVector" | "io.debezium.data.SparseVector" => {
            Semantic::SparseVector
        }
        other => structured(other, parameters).unwrap_or_else(|| Semantic::Other(other.to_owned())),
    }
}

/// `StructuredTimestamp`, `StructuredTimestampPrecision6`, `StructuredTimestampPrecision6SourceColumn636f6c`: newer
/// connectors put precision and column into the name, so that Avro's named records differ.
fn structured(name: &str, parameters: &dyn Parameters) -> Option<Semantic> {
    let name = name.strip_prefix("io.debezium.time.Structured")?;
    let name = name.split_once("SourceColumn").map_or(name, |(name, _)| name);
    let (name, digits) =
        name.split_once("Precision").map_or((name, None), |(name, digits)| (name, Some(digits)));
    let kind = match name {
        "Date" => Structured::Date,
        "Time" => Structured::Time,
        "Timestamp" => Structured::Timestamp,
        "ZonedTime" => Structured::ZonedTime,
        "ZonedTimestamp" => Structured::ZonedTimestamp,
        "Duration" => Structured::Duration,
        _ => return None,
    };
    let digits = digits
        .and_then(|digits| digits.parse().ok())
        .or_else(|| number(parameters, "io.debezium.time.precision"));
    Some(Semantic::Structured { kind, digits })
}

/// What `column.propagate.source.type` left in the parameters.
#[must_use]
pub fn source_column(parameters: &dyn Parameters) -> Option<SourceColumn> {
    Some(SourceColumn {
        ty: parameters.parameter("__debezium.source.column.type")?.to_uppercase(),
        length: number(parameters, "__debezium.source.column.length"),
        scale: number(parameters, "__debezium.source.column.scale"),
        name: parameters.parameter("__debezium.source.column.name").map(str::to_owned),
    })
}

fn number<N: std::str::FromStr>(parameters: &dyn Parameters, name: &str) -> Option<N> {
    parameters.parameter(name)?.parse().ok()
}
