//! The destination: a throw-away PostgreSQL under the settings that the goals were measured with, its tables, and the
//! comparison of their rows with what they must be.

use crate::process;
use crate::workload::{Spec, expected, row};
use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::SinkExt as _;
use silversink::config;
use silversink::demo::throwaway::{Options, ThrowawayPostgres};
use std::pin::pin;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// Everything fits in memory and no checkpoint falls into a run: CPU is what limits. The times of commits are what the
/// latency is read from.
const SETTINGS: [(&str, &str); 10] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("shared_buffers", "2GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("wal_level", "replica"),
    ("max_connections", "50"),
    ("track_commit_timestamp", "on"),
];

const WAIT: Duration = Duration::from_secs(30);
/// The topic of which the pipeline has written to the tables before a run.
pub const EARLIER: &str = "earlier";

/// Whose columns a table has beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Product,
    Yardstick,
}

impl Writer {
    /// Names, declarations and the values of rows that were there before.
    fn bookkeeping(self) -> (&'static str, &'static str) {
        match self {
            Self::Product => (
                "_version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz",
                "decode(repeat('00', 37), 'hex'), NULL, now(), now()",
            ),
            Self::Yardstick => (
                "_lsn bigint NOT NULL, _is_deleted boolean NOT NULL, _deleted_at timestamptz, _applied_at timestamptz",
                "0, false, NULL, now()",
            ),
        }
    }
}

/// WAL that a run wrote.
#[derive(Clone, Debug, Default)]
pub struct Wal {
    pub bytes: f64,
    /// On pages of the Silver tables and their indexes.
    pub silver: f64,
    /// On pages of the bookkeeping tables (schema `silversink`).
    pub bookkeeping: f64,
    /// Kinds of the records on Silver pages.
    pub kinds: String,
}

pub struct Destination {
    server: ThrowawayPostgres,
    pub client: Client,
    expected: Vec<Spec>,
}

impl Destination {
    pub async fn start() -> anyhow::Result<Self> {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let server = ThrowawayPostgres::start(&Options { settings, ..Options::default() })?;
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute(
                "SET jit = off; SET work_mem = '1GB'; SET client_min_messages = 'error';
                 CREATE SCHEMA silver; CREATE SCHEMA prepared; CREATE SCHEMA expected; CREATE EXTENSION pg_walinspect",
            )
            .await?;
        Ok(Self { server, client, expected: Vec::new() })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Fresh tables with the rows that the specs want, and no bookkeeping of an earlier run.
    pub async fn prepare(&mut self, writer: Writer, specs: &[Spec]) -> anyhow::Result<()> {
        // Pages written after the checkpoint need no image of theirs in the log during the run.
        self.client.batch_execute("DROP SCHEMA IF EXISTS silversink CASCADE; CHECKPOINT").await?;
        for spec in specs {
            let (columns, values) = writer.bookkeeping();
            let (silver, declared) = (spec.silver(), row::declared(spec.columns));
            let filled = row::prefilled(spec.columns);
            let rows = spec.rows;
            // The data of the largest tables is computed once and copied.
            let source = if rows >= 1_000_000 && spec.columns == row::COLUMNS.len() {
                let prepared = format!("prepared.{writer:?}_{rows}").to_lowercase();
                let done = self
                    .client
                    .query_one("SELECT to_regclass($1) IS NOT NULL", &[&prepared])
                    .await?;
                if !done.try_get::<_, bool>(0)? {
                    self.client
                        .batch_execute(&format!(
                            "CREATE TABLE {prepared} ({declared}, {columns});
                             INSERT INTO {prepared} SELECT {filled}, {values} FROM generate_series(1, {rows}) AS g"
                        ))
                        .await?;
                }
                format!("SELECT * FROM {prepared}")
            } else {
                format!("SELECT {filled}, {values} FROM generate_series(1, {rows}) AS g")
            };
            self.client
                .batch_execute(&format!(
                    "DROP TABLE IF EXISTS {silver}; CREATE TABLE {silver} ({declared}, {columns}) WITH (fillfactor = 90);
                     INSERT INTO {silver} {source}; ALTER TABLE {silver} ADD PRIMARY KEY (order_id)"
                ))
                .await?;
            self.client.batch_execute(&format!("VACUUM ANALYZE {silver}")).await?;
        }
        if writer == Writer::Product { self.remember_work(specs).await } else { Ok(()) }
    }

    /// Makes the pipeline one that has written to the tables before. One that has not reads each row's version at its start
    /// (0.1 s for a million rows), which is no part of what an event costs.
    async fn remember_work(&self, specs: &[Spec]) -> anyhow::Result<()> {
        let config = config::Postgres {
            url: self.url().into(),
            ca: None,
            statement_timeout: WAIT,
            lock_timeout: WAIT,
            connect_timeout: WAIT,
        };
        let product = silversink::postgres::Destination::connect(&config, 1, "bench").await?;
        product.ensure_bookkeeping().await?;
        for spec in specs {
            self.client
                .execute(
                    "INSERT INTO silversink.position (pipeline, topic, topic_id, partition, owner_epoch, owner, start_offset, \
                       next_offset, schema_name, table_name) \
                     SELECT 'bench', $1, gen_random_uuid(), $2, 1, '', 0, 1, schema, name \
                     FROM split_part($3, '.', 1) AS schema, split_part($3, '.', 2) AS name",
                    &[&EARLIER, &i32::try_from(spec.table)?, &spec.silver()],
                )
                .await?;
        }
        Ok(())
    }

    /// No tables at all: the product makes its own.
    pub async fn clear(&self, specs: &[Spec]) -> anyhow::Result<()> {
        self.client.batch_execute("DROP SCHEMA IF EXISTS silversink CASCADE; CHECKPOINT").await?;
        for spec in specs {
            self.client.batch_execute(&format!("DROP TABLE IF EXISTS {}", spec.silver())).await?;
        }
        Ok(())
    }

    /// Compares each row of the tables with what the changes make of it.
    pub async fn verify(&mut self, specs: &[Spec]) -> anyhow::Result<()> {
        for spec in specs {
            let (wrong, first) = self.wrong_rows(spec).await?;
            ensure!(
                wrong == 0,
                "{wrong} rows of {} are not what its changes make of them, the first has key {first}",
                spec.silver()
            );
        }
        Ok(())
    }

    /// The comparison must find the tables wrong that nobody wrote to yet; looked at once for each.
    pub async fn verify_that_work_is_left(&mut self, specs: &[Spec]) -> anyhow::Result<()> {
        for spec in specs {
            if !self.expected.contains(spec) {
                let (wrong, _) = self.wrong_rows(spec).await?;
                ensure!(wrong > 0, "{} is right before anybody wrote to it", spec.silver());
            }
        }
        Ok(())
    }

    /// How many rows are wrong, missing or too many, and the first one's key.
    async fn wrong_rows(&mut self, spec: &Spec) -> anyhow::Result<(i64, i64)> {
        let expected = self.expectation(spec).await?;
        let names = row::names(spec.columns);
        let of = |alias: &str| {
            names.split(", ").map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ")
        };
        let row = self
            .client
            .query_one(
                &format!(
                    "SELECT count(*), coalesce(min(coalesce(e.order_id, t.order_id)), 0) FROM {expected} AS e \
                     FULL JOIN {} AS t ON t.order_id = e.order_id \
                     WHERE e.order_id IS NULL OR t.order_id IS NULL OR e.deleted <> (t._deleted_at IS NOT NULL) \
                       OR NOT e.deleted AND ({}) IS DISTINCT FROM ({})",
                    spec.silver(),
                    of("e"),
                    of("t")
                ),
                &[],
            )
            .await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// The table that holds what a table must hold; made at first use.
    async fn expectation(&mut self, spec: &Spec) -> anyhow::Result<String> {
        let known = self.expected.iter().position(|known| known == spec);
        let name = format!("expected.e{}", known.unwrap_or(self.expected.len()));
        if known.is_some() {
            return Ok(name);
        }
        let (declared, names) = (row::declared(spec.columns), row::names(spec.columns));
        self.client
            .batch_execute(&format!(
                "CREATE UNLOGGED TABLE {name} ({declared}, deleted boolean NOT NULL);
                 ALTER TABLE {name} SET (autovacuum_enabled = off)"
            ))
            .await?;
        let mut sink =
            pin!(self.client.copy_in::<_, Bytes>(&format!("COPY {name} FROM STDIN")).await?);
        let mut text = Bytes::from(expected::last_changes(spec));
        while !text.is_empty() {
            sink.feed(text.split_to(text.len().min(1 << 20))).await?;
        }
        sink.finish().await?;
        self.client
            .batch_execute(&format!(
                "ANALYZE {name};
                 INSERT INTO {name} ({names}, deleted)
                   SELECT {}, false FROM generate_series(1, {}) AS g
                   WHERE NOT EXISTS (SELECT FROM {name} AS e WHERE e.order_id = g);
                 ANALYZE {name}",
                row::prefilled(spec.columns),
                spec.rows
            ))
            .await?;
        self.expected.push(spec.clone());
        Ok(name)
    }

    /// Drops expectations that nobody will ask for again: those of large tables take room.
    pub async fn forget_expectations(&mut self) -> anyhow::Result<()> {
        self.expected.clear();
        Ok(self
            .client
            .batch_execute("DROP SCHEMA expected CASCADE; CREATE SCHEMA expected")
            .await?)
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

    /// Where the write-ahead log ends now, and on disk.
    pub async fn wal_end(&self) -> anyhow::Result<String> {
        // A commit that wrote something takes to disk what others wrote and did not wait for.
        self.client.execute("SELECT pg_logical_emit_message(true, 'bench', '')", &[]).await?;
        let row = self.client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await?;
        Ok(row.try_get(0)?)
    }

    /// What was written since a place in the log.
    pub async fn wal_since(&self, start: &str) -> anyhow::Result<Wal> {
        let end = self.wal_end().await?;
        let row = self
            .client
            .query_one(
                "WITH records AS (
                   SELECT record_length, block_ref, resource_manager || ' ' || record_type AS kind
                   FROM pg_get_wal_records_info($1::text::pg_lsn, $2::text::pg_lsn)
                 ), names AS (
                   SELECT nspname, format('/%s ', pg_relation_filenode(c.oid)) AS node
                   FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                   WHERE nspname IN ('silver', 'silversink') AND pg_relation_filenode(c.oid) IS NOT NULL
                 )
                 SELECT pg_wal_lsn_diff($2::text::pg_lsn, $1::text::pg_lsn)::float8,
                   coalesce(sum(record_length) FILTER (WHERE nspname = 'silver'), 0)::float8,
                   coalesce(sum(record_length) FILTER (WHERE nspname = 'silversink'), 0)::float8,
                   coalesce(string_agg(DISTINCT kind, ', ') FILTER (WHERE nspname = 'silver'), 'none')
                 FROM records LEFT JOIN names ON strpos(block_ref, node) > 0",
                &[&start, &end],
            )
            .await?;
        Ok(Wal {
            bytes: row.try_get(0)?,
            silver: row.try_get(1)?,
            bookkeeping: row.try_get(2)?,
            kinds: row.try_get(3)?,
        })
    }
}
