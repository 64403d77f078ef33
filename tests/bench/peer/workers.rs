//! Silversink's release binary: one process per writer, all of one consumer group.

use crate::process;
use crate::server::Server;
use crate::tables::Side;
use anyhow::{Context, bail};
use std::process::{Child, Command, Stdio};
use tempfile::NamedTempFile;

/// Where the workers read and how many they are.
pub struct Setup<'s> {
    pub bootstrap: &'s str,
    pub registry: &'s str,
    /// Consumer group: a new one reads from earliest.
    pub group: &'s str,
    pub topic: &'s str,
    pub workers: i32,
}

/// Ended on every path out of a run.
pub struct Workers {
    processes: Vec<Child>,
    _configuration: NamedTempFile,
}

impl Drop for Workers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Workers {
    pub fn start(server: &Server, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        std::fs::write(file.path(), configuration(server, setup))?;
        let mut workers = Self { processes: Vec::new(), _configuration: file };
        for _ in 0..setup.workers {
            let process = Command::new(env!("CARGO_BIN_EXE_silversink"))
                .args(["run", "--config"])
                .arg(workers._configuration.path())
                .stdin(Stdio::null())
                .spawn()
                .context("starting the release binary")?;
            workers.processes.push(process);
        }
        Ok(workers)
    }

    /// An error when one has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.try_wait()? {
                bail!("a worker ended in the middle of a run: {status}");
            }
        }
        Ok(())
    }

    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Largest resident sizes so far, added up, in MiB.
    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        self.processes.iter().map(|process| process::peak_mib(process.id())).sum()
    }
}

/// An error when one worker did the work of several: then the run does not compare what it says.
pub async fn must_have_shared(server: &Server, workers: i32) -> anyhow::Result<()> {
    let row = server
        .client
        .query_one("SELECT count(DISTINCT owner), max(owner_epoch) FROM silversink.position", &[])
        .await?;
    let (owners, claims): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if owners != i64::from(workers) || claims != 1 {
        bail!("{owners} of {workers} workers had partitions, claimed up to {claims} times");
    }
    Ok(())
}

fn configuration(server: &Server, setup: &Setup<'_>) -> String {
    format!(
        "name = \"bench\"\n[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{}\"\n[registry]\nurl = \"{}\"\n\
         [postgres]\nurl = \"{}\"\n[limits]\nwriters = 1\n[http]\nenabled = false\n[log]\nlevel = \"warn\"\n\
         [[route]]\ntopics = \"{}\"\ntable = \"{}\"\n",
        setup.bootstrap,
        setup.group,
        setup.registry,
        server.url(),
        setup.topic,
        Side::Product.table()
    )
}
