//! The clock of both sides: a reader of the destination table, from the first event that is visible there to the last.

use crate::load::{Load, PREFILLED};
use crate::process;
use crate::server::Server;
use crate::tables::Side;
use anyhow::bail;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(10);
const CHECK: Duration = Duration::from_secs(1);
/// Without anything new for this long, a run has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What lay between the first visible events and the last.
pub struct Window {
    /// Events that became visible after the clock started: not those that started it.
    pub events: f64,
    pub seconds: f64,
    /// CPU seconds of the client's processes inside of the window.
    pub client_cpu: f64,
    /// The same since they began.
    pub client_cpu_in_all: f64,
    pub backend_cpu: f64,
}

/// Table, load and processes of one run.
pub struct Watch<'w> {
    pub server: &'w Server,
    pub side: Side,
    pub load: &'w Load,
    pub partitions: i32,
    pub pids: Vec<u32>,
}

impl Watch<'_> {
    /// Follows a run to its end; `check` is asked each second whether the client is well.
    pub async fn follow(
        &self,
        mut check: impl AsyncFnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Window> {
        let (mut newest, mut changed, mut checked) = (None, Instant::now(), Instant::now());
        let mut begun = None;
        loop {
            tokio::time::sleep(LOOK).await;
            if checked.elapsed() > CHECK {
                checked = Instant::now();
                check().await?;
            }
            let (seen, is_done) = self.look().await?;
            if seen != newest {
                (newest, changed) = (seen, Instant::now());
            } else if changed.elapsed() > PATIENCE {
                bail!("nothing new in {} for {PATIENCE:?}", self.side.table());
            }
            if begun.is_none() && seen > Some(PREFILLED) {
                let at = Instant::now();
                let (cpu, backends) = (self.client()?, self.server.backend_seconds().await?);
                begun = Some((at, self.written().await?, cpu, backends));
            }
            let (true, Some((at, written, cpu, backends))) = (is_done, begun) else { continue };
            let client_cpu_in_all = self.client()?;
            return Ok(Window {
                seconds: at.elapsed().as_secs_f64(),
                events: f64::from(u32::try_from(self.load.events.len() - written)?),
                client_cpu: client_cpu_in_all - cpu,
                client_cpu_in_all,
                backend_cpu: self.server.backend_seconds().await? - backends,
            });
        }
    }

    fn client(&self) -> anyhow::Result<f64> {
        self.pids.iter().map(|pid| process::cpu_seconds(*pid)).sum()
    }

    /// The newest key, and whether the rows that the last events delete are gone.
    async fn look(&self) -> anyhow::Result<(Option<i64>, bool)> {
        let (table, live) = (self.side.table(), self.side.live());
        let [one, other] = self.load.last;
        let row = self
            .server
            .client
            .query_one(
                &format!(
                    "SELECT (SELECT max(order_id) FROM {table}),
                       NOT EXISTS (SELECT FROM {table} WHERE order_id IN ({one}, {other}) AND {live})"
                ),
                &[],
            )
            .await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Number of events that are visible now.
    async fn written(&self) -> anyhow::Result<usize> {
        let row = self
            .server
            .client
            .query_one(
                &format!(
                    "SELECT max(order_id) FILTER (WHERE order_id % 2 = 0), max(order_id) FILTER (WHERE order_id % 2 = 1)
                     FROM {} WHERE order_id > {PREFILLED}",
                    self.side.table()
                ),
                &[],
            )
            .await?;
        Ok(self.load.written([row.try_get(0)?, row.try_get(1)?], self.partitions))
    }
}
