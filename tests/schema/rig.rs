//! One pipeline on the embedded parts, records whose schema a test chooses, and an operator who runs the printed DDL.

use serde_json::{Map, Value, json};
use silversink::config::load;
use silversink::demo::registry::DemoRegistry;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::Fault;
use silversink::kafka::MockBroker;
use silversink::postgres::readback::{PrintedRow, Readback};
use silversink::record::{Coordinates, OwnedRecord};
use silversink::telemetry::health::Health;
use silversink::worker::{self, Options};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// No wait of a test takes as long unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The topic of the tests that need one only; its table is `silver.items`.
pub const TOPIC: &str = "depot.public.items";

pub const BOOKKEEPING: &str = "_version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz";

pub struct Rig {
    pub broker: MockBroker,
    pub registry: DemoRegistry,
    pub postgres: String,
    /// Lines of `[postgres]`.
    pub postgres_extra: String,
    /// More sections.
    pub extra: String,
}

/// A worker in this process that runs until it is stopped.
pub struct Running {
    pub health: Arc<Health>,
    stop: CancellationToken,
    thread: JoinHandle<Result<(), Fault>>,
}

impl Running {
    pub async fn stopped(self) {
        assert!(!self.thread.is_finished(), "the worker ended by itself: {:?}", self.thread.join());
        self.stop.cancel();
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap().unwrap();
    }
}

impl Rig {
    pub fn new(topics: &[(&str, i32)]) -> Self {
        let broker = MockBroker::start(topics).unwrap();
        broker.create_topic("parked", 1).unwrap();
        Self {
            broker,
            registry: DemoRegistry::start().unwrap(),
            postgres: ThrowawayPostgres::shared().fresh_database().unwrap(),
            postgres_extra: String::new(),
            extra: String::new(),
        }
    }

    /// With the one topic.
    pub fn items() -> Self {
        Self::new(&[(TOPIC, 1)])
    }

    pub fn config_text(&self) -> String {
        format!(
            "name = \"depot\"\n[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"depot\"\n[kafka.properties]\n\
             \"session.timeout.ms\" = \"2000\"\n\"heartbeat.interval.ms\" = \"100\"\n[registry]\nurl = \"{}\"\n\
             [postgres]\nurl = \"{}\"\n{}\n[dlq]\ntopic = \"parked\"\n[http]\nlisten = \"\"\n{}\n[[route]]\n\
             topics = '^depot\\.public\\.(?<table>.+)$'\ntable = \"silver.${{table}}\"\n",
            self.broker.bootstrap(),
            self.registry.url(),
            self.postgres,
            self.postgres_extra,
            self.extra
        )
    }

    /// Runs a worker until it has caught up, or a lane stops: then that is the error.
    pub async fn run(&self) -> Result<(), Fault> {
        let config = load::parse(&self.config_text(), "test.toml", &|_| None).unwrap();
        let options = Options { until_caught_up: true };
        let work = worker::run(config, options, Arc::new(Health::new()), CancellationToken::new());
        tokio::time::timeout(PATIENCE, work).await.expect("the worker hangs")
    }

    /// Starts a worker in this process that stays.
    pub fn spawn(&self) -> Running {
        let config = load::parse(&self.config_text(), "test.toml", &|_| None).unwrap();
        let (stop, health) = (CancellationToken::new(), Arc::new(Health::new()));
        let (stopping, shown) = (stop.clone(), Arc::clone(&health));
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap()
                .block_on(worker::run(config, Options::default(), shown, stopping))
        });
        Running { health, stop, thread }
    }

    pub fn produce(&self, records: &[OwnedRecord]) {
        self.broker.produce(records).unwrap();
    }

    pub async fn database(&self) -> Readback {
        Readback::connect(&self.postgres).await.unwrap()
    }

    pub async fn execute(&self, sql: &str) {
        self.database().await.execute(sql).await.expect(sql);
    }

    pub async fn rows(&self, sql: &str) -> Vec<PrintedRow> {
        self.database().await.query(sql).await.expect(sql)
    }

    /// Every row as one text, columns separated by `|`, NULL as `-`, rows by a blank.
    pub async fn ask(&self, sql: &str) -> String {
        let text = |row: &PrintedRow| {
            let values: Vec<&str> = row.iter().map(|v| v.as_deref().unwrap_or("-")).collect();
            values.join("|")
        };
        let rows: Vec<String> = self.rows(sql).await.iter().map(text).collect();
        rows.join(" ")
    }

    /// Waits until a query answers this.
    pub async fn until(&self, sql: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask(sql).await != wanted {
            assert!(Instant::now() < deadline, "never {wanted}: {sql}: {}", self.ask(sql).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Types of the items' columns.
    pub async fn types(&self) -> String {
        self.ask(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = 'silver.items'::regclass AND attnum > 0 AND NOT attisdropped AND attname !~ '^_' ORDER BY attnum",
        )
        .await
    }

    /// Kinds and columns of what was recorded, in order.
    pub async fn recorded(&self) -> String {
        self.ask("SELECT kind, column_name FROM silversink.schema_change ORDER BY id").await
    }

    pub async fn assert_no_letters(&self) {
        assert_eq!(self.ask("SELECT count(*) FROM silversink.dead_letter").await, "0");
    }
}

/// The DDL that a hint ends with.
pub fn ddl_of(fault: &Fault) -> String {
    let hint = fault.hint.as_ref().unwrap();
    hint.split_once(":\n").unwrap_or_else(|| panic!("no DDL in: {hint}")).1.to_owned()
}

/// A field of a Connect schema that may be null.
pub fn field(name: &str, ty: &str) -> Value {
    json!({"field": name, "type": ty, "optional": true})
}

/// A field with a semantic type.
pub fn named(name: &str, ty: &str, semantic: &str) -> Value {
    json!({"field": name, "type": ty, "optional": true, "name": semantic, "version": 1})
}

pub fn decimal(name: &str, precision: u32, scale: u32) -> Value {
    json!({
        "field": name, "type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal",
        "parameters": {"scale": scale.to_string(), "connect.decimal.precision": precision.to_string()},
    })
}

/// A varchar whose length the connector propagates.
pub fn varchar(name: &str, length: u32) -> Value {
    json!({
        "field": name, "type": "string", "optional": true,
        "parameters": {"__debezium.source.column.type": "VARCHAR", "__debezium.source.column.length": length.to_string()},
    })
}

/// Unscaled decimal digits as Connect writes them in JSON.
pub fn unscaled(digits: i64) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(digits.to_be_bytes())
}

/// A row of the items with a schema of its own; the key is its `id`, of the type of the first field.
pub fn row(fields: &[Value], values: &[Value]) -> OwnedRecord {
    keyed(fields, values, 1)
}

/// As [`row`]; the first `key` fields are the record key.
pub fn keyed(fields: &[Value], values: &[Value], key: usize) -> OwnedRecord {
    assert_eq!(fields.len(), values.len());
    let framed = |fields: &[Value], values: &[Value]| {
        let names = fields.iter().map(|field| field["field"].as_str().unwrap().to_owned());
        let payload: Map<String, Value> = names.zip(values.iter().cloned()).collect();
        let schema = json!({"type": "struct", "fields": fields, "optional": false});
        json!({"schema": schema, "payload": payload}).to_string().into_bytes()
    };
    OwnedRecord {
        at: Coordinates { topic: TOPIC.to_owned(), partition: 0, offset: 0 },
        timestamp_ms: Some(1_700_000_000_000),
        key: Some(framed(&fields[..key], &values[..key])),
        value: Some(framed(fields, values)),
        headers: Vec::new(),
    }
}
