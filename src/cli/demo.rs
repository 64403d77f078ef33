//! `demo`: the whole pipeline on this machine.

use super::run::stop_on_signal;
use super::{Exit, print};
use crate::config::{Config, Log, LogFormat, load};
use crate::demo::play::{self, Outcome, Play};
use crate::demo::screen;
use crate::demo::script::{Script, find_shop};
use crate::demo::stage::Stage;
use crate::demo::throwaway;
use crate::kafka::MockBroker;
use crate::postgres::readback::Readback;
use crate::telemetry;
use crate::telemetry::health::Health;
use crate::telemetry::http::Server;
use crate::worker::{self, Options};
use anyhow::Context;
use clap::Args;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// What is logged unless the environment says otherwise: dead letters and replays are part of the play, and connections
/// that break are those to the servers that the demo itself ends.
const LOG: &str = "warn,silversink::dead_letter=off,silversink::worker::claim=error,\
                   librdkafka=error,deadpool=off";

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

/// Runs the demo. Whatever it started is gone when it returns.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let level = ["SILVERSINK_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok());
    let level = level.unwrap_or_else(|| LOG.to_owned());
    telemetry::log::init(&Log { format: Some(LogFormat::Text), level })?;
    let stop = CancellationToken::new();
    let signals = tokio::task::spawn(stop_on_signal(stop.clone()));
    let outcome = show(&arguments, &stop).await;
    signals.abort();
    match outcome {
        Ok(Some(exit)) => Ok(exit),
        // Ctrl-C reaches the programs that were being started too: their complaints mean nothing.
        Ok(None) | Err(_) if stop.is_cancelled() => {
            anstream::eprintln!("Stopped; everything that was started is gone.");
            Ok(Exit::Interrupted)
        }
        Ok(None) => Ok(Exit::Interrupted),
        Err(error) => Err(error),
    }
}

/// `None` when it was stopped before it was done.
async fn show(arguments: &Arguments, stop: &CancellationToken) -> anyhow::Result<Option<Exit>> {
    let began = Instant::now();
    let script = Arc::new(Script::read(&find_shop(None)?)?);
    anstream::eprint!(
        "Silversink demo: two captures of a shop's changes, {} records with {} poisoned ones among \
         them,\ngo through Kafka into PostgreSQL, twice.\n\nStarting\n",
        screen::number(script.record_count() as u64),
        script.letters.len()
    );
    let broker = play::start_broker(&script)?;
    say("Kafka", broker.bootstrap(), "librdkafka's mock broker, inside this process");
    let stage =
        Stage::set(&script, arguments.postgres_url.as_deref(), throwaway::Options::default())
            .await?;
    let outcome = on_stage(arguments, stop, &script, &broker, &stage, began).await;
    let cleared = stage.clear().await;
    let exit = outcome?;
    cleared.context("could not clear the demo's schemas away")?;
    Ok(exit)
}

async fn on_stage(
    arguments: &Arguments,
    stop: &CancellationToken,
    script: &Arc<Script>,
    broker: &Arc<MockBroker>,
    stage: &Stage,
    began: Instant,
) -> anyhow::Result<Option<Exit>> {
    let registry = stage.registry.url();
    let schemas: usize = script.feeds.iter().map(|feed| feed.schemas.len()).sum();
    say(
        "registry",
        &registry,
        &format!("serves the {schemas} schemas that the Avro records name by id"),
    );
    match stage.throwaway_address() {
        Some(address) => say("PostgreSQL", &address, "throw-away server, holds the Silver tables"),
        None => say("PostgreSQL", "--postgres-url", "your server, holds the Silver tables"),
    }
    if stop.is_cancelled() {
        return Ok(None);
    }
    let text = script.config(broker.bootstrap(), &registry, stage.postgres_url());
    let config = load::parse(&text, "demo", &|_| None).map_err(load::LoadError::Invalid)?;
    let health = Arc::new(Health::new());
    let served = CancellationToken::new();
    let http = serve(&config, &health, &served).await?;
    play::load(script, broker).await?;
    for feed in &script.feeds {
        let place = format!("{}.* to {}.*", feed.prefix, feed.silver);
        let form = if feed.schemas.is_empty() { "JSON without schema" } else { "Avro" };
        let records = screen::number(feed.records.len() as u64);
        say("topics", &place, &format!("{records} records, {form}"));
    }
    say("worker", "in this process", "the same code as `silversink run`, until it has caught up");
    anstream::eprintln!();
    let readback = Readback::connect(stage.postgres_url()).await?;
    let play = Play {
        script: Arc::clone(script),
        config,
        health: Arc::clone(&health),
        stop: stop.clone(),
        readback,
    };
    let Some(outcome) = play.run().await? else { return Ok(None) };
    print(&format!("\n{}", report(&outcome)))?;
    anstream::eprintln!("It took {:.1} s.", began.elapsed().as_secs_f64());
    if arguments.keep {
        let looks = [
            ("psql", stage.psql_line()),
            ("Kafka", broker.bootstrap().to_owned()),
            ("registry", registry),
            ("metrics", format!("http://{http}/metrics (also /livez, /readyz)")),
        ];
        keep(play.config, &text, &looks, health, stop).await?;
    }
    served.cancel();
    Ok(Some(if outcome.is_right() { Exit::Fine } else { Exit::Failed }))
}

/// Starts `/metrics`, `/livez` and `/readyz`; they end with the token.
async fn serve(
    config: &Config,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let exporter = telemetry::metrics::install()?;
    let listen = config.http.context("the demo's configuration has no [http] listen")?;
    let server =
        Server::bind(listen).await.with_context(|| format!("could not listen on {listen}"))?;
    let address = server.address()?;
    tokio::task::spawn(server.serve(exporter, Arc::clone(health), stop.clone()));
    say("HTTP", &format!("http://{address}"), "/metrics, /livez and /readyz of the worker");
    Ok(address)
}

/// Everything that the user wants to know in the end.
fn report(outcome: &Outcome) -> String {
    let mut text = screen::tables(&outcome.tables);
    text += "\n";
    text += &screen::letters(&outcome.letters);
    text += "\n";
    for problem in &outcome.problems {
        text += &format!("NOT as it should be: {problem}\n");
    }
    text += &screen::second_pass(outcome.replayed, outcome.rows_changed);
    text += &screen::proof(&outcome.verdicts);
    text
}

/// Lets a worker run on until the token is cancelled.
async fn keep(
    config: Config,
    text: &str,
    looks: &[(&str, String)],
    health: Arc<Health>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("silversink-demo-").tempdir()?;
    let file = directory.path().join("silversink.toml");
    std::fs::write(&file, text)?;
    let mut lines = "\nEverything goes on running, the worker too. Look at it:\n".to_owned();
    for (name, place) in looks {
        lines += &format!("  {name:<10} {place}\n");
    }
    lines += &format!("  {:<10} {}\n", "config", file.display());
    lines += &format!("  {:<10} {} status --config {}\n", "status", program(), file.display());
    lines += "Ctrl-C ends it and cleans up.\n";
    print(&lines)?;
    worker::run(config, Options::default(), health, stop.clone()).await?;
    anstream::eprintln!("\nCleaning up.");
    Ok(())
}

/// This program as the user can call it.
fn program() -> String {
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    called.as_deref().map_or_else(|| "silversink".into(), |path: &Path| path.display().to_string())
}

fn say(what: &str, place: &str, why: &str) {
    anstream::eprint!("{}", screen::started(what, place, why));
}
