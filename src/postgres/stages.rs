//! The session objects of a writer: per table shape a stage, its COPY statements and its settle functions.

use super::sqlstate;
use super::writer::Writer;
use crate::batch::{Batch, Kind};
use crate::fault::Fault;
use crate::sql::merge::Variant;
use crate::sql::settle::{self, Backend, Merging};
use crate::sql::{catalogue, stage};
use crate::table::{TableName, TableShape};
use std::sync::Arc;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};

/// Session objects of one table shape.
pub(super) struct Stage {
    pub(super) shape: Arc<TableShape>,
    pub(super) number: u32,
    copy: Statement,
    copy_partial: Statement,
    fast: Statement,
    full: Option<Statement>,
    pub(super) key_constraints: Vec<String>,
}

impl Writer {
    /// Index of the session objects for a shape; made when they are missing. Errors as in [`Writer::transact`].
    pub(super) async fn stage(
        &mut self,
        doing: &str,
        shape: &Arc<TableShape>,
        variant: Variant,
    ) -> Result<Result<usize, Fault>, Fault> {
        let found =
            self.stages.iter().position(|s| Arc::ptr_eq(&s.shape, shape) || s.shape == *shape);
        let index = match found {
            Some(index) => index,
            None => {
                self.drop_stages_of(doing, &shape.table).await?;
                self.next += 1;
                let made = make_stage(&self.client, shape, self.next, &self.backend);
                match known(doing, self.limits.wait(doing, made).await?)? {
                    Ok(stage) => {
                        self.stages.push(stage);
                        self.stages.len() - 1
                    }
                    Err(fault) => return Ok(Err(fault)),
                }
            }
        };
        let Some(stage) = self.stages.get_mut(index) else { return Ok(Ok(index)) };
        if variant == Variant::Full && stage.full.is_none() {
            let made = make_settle(&self.client, Some(stage.merging(Variant::Full)), &self.backend);
            match known(doing, self.limits.wait(doing, made).await?)? {
                Ok(statement) => stage.full = Some(statement),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Ok(index))
    }

    pub(super) fn stage_at(&self, index: usize) -> Option<&Stage> {
        self.stages.get(index)
    }

    /// Removes what was made for an older shape of a table.
    async fn drop_stages_of(&mut self, doing: &str, table: &TableName) -> Result<(), Fault> {
        let Some(index) = self.stages.iter().position(|s| s.shape.table == *table) else {
            return Ok(());
        };
        let old = self.stages.swap_remove(index);
        let sql = format!(
            "{}; {}; {}",
            settle::drop(Some(old.merging(Variant::Fast))),
            settle::drop(Some(old.merging(Variant::Full))),
            stage::drop(old.number)
        );
        self.limits
            .wait(doing, self.client.batch_execute(&sql))
            .await?
            .map_err(|e| sqlstate::fault(doing, &e))
    }

    pub(super) async fn positions_call(
        &mut self,
        doing: &str,
    ) -> Result<Result<Statement, Fault>, Fault> {
        if let Some(statement) = &self.positions {
            return Ok(Ok(statement.clone()));
        }
        let made = make_settle(&self.client, None, &self.backend);
        let made = known(doing, self.limits.wait(doing, made).await?)?;
        Ok(made.inspect(|statement| self.positions = Some(statement.clone())))
    }
}

impl Stage {
    fn merging(&self, variant: Variant) -> Merging<'_> {
        Merging { shape: &self.shape, stage: self.number, variant }
    }

    pub(super) fn settle(&self, variant: Variant) -> Option<&Statement> {
        match variant {
            Variant::Fast => Some(&self.fast),
            Variant::Full => self.full.as_ref(),
        }
    }

    pub(super) fn copy(&self, batch: &Batch) -> &Statement {
        if has_partial(batch) { &self.copy_partial } else { &self.copy }
    }
}

async fn make_stage(
    client: &Client,
    shape: &Arc<TableShape>,
    number: u32,
    backend: &Backend,
) -> Result<Stage, Error> {
    client.batch_execute(&stage::create(shape, number)).await?;
    let copy = client.prepare(&stage::copy(shape, number, false)).await?;
    let copy_partial = client.prepare(&stage::copy(shape, number, true)).await?;
    let fast = make_settle(
        client,
        Some(Merging { shape, stage: number, variant: Variant::Fast }),
        backend,
    )
    .await?;
    let rows = client
        .query_typed(
            catalogue::KEY_CONSTRAINTS,
            &[(&shape.table.schema, Type::TEXT), (&shape.table.name, Type::TEXT)],
        )
        .await?;
    let key_constraints = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(Stage {
        shape: Arc::clone(shape),
        number,
        copy,
        copy_partial,
        fast,
        full: None,
        key_constraints,
    })
}

async fn make_settle(
    client: &Client,
    merging: Option<Merging<'_>>,
    backend: &Backend,
) -> Result<Statement, Error> {
    client.batch_execute(&settle::create(merging, backend)).await?;
    client.prepare(&settle::call(merging)).await
}

/// Splits a failure with a known end from one that leaves the session in an unknown state.
fn known<T>(doing: &str, result: Result<T, Error>) -> Result<Result<T, Fault>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.as_db_error().is_some() => Ok(Err(sqlstate::fault(doing, &error))),
        Err(error) => Err(sqlstate::fault(doing, &error)),
    }
}

pub(super) fn has_partial(batch: &Batch) -> bool {
    batch.rows.iter().any(|row| row.kind == Kind::Partial)
}

pub(super) fn variant(batch: &Batch) -> Variant {
    let plain = batch.rows.iter().all(|row| matches!(row.kind, Kind::Whole | Kind::Delete));
    if plain { Variant::Fast } else { Variant::Full }
}
