//! Goes the way of a record, and notes what it sees.

use super::envelope::envelope;
use super::rehearsal::rehearse;
use super::{Explanation, Half, Outcome, Position, Record, Verdict};
use crate::config::{Config, Format, Table};
use crate::decode::plan::{self, Plan, RecordSchema, SchemaText};
use crate::decode::readable::readable;
use crate::decode::registry_id::in_headers;
use crate::decode::schema::Form;
use crate::decode::slot::Scratch;
use crate::decode::wire::{self, Framed, Part};
use crate::decode::{
    Decoded, PayloadId, PlanNeed, RegistryId, RowBuffer, SchemaId, TopicDecoder, UNPLACED,
};
use crate::demo::capture::CapturedSchema;
use crate::fault::{Class, Code, Fault};
use crate::postgres::{Destination, Origin};
use crate::record::OwnedRecord;
use crate::registry;
use crate::route::{self, Routed};
use crate::silver::{self, Arrival, refusal};
use crate::sql::ddl;
use crate::table::TableName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where schema texts come from.
pub enum Schemas {
    /// The registry of the configuration.
    Registry(registry::Client),
    /// The schemas beside a capture.
    Capture(BTreeMap<u32, CapturedSchema>),
    /// Nowhere: none is configured.
    None,
}

/// What is to be explained, and with what.
pub struct Asked<'a> {
    /// The pipeline.
    pub config: &'a Config,
    /// Its destination.
    pub destination: &'a Destination,
    /// Where schemas are.
    pub schemas: &'a Schemas,
    /// The record.
    pub record: &'a OwnedRecord,
    /// Show row values too.
    pub values: bool,
}

/// Explains one record.
///
/// # Errors
/// Only what has nothing to do with the record: PostgreSQL or the registry cannot be asked.
pub async fn explain(asked: Asked<'_>) -> Result<Explanation, Fault> {
    let mut told = begin(asked.record);
    let routed = route::route(asked.config, &asked.record.at.topic);
    told.table = routed.as_ref().map(|routed| routed.table.to_string());
    told.position = position(&asked).await?;
    show(&asked, routed.as_ref(), &mut told).await?;
    let Some(routed) = routed else {
        told.verdict = stops(
            Code::Unrouted,
            "no route matches the topic, so the worker does not read it".to_owned(),
            "add a [[route]] whose topics match it",
        );
        return Ok(told);
    };
    match judge(&asked, &routed, &mut told).await {
        Ok(verdict) => told.verdict = verdict,
        Err(fault) if is_outage(&fault) => return Err(fault),
        Err(fault) => told.verdict = verdict_of(&fault),
    }
    Ok(told)
}

fn is_outage(fault: &Fault) -> bool {
    fault.class == Class::Transient && fault.code != Code::PostgresConflict
}

/// A pipeline that never ran has no bookkeeping tables.
pub(super) fn is_missing(fault: &Fault) -> bool {
    matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000"))
}

fn begin(record: &OwnedRecord) -> Explanation {
    Explanation {
        record: Record {
            topic: record.at.topic.clone(),
            partition: record.at.partition,
            offset: record.at.offset,
            timestamp_ms: record.timestamp_ms,
            key_bytes: record.key.as_ref().map(Vec::len),
            value_bytes: record.value.as_ref().map(Vec::len),
            headers: record.headers.iter().map(|(name, _)| name.clone()).collect(),
        },
        key: None,
        value: None,
        envelope: None,
        table: None,
        row_key: None,
        version: None,
        position: None,
        silver: None,
        verdict: Verdict { outcome: Outcome::Waits, code: None, why: String::new(), hint: None },
        sql: None,
    }
}

async fn position(asked: &Asked<'_>) -> Result<Option<Position>, Fault> {
    let at = &asked.record.at;
    let rows = match asked.destination.positions(&asked.config.name).await {
        Err(fault) if is_missing(&fault) => return Ok(None),
        rows => rows?,
    };
    let latest =
        rows.into_iter().rfind(|row| row.topic == at.topic && row.partition == at.partition);
    let Some(row) = latest else { return Ok(None) };
    let dead_letter = asked.destination.dead_letter_at(&asked.config.name, at).await?;
    Ok(Some(Position {
        next_offset: row.next_offset,
        settled: row.next_offset.is_some_and(|next| next > at.offset),
        state: row.state,
        reason: row.reason,
        dead_letter,
    }))
}

/// Fills in what can be read of frame, schema, envelope and key, as far as it can be read.
async fn show(
    asked: &Asked<'_>,
    routed: Option<&Routed>,
    told: &mut Explanation,
) -> Result<(), Fault> {
    let format = routed.map(|routed| routed.format).unwrap_or_default();
    let payload_id = PayloadId::of(asked.config.registry.as_ref());
    for part in [Part::Key, Part::Value] {
        let bytes = match part {
            Part::Key => asked.record.key.as_deref(),
            Part::Value => asked.record.value.as_deref(),
        };
        let Some(bytes) = bytes else { continue };
        let (half, tree) = match frame(part, bytes, format, payload_id, asked.record) {
            Err(fault) => {
                (half(format!("0x{:02x}", bytes.first().unwrap_or(&0)), None, &fault), None)
            }
            Ok(Framed::Nothing) => {
                (Half { frame: "JSON null".to_owned(), schema: None, fault: None }, None)
            }
            Ok(Framed::Json(text)) => {
                let tree = readable(SchemaText::Schemaless, text);
                let schema = tree.as_ref().ok().and_then(|tree| tree.get("schema")).map(|schema| {
                    schema.get("name").and_then(|n| n.as_str()).unwrap_or("inline").to_owned()
                });
                let half = Half {
                    frame: if schema.is_some() { "JSON with schema" } else { "JSON" }.to_owned(),
                    schema,
                    fault: tree.as_ref().err().map(ToString::to_string),
                };
                (half, tree.ok())
            }
            Ok(Framed::Avro { id, body }) => {
                let frame = "Avro".to_owned();
                let text = match text_of(asked.schemas, id).await {
                    Err(fault) if is_outage(&fault) => return Err(fault),
                    text => text,
                };
                match text.map(|text| (name_of(&text), readable(SchemaText::Avro(&text), body))) {
                    Ok((name, tree)) => {
                        let schema = Some(format!("{id} {name}"));
                        let fault = tree.as_ref().err().map(ToString::to_string);
                        (Half { frame, schema, fault }, tree.ok())
                    }
                    Err(fault) => (half(frame, Some(id.to_string()), &fault), None),
                }
            }
        };
        match part {
            Part::Key => {
                told.key = Some(half);
                told.row_key = tree.map(|tree| match tree {
                    serde_json::Value::Object(mut map) if map.contains_key("payload") => {
                        map.remove("payload").unwrap_or_default()
                    }
                    tree => tree,
                });
            }
            Part::Value => {
                told.value = Some(half);
                told.envelope = tree.and_then(|tree| envelope(tree, asked.values));
            }
        }
    }
    Ok(())
}

/// Takes the framing off; a schema that the headers name goes before the first bytes.
fn frame<'r>(
    part: Part,
    bytes: &'r [u8],
    format: Format,
    payload_id: PayloadId,
    record: &'r OwnedRecord,
) -> Result<Framed<'r>, Fault> {
    match in_headers(part, &record.headers) {
        Some(id) => id.map(|id| Framed::Avro { id, body: bytes }),
        None => wire::frame(part, Some(bytes), format, payload_id),
    }
}

fn half(frame: String, schema: Option<String>, fault: &Fault) -> Half {
    Half { frame, schema, fault: Some(fault.to_string()) }
}

/// The full name of an Avro schema.
fn name_of(text: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let part =
        |name: &str| schema.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    match (part("namespace"), part("name")) {
        (namespace, name) if !namespace.is_empty() => format!("{namespace}.{name}"),
        (_, name) => name,
    }
}

/// The number of a schema beside a capture, which were all written with Confluent's framing.
fn captured_id(id: RegistryId) -> Option<u32> {
    match id {
        RegistryId::Confluent(id) => Some(id),
        _ => None,
    }
}

async fn text_of(schemas: &Schemas, id: RegistryId) -> Result<Arc<str>, Fault> {
    match schemas {
        Schemas::Registry(client) => client.schema(id).await,
        Schemas::Capture(known) => captured_id(id)
            .and_then(|id| known.get(&id))
            .map(|schema| Arc::from(schema.schema.as_str()))
            .ok_or_else(|| {
                Fault::poison(Code::SchemaUnknown, format!("schema {id} is not beside the capture"))
            }),
        Schemas::None => Err(Fault::blocked(
            Code::Configuration,
            format!("the record refers to schema {id}, but no registry is configured"),
            "set [registry] url",
        )),
    }
}

/// Decodes and rehearses the record.
async fn judge(
    asked: &Asked<'_>,
    routed: &Routed,
    told: &mut Explanation,
) -> Result<Verdict, Fault> {
    let overrides_of = |table: &TableName| {
        asked.config.tables.get(table).unwrap_or(&asked.config.defaults).clone()
    };
    let mut table = routed.table.clone();
    let mut decoder = TopicDecoder::new(routed.format, overrides_of(&table))
        .with_tables(routed.tables.clone())
        .with_payload_id(PayloadId::of(asked.config.registry.as_ref()))
        .with_sources(routed.position, routed.merge_sources);
    let (mut scratch, mut row) = (Scratch::default(), RowBuffer::default());
    let raw = asked.record.as_raw();
    let mut shape = None;
    // A second time, once the plan is there; where records name their tables it takes a plan that places the record, its
    // table, and that one's plan.
    for _ in 0..4 {
        match decoder.decode(&raw, &mut scratch, &mut row) {
            Decoded::NeedsPlan(need) => {
                let number = decoder.placed();
                let planned = if routed.tables.is_some() && number == UNPLACED {
                    let schema = describe(asked, &need).await?;
                    Planned::Plan(Arc::new(Plan::placing(&schema)))
                } else {
                    plan_for(asked, &table, &overrides_of(&table), &need, told).await?
                };
                match planned {
                    Planned::Verdict(verdict) => return Ok(verdict),
                    Planned::Plan(plan) => {
                        shape = plan.shape().map(Arc::clone);
                        decoder.put(number, &need, Ok(plan));
                    }
                }
            }
            Decoded::NewTable(named) => {
                told.table = Some(named.to_string());
                decoder.add_table(named.clone(), UNPLACED + 1);
                table = named;
            }
            Decoded::Skip(rule) => {
                return Ok(Verdict {
                    outcome: Outcome::Skipped,
                    code: None,
                    why: format!("rule {rule}: the record is no change of a row"),
                    hint: None,
                });
            }
            Decoded::Poison(fault) => return Ok(verdict_of(&fault)),
            Decoded::Change(mut change) => {
                let epoch = source_epoch(asked, decoder.source(change.source)).await?;
                change.version = change.version.in_epoch(epoch);
                told.version = Some(change.version.into());
                let Some(shape) = shape else { break };
                return rehearse(asked, &table, shape, &change, &row, told).await;
            }
        }
    }
    Ok(stops(Code::Internal, "the decoder asks for a plan again".to_owned(), "report this"))
}

/// The source epoch that is written down for the record's place. An epoch that starts with this very record and was not
/// seen by a worker yet is not known here.
async fn source_epoch(asked: &Asked<'_>, source: &str) -> Result<u32, Fault> {
    let at = &asked.record.at;
    let starts = match asked.destination.source_epochs(&asked.config.name).await {
        Err(fault) if is_missing(&fault) => return Ok(0),
        answer => answer?.1,
    };
    let here = starts.iter().filter(|start| {
        start.source == source
            && start.topic == at.topic
            && start.partition == at.partition
            && start.start_offset <= at.offset
    });
    Ok(here.map(|start| start.epoch).max().unwrap_or(0))
}

enum Planned {
    Plan(Arc<Plan>),
    Verdict(Verdict),
}

/// The plan as the worker would make it, but nothing is created: missing tables and columns are told.
async fn plan_for(
    asked: &Asked<'_>,
    table: &TableName,
    overrides: &Table,
    need: &PlanNeed,
    told: &mut Explanation,
) -> Result<Planned, Fault> {
    let schema = describe(asked, need).await?;
    if let Form::NotTableData(rule) = schema.form {
        return Ok(Planned::Plan(Arc::new(Plan::skipping(rule))));
    }
    let arrival = Arrival {
        origin: Origin {
            pipeline: &asked.config.name,
            table,
            topic: &asked.record.at.topic,
            key_schema: need.key.short(),
            value_schema: need.value.short(),
        },
        overrides,
        schema: &schema,
    };
    match silver::assess(asked.config, asked.destination, &arrival).await?.verdict {
        silver::Verdict::Fits { plan, .. } => Ok(Planned::Plan(Arc::new(plan))),
        silver::Verdict::Stop { fault, help, .. } => {
            told.sql = (!help.is_empty()).then(|| ddl::script(&help));
            Ok(Planned::Verdict(verdict_of(&fault)))
        }
        silver::Verdict::Alter(alterations) => {
            let statements: Vec<String> =
                alterations.iter().flat_map(|a| a.statements.clone()).collect();
            told.sql = Some(ddl::script(&statements));
            let code = refusal::planned(table, &alterations, &[]).code;
            Ok(Planned::Verdict(Verdict {
                outcome: Outcome::Alters,
                code: Some(code.as_str().to_owned()),
                why: refusal::text(table, &alterations),
                hint: Some(
                    "the worker runs the DDL below first; with [schema] changes = \"plan\" it stops and waits for you"
                        .to_owned(),
                ),
            }))
        }
    }
}

async fn describe(asked: &Asked<'_>, need: &PlanNeed) -> Result<RecordSchema, Fault> {
    let (key, value) = (fetch(asked, &need.key).await?, fetch(asked, &need.value).await?);
    plan::describe(as_text(&need.key, &key), as_text(&need.value, &value))
}

async fn fetch(asked: &Asked<'_>, id: &SchemaId) -> Result<Option<Arc<str>>, Fault> {
    match id {
        SchemaId::Avro(id) => text_of(asked.schemas, *id).await.map(Some),
        SchemaId::ConnectJson(text) => Ok(Some(Arc::clone(text))),
        SchemaId::Schemaless | SchemaId::None => Ok(None),
    }
}

fn as_text<'t>(id: &SchemaId, text: &'t Option<Arc<str>>) -> SchemaText<'t> {
    match (id, text) {
        (SchemaId::Avro(_), Some(text)) => SchemaText::Avro(text),
        (SchemaId::ConnectJson(_), Some(text)) => SchemaText::ConnectJson(text),
        (SchemaId::Schemaless, _) => SchemaText::Schemaless,
        _ => SchemaText::None,
    }
}

pub(super) fn verdict_of(fault: &Fault) -> Verdict {
    Verdict {
        outcome: match fault.class {
            Class::Poison => Outcome::DeadLettered,
            Class::Blocked | Class::Fatal => Outcome::LaneStops,
            Class::Transient | Class::Fenced => Outcome::Waits,
        },
        code: Some(fault.code.as_str().to_owned()),
        why: fault.text.clone(),
        hint: fault.hint.clone(),
    }
}

fn stops(code: Code, why: String, hint: &str) -> Verdict {
    verdict_of(&Fault::blocked(code, why, hint))
}
