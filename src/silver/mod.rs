//! What a record schema implies for its Silver table: decided here once, for the worker, for `plan` and for `apply`.
//!
//! [`describe`] fetches the schemas of a record; [`assess`] reads table and history and gives a [`Verdict`]; [`refusal`] puts
//! what stops a lane into words, with the DDL that would help; [`survey`] does all that for every routed topic.
//!
//! # Decisions
//! - Made by themselves: a table, its bookkeeping columns, a new column, a widening, an enum label. Everything else stops
//!   the lane: another type, another key.
//! - Where one thing of a schema has to stop the lane, nothing of it is done: DDL in halves helps nobody.
//! - A narrower source type does not stop the lane unless `[schema] narrowing` says so. The Silver column holds every value,
//!   and narrowing it would refuse the older records that may still come; it is recorded, and the column stays as it is.
//!   Where it is to stop, it does so at a schema that is new, and as long as the Silver column holds more: a replay comes by
//!   the same schemas again without a stop, widens the column at the older one and leaves it so.
//! - A Silver enum type gets a label when a record brings one: what the schema lists (`allowed`) is older than the records
//!   until the connector restarts. Only where the schema says that the field is an enum, so that no text ends up in a type;
//!   a label is part of the source's schema, so its DDL may name it.
//! - A changed key stops the lane even where the table could take it: which row a record belongs to is never guessed.

mod describe;
pub mod refusal;
pub mod survey;

pub use describe::describe;

use crate::config::{self, Config, Narrowing};
use crate::decode::plan::history::{Noticed, RowColumns, SchemaHistory};
use crate::decode::plan::{self, Known, Mismatch, Plan, RecordSchema};
use crate::fault::Fault;
use crate::postgres::{Described, Destination, LARGEST_REWRITE, Origin};
use crate::sql::alteration::Alteration;
use crate::table::{TableName, TableShape};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A record schema on its way to its table.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// Who saw it where.
    pub origin: Origin<'a>,
    /// The table's settings.
    pub overrides: &'a config::Table,
    /// The schema.
    pub schema: &'a RecordSchema,
}

/// What is to be done before records of a schema can be written.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing.
    Fits {
        /// The compiled plan.
        plan: Plan,
        /// The table as it stands.
        shape: Arc<TableShape>,
        /// What is worth to be said about the table.
        warnings: Vec<String>,
    },
    /// These alterations, which lose nothing.
    Alter(Vec<Alteration>),
    /// A person has to decide.
    Stop {
        /// Why, with the DDL that would help.
        fault: Fault,
        /// That DDL, one statement or comment each.
        help: Vec<String>,
        /// Alterations that only their size speaks against.
        large: Vec<Alteration>,
    },
}

/// A verdict, and what the schema changes against the one before it.
#[derive(Debug)]
pub struct Assessment {
    /// What is to be done.
    pub verdict: Verdict,
    /// The row's columns, where there is a schema of it.
    pub row: Option<RowColumns>,
    /// What a new schema changes that needs no doing.
    pub noticed: Vec<Noticed>,
}

/// Looks at the table and at the earlier schemas of the topic.
///
/// # Errors
/// Transient when the destination is away; blocked when the catalogue cannot be read, or no table can be made of the schema.
pub async fn assess(
    config: &Config,
    destination: &Destination,
    arrival: &Arrival<'_>,
) -> Result<Assessment, Fault> {
    let Arrival { origin, overrides, schema } = arrival;
    let names = &config.schema.bookkeeping;
    let row = RowColumns::of(schema);
    let history = match &row {
        Some(_) => destination.schema_history(origin).await?,
        None => SchemaHistory::default(),
    };
    let (gone, noticed) = match &row {
        Some(row) => (history.gone(row), history.noticed(row)),
        None => (BTreeSet::new(), Vec::new()),
    };
    let verdict = match destination.describe(origin.table, names).await? {
        None => {
            let columns = plan::propose(schema, overrides)?;
            Verdict::Alter(vec![Alteration::create(origin.table, &columns, names)?])
        }
        Some(described) => {
            let stopping = match config.schema.narrowing {
                Narrowing::Stop => noticed.as_slice(),
                Narrowing::Record => &[],
            };
            judge(arrival, described, gone, stopping)?
        }
    };
    let verdict = match verdict {
        Verdict::Alter(alterations) => bounded(destination, origin.table, alterations).await?,
        verdict => verdict,
    };
    Ok(Assessment { verdict, row, noticed })
}

fn judge(
    arrival: &Arrival<'_>,
    described: Described,
    gone: BTreeSet<String>,
    noticed: &[Noticed],
) -> Result<Verdict, Fault> {
    let Arrival { origin, overrides, schema } = arrival;
    let table = origin.table;
    if let Some(refusal) = described.refusals.into_iter().next() {
        return Ok(Verdict::Stop { fault: refusal, help: Vec::new(), large: Vec::new() });
    }
    let mut alterations = Vec::new();
    if !described.missing_bookkeeping.is_empty() {
        let names = &described.shape.bookkeeping;
        alterations.push(Alteration::bookkeeping(table, names, described.missing_bookkeeping));
    }
    let shape = Arc::new(described.shape);
    let known = Known { gone, labels: described.labels };
    let compiled = plan::compile_after(schema, Arc::clone(&shape), overrides, &known);
    let narrowed = refusal::narrowed(arrival, &shape, noticed);
    let mismatches = match compiled {
        Ok(_) if narrowed.is_some() => Vec::new(),
        Ok(plan) if alterations.is_empty() => {
            return Ok(Verdict::Fits { plan, shape, warnings: described.warnings });
        }
        Ok(_) => Vec::new(),
        Err(mismatches) => mismatches,
    };
    for mismatch in &mismatches {
        match mismatch {
            Mismatch::ColumnMissing(column) => alterations.push(Alteration::column(table, column)?),
            Mismatch::Widening { column, from, to } => {
                alterations.push(Alteration::widening(table, column, from, to));
            }
            Mismatch::TypeMismatch { .. } | Mismatch::KeyMismatch(_) => {
                return Ok(refusal::stop(
                    arrival,
                    &shape,
                    described.key_constraint.as_deref(),
                    &mismatches,
                ));
            }
        }
    }
    Ok(narrowed.unwrap_or(Verdict::Alter(alterations)))
}

/// Stops where PostgreSQL would write a large table anew.
async fn bounded(
    destination: &Destination,
    table: &TableName,
    alterations: Vec<Alteration>,
) -> Result<Verdict, Fault> {
    if alterations.iter().any(Alteration::rewrites) {
        let bytes = destination.table_bytes(table).await?;
        if bytes > LARGEST_REWRITE {
            return Ok(refusal::too_large(table, bytes, alterations));
        }
    }
    Ok(Verdict::Alter(alterations))
}
