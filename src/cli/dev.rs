//! `dev`: tools for development and tests.

use super::{Exit, print};
use crate::config::Kafka;
use crate::demo::capture::read_records;
use crate::demo::screen::number;
use crate::fault::Fault;
use crate::kafka::Producer;
use crate::record::{Coordinates, OwnedRecord};
use anyhow::Context;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Produce the records of a capture file to a broker.
    Produce(Produce),
}

/// `dev produce`.
#[derive(Args)]
pub struct Produce {
    /// Capture file: one record a line, base64 key and value; may be gzipped.
    file: PathBuf,
    /// Comma-separated host:port list of brokers.
    #[arg(long, value_name = "SERVERS")]
    bootstrap: String,
    /// Replace the first part of the topics' names (Debezium's `topic.prefix`) by this.
    #[arg(long, value_name = "NAME")]
    topic_prefix: Option<String>,
}

/// Runs one of them.
pub async fn command(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Produce(arguments) => {
            let places = tokio::task::spawn_blocking(move || produce(arguments))
                .await
                .context("producing panicked")??;
            print(&summary(&places))
        }
    }
}

/// Creates the topics that are missing and appends the records; answers where they went.
fn produce(arguments: Produce) -> Result<Vec<Coordinates>, Fault> {
    let mut records = read_records(&arguments.file)?;
    if let Some(prefix) = &arguments.topic_prefix {
        records.iter_mut().for_each(|record| rename(record, prefix));
    }
    let producer = Producer::open(&Kafka {
        bootstrap_servers: arguments.bootstrap,
        group_id: String::new(),
        instance_id: None,
        properties: BTreeMap::new(),
    })?;
    producer.ensure_topics(&records)?;
    producer.load(&records)
}

fn rename(record: &mut OwnedRecord, prefix: &str) {
    let topic = &mut record.at.topic;
    *topic = match topic.split_once('.') {
        Some((_, rest)) => format!("{prefix}.{rest}"),
        None => prefix.to_owned(),
    };
}

/// How many records went into which partitions, and where they stand.
fn summary(places: &[Coordinates]) -> String {
    let mut partitions: BTreeMap<(&str, i32), (u64, i64, i64)> = BTreeMap::new();
    for Coordinates { topic, partition, offset } in places {
        let (count, first, last) =
            partitions.entry((topic, *partition)).or_insert((0, *offset, *offset));
        *count += 1;
        *first = (*first).min(*offset);
        *last = (*last).max(*offset);
    }
    let topics =
        partitions.keys().map(|(topic, _)| topic).collect::<std::collections::BTreeSet<_>>();
    let noun = if topics.len() == 1 { "topic" } else { "topics" };
    let mut text =
        format!("{} records into {} {noun}\n", number(places.len() as u64), topics.len());
    for ((topic, partition), (count, first, last)) in partitions {
        let count = number(count);
        text += &format!("  {topic} {partition}: {count} records, offsets {first} to {last}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: &str, partition: i32, offset: i64) -> Coordinates {
        Coordinates { topic: topic.into(), partition, offset }
    }

    #[test]
    fn the_summary_counts_per_partition() {
        let places = [at("s.p.b", 1, 9), at("s.p.a", 0, 4), at("s.p.a", 0, 5)];
        assert_eq!(
            summary(&places),
            "3 records into 2 topics\n  s.p.a 0: 2 records, offsets 4 to 5\n  \
             s.p.b 1: 1 records, offsets 9 to 9\n"
        );
        assert_eq!(summary(&[]), "0 records into 0 topics\n");
    }

    #[test]
    fn the_prefix_is_the_first_part_of_the_name() {
        let mut record = OwnedRecord {
            at: at("shop.public.orders", 0, 0),
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        rename(&mut record, "other");
        assert_eq!(record.at.topic, "other.public.orders");
    }
}
