//! The text of an Avro schema, as Confluent's converter writes it -> a resolved tree -> field types and walkable nodes.
//!
//! # Decisions
//! Own parsing instead of `apache_avro::Schema`: that one refuses schemas that Debezium really writes (a Decimal of scale
//! 2046, names with letters outside ASCII) and drops nothing that we could do without: Connect's names, parameters and
//! types stand in properties beside the Avro type. Logical types are only looked at where Connect's name is missing.

use super::semantic::{self, Parameters};
use super::{Field, FieldType, Semantic, Wire};
use crate::decode::avro::Node;
use crate::fault::{Code, Fault};
use serde_json::Value;
use std::collections::HashMap;

/// Schemas nest at most this deep.
const MAX_DEPTH: usize = 64;
/// A schema has at most this many types once its names are resolved: names can multiply a small text.
const MAX_TYPES: usize = 100_000;

/// An Avro type with every name resolved and Connect's properties beside it.
#[derive(Clone, Debug)]
pub struct AvroType {
    /// The Avro type.
    pub kind: Kind,
    connect: Connect,
    /// Number of types in this tree, itself included.
    types: usize,
}

/// Avro's types.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `null`.
    Null,
    /// `boolean`.
    Boolean,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `bytes`.
    Bytes,
    /// `string`.
    String,
    /// `fixed` of so many bytes.
    Fixed(usize),
    /// `enum`.
    Enum(Vec<String>),
    /// `array`.
    Array(Box<AvroType>),
    /// `map`.
    Map(Box<AvroType>),
    /// `record`, by full name.
    Record(String, Vec<(String, AvroType)>),
    /// Union.
    Union(Vec<AvroType>),
}

/// Connect's properties of a type.
#[derive(Clone, Debug, Default)]
struct Connect {
    name: Option<String>,
    ty: Option<String>,
    parameters: HashMap<String, String>,
    logical: Option<String>,
    internal: Option<String>,
}

impl Parameters for Connect {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

fn unusable(what: impl std::fmt::Display) -> Fault {
    Fault::poison(Code::SchemaUnusable, format!("read avro schema: {what}"))
}

/// Reads a schema.
///
/// # Errors
/// Poison `SchemaUnusable` when the text is no Avro schema, is recursive, or too deep or large.
pub fn parse(text: &str) -> Result<AvroType, Fault> {
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        // The registry may give a primitive as a bare name.
        Err(_) if !text.trim().is_empty() && text.trim().chars().all(char::is_alphanumeric) => {
            Value::String(text.trim().to_owned())
        }
        Err(e) => {
            return Err(unusable(format!("no JSON at line {} column {}", e.line(), e.column())));
        }
    };
    Parser { named: HashMap::new(), types: 0 }.read(&value, "", 0)
}

struct Parser {
    /// Named types by full name; `None` while the type is still being read.
    named: HashMap<String, Option<AvroType>>,
    types: usize,
}

impl Parser {
    fn read(&mut self, value: &Value, namespace: &str, depth: usize) -> Result<AvroType, Fault> {
        if depth > MAX_DEPTH {
            return Err(unusable(format!("nested deeper than {MAX_DEPTH}")));
        }
        let found = match value {
            Value::String(name) => self.by_name(name, namespace)?,
            Value::Array(branches) => {
                let branches = branches
                    .iter()
                    .map(|b| self.read(b, namespace, depth + 1))
                    .collect::<Result<Vec<_>, _>>()?;
                AvroType::new(Kind::Union(branches), Connect::default())
            }
            Value::Object(object) => {
                let connect = connect(object);
                match object.get("type") {
                    Some(Value::String(name)) => {
                        self.complex(name, object, connect, namespace, depth)?
                    }
                    // A type wrapped in a type: the outer properties win.
                    Some(inner) => {
                        let mut inner = self.read(inner, namespace, depth + 1)?;
                        if connect.name.is_some() {
                            inner.connect = connect;
                        }
                        inner
                    }
                    None => return Err(unusable("a type is missing")),
                }
            }
            _ => return Err(unusable("a type is neither a name, a list nor an object")),
        };
        self.types += 1;
        if found.types > MAX_TYPES || self.types > MAX_TYPES {
            return Err(unusable(format!("more than {MAX_TYPES} types")));
        }
        Ok(found)
    }

    fn by_name(&mut self, name: &str, namespace: &str) -> Result<AvroType, Fault> {
        if let Some(kind) = primitive(name) {
            return Ok(AvroType::new(kind, Connect::default()));
        }
        let full = full_name(name, namespace);
        // A bare name is looked for in the enclosing namespace first, then without one.
        match self.named.get(&full).or_else(|| self.named.get(name)) {
            Some(Some(found)) => {
                // Counted before it is copied: many names of one large type would fill the memory first.
                self.types += found.types;
                if self.types > MAX_TYPES {
                    return Err(unusable(format!("more than {MAX_TYPES} types")));
                }
                Ok(found.clone())
            }
            Some(None) => Err(unusable(format!("type {full} contains itself"))),
            None => Err(unusable(format!("type {full} is not defined"))),
        }
    }

    fn complex(
        &mut self,
        ty: &str,
        object: &serde_json::Map<String, Value>,
        connect: Connect,
        namespace: &str,
        depth: usize,
    ) -> Result<AvroType, Fault> {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let part =
            |name: &str| object.get(name).ok_or_else(|| unusable(format!("{name} is missing")));
        let kind = match ty {
            "array" => {
                let item = self.read(part("items")?, namespace, depth + 1)?;
                // Any number of them would take a moment to claim and for ever to walk.
                if !item.has_bytes() {
                    return Err(unusable("an array of a type that takes no bytes"));
                }
                Kind::Array(Box::new(item))
            }
            "map" => Kind::Map(Box::new(self.read(part("values")?, namespace, depth + 1)?)),
            "record" | "error" | "enum" | "fixed" => {
                let name = text("name").ok_or_else(|| unusable(format!("a {ty} has no name")))?;
                let full = full_name(name, text("namespace").unwrap_or(namespace));
                if self.named.insert(full.clone(), None).is_some() {
                    return Err(unusable(format!("type {full} is defined twice")));
                }
                let kind = match ty {
                    "enum" => Kind::Enum(symbols(part("symbols")?)?),
                    "fixed" => Kind::Fixed(
                        part("size")?
                            .as_u64()
                            .and_then(|n| usize::try_from(n).ok())
                            .ok_or_else(|| unusable("size is no number"))?,
                    ),
                    _ => Kind::Record(full.clone(), self.fields(part("fields")?, &full, depth)?),
                };
                let found = AvroType::new(kind, connect);
                self.named.insert(full, Some(found.clone()));
                return Ok(found);
            }
            name => match primitive(name) {
                Some(kind) => kind,
                None => return self.by_name(name, namespace),
            },
        };
        Ok(AvroType::new(kind, connect))
    }

    fn fields(
        &mut self,
        fields: &Value,
        full: &str,
        depth: usize,
    ) -> Result<Vec<(String, AvroType)>, Fault> {
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let fields = fields.as_array().ok_or_else(|| unusable("fields is no list"))?;
        let read = |field: &Value| {
            let name = field
                .get("name")
                .and_then(Value::as_str)
                .ok_or_else(|| unusable("a field has no name"))?;
            let ty =
                field.get("type").ok_or_else(|| unusable(format!("field {name} has no type")))?;
            Ok((name.to_owned(), self.read(ty, namespace, depth + 1)?))
        };
        fields.iter().map(read).collect()
    }
}

fn symbols(value: &Value) -> Result<Vec<String>, Fault> {
    let symbols = value.as_array().ok_or_else(|| unusable("symbols is no list"))?;
    symbols
        .iter()
        .map(|s| s.as_str().map(str::to_owned).ok_or_else(|| unusable("a symbol is no text")))
        .collect()
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn connect(object: &serde_json::Map<String, Value>) -> Connect {
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut parameters: HashMap<String, String> = match object.get("connect.parameters") {
        Some(Value::Object(map)) => {
            map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
        }
        _ => HashMap::new(),
    };
    // Without Connect's parameters the decimal's own properties tell the same.
    for (property, parameter) in [("scale", "scale"), ("precision", "connect.decimal.precision")] {
        if let Some(number) = object.get(property).and_then(Value::as_i64) {
            parameters.entry(parameter.to_owned()).or_insert_with(|| number.to_string());
        }
    }
    Connect {
        name: text("connect.name"),
        ty: text("connect.type"),
        parameters,
        logical: text("logicalType"),
        internal: text("connect.internal.type"),
    }
}

impl AvroType {
    fn new(kind: Kind, connect: Connect) -> Self {
        let types = 1 + match &kind {
            Kind::Array(item) | Kind::Map(item) => item.types,
            Kind::Record(_, fields) => fields.iter().map(|(_, ty)| ty.types).sum(),
            Kind::Union(branches) => branches.iter().map(|b| b.types).sum(),
            _ => 0,
        };
        Self { kind, connect, types }
    }

    /// Whether each value takes at least one byte.
    fn has_bytes(&self) -> bool {
        match &self.kind {
            Kind::Null | Kind::Fixed(0) => false,
            Kind::Record(_, fields) => fields.iter().any(|(_, ty)| ty.has_bytes()),
            _ => true,
        }
    }

    /// Connect's schema name, else the record's full name.
    #[must_use]
    pub fn schema_name(&self) -> Option<&str> {
        match (&self.connect.name, &self.kind) {
            (Some(name), _) => Some(name),
            (None, Kind::Record(name, _)) => Some(name),
            _ => None,
        }
    }

    /// The one branch beside `null`, and where `null` stands; the type itself when it is no union. `None` for a union of
    /// several types.
    #[must_use]
    pub fn non_null(&self) -> Option<(&Self, Option<usize>)> {
        let Kind::Union(branches) = &self.kind else { return Some((self, None)) };
        let null = branches.iter().position(|b| matches!(b.kind, Kind::Null));
        let mut others = branches.iter().filter(|b| !matches!(b.kind, Kind::Null));
        match (others.next(), others.next()) {
            (Some(only), None) => Some((only, null)),
            _ => None,
        }
    }

    fn is_map_entry(&self) -> bool {
        self.schema_name().is_some_and(|name| name == "MapEntry" || name.ends_with(".MapEntry"))
    }

    /// Key and value of an array of map entries: how Confluent writes a map whose keys are no text.
    fn entries(&self) -> Option<(&Self, &Self)> {
        let Kind::Array(item) = &self.kind else { return None };
        let Kind::Record(_, fields) = &item.kind else { return None };
        match fields.as_slice() {
            [(k, key), (v, value)]
                if k == "key"
                    && v == "value"
                    && (item.is_map_entry()
                        || self.connect.internal.as_deref() == Some("MapEntry")) =>
            {
                Some((key, value))
            }
            _ => None,
        }
    }

    /// The type that a walker reads.
    #[must_use]
    pub fn node(&self) -> Node {
        if let Some((key, value)) = self.entries() {
            return Node::Entries(Box::new(key.node()), Box::new(value.node()));
        }
        match &self.kind {
            Kind::Null => Node::Null,
            Kind::Boolean => Node::Boolean,
            Kind::Int => Node::Int,
            Kind::Long => Node::Long,
            Kind::Float => Node::Float,
            Kind::Double => Node::Double,
            Kind::Bytes => Node::Bytes,
            Kind::String => Node::String,
            Kind::Fixed(size) => Node::Fixed(*size),
            Kind::Enum(symbols) => Node::Enum(symbols.iter().map(|s| s.as_str().into()).collect()),
            Kind::Array(item) => Node::Array(Box::new(item.node())),
            Kind::Map(value) => Node::Map(Box::new(value.node())),
            Kind::Record(_, fields) => {
                Node::Record(fields.iter().map(|(n, ty)| (n.as_str().into(), ty.node())).collect())
            }
            Kind::Union(branches) => Node::Union(branches.iter().map(Self::node).collect()),
        }
    }

    /// What the type means.
    ///
    /// # Errors
    /// Poison `SchemaUnusable` for a union of several types: Connect has none, so no column can be one.
    pub fn field_type(&self) -> Result<FieldType, Fault> {
        let (ty, _) =
            self.non_null().ok_or_else(|| unusable("a union of several types is no column"))?;
        let optional =
            matches!(&self.kind, Kind::Union(b) if b.iter().any(|b| matches!(b.kind, Kind::Null)));
        let wire = if let Some((key, value)) = ty.entries() {
            Wire::Map(Box::new(key.field_type()?), Box::new(value.field_type()?))
        } else {
            match &ty.kind {
                Kind::Null => return Err(unusable("a column of type null")),
                Kind::Boolean => Wire::Boolean,
                Kind::Int => match ty.connect.ty.as_deref() {
                    Some("int8") => Wire::Int8,
                    Some("int16") => Wire::Int16,
                    _ => Wire::Int32,
                },
                Kind::Long => Wire::Int64,
                Kind::Float => Wire::Float32,
                Kind::Double => Wire::Float64,
                Kind::Bytes | Kind::Fixed(_) => Wire::Bytes,
                Kind::String | Kind::Enum(_) => Wire::String,
                Kind::Array(item) => Wire::Array(Box::new(item.field_type()?)),
                Kind::Map(value) => Wire::Map(Box::new(text_type()), Box::new(value.field_type()?)),
                Kind::Record(_, fields) => Wire::Struct(
                    fields
                        .iter()
                        .map(|(name, ty)| Ok(Field { name: name.clone(), ty: ty.field_type()? }))
                        .collect::<Result<_, Fault>>()?,
                ),
                Kind::Union(_) => return Err(unusable("a union inside a union")),
            }
        };
        let semantic = match ty.schema_name() {
            Some(name) => semantic::of_name(name, &ty.connect),
            None => ty.logical(),
        };
        Ok(FieldType {
            wire,
            semantic,
            optional,
            source_column: semantic::source_column(&ty.connect),
        })
    }

    /// The meaning of an Avro logical type, for writers that are not Connect.
    fn logical(&self) -> Semantic {
        let name = match self.connect.logical.as_deref() {
            Some("decimal") => "org.apache.kafka.connect.data.Decimal",
            Some("date") => "io.debezium.time.Date",
            Some("time-millis") => "io.debezium.time.Time",
            Some("time-micros") => "io.debezium.time.MicroTime",
            Some("timestamp-millis") => "io.debezium.time.Timestamp",
            Some("timestamp-micros") => "io.debezium.time.MicroTimestamp",
            Some("uuid") => "io.debezium.data.Uuid",
            _ => return Semantic::None,
        };
        semantic::of_name(name, &self.connect)
    }
}

fn text_type() -> FieldType {
    FieldType { wire: Wire::String, semantic: Semantic::None, optional: false, source_column: None }
}
