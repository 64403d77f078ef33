//! Finds or makes the plan that a lane needs: what the schema implies for the Silver table is done where that is allowed.

use super::Shared;
use super::report::{Report, Reports, Resolution};
use crate::batch::Truncate;
use crate::config::{SchemaChanges, Table};
use crate::core::LaneId;
use crate::decode::PlanNeed;
use crate::decode::plan::Plan;
use crate::decode::plan::lineage::{Noticed, RowColumns};
use crate::decode::schema::Form;
use crate::fault::{Class, Code, Fault};
use crate::postgres::Origin;
use crate::silver::{self, Arrival, Assessment, Verdict, refusal};
use crate::sql::alteration::Alteration;
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
    pub(super) decoder: usize,
    pub(super) need: PlanNeed,
    /// The epochs of the table's rows have been compared with the registry.
    pub(super) epochs_checked: bool,
}

pub(super) async fn resolve(shared: Arc<Shared>, reports: Reports, job: Job) {
    let outcome = resolve_one(&shared, &job).await;
    let Job { lane, decoder, need, .. } = job;
    reports.send(Report::Planned { lane, decoder, need, outcome });
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
                if let Some(row) = row {
                    remember(shared, &arrival, &row, &noticed).await?;
                }
                if !job.epochs_checked {
                    let names = &shared.config.schema.bookkeeping;
                    shared.destination.check_epochs(&shared.config.name, &job.table, names).await?;
                }
                let floor = shared.destination.truncate_floor(&job.table).await?;
                let floor = floor.map(|(version, at)| Truncate { version, at });
                let holes = shared.destination.holes(&job.table).await?;
                return Ok(Resolution::TablePlan { plan: Arc::new(plan), shape, floor, holes });
            }
            Verdict::Stop { fault, .. } => return Err(fault),
            Verdict::Alter(alterations) => match shared.config.schema.changes {
                SchemaChanges::Plan => {
                    return Err(refusal::planned(&job.table, &alterations, &noticed));
                }
                SchemaChanges::Apply => alter(shared, &arrival, &alterations).await?,
            },
        }
    }
    Err(Fault::transient(
        Code::PostgresConflict,
        format!("table {} changed while its plan was made", job.table),
    ))
}

async fn alter(
    shared: &Shared,
    arrival: &Arrival<'_>,
    alterations: &[Alteration],
) -> Result<(), Fault> {
    let table = arrival.origin.table;
    let made = shared.destination.alter(&arrival.origin, alterations).await?;
    if !made.is_empty() {
        let statements: Vec<String> = made.iter().flat_map(|a| a.statements.clone()).collect();
        let text = refusal::text(table, &made);
        tracing::info!(%table, topic = arrival.origin.topic, ddl = ddl::script(&statements), "{text}: changed it");
    }
    Ok(())
}

/// Remembers the row schema and says, once, what a new one changes.
async fn remember(
    shared: &Shared,
    arrival: &Arrival<'_>,
    row: &RowColumns,
    noticed: &[Noticed],
) -> Result<(), Fault> {
    let table = arrival.origin.table;
    if shared.destination.remember_schema(&arrival.origin, row, noticed).await? {
        for noticed in noticed {
            let join = refusal::rename_comments(table, std::slice::from_ref(noticed));
            let hint = (!join.is_empty()).then(|| ddl::script(&join));
            tracing::warn!(%table, topic = arrival.origin.topic, hint, "{}", refusal::said_of(noticed));
        }
    }
    Ok(())
}
