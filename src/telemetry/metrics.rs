//! Typed handles for every metric.
//!
//! # Decisions
//!
//! - Counters and histograms are looked up once and kept. Gauges are *held*: a series lives as long as its value's
//!   owner, because a lag that nobody updates any more (after a rebalance) is worse than none. [`Exporter::keep_up`]
//!   repeats the held values every few seconds; what is not held any more goes silent and is dropped by the recorder.
//! - Recorded per batch, never per record.

use super::held::{Condition, Held, repeat_held};
use super::names::{self, Commit, Kind, Metric, Pause, Rebalance, Request, Target, Word};
use crate::decode::SkipRule;
use crate::fault::Code;
use crate::table::TableName;
use metrics::{Counter, Histogram, Label, counter, histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_util::MetricKindMask;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often held gauges are repeated and histograms drained. Without the latter their samples pile up between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// After this long a gauge that is not held any more disappears: six missed repetitions.
const IDLE: Duration = Duration::from_secs(30);

/// The process's metrics, ready to be rendered.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
}

/// Makes this process record metrics. Call once, before any handle is made.
///
/// # Errors
/// A recorder is installed already.
pub fn install() -> anyhow::Result<Exporter> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| anyhow::anyhow!("a metrics recorder is installed already"))?;
    names::describe();
    Ok(Exporter { handle })
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(IDLE));
    for Metric { name, kind, .. } in names::ALL {
        if let Kind::Histogram(buckets) = kind {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
        }
    }
    Ok(builder.build_recorder())
}

impl Exporter {
    /// Every series in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Repeats held gauges and drains histograms until the token is cancelled.
    pub async fn keep_up(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            repeat_held();
            self.handle.run_upkeep();
        }
    }
}

/// A lane's partitions are paused, until the handle is dropped.
#[must_use]
pub fn paused(table: &TableName, reason: Pause) -> Condition {
    Condition::of(Held::new(
        names::PAUSED,
        vec![table_label(table), Label::new(names::REASON, reason.word())],
        1.0,
    ))
}

/// A lane is stopped, until the handle is dropped.
#[must_use]
pub fn lane_stopped(table: &TableName, code: Code) -> Condition {
    Condition::of(Held::new(
        names::LANE_STOPPED,
        vec![table_label(table), Label::new(names::CODE, code.as_str())],
        1.0,
    ))
}

/// Metrics of one Silver table.
#[derive(Debug)]
pub struct TableMetrics {
    table: Label,
    applied: Counter,
    superseded: Counter,
    skipped: Counter,
    dead_lettered: Counter,
    unguarded: Counter,
    contradicted: Counter,
    nulls_in_doubt: Counter,
    batch_records: Histogram,
    batch_bytes: Histogram,
    merge_duration: Histogram,
    latency: Histogram,
    source_commit: Option<Held>,
}

impl TableMetrics {
    /// The handles of a table; its counters start at 0.
    #[must_use]
    pub fn new(table: &TableName) -> Self {
        let table = table_label(table);
        let records = |outcome| {
            counter!(names::RECORDS_TOTAL, vec![table.clone(), Label::new(names::OUTCOME, outcome)])
        };
        let of_table = || vec![table.clone()];
        Self {
            applied: records("applied"),
            superseded: records("superseded"),
            skipped: records("skipped"),
            dead_lettered: records("dead_lettered"),
            unguarded: counter!(names::DLQ_UNGUARDED_TOTAL, of_table()),
            contradicted: counter!(names::ORDER_CONTRADICTED_TOTAL, of_table()),
            nulls_in_doubt: counter!(names::NULLS_IN_DOUBT_TOTAL, of_table()),
            batch_records: histogram!(names::BATCH_RECORDS, of_table()),
            batch_bytes: histogram!(names::BATCH_BYTES, of_table()),
            merge_duration: histogram!(names::MERGE_DURATION_SECONDS, of_table()),
            latency: histogram!(names::END_TO_END_LATENCY_SECONDS, of_table()),
            source_commit: None,
            table,
        }
    }

    /// Records whose change is in the table now.
    pub fn applied(&self, records: u64) {
        self.applied.increment(records);
    }

    /// Records that a newer change of the same row had replaced, in the fold or in the table.
    pub fn superseded(&self, records: u64) {
        self.superseded.increment(records);
    }

    /// Records skipped by a named rule.
    pub fn skipped(&self, rule: SkipRule, records: u64) {
        self.skipped.increment(records);
        counter!(
            names::SKIPPED_RECORDS_TOTAL,
            vec![self.table.clone(), Label::new(names::RULE, rule.as_str())]
        )
        .increment(records);
    }

    /// Changes that contradict the order.
    pub fn contradicted(&self, changes: u64) {
        self.contradicted.increment(changes);
    }

    /// Updates with a NULL that may stand for an unchanged value.
    pub fn nulls_in_doubt(&self, updates: u64) {
        self.nulls_in_doubt.increment(updates);
    }

    /// Deletes after which the source still has a row of the key, for certain or perhaps.
    pub fn keys_exchanged(&self, certain: bool, deletes: u64) {
        let certainty = if certain { "certain" } else { "possible" };
        counter!(
            names::KEYS_EXCHANGED_TOTAL,
            vec![self.table.clone(), Label::new(names::CERTAINTY, certainty)]
        )
        .increment(deletes);
    }

    /// Records dead-lettered for one cause.
    pub fn dead_lettered(&self, code: Code, records: u64) {
        self.dead_lettered.increment(records);
        counter!(
            names::DLQ_RECORDS_TOTAL,
            vec![self.table.clone(), Label::new(names::CLASS, code.as_str())]
        )
        .increment(records);
    }

    /// Records dead-lettered that leave no hole, although their row has one.
    pub fn unguarded(&self, records: u64) {
        self.unguarded.increment(records);
    }

    /// A batch was committed: its rows after the fold, its encoded bytes, the time its transaction took.
    pub fn batch(&self, rows: usize, bytes: usize, took: Duration) {
        self.batch_records.record(lossy(rows));
        self.batch_bytes.record(lossy(bytes));
        self.merge_duration.record(took);
    }

    /// Source time of the newest change applied, in milliseconds since 1970, and how long it took to get here.
    pub fn fresh(&mut self, source_commit_ms: i64, latency: Duration) {
        // Exact up to the year 287396, and read in seconds.
        let seconds = source_commit_ms as f64 / 1000.0;
        match &self.source_commit {
            Some(held) => held.set(seconds),
            None => {
                let labels = vec![self.table.clone()];
                self.source_commit =
                    Some(Held::new(names::TABLE_SOURCE_COMMIT_TIMESTAMP_SECONDS, labels, seconds));
            }
        }
        self.latency.record(latency);
    }
}

/// Metrics of one assigned partition; drop it when the partition goes.
#[derive(Debug)]
pub struct PartitionMetrics {
    labels: Vec<Label>,
    read: Counter,
    lag: Option<Held>,
}

impl PartitionMetrics {
    /// The handles of a partition; the lag is unknown, not 0.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        let labels = vec![
            Label::new(names::TOPIC, topic.to_owned()),
            Label::new(names::PARTITION, partition.to_string()),
        ];
        Self { read: counter!(names::RECORDS_READ_TOTAL, labels.clone()), labels, lag: None }
    }

    /// Records polled.
    pub fn read(&self, records: u64) {
        self.read.increment(records);
    }

    /// High watermark minus position.
    pub fn lag(&mut self, records: u64) {
        let records = records as f64;
        match &self.lag {
            Some(lag) => lag.set(records),
            None => {
                self.lag =
                    Some(Held::new(names::CONSUMER_LAG_RECORDS, self.labels.clone(), records))
            }
        }
    }
}

/// The epochs of sources, as far as this worker's partitions know.
#[derive(Debug, Default)]
pub struct SourceEpochs(BTreeMap<String, (u32, Held)>);

impl SourceEpochs {
    /// A source is in this epoch, or a higher one.
    pub fn tell(&mut self, source: &str, epoch: u32) {
        match self.0.get_mut(source) {
            Some((known, held)) if *known < epoch => {
                *known = epoch;
                held.set(f64::from(epoch));
            }
            Some(_) => {}
            None => {
                let labels = vec![Label::new(names::SOURCE, source.to_owned())];
                let held = Held::new(names::SOURCE_EPOCH, labels, f64::from(epoch));
                self.0.insert(source.to_owned(), (epoch, held));
            }
        }
    }
}

/// A source epoch was raised.
pub fn source_epoch_raised(source: &str, reason: &'static str) {
    counter!(
        names::SOURCE_EPOCH_RAISED_TOTAL,
        vec![Label::new(names::SOURCE, source.to_owned()), Label::new(names::REASON, reason)]
    )
    .increment(1);
}

/// Metrics of the worker as a whole.
#[derive(Debug)]
pub struct WorkerMetrics {
    assigned: Held,
    _build: Held,
}

impl WorkerMetrics {
    /// The handles; keep them as long as the worker lives.
    #[must_use]
    pub fn new() -> Self {
        for target in [Target::Postgres, Target::Kafka, Target::Registry] {
            counter!(names::RETRIES_TOTAL, names::TARGET => target.word()).increment(0);
        }
        for outcome in [Commit::Done, Commit::Failed, Commit::Fenced] {
            counter!(names::OFFSET_COMMITS_TOTAL, names::OUTCOME => outcome.word()).increment(0);
        }
        Self {
            assigned: Held::new(names::ASSIGNED_PARTITIONS, Vec::new(), 0.0),
            _build: Held::new(
                names::BUILD_INFO,
                vec![Label::new(names::VERSION, env!("CARGO_PKG_VERSION"))],
                1.0,
            ),
        }
    }

    /// Partitions assigned to this worker.
    pub fn assigned(&self, partitions: usize) {
        self.assigned.set(lossy(partitions));
    }
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// An offset commit to Kafka came back.
pub fn offset_commit(outcome: Commit) {
    counter!(names::OFFSET_COMMITS_TOTAL, names::OUTCOME => outcome.word()).increment(1);
}

/// Something is attempted again after a transient failure.
pub fn retry(target: Target) {
    counter!(names::RETRIES_TOTAL, names::TARGET => target.word()).increment(1);
}

/// The group was rebalanced.
pub fn rebalance(kind: Rebalance) {
    counter!(names::REBALANCES_TOTAL, names::KIND => kind.word()).increment(1);
}

/// The registry was asked.
pub fn registry_request(outcome: Request) {
    counter!(names::REGISTRY_REQUESTS_TOTAL, names::OUTCOME => outcome.word()).increment(1);
}

fn table_label(table: &TableName) -> Label {
    Label::new(names::TABLE, table.to_string())
}

/// Counts beyond 2^53 lose their last digits on `/metrics`.
fn lossy(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) fn for_tests(record: impl FnOnce()) -> Exporter {
    let recorder = recorder().unwrap();
    metrics::with_local_recorder(&recorder, || {
        names::describe();
        record();
    });
    Exporter { handle: recorder.handle() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> TableName {
        TableName::new("silver", "orders")
    }

    #[test]
    fn each_typed_call_ends_up_in_its_series() {
        let exporter = for_tests(|| {
            let mut table = TableMetrics::new(&orders());
            table.applied(3);
            table.superseded(2);
            table.skipped(SkipRule::Heartbeat, 1);
            table.dead_lettered(Code::Undecodable, 4);
            table.contradicted(5);
            table.nulls_in_doubt(8);
            table.keys_exchanged(true, 2);
            table.keys_exchanged(false, 1);
            table.batch(10, 2000, Duration::from_millis(20));
            table.fresh(1_700_000_000_500, Duration::from_millis(7));
            let mut partition = PartitionMetrics::new("shop.public.orders", 2);
            partition.read(10);
            partition.lag(42);
            let worker = WorkerMetrics::new();
            worker.assigned(6);
            offset_commit(Commit::Done);
            retry(Target::Postgres);
            rebalance(Rebalance::Lost);
            registry_request(Request::Unknown);
            let _paused = paused(&orders(), Pause::Backpressure);
            let stopped = lane_stopped(&orders(), Code::ColumnMissing);
            drop(lane_stopped(&orders(), Code::TableMissing));
            source_epoch_raised("shop", "snapshot");
            let mut epochs = SourceEpochs::default();
            for epoch in [1, 3, 2] {
                epochs.tell("shop", epoch);
            }
            // They must still be there when the page is rendered.
            Box::leak(Box::new((stopped, epochs)));
        });

        let text = exporter.render();

        for line in [
            "silversink_records_total{table=\"silver.orders\",outcome=\"applied\"} 3",
            "silversink_records_total{table=\"silver.orders\",outcome=\"superseded\"} 2",
            "silversink_records_total{table=\"silver.orders\",outcome=\"skipped\"} 1",
            "silversink_records_total{table=\"silver.orders\",outcome=\"dead_lettered\"} 4",
            "silversink_skipped_records_total{table=\"silver.orders\",rule=\"heartbeat\"} 1",
            "silversink_order_contradicted_total{table=\"silver.orders\"} 5",
            "silversink_nulls_in_doubt_total{table=\"silver.orders\"} 8",
            "silversink_keys_exchanged_total{table=\"silver.orders\",certainty=\"certain\"} 2",
            "silversink_keys_exchanged_total{table=\"silver.orders\",certainty=\"possible\"} 1",
            "silversink_source_epoch{source=\"shop\"} 3",
            "silversink_source_epoch_raised_total{source=\"shop\",reason=\"snapshot\"} 1",
            "silversink_dlq_records_total{table=\"silver.orders\",class=\"undecodable\"} 4",
            "silversink_batch_records_bucket{table=\"silver.orders\",le=\"10\"} 1",
            "silversink_batch_bytes_bucket{table=\"silver.orders\",le=\"1024\"} 0",
            "silversink_merge_duration_seconds_bucket{table=\"silver.orders\",le=\"0.025\"} 1",
            "silversink_end_to_end_latency_seconds_bucket{table=\"silver.orders\",le=\"0.01\"} 1",
            "silversink_table_source_commit_timestamp_seconds{table=\"silver.orders\"} 1700000000.5",
            "silversink_records_read_total{topic=\"shop.public.orders\",partition=\"2\"} 10",
            "silversink_consumer_lag_records{topic=\"shop.public.orders\",partition=\"2\"} 42",
            "silversink_assigned_partitions 6",
            "silversink_offset_commits_total{outcome=\"ok\"} 1",
            "silversink_retries_total{target=\"postgres\"} 1",
            "silversink_retries_total{target=\"kafka\"} 0",
            "silversink_rebalances_total{kind=\"lost\"} 1",
            "silversink_registry_requests_total{outcome=\"not_found\"} 1",
            "silversink_paused{table=\"silver.orders\",reason=\"backpressure\"} 0",
            "silversink_lane_stopped{table=\"silver.orders\",code=\"column_missing\"} 1",
            "silversink_lane_stopped{table=\"silver.orders\",code=\"table_missing\"} 0",
            concat!("silversink_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
        for metric in names::ALL {
            assert!(
                text.contains(&format!("# HELP {} {}", metric.name, metric.help)),
                "no HELP of {}",
                metric.name
            );
        }
    }

    #[tokio::test]
    async fn one_recorder_serves_the_process_until_upkeep_is_told_to_stop() {
        let exporter = install().unwrap();
        assert!(install().is_err());
        let stop = CancellationToken::new();
        let upkeep = tokio::spawn(exporter.clone().keep_up(stop.clone()));
        TableMetrics::new(&TableName::new("silver", "global")).applied(1);

        stop.cancel();
        upkeep.await.unwrap();

        let text = exporter.render();
        assert!(text.contains("table=\"silver.global\",outcome=\"applied\"} 1"), "{text}");
    }
}
