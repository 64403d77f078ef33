//! `explain`: one record, step by step, from Kafka or from a capture file.

use super::{ConfigFile, Exit, print};
use crate::config::Config;
use crate::demo::capture::{read_records, read_schemas};
use crate::explain::{Asked, Outcome, Schemas, explain, screen};
use crate::fault::Fault;
use crate::kafka::{Facts, Found};
use crate::postgres::Destination;
use crate::record::{Coordinates, OwnedRecord};
use crate::registry;
use anyhow::Context as _;
use clap::Args;
use std::path::{Path, PathBuf};

/// `explain`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Topic of the record.
    #[arg(long)]
    topic: String,
    /// Its partition.
    #[arg(long, default_value_t = 0)]
    partition: i32,
    /// Its offset.
    #[arg(long)]
    offset: i64,
    /// A capture file (`records.ndjson` or `.ndjson.gz`) to take the record from instead of Kafka. Schemas are taken from
    /// the directory `schemas` beside it, if there is one.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Show row values too.
    #[arg(long)]
    values: bool,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Prints the explanation. Exit code 3 when the record would not simply land.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let at = Coordinates {
        topic: arguments.topic,
        partition: arguments.partition,
        offset: arguments.offset,
    };
    let (record, schemas) = match &arguments.capture {
        Some(file) => (captured(file, &at)?, schemas_beside(file, &config)?),
        None => (from_kafka(&config, at).await?, schemas_of(&config)?),
    };
    let destination = Destination::connect(&config.postgres, 1, "silversink explain").await?;
    let told = explain(Asked {
        config: &config,
        destination: &destination,
        schemas: &schemas,
        record: &record,
        values: arguments.values,
    })
    .await?;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&told)?)
    } else {
        screen::text(&told)
    };
    print(&text)?;
    Ok(match told.verdict.outcome {
        Outcome::Applied | Outcome::Superseded | Outcome::Skipped => Exit::Fine,
        Outcome::Alters | Outcome::DeadLettered | Outcome::LaneStops | Outcome::Waits => {
            Exit::Differs
        }
    })
}

async fn from_kafka(config: &Config, at: Coordinates) -> anyhow::Result<OwnedRecord> {
    let kafka = config.kafka.clone();
    let asked = at.clone();
    let found = tokio::task::spawn_blocking(move || {
        let facts = Facts::open(&kafka)?;
        facts.probe()?;
        facts.record_at(&asked)
    })
    .await??;
    match found {
        Found::Record(record) => Ok(record),
        Found::Nothing { next } => anyhow::bail!(
            "at {at} stands no record that a read-committed consumer can see (compacted, aborted or a control record); \
             the next one is at offset {next}"
        ),
        Found::Outside { start, end } if start == end => {
            anyhow::bail!("{at} is outside of the log, which is empty (next offset {end})")
        }
        Found::Outside { start, end } => {
            anyhow::bail!("{at} is outside of the log, which holds offsets {start} to {}", end - 1)
        }
    }
}

fn captured(file: &Path, at: &Coordinates) -> anyhow::Result<OwnedRecord> {
    let records = read_records(file)?;
    let count = records.len();
    let found = records.into_iter().find(|record| record.at == *at);
    found.with_context(|| format!("{at} is not among the {count} records of {}", file.display()))
}

fn schemas_beside(file: &Path, config: &Config) -> Result<Schemas, Fault> {
    let directory = file.parent().unwrap_or(Path::new(".")).join("schemas");
    if directory.is_dir() {
        read_schemas(&directory).map(Schemas::Capture)
    } else {
        schemas_of(config)
    }
}

fn schemas_of(config: &Config) -> Result<Schemas, Fault> {
    match &config.registry {
        Some(registry) => registry::Client::open(registry).map(Schemas::Registry),
        None => Ok(Schemas::None),
    }
}
