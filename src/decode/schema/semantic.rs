//! Schema names of Debezium and Kafka Connect -> what a field means.

use super::{Semantic, SourceColumn};

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
        other => Semantic::Other(other.to_owned()),
    }
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
