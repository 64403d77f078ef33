//! Alterations of Silver tables, each recorded in the transaction that makes it, and the row schemas that topics have had.
//!
//! # Decisions
//! - One transaction: alterations, and their rows in `silversink.schema_change`. An advisory lock per table and a look at
//!   the catalogue behind it make sure that of several workers one does it and one records it.
//! - The wait for the table's lock is short ([`LONGEST_LOCK_WAIT`]) even where `lock_timeout` is long: everybody who wants
//!   the table queues behind a waiting ACCESS EXCLUSIVE lock. The lane tries again with backoff, as often as it takes.
//! - An alteration that makes PostgreSQL write the table anew is made up to [`LARGEST_REWRITE`]; above it, readers would
//!   stand still for longer than anybody decided, so the lane stops and prints the DDL.

use super::bookkeeping::finish;
use super::{Destination, sqlstate};
use crate::decode::plan::history::{Noticed, RowColumns, SchemaHistory};
use crate::fault::{Class, Code, Fault};
use crate::sql::alteration::{self, Alteration, Present};
use crate::sql::{ddl, ledger};
use crate::table::TableName;
use deadpool_postgres::Transaction;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio_postgres::types::Type;

/// How long an alteration waits for the locks it needs, at most.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(2);

/// Bytes of a table, its TOAST and its indexes up to which it is written anew without asking: about a second of work.
pub const LARGEST_REWRITE: i64 = 64 << 20;

/// What a schema change is about: who saw which schemas in which topic, for which table.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// Pipeline.
    pub pipeline: &'a str,
    /// Silver table.
    pub table: &'a TableName,
    /// Topic.
    pub topic: &'a str,
    /// The key's schema: its id in the registry, `json`, or nothing.
    pub key_schema: Option<String>,
    /// The value's.
    pub value_schema: Option<String>,
}

impl Destination {
    /// Makes those of the alterations that are still to be made and records each, in one transaction. Returns what was
    /// made.
    ///
    /// # Errors
    /// Transient when a lock is not to be had in time or another worker is at it; blocked when PostgreSQL refuses.
    pub async fn alter(
        &self,
        origin: &Origin<'_>,
        alterations: &[Alteration],
    ) -> Result<Vec<Alteration>, Fault> {
        let doing = format!("altering table {}", origin.table);
        let patience = self.limits.lock.min(LONGEST_LOCK_WAIT).as_millis();
        let mut client = self.client().await?;
        let work = async {
            let tx = client.transaction().await?;
            let made = alter(&tx, origin, alterations, patience).await;
            finish(tx, made).await
        };
        self.ask(&doing, Box::pin(work)).await.map_err(|fault| refused(fault, alterations))
    }

    /// Bytes that writing the table anew would write.
    ///
    /// # Errors
    /// Transient when the server is away.
    pub async fn table_bytes(&self, table: &TableName) -> Result<i64, Fault> {
        let doing = format!("measuring table {table}");
        let client = self.client().await?;
        let name = [(&table.schema as _, Type::TEXT), (&table.name as _, Type::TEXT)];
        let row = self.ask(&doing, client.query_typed_one(alteration::BYTES, &name)).await?;
        row.try_get(0).map_err(|e| sqlstate::fault(&doing, &e))
    }

    /// The row schemas that the topic has had for this table.
    ///
    /// # Errors
    /// Transient when the server is away.
    pub async fn schema_history(&self, origin: &Origin<'_>) -> Result<SchemaHistory, Fault> {
        let doing = format!("reading the schemas of topic {}", origin.topic);
        let client = self.client().await?;
        let parameters = [
            (&origin.pipeline as _, Type::TEXT),
            (&origin.topic as _, Type::TEXT),
            (&origin.table.schema as _, Type::TEXT),
            (&origin.table.name as _, Type::TEXT),
        ];
        let answer =
            self.ask(&doing, client.query_typed(ledger::SOURCE_SCHEMAS, &parameters)).await;
        let rows = match answer {
            // `plan` may come before the first worker, and with it the bookkeeping tables.
            Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => {
                Vec::new()
            }
            answer => answer?,
        };
        let read = |row: &tokio_postgres::Row| {
            let (names, types): (Vec<String>, Vec<String>) = (row.try_get(1)?, row.try_get(2)?);
            Ok(RowColumns { key: row.try_get(0)?, columns: names.into_iter().zip(types).collect() })
        };
        let schemas: Result<Vec<RowColumns>, tokio_postgres::Error> =
            rows.iter().map(read).collect();
        Ok(SchemaHistory { schemas: schemas.map_err(|e| sqlstate::fault(&doing, &e))? })
    }

    /// Remembers a row schema and, if it is new, what it changes. `false` when it was known.
    ///
    /// # Errors
    /// Transient when the server is away.
    pub async fn remember_schema(
        &self,
        origin: &Origin<'_>,
        schema: &RowColumns,
        noticed: &[Noticed],
    ) -> Result<bool, Fault> {
        let doing = format!("remembering a schema of topic {}", origin.topic);
        let mut client = self.client().await?;
        let work = async {
            let tx = client.transaction().await?;
            let made = remember(&tx, origin, schema, noticed).await;
            finish(tx, made).await
        };
        self.ask(&doing, Box::pin(work)).await
    }
}

async fn alter(
    tx: &Transaction<'_>,
    origin: &Origin<'_>,
    alterations: &[Alteration],
    patience_ms: u128,
) -> Result<Vec<Alteration>, tokio_postgres::Error> {
    let table = origin.table;
    tx.batch_execute(&format!("SET LOCAL lock_timeout = {patience_ms}")).await?;
    let lock = format!("silversink {table}");
    tx.query_typed(
        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))",
        &[(&lock, Type::TEXT)],
    )
    .await?;
    let name = [(&table.schema as _, Type::TEXT), (&table.name as _, Type::TEXT)];
    let columns = tx
        .query_typed(alteration::PRESENT, &name)
        .await?
        .iter()
        .map(|row| {
            let [name, sql_type] = [row.try_get(0)?, row.try_get(1)?];
            Ok(Present { name, sql_type, labels: row.try_get(2)? })
        })
        .collect::<Result<Vec<_>, tokio_postgres::Error>>()?;
    let present = (!columns.is_empty()).then_some(columns.as_slice());
    let mut made = Vec::new();
    for alteration in alterations.iter().filter(|alteration| alteration.is_pending(present)) {
        for statement in &alteration.statements {
            tx.batch_execute(statement).await?;
        }
        let remark = alteration.remark().map(|remark| format!("-- {remark}"));
        let statements: Vec<String> = alteration.statements.iter().cloned().chain(remark).collect();
        let script = ddl::script(&statements);
        record(tx, origin, alteration.kind(), alteration.column_name(), Some(&script)).await?;
        made.push(alteration.clone());
    }
    Ok(made)
}

async fn remember(
    tx: &Transaction<'_>,
    origin: &Origin<'_>,
    schema: &RowColumns,
    noticed: &[Noticed],
) -> Result<bool, tokio_postgres::Error> {
    let (names, types): (Vec<&str>, Vec<&str>) =
        schema.columns.iter().map(|(name, ty)| (name.as_str(), ty.as_str())).unzip();
    let fingerprint = fingerprint(schema);
    let parameters = [
        (&origin.pipeline as _, Type::TEXT),
        (&origin.topic as _, Type::TEXT),
        (&origin.table.schema as _, Type::TEXT),
        (&origin.table.name as _, Type::TEXT),
        (&fingerprint as _, Type::TEXT),
        (&origin.key_schema as _, Type::TEXT),
        (&origin.value_schema as _, Type::TEXT),
        (&schema.key as _, Type::TEXT_ARRAY),
        (&names as _, Type::TEXT_ARRAY),
        (&types as _, Type::TEXT_ARRAY),
    ];
    if tx.execute_typed(ledger::REMEMBER_SOURCE_SCHEMA, &parameters).await? == 0 {
        return Ok(false);
    }
    for noticed in noticed {
        record(tx, origin, noticed.kind(), Some(noticed.column()), None).await?;
    }
    Ok(true)
}

async fn record(
    tx: &Transaction<'_>,
    origin: &Origin<'_>,
    kind: &str,
    column: Option<&str>,
    ddl: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let parameters = [
        (&origin.pipeline as _, Type::TEXT),
        (&origin.table.schema as _, Type::TEXT),
        (&origin.table.name as _, Type::TEXT),
        (&kind as _, Type::TEXT),
        (&column as _, Type::TEXT),
        (&ddl as _, Type::TEXT),
        (&origin.topic as _, Type::TEXT),
        (&origin.key_schema as _, Type::TEXT),
        (&origin.value_schema as _, Type::TEXT),
    ];
    tx.execute_typed(ledger::RECORD_SCHEMA_CHANGE, &parameters).await.map(|_| ())
}

/// Names and types of a schema as one short text.
fn fingerprint(schema: &RowColumns) -> String {
    let mut hash = Sha256::new();
    for key in &schema.key {
        hash.update(key);
        hash.update([0]);
    }
    for (name, ty) in &schema.columns {
        hash.update([1]);
        hash.update(name);
        hash.update([0]);
        hash.update(ty);
    }
    format!("{:x}", hash.finalize())
}

/// What a failed alteration means.
fn refused(fault: Fault, alterations: &[Alteration]) -> Fault {
    // Two workers that create one object at the same time meet in the catalogue's own unique indexes, or find it there in
    // spite of IF NOT EXISTS: the next attempt sees it.
    let raced =
        matches!(fault.sqlstate.as_deref(), Some("23505" | "42P06" | "42P07" | "42701" | "42710"));
    // A view or a rule uses the column, or it is the key of a partitioned table.
    let used = matches!(fault.sqlstate.as_deref(), Some("0A000" | "2BP01" | "42P16"));
    let statements: Vec<String> =
        alterations.iter().flat_map(|alteration| alteration.statements.clone()).collect();
    match fault.class {
        _ if raced => Fault { class: Class::Transient, code: Code::PostgresConflict, ..fault },
        Class::Transient | Class::Fatal => fault,
        // DDL is no record: whatever is wrong with it is the world's.
        _ => {
            let (code, why) = if used {
                (
                    Code::TypeMismatch,
                    "something depends on the column (a view, a rule, a partition key): drop it, run this, create it again",
                )
            } else {
                (fault.code, "PostgreSQL refused")
            };
            let hint = Some(format!("{why}:\n{}", ddl::script(&statements)));
            Fault { class: Class::Blocked, code, hint, ..fault }
        }
    }
}
