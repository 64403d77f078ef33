//! Plays the script: loads the topics, runs the real worker twice, and gathers what came of it.

use crate::config::Config;
use crate::demo::ground_truth::{self, TableVerdict};
use crate::demo::screen::{self, LetterLine, Progress, TableLine};
use crate::demo::script::{DEAD_LETTERS, Script};
use crate::fault::{Class, Code, Fault};
use crate::kafka::{Facts, MockBroker, TopicPartition, move_group};
use crate::postgres::readback::Readback;
use crate::record::Coordinates;
use crate::telemetry::health::Health;
use crate::worker::{self, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the destination is asked how far the worker is.
const LOOK: Duration = Duration::from_millis(100);
/// Differences that are listed per table.
const LISTED: usize = 5;

const COUNTS: &str = "SELECT schema_name || '.' || table_name, sum(applied), sum(superseded), \
    sum(skipped), sum(dead_lettered) FROM silversink.position GROUP BY 1";
const LETTERS: &str = "SELECT topic, partition, \"offset\", code FROM silversink.dead_letter";
const DONE: &str =
    "SELECT sum(applied + superseded + skipped + dead_lettered) FROM silversink.position";
/// Until a partition starts over its counts are those of the first pass, in which something was applied.
const DONE_AGAIN: &str = "SELECT sum(superseded + skipped + dead_lettered) FROM silversink.position \
    WHERE applied = 0";

/// What the play came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// A line per Silver table, counts of the first pass.
    pub tables: Vec<TableLine>,
    /// Dead letters by cause and topic.
    pub letters: Vec<LetterLine>,
    /// Comparison with the source, after the second pass.
    pub verdicts: Vec<TableVerdict>,
    /// Records that the second pass read.
    pub replayed: u64,
    /// Rows whose place, transaction or text is another one after the second pass.
    pub rows_changed: u64,
    /// Everything else that is not as the script says.
    pub problems: Vec<String>,
}

impl Outcome {
    /// Silver equals the source, the second pass changed nothing, and nothing else is wrong.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.problems.is_empty() && self.rows_changed == 0 && screen::is_proven(&self.verdicts)
    }
}

/// Starts the mock broker with the script's topics and the dead-letter topic, all empty.
///
/// # Errors
/// As [`MockBroker::start`].
pub fn start_broker(script: &Script) -> Result<Arc<MockBroker>, Fault> {
    let topics = script.topics();
    let mut topics: Vec<(&str, i32)> = topics.iter().map(|topic| (topic.as_str(), 1)).collect();
    topics.push((DEAD_LETTERS, 1));
    MockBroker::start(&topics).map(Arc::new)
}

/// Fills the topics, each record at the offset that the script says.
///
/// # Errors
/// As [`MockBroker::produce_exactly`].
pub async fn load(script: &Arc<Script>, broker: &Arc<MockBroker>) -> Result<(), Fault> {
    let (script, broker) = (Arc::clone(script), Arc::clone(broker));
    blocking(move || script.feeds.iter().try_for_each(|feed| broker.produce_exactly(&feed.records)))
        .await
}

/// The play on its stage.
pub struct Play {
    /// What is played.
    pub script: Arc<Script>,
    /// The worker's configuration, with the broker, registry and PostgreSQL that were started.
    pub config: Config,
    /// Shared with the HTTP endpoints.
    pub health: Arc<Health>,
    /// Ends it early.
    pub stop: CancellationToken,
    /// A session on the destination.
    pub readback: Readback,
}

impl Play {
    /// Runs both passes and compares; `None` when it was stopped.
    ///
    /// # Errors
    /// What the worker gives up over, or what makes the comparison impossible.
    pub async fn run(&self) -> Result<Option<Outcome>, Fault> {
        let total = self.script.record_count() as u64;
        let mut problems = self.topics_that_lost_records().await?;
        if !self.pass("First pass", DONE).await? {
            return Ok(None);
        }
        let first = self.counts().await?;
        let taken = sum(&first, Counts::all);
        if taken != total {
            problems.push(format!("the first pass accounts for {taken} of {total} records"));
        }
        let before = self.images().await?;
        let kafka = self.config.kafka.clone();
        let starts: Vec<_> = self.partitions().into_iter().map(|p| (p, 0)).collect();
        blocking(move || move_group(&kafka, &starts)).await?;
        if !self.pass("Second pass, from earliest", DONE_AGAIN).await? {
            return Ok(None);
        }
        let second = self.counts().await?;
        let replayed = sum(&second, Counts::all);
        if replayed != total {
            problems.push(format!("the second pass accounts for {replayed} of {total} records"));
        }
        let applied = sum(&second, |counts| counts.applied);
        if applied > 0 {
            problems.push(format!("the second pass applied {applied} changes, should be none"));
        }
        let after = self.images().await?;
        let rows_changed =
            after.difference(&before).count().max(before.difference(&after).count()) as u64;
        let found = self.letters().await?;
        problems.extend(self.script.wrong_letters(&found));
        problems.extend(self.topics_that_lost_records().await?);
        let verdicts = self.verdicts().await?;
        let tables = lines(&verdicts, &first);
        let letters = by_cause(found);
        Ok(Some(Outcome { tables, letters, verdicts, replayed, rows_changed, problems }))
    }

    /// Runs the worker once until it has caught up, with progress; false when it was stopped.
    async fn pass(&self, title: &str, done: &str) -> Result<bool, Fault> {
        let mut progress = Progress::begin(title, self.script.record_count() as u64);
        let options = Options { until_caught_up: true };
        let (health, stop) = (Arc::clone(&self.health), self.stop.clone());
        let mut worker = Box::pin(worker::run(self.config.clone(), options, health, stop));
        let began = tokio::time::Instant::now();
        let outcome = loop {
            tokio::select! {
                ended = &mut worker => break ended,
                () = tokio::time::sleep(LOOK) => {
                    // Before the worker has made its bookkeeping tables nothing is done.
                    let rows = self.readback.query(done).await.unwrap_or_default();
                    progress.set(number(rows.first().and_then(|row| row.first())));
                }
            }
        };
        outcome?;
        if self.stop.is_cancelled() {
            progress.finish("stopped");
            return Ok(false);
        }
        let records = screen::number(self.script.record_count() as u64);
        progress.finish(&format!("{records} records in {:.1} s", began.elapsed().as_secs_f64()));
        Ok(true)
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        self.script.topics().iter().map(|topic| TopicPartition::new(topic.as_str(), 0)).collect()
    }

    /// The mock cluster drops the oldest records of a partition beyond 5 MiB, which would make the comparison worthless.
    async fn topics_that_lost_records(&self) -> Result<Vec<String>, Fault> {
        let mut lengths: BTreeMap<&str, i64> = BTreeMap::new();
        for record in self.script.feeds.iter().flat_map(|feed| &feed.records) {
            *lengths.entry(&record.at.topic).or_default() += 1;
        }
        let (kafka, partitions) = (self.config.kafka.clone(), self.partitions());
        let asked = partitions.clone();
        let found = blocking(move || Facts::open(&kafka)?.watermarks(&asked)).await?;
        let wrong = partitions.iter().zip(found).filter_map(|(partition, (start, end))| {
            let length = lengths.get(&*partition.topic).copied().unwrap_or_default();
            ((start, end) != (0, length)).then(|| {
                format!("{partition} holds offsets {start} to {end}, should be 0 to {length}")
            })
        });
        Ok(wrong.collect())
    }

    async fn counts(&self) -> Result<BTreeMap<String, Counts>, Fault> {
        let rows = self.readback.query(COUNTS).await?;
        let counts = rows.iter().filter_map(|row| match row.as_slice() {
            [Some(table), applied, superseded, skipped, dead_lettered] => {
                let number = |text| number(Some(text));
                let counts = Counts {
                    applied: number(applied),
                    superseded: number(superseded),
                    skipped: number(skipped),
                    dead_lettered: number(dead_lettered),
                };
                Some((table.clone(), counts))
            }
            _ => None,
        });
        Ok(counts.collect())
    }

    /// Every row of every Silver table with its place and transaction: any write changes it.
    async fn images(&self) -> Result<BTreeSet<String>, Fault> {
        let mut images = BTreeSet::new();
        for (table, _) in &self.script.truth {
            let sql = format!(
                "SELECT concat_ws(' ', ctid, xmin, md5(t::text)) FROM \"{}\".\"{}\" AS t",
                table.schema, table.name
            );
            let rows = self.readback.query(&sql).await?;
            images.extend(rows.iter().flatten().flatten().map(|row| format!("{table} {row}")));
        }
        Ok(images)
    }

    async fn letters(&self) -> Result<Vec<(Coordinates, String)>, Fault> {
        let rows = self.readback.query(LETTERS).await?;
        let letters = rows.into_iter().filter_map(|row| {
            let [topic, partition, offset, code] = <[Option<String>; 4]>::try_from(row).ok()?;
            let partition = partition?.parse().ok()?;
            let at = Coordinates { topic: topic?, partition, offset: offset?.parse().ok()? };
            Some((at, code?))
        });
        Ok(letters.collect())
    }

    async fn verdicts(&self) -> Result<Vec<TableVerdict>, Fault> {
        let mut verdicts = Vec::new();
        for (table, truth) in &self.script.truth {
            let names = &self.config.schema.bookkeeping;
            verdicts.push(ground_truth::verify(&self.readback, table, names, truth, LISTED).await?);
        }
        Ok(verdicts)
    }
}

/// What became of the records of one table.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    applied: u64,
    superseded: u64,
    skipped: u64,
    dead_lettered: u64,
}

impl Counts {
    fn all(self) -> u64 {
        self.applied + self.superseded + self.skipped + self.dead_lettered
    }
}

fn sum(counts: &BTreeMap<String, Counts>, of: impl Fn(Counts) -> u64) -> u64 {
    counts.values().map(|counts| of(*counts)).sum()
}

fn lines(verdicts: &[TableVerdict], counts: &BTreeMap<String, Counts>) -> Vec<TableLine> {
    let line = |verdict: &TableVerdict| {
        let table = verdict.table.to_string();
        let counts = counts.get(&table).copied().unwrap_or_default();
        TableLine {
            table,
            live: verdict.live,
            soft_deleted: verdict.deleted,
            applied: counts.applied,
            superseded: counts.superseded,
        }
    };
    verdicts.iter().map(line).collect()
}

fn by_cause(letters: Vec<(Coordinates, String)>) -> Vec<LetterLine> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (at, cause) in letters {
        *counts.entry((cause, at.topic)).or_default() += 1;
    }
    let line = |((cause, topic), count)| LetterLine { cause, topic, count };
    counts.into_iter().map(line).collect()
}

/// A count as PostgreSQL prints it; NULL is 0.
fn number(text: Option<&Option<String>>) -> u64 {
    text.and_then(|text| text.as_deref()?.parse().ok()).unwrap_or_default()
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let joined = tokio::task::spawn_blocking(call).await;
    joined.unwrap_or_else(|_| Err(internal("a blocking call panicked")))
}

fn internal(text: &str) -> Fault {
    Fault::new(Class::Fatal, Code::Internal, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TableName;

    fn right() -> Outcome {
        let verdict = TableVerdict {
            table: TableName::new("silver", "orders"),
            live: 1,
            deleted: 0,
            untold: 0,
            difference_count: 0,
            differences: Vec::new(),
            expected_checksum: [1; 32],
            found_checksum: [1; 32],
        };
        Outcome {
            tables: Vec::new(),
            letters: Vec::new(),
            verdicts: vec![verdict],
            replayed: 1,
            rows_changed: 0,
            problems: Vec::new(),
        }
    }

    #[test]
    fn an_outcome_is_right_only_if_all_of_it_is() {
        assert!(right().is_right());
        assert!(!Outcome { verdicts: Vec::new(), ..right() }.is_right());
        assert!(!Outcome { rows_changed: 1, ..right() }.is_right());
        assert!(
            !Outcome { problems: vec!["a letter is missing".to_owned()], ..right() }.is_right()
        );
        let mut unequal = right();
        unequal.verdicts[0].found_checksum = [2; 32];
        assert!(!unequal.is_right());
    }

    #[test]
    fn letters_are_counted_by_cause_and_topic() {
        let at = |topic: &str, offset| Coordinates { topic: topic.into(), partition: 0, offset };
        let letters = vec![
            (at("b", 1), "key_missing".to_owned()),
            (at("a", 1), "key_missing".to_owned()),
            (at("a", 2), "key_missing".to_owned()),
        ];
        let lines = by_cause(letters);
        let counts: Vec<_> = lines.iter().map(|line| (line.topic.as_str(), line.count)).collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }
}
