//! `demo`: the whole pipeline on this machine.

use super::Exit;
use clap::Args;

/// `demo`.
#[derive(Args)]
pub struct Arguments {
    /// Leave everything running afterwards, and print how to look at it.
    #[arg(long)]
    keep: bool,
    /// Use this PostgreSQL instead of a throw-away one.
    #[arg(long, value_name = "URL", env = "SILVERSINK_DEMO_POSTGRES_URL", hide_env_values = true)]
    postgres_url: Option<String>,
}

/// Runs the demo.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let _ = (arguments.keep, arguments.postgres_url);
    anyhow::bail!("the demo is not linked yet")
}
