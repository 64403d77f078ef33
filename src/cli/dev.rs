//! `dev`: tools for development and tests.

use super::Exit;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Produce the records of a capture file to a broker.
    Produce(Produce),
}

/// `dev produce`.
#[derive(Args)]
pub struct Produce {
    /// Capture file: one record a line, base64 key and value; may be gzipped.
    file: PathBuf,
    /// Comma-separated host:port list of brokers.
    #[arg(long, value_name = "SERVERS")]
    bootstrap: String,
}

/// Runs one of them.
pub async fn command(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Produce(produce) => {
            let _ = (produce.file, produce.bootstrap);
            anyhow::bail!("dev produce is not linked yet")
        }
    }
}
