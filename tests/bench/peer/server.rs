//! The destination server of both sides: a throw-away PostgreSQL, set so that CPU is what limits.

use crate::load::PREFILLED;
use crate::process;
use anyhow::{Context, bail};
use silversink::demo::throwaway::{Options, ThrowawayPostgres};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// Everything fits in memory, commits are durable, and no checkpoint falls into a run.
const SETTINGS: [(&str, &str); 9] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("shared_buffers", "2GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("wal_level", "replica"),
    ("max_connections", "50"),
];

const DECLARED: &str = "order_id bigint NOT NULL, customer_id bigint, store_id int, order_amount numeric(12,2), \
    status text, created_at timestamptz, updated_at timestamptz, note text";

const VALUES: &str = "g, g % 100000, g % 512, (g % 1000000)::numeric / 100, 'pending', \
    to_timestamp(1700000000 + g), to_timestamp(1700000000 + g), \
    md5(g::text) || ' left with neighbour, ring twice'";

pub struct Server {
    server: ThrowawayPostgres,
    pub client: Client,
}

impl Server {
    /// With the rows from before the events in `prepared.peer` and, with Silversink's own columns, in `prepared.product`.
    pub async fn start() -> anyhow::Result<Self> {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let server = ThrowawayPostgres::start(&Options { settings, ..Options::default() })?;
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute(&format!(
                "SET jit = off; CREATE SCHEMA silver; CREATE SCHEMA prepared;
                 CREATE TABLE prepared.peer ({DECLARED});
                 INSERT INTO prepared.peer SELECT {VALUES} FROM generate_series(1, {PREFILLED}) AS g;
                 CREATE TABLE prepared.product ({DECLARED}, _version bytea NOT NULL, _deleted_at timestamptz,
                   _source_ts timestamptz, _applied_at timestamptz);
                 INSERT INTO prepared.product
                   SELECT *, decode(repeat('00', 37), 'hex'), NULL, now(), now() FROM prepared.peer"
            ))
            .await?;
        Ok(Self { server, client })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// CPU seconds so far of every backend but our own.
    pub async fn backend_seconds(&self) -> anyhow::Result<f64> {
        let pids = self.others().await?;
        Ok(pids.into_iter().map(process::scheduled_seconds).sum())
    }

    /// Waits until nobody else is connected: a stopped sink may still be at its last statement.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        for _ in 0..300 {
            if self.others().await?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("a stopped sink is still connected after 30 s")
    }

    /// Process ids of the other clients' backends.
    async fn others(&self) -> anyhow::Result<Vec<u32>> {
        let statement = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let rows = self.client.query(statement, &[]).await?;
        let pid = |row: &tokio_postgres::Row| {
            u32::try_from(row.try_get::<_, i32>(0)?).context("a process id")
        };
        rows.iter().map(pid).collect()
    }
}
