//! `epoch`: shows the source epochs that are written down, and raises one by hand.

use super::{ConfigFile, Exit, print};
use crate::postgres::{Destination, EpochRow, Raise, Raised, StartRow};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::fmt::Write as _;

/// `epoch`.
#[derive(Subcommand)]
pub enum Command {
    /// Show the epochs of each source, and where they start.
    Show(Show),
    /// Put everything that follows above everything before: after a restore, a failover or a new cluster that the data
    /// does not tell. A dry run unless --execute is given.
    Raise(RaiseArguments),
}

/// `epoch show`.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    file: ConfigFile,
    /// JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// `epoch raise`.
#[derive(Args)]
pub struct RaiseArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Name of the source: `source.name` of its records, the connector's topic prefix; "" where records do not tell it.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Only in this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only in this partition of the topic.
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// The number; one above the highest that is known when left out.
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u32>,
    /// Why, for whoever reads it later.
    #[arg(long, default_value = "command")]
    reason: String,
    /// Do it.
    #[arg(long)]
    execute: bool,
}

/// What `epoch show --json` prints.
#[derive(Serialize)]
struct Known {
    epochs: Vec<EpochRow>,
    starts: Vec<StartRow>,
}

/// Runs `epoch`. Exit code 4 when PostgreSQL cannot be reached.
pub async fn command(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Show(arguments) => show(arguments).await,
        Command::Raise(arguments) => raise(arguments).await,
    }
}

async fn show(arguments: Show) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let destination = Destination::connect(&config.postgres, 1, "silversink epoch").await?;
    let (epochs, starts) = match destination.source_epochs(&config.name).await {
        // A pipeline that never ran has no bookkeeping, and its sources are in epoch 0.
        Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => {
            (Vec::new(), Vec::new())
        }
        known => known?,
    };
    let known = Known { epochs, starts };
    if arguments.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&known)?));
    }
    print(&known.text())
}

async fn raise(arguments: RaiseArguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let destination = Destination::connect(&config.postgres, 1, "silversink epoch").await?;
    destination.ensure_bookkeeping().await?;
    let by = crate::worker::owner_name();
    let raise = Raise {
        source: &arguments.source,
        topic: arguments.topic.as_deref(),
        partition: arguments.partition,
        epoch: arguments.epoch,
        reason: &arguments.reason,
        by: &by,
    };
    let raised = destination.raise_epoch(&config.name, &raise, arguments.execute).await?;
    print(&told(&arguments.source, &raised, arguments.execute))
}

fn told(source: &str, raised: &Raised, executed: bool) -> String {
    let Raised { before, epoch, starts } = raised;
    let mut text = if executed {
        format!("source {source:?} was in epoch {before}, and is in epoch {epoch} from here on:\n")
    } else {
        format!("source {source:?} is in epoch {before}; epoch {epoch} would start here:\n")
    };
    let mut table = table(&["topic", "partition", "offset"]);
    for (topic, _, partition, offset) in starts {
        table.add_row([topic.clone(), partition.to_string(), offset.to_string()]);
    }
    let _ = writeln!(text, "{table}");
    text.push_str(if executed {
        "A running worker is fenced off, claims these partitions again, and goes on in the new epoch.\n"
    } else {
        "Nothing was changed; --execute does it. Stop writing to the old lineage first: offsets move on.\n"
    });
    text
}

impl Known {
    fn text(&self) -> String {
        if self.epochs.is_empty() && self.starts.is_empty() {
            return "every source is in epoch 0\n".to_owned();
        }
        let mut epochs = table(&["source", "epoch", "reason", "snapshot", "since", "raised", "by"]);
        for row in &self.epochs {
            epochs.add_row([
                row.source.clone(),
                row.epoch.to_string(),
                row.reason.clone(),
                row.snapshot_position.clone().unwrap_or_default(),
                row.since.clone().unwrap_or_default(),
                row.raised_at.clone(),
                row.raised_by.clone(),
            ]);
        }
        let mut starts = table(&["source", "epoch", "topic", "partition", "from offset", "reason"]);
        for row in &self.starts {
            starts.add_row([
                row.source.clone(),
                row.epoch.to_string(),
                row.topic.clone(),
                row.partition.to_string(),
                row.start_offset.to_string(),
                row.reason.clone(),
            ]);
        }
        format!("{epochs}\n\n{starts}\n")
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(header.iter().copied());
    table
}
