//! The configuration file as it is written: every key, its type and its meaning. Checks nothing.
//!
//! The JSON schema of [`RawConfig`] is the one list of known keys: `config schema` prints it, `structure` walks the
//! file along it, and the doc comments below are what an editor shows.

use super::located::Located;
use super::quantity::{DurationText, Size};
use super::{
    ApicurioId, BigintUnsignedHandlingMode, BinaryHandlingMode, DecimalHandlingMode, Format,
    LogFormat, Narrowing, Position, RegistryApi, SchemaChanges, TimePrecisionMode, Tripwire,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Configuration of Silversink.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Name of the pipeline: key of its positions in the destination. Never change it on a running pipeline.
    #[schemars(required)]
    pub name: Option<Located<String>>,
    /// Time that an orderly stop (SIGTERM) may take before work in flight is dropped. Default "30s".
    pub shutdown_timeout: Option<Located<DurationText>>,
    /// Start from the consumer group's offsets where the destination knows no position yet, instead of stopping with
    /// `kafka_offsets_without_position`. For taking over from another sink. Default false.
    pub adopt_kafka_offsets: Option<bool>,
    /// Where the records come from.
    #[schemars(required)]
    pub kafka: Option<Located<RawKafka>>,
    /// Schema registry; needed by Avro topics.
    pub registry: Option<Located<RawRegistry>>,
    /// Where the Silver tables live.
    #[schemars(required)]
    pub postgres: Option<Located<RawPostgres>>,
    /// Where records go that can never be applied. Without it such a record stops its lane.
    pub dlq: Option<Located<RawDlq>>,
    /// Which topic feeds which table; the first route that matches wins.
    #[schemars(required)]
    pub route: Option<Vec<Located<RawRoute>>>,
    /// Settings of every table.
    pub defaults: Option<Located<RawDefaults>>,
    /// Settings of one table, by "schema.name".
    pub table: Option<BTreeMap<Located<String>, RawTable>>,
    /// What may be done to the Silver tables' shape.
    pub schema: Option<RawSchema>,
    /// Source epochs and the order of changes.
    pub guard: Option<RawGuard>,
    /// Batch and memory limits.
    pub limits: Option<RawLimits>,
    /// Metrics and health endpoints.
    pub http: Option<RawHttp>,
    /// Log output, on stderr.
    pub log: Option<RawLog>,
}

/// `[kafka]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKafka {
    /// Comma-separated host:port list.
    #[schemars(required)]
    pub bootstrap_servers: Option<Located<String>>,
    /// Consumer group. Default: the pipeline's name.
    pub group_id: Option<Located<String>>,
    /// Static group membership: unique and stable per worker, e.g. "${env:POD_NAME:-}". Empty means dynamic.
    pub instance_id: Option<Located<String>>,
    /// librdkafka properties, passed on as they are. Quote names with dots: "security.protocol" = "SASL_SSL".
    pub properties: Option<BTreeMap<Located<String>, Located<Scalar>>>,
}

/// Value of a librdkafka property.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline, extend("type" = ["string", "integer", "boolean"]), transform = drop_any_of)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A number.
    Integer(i64),
    /// A switch.
    Boolean(bool),
}

/// `type` alone says it all.
fn drop_any_of(schema: &mut schemars::Schema) {
    schema.remove("anyOf");
}

/// `[registry]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRegistry {
    /// Base URL, http or https, without credentials.
    #[schemars(required)]
    pub url: Option<Located<String>>,
    /// User for basic authentication.
    pub user: Option<Located<String>>,
    /// Password for basic authentication.
    pub password: Option<Located<String>>,
    /// PEM file of the certificate authority.
    pub ca: Option<Located<String>>,
    /// The registry's protocol. "confluent" (also Karapace, Redpanda and Apicurio's ccompat endpoint) or "apicurio" (its
    /// own v3 API). Default "confluent".
    pub api: Option<RegistryApi>,
    /// Apicurio only: which id stands behind the first byte of a record, the converter's apicurio.registry.use-id. Default
    /// "contentId".
    pub use_id: Option<Located<ApicurioId>>,
    /// Apicurio only: bytes of that id, 4, or 8 with the converter's Legacy8ByteIdHandler. Default 4.
    pub id_bytes: Option<Located<i64>>,
    /// Directory where copies of schemas are kept, for when the registry gives no answer. Default: none are kept.
    pub cache_dir: Option<Located<String>>,
}

/// `[postgres]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPostgres {
    /// Connection URL, postgresql://user:password@host:port/database?sslmode=...
    #[schemars(required)]
    pub url: Option<Located<String>>,
    /// PEM file of the certificate authority.
    pub ca: Option<Located<String>>,
    /// Time that one statement may take. Default "5m".
    pub statement_timeout: Option<Located<DurationText>>,
    /// Time to wait for a lock. Default "10s".
    pub lock_timeout: Option<Located<DurationText>>,
    /// Time to wait for a connection. Default "10s".
    pub connect_timeout: Option<Located<DurationText>>,
}

/// `[dlq]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDlq {
    /// Dead-letter topic; must exist.
    #[schemars(required)]
    pub topic: Option<Located<String>>,
    /// Above this many dead letters of one lane in a minute the lane stops. Default 100.
    pub max_per_minute: Option<Located<i64>>,
}

/// `[[route]]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRoute {
    /// A topic's name, or a regular expression for the whole name when it starts with ^.
    #[schemars(required)]
    pub topics: Option<Located<String>>,
    /// "schema.name"; the schema is literal. The name may hold ${group} of a named group in `topics`, and where one topic
    /// brings many tables ${source.table}, ${source.schema} and ${source.db}, as each record tells them.
    #[schemars(required)]
    pub table: Option<Located<String>>,
    /// How key and value are written. Default "auto": told by the first byte.
    pub format: Option<Format>,
    /// Allows several topics to feed one table, and several source tables to share a topic. Default false.
    pub merge_sources: Option<bool>,
    /// MySQL and MariaDB: "binlog" orders changes by binary log file and position instead of their place in the topic. Only
    /// for one server that never fails over and has binlog_transaction_compression off. Default "source".
    pub position: Option<Position>,
}

/// `[defaults]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDefaults {
    /// The connector's decimal.handling.mode; only JSON without schema needs it. Default "precise".
    pub decimal_handling_mode: Option<DecimalHandlingMode>,
    /// The connector's time.precision.mode; only JSON without schema needs it. Default "adaptive".
    pub time_precision_mode: Option<TimePrecisionMode>,
    /// The connector's binary.handling.mode; told by no schema. Default "bytes".
    pub binary_handling_mode: Option<BinaryHandlingMode>,
    /// The connector's bigint.unsigned.handling.mode; told by no schema. "long" turns what arrived negative back in columns
    /// of type numeric. Default "precise".
    pub bigint_unsigned_handling_mode: Option<BigintUnsignedHandlingMode>,
    /// The connector's unavailable.value.placeholder. Default "__debezium_unavailable_value".
    pub unavailable_value_placeholder: Option<Located<String>>,
    /// What takes the place of U+0000, which PostgreSQL cannot store, in texts that are no key. Default: none, such a
    /// record is a dead letter.
    pub nul_replacement: Option<Located<String>>,
    /// Rows of a batch; overrides `[limits] batch_rows`.
    pub batch_rows: Option<Located<i64>>,
    /// Writers that may write to one table at the same time, each for its own partitions of the topic; they come out of
    /// `[limits] writers`. Default 1.
    pub writers: Option<Located<i64>>,
}

/// `[table."schema.name"]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    /// See `[defaults]`.
    pub decimal_handling_mode: Option<DecimalHandlingMode>,
    /// See `[defaults]`.
    pub time_precision_mode: Option<TimePrecisionMode>,
    /// See `[defaults]`.
    pub binary_handling_mode: Option<BinaryHandlingMode>,
    /// See `[defaults]`.
    pub bigint_unsigned_handling_mode: Option<BigintUnsignedHandlingMode>,
    /// See `[defaults]`.
    pub unavailable_value_placeholder: Option<Located<String>>,
    /// See `[defaults]`.
    pub nul_replacement: Option<Located<String>>,
    /// See `[defaults]`.
    pub batch_rows: Option<Located<i64>>,
    /// See `[defaults]`.
    pub writers: Option<Located<i64>>,
    /// Primary key columns, when the record key is not to be used.
    pub key: Option<Located<Vec<String>>>,
    /// Every change becomes a row of its own, keyed by (_topic_id, _partition, _offset), with its op in _op: for topics
    /// without keys. Default false.
    pub append: Option<Located<bool>>,
    /// Settings of one column, by name.
    pub columns: Option<BTreeMap<Located<String>, RawColumn>>,
}

/// `[table."schema.name".columns.NAME]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawColumn {
    /// PostgreSQL type, where the natural one is not wanted or cannot be known.
    #[schemars(required)]
    pub r#type: Option<Located<String>>,
}

/// `[schema]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSchema {
    /// "apply" creates missing tables and adds missing columns, "plan" stops the lane and prints the DDL. Default
    /// "apply".
    pub changes: Option<SchemaChanges>,
    /// A source column that became narrower than its Silver column: "record" writes it down and goes on, "stop" stops the
    /// lane and prints the DDL. Default "record".
    pub narrowing: Option<Narrowing>,
    /// Prefix of the bookkeeping columns. Default "_".
    pub prefix: Option<Located<String>>,
}

/// `[guard]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGuard {
    /// Record header whose value, decimal text, is the record's source epoch; set by an InsertHeader transform of the
    /// connector, and authoritative. Default: none, the epoch is told by the data.
    pub epoch_header: Option<Located<String>>,
    /// A later change with a lower version than its row contradicts the order: "stop" stops the lane, "count" only counts
    /// it. Default "stop".
    pub tripwire: Option<Tripwire>,
}

/// `[limits]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    /// Rows of a batch. Default 10000.
    pub batch_rows: Option<Located<i64>>,
    /// Encoded bytes of a batch. Default "8MiB".
    pub batch_bytes: Option<Located<Size>>,
    /// Encoded bytes of all lanes together; above it the largest lanes are paused. Default "64MiB".
    pub memory_bytes: Option<Located<Size>>,
    /// Largest record that is applied; a larger one becomes a dead letter. Default "16MiB".
    pub record_bytes: Option<Located<Size>>,
    /// Connections that write at the same time. Default 4.
    pub writers: Option<Located<i64>>,
    /// After how long a stopped lane looks whether its cause is gone. Default "30s".
    pub recheck: Option<Located<DurationText>>,
}

/// `[http]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHttp {
    /// Address of /metrics, /livez and /readyz. Empty switches them off. Default "127.0.0.1:9464".
    pub listen: Option<Located<String>>,
    /// False switches the endpoints off. Default true.
    pub enabled: Option<bool>,
    /// Allows an address that other machines can reach; the endpoints have no authentication. Default false.
    pub allow_remote: Option<bool>,
}

/// `[log]`.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    /// Default: "text" on a terminal, "json" otherwise.
    pub format: Option<LogFormat>,
    /// A level, or a list such as "info,silversink=debug". Default "info".
    pub level: Option<Located<String>>,
}
