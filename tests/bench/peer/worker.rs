//! Silversink's release binary: one process, with a writer for each partition.

use crate::process;
use crate::server::Server;
use crate::tables::Side;
use anyhow::{Context, bail};
use std::process::{Child, Command, Stdio};
use tempfile::NamedTempFile;

/// Where the worker reads and with how many writers it writes.
pub struct Setup<'s> {
    pub bootstrap: &'s str,
    pub registry: &'s str,
    /// Consumer group: a new one reads from earliest.
    pub group: &'s str,
    pub topic: &'s str,
    pub writers: i32,
}

/// Ended on every path out of a run.
pub struct Worker {
    process: Child,
    _configuration: NamedTempFile,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Worker {
    pub fn start(server: &Server, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        std::fs::write(file.path(), configuration(server, setup))?;
        let process = Command::new(env!("CARGO_BIN_EXE_silversink"))
            .args(["run", "--config"])
            .arg(file.path())
            .stdin(Stdio::null())
            .spawn()
            .context("starting the release binary")?;
        Ok(Self { process, _configuration: file })
    }

    /// An error when it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            Some(status) => bail!("the worker ended in the middle of a run: {status}"),
            None => Ok(()),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Largest resident size so far, in MiB.
    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        process::peak_mib(self.pid())
    }
}

/// An error when one connection did the work of several: then the run does not compare what it says.
pub async fn must_have_shared(server: &Server, writers: i32) -> anyhow::Result<()> {
    let row = server
        .client
        .query_one("SELECT count(DISTINCT backend_pid) FROM silversink.position", &[])
        .await?;
    let connections: i64 = row.try_get(0)?;
    if connections != i64::from(writers) {
        bail!("{connections} connections wrote, not {writers}");
    }
    Ok(())
}

fn configuration(server: &Server, setup: &Setup<'_>) -> String {
    format!(
        "name = \"bench\"\n[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{}\"\n[registry]\nurl = \"{}\"\n\
         [postgres]\nurl = \"{}\"\n[limits]\nwriters = {}\n[defaults]\nwriters = {}\n[http]\nenabled = false\n\
         [log]\nlevel = \"warn\"\n[[route]]\ntopics = \"{}\"\ntable = \"{}\"\n",
        setup.bootstrap,
        setup.group,
        setup.registry,
        server.url(),
        setup.writers,
        setup.writers,
        setup.topic,
        Side::Product.table()
    )
}
