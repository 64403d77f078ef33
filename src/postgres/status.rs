//! What `status` shows: positions, table counts, dead letters by cause.

use super::{Destination, sqlstate};
use crate::fault::Fault;
use crate::record::Coordinates;
use crate::sql::ledger;
use crate::table::{Bookkeeping, TableName};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// One row of `silversink.position`.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionRow {
    /// Topic name.
    pub topic: String,
    /// Topic id; nil when the broker does not tell.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// The next offset to apply; `None` before the first start.
    pub next_offset: Option<i64>,
    /// Leader epoch of that offset, if known.
    pub leader_epoch: Option<i32>,
    /// The fence.
    pub owner_epoch: i64,
    /// Who claimed last.
    pub owner: String,
    /// Where counting started.
    pub start_offset: Option<i64>,
    /// Changes applied since then.
    pub applied: i64,
    /// Changes superseded.
    pub superseded: i64,
    /// Records skipped by a named rule.
    pub skipped: i64,
    /// Records dead-lettered.
    pub dead_lettered: i64,
    /// `claimed`, `running` or `stopped`.
    pub state: String,
    /// Why, in code form.
    pub reason: Option<String>,
    /// The Silver table that the partition feeds, if it was known at the claim.
    pub table: Option<TableName>,
    /// Seconds since the row was last written, by the server's clock.
    pub age_seconds: f64,
}

/// Rows of a Silver table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// All rows.
    pub rows: i64,
    /// Rows that are not marked deleted.
    pub live: i64,
    /// Rows that are marked deleted.
    pub deleted: i64,
}

impl Destination {
    /// The positions of a pipeline, by topic and partition.
    ///
    /// # Errors
    /// Transient when the server is away; blocked when the bookkeeping tables are missing.
    pub async fn positions(&self, pipeline: &str) -> Result<Vec<PositionRow>, Fault> {
        let doing = "reading positions";
        let client = self.client().await?;
        let rows = self
            .ask(doing, client.query_typed(ledger::POSITIONS, &[(&pipeline, Type::TEXT)]))
            .await?;
        rows.iter().map(|row| position(row).map_err(|e| sqlstate::fault(doing, &e))).collect()
    }

    /// Counts the rows of a Silver table. Reads the whole table.
    ///
    /// # Errors
    /// Transient when the server is away or too slow; blocked when the table or its bookkeeping is missing.
    pub async fn table_counts(
        &self,
        table: &TableName,
        names: &Bookkeeping,
    ) -> Result<TableCounts, Fault> {
        let doing = format!("counting rows of {table}");
        let client = self.client().await?;
        let row = self
            .ask(&doing, client.query_typed_one(&ledger::table_counts(table, names), &[]))
            .await?;
        let counts = || {
            Ok(TableCounts {
                rows: row.try_get(0)?,
                live: row.try_get(1)?,
                deleted: row.try_get(2)?,
            })
        };
        counts().map_err(|e| sqlstate::fault(&doing, &e))
    }

    /// Parked dead letters of a pipeline by code.
    ///
    /// # Errors
    /// Transient when the server is away; blocked when the bookkeeping tables are missing.
    pub async fn dead_letters_by_code(&self, pipeline: &str) -> Result<Vec<(String, i64)>, Fault> {
        let doing = "counting dead letters";
        let client = self.client().await?;
        let rows = self
            .ask(doing, client.query_typed(ledger::LETTERS_BY_CODE, &[(&pipeline, Type::TEXT)]))
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, _>>()
            .map_err(|e| sqlstate::fault(doing, &e))
    }
}

impl Destination {
    /// The dead letter of one record, for people: code, status and reason.
    ///
    /// # Errors
    /// Transient when the server is away; blocked when the bookkeeping tables are missing.
    pub async fn dead_letter_at(
        &self,
        pipeline: &str,
        at: &Coordinates,
    ) -> Result<Option<String>, Fault> {
        let doing = format!("looking for a dead letter of {at}");
        let client = self.client().await?;
        let record: [(&(dyn ToSql + Sync), Type); 4] = [
            (&pipeline, Type::TEXT),
            (&at.topic, Type::TEXT),
            (&at.partition, Type::INT4),
            (&at.offset, Type::INT8),
        ];
        let rows = self.ask(&doing, client.query_typed(ledger::LETTER_AT, &record)).await?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(|e| sqlstate::fault(&doing, &e))
    }
}

fn position(row: &Row) -> Result<PositionRow, tokio_postgres::Error> {
    let schema: Option<String> = row.try_get(14)?;
    let table: Option<String> = row.try_get(15)?;
    Ok(PositionRow {
        topic: row.try_get(0)?,
        topic_id: row.try_get(1)?,
        partition: row.try_get(2)?,
        next_offset: row.try_get(3)?,
        leader_epoch: row.try_get(4)?,
        owner_epoch: row.try_get(5)?,
        owner: row.try_get(6)?,
        start_offset: row.try_get(7)?,
        applied: row.try_get(8)?,
        superseded: row.try_get(9)?,
        skipped: row.try_get(10)?,
        dead_lettered: row.try_get(11)?,
        state: row.try_get(12)?,
        reason: row.try_get(13)?,
        table: schema.zip(table).map(|(schema, name)| TableName { schema, name }),
        age_seconds: row.try_get(16)?,
    })
}
