//! The schema `silversink`, who owns a Silver table, and its truncate floor.

use super::{Destination, sqlstate};
use crate::fault::{Class, Code, Fault};
use crate::sql::{ddl, ledger};
use crate::table::TableName;
use crate::version::Version;
use tokio_postgres::types::{ToSql, Type};

impl Destination {
    /// Makes the schema `silversink` complete. Safe when several workers start together: an advisory lock orders them.
    /// Where everything exists already, no privilege to create is needed.
    ///
    /// # Errors
    /// Blocked `privilege_missing` with the DDL as hint; transient when the server is away.
    pub async fn ensure_bookkeeping(&self) -> Result<(), Fault> {
        let doing = "preparing schema silversink";
        let mut client = self.client().await?;
        let present: i64 = self
            .ask(doing, client.query_typed_one(ledger::PRESENT, &[]))
            .await?
            .try_get(0)
            .map_err(|e| sqlstate::fault(doing, &e))?;
        if present == ledger::OBJECTS {
            return Ok(());
        }
        let work = async {
            let tx = client.transaction().await?;
            let made = async {
                tx.query_typed(
                    "SELECT pg_advisory_xact_lock($1)",
                    &[(&ledger::LOCK_KEY, Type::INT8)],
                )
                .await?;
                for statement in ledger::CREATE {
                    tx.batch_execute(statement).await?;
                }
                Ok(())
            }
            .await;
            finish(tx, made).await
        };
        self.ask(doing, work).await.map_err(|fault| match fault.code {
            Code::PrivilegeMissing => {
                let script: Vec<String> = ledger::CREATE.map(str::to_owned).to_vec();
                fault.with_hint(format!(
                    "let an owner run the following and grant the worker USAGE on the schema, SELECT, INSERT, UPDATE and \
                     DELETE on its tables:\n{}",
                    ddl::script(&script)
                ))
            }
            _ => fault,
        })
    }

    /// Registers `table` for `pipeline`, for ever: two pipelines in one table would fight over versions.
    ///
    /// # Errors
    /// Blocked `table_owned` when another pipeline owns it.
    pub async fn own_table(&self, pipeline: &str, table: &TableName) -> Result<(), Fault> {
        let doing = format!("registering table {table}");
        let client = self.client().await?;
        let name = [(&table.schema as _, Type::TEXT), (&table.name as _, Type::TEXT)];
        let [schema, table_name] = name.clone();
        self.ask(
            &doing,
            client.execute_typed(ledger::OWN_TABLE, &[schema, table_name, (&pipeline, Type::TEXT)]),
        )
        .await?;
        let row = self.ask(&doing, client.query_typed_one(ledger::TABLE_OWNER, &name)).await?;
        let owner: String = row.try_get(0).map_err(|e| sqlstate::fault(&doing, &e))?;
        if owner == pipeline {
            return Ok(());
        }
        Err(Fault::blocked(
            Code::TableOwned,
            format!("{doing}: it belongs to pipeline {owner:?}"),
            "route the topic to another table, or remove the row from silversink.silver_table when that pipeline is gone",
        ))
    }

    /// Topics and the tables that their schemas have fed so far; none where no worker ran yet.
    ///
    /// # Errors
    /// Transient when the server is away.
    pub async fn fed(&self, pipeline: &str) -> Result<Vec<(String, TableName)>, Fault> {
        let doing = "reading which topics feed which tables";
        let client = self.client().await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&pipeline, Type::TEXT)];
        let rows = match self.ask(doing, client.query_typed(ledger::FED, &params)).await {
            // There is no bookkeeping.
            Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => {
                Vec::new()
            }
            rows => rows?,
        };
        let read = |row: &tokio_postgres::Row| {
            let name = TableName::new(row.try_get::<_, &str>(1)?, row.try_get::<_, &str>(2)?);
            Ok((row.try_get(0)?, name))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|e| sqlstate::fault(doing, &e))
    }

    /// The version below which arrivals of the table are stored as deleted, with the time of the truncate in microseconds
    /// since 2000-01-01.
    ///
    /// # Errors
    /// Transient when the server is away.
    pub async fn truncate_floor(&self, table: &TableName) -> Result<Option<(Version, i64)>, Fault> {
        let doing = format!("reading the truncate floor of {table}");
        let client = self.client().await?;
        let rows = self
            .ask(
                &doing,
                client.query_typed(
                    ledger::TRUNCATE_FLOOR,
                    &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
                ),
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let read = |e| sqlstate::fault(&doing, &e);
        let version: &[u8] = row.try_get(0).map_err(read)?;
        let at: i64 = row.try_get(1).map_err(read)?;
        let version = Version::from_bytes(version).ok_or_else(|| {
            Fault::new(
                Class::Blocked,
                Code::Internal,
                format!("{doing}: the stored version has a wrong length"),
            )
        })?;
        Ok(Some((version, at)))
    }
}

impl Destination {
    /// The holes that dead letters left in a table: encoded key and version (I9).
    ///
    /// # Errors
    /// Transient when the server is away.
    pub async fn holes(&self, table: &TableName) -> Result<Vec<(Vec<u8>, Version)>, Fault> {
        let doing = format!("reading the holes of {table}");
        let client = self.client().await?;
        let name = [(&table.schema as _, Type::TEXT), (&table.name as _, Type::TEXT)];
        let rows = self.ask(&doing, client.query_typed(ledger::HOLES, &name)).await?;
        let hole = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get::<_, Vec<u8>>(1)?));
        let holes = rows.iter().map(hole).collect::<Result<Vec<_>, _>>();
        let holes = holes.map_err(|e| sqlstate::fault(&doing, &e))?;
        Ok(holes
            .into_iter()
            .filter_map(|(key, version)| Some((key, Version::from_bytes(&version)?)))
            .collect())
    }
}

/// Commits or rolls back, and waits for it, so that no connection returns to the pool with a transaction on it.
pub(super) async fn finish<T>(
    tx: deadpool_postgres::Transaction<'_>,
    made: Result<T, tokio_postgres::Error>,
) -> Result<T, tokio_postgres::Error> {
    match made {
        Ok(value) => tx.commit().await.map(|()| value),
        Err(error) => {
            // The first error is the one to report.
            tx.rollback().await.ok();
            Err(error)
        }
    }
}
