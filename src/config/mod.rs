//! The checked configuration: no options left open, durations and byte counts typed, secrets wrapped.
//!
//! Text -> spanned TOML -> `interpolate` (`${env:}`, `${file:}`) -> [`structure`] (keys and types, against the JSON
//! schema of [`raw::RawConfig`]) -> `RawConfig` -> `check` (values and relations) -> [`Config`]. Each step adds what it
//! finds to one list, so that [`load`] returns every problem of the file at once as a [`diagnostic::Report`]; [`show`]
//! goes the way back.

mod check;
mod check_connections;
mod check_routes;
pub mod diagnostic;
#[cfg(test)]
mod fanout_tests;
#[cfg(test)]
mod files_tests;
mod interpolate;
pub mod load;
mod located;
mod properties;
mod quantity;
pub mod raw;
pub mod show;
pub mod structure;
#[cfg(test)]
mod tests;

use crate::table::{Bookkeeping, TableName};
use regex::Regex;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a worker needs to know before it opens anything.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the pipeline: key of its positions in the destination.
    pub name: String,
    /// Kafka client.
    pub kafka: Kafka,
    /// Schema registry; `None` when no route needs one.
    pub registry: Option<Registry>,
    /// Destination.
    pub postgres: Postgres,
    /// Dead letters; without it poison stops its lane.
    pub dlq: Option<Dlq>,
    /// Ordered routes; the first match wins.
    pub routes: Vec<Route>,
    /// Overrides by Silver table.
    pub tables: BTreeMap<TableName, Table>,
    /// Defaults for every table.
    pub defaults: Table,
    /// What may be done to the destination's schema.
    pub schema: Schema,
    /// Source epochs and the order of changes.
    pub guard: Guard,
    /// Batch and memory limits.
    pub limits: Limits,
    /// `/metrics`, `/livez`, `/readyz`; `None` switches them off.
    pub http: Option<SocketAddr>,
    /// Time that SIGTERM may take.
    pub shutdown_timeout: Duration,
    /// What to do where the destination knows no position and Kafka has a group offset (start rules).
    pub adopt_kafka_offsets: bool,
    /// Log format and filter.
    pub log: Log,
}

/// `[kafka]`.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// `group.id`.
    pub group_id: String,
    /// `group.instance.id` (static membership).
    pub instance_id: Option<String>,
    /// librdkafka properties, checked against a deny list. Values may be secrets.
    pub properties: BTreeMap<String, SecretString>,
}

/// `[registry]`.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Base URL.
    pub url: String,
    /// Basic authentication.
    pub user: Option<String>,
    /// Basic authentication.
    pub password: Option<SecretString>,
    /// PEM file of the certificate authority.
    pub ca: Option<PathBuf>,
    /// Which protocol it speaks.
    pub api: RegistryApi,
    /// Which of Apicurio's ids stands behind the first byte of a record.
    pub use_id: ApicurioId,
    /// That id has eight bytes instead of four.
    pub wide_ids: bool,
    /// Where copies of schemas are kept; `None` keeps none.
    pub cache_dir: Option<PathBuf>,
}

/// `[registry] api`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistryApi {
    /// Confluent's protocol: Confluent, Karapace, Redpanda, Apicurio's ccompat endpoint.
    #[default]
    Confluent,
    /// Apicurio's own protocol, version 3.
    Apicurio,
}

/// `[registry] use_id`, as `apicurio.registry.use-id` of the converter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ApicurioId {
    /// Id of the content, Apicurio 3's default.
    #[default]
    ContentId,
    /// Id of one version of one artifact, Apicurio 2's default.
    GlobalId,
}

/// `[postgres]`.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Connection URL (libpq form).
    pub url: SecretString,
    /// PEM file of the certificate authority (`sslrootcert` in the URL means the same).
    pub ca: Option<PathBuf>,
    /// Time that one statement may take.
    pub statement_timeout: Duration,
    /// Time to wait for a lock.
    pub lock_timeout: Duration,
    /// Time to wait for a connection.
    pub connect_timeout: Duration,
}

/// `[dlq]`.
#[derive(Clone, Debug)]
pub struct Dlq {
    /// Dead-letter topic.
    pub topic: String,
    /// Above this many dead letters of one lane in a minute the lane stops.
    pub max_per_minute: u32,
}

/// `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Topics as written: a literal name, or a regular expression when it starts with `^`.
    pub topics: String,
    /// The anchored expression that a whole topic name must match.
    pub pattern: Regex,
    /// Target as written, with `${name}` of the expression's groups and `${source.…}` of each record; the schema part is
    /// literal.
    pub table: String,
    /// How key and value are written.
    pub format: Format,
    /// Allows several topics to feed one table, and several source tables to share a topic.
    pub merge_sources: bool,
    /// What orders the changes of a MySQL or MariaDB source.
    pub position: Position,
}

/// `[[route]] position`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// What the connector's records carry; for MySQL and MariaDB the order of the topic.
    #[default]
    Source,
    /// Binary log file and position: one server for ever, without compressed transactions.
    Binlog,
}

/// `[[route]] format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Magic byte means Avro, `{` means JSON.
    #[default]
    Auto,
    /// Avro binary, its schema in the registry.
    Avro,
    /// JSON, with or without schema.
    Json,
    /// The JSON of Maxwell's daemon.
    Maxwell,
}

/// `[table."schema.name"]` and `[defaults]`.
#[derive(Clone, Debug)]
pub struct Table {
    /// Debezium's `decimal.handling.mode`; only JSON without schema needs it.
    pub decimal_handling_mode: DecimalHandlingMode,
    /// Debezium's `time.precision.mode`; only JSON without schema needs it.
    pub time_precision_mode: TimePrecisionMode,
    /// Debezium's `binary.handling.mode`; not told by any schema.
    pub binary_handling_mode: BinaryHandlingMode,
    /// Debezium's `bigint.unsigned.handling.mode`; not told by any schema.
    pub bigint_unsigned_handling_mode: BigintUnsignedHandlingMode,
    /// Debezium's `unavailable.value.placeholder`.
    pub unavailable_value_placeholder: String,
    /// What takes the place of U+0000 in texts that are no key; `None` makes such a record a dead letter.
    pub nul_replacement: Option<String>,
    /// Rows of a batch; overrides `[limits] batch_rows`.
    pub batch_rows: Option<usize>,
    /// Writers that may write to the table at the same time, each for its own partitions.
    pub writers: usize,
    /// Column types for tables that are created from JSON without schema, and for columns whose natural type is not
    /// wanted: column name to PostgreSQL type.
    pub column_types: BTreeMap<String, String>,
    /// Primary key columns, when the record key is not to be used.
    pub key: Option<Vec<String>>,
    /// Every change becomes a row of its own, keyed by the record's place in Kafka.
    pub append: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            decimal_handling_mode: DecimalHandlingMode::Precise,
            time_precision_mode: TimePrecisionMode::Adaptive,
            binary_handling_mode: BinaryHandlingMode::Bytes,
            bigint_unsigned_handling_mode: BigintUnsignedHandlingMode::Precise,
            unavailable_value_placeholder: "__debezium_unavailable_value".to_owned(),
            nul_replacement: None,
            batch_rows: None,
            writers: 1,
            column_types: BTreeMap::new(),
            key: None,
            append: false,
        }
    }
}

/// Debezium's `decimal.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalHandlingMode {
    /// Unscaled bytes (base64 in JSON).
    #[default]
    Precise,
    /// Plain text.
    String,
    /// A float.
    Double,
}

/// Debezium's `time.precision.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimePrecisionMode {
    /// Milliseconds up to precision 3, microseconds above.
    #[default]
    Adaptive,
    /// As adaptive, `time` always in microseconds.
    AdaptiveTimeMicroseconds,
    /// Connect's own types: always milliseconds.
    Connect,
    /// ISO 8601 text.
    Isostring,
    /// Always microseconds.
    Microseconds,
    /// Always nanoseconds.
    Nanoseconds,
}

/// Debezium's `binary.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryHandlingMode {
    /// Bytes (base64 in JSON).
    #[default]
    Bytes,
    /// Base64 text.
    Base64,
    /// URL-safe base64 text.
    Base64UrlSafe,
    /// Hexadecimal text.
    Hex,
}

/// Debezium's `bigint.unsigned.handling.mode` (MySQL, MariaDB; the connectors' own default is `long`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BigintUnsignedHandlingMode {
    /// As a decimal; nothing has to be done.
    #[default]
    Precise,
    /// As a signed number: what is above 2^63 - 1 arrives negative and is turned back.
    Long,
}

/// `[schema]`.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// May tables be created and columns be added?
    pub changes: SchemaChanges,
    /// What to do about a source column that became narrower.
    pub narrowing: Narrowing,
    /// Names of the bookkeeping columns.
    pub bookkeeping: Bookkeeping,
}

/// `[schema] changes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaChanges {
    /// Additive changes are made.
    #[default]
    Apply,
    /// The lane stops and the DDL is printed.
    Plan,
}

/// `[schema] narrowing`: a source column holds less than before, and its Silver column still holds what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Narrowing {
    /// It is recorded in `silversink.schema_change`; nothing is lost.
    #[default]
    Record,
    /// The lane stops with `column_narrowed` and the DDL is printed.
    Stop,
}

/// `[guard]`.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Record header whose value is the record's source epoch.
    pub epoch_header: Option<String>,
    /// What to do about a change that contradicts the order.
    pub tripwire: Tripwire,
}

/// `[guard] tripwire`: a later change with a lower version than its row, in one source epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tripwire {
    /// The lane stops with `order_contradicted`.
    #[default]
    Stop,
    /// It is counted, and superseded like every change with a lower version.
    Count,
}

/// `[limits]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Encoded bytes of a batch.
    pub batch_bytes: usize,
    /// Encoded bytes of all lanes together; above it the largest lanes are paused.
    pub memory_bytes: usize,
    /// Largest record that is applied; a larger one becomes a dead letter.
    pub record_bytes: usize,
    /// Connections that write at the same time.
    pub writers: usize,
    /// After how long a stopped lane looks whether its cause is gone.
    pub recheck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows: 10_000,
            batch_bytes: 8 << 20,
            memory_bytes: 64 << 20,
            record_bytes: 16 << 20,
            writers: 4,
            recheck: Duration::from_secs(30),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// JSON or text; `None` means text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// Filter in `tracing`'s syntax.
    pub level: String,
}

/// `[log] format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Text,
}
