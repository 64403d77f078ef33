//! `status`: positions, lag and state of each table.

use super::{ConfigFile, Exit};
use clap::Args;

/// `status`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Prints the status.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let _ = (arguments.file.load()?, arguments.json);
    anyhow::bail!("status is not linked yet")
}
