//! One run of the release binary as a process of its own, watched from outside.

use crate::destination::Destination;
use crate::process;
use crate::result::Measured;
use crate::workload::PARTITIONS;
use anyhow::{Context, bail};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run reads and how.
pub struct Setup<'s> {
    pub bootstrap: &'s str,
    pub registry: &'s str,
    /// Consumer group: a new one reads from earliest.
    pub group: String,
    /// Number of topics, each with its table and lane.
    pub lanes: usize,
    pub writers: usize,
    pub batch_rows: usize,
    pub events: usize,
}

/// Ended on every path out of a run.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn run(destination: &Destination, setup: &Setup<'_>) -> anyhow::Result<Measured> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    std::fs::write(file.path(), configuration(destination, setup, port))?;
    let begun = Instant::now();
    let mut process = Process(
        Command::new(env!("CARGO_BIN_EXE_silversink"))
            .args(["run", "--config"])
            .arg(file.path())
            .stdin(Stdio::null())
            .spawn()
            .context("starting the release binary")?,
    );
    let pid = process.0.id();
    let partitions = i64::try_from(setup.lanes)? * i64::from(PARTITIONS);
    let total = i64::try_from(setup.events * setup.lanes)?;
    let mut joined = None;
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(status) = process.0.try_wait()? {
            bail!("the worker ended in the middle of a run: {status}");
        }
        if begun.elapsed() > PATIENCE {
            bail!("the worker did not finish within {PATIENCE:?}");
        }
        let Ok((claimed, settled, since)) = look(destination).await else { continue };
        if joined.is_none() && claimed == partitions {
            joined = Some((
                begun.elapsed(),
                process::cpu_seconds(pid)?,
                destination.backend_seconds().await?,
            ));
        }
        if settled < total {
            continue;
        }
        let (join, cpu, backends) = joined.context("settled before it was claimed")?;
        let metrics = scrape(port).await?;
        let events = f64::from(u32::try_from(total)?);
        return Ok(Measured {
            events,
            seconds: since,
            join: join.as_secs_f64(),
            client_cpu: process::cpu_seconds(pid)? - cpu,
            backend_cpu: destination.backend_seconds().await? - backends,
            peak_mib: process::peak_mib(pid)?,
            rows: value(&metrics, "silversink_batch_records_sum", ""),
            batches: value(&metrics, "silversink_batch_records_count", ""),
            applied: value(&metrics, "silversink_records_total", "applied"),
        });
    }
}

/// Partitions claimed, records settled, seconds since the first claim.
async fn look(destination: &Destination) -> anyhow::Result<(i64, i64, f64)> {
    let row = destination
        .client
        .query_one(
            "SELECT count(next_offset), coalesce(sum(next_offset), 0)::bigint, \
               coalesce(extract(epoch FROM clock_timestamp() - min(claimed_at)), 0)::float8 FROM silversink.position",
            &[],
        )
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

fn configuration(destination: &Destination, setup: &Setup<'_>, port: u16) -> String {
    let routed: Vec<String> = (0..setup.lanes).map(|n| n.to_string()).collect();
    format!(
        "name = \"bench\"\n[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{}\"\n[registry]\nurl = \"{}\"\n\
         [postgres]\nurl = \"{}\"\n[limits]\nwriters = {}\nbatch_rows = {}\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [log]\nlevel = \"warn\"\n[[route]]\ntopics = '^bench\\.public\\.(?<table>orders_[{}])$'\n\
         table = \"silver.${{table}}\"\n",
        setup.bootstrap,
        setup.group,
        setup.registry,
        destination.url(),
        setup.writers,
        setup.batch_rows,
        routed.concat()
    )
}

async fn scrape(port: u16) -> anyhow::Result<String> {
    Ok(reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await?.text().await?)
}

/// Sum over the series of a metric whose labels contain `label`.
fn value(metrics: &str, name: &str, label: &str) -> f64 {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        .filter_map(|rest| rest.rsplit_once(' ').and_then(|(_, number)| number.parse::<f64>().ok()))
        .sum()
}
