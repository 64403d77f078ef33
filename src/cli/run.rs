//! `run`: the worker.

use super::{ConfigFile, Exit};
use crate::config::Config;
use crate::telemetry;
use clap::Args;

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
    work(config, arguments.until_caught_up).await
}

async fn work(_config: Config, _until_caught_up: bool) -> anyhow::Result<Exit> {
    anyhow::bail!("the worker is not linked yet")
}
