//! One run of the release binary as a process of its own, watched from outside.

use crate::bench::Limits;
use crate::destination::{Destination, EARLIER};
use crate::process;
use crate::result::Measured;
use crate::workload::Spec;
use anyhow::{Context, bail, ensure};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Rows of a batch by default; its bytes suffice for so many.
const BATCH_ROWS: usize = 10_000;
const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(300);

/// What a run reads and how.
pub struct Setup<'s> {
    pub bootstrap: &'s str,
    pub registry: &'s str,
    /// Consumer group: a new one reads from the positions that the destination holds.
    pub group: String,
    /// The topics; all of one kind.
    pub specs: &'s [Spec],
    pub limits: Limits,
}

/// A running worker; ended on every path out of a run.
pub struct Worker {
    process: Child,
    port: u16,
    begun: Instant,
    partitions: i64,
    // Read by the worker at its start.
    _configuration: tempfile::NamedTempFile,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Worker {
    pub fn start(
        destination: &Destination,
        setup: &Setup<'_>,
        caught_up: bool,
    ) -> anyhow::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let configuration = tempfile::Builder::new().suffix(".toml").tempfile()?;
        std::fs::write(configuration.path(), toml(destination, setup, port)?)?;
        let begun = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_silversink"));
        command.args(["run", "--config"]).arg(configuration.path()).stdin(Stdio::null());
        if caught_up {
            command.arg("--until-caught-up");
        }
        let process = command.spawn().context("starting the release binary")?;
        let partitions = setup.specs.iter().map(|spec| i64::from(spec.partitions)).sum();
        Ok(Self { process, port, begun, partitions, _configuration: configuration })
    }

    /// Waits until each partition is claimed; answers how long that took from the start.
    pub async fn claimed(&mut self, destination: &Destination) -> anyhow::Result<f64> {
        loop {
            if let Ok(at) = look(destination).await
                && at.claimed == self.partitions
            {
                return Ok(self.begun.elapsed().as_secs_f64());
            }
            self.pause().await?;
        }
    }

    /// Waits until this many records are settled; answers the seconds since the first claim.
    pub async fn settled(&mut self, destination: &Destination, total: i64) -> anyhow::Result<f64> {
        loop {
            if let Ok(at) = look(destination).await
                && at.settled >= total
            {
                return Ok(at.seconds);
            }
            self.pause().await?;
        }
    }

    async fn pause(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(LOOK).await;
        if let Some(status) = self.process.try_wait()? {
            bail!("the worker ended in the middle of a run: {status}");
        }
        ensure!(self.begun.elapsed() < PATIENCE, "the worker did not finish within {PATIENCE:?}");
        Ok(())
    }

    /// Waits for the end of a worker that ends when it is caught up; answers the seconds since its start.
    pub async fn ended(&mut self) -> anyhow::Result<f64> {
        loop {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "the worker failed: {status}");
                return Ok(self.begun.elapsed().as_secs_f64());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            ensure!(
                self.begun.elapsed() < PATIENCE,
                "the worker did not finish within {PATIENCE:?}"
            );
        }
    }

    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.process.id())
    }

    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        process::peak_mib(self.process.id())
    }

    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        Ok(Metrics(reqwest::get(url).await?.text().await?))
    }
}

/// From the first claim to the last record settled.
pub async fn run(destination: &Destination, setup: &Setup<'_>) -> anyhow::Result<Measured> {
    let total: usize = setup.specs.iter().map(|spec| spec.events).sum();
    let mut worker = Worker::start(destination, setup, false)?;
    let join = worker.claimed(destination).await?;
    let (cpu, backends) = (worker.cpu_seconds()?, destination.backend_seconds().await?);
    let seconds = worker.settled(destination, i64::try_from(total)?).await?;
    let metrics = worker.metrics().await?;
    Ok(Measured {
        events: f64::from(u32::try_from(total)?),
        seconds,
        join,
        client_cpu: worker.cpu_seconds()? - cpu,
        backend_cpu: destination.backend_seconds().await? - backends,
        peak_mib: worker.peak_mib()?,
        rows: metrics.value("silversink_batch_records_sum", ""),
        batches: metrics.value("silversink_batch_records_count", ""),
        applied: metrics.value("silversink_records_total", "applied"),
    })
}

struct Look {
    claimed: i64,
    settled: i64,
    /// Since the first claim.
    seconds: f64,
}

async fn look(destination: &Destination) -> anyhow::Result<Look> {
    let row = destination
        .client
        .query_one(
            "SELECT count(next_offset), coalesce(sum(next_offset), 0)::bigint, \
               coalesce(extract(epoch FROM clock_timestamp() - min(claimed_at)), 0)::float8 FROM silversink.position \
             WHERE topic <> $1",
            &[&EARLIER],
        )
        .await?;
    Ok(Look { claimed: row.try_get(0)?, settled: row.try_get(1)?, seconds: row.try_get(2)? })
}

fn toml(destination: &Destination, setup: &Setup<'_>, port: u16) -> anyhow::Result<String> {
    let first = setup.specs.first().context("no topics")?;
    let tables: Vec<String> = setup.specs.iter().map(|spec| spec.table.to_string()).collect();
    // Keys without a section stand above the first one.
    let mut text = "name = \"bench\"\n".to_owned();
    let Limits { writers, of_table, batch_rows, fetch_wait } = setup.limits;
    for (key, value) in [
        ("limits.writers", writers),
        ("limits.batch_rows", batch_rows),
        ("defaults.writers", of_table),
    ] {
        if let Some(value) = value {
            writeln!(text, "{key} = {value}")?;
        }
    }
    if batch_rows.is_some_and(|rows| rows > BATCH_ROWS) {
        // The yardstick counts rows only: bytes must not end a batch sooner.
        writeln!(text, "limits.batch_bytes = \"64MiB\"\nlimits.memory_bytes = \"256MiB\"")?;
    }
    text.push_str("[kafka]\n");
    if let Some(wait) = fetch_wait {
        writeln!(text, "properties.\"fetch.wait.max.ms\" = \"{wait}\"")?;
    }
    write!(
        text,
        "bootstrap_servers = \"{}\"\ngroup_id = \"{}\"\n[registry]\nurl = \"{}\"\n\
         [postgres]\nurl = \"{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[log]\nlevel = \"warn\"\n\
         [[route]]\ntopics = '^bench\\.{}\\.(?<table>orders_({}))$'\ntable = \"silver.${{table}}\"\n",
        setup.bootstrap,
        setup.group,
        setup.registry,
        destination.url(),
        first.kind,
        tables.join("|")
    )?;
    Ok(text)
}

/// What `/metrics` said.
pub struct Metrics(String);

impl Metrics {
    /// Sum over the series of a metric whose labels contain `label`.
    pub fn value(&self, name: &str, label: &str) -> f64 {
        self.0
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
            .filter_map(|rest| {
                rest.rsplit_once(' ').and_then(|(_, number)| number.parse::<f64>().ok())
            })
            .sum()
    }
}
