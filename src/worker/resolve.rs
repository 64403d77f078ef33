//! Finds or makes the plan that a lane needs: schema from the registry, Silver table from the catalogue, DDL where allowed.

use super::Shared;
use super::report::{Report, Reports, Resolution};
use crate::batch::Truncate;
use crate::config::{SchemaChanges, Table};
use crate::core::LaneId;
use crate::decode::plan::RecordSchema;
use crate::decode::plan::{self, Mismatch, Plan, SchemaText};
use crate::decode::schema::Form;
use crate::decode::{PlanNeed, SchemaId};
use crate::fault::{Class, Code, Fault};
use crate::sql::ddl;
use crate::table::{ProposedColumn, TableName, TableShape};
use crate::telemetry::metrics;
use crate::telemetry::names::Request;
use std::sync::Arc;
use std::time::Duration;

/// How often an id that the registry does not know is asked for again before it counts as unknown: a registry replica may
/// be a moment behind its leader.
const UNKNOWN_SCHEMA_TRIES: u32 = 3;
const UNKNOWN_SCHEMA_WAIT: Duration = Duration::from_millis(300);

pub(super) struct Job {
    pub(super) lane: LaneId,
    pub(super) table: TableName,
    pub(super) overrides: Table,
    pub(super) decoder: usize,
    pub(super) need: PlanNeed,
}

pub(super) async fn resolve(shared: Arc<Shared>, reports: Reports, job: Job) {
    let outcome = resolve_one(&shared, &job).await;
    let Job { lane, decoder, need, .. } = job;
    reports.send(Report::Planned { lane, decoder, need, outcome });
}

async fn resolve_one(shared: &Shared, job: &Job) -> Result<Resolution, Fault> {
    let schema = match describe(shared, &job.need).await {
        Ok(schema) => schema,
        Err(fault) if fault.class == Class::Poison => return Ok(Resolution::Refused(fault)),
        Err(fault) => return Err(fault),
    };
    if let Form::NotTableData(rule) = schema.form {
        return Ok(Resolution::Plan(Arc::new(Plan::skipping(rule))));
    }
    shared.destination.own_table(&shared.config.name, &job.table).await?;
    let mut shape = prepare_table(shared, job, &schema).await?;
    // Twice: once to find what is missing, once with what was added.
    for round in 0..2 {
        match plan::compile(&schema, Arc::clone(&shape), &job.overrides) {
            Ok(plan) => {
                let floor = shared.destination.truncate_floor(&job.table).await?;
                let floor = floor.map(|(version, at)| Truncate { version, at });
                let holes = shared.destination.holes(&job.table).await?;
                return Ok(Resolution::TablePlan { plan: Arc::new(plan), shape, floor, holes });
            }
            Err(mismatches) if round == 0 => {
                add_columns(shared, &job.table, &mismatches).await?;
                shape = describe_table(shared, &job.table)
                    .await?
                    .ok_or_else(|| vanished(&job.table))?;
            }
            Err(mismatches) => return Err(mismatched(&job.table, &mismatches)),
        }
    }
    Err(vanished(&job.table))
}

async fn describe(shared: &Shared, need: &PlanNeed) -> Result<RecordSchema, Fault> {
    let key = schema_text(shared, &need.key).await?;
    let value = schema_text(shared, &need.value).await?;
    plan::describe(key.as_text(), value.as_text())
}

/// A schema text that was fetched or was already there.
enum Fetched {
    Avro(Arc<str>),
    ConnectJson(Arc<str>),
    Schemaless,
    None,
}

impl Fetched {
    fn as_text(&self) -> SchemaText<'_> {
        match self {
            Self::Avro(text) => SchemaText::Avro(text),
            Self::ConnectJson(text) => SchemaText::ConnectJson(text),
            Self::Schemaless => SchemaText::Schemaless,
            Self::None => SchemaText::None,
        }
    }
}

async fn schema_text(shared: &Shared, id: &SchemaId) -> Result<Fetched, Fault> {
    Ok(match id {
        SchemaId::ConnectJson(text) => Fetched::ConnectJson(Arc::clone(text)),
        SchemaId::Schemaless => Fetched::Schemaless,
        SchemaId::None => Fetched::None,
        SchemaId::Avro(id) => {
            let Some(registry) = &shared.registry else {
                return Err(Fault::blocked(
                    Code::Configuration,
                    format!("a record refers to schema {id}, but no registry is configured"),
                    "set [registry] url",
                ));
            };
            let mut tries = 1;
            loop {
                let answer = registry.schema(*id).await;
                metrics::registry_request(outcome(&answer));
                match answer {
                    Ok(text) => break Fetched::Avro(text),
                    Err(fault)
                        if fault.code == Code::SchemaUnknown && tries < UNKNOWN_SCHEMA_TRIES =>
                    {
                        tries += 1;
                        tokio::time::sleep(UNKNOWN_SCHEMA_WAIT).await;
                    }
                    Err(fault) => return Err(fault),
                }
            }
        }
    })
}

fn outcome(answer: &Result<Arc<str>, Fault>) -> Request {
    match answer.as_ref().map_err(|fault| fault.code) {
        Ok(_) => Request::Found,
        Err(Code::SchemaUnknown) => Request::Unknown,
        Err(Code::RegistryUnauthorized) => Request::Refused,
        Err(_) => Request::Failed,
    }
}

/// The table as it stands, created or completed where that is allowed.
async fn prepare_table(
    shared: &Shared,
    job: &Job,
    schema: &RecordSchema,
) -> Result<Arc<TableShape>, Fault> {
    let names = &shared.config.schema.bookkeeping;
    let described = shared.destination.describe(&job.table, names).await?;
    let (code, text, statements) = match described {
        None => {
            let columns = plan::propose(schema, &job.overrides)?;
            let text = format!("table {} does not exist", job.table);
            (Code::TableMissing, text, ddl::create_table(&job.table, &columns, names)?)
        }
        Some(described) => {
            if let Some(refusal) = described.refusals.into_iter().next() {
                return Err(refusal);
            }
            for warning in &described.warnings {
                tracing::warn!(table = %job.table, "{warning}");
            }
            if described.missing_bookkeeping.is_empty() {
                return Ok(Arc::new(described.shape));
            }
            let missing = described.missing_bookkeeping;
            let text =
                format!("table {} lacks bookkeeping columns: {}", job.table, missing.join(", "));
            (Code::ColumnMissing, text, ddl::add_bookkeeping(&job.table, names, &missing))
        }
    };
    change(shared, code, text, &statements).await?;
    describe_table(shared, &job.table).await?.ok_or_else(|| vanished(&job.table))
}

async fn describe_table(
    shared: &Shared,
    table: &TableName,
) -> Result<Option<Arc<TableShape>>, Fault> {
    let described = shared.destination.describe(table, &shared.config.schema.bookkeeping).await?;
    Ok(described.map(|described| Arc::new(described.shape)))
}

async fn add_columns(
    shared: &Shared,
    table: &TableName,
    mismatches: &[Mismatch],
) -> Result<(), Fault> {
    let missing: Vec<ProposedColumn> = mismatches
        .iter()
        .filter_map(|mismatch| match mismatch {
            Mismatch::ColumnMissing(column) => Some(column.clone()),
            Mismatch::TypeMismatch { .. } | Mismatch::KeyMismatch(_) => None,
        })
        .collect();
    if missing.len() < mismatches.len() {
        return Err(mismatched(table, mismatches));
    }
    let mut statements = Vec::new();
    for column in &missing {
        statements.extend(ddl::add_column(table, column)?);
    }
    let names: Vec<_> = missing.iter().map(|column| column.name.as_str()).collect();
    let text = format!("table {table} lacks columns: {}", names.join(", "));
    change(shared, Code::ColumnMissing, text, &statements).await
}

async fn change(
    shared: &Shared,
    code: Code,
    text: String,
    statements: &[String],
) -> Result<(), Fault> {
    match shared.config.schema.changes {
        SchemaChanges::Plan => {
            let hint = format!(
                "run this, or set [schema] changes = \"apply\":\n{}",
                ddl::script(statements)
            );
            Err(Fault::blocked(code, text, hint))
        }
        SchemaChanges::Apply => {
            tracing::info!(ddl = ddl::script(statements), "{text}: changing it");
            shared.destination.execute_ddl(statements).await
        }
    }
}

fn mismatched(table: &TableName, mismatches: &[Mismatch]) -> Fault {
    let mut code = Code::ColumnMissing;
    let mut texts = Vec::new();
    let mut helps = Vec::new();
    for mismatch in mismatches {
        match mismatch {
            Mismatch::ColumnMissing(column) => {
                texts.push(format!("column \"{}\" is missing", column.name));
                helps.extend(ddl::add_column(table, column).unwrap_or_default());
            }
            Mismatch::TypeMismatch { column, reason, wanted_sql_type } => {
                code = Code::TypeMismatch;
                texts.push(reason.clone());
                if let Some(wanted) = wanted_sql_type {
                    helps.push(ddl::alter_type(table, column, wanted));
                }
            }
            Mismatch::KeyMismatch(reason) => {
                return Fault::blocked(
                    Code::KeyMismatch,
                    format!("table {table}: {reason}"),
                    "the Silver table's primary key must be the columns of the record key; set [table.\"schema.name\"] key if the record key is not the one to use",
                );
            }
        }
    }
    let hint = if helps.is_empty() {
        "change the Silver column to a type that holds the source's values".to_owned()
    } else {
        format!("this DDL would help:\n{}", ddl::script(&helps))
    };
    Fault::blocked(code, format!("table {table}: {}", texts.join("; ")), hint)
}

fn vanished(table: &TableName) -> Fault {
    Fault::transient(
        Code::PostgresConflict,
        format!("table {table} changed while its plan was made"),
    )
}
