//! Finds or makes the plan that a lane needs: what the schema implies for the Silver table is done where that is allowed.

use super::lane::{MissingLabel, Unplanned, Whose};
use super::report::{Report, Reports, Resolution};
use super::table::meeting;
use super::{Shared, blocking};
use crate::batch::Truncate;
use crate::config::{SchemaChanges, Table};
use crate::core::LaneId;
use crate::decode::PlanNeed;
use crate::decode::plan::Plan;
use crate::decode::plan::history::{Noticed, RowColumns};
use crate::decode::schema::Form;
use crate::fault::{Class, Code, Fault};
use crate::postgres::Origin;
use crate::route;
use crate::silver::{self, Arrival, Assessment, Verdict, refusal};
use crate::sql::alteration::{Alteration, Effect};
use crate::sql::ddl;
use crate::table::TableName;
use std::sync::Arc;

/// Looks at a table before its being altered all the time counts as a conflict.
const LOOKS: u32 = 3;
pub(super) struct Job {
    pub(super) lane: LaneId,
    pub(super) table: TableName,
    pub(super) topic: Arc<str>,
    pub(super) overrides: Table,
    pub(super) whose: Whose,
    pub(super) need: PlanNeed,
    /// It is for the key of a dead letter: no table is made for it, and nothing but an outage is waited for.
    pub(super) for_letter: bool,
    /// The epochs of the table's rows have been compared with the registry.
    pub(super) epochs_checked: bool,
    /// It is for records whose table is not known yet.
    pub(super) places: bool,
}

pub(super) async fn resolve(shared: Arc<Shared>, reports: Reports, job: Job) {
    let outcome = match resolve_one(&shared, &job).await {
        Ok(Resolution::Refused(_)) if job.for_letter => Ok(Resolution::Unplanned(Unplanned::NoFit)),
        Err(fault) if job.for_letter && matches!(fault.class, Class::Poison | Class::Blocked) => {
            Ok(Resolution::Unplanned(Unplanned::NoFit))
        }
        outcome => outcome,
    };
    let Job { lane, whose, need, .. } = job;
    reports.send(Report::Planned { lane, whose, need, outcome });
}

/// A label that an enum type of a Silver table has to get.
pub(super) struct LabelJob {
    pub(super) lane: LaneId,
    pub(super) table: TableName,
    pub(super) topic: Arc<str>,
    pub(super) missing: MissingLabel,
}

pub(super) async fn add_label(shared: Arc<Shared>, reports: Reports, job: LabelJob) {
    let outcome = add_label_to(&shared, &job).await;
    let table = job.missing.whose.table;
    reports.send(Report::Labelled { lane: job.lane, table, outcome });
}

async fn add_label_to(shared: &Shared, job: &LabelJob) -> Result<(), Fault> {
    let MissingLabel { column, label, .. } = &job.missing;
    let names = &shared.config.schema.bookkeeping;
    let described = shared.destination.describe(&job.table, names).await?;
    let Some(described) = described.filter(|d| d.labels.contains_key(column)) else {
        // Somebody changed the column meanwhile: the record is read again and judged anew.
        return Ok(());
    };
    let shape = &described.shape;
    let found = shape.column(column).and_then(|at| shape.columns.get(at));
    let sql_type = found.map_or("", |column| column.ty.sql.as_str());
    let alterations = [Alteration::label(column, sql_type, label)];
    if shared.config.schema.changes == SchemaChanges::Plan {
        return Err(refusal::planned(&job.table, &alterations, &[]));
    }
    let pipeline = &shared.config.name;
    let (key_schema, value_schema) = (None, None);
    let origin =
        Origin { pipeline, table: &job.table, topic: &job.topic, key_schema, value_schema };
    alter(shared, &origin, &alterations).await
}

async fn resolve_one(shared: &Shared, job: &Job) -> Result<Resolution, Fault> {
    let schema = match silver::describe(shared.registry.as_ref(), &job.need).await {
        Ok(schema) => schema,
        Err(fault) if fault.class == Class::Poison => return Ok(Resolution::Refused(fault)),
        Err(fault) => return Err(fault),
    };
    if let Form::NotTableData(rule) = schema.form {
        return Ok(Resolution::Plan(Arc::new(Plan::skipping(rule))));
    }
    if job.places {
        return Ok(Resolution::Plan(Arc::new(Plan::placing(&schema))));
    }
    unmet(shared, job).await?;
    shared.destination.own_table(&shared.config.name, &job.table).await?;
    let arrival = Arrival {
        origin: Origin {
            pipeline: &shared.config.name,
            table: &job.table,
            topic: &job.topic,
            key_schema: job.need.key.short(),
            value_schema: job.need.value.short(),
        },
        overrides: &job.overrides,
        schema: &schema,
    };
    // A created table fits at the second look; what another worker does in between may take one more.
    for _ in 0..LOOKS {
        let Assessment { verdict, row, noticed } =
            silver::assess(&shared.config, &shared.destination, &arrival).await?;
        match verdict {
            Verdict::Fits { plan, shape, warnings } => {
                for warning in warnings {
                    tracing::warn!(table = %job.table, "{warning}");
                }
                // Before the schema is remembered: it would count as one whose records have been applied.
                if !job.epochs_checked {
                    let names = &shared.config.schema.bookkeeping;
                    shared.destination.check_epochs(&shared.config.name, &job.table, names).await?;
                }
                let unseen = match row {
                    Some(row) => {
                        let unseen = remember(shared, &arrival, &row, &noticed).await?;
                        if unseen {
                            // Of two lanes that come to a table at once, one sees the other now.
                            unmet(shared, job).await?;
                        }
                        unseen
                    }
                    None => false,
                };
                let floor = shared.destination.truncate_floor(&job.table).await?;
                let floor = floor.map(|(version, at)| Truncate { version, at });
                let holes = shared.destination.holes(&job.table).await?;
                return Ok(Resolution::TablePlan {
                    plan: Arc::new(plan),
                    shape,
                    floor,
                    holes,
                    unseen,
                });
            }
            Verdict::Stop { fault, .. } => return Err(fault),
            Verdict::Alter(alterations)
                if job.for_letter
                    && matches!(&*alterations, [Alteration { effect: Effect::Table, .. }]) =>
            {
                return Ok(Resolution::Unplanned(Unplanned::NoTable));
            }
            Verdict::Alter(alterations) => match shared.config.schema.changes {
                SchemaChanges::Plan => {
                    return Err(refusal::planned(&job.table, &alterations, &noticed));
                }
                SchemaChanges::Apply => alter(shared, &arrival.origin, &alterations).await?,
            },
        }
    }
    Err(Fault::transient(
        Code::PostgresConflict,
        format!("table {} changed while its plan was made", job.table),
    ))
}

/// Makes sure that no other topic feeds the table, where records name tables and no name of a topic tells.
async fn unmet(shared: &Shared, job: &Job) -> Result<(), Fault> {
    let config = &shared.config;
    let own = route::route(config, &job.topic);
    let (Some(own), true) = (own, config.routes.iter().any(|r| r.table.contains("${source.")))
    else {
        return Ok(());
    };
    let facts = Arc::clone(&shared.facts);
    let topics = blocking(move || facts.topics()).await?;
    let fed = shared.destination.fed(&config.name).await?;
    for (topic, _) in topics.iter().filter(|(topic, _)| **topic != *job.topic) {
        let Some(other) = route::route(config, topic) else { continue };
        let has_fed = || fed.iter().any(|(by, table)| by == topic && *table == job.table);
        // Two names of topics that meet are refused where topics are listed.
        let meets = other.may_feed(&job.table)
            && (other.tables.is_none() && own.tables.is_some() || has_fed());
        if meets && !(own.merge_sources && other.merge_sources) {
            return Err(meeting(&job.table, &job.topic, &format!("topic {topic}")));
        }
    }
    Ok(())
}

async fn alter(
    shared: &Shared,
    origin: &Origin<'_>,
    alterations: &[Alteration],
) -> Result<(), Fault> {
    let Origin { table, topic, .. } = origin;
    let made = shared.destination.alter(origin, alterations).await?;
    if !made.is_empty() {
        let statements: Vec<String> = made.iter().flat_map(|a| a.statements.clone()).collect();
        let text = refusal::text(table, &made);
        let mut remarks: Vec<&str> = made.iter().filter_map(Alteration::remark).collect();
        remarks.dedup();
        let hint = (!remarks.is_empty()).then(|| remarks.join("; "));
        tracing::info!(%table, topic, hint, ddl = ddl::script(&statements), "{text}: changed it");
    }
    Ok(())
}

/// Remembers the row schema and says, once, what a new one changes. Whether it is new.
async fn remember(
    shared: &Shared,
    arrival: &Arrival<'_>,
    row: &RowColumns,
    noticed: &[Noticed],
) -> Result<bool, Fault> {
    let table = arrival.origin.table;
    let unseen = shared.destination.remember_schema(&arrival.origin, row, noticed).await?;
    for noticed in noticed.iter().filter(|_| unseen) {
        let join = refusal::rename_comments(table, std::slice::from_ref(noticed));
        let hint = (!join.is_empty()).then(|| ddl::script(&join));
        tracing::warn!(%table, topic = arrival.origin.topic, hint, "{}", refusal::said_of(noticed));
    }
    Ok(unseen)
}
