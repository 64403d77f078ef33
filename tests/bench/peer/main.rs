//! The benchmark against Debezium's JDBC sink: both read the same topic in real Kafka and write into the same PostgreSQL, in
//! turns. `tests/bench/peer.sh` brings the stack up and says what the arguments are.
//!
//! # Decisions
//! Every doubt is decided for the peer: its CPU is counted between its first and its last visible row, less what the idle
//! worker takes, after a warm-up; ours from the start of the process. Its clock starts, as ours does, at the first visible row.

#![allow(clippy::expect_used, reason = "a measurement stops where it fails")]

mod connect;
mod figures;
mod load;
#[path = "../process.rs"]
mod process;
mod server;
mod tables;
mod topics;
mod watch;
mod worker;
#[allow(dead_code, reason = "the other benchmark has several topics")]
mod workload;

use anyhow::{Context, bail};
use connect::{Connect, Sink};
use figures::{Bar, Measured, Runs};
use load::Load;
use server::Server;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tables::Side;
use watch::{Watch, Window};
use worker::{Setup, Worker};

/// Numbers of partitions: a topic for each.
const PARTITIONS: [i32; 2] = [1, 2];
/// How long the idle worker is watched.
const IDLE: Duration = Duration::from_secs(5);
/// Fewer are no result.
const ENOUGH_RUNS: usize = 5;

/// Kinds of runs, in their order within a round.
#[derive(Clone, Copy)]
enum Kind {
    Peer(Sink),
    Product(i32),
}

const KINDS: [(&str, &str, Kind); 5] = [
    (
        "tasks1",
        "Debezium JDBC sink, best settings, 1 task",
        Kind::Peer(Sink { tasks: 1, is_tuned: true }),
    ),
    ("tasks1", "silversink beside it, 1 writer", Kind::Product(1)),
    (
        "tasks2",
        "Debezium JDBC sink, best settings, 2 tasks",
        Kind::Peer(Sink { tasks: 2, is_tuned: true }),
    ),
    ("tasks2", "silversink beside it, 2 writers", Kind::Product(2)),
    (
        "defaults",
        "Debezium JDBC sink, default settings, 1 task",
        Kind::Peer(Sink { tasks: 1, is_tuned: false }),
    ),
];

/// Places in [`KINDS`].
const BEST_1: usize = 0;
const WRITER_1: usize = 1;
const BEST_2: usize = 2;
const WRITER_2: usize = 3;
const DEFAULTS: usize = 4;

const fn bar(
    text: &'static str,
    of: fn(&Measured) -> f64,
    (over, under): (usize, usize),
    at_least: f64,
    moonshot: Option<f64>,
) -> Bar {
    Bar { text, of, over, under, at_least, moonshot }
}

const BARS: [Bar; 7] = [
    bar(
        "events/s, 1 writer to 1 task",
        |m| m.events_per_second,
        (WRITER_1, BEST_1),
        5.0,
        Some(10.0),
    ),
    bar(
        "events/s, 2 writers to 2 tasks",
        |m| m.events_per_second,
        (WRITER_2, BEST_2),
        5.0,
        Some(10.0),
    ),
    bar(
        "events/s, 1 writer to 1 task at its defaults",
        |m| m.events_per_second,
        (WRITER_1, DEFAULTS),
        12.0,
        None,
    ),
    bar("client CPU per event, 1 task to 1 writer", |m| m.client, (BEST_1, WRITER_1), 15.0, None),
    bar("client CPU per event, 2 tasks to 2 writers", |m| m.client, (BEST_2, WRITER_2), 15.0, None),
    bar("client memory, 1 task to 1 writer", |m| m.peak_mib, (BEST_1, WRITER_1), 10.0, None),
    bar("client memory, 2 tasks to 2 writers", |m| m.peak_mib, (BEST_2, WRITER_2), 10.0, None),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` starts benchmarks too, without this word.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bench(&arguments))
}

struct Bench {
    server: Server,
    connect: Connect,
    load: Load,
    bootstrap: String,
    /// CPU seconds per second of the Connect worker without a connector.
    idle: f64,
    number: u32,
}

async fn bench(arguments: &[String]) -> anyhow::Result<()> {
    let option = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1);
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), |n| n.parse());
    let (events, rounds) = (number("--events", 300_000)?, number("--runs", ENOUGH_RUNS)?);
    let only = option("--only").map(String::as_str);
    let wanted: Vec<usize> =
        (0..KINDS.len()).filter(|&at| only.is_none_or(|only| only == KINDS[at].0)).collect();
    if wanted.is_empty() {
        bail!("--only takes tasks1, tasks2 or defaults");
    }
    let stack = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set: use make bench-peer"))
    };
    let registry = stack("STACK_REGISTRY_URL")?;
    say(&format!(
        "preparing topics of {events} events and a PostgreSQL with tables of {} rows",
        load::PREFILLED
    ));
    let ids = topics::register(&registry, &PARTITIONS).await?;
    let load = Load::make(events, ids)?;
    let bootstrap = stack("STACK_BOOTSTRAP")?;
    for partitions in PARTITIONS {
        topics::fill(&bootstrap, &load, partitions).await?;
    }
    let server = Server::start().await?;
    tables::expect(&server, &load).await?;
    let connect =
        Connect::new(stack("STACK_CONNECT_URL")?, stack("STACK_CONNECT_PID")?.parse()?, registry);
    let mut bench = Bench { server, connect, load, bootstrap, idle: 0.0, number: 0 };
    let mut all: Vec<Runs> =
        KINDS.iter().map(|&(_, name, _)| Runs { name, runs: Vec::new() }).collect();
    bench.warm_up(&wanted).await?;
    for _ in 0..rounds {
        for &at in &wanted {
            let measured = bench.run(KINDS[at].2).await?;
            report(KINDS[at].1, &measured);
            all[at].runs.push(measured);
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "\n{}\n\n{}", figures::table(&all), figures::bars(&all, &BARS))?;
    writeln!(
        out,
        "\n{} events a run (70 % updates, 25 % inserts, 5 % deletes with tombstones; Avro), tables of {} rows; \
         the final table of every run was compared row by row; the peer's worker takes {:.3} cores when idle, its JVM has {}",
        bench.load.events.len(),
        load::PREFILLED,
        bench.idle,
        stack("STACK_CONNECT_JVM")?
    )?;
    if rounds < ENOUGH_RUNS {
        writeln!(out, "{rounds} runs of each kind are no result: at least {ENOUGH_RUNS} are")?;
        return Ok(());
    }
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/results.tsv");
    figures::keep(&all, &results)
}

impl Bench {
    /// Each wanted kind of the peer once, thrown away: until then its code is interpreted. Then what the idle worker costs.
    async fn warm_up(&mut self, wanted: &[usize]) -> anyhow::Result<()> {
        for side in [Side::Peer, Side::Product] {
            tables::prepare(&self.server, side).await?;
            tables::must_differ(&self.server, side).await?;
        }
        for &at in wanted {
            if let Kind::Peer(sink) = KINDS[at].2 {
                let measured = self.peer(sink).await?;
                report("warm-up, thrown away", &measured);
            }
        }
        let before = process::cpu_seconds(self.connect.pid)?;
        let begun = Instant::now();
        tokio::time::sleep(IDLE).await;
        self.idle =
            (process::cpu_seconds(self.connect.pid)? - before) / begun.elapsed().as_secs_f64();
        Ok(())
    }

    async fn run(&mut self, kind: Kind) -> anyhow::Result<Measured> {
        match kind {
            Kind::Peer(sink) => self.peer(sink).await,
            Kind::Product(writers) => self.product(writers).await,
        }
    }

    async fn peer(&mut self, sink: Sink) -> anyhow::Result<Measured> {
        tables::prepare(&self.server, Side::Peer).await?;
        let name = self.name();
        self.connect.forget_peak()?;
        self.connect.create(&name, &topics::topic(sink.tasks), sink, &self.server).await?;
        let watch = self.watch(Side::Peer, sink.tasks, vec![self.connect.pid]);
        let window = watch.follow(async || self.connect.check(&name).await).await?;
        let peak_mib = process::peak_mib(self.connect.pid)?;
        self.connect.delete(&name).await?;
        tables::verify(&self.server, Side::Peer).await?;
        let client = window.client_cpu - self.idle * window.seconds;
        Ok(measured(&window, client / window.events, peak_mib))
    }

    async fn product(&mut self, writers: i32) -> anyhow::Result<Measured> {
        tables::prepare(&self.server, Side::Product).await?;
        let (group, topic) = (self.name(), topics::topic(writers));
        let setup = Setup {
            bootstrap: &self.bootstrap,
            registry: &self.connect.registry,
            group: &group,
            topic: &topic,
            writers,
        };
        let mut process = Worker::start(&self.server, &setup)?;
        let watch = self.watch(Side::Product, writers, vec![process.pid()]);
        let window = watch.follow(async || process.check()).await?;
        let peak_mib = process.peak_mib()?;
        worker::must_have_shared(&self.server, writers).await?;
        drop(process);
        tables::verify(&self.server, Side::Product).await?;
        let events = f64::from(u32::try_from(self.load.events.len())?);
        Ok(measured(&window, window.client_cpu_in_all / events, peak_mib))
    }

    fn watch(&self, side: Side, partitions: i32, pids: Vec<u32>) -> Watch<'_> {
        Watch { server: &self.server, side, load: &self.load, partitions, pids }
    }

    /// Name of a connector or group that has never been.
    fn name(&mut self) -> String {
        self.number += 1;
        format!("peer-{}", self.number)
    }
}

fn measured(window: &Window, client_seconds: f64, peak_mib: f64) -> Measured {
    Measured {
        events_per_second: window.events / window.seconds,
        client: client_seconds * 1e6,
        client_while_writing: window.client_cpu / window.events * 1e6,
        backends: window.backend_cpu / window.events * 1e6,
        peak_mib,
    }
}

fn report(name: &str, m: &Measured) {
    // A busy machine makes a figure worthless.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    say(&format!(
        "{name:<43} {:7.0} events/s  client {:5.2} us ({:5.2})  PostgreSQL {:5.2} us  {:4.0} MiB  load {}",
        m.events_per_second,
        m.client,
        m.client_while_writing,
        m.backends,
        m.peak_mib,
        load.split(' ').next().unwrap_or_default()
    ));
}

fn say(line: &str) {
    // Progress for people; nothing depends on it.
    let _ = writeln!(std::io::stderr(), "{line}");
}
