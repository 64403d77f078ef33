//! Compares Silver with what the topics tell, and prints a history for people.

use super::guard::Guard;
use super::history::{Gaps, History};
use super::sink::Sink;
use super::source::KEYS;
use super::topic::{Record, Told};
use super::unread::Unread;
use std::fmt::Write as _;

/// What became of one history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Keys whose row in Silver is not what the topics tell, and no dead letter says so.
    pub wrong: usize,
    /// Keys whose row is not what the topics tell, because a record was dead-lettered for want of a base.
    pub lettered: usize,
    /// Live rows that only a sweep can remove.
    pub ghosts: usize,
    /// Records that were dead-lettered for want of a base.
    pub parked: usize,
    /// Rows that a complete replay wrote again.
    pub rewritten: usize,
    /// Records read at least once.
    pub records: usize,
    /// Epochs there are.
    pub epochs: usize,
    /// Epochs that the data raised.
    pub raised: usize,
    /// Of these, those in one lineage: nothing started over.
    pub causeless: usize,
    /// Partitions that an epoch led back.
    pub led_back: usize,
}

impl Verdict {
    pub fn add(&mut self, one: Self) {
        self.wrong += one.wrong;
        self.lettered += one.lettered;
        self.ghosts += one.ghosts;
        self.parked += one.parked;
        self.rewritten += one.rewritten;
        self.records += one.records;
        self.epochs += one.epochs;
        self.raised += one.raised;
        self.causeless += one.causeless;
        self.led_back += one.led_back;
    }
}

/// Runs a history under a guard.
pub fn judge(history: &History, seed: u64, guard: Guard) -> Verdict {
    let sink = Sink::run(history, seed, (guard, Unread::Never), false);
    verdict(history, &sink)
}

fn verdict(history: &History, sink: &Sink<'_>) -> Verdict {
    let lettered = lettered(history, sink);
    let wrong = |with_letter: bool| {
        let keys = (0..KEYS).filter(|key| is_wrong(history, sink, *key));
        keys.filter(|key| lettered[*key] == with_letter).count()
    };
    let partitions = history.kafka.topics.iter().flat_map(|topic| &topic.partitions);
    Verdict {
        wrong: wrong(false),
        lettered: wrong(true),
        ghosts: history.kafka.told.iter().filter(|told| told.ghost).count(),
        parked: sink.parked.len(),
        rewritten: sink.rewritten,
        records: partitions.map(Vec::len).sum(),
        epochs: sink.epochs.all().len(),
        raised: sink.raised,
        causeless: if history.slots > 1 { 0 } else { sink.raised },
        led_back: sink.led_back,
    }
}

/// Keys with a dead letter, and keys that such a row was given later: they inherit what it lacks.
fn lettered(history: &History, sink: &Sink<'_>) -> [bool; KEYS] {
    let mut lettered = [false; KEYS];
    if sink.parked.is_empty() {
        return lettered;
    }
    let topics = &history.kafka.topics;
    for (topic, partition, offset) in &sink.parked {
        lettered[usize::from(topics[*topic].partitions[*partition][*offset].key)] = true;
    }
    let mut records: Vec<&Record> =
        topics.iter().flat_map(|topic| &topic.partitions).flatten().collect();
    records.sort_by_key(|record| record.number);
    for record in records {
        if let Some(old) = record.old_key {
            lettered[usize::from(record.key)] |= lettered[usize::from(old)];
        }
    }
    lettered
}

fn is_wrong(history: &History, sink: &Sink<'_>, key: usize) -> bool {
    let live = sink.silver.rows[key].filter(|row| row.deleted_at.is_none());
    let Told { row, ghost } = history.kafka.told[key];
    // The source has no such row, and its last image may be that of a blocking snapshot that read ahead of its own position
    // before the stream was lost: there is nothing to compare with.
    !ghost && live.map(|row| row.values) != row.map(|values| values.map(Some))
}

/// The history of a seed, the sink's steps and both tables, as text.
pub fn tell(seed: u64, gaps: Gaps, guard: Guard) -> String {
    told(&History::new(seed, gaps, true), seed, guard)
}

/// A history that was traced, the sink's steps and both tables, as text.
pub fn told(history: &History, seed: u64, guard: Guard) -> String {
    let mut text = format!("history {seed} under {guard:?}\n");
    for (number, topic) in history.kafka.topics.iter().enumerate() {
        let mut records: Vec<(usize, usize, &Record)> = Vec::new();
        for (at, partition) in topic.partitions.iter().enumerate() {
            records.extend(partition.iter().enumerate().map(|(offset, r)| (at, offset, r)));
        }
        records.sort_by_key(|(_, _, record)| record.number);
        writeln!(text, "topic {number}").unwrap();
        for (at, offset, record) in records {
            let remarks = history.kafka.remarks.iter().filter(|(n, _)| *n == record.number);
            remarks.for_each(|(_, remark)| writeln!(text, "  -- {remark}").unwrap());
            writeln!(text, "  #{} {at}/{offset} {}", record.number, line(record)).unwrap();
        }
    }
    let sink = Sink::run(history, seed, (guard, Unread::Never), true);
    sink.steps.iter().for_each(|step| writeln!(text, "  {step}").unwrap());
    for key in 0..KEYS {
        let mark = if is_wrong(history, &sink, key) { "WRONG" } else { "ok" };
        let told = history.kafka.told[key];
        let found = sink.silver.rows[key];
        writeln!(text, "key {key} {mark}: told {told:?}, source {:?}", history.rows[key]).unwrap();
        writeln!(text, "    Silver {found:?}").unwrap();
    }
    writeln!(text, "epochs {:?}, {:?}", sink.epochs, verdict(history, &sink)).unwrap();
    text
}

fn line(record: &Record) -> String {
    let commit = record.commit.map_or("null".to_owned(), |commit| commit.to_string());
    let columns = record.values.iter().enumerate().map(|(column, value)| {
        if record.unchanged & 1 << column == 0 { value.to_string() } else { format!("({value})") }
    });
    format!(
        "{:?} key {} old {:?} [{}] sequence [{commit},{}] {:?} ts {}",
        record.op,
        record.key,
        record.old_key,
        columns.collect::<Vec<_>>().join(" "),
        record.change,
        record.snapshot,
        record.ts
    )
}
