//! The benchmark: the release binary and the yardstick read the same topics into the same PostgreSQL, in turns.
//!
//! Arguments (`make bench ARGS=...`): `--events N` per topic, `--runs N` of each kind, `--batch-rows N`, `--only NAME`.

#![allow(clippy::expect_used, reason = "a measurement stops where it fails")]

mod destination;
mod process;
mod product;
mod result;
mod workload;
mod yardstick;

use anyhow::{Context, bail};
use destination::Destination;
use product::Setup;
use result::{Measured, Runs};
use silversink::demo::registry::DemoRegistry;
use silversink::kafka::mock::MockBroker;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use workload::PARTITIONS;

/// Topics, for the runs with two lanes.
const TOPICS: usize = 2;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", events, key, value] => serve(events.parse()?, (key.parse()?, value.parse()?)),
        ["yardstick", bootstrap, postgres, schema, batch_rows] => {
            yardstick::run(bootstrap, postgres, schema, batch_rows.parse()?)
        }
        // `cargo test --all-targets` starts benchmarks too, without this word.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(bench(&arguments))
        }
    }
}

/// The broker: a process of its own, because its CPU is nobody's business.
fn serve(events: usize, ids: (u32, u32)) -> anyhow::Result<()> {
    let topics: Vec<String> = (0..TOPICS).map(workload::topic).collect();
    let pairs: Vec<(&str, i32)> = topics.iter().map(|topic| (topic.as_str(), PARTITIONS)).collect();
    let broker = MockBroker::start(&pairs)?;
    for (n, topic) in (0..).zip(&topics) {
        broker.produce(&workload::records(topic, events, ids, n))?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.bootstrap())?;
    out.flush()?;
    // Until whoever started us goes away.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Broker {
    process: Child,
    bootstrap: String,
}

impl Broker {
    fn start(events: usize, ids: (u32, u32)) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve".to_owned(), events.to_string(), ids.0.to_string(), ids.1.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut bootstrap = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut bootstrap)?;
        if bootstrap.is_empty() {
            bail!("the broker did not start");
        }
        Ok(Self { process, bootstrap: bootstrap.trim().to_owned() })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends with its standard input.
        let _ = self.process.wait();
    }
}

struct Bench {
    destination: Destination,
    registry: DemoRegistry,
    broker: Broker,
    schema: tempfile::NamedTempFile,
    events: usize,
    batch_rows: usize,
    groups: u32,
}

async fn bench(arguments: &[String]) -> anyhow::Result<()> {
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), |n| n.parse());
    let (events, runs, batch_rows) =
        (number("--events", 400_000)?, number("--runs", 3)?, number("--batch-rows", 10_000)?);
    let only = option("--only").map(String::as_str);
    say(&format!(
        "preparing {TOPICS} topics of {events} events and a PostgreSQL with tables of {} rows",
        workload::PREFILLED
    ));
    let registry = DemoRegistry::start()?;
    let (key, value) = workload::schemas()?;
    let mut ids = (0, 0);
    for n in 0..TOPICS {
        let topic = workload::topic(n);
        ids = (
            registry.register(&format!("{topic}-key"), &key),
            registry.register(&format!("{topic}-value"), &value),
        );
    }
    let schema = tempfile::NamedTempFile::new()?;
    std::fs::write(schema.path(), &value)?;
    let broker = Broker::start(events, ids)?;
    let destination = Destination::start().await?;
    let mut bench = Bench { destination, registry, broker, schema, events, batch_rows, groups: 0 };
    let mut all = vec![
        Runs { name: "yardstick, one writer".to_owned(), runs: Vec::new(), against: None },
        Runs { name: "silversink, one writer".to_owned(), runs: Vec::new(), against: Some(0) },
        Runs {
            name: "silversink, replay: all superseded".to_owned(),
            runs: Vec::new(),
            against: Some(1),
        },
        Runs {
            name: "silversink, two lanes, two writers".to_owned(),
            runs: Vec::new(),
            against: Some(1),
        },
    ];
    for _ in 0..runs {
        bench.round(&mut all, only).await?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "\n{}", result::table(&all))?;
    writeln!(
        out,
        "{events} events a topic, {PARTITIONS} partitions, batches of {batch_rows} rows, tables of {} rows; \
         the ratio is to the yardstick, then to one writer",
        workload::PREFILLED
    )?;
    Ok(())
}

impl Bench {
    /// Each kind once, so that whatever else the machine does hits all of them.
    async fn round(&mut self, all: &mut [Runs], only: Option<&str>) -> anyhow::Result<()> {
        let wanted = |name: &str| only.is_none_or(|only| only == name);
        let mut seen = None;
        if wanted("yardstick") {
            self.destination.prepare("yardstick", 1).await?;
            self.keep(all, 0, self.yardstick()?);
            seen = Some(self.destination.fingerprint(0).await?);
        }
        if wanted("product") || wanted("replay") {
            self.destination.prepare("product", 1).await?;
            let measured = self.product(1, 1).await?;
            self.keep(all, 1, measured);
            let fingerprint = self.destination.fingerprint(0).await?;
            if seen.is_some_and(|seen| seen != fingerprint) {
                bail!("silversink and the yardstick disagree about the table's rows");
            }
        }
        if wanted("replay") {
            self.destination.client.batch_execute("DELETE FROM silversink.position").await?;
            let measured = self.product(1, 1).await?;
            if measured.applied > 0.0 {
                bail!("a replay applied {} rows", measured.applied);
            }
            self.keep(all, 2, measured);
        }
        if wanted("lanes") {
            self.destination.prepare("product", 2).await?;
            let measured = self.product(2, 2).await?;
            self.keep(all, 3, measured);
        }
        Ok(())
    }

    fn keep(&self, all: &mut [Runs], at: usize, measured: Measured) {
        if let Some(runs) = all.get_mut(at) {
            say(&format!("{:<36} {}  load {}", runs.name, measured.line(), load_average()));
            runs.runs.push(measured);
        }
    }

    async fn product(&mut self, lanes: usize, writers: usize) -> anyhow::Result<Measured> {
        self.groups += 1;
        let setup = Setup {
            bootstrap: &self.broker.bootstrap,
            registry: &self.registry.url(),
            group: format!("bench-{}", self.groups),
            lanes,
            writers,
            batch_rows: self.batch_rows,
            events: self.events,
        };
        product::run(&self.destination, &setup).await
    }

    fn yardstick(&self) -> anyhow::Result<Measured> {
        let output = Command::new(std::env::current_exe()?)
            .args(["yardstick", &self.broker.bootstrap, &self.destination.url()])
            .arg(self.schema.path())
            .arg(self.batch_rows.to_string())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("the yardstick failed: {}", output.status);
        }
        yardstick::parse(std::str::from_utf8(&output.stdout)?)
    }
}

/// One-minute load average: a busy machine makes a figure worthless.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn say(line: &str) {
    // Progress for people; nothing depends on it.
    let _ = writeln!(std::io::stderr(), "{line}");
}
