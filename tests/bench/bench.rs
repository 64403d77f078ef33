//! What every row of the result needs: the broker with its topics, the registry, the destination, and one run of each kind
//! of process.

use crate::broker::Broker;
use crate::destination::{Destination, Writer};
use crate::product::{self, Setup};
use crate::result::{Measured, Results};
use crate::workload::{Format, Keys, Spec};
use anyhow::{Context, bail};
use silversink::demo::registry::DemoRegistry;
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What the command line asked for.
pub struct Options {
    /// Records of a topic.
    pub events: usize,
    /// Rounds.
    pub runs: usize,
    /// A row's number or name.
    pub only: Option<String>,
}

impl Options {
    pub fn read(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { events: 400_000, runs: 5, only: None };
        let mut words = arguments.iter().filter(|word| *word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} wants a value"))?;
            match word.as_str() {
                "--events" => options.events = value.parse()?,
                "--runs" => options.runs = value.parse()?,
                "--only" => options.only = Some(value.clone()),
                _ => bail!("unknown argument {word}; see tests/bench/run.sh"),
            }
        }
        Ok(options)
    }
}

/// `[limits]` of a run; what is not given has its default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub writers: Option<usize>,
    /// Of these, for one table at the same time.
    pub of_table: Option<usize>,
    pub batch_rows: Option<usize>,
    /// `fetch.wait.max.ms` of the consumer.
    pub fetch_wait: Option<usize>,
}

impl Limits {
    /// One connection, batches of this many rows.
    pub fn one_writer(batch_rows: usize) -> Self {
        Self { writers: Some(1), batch_rows: Some(batch_rows), ..Self::default() }
    }
}

pub struct Bench {
    pub destination: Destination,
    pub registry: DemoRegistry,
    pub broker: Broker,
    pub results: Results,
    pub options: Options,
    pub round: usize,
    groups: u32,
    /// Topics of the broker and the ids of their schemas.
    topics: HashMap<String, (u32, u32)>,
}

impl Bench {
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        Ok(Self {
            destination: Destination::start().await?,
            registry: DemoRegistry::start()?,
            broker: Broker::start()?,
            results: Results::default(),
            options,
            round: 0,
            groups: 0,
            topics: HashMap::new(),
        })
    }

    /// The mixed load in a format, on table number 0.
    pub fn mixed(&self, format: Format) -> Spec {
        let kind = match format {
            Format::Avro => "avro",
            Format::Json => "json",
            Format::JsonSchema => "schema",
        };
        Spec::mixed(kind, format, self.options.events)
    }

    /// A new broker, and with it no topics: the old one's take memory.
    pub fn renew_broker(&mut self) -> anyhow::Result<()> {
        self.topics.clear();
        self.broker = Broker::start()?;
        Ok(())
    }

    /// Registers the schemas of a topic.
    pub fn register(&self, spec: &Spec) -> anyhow::Result<(u32, u32)> {
        if spec.format != Format::Avro {
            return Ok((0, 0));
        }
        let ((key, value), topic) = (spec.schemas()?, spec.topic());
        Ok((
            self.registry.register(&format!("{topic}-key"), &key.to_string()),
            self.registry.register(&format!("{topic}-value"), &value.to_string()),
        ))
    }

    /// Fills the topics that are not filled yet.
    pub fn fill(&mut self, specs: &[Spec]) -> anyhow::Result<()> {
        for spec in specs {
            if self.topics.contains_key(&spec.topic()) {
                continue;
            }
            let ids = self.register(spec)?;
            let begun = Instant::now();
            self.broker.fill(spec, ids)?;
            let seconds = begun.elapsed().as_secs_f64();
            if seconds > 1.0 {
                say(&format!(
                    "filled {} with {} records in {seconds:.1} s",
                    spec.topic(),
                    spec.events
                ));
            }
            self.topics.insert(spec.topic(), ids);
        }
        Ok(())
    }

    /// Whether this round has this kind of run already: several rows may compare themselves with it.
    pub fn is_measured(&self, name: &str) -> bool {
        self.results.runs(name).len() > self.round
    }

    pub fn keep(&mut self, name: &str, measured: Measured) {
        say(&format!("{name:<44} {}  load {}", measured.line(), load_average()));
        self.results.keep(name, measured);
    }

    /// A consumer group that nobody used before.
    pub fn group(&mut self) -> String {
        self.groups += 1;
        format!("bench-{}", self.groups)
    }

    /// One run of the product from earliest into fresh tables, with its rows checked. At most one of a name in a round.
    pub async fn product(
        &mut self,
        name: &str,
        specs: &[Spec],
        limits: Limits,
    ) -> anyhow::Result<()> {
        if self.is_measured(name) {
            return Ok(());
        }
        self.fill(specs)?;
        if specs.iter().all(|spec| spec.keys == Keys::Snapshot) {
            self.destination.clear(specs).await?;
        } else {
            self.destination.prepare(Writer::Product, specs).await?;
            self.destination.verify_that_work_is_left(specs).await?;
        }
        let measured = self.read_again(specs, limits).await?;
        self.keep(name, measured);
        Ok(())
    }

    /// One run of the product on the tables as they are, with its rows checked.
    pub async fn read_again(&mut self, specs: &[Spec], limits: Limits) -> anyhow::Result<Measured> {
        let group = self.group();
        let measured = product::run(
            &self.destination,
            &self.setup(specs, limits, &group, &self.registry.url()),
        )
        .await?;
        self.destination.verify(specs).await?;
        Ok(measured)
    }

    pub fn setup<'s>(
        &'s self,
        specs: &'s [Spec],
        limits: Limits,
        group: &str,
        registry: &'s str,
    ) -> Setup<'s> {
        Setup {
            bootstrap: &self.broker.bootstrap,
            registry,
            group: group.to_owned(),
            specs,
            limits,
        }
    }

    /// One run of the yardstick.
    pub async fn yardstick(
        &mut self,
        name: &str,
        spec: &Spec,
        batch_rows: usize,
    ) -> anyhow::Result<()> {
        if self.is_measured(name) {
            return Ok(());
        }
        self.fill(std::slice::from_ref(spec))?;
        self.destination.prepare(Writer::Yardstick, std::slice::from_ref(spec)).await?;
        let measured = own_process(&[
            "yardstick",
            &self.broker.bootstrap,
            &self.destination.url(),
            &serde_json::to_string(spec)?,
            &batch_rows.to_string(),
        ])?;
        self.destination.verify(std::slice::from_ref(spec)).await?;
        self.keep(name, Measured::parse(&measured)?);
        Ok(())
    }

    /// Under what the figures were taken.
    pub fn conditions(&self) -> String {
        format!(
            "{} events a topic, {} runs of each kind in turns, {} CPUs, load average {} at the end. A ratio is the median of the \
             rounds' own ratios. Each run's rows were compared one by one with what the changes make of them.",
            self.options.events,
            self.options.runs,
            std::thread::available_parallelism().map_or(0, usize::from),
            load_average()
        )
    }
}

/// Runs one of the benchmark's other processes to its end; answers what it printed.
pub fn own_process(arguments: &[&str]) -> anyhow::Result<String> {
    let output =
        Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} failed: {}", arguments.first().unwrap_or(&""), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// One-minute load average: a busy machine makes a figure worthless.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

pub fn say(line: &str) {
    // Progress for people; nothing depends on it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Microseconds since 1970.
pub fn now_microseconds() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
