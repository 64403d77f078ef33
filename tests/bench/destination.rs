//! The destination: a throw-away PostgreSQL under the settings that the goals were measured with, and its tables.

use anyhow::Context;
use silversink::demo::throwaway::{Options, ThrowawayPostgres};
use tokio_postgres::{Client, NoTls};

use crate::process;
use crate::workload::PREFILLED;

/// Everything fits in memory and no checkpoint falls into a run: CPU is what limits.
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

const DATA_COLUMNS: &str = "order_id bigint NOT NULL, customer_id bigint, store_id int, order_amount numeric(12,2), \
    status text, created_at timestamptz, updated_at timestamptz, note text";

const DATA: &str = "g, g % 100000, g % 512, (g % 1000000)::numeric / 100, 'pending', \
    to_timestamp(1700000000 + g), to_timestamp(1700000000 + g), \
    md5(g::text) || ' left with neighbour, ring twice'";

pub struct Destination {
    server: ThrowawayPostgres,
    pub client: Client,
}

impl Destination {
    pub async fn start() -> anyhow::Result<Self> {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let server = ThrowawayPostgres::start(&Options { settings, ..Options::default() })?;
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
        tokio::spawn(connection);
        let zero = "decode(repeat('00', 37), 'hex')";
        client
            .batch_execute(&format!(
                "SET jit = off; CREATE SCHEMA silver; CREATE SCHEMA prepared;
                 CREATE TABLE prepared.product ({DATA_COLUMNS}, _version bytea NOT NULL, _deleted_at timestamptz,
                   _source_ts timestamptz, _applied_at timestamptz);
                 INSERT INTO prepared.product
                   SELECT {DATA}, {zero}, NULL, now(), now() FROM generate_series(1, {PREFILLED}) AS g;
                 CREATE TABLE prepared.yardstick ({DATA_COLUMNS}, _lsn bigint NOT NULL, _is_deleted boolean NOT NULL,
                   _deleted_at timestamptz, _applied_at timestamptz);
                 INSERT INTO prepared.yardstick
                   SELECT {DATA}, 0, false, NULL, now() FROM generate_series(1, {PREFILLED}) AS g;"
            ))
            .await?;
        Ok(Self { server, client })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Fresh copies of a prepared table, and no bookkeeping of an earlier run.
    pub async fn prepare(&self, prepared: &str, tables: usize) -> anyhow::Result<()> {
        // Pages written after the checkpoint need no image of theirs in the log during the run.
        self.client.batch_execute("DROP SCHEMA IF EXISTS silversink CASCADE; CHECKPOINT").await?;
        for n in 0..tables {
            let table = format!("silver.orders_{n}");
            self.client
                .batch_execute(&format!(
                    "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (LIKE prepared.{prepared}) WITH (fillfactor = 90);
                     INSERT INTO {table} SELECT * FROM prepared.{prepared};
                     ALTER TABLE {table} ADD PRIMARY KEY (order_id)"
                ))
                .await?;
            self.client.batch_execute(&format!("VACUUM ANALYZE {table}")).await?;
        }
        Ok(())
    }

    /// Fingerprint of what a reader of the table sees: live rows and how many are marked deleted.
    pub async fn fingerprint(&self, table: usize) -> anyhow::Result<String> {
        let row = self
            .client
            .query_one(
                &format!(
                    "SELECT count(*) FILTER (WHERE _deleted_at IS NULL) || ' live ' || count(_deleted_at) || ' deleted ' || \
                       sum(hashtextextended(concat_ws('|', order_id, customer_id, store_id, order_amount, status, \
                         created_at, updated_at, note), 0)) FILTER (WHERE _deleted_at IS NULL) \
                     FROM silver.orders_{table}"
                ),
                &[],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// CPU seconds so far of every backend but our own.
    pub async fn backend_seconds(&self) -> anyhow::Result<f64> {
        let rows = self
            .client
            .query(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let pid: i32 = row.try_get(0)?;
                Ok(process::scheduled_seconds(u32::try_from(pid).context("a process id")?))
            })
            .sum()
    }
}
