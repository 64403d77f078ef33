//! `status`: positions, lag and state of each partition, as the destination and Kafka know them.

use super::{ConfigFile, Exit, print};
use crate::config::Config;
use crate::demo::screen::number;
use crate::fault::Fault;
use crate::kafka::{Facts, TopicPartition};
use crate::postgres::{Destination, PositionRow};
use crate::route;
use crate::table::TableName;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use uuid::Uuid;

/// `status`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Everything that is shown; the JSON form as it stands.
#[derive(Debug, Serialize)]
struct Status {
    pipeline: String,
    /// Why Kafka could not be asked; then ends and lags are unknown.
    kafka_error: Option<String>,
    partitions: Vec<Partition>,
    totals: Totals,
    /// Parked dead letters by code.
    dead_letters: BTreeMap<String, i64>,
}

/// One partition that feeds a Silver table.
#[derive(Debug, Default, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    table: Option<String>,
    /// As in `silversink.position`; `unclaimed` where no worker has been yet, `gone` where the topic of that id is.
    state: String,
    reason: Option<String>,
    next_offset: Option<i64>,
    log_end: Option<i64>,
    lag: Option<i64>,
    owner: Option<String>,
    /// Seconds since the position was last written.
    age_seconds: Option<f64>,
    applied: i64,
    superseded: i64,
    skipped: i64,
    dead_lettered: i64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Totals {
    partitions: usize,
    stopped: usize,
    /// Sum of the known lags.
    lag: Option<i64>,
    applied: i64,
    superseded: i64,
    skipped: i64,
    dead_lettered: i64,
}

/// What Kafka tells of the routed topics: id, and the log of each partition (`None` where it cannot be told).
type Topics = BTreeMap<String, (Uuid, Vec<Option<(i64, i64)>>)>;

/// Prints the status. Exit code 3 when something is stopped, 4 when PostgreSQL cannot be reached.
pub async fn command(arguments: Arguments) -> anyhow::Result<Exit> {
    let config = arguments.file.load()?;
    let destination = Destination::connect(&config.postgres, 1, "silversink status").await?;
    // A pipeline that never ran has no bookkeeping tables: it has no positions, and that is no failure.
    let positions = known(destination.positions(&config.name).await)?;
    let letters = known(destination.dead_letters_by_code(&config.name).await)?;
    let fed = destination.fed(&config.name).await?;
    let asked = config.clone();
    let mut topics: BTreeSet<String> = positions.iter().map(|row| row.topic.clone()).collect();
    let kafka = tokio::task::spawn_blocking(move || ask_kafka(&asked, &mut topics)).await?;
    let mut status = assemble(&config, positions, letters, kafka);
    status.name_tables(&config, &fed);
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&status)?)
    } else {
        status.text()
    };
    print(&text)?;
    Ok(if status.totals.stopped > 0 { Exit::Differs } else { Exit::Fine })
}

impl Status {
    /// Names the tables of topics whose records name theirs, as far as they are known.
    fn name_tables(&mut self, config: &Config, fed: &[(String, TableName)]) {
        let names_tables =
            |topic: &str| route::route(config, topic).is_some_and(|r| r.tables.is_some());
        for row in self.partitions.iter_mut().filter(|row| names_tables(&row.topic)) {
            let tables = fed.iter().filter(|(topic, _)| *topic == row.topic);
            let tables: Vec<String> = tables.map(|(_, table)| table.to_string()).collect();
            if !tables.is_empty() {
                row.table = Some(tables.join(", "));
            }
        }
    }
}

fn known<T>(answer: Result<Vec<T>, Fault>) -> Result<Vec<T>, Fault> {
    match answer {
        Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => {
            Ok(Vec::new())
        }
        answer => answer,
    }
}

/// Topics that have a position, and those that a route matches.
fn ask_kafka(config: &Config, topics: &mut BTreeSet<String>) -> Result<Topics, Fault> {
    let facts = Facts::open(&config.kafka)?;
    facts.probe()?;
    let existing: BTreeMap<String, usize> = facts.topics()?.into_iter().collect();
    topics.extend(existing.keys().filter(|t| route::route(config, t).is_some()).cloned());
    topics.retain(|topic| existing.contains_key(topic));
    let ids = facts.topic_ids(&topics.iter().cloned().collect::<Vec<_>>())?;
    let mut found = Topics::new();
    for topic in topics.iter() {
        let count = existing.get(topic).copied().unwrap_or_default();
        let log = |number: i32| {
            let answer = facts.watermarks(&[TopicPartition::new(topic.as_str(), number)]);
            answer.ok().and_then(|logs| logs.first().copied())
        };
        let logs = (0..i32::try_from(count).unwrap_or(i32::MAX)).map(log).collect();
        found.insert(topic.clone(), (ids.get(topic).copied().unwrap_or_default(), logs));
    }
    Ok(found)
}

fn assemble(
    config: &Config,
    positions: Vec<PositionRow>,
    letters: Vec<(String, i64)>,
    kafka: Result<Topics, Fault>,
) -> Status {
    let (topics, kafka_error) = match kafka {
        Ok(topics) => (Some(topics), None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let mut partitions: Vec<Partition> =
        positions.into_iter().map(|row| partition(row, topics.as_ref())).collect();
    let seen: BTreeSet<(String, i32)> =
        partitions.iter().map(|row| (row.topic.clone(), row.partition)).collect();
    for (topic, (_, logs)) in topics.iter().flatten() {
        for (number, log) in (0_i32..).zip(logs) {
            if !seen.contains(&(topic.clone(), number)) {
                partitions.push(unclaimed(config, topic, number, *log));
            }
        }
    }
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let totals = totals(&partitions);
    let dead_letters = letters.into_iter().collect();
    Status { pipeline: config.name.clone(), kafka_error, partitions, totals, dead_letters }
}

fn partition(row: PositionRow, topics: Option<&Topics>) -> Partition {
    let now = topics.map(|topics| topics.get(&row.topic));
    // A broker that tells no ids answers nil, and the position holds nil as well.
    let gone = now.is_some_and(|now| now.is_none_or(|(id, _)| *id != row.topic_id));
    let log = now
        .flatten()
        .filter(|_| !gone)
        .and_then(|(_, logs)| logs.get(usize::try_from(row.partition).ok()?).copied().flatten());
    let lag = log.zip(row.next_offset).map(|((start, end), next)| lag(start, end, next));
    Partition {
        topic: row.topic,
        partition: row.partition,
        table: row.table.map(|table| table.to_string()),
        state: if gone { "gone".to_owned() } else { row.state },
        reason: row.reason,
        next_offset: row.next_offset,
        log_end: log.map(|(_, end)| end),
        lag,
        owner: Some(row.owner),
        age_seconds: Some(row.age_seconds),
        applied: row.applied,
        superseded: row.superseded,
        skipped: row.skipped,
        dead_lettered: row.dead_lettered,
    }
}

fn unclaimed(config: &Config, topic: &str, number: i32, log: Option<(i64, i64)>) -> Partition {
    Partition {
        topic: topic.to_owned(),
        partition: number,
        table: route::route(config, topic).map(|routed| routed.table.to_string()),
        state: "unclaimed".to_owned(),
        log_end: log.map(|(_, end)| end),
        lag: log.map(|(start, end)| lag(start, end, start)),
        ..Partition::default()
    }
}

/// Records that are still to be read: what the log start has left behind cannot be.
fn lag(start: i64, end: i64, next: i64) -> i64 {
    end.saturating_sub(next.max(start)).max(0)
}

fn totals(partitions: &[Partition]) -> Totals {
    let mut totals = Totals { partitions: partitions.len(), ..Totals::default() };
    for row in partitions {
        totals.stopped += usize::from(row.state == "stopped");
        totals.lag = match (totals.lag, row.lag) {
            (Some(sum), Some(lag)) => Some(sum.saturating_add(lag)),
            (sum, lag) => sum.or(lag),
        };
        for (sum, count) in [
            (&mut totals.applied, row.applied),
            (&mut totals.superseded, row.superseded),
            (&mut totals.skipped, row.skipped),
            (&mut totals.dead_lettered, row.dead_lettered),
        ] {
            *sum = sum.saturating_add(count);
        }
    }
    totals
}

/// Columns of the table; those from the fifth on hold numbers, but for the owner.
const TITLES: [&str; 12] = [
    "topic",
    "part",
    "Silver table",
    "state",
    "next",
    "end",
    "lag",
    "applied",
    "superseded",
    "skipped",
    "dead",
    "owner",
];

impl Status {
    fn text(&self) -> String {
        let mut text = format!("Pipeline {}\n", self.pipeline);
        if let Some(error) = &self.kafka_error {
            let _ = writeln!(text, "Kafka cannot be asked, so ends and lags are unknown: {error}");
        }
        if self.partitions.is_empty() {
            text += "No positions: it has never run against this database.\n";
        } else {
            let _ = writeln!(text, "{}", self.table());
        }
        let Totals { partitions, stopped, lag, .. } = &self.totals;
        let lag = lag.map_or("unknown".to_owned(), shown);
        let _ = writeln!(text, "{partitions} partitions, {stopped} stopped, lag {lag}");
        if self.dead_letters.is_empty() {
            text += "No dead letters.\n";
        } else {
            let sum = self.dead_letters.values().sum();
            let _ = writeln!(text, "{} dead letters:", shown(sum));
            for (code, count) in &self.dead_letters {
                let _ = writeln!(text, "  {code:<24} {:>9}", shown(*count));
            }
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(TITLES);
        let option = |value: Option<i64>| value.map_or("-".to_owned(), shown);
        for row in &self.partitions {
            let state = match &row.reason {
                Some(reason) => format!("{} ({reason})", row.state),
                None => row.state.clone(),
            };
            let owner = match (&row.owner, row.age_seconds) {
                (Some(owner), Some(age)) => format!("{owner}, {} ago", ago(age)),
                _ => "-".to_owned(),
            };
            table.add_row([
                row.topic.clone(),
                row.partition.to_string(),
                row.table.clone().unwrap_or_else(|| "-".to_owned()),
                state,
                option(row.next_offset),
                option(row.log_end),
                option(row.lag),
                shown(row.applied),
                shown(row.superseded),
                shown(row.skipped),
                shown(row.dead_lettered),
                owner,
            ]);
        }
        let sums = &self.totals;
        let counts = [sums.applied, sums.superseded, sums.skipped, sums.dead_lettered].map(shown);
        let blank = String::new;
        let head =
            ["all".to_owned(), blank(), blank(), blank(), blank(), blank(), option(sums.lag)];
        table.add_row(head.into_iter().chain(counts).chain([blank()]));
        for number in [1, 4, 5, 6, 7, 8, 9, 10] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn shown(count: i64) -> String {
    u64::try_from(count).map_or_else(|_| count.to_string(), number)
}

/// Seconds as people say them: `12 s`, `5 min`, `3 h`, `2 d`.
fn ago(seconds: f64) -> String {
    let (unit, of) = match seconds {
        s if s < 120.0 => ("s", 1.0),
        s if s < 7200.0 => ("min", 60.0),
        s if s < 172_800.0 => ("h", 3600.0),
        _ => ("d", 86_400.0),
    };
    format!("{:.0} {unit}", (seconds / of).max(0.0))
}
