//! Schema texts of key and value -> one description of the record: its form, key, row, and how to walk its bytes.

use super::avro_text::{self, AvroType, Kind};
use super::connect_text::{self, ConnectSchema};
use super::{Field, FieldType, Form, Semantic, Wire};
use crate::decode::avro::{Group, Node, Source, Step};
use crate::decode::facts::Fact;
use crate::decode::skip::SkipRule;
use crate::fault::{Code, Fault};

/// What is known of the schema of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaText<'t> {
    /// The registry's text of an Avro schema.
    Avro(&'t str),
    /// The schema block of Connect's JsonConverter.
    ConnectJson(&'t str),
    /// JSON without schema.
    Schemaless,
    /// The record has no key, or no value.
    None,
}

/// How the bytes of a key are walked.
#[derive(Clone, Debug)]
pub enum KeyWalk {
    /// There is no key.
    None,
    /// Avro; the group's columns are the key's fields.
    Avro(Group, Vec<Node>),
    /// JSON with a schema.
    Json,
    /// JSON without schema: the table's key columns by name.
    Untyped,
}

/// How the bytes of a value are walked.
#[derive(Clone, Debug)]
pub enum ValueWalk {
    /// There is no value.
    None,
    /// Avro.
    Avro(AvroWalk),
    /// JSON with a schema.
    Json,
    /// JSON without schema: the table's columns by name, the form by each record's own fields.
    Untyped,
}

/// An Avro value's program.
#[derive(Clone, Debug)]
pub struct AvroWalk {
    /// The whole datum.
    pub datum: Group,
    /// The before image from its first byte on; its columns are those of the row.
    pub before: Option<Group>,
    /// The type of each column of the row.
    pub nodes: Vec<Node>,
}

/// A record schema: what the table needs to know, and how to walk the bytes.
#[derive(Clone, Debug)]
pub struct RecordSchema {
    /// Envelope, flattened row, or not table data. For JSON without schema each record tells for itself.
    pub form: Form,
    /// Fields of the record key; empty when there is no key or no schema of it. A key that is a bare value has one field
    /// with an empty name.
    pub key: Vec<Field>,
    /// Columns of the row, without the metadata fields of flattened records; empty when there is no schema of it.
    pub row: Vec<Field>,
    /// How to walk a key.
    pub key_walk: KeyWalk,
    /// How to walk a value.
    pub value_walk: ValueWalk,
}

/// Describes a record by the schemas of its key and value.
///
/// # Errors
/// Poison `SchemaUnusable` when a text is no schema, or a schema that no table row can follow.
pub fn describe(key: SchemaText<'_>, value: SchemaText<'_>) -> Result<RecordSchema, Fault> {
    let key = describe_key(key)?;
    let mut schema = match value {
        SchemaText::None => RecordSchema::new(Form::Envelope, Vec::new(), ValueWalk::None),
        SchemaText::Schemaless => RecordSchema::new(Form::Envelope, Vec::new(), ValueWalk::Untyped),
        SchemaText::ConnectJson(text) => of_connect(connect_text::parse(text)?)?,
        SchemaText::Avro(text) => of_avro(&avro_text::parse(text)?)?,
    };
    if matches!(value, SchemaText::None)
        && let Some(rule) = key.name.as_deref().and_then(rule_of)
    {
        schema.form = Form::NotTableData(rule);
    }
    (schema.key, schema.key_walk) = (key.fields, key.walk);
    Ok(schema)
}

impl RecordSchema {
    fn new(form: Form, row: Vec<Field>, value_walk: ValueWalk) -> Self {
        Self { form, key: Vec::new(), row, key_walk: KeyWalk::None, value_walk }
    }
}

fn unusable(what: &str) -> Fault {
    Fault::poison(Code::SchemaUnusable, format!("describe record schema: {what}"))
}

/// The rule that skips records of a schema name, if Debezium uses the name for something that is no table row.
fn rule_of(name: &str) -> Option<SkipRule> {
    let own = name.strip_prefix("io.debezium.")?;
    let last = own.rsplit('.').next()?;
    Some(match last {
        "Heartbeat" | "ServerNameKey" => SkipRule::Heartbeat,
        "TransactionMetadataKey" | "TransactionMetadataValue" => SkipRule::Transaction,
        "SchemaChangeKey" | "SchemaChangeValue" => SkipRule::SchemaChange,
        "Notification" | "NotificationKey" => SkipRule::Notification,
        "MessageKey" | "MessageValue" => SkipRule::Message,
        _ => return None,
    })
}

/// Form of a value by its schema name and the names of its fields.
fn form_of(name: Option<&str>, has: &dyn Fn(&str) -> bool) -> Form {
    match name.and_then(rule_of) {
        Some(rule) => Form::NotTableData(rule),
        None if has("op") && has("after") && has("source") => Form::Envelope,
        None => Form::Flattened,
    }
}

/// Columns of the table through which Debezium is given signals ("Sending signals to a Debezium connector").
const SIGNAL: [&str; 3] = ["id", "type", "data"];

/// The signal table arrives like any other.
fn is_signal(name: Option<&str>, row: &[Field]) -> bool {
    name.is_some_and(is_signal_name) && row.iter().map(|f| f.name.as_str()).eq(SIGNAL)
}

/// Whether a schema or table of this name may be the signal table: nothing else tells it from a table of these columns.
#[must_use]
pub fn is_signal_name(name: &str) -> bool {
    name.to_ascii_lowercase().contains("signal")
}

/// The one column of a row whose image is a JSON text: MongoDB's documents have no schema.
pub const DOCUMENT: &str = "document";

fn document(ty: FieldType) -> Field {
    Field { name: DOCUMENT.to_owned(), ty }
}

fn is_document(ty: &FieldType) -> bool {
    ty.wire == Wire::String && ty.semantic == Semantic::Json
}

fn is_metadata(name: &str) -> bool {
    name.starts_with("__")
}

struct Key {
    name: Option<String>,
    fields: Vec<Field>,
    walk: KeyWalk,
}

fn describe_key(text: SchemaText<'_>) -> Result<Key, Fault> {
    match text {
        SchemaText::None => Ok(Key { name: None, fields: Vec::new(), walk: KeyWalk::None }),
        SchemaText::Schemaless => {
            Ok(Key { name: None, fields: Vec::new(), walk: KeyWalk::Untyped })
        }
        SchemaText::ConnectJson(text) => {
            let schema = connect_text::parse(text)?;
            Ok(Key { fields: fields_or_bare(schema.ty), name: schema.name, walk: KeyWalk::Json })
        }
        SchemaText::Avro(text) => {
            let schema = avro_text::parse(text)?;
            let name = schema.schema_name().map(str::to_owned);
            let fields = fields_or_bare(schema.field_type()?);
            let (inner, null) =
                schema.non_null().ok_or_else(|| unusable("the key is a union of several types"))?;
            let (nodes, null): (Vec<Node>, _) = match &inner.kind {
                Kind::Record(_, fields) => (fields.iter().map(|(_, ty)| ty.node()).collect(), null),
                // A bare value reads its own union.
                _ => (vec![schema.node()], None),
            };
            let steps = nodes
                .iter()
                .cloned()
                .enumerate()
                .map(|(index, node)| Step::Column(node.into(), index))
                .collect();
            Ok(Key { name, fields, walk: KeyWalk::Avro(Group { null, steps }, nodes) })
        }
    }
}

fn fields_or_bare(ty: FieldType) -> Vec<Field> {
    match ty.wire {
        Wire::Struct(fields) => fields,
        _ => vec![Field { name: String::new(), ty }],
    }
}

fn of_connect(schema: ConnectSchema) -> Result<RecordSchema, Fault> {
    let Wire::Struct(fields) = schema.ty.wire else {
        return Err(unusable("the value is no struct"));
    };
    let name = schema.name.as_deref();
    let form = form_of(name, &|field| fields.iter().any(|f| f.name == field));
    let (form, row) = match form {
        Form::Envelope => {
            let after = fields.into_iter().find(|f| f.name == "after").map(|f| f.ty);
            let row = match after {
                Some(FieldType { wire: Wire::Struct(row), .. }) => row,
                Some(after) if is_document(&after) => vec![document(after)],
                _ => return Err(unusable("after is no struct")),
            };
            (
                if is_signal(name, &row) {
                    Form::NotTableData(SkipRule::Signal)
                } else {
                    Form::Envelope
                },
                row,
            )
        }
        Form::Flattened => {
            let row: Vec<Field> = fields.into_iter().filter(|f| !is_metadata(&f.name)).collect();
            (if is_signal(name, &row) { Form::NotTableData(SkipRule::Signal) } else { form }, row)
        }
        other => (other, Vec::new()),
    };
    Ok(RecordSchema::new(form, row, ValueWalk::Json))
}

type AvroFields = [(String, AvroType)];

fn of_avro(schema: &AvroType) -> Result<RecordSchema, Fault> {
    let (fields, null) = record(schema).ok_or_else(|| unusable("the value is no record"))?;
    let name = schema.non_null().and_then(|(ty, _)| ty.schema_name());
    let form = form_of(name, &|field| fields.iter().any(|(n, _)| n == field));
    let mut columns = Columns::default();
    match form {
        Form::Envelope => {
            let after = fields.iter().find(|(n, _)| n == "after").map(|(_, ty)| ty);
            if let Some(after) = after
                && let ty = after.field_type()?
                && is_document(&ty)
            {
                return Ok(of_documents(fields, null, after, ty));
            }
            let (row, row_null) =
                after.and_then(record).ok_or_else(|| unusable("after is no record"))?;
            let after = columns.group(row, row_null, &|_| false)?;
            let mut before = None;
            let mut steps = Vec::with_capacity(fields.len());
            for (name, ty) in fields {
                steps.push(match (name.as_str(), record(ty)) {
                    ("after", _) => Step::After(after.clone()),
                    ("before", Some((image, null))) => {
                        before = same_columns(image, row)
                            .then(|| Group { null, steps: after.steps.clone() });
                        Step::Before(ty.node().into())
                    }
                    ("source", Some((source, null))) => Step::Source(source_block(source, null)),
                    (name, _) => Fact::of_envelope(name).map_or_else(
                        || Step::Skip(ty.node().into()),
                        |fact| Step::Fact(ty.node().into(), fact),
                    ),
                });
            }
            let form = if is_signal(name, &columns.fields) {
                Form::NotTableData(SkipRule::Signal)
            } else {
                Form::Envelope
            };
            Ok(columns.into_schema(form, Group { null, steps: steps.into() }, before))
        }
        Form::Flattened => {
            let datum = columns.group(fields, null, &is_metadata)?;
            let signal = is_signal(name, &columns.fields);
            let form = if signal { Form::NotTableData(SkipRule::Signal) } else { Form::Flattened };
            Ok(columns.into_schema(form, datum, None))
        }
        other => Ok(RecordSchema::new(other, Vec::new(), ValueWalk::None)),
    }
}

/// An envelope whose images are JSON texts. What was before is not needed: a delete has its key.
fn of_documents(
    fields: &AvroFields,
    null: Option<usize>,
    after: &AvroType,
    ty: FieldType,
) -> RecordSchema {
    let step = |(name, field): &(String, AvroType)| match (name.as_str(), record(field)) {
        ("after", _) => Step::Document(field.node(), 0),
        ("source", Some((source, null))) => Step::Source(source_block(source, null)),
        (name, _) => Fact::of_envelope(name).map_or_else(
            || Step::Skip(field.node().into()),
            |fact| Step::Fact(field.node().into(), fact),
        ),
    };
    let columns = Columns { fields: vec![document(ty)], nodes: vec![after.node()] };
    let datum = Group { null, steps: fields.iter().map(step).collect() };
    columns.into_schema(Form::Envelope, datum, None)
}

/// Debezium gives both images the same schema; when it ever does not, the before image is not read.
fn same_columns(a: &AvroFields, b: &AvroFields) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((an, at), (bn, bt))| an == bn && at.node() == bt.node())
}

/// The fields of a record, and which branch is null when it is optional.
fn record(ty: &AvroType) -> Option<(&AvroFields, Option<usize>)> {
    let (inner, null) = ty.non_null()?;
    match &inner.kind {
        Kind::Record(_, fields) => Some((fields, null)),
        _ => None,
    }
}

fn source_block(fields: &AvroFields, null: Option<usize>) -> Source {
    let fields = fields.iter();
    Source::new(null, fields.map(|(name, ty)| (&**name, ty.node().into(), Fact::of_source(name))))
}

#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    nodes: Vec<Node>,
}

impl Columns {
    /// Steps that read every field into a column, except metadata.
    fn group(
        &mut self,
        fields: &AvroFields,
        null: Option<usize>,
        metadata: &dyn Fn(&str) -> bool,
    ) -> Result<Group, Fault> {
        let mut steps = Vec::with_capacity(fields.len());
        for (name, ty) in fields {
            steps.push(if metadata(name) {
                Fact::of_flattened(name).map_or_else(
                    || Step::Skip(ty.node().into()),
                    |fact| Step::Fact(ty.node().into(), fact),
                )
            } else {
                self.fields.push(Field { name: name.clone(), ty: ty.field_type()? });
                self.nodes.push(ty.node());
                Step::Column(ty.node().into(), self.nodes.len() - 1)
            });
        }
        Ok(Group { null, steps: steps.into() })
    }

    fn into_schema(self, form: Form, datum: Group, before: Option<Group>) -> RecordSchema {
        RecordSchema::new(
            form,
            self.fields,
            ValueWalk::Avro(AvroWalk { datum, before, nodes: self.nodes }),
        )
    }
}
