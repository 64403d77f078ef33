//! `run`: the worker.

use super::{ConfigFile, Exit};
use crate::config::Config;
use crate::telemetry;
use crate::telemetry::health::Health;
use crate::telemetry::http::Server;
use crate::worker::{self, Options};
use anyhow::Context;
use clap::Args;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `run`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// End with exit code 0 when each partition has reached the end offset seen at start.
    #[arg(long)]
    until_caught_up: bool,
}

/// Loads the configuration, opens the log, runs the worker.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    telemetry::log::init(&config.log)?;
    work(config, Options { until_caught_up: arguments.until_caught_up }).await
}

async fn work(config: Config, options: Options) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let health = Arc::new(Health::new());
    let served = serve(&config, &health, &stop).await?;
    let signals = tokio::task::spawn(stop_on_signal(stop.clone()));
    tracing::info!(pipeline = config.name, version = env!("CARGO_PKG_VERSION"), "starting");
    let outcome = worker::run(config, options, Arc::clone(&health), stop.clone()).await;
    if outcome.is_err() {
        health.set_fatal();
    }
    signals.abort();
    stop.cancel();
    if let Some(served) = served {
        served
            .await
            .context("the HTTP endpoints panicked")?
            .context("the HTTP endpoints failed")?;
    }
    outcome?;
    tracing::info!("stopped");
    Ok(Exit::Fine)
}

type Served = tokio::task::JoinHandle<std::io::Result<()>>;

/// Starts `/metrics`, `/livez` and `/readyz` before anything else, so that a worker that waits for its dependencies can be
/// seen waiting.
async fn serve(
    config: &Config,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Served>> {
    let exporter = telemetry::metrics::install()?;
    let Some(address) = config.http else {
        tokio::task::spawn(exporter.keep_up(stop.clone()));
        return Ok(None);
    };
    let server = Server::bind(address)
        .await
        .with_context(|| format!("could not listen on {address} ([http] listen)"))?;
    tracing::info!(address = %server.address()?, "serving /metrics, /livez and /readyz");
    Ok(Some(tokio::task::spawn(server.serve(exporter, Arc::clone(health), stop.clone()))))
}

/// The first SIGTERM or SIGINT drains; a second one leaves at once: the destination's positions make that safe.
pub(super) async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be received; stop the process with SIGKILL");
        return;
    };
    for again in [false, true] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if again {
            tracing::warn!("second signal: leaving at once");
            // SAFETY of the data: nothing in flight is committed without its position.
            #[expect(clippy::exit, reason = "a second signal asks for just this")]
            std::process::exit(130);
        }
        stop.cancel();
    }
}
