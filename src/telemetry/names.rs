//! Every metric's name, kind and meaning, every label's name and its closed set of values.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Label: Silver table, `schema.name`.
pub const TABLE: &str = "table";
/// Label: Kafka topic.
pub const TOPIC: &str = "topic";
/// Label: Kafka partition.
pub const PARTITION: &str = "partition";
/// Label: what became of it.
pub const OUTCOME: &str = "outcome";
/// Label: stable cause of a dead letter, [`crate::fault::Code`].
pub const CLASS: &str = "class";
/// Label: stable cause of a stop, [`crate::fault::Code`].
pub const CODE: &str = "code";
/// Label: the rule that skipped a record: `heartbeat`, `transaction`, `schema_change`, `signal`, `notification`, `message`,
/// `bootstrap`, `tombstone`, `tombstone_without_key`, `tombstone_without_table`.
pub const RULE: &str = "rule";
/// Label: what is retried.
pub const TARGET: &str = "target";
/// Label: why a lane is paused.
pub const REASON: &str = "reason";
/// Label: a source, by its connector's topic prefix.
pub const SOURCE: &str = "source";
/// Label: how sure it is, `certain` or `possible`.
pub const CERTAINTY: &str = "certainty";
/// Label: what kind of event.
pub const KIND: &str = "kind";
/// Label: version of this program.
pub const VERSION: &str = "version";

/// What a metric measures with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution over these bucket bounds.
    Histogram(&'static Buckets),
}

/// Upper bounds of a histogram's buckets.
pub type Buckets = [f64];

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name on `/metrics`.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// HELP text.
    pub help: &'static str,
    unit: Unit,
}

/// 1 ms to 60 s: from a small batch on a local server to the statement timeout's order.
const SECONDS: &Buckets =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// 1 ms to an hour: from the latency goal (p50 under 5 ms) to a lane that catches up.
const LATENCY: &Buckets = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0,
    3600.0,
];
/// One record to beyond the default `batch_rows`.
const RECORDS: &Buckets =
    &[1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0, 100_000.0];
/// 1 KiB to 64 MiB, beyond the default `batch_bytes`.
const BYTES: &Buckets = &[
    1024.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
    67_108_864.0,
];

macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident = $kind:expr, $unit:ident, $name:literal, $help:literal;)+) => {
        $($(#[$doc])* #[doc = $help] pub const $constant: &str = $name;)+
        /// Every metric.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: $kind, unit: Unit::$unit, help: $help }),+];
    };
}

metrics! {
    /// Labels: [`TOPIC`], [`PARTITION`].
    RECORDS_READ_TOTAL = Kind::Counter, Count, "silversink_records_read_total",
        "Records polled from Kafka.";
    /// Labels: [`TABLE`], [`OUTCOME`].
    RECORDS_TOTAL = Kind::Counter, Count, "silversink_records_total",
        "Records settled, by what became of them.";
    /// Labels: [`TABLE`], [`RULE`].
    SKIPPED_RECORDS_TOTAL = Kind::Counter, Count, "silversink_skipped_records_total",
        "Records skipped, by the rule that says so; together the skipped ones of silversink_records_total.";
    /// Labels: [`TOPIC`], [`PARTITION`].
    CONSUMER_LAG_RECORDS = Kind::Gauge, Count, "silversink_consumer_lag_records",
        "High watermark minus the position in the destination.";
    /// Labels: [`TABLE`].
    BATCH_RECORDS = Kind::Histogram(RECORDS), Count, "silversink_batch_records",
        "Rows of a batch, after the fold.";
    /// Labels: [`TABLE`].
    BATCH_BYTES = Kind::Histogram(BYTES), Bytes, "silversink_batch_bytes",
        "Encoded bytes of a batch.";
    /// Labels: [`TABLE`].
    MERGE_DURATION_SECONDS = Kind::Histogram(SECONDS), Seconds, "silversink_merge_duration_seconds",
        "Time from the first statement of a batch's transaction to its commit.";
    /// Labels: [`OUTCOME`].
    OFFSET_COMMITS_TOTAL = Kind::Counter, Count, "silversink_offset_commits_total",
        "Offset commits to Kafka, which mirror the positions in the destination.";
    /// Labels: [`TABLE`], [`CLASS`].
    DLQ_RECORDS_TOTAL = Kind::Counter, Count, "silversink_dlq_records_total",
        "Records dead-lettered, by stable cause.";
    /// Labels: [`TABLE`].
    DLQ_UNGUARDED_TOTAL = Kind::Counter, Count, "silversink_dlq_unguarded_total",
        "Records dead-lettered without a hole, because their key cannot be read: a later change of the row may rest on a stale one.";
    /// Labels: [`TARGET`].
    RETRIES_TOTAL = Kind::Counter, Count, "silversink_retries_total",
        "Attempts repeated because of a transient failure.";
    /// Labels: [`TABLE`], [`REASON`].
    PAUSED = Kind::Gauge, Count, "silversink_paused",
        "1 while a lane's partitions are paused.";
    /// Labels: [`TABLE`], [`CODE`].
    LANE_STOPPED = Kind::Gauge, Count, "silversink_lane_stopped",
        "1 while a lane is stopped and needs a person.";
    /// Labels: [`SOURCE`].
    SOURCE_EPOCH = Kind::Gauge, Count, "silversink_source_epoch",
        "Highest epoch of a source in this worker's partitions.";
    /// Labels: [`SOURCE`], [`REASON`].
    SOURCE_EPOCH_RAISED_TOTAL = Kind::Counter, Count, "silversink_source_epoch_raised_total",
        "Source epochs that this worker raised, because positions started over.";
    /// Labels: [`TABLE`].
    ORDER_CONTRADICTED_TOTAL = Kind::Counter, Count, "silversink_order_contradicted_total",
        "Later changes with a lower version than their row.";
    /// Labels: [`TABLE`], [`CERTAINTY`].
    KEYS_EXCHANGED_TOTAL = Kind::Counter, Count, "silversink_keys_exchanged_total",
        "Deletes that marked a row whose key the source still has, because keys exchanged rows inside one transaction.";
    /// Labels: [`TABLE`].
    NULLS_IN_DOUBT_TOTAL = Kind::Counter, Count, "silversink_nulls_in_doubt_total",
        "Updates with a NULL that may stand for an unchanged value, because its type has no placeholder.";
    /// No labels.
    ASSIGNED_PARTITIONS = Kind::Gauge, Count, "silversink_assigned_partitions",
        "Partitions assigned to this worker.";
    /// Labels: [`KIND`].
    REBALANCES_TOTAL = Kind::Counter, Count, "silversink_rebalances_total",
        "Rebalances of the consumer group as this worker saw them.";
    /// Labels: [`TABLE`].
    TABLE_SOURCE_COMMIT_TIMESTAMP_SECONDS = Kind::Gauge, Seconds, "silversink_table_source_commit_timestamp_seconds",
        "Source time of the newest change applied, as a Unix time; freshness is time() minus this.";
    /// Labels: [`TABLE`].
    END_TO_END_LATENCY_SECONDS = Kind::Histogram(LATENCY), Seconds, "silversink_end_to_end_latency_seconds",
        "Time from the change at the source to its commit in the destination.";
    /// Labels: [`OUTCOME`].
    REGISTRY_REQUESTS_TOTAL = Kind::Counter, Count, "silversink_registry_requests_total",
        "Requests to the schema registry.";
    /// Labels: [`VERSION`].
    BUILD_INFO = Kind::Gauge, Count, "silversink_build_info",
        "1, labelled with the version of this program.";
}

/// Gives the installed recorder every HELP text.
pub(super) fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

/// A closed set of label values.
pub trait Word: Copy {
    /// The value on `/metrics`.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($(#[$doc:meta])* $set:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $set { $($(#[$word_doc])* $word),+ }
        impl Word for $set {
            fn word(self) -> &'static str { match self { $(Self::$word => $text),+ } }
        }
    )+};
}

words! {
    /// [`OUTCOME`] of an offset commit.
    Commit {
        /// Accepted.
        Done = "ok",
        /// Refused or lost; the next one covers it.
        Failed = "failed",
        /// Refused because the partition belongs to someone else.
        Fenced = "fenced",
    }
    /// [`TARGET`] of a retry.
    Target {
        /// The destination.
        Postgres = "postgres",
        /// The brokers.
        Kafka = "kafka",
        /// The schema registry.
        Registry = "registry",
    }
    /// [`REASON`] of a pause.
    Pause {
        /// Gathered bytes are at their limit.
        Backpressure = "backpressure",
        /// The destination cannot be written to.
        Destination = "destination",
        /// A schema cannot be fetched.
        Registry = "registry",
        /// A position is being claimed or read.
        Claim = "claim",
        /// A person asked for it.
        Operator = "operator",
    }
    /// [`KIND`] of a rebalance.
    Rebalance {
        /// Partitions came.
        Assigned = "assigned",
        /// Partitions went in order.
        Revoked = "revoked",
        /// Partitions were taken away.
        Lost = "lost",
    }
    /// [`OUTCOME`] of a registry request.
    Request {
        /// A schema.
        Found = "ok",
        /// The registry does not know the id.
        Unknown = "not_found",
        /// The registry refuses the credentials.
        Refused = "unauthorized",
        /// No answer, or an error of the registry's own.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name is used twice");
        for metric in ALL {
            assert!(metric.name.starts_with("silversink_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
