//! The schema block of Connect's JsonConverter -> field types.

use super::semantic::{self, Parameters};
use super::{Field, FieldType, Semantic, Wire};
use crate::fault::{Code, Fault};
use serde::Deserialize;
use std::collections::HashMap;

/// One schema as JsonConverter writes it (`JsonConverter.asJsonSchema`). Defaults, docs and versions are not needed.
#[derive(Debug, Deserialize)]
struct Block {
    #[serde(rename = "type")]
    ty: String,
    #[serde(default)]
    optional: bool,
    name: Option<String>,
    field: Option<String>,
    #[serde(default)]
    parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    fields: Vec<Block>,
    items: Option<Box<Block>>,
    keys: Option<Box<Block>>,
    values: Option<Box<Block>>,
}

impl Parameters for Block {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.as_ref()?.get(name).map(String::as_str)
    }
}

/// A schema block with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectSchema {
    /// Connect's schema name, e.g. `shop.public.orders.Envelope`.
    pub name: Option<String>,
    /// Type.
    pub ty: FieldType,
}

/// Reads a schema block.
///
/// # Errors
/// Poison `SchemaUnusable` when the text is no schema block.
pub fn parse(text: &str) -> Result<ConnectSchema, Fault> {
    let block: Block = serde_json::from_str(text).map_err(|e| {
        unusable(format!(
            "line {} column {}: {:?} error in the schema block",
            e.line(),
            e.column(),
            e.classify()
        ))
    })?;
    Ok(ConnectSchema { name: block.name.clone(), ty: field_type(&block)? })
}

fn unusable(what: impl std::fmt::Display) -> Fault {
    Fault::poison(Code::SchemaUnusable, format!("read json schema: {what}"))
}

fn field_type(block: &Block) -> Result<FieldType, Fault> {
    let wire = match block.ty.as_str() {
        "boolean" => Wire::Boolean,
        "int8" => Wire::Int8,
        "int16" => Wire::Int16,
        "int32" => Wire::Int32,
        "int64" => Wire::Int64,
        "float" | "float32" => Wire::Float32,
        "double" | "float64" => Wire::Float64,
        "string" => Wire::String,
        "bytes" => Wire::Bytes,
        "array" => Wire::Array(Box::new(part(block.items.as_deref(), "items")?)),
        "map" => Wire::Map(
            Box::new(part(block.keys.as_deref(), "keys")?),
            Box::new(part(block.values.as_deref(), "values")?),
        ),
        "struct" => Wire::Struct(block.fields.iter().map(field).collect::<Result<_, _>>()?),
        other => return Err(unusable(format!("type {other} is not known"))),
    };
    let semantic =
        block.name.as_deref().map_or(Semantic::None, |name| semantic::of_name(name, block));
    Ok(FieldType {
        wire,
        semantic,
        optional: block.optional,
        source_column: semantic::source_column(block),
    })
}

fn part(block: Option<&Block>, name: &str) -> Result<FieldType, Fault> {
    field_type(block.ok_or_else(|| unusable(format!("{name} is missing")))?)
}

fn field(block: &Block) -> Result<Field, Fault> {
    let name = block.field.clone().ok_or_else(|| unusable("a struct field has no name"))?;
    Ok(Field { name, ty: field_type(block)? })
}
