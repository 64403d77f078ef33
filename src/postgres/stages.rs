//! The session objects of a writer: per table shape a stage, its COPY statements, its settle functions and its loads.

use super::load::Load;
use super::sqlstate;
use super::writer::Writer;
use crate::batch::{Batch, Kind, StagedRow};
use crate::fault::Fault;
use crate::sql::catalogue;
use crate::sql::load;
use crate::sql::merge::Variant;
use crate::sql::settle::{self, Backend, Merging};
use crate::sql::stage::{self, Width};
use crate::table::{TableName, TableShape};
use std::sync::Arc;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement};

/// Wide stages that a session keeps: each is emptied by every COMMIT ([`stage`]).
const WIDE_KEPT: usize = 3;

/// Session objects of one table shape.
pub(super) struct Stage {
    pub(super) shape: Arc<TableShape>,
    pub(super) number: u32,
    width: Width,
    /// It is narrow, and a row did not fit: batches take the wide one from now on.
    outgrown: bool,
    fast: Forms,
    full: Option<Forms>,
    moved: Option<Forms>,
    pub(super) key_constraints: Vec<String>,
    /// The table was empty when the stage was made, and takes loads.
    pub(super) load: Option<Load>,
}

/// The statements of one variant.
struct Forms {
    copy: Statement,
    settle: Statement,
}

impl Writer {
    /// Index of the session objects for a shape; made when they are missing. Errors as in [`Writer::transact`].
    pub(super) async fn stage(
        &mut self,
        doing: &str,
        shape: &Arc<TableShape>,
        variant: Variant,
        width: Width,
    ) -> Result<Result<usize, Fault>, Fault> {
        let index = match self.stages.iter().position(|s| s.is_for(shape) && s.width == width) {
            Some(index) => index,
            None => {
                self.drop_stages(doing, |s| s.shape.table == shape.table && !s.is_for(shape))
                    .await?;
                if width == Width::Wide {
                    let wide = || self.stages.iter().filter(|s| s.width == Width::Wide);
                    let mut free = wide().filter(|s| !self.held.contains(&s.number));
                    if wide().count() >= WIDE_KEPT
                        && let Some(oldest) = free.next().map(|s| s.number)
                    {
                        self.drop_stages(doing, |s| s.number == oldest).await?;
                    }
                }
                self.next = self.next.wrapping_add(1);
                let made = make_stage(&self.client, shape, self.next, width, &self.backend);
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
        if stage.forms(variant).is_none() {
            let made = make_forms(&self.client, stage.merging(variant), &self.backend);
            let forms = match known(doing, self.limits.wait(doing, made).await?)? {
                Ok(forms) => forms,
                Err(fault) => return Ok(Err(fault)),
            };
            match variant {
                Variant::Fast => stage.fast = forms,
                Variant::Full => stage.full = Some(forms),
                Variant::Moved => stage.moved = Some(forms),
            }
        }
        Ok(Ok(index))
    }

    /// Makes the stage that most batches of a table need, if it is missing.
    ///
    /// # Errors
    /// As [`Writer::write`] when it makes it.
    pub async fn prepare(&mut self, shape: &Arc<TableShape>) -> Result<(), Fault> {
        let doing = format!("preparing to write to {}", shape.table);
        self.unbroken(&doing)?;
        self.busy = true;
        let made = self.stage(&doing, shape, Variant::Fast, Width::Narrow).await?;
        self.busy = false;
        made.map(|_| ())
    }

    /// Whether the session has a stage of the table already.
    #[must_use]
    pub fn has_stage_of(&self, table: &TableName) -> bool {
        self.stages.iter().any(|s| s.shape.table == *table)
    }

    /// How many stages the session has.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    pub(super) fn stage_at(&self, index: usize) -> Option<&Stage> {
        self.stages.get(index)
    }

    /// The width of stage that a batch's rows need.
    pub(super) fn width(&self, batch: &Batch, variant: Variant) -> Width {
        let Some(shape) = &batch.shape else { return Width::Narrow };
        let outgrown = || self.stages.iter().any(|s| s.outgrown && s.is_for(shape));
        let is_large = |row: &StagedRow| row.body.len() > stage::NARROW_BYTES;
        // A row that moved takes over its old row's large values in the stage.
        if variant == Variant::Moved || outgrown() || batch.rows.iter().any(is_large) {
            Width::Wide
        } else {
            Width::Narrow
        }
    }

    /// A row did not fit a narrow stage: batches of its shape take the wide one from now on. False when they did already.
    pub(super) fn outgrow(&mut self, shape: &Arc<TableShape>) -> bool {
        let narrow = self.stages.iter_mut().find(|s| s.width == Width::Narrow && s.is_for(shape));
        narrow.is_some_and(|stage| !std::mem::replace(&mut stage.outgrown, true))
    }

    /// Removes stages and what belongs to them.
    async fn drop_stages(
        &mut self,
        doing: &str,
        is_old: impl Fn(&Stage) -> bool,
    ) -> Result<(), Fault> {
        while let Some(index) = self.stages.iter().position(&is_old) {
            let old = self.stages.remove(index);
            let sql = format!(
                "{}; {}; {}; {}; {}",
                settle::drop(Some(old.merging(Variant::Fast))),
                settle::drop(Some(old.merging(Variant::Full))),
                settle::drop(Some(old.merging(Variant::Moved))),
                load::drop(old.number),
                stage::drop(old.number)
            );
            self.limits
                .wait(doing, self.client.batch_execute(&sql))
                .await?
                .map_err(|e| sqlstate::fault(doing, &e))?;
        }
        Ok(())
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
    fn is_for(&self, shape: &Arc<TableShape>) -> bool {
        Arc::ptr_eq(&self.shape, shape) || self.shape == *shape
    }

    fn merging(&self, variant: Variant) -> Merging<'_> {
        Merging { shape: &self.shape, stage: self.number, variant }
    }

    fn forms(&self, variant: Variant) -> Option<&Forms> {
        match variant {
            Variant::Fast => Some(&self.fast),
            Variant::Full => self.full.as_ref(),
            Variant::Moved => self.moved.as_ref(),
        }
    }

    pub(super) fn settle(&self, variant: Variant) -> Option<&Statement> {
        self.forms(variant).map(|forms| &forms.settle)
    }

    /// The COPY of a variant; [`Writer::stage`] has made it.
    pub(super) fn copy(&self, variant: Variant) -> &Statement {
        &self.forms(variant).unwrap_or(&self.fast).copy
    }
}

async fn make_stage(
    client: &Client,
    shape: &Arc<TableShape>,
    number: u32,
    width: Width,
    backend: &Backend,
) -> Result<Stage, Error> {
    let merging = Merging { shape, stage: number, variant: Variant::Fast };
    let of_table: [(&(dyn ToSql + Sync), Type); 2] =
        [(&shape.table.schema, Type::TEXT), (&shape.table.name, Type::TEXT)];
    let (create, is_empty) = (stage::create(shape, number, width), load::is_empty(shape));
    let is_empty = async {
        if !load::takes(shape) {
            return Ok(false);
        }
        match client.query_typed_one(&is_empty, &[]).await {
            // What is in the way of a look (a lock, a privilege) is in the way of the batch, and told then.
            Err(error) if error.as_db_error().is_some() => Ok(false),
            row => row?.try_get(0),
        }
    };
    // One behind the other, without a wait between them: a lane's first batch waits for all of this.
    let ((), fast, rows, is_empty) = futures::try_join!(
        client.batch_execute(&create),
        make_forms(client, merging, backend),
        client.query_typed(catalogue::KEY_CONSTRAINTS, &of_table),
        is_empty,
    )?;
    let key_constraints = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(Stage {
        shape: Arc::clone(shape),
        number,
        width,
        outgrown: false,
        fast,
        full: None,
        moved: None,
        key_constraints,
        load: is_empty.then(Load::default),
    })
}

async fn make_forms(
    client: &Client,
    merging: Merging<'_>,
    backend: &Backend,
) -> Result<Forms, Error> {
    let copy = stage::copy(merging.shape, merging.stage, merging.variant);
    let (copy, settle) =
        futures::try_join!(client.prepare(&copy), make_settle(client, Some(merging), backend))?;
    Ok(Forms { copy, settle })
}

async fn make_settle(
    client: &Client,
    merging: Option<Merging<'_>>,
    backend: &Backend,
) -> Result<Statement, Error> {
    let (create, call) = (settle::create(merging, backend), settle::call(merging));
    let ((), call) = futures::try_join!(client.batch_execute(&create), client.prepare(&call))?;
    Ok(call)
}

/// Splits a failure with a known end from one that leaves the session in an unknown state.
fn known<T>(doing: &str, result: Result<T, Error>) -> Result<Result<T, Fault>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.as_db_error().is_some() => Ok(Err(sqlstate::fault(doing, &error))),
        Err(error) => Err(sqlstate::fault(doing, &error)),
    }
}

/// The least that a batch needs.
pub(super) fn variant(batch: &Batch) -> Variant {
    let moved = |row: &StagedRow| row.base.as_ref().is_some_and(|base| base.old.is_some());
    if batch.rows.iter().all(|row| matches!(row.kind, Kind::Whole | Kind::Delete)) {
        Variant::Fast
    } else if batch.rows.iter().any(moved) {
        Variant::Moved
    } else {
        Variant::Full
    }
}
