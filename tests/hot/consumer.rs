//! The whole consumer side against a broker in another process, everything but the writes to PostgreSQL: the product's
//! parts next to the prototype's, by the CPU time of the whole process, librdkafka's threads included.

use crate::path::Path;
use crate::prototype::Prototype;
use crate::records::{Encoding, records};
use crate::workload::{self, PARTITIONS};
use crate::{BATCH_ROWS, Table, copy, spent};
use anyhow::{Context, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use silversink::config;
use silversink::kafka::{Consumer, Event, MockBroker, TopicPartition};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(20);

/// The broker's process: ends with its standard input.
pub fn serve(encoding: &str, events: usize) -> anyhow::Result<()> {
    let encoding = Encoding::ALL.into_iter().find(|e| e.name() == encoding).context("encoding")?;
    let topic = workload::topic(0);
    let broker = MockBroker::start(&[(topic.as_str(), PARTITIONS)])?;
    broker.produce(&records(encoding, events)?)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.bootstrap())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Broker {
    process: Child,
    bootstrap: String,
}

impl Broker {
    fn start(encoding: Encoding, events: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", encoding.name(), &events.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut bootstrap = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut bootstrap)?;
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

/// CPU time and allocations of one run; allocations are those of the polling thread.
struct Run {
    all: u64,
    polling: u64,
    allocations: u64,
}

struct Begun {
    all: u64,
    polling: u64,
    allocations: u64,
}

impl Begun {
    fn now() -> Self {
        Self {
            all: spent::process_nanoseconds(),
            polling: spent::nanoseconds(),
            allocations: spent::allocations(),
        }
    }

    fn end(self) -> Run {
        let now = Self::now();
        Run {
            all: now.all - self.all,
            polling: now.polling - self.polling,
            allocations: now.allocations - self.allocations,
        }
    }
}

pub fn run(table: &mut Table<'_>, encoding: Encoding, events: usize) -> anyhow::Result<()> {
    let broker = Broker::start(encoding, events)?;
    let (mut ours, mut prototypes) = (Vec::new(), Vec::new());
    for pass in 0..table.passes.div_ceil(40) {
        ours.push(product(&broker.bootstrap, events, pass)?);
        if encoding != Encoding::JsonWithSchema {
            prototypes.push(prototype(&broker.bootstrap, encoding, events)?);
        }
    }
    let per_event = |n: u64| n as f64 / f64::from(u32::try_from(events).unwrap_or(u32::MAX));
    for (who, mut runs) in [("consumer side", ours), ("prototype's consumer side", prototypes)] {
        runs.sort_unstable_by_key(|run| run.all);
        if let Some(run) = runs.get(runs.len() / 2) {
            let (all, polling) = (per_event(run.all), per_event(run.polling));
            table.line(
                &format!("{}: {who} ({polling:.0} in the polling thread)", encoding.name()),
                &format!("{all:.0}"),
                &format!("{:.3}", per_event(run.allocations)),
            );
        }
    }
    Ok(())
}

fn product(bootstrap: &str, events: usize, pass: usize) -> anyhow::Result<Run> {
    let kafka = config::Kafka {
        bootstrap_servers: bootstrap.to_owned(),
        group_id: format!("hot-{pass}"),
        instance_id: None,
        properties: BTreeMap::new(),
    };
    let partitions = usize::try_from(PARTITIONS)?;
    let consumer = Consumer::open_fed(&kafka, "hot", partitions, || {})?;
    let topic = workload::topic(0);
    consumer.subscribe(std::slice::from_ref(&topic))?;
    let mut path = Path::new()?;
    let mut taken = 0;
    let mut begun = None;
    // The batch that the worker would be writing.
    let mut written = None;
    while taken < events {
        let event = if begun.is_some() { consumer.poll_feed(0) } else { consumer.poll(WAIT) };
        match event {
            Event::Record(message) => {
                let raw = message.raw();
                let change = path.decode(&raw)?;
                path.fold(&change, &raw)?;
                taken += 1;
            }
            Event::Assigned(partitions) => {
                begun = Some(Begun::now());
                consumer.assign_paused(&partitions)?;
                partitions.iter().for_each(|partition| consumer.feed(partition, 0));
                let from = |partition: TopicPartition| (partition, 0);
                consumer.start(&partitions.into_iter().map(from).collect::<Vec<_>>())?;
            }
            Event::Idle => {
                // Heartbeats and what concerns the group come beside the feeds.
                match consumer.poll(Duration::from_millis(1)) {
                    Event::Idle => {}
                    other => bail!("{other:?}"),
                }
            }
            Event::End(..) => {}
            other => bail!("{other:?}"),
        }
        if path.arena.rows() >= BATCH_ROWS || taken == events {
            let batch = path.seal()?;
            copy(&batch)?;
            written = Some(batch);
        } else if path.arena.rows() == BATCH_ROWS / 2 {
            path.arena.recycle(written.take());
        }
    }
    Ok(begun.context("nothing was assigned")?.end())
}

fn prototype(bootstrap: &str, encoding: Encoding, events: usize) -> anyhow::Result<Run> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "prototype")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "32768")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(&workload::topic(0), partition, Offset::Beginning)?;
    }
    let mut prototype = Prototype::new(encoding)?;
    let begun = Begun::now();
    consumer.assign(&assignment)?;
    let mut taken = 0;
    while taken < events {
        let message = consumer.poll(WAIT).context("the broker went silent")??;
        let value = message.payload().context("no value")?;
        let event = prototype.decode(value)?;
        prototype.fold(&event)?;
        taken += 1;
        if prototype.rows() >= BATCH_ROWS || taken == events {
            black_box(prototype.flush());
        }
    }
    Ok(begun.end())
}
