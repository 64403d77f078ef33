//! One pipeline on the embedded parts: mock brokers, an in-process registry, a database of a throw-away PostgreSQL.

use crate::logs::Form;
use silversink::config::{self, load};
use silversink::demo::capture::Capture;
use silversink::demo::ground_truth::{self, TableVerdict};
use silversink::demo::registry::DemoRegistry;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::Fault;
use silversink::kafka::{Facts, MockBroker, Producer, TopicPartition, move_group};
use silversink::postgres::readback::Readback;
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use silversink::telemetry::health::Health;
use silversink::worker::{self, Options};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub const TABLES: [&str; 4] = ["customers", "order_items", "orders", "products"];
/// No wait of a test takes as long unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs what mostly waits side by side, each on a thread and a runtime of its own.
pub fn at_once<T: Send, F: Future<Output = ()>>(
    cases: impl IntoIterator<Item = T>,
    test: impl Fn(T) -> F + Sync,
) {
    std::thread::scope(|scope| {
        for case in cases {
            let test = &test;
            scope.spawn(move || {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(test(case));
            });
        }
    });
}

pub struct Rig {
    pub broker: MockBroker,
    pub registry: DemoRegistry,
    pub postgres: String,
    pub capture: Capture,
    pub partitions: i32,
    pub extra: String,
    /// Lines of `[kafka.properties]`.
    pub properties: String,
}

/// A worker in this process, with a thread and a runtime of its own.
pub struct Running {
    stop: CancellationToken,
    thread: JoinHandle<Result<(), Fault>>,
}

impl Running {
    /// Stops it in an orderly way and waits for its end.
    pub async fn stopped(self) -> Result<(), Fault> {
        assert!(!self.thread.is_finished(), "the worker ended by itself: {:?}", self.thread.join());
        self.stop.cancel();
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap()
    }
}

impl Rig {
    /// Topics of the shop with this many partitions each, still empty, and what the form needs beforehand.
    pub async fn empty(form: Form, partitions: i32) -> Self {
        Self::on(form, partitions, ThrowawayPostgres::shared().fresh_database().unwrap()).await
    }

    /// As [`Rig::empty`], on a database that is there.
    pub async fn on(form: Form, partitions: i32, postgres: String) -> Self {
        let capture = Capture::open("testdata/debezium/shop").unwrap();
        let topics: Vec<String> =
            TABLES.iter().map(|table| format!("shop.public.{table}")).collect();
        let mut topics: Vec<(&str, i32)> =
            topics.iter().map(|topic| (topic.as_str(), partitions)).collect();
        topics.push(("shop.dlq", 1));
        let broker = MockBroker::start(&topics).unwrap();
        let registry = DemoRegistry::start().unwrap();
        registry.preload(capture.schemas(form.directory).unwrap().values());
        let rig = Self {
            broker,
            registry,
            postgres,
            capture,
            partitions,
            extra: String::new(),
            properties: String::new(),
        };
        if form.needs_tables() {
            rig.create_tables(form).await;
        }
        rig
    }

    /// Topics filled with `records`.
    pub async fn start(form: Form, partitions: i32, records: &[OwnedRecord]) -> Self {
        let rig = Self::empty(form, partitions).await;
        rig.produce(records);
        rig
    }

    /// Appends records, compressed: the mock keeps 5 MiB of each partition. Every one must end where it says.
    pub fn produce(&self, records: &[OwnedRecord]) {
        self.produce_in_batches(records, 10_000);
    }

    /// As [`Rig::produce`]; at most so many records of a partition come with one fetch.
    pub fn produce_in_batches(&self, records: &[OwnedRecord], batch: usize) {
        let mut kafka = self.kafka("loader");
        kafka.properties.insert("compression.codec".to_owned(), "zstd".to_owned().into());
        kafka.properties.insert("batch.num.messages".to_owned(), batch.to_string().into());
        let places = Producer::open(&kafka).unwrap().load(records).unwrap();
        for (record, at) in records.iter().zip(places) {
            assert_eq!(record.at, at);
        }
        let starts = Facts::open(&kafka).unwrap().watermarks(&self.topic_partitions()).unwrap();
        assert!(
            starts.iter().all(|(start, _)| *start == 0),
            "the mock broker dropped records: {starts:?}"
        );
    }

    /// Appends records behind those that are there.
    pub fn produce_more(&self, records: &[OwnedRecord]) {
        let places = Producer::open(&self.kafka("loader")).unwrap().load(records).unwrap();
        assert!(records.iter().zip(places).all(|(record, at)| record.at == at));
    }

    /// Silver tables as a user who has JSON without schema makes them. Only keys are NOT NULL: a delete of an unseen key
    /// inserts a row with nothing else.
    async fn create_tables(&self, form: Form) {
        let mut sql = "CREATE SCHEMA silver;".to_owned();
        let status = if form.enum_as_text { "text" } else { "silver.order_status" };
        if !form.enum_as_text {
            sql += "CREATE TYPE silver.order_status AS ENUM ('new', 'paid', 'packed', 'shipped', 'delivered', 'cancelled');";
        }
        for (name, table) in &self.capture.tables {
            let columns: Vec<String> = table
                .columns
                .iter()
                .filter(|column| column.generated.is_none())
                .map(|column| {
                    let ty = if column.ty == "order_status" { status } else { &column.ty };
                    format!("{} {ty}", column.name)
                })
                .collect();
            sql += &format!(
                "CREATE TABLE silver.{name} ({}, PRIMARY KEY ({}));",
                columns.join(", "),
                table.key.join(", ")
            );
        }
        self.execute(&sql).await;
    }

    pub fn topic_partitions(&self) -> Vec<TopicPartition> {
        let of = |table: &&str| {
            let topic = format!("shop.public.{table}");
            (0..self.partitions)
                .map(move |partition| TopicPartition::new(topic.as_str(), partition))
        };
        TABLES.iter().flat_map(of).collect()
    }

    pub fn kafka(&self, group: &str) -> config::Kafka {
        config::Kafka {
            bootstrap_servers: self.broker.bootstrap().to_owned(),
            group_id: group.to_owned(),
            instance_id: None,
            properties: std::collections::BTreeMap::new(),
        }
    }

    /// The configuration that a user would write. The mock waits for vanished members as long as their session lasts.
    pub fn config_text(&self) -> String {
        format!(
            "name = \"shop\"\n[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"shop\"\n[kafka.properties]\n\
             \"session.timeout.ms\" = \"2000\"\n\"heartbeat.interval.ms\" = \"100\"\n{}[registry]\nurl = \"{}\"\n\
             [postgres]\nurl = \"{}\"\n[dlq]\ntopic = \"shop.dlq\"\n[http]\nlisten = \"\"\n{}\n[[route]]\n\
             topics = '^shop\\.public\\.(?<table>.+)$'\ntable = \"silver.${{table}}\"\n",
            self.broker.bootstrap(),
            self.properties,
            self.registry.url(),
            self.postgres,
            self.extra
        )
    }

    /// Runs a worker in this process until it has caught up.
    pub async fn run(&self) -> Result<(), Fault> {
        let config = load::parse(&self.config_text(), "test.toml", &|_| None).unwrap();
        let options = Options { until_caught_up: true };
        let work = worker::run(config, options, Arc::new(Health::new()), CancellationToken::new());
        tokio::time::timeout(PATIENCE, work).await.expect("the worker hangs")
    }

    /// Starts a worker in this process that runs until it is stopped.
    pub fn spawn(&self) -> Running {
        let config = load::parse(&self.config_text(), "test.toml", &|_| None).unwrap();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(worker::run(
                config,
                Options::default(),
                Arc::new(Health::new()),
                stopping,
            ))
        });
        Running { stop, thread }
    }

    /// A worker as a process of its own. Its log goes to `log`.
    pub fn process(&self, directory: &std::path::Path, flags: &[&str]) -> std::process::Child {
        let file = directory.join("silversink.toml");
        std::fs::write(&file, self.config_text()).unwrap();
        let log =
            std::fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
        std::process::Command::new(env!("CARGO_BIN_EXE_silversink"))
            .args(["run", "--config"])
            .arg(&file)
            .args(flags)
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub async fn database(&self) -> Readback {
        Readback::connect(&self.postgres).await.unwrap()
    }

    /// One number or text from the database.
    pub async fn ask(&self, sql: &str) -> String {
        let rows = self.database().await.query(sql).await.unwrap();
        rows[0][0].clone().unwrap_or_default()
    }

    pub async fn execute(&self, sql: &str) {
        self.database().await.execute(sql).await.unwrap();
    }

    /// Records that the positions cover so far; none while the bookkeeping does not exist or the server is away.
    pub async fn settled(&self) -> i64 {
        let Ok(database) = Readback::connect(&self.postgres).await else { return 0 };
        let sql = "SELECT coalesce(sum(next_offset), 0) FROM silversink.position";
        let rows = database.query(sql).await.unwrap_or_default();
        rows.first().and_then(|row| row[0].as_ref()).map_or(0, |text| text.parse().unwrap())
    }

    /// Waits until the positions cover at least so many records.
    pub async fn wait_for(&self, records: i64) -> i64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let settled = self.settled().await;
            if settled >= records {
                return settled;
            }
            assert!(
                Instant::now() < deadline,
                "{settled} of {records} records are settled, and no more"
            );
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Sum of a column of `silversink.position`.
    pub async fn total(&self, column: &str) -> i64 {
        self.ask(&format!("SELECT sum({column}) FROM silversink.position")).await.parse().unwrap()
    }

    /// Every Silver table equals the source's final state, and every deleted key is marked.
    pub async fn assert_equal(&self) {
        let database = self.database().await;
        for truth in self.capture.truth().unwrap() {
            let table = TableName::new("silver", &truth.name);
            let verdict: TableVerdict =
                ground_truth::verify(&database, &table, &Bookkeeping::default(), &truth, 10)
                    .await
                    .unwrap();
            assert!(verdict.is_equal(), "{verdict:#?}");
        }
    }

    /// Every partition's counts tile its offsets (I1), all `records` are covered, and none became a dead letter.
    pub async fn assert_tiled(&self, records: usize, dead_letters: usize) {
        let untiled = "SELECT count(*) FROM silversink.position WHERE start_offset <> 0 \
             OR next_offset - start_offset IS DISTINCT FROM applied + superseded + skipped + dead_lettered";
        assert_eq!(self.ask(untiled).await, "0");
        assert_eq!(self.settled().await, i64::try_from(records).unwrap());
        assert_eq!(self.total("dead_lettered").await, i64::try_from(dead_letters).unwrap());
        assert_eq!(
            self.ask("SELECT count(*) FROM silversink.dead_letter").await,
            dead_letters.to_string()
        );
    }

    /// Moves the whole group back to the earliest offsets, as `kafka-consumer-groups` would.
    pub fn rewind(&self) {
        let starts: Vec<_> = self.topic_partitions().into_iter().map(|at| (at, 0)).collect();
        move_group(&self.kafka("shop"), &starts).unwrap();
    }

    /// A fingerprint of every tuple of every Silver table: any write changes it.
    pub async fn tuples(&self) -> String {
        let mut text = String::new();
        for table in TABLES {
            text += &self
                .ask(&format!(
                    "SELECT md5(string_agg(ctid::text || xmin::text || t::text, '|' ORDER BY ctid)) FROM silver.{table} t"
                ))
                .await;
        }
        text
    }

    /// Tuples written to Silver tables so far, and dead ones, as PostgreSQL counts them. Waits until no other session is
    /// left: a session tells its counts when it ends.
    pub async fn written_and_dead(&self) -> (i64, i64) {
        let deadline = Instant::now() + PATIENCE;
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while self.ask(others).await != "0" {
            assert!(Instant::now() < deadline, "a session of the worker stays open");
        }
        let count = async |what: &str| -> i64 {
            let sql =
                format!("SELECT sum({what}) FROM pg_stat_user_tables WHERE schemaname = 'silver'");
            self.ask(&sql).await.parse().unwrap()
        };
        (count("n_tup_ins + n_tup_upd + n_tup_del").await, count("n_dead_tup").await)
    }
}
