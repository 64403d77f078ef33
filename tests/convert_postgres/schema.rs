//! Connect schemas of the capture as field types.

use serde::Deserialize;
use silversink::decode::schema::{Field, FieldType, Semantic, SourceColumn, Wire};
use std::collections::HashMap;

/// A Connect schema as the JSON converter writes it.
#[derive(Deserialize)]
pub struct Schema {
    #[serde(rename = "type")]
    ty: String,
    name: Option<String>,
    field: Option<String>,
    #[serde(default)]
    parameters: HashMap<String, String>,
    items: Option<Box<Schema>>,
    keys: Option<Box<Schema>>,
    values: Option<Box<Schema>>,
    #[serde(default)]
    fields: Vec<Schema>,
}

impl Schema {
    pub fn field_type(&self) -> FieldType {
        let wire = match self.ty.as_str() {
            "boolean" => Wire::Boolean,
            "int16" => Wire::Int16,
            "int32" => Wire::Int32,
            "int64" => Wire::Int64,
            "float" => Wire::Float32,
            "double" => Wire::Float64,
            "string" => Wire::String,
            "bytes" => Wire::Bytes,
            "array" => Wire::Array(Box::new(self.items.as_ref().unwrap().field_type())),
            "map" => Wire::Map(
                Box::new(self.keys.as_ref().unwrap().field_type()),
                Box::new(self.values.as_ref().unwrap().field_type()),
            ),
            "struct" => Wire::Struct(
                self.fields
                    .iter()
                    .map(|f| Field { name: f.field.clone().unwrap(), ty: f.field_type() })
                    .collect(),
            ),
            other => panic!("wire type {other}"),
        };
        let source = "__debezium.source.column";
        let source_column = self.parameters.get(&format!("{source}.type")).map(|ty| SourceColumn {
            ty: ty.clone(),
            length: self.number(&format!("{source}.length")),
            scale: self.number(&format!("{source}.scale")),
            name: None,
        });
        FieldType { wire, semantic: self.semantic(), optional: true, source_column }
    }

    fn number<T: std::str::FromStr>(&self, parameter: &str) -> Option<T> {
        self.parameters.get(parameter)?.parse().ok()
    }

    fn semantic(&self) -> Semantic {
        let Some(name) = self.name.as_deref() else { return Semantic::None };
        match name.rsplit('.').next().unwrap() {
            "Date" => Semantic::Date,
            "Time" => Semantic::Time,
            "MicroTime" => Semantic::MicroTime,
            "Timestamp" => Semantic::Timestamp,
            "MicroTimestamp" => Semantic::MicroTimestamp,
            "ZonedTimestamp" => Semantic::ZonedTimestamp,
            "ZonedTime" => Semantic::ZonedTime,
            "IsoDate" => Semantic::IsoDate,
            "IsoTime" => Semantic::IsoTime,
            "IsoTimestamp" => Semantic::IsoTimestamp,
            "Interval" => Semantic::Interval,
            "MicroDuration" => Semantic::MicroDuration,
            "Decimal" => Semantic::Decimal {
                scale: self.number("scale").unwrap(),
                precision: self.number("connect.decimal.precision"),
            },
            "VariableScaleDecimal" => Semantic::VariableScaleDecimal,
            "Bits" => Semantic::Bits { length: self.number("length") },
            "Enum" => Semantic::Enum,
            "Json" => Semantic::Json,
            "Xml" => Semantic::Xml,
            "Uuid" => Semantic::Uuid,
            "Ltree" => Semantic::Ltree,
            "Tsvector" => Semantic::Tsvector,
            _ => Semantic::Other(name.to_owned()),
        }
    }
}
