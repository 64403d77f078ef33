//! Commands: parses the command line, runs one command, turns its outcome into an exit code.
//!
//! What people asked for goes to stdout; logs, problems and progress go to stderr.

mod apply;
mod config;
mod demo;
mod dev;
mod doctor;
mod epoch;
mod exit;
mod explain;
mod plan;
mod run;
mod status;

pub use exit::Exit;

use crate::config::{Config, load};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Silversink: Debezium topics in, guarded PostgreSQL Silver tables out.
#[derive(Parser)]
#[command(name = "silversink", version, propagate_version = true, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the worker.
    Run(run::Arguments),
    /// Show the whole pipeline on this machine, with nothing else set up.
    Demo(demo::Arguments),
    /// Check, show and describe the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Show positions, lag and state of each table.
    Status(status::Arguments),
    /// Check everything that the pipeline depends on, and name source tables at risk. Changes nothing.
    Doctor(doctor::Arguments),
    /// Show one record step by step: frame, schema, key, version, the row in Silver, the verdict. Changes nothing.
    Explain(explain::Arguments),
    /// Show what the newest schemas imply for the Silver tables.
    Plan(plan::Arguments),
    /// Make the alterations that `plan` lists.
    Apply(apply::Arguments),
    /// Show and raise source epochs.
    #[command(subcommand)]
    Epoch(epoch::Command),
    /// Tools for development and tests.
    #[command(subcommand)]
    Dev(dev::Command),
    /// Print a completion script.
    Completions {
        /// The shell to complete in.
        shell: clap_complete::Shell,
    },
}

/// `--config`.
#[derive(Args)]
struct ConfigFile {
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", env = "SILVERSINK_CONFIG")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, load::LoadError> {
        load::load(&self.config)
    }
}

/// Runs the command of this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(arguments) => on_runtime(run::command(arguments)),
        Command::Demo(arguments) => on_runtime(demo::command(arguments)),
        Command::Config(command) => config::command(command),
        Command::Status(arguments) => on_runtime(status::command(arguments)),
        Command::Doctor(arguments) => on_runtime(doctor::command(arguments)),
        Command::Explain(arguments) => on_runtime(explain::command(arguments)),
        Command::Plan(arguments) => on_runtime(plan::command(arguments)),
        Command::Apply(arguments) => on_runtime(apply::command(arguments)),
        Command::Epoch(command) => on_runtime(epoch::command(command)),
        Command::Dev(command) => on_runtime(dev::command(command)),
        Command::Completions { shell } => completions(shell),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            exit::explain(&error);
            Exit::of(&error).into()
        }
    }
}

fn on_runtime(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // A question to a broker that does not answer blocks its thread for seconds; nobody waits for the answer any more.
    runtime.shutdown_background();
    outcome
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "silversink", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<Exit> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Fine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
