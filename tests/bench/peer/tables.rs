//! The tables of both sides, and the rows that must be in them at the end.

use crate::load::Load;
use crate::server::Server;
use anyhow::bail;
use bytes::Bytes;
use futures::SinkExt;
use std::collections::HashMap;
use std::pin::pin;

const COLUMNS: &str =
    "order_id, customer_id, store_id, order_amount, status, created_at, updated_at, note";

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Debezium's JDBC sink: the eight columns, deletes take the row away.
    Peer,
    /// Silversink: its own columns too, deletes mark the row.
    Product,
}

impl Side {
    pub fn table(self) -> &'static str {
        match self {
            Self::Peer => "silver.by_jdbc_sink",
            Self::Product => "silver.by_silversink",
        }
    }

    /// Condition of a row that a reader takes for existing.
    pub fn live(self) -> &'static str {
        match self {
            Self::Peer => "true",
            Self::Product => "_deleted_at IS NULL",
        }
    }
}

/// What the tables must hold at the end: computed from the events alone, no sink has touched it.
pub async fn expect(server: &Server, load: &Load) -> anyhow::Result<()> {
    let mut newest: HashMap<i64, Option<&str>> = HashMap::new();
    for event in &load.events {
        newest.insert(event.id, event.row.as_deref());
    }
    let client = &server.client;
    client
        .batch_execute(
            "CREATE TEMP TABLE written (order_id bigint, customer_id bigint, store_id int, hundredths bigint,
               status text, created_at timestamptz, updated_at timestamptz, note text);
             CREATE TABLE prepared.deleted (order_id bigint PRIMARY KEY)",
        )
        .await?;
    let rows: String = newest.values().flatten().copied().collect();
    copy(server, "written", rows).await?;
    let deleted = newest.iter().filter(|(_, row)| row.is_none());
    copy(server, "prepared.deleted", deleted.map(|(id, _)| format!("{id}\n")).collect()).await?;
    client
        .batch_execute(&format!(
            "CREATE TABLE prepared.expected AS
               SELECT {COLUMNS} FROM prepared.peer AS p
               WHERE NOT EXISTS (SELECT FROM written AS w WHERE w.order_id = p.order_id)
                 AND NOT EXISTS (SELECT FROM prepared.deleted AS d WHERE d.order_id = p.order_id)
               UNION ALL
               SELECT order_id, customer_id, store_id, (hundredths / 100.0)::numeric(12,2), status, created_at,
                 updated_at, note FROM written;
             DROP TABLE written; ANALYZE prepared.expected; ANALYZE prepared.deleted"
        ))
        .await?;
    Ok(())
}

async fn copy(server: &Server, table: &str, rows: String) -> anyhow::Result<()> {
    let statement = format!("COPY {table} FROM STDIN (FORMAT csv)");
    let mut sink = pin!(server.client.copy_in::<_, Bytes>(&statement).await?);
    sink.send(Bytes::from(rows)).await?;
    sink.finish().await?;
    Ok(())
}

/// A fresh table with the rows from before the events, and no bookkeeping of an earlier run.
pub async fn prepare(server: &Server, side: Side) -> anyhow::Result<()> {
    let prepared = match side {
        Side::Peer => "peer",
        Side::Product => "product",
    };
    let table = side.table();
    let client = &server.client;
    client
        .batch_execute(&format!(
            "DROP SCHEMA IF EXISTS silversink CASCADE; DROP TABLE IF EXISTS {table};
             CREATE TABLE {table} (LIKE prepared.{prepared}) WITH (fillfactor = 90);
             INSERT INTO {table} SELECT * FROM prepared.{prepared};
             ALTER TABLE {table} ADD PRIMARY KEY (order_id)"
        ))
        .await?;
    client.batch_execute(&format!("VACUUM ANALYZE {table}")).await?;
    // Pages written after the checkpoint need no image of theirs in the log during the run.
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

/// A comparison that cannot fail proves nothing: it must find the freshly prepared table wrong.
pub async fn must_differ(server: &Server, side: Side) -> anyhow::Result<()> {
    if differences(server, side).await? == 0 {
        bail!("the comparison finds no difference although no event has been written");
    }
    Ok(())
}

/// Compares row by row: live rows with their values, and on our side which rows are marked deleted.
pub async fn verify(server: &Server, side: Side) -> anyhow::Result<()> {
    server.quiet().await?;
    match differences(server, side).await? {
        0 => Ok(()),
        n => bail!("{n} rows of {} are not as expected", side.table()),
    }
}

async fn differences(server: &Server, side: Side) -> anyhow::Result<i64> {
    let (table, live) = (side.table(), side.live());
    let of = |alias: &str| {
        let columns: Vec<String> =
            COLUMNS.split(", ").map(|column| format!("{alias}.{column}")).collect();
        columns.join(", ")
    };
    let mut statement = format!(
        "SELECT count(*) FROM prepared.expected AS e
         FULL JOIN (SELECT * FROM {table} WHERE {live}) AS t ON t.order_id = e.order_id
         WHERE ROW({}) IS DISTINCT FROM ROW({})",
        of("e"),
        of("t")
    );
    if side == Side::Product {
        statement = format!(
            "SELECT ({statement}) + (SELECT count(*) FROM prepared.deleted AS d
               FULL JOIN (SELECT * FROM {table} WHERE NOT {live}) AS t ON t.order_id = d.order_id
               WHERE d.order_id IS NULL OR t.order_id IS NULL)"
        );
    }
    Ok(server.client.query_one(&statement, &[]).await?.try_get(0)?)
}
