//! The broker: librdkafka's mock cluster in a process of its own, because its CPU is nobody's business, and the producer
//! that fills it.

use crate::bench::now_microseconds;
use crate::workload::{self, Format, Spec};
use anyhow::{Context, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde::{Deserialize, Serialize};
use silversink::kafka::mock::MockBroker;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(60);

/// What the broker is asked to do; it answers each with a line.
#[derive(Serialize, Deserialize)]
enum Order {
    /// Create a topic without records.
    Create(Spec),
    /// Create a topic and fill it.
    Fill(Spec, (u32, u32)),
    /// Append the topics' records at the moments of their changes, with this `linger.ms`; answers when the last one is sent.
    Play(Vec<(Spec, (u32, u32))>, String),
}

/// Entry point of the process.
pub fn serve() -> anyhow::Result<()> {
    let broker = MockBroker::start(&[])?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.bootstrap())?;
    out.flush()?;
    // Until whoever started us goes away.
    for line in std::io::stdin().lines() {
        match serde_json::from_str(&line?)? {
            Order::Create(spec) => broker.create_topic(&spec.topic(), spec.partitions)?,
            Order::Fill(spec, ids) => {
                broker.create_topic(&spec.topic(), spec.partitions)?;
                fill(broker.bootstrap(), &spec, ids)?;
            }
            Order::Play(topics, linger) => play(broker.bootstrap(), &topics, &linger)?,
        }
        writeln!(out, "done")?;
        out.flush()?;
    }
    Ok(())
}

fn producer(bootstrap: &str, spec: &Spec, linger: &str) -> anyhow::Result<BaseProducer> {
    // The mock keeps 5 MiB of a partition, as they come over the wire.
    let compression = match (spec.bland, spec.format) {
        (true, _) => "zstd",
        (false, Format::Avro) => "none",
        (false, _) => "lz4",
    };
    Ok(ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.type", compression)
        // A batch is the mock's unit of fetching, whatever the consumer asks for: a full one of 1 MB of each of 128 partitions
        // would say nothing about memory. Kafka Connect's producers fill batches of 16 KiB.
        .set("linger.ms", linger)
        .set("batch.size", "65536")
        .set("queue.buffering.max.messages", "2000000")
        .set("queue.buffering.max.kbytes", "2000000")
        .create()?)
}

fn send(producer: &BaseProducer, topic: &str, record: &workload::Record) -> anyhow::Result<()> {
    let mut message = BaseRecord::to(topic)
        .partition(record.partition)
        .timestamp(record.timestamp_ms)
        .key(&record.key)
        .payload(&record.value);
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(10));
                message = back;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Each partition in one stretch, so that the broker's batches get large.
fn fill(bootstrap: &str, spec: &Spec, ids: (u32, u32)) -> anyhow::Result<()> {
    let mut records = workload::records(spec, ids)?;
    records.sort_by_key(|record| record.partition);
    let producer = producer(bootstrap, spec, "5")?;
    for record in &records {
        send(&producer, &spec.topic(), record)?;
    }
    producer.flush(WAIT)?;
    everything_is_there(bootstrap, spec)
}

/// The mock forgets what is beyond its limits, without a word.
fn everything_is_there(bootstrap: &str, spec: &Spec) -> anyhow::Result<()> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let mut held = 0;
    for partition in 0..spec.partitions {
        let (low, high) = consumer.fetch_watermarks(&spec.topic(), partition, WAIT)?;
        ensure!(low == 0, "the mock broker forgot {low} records of {}: use fewer", spec.topic());
        held += high;
    }
    ensure!(held == i64::try_from(spec.events)?, "{} holds {held} records", spec.topic());
    Ok(())
}

fn play(bootstrap: &str, topics: &[(Spec, (u32, u32))], linger: &str) -> anyhow::Result<()> {
    let (first, _) = topics.first().context("nothing to play")?;
    let producer = producer(bootstrap, first, linger)?;
    let mut due = Vec::new();
    for (spec, ids) in topics {
        let records = workload::records(spec, *ids)?;
        due.extend(
            spec.changes()
                .map(|change| change.at)
                .zip(records)
                .map(|(at, r)| (at, spec.topic(), r)),
        );
    }
    due.sort_by_key(|(at, ..)| *at);
    let mut late = 0;
    for (at, topic, record) in &due {
        loop {
            let now = now_microseconds();
            let early = at - now;
            if early <= 0 {
                late = late.max(-early);
                break;
            }
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(u64::try_from(early)?));
        }
        send(&producer, topic, record)?;
    }
    producer.flush(WAIT)?;
    // Being late counts as latency; seconds of it mean that the machine cannot play at this rate.
    ensure!(late < 1_000_000, "the producer was {late} us late");
    Ok(())
}

/// The process, seen from the benchmark.
pub struct Broker {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub bootstrap: String,
}

impl Broker {
    pub fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().context("no output")?);
        let mut bootstrap = String::new();
        answers.read_line(&mut bootstrap)?;
        if bootstrap.is_empty() {
            bail!("the broker did not start");
        }
        Ok(Self { process, orders, answers, bootstrap: bootstrap.trim().to_owned() })
    }

    /// Creates a topic without records.
    pub fn create(&mut self, spec: &Spec) -> anyhow::Result<()> {
        self.ask(&Order::Create(spec.clone()))?;
        self.answer()
    }

    /// Creates a topic and fills it.
    pub fn fill(&mut self, spec: &Spec, ids: (u32, u32)) -> anyhow::Result<()> {
        self.ask(&Order::Fill(spec.clone(), ids))?;
        self.answer()
    }

    /// Starts to append records at the moments of their changes; [`Self::played`] waits for the end.
    pub fn play(&mut self, topics: &[(Spec, (u32, u32))], linger: &str) -> anyhow::Result<()> {
        self.ask(&Order::Play(topics.to_vec(), linger.to_owned()))
    }

    /// Waits until everything was appended.
    pub fn played(&mut self) -> anyhow::Result<()> {
        self.answer()
    }

    fn ask(&mut self, order: &Order) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("the broker is gone")?;
        writeln!(orders, "{}", serde_json::to_string(order)?)?;
        Ok(orders.flush()?)
    }

    fn answer(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line.trim() == "done", "the broker failed; see its message above");
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends with its standard input.
        let _ = self.process.wait();
    }
}
