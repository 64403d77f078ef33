//! One pipeline on the embedded parts, for one topic: a capture's, or records made by hand.

use silversink::config::load;
use silversink::demo::capture::Capture;
use silversink::demo::ground_truth;
use silversink::demo::registry::DemoRegistry;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::Fault;
use silversink::kafka::{MockBroker, TopicPartition, move_group};
use silversink::postgres::readback::Readback;
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use silversink::telemetry::health::Health;
use silversink::worker::{self, Options};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// No wait of a test takes as long unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Begins a test that runs beside others.
pub type Story = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Runs what mostly waits side by side, each on a thread and a runtime of its own.
pub fn at_once(stories: &[Story]) {
    std::thread::scope(|scope| {
        for story in stories {
            scope.spawn(move || {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(story());
            });
        }
    });
}

pub struct Rig {
    broker: MockBroker,
    registry: DemoRegistry,
    postgres: String,
    topic: String,
    partitions: i32,
    /// More configuration.
    pub extra: String,
    directory: tempfile::TempDir,
}

/// A process that nobody waits for must not outlive a test that failed.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    pub fn new(topic: &str, partitions: i32) -> Self {
        Self {
            broker: MockBroker::start(&[(topic, partitions)]).unwrap(),
            registry: DemoRegistry::start().unwrap(),
            postgres: ThrowawayPostgres::shared().fresh_database().unwrap(),
            topic: topic.to_owned(),
            partitions,
            extra: String::new(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A pipeline for a capture's only topic, which is still empty.
    pub fn of(capture: &Capture, topic: &str, partitions: i32) -> Self {
        let rig = Self::new(topic, partitions);
        rig.registry.preload(capture.schemas("avro").unwrap().values());
        rig
    }

    pub fn produce(&self, records: &[OwnedRecord]) {
        self.broker.produce_exactly(records).unwrap();
    }

    pub fn config_text(&self) -> String {
        format!(
            "name = \"yard\"\n[kafka]\nbootstrap_servers = \"{}\"\n[kafka.properties]\n\
             \"session.timeout.ms\" = \"2000\"\n\"heartbeat.interval.ms\" = \"100\"\n\"fetch.wait.max.ms\" = \"10\"\n\
             [registry]\nurl = \"{}\"\n[postgres]\nurl = \"{}\"\n[http]\nlisten = \"\"\n\
             [[route]]\ntopics = '^\\w+\\.public\\.(?<table>.+)$'\ntable = \"silver.${{table}}\"\n{}",
            self.broker.bootstrap(),
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

    fn command(&self, arguments: &[&str]) -> Command {
        let file: PathBuf = self.directory.path().join("silversink.toml");
        std::fs::write(&file, self.config_text()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_silversink"));
        command.args(arguments).arg("--config").arg(&file).stdin(Stdio::null());
        command
    }

    /// A worker as a process of its own, that runs until it is killed.
    pub fn process(&self) -> Process {
        let log = std::fs::File::create(self.log()).unwrap();
        let mut command = self.command(&["run"]);
        Process(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn log(&self) -> PathBuf {
        Path::new(self.directory.path()).join("log")
    }

    /// The log of [`Rig::process`].
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    /// Runs another command; its exit code and what it printed.
    pub fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap()).concat();
        (output.status.code(), text)
    }

    async fn database(&self) -> Readback {
        Readback::connect(&self.postgres).await.unwrap()
    }

    /// Rows of the database, columns separated by spaces.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.database().await.query(sql).await.unwrap();
        let text = |row: &Vec<Option<String>>| {
            let fields = row.iter().map(|field| field.clone().unwrap_or_else(|| "-".to_owned()));
            fields.collect::<Vec<_>>().join(" ")
        };
        rows.iter().map(text).collect()
    }

    pub async fn execute(&self, sql: &str) {
        self.database().await.execute(sql).await.unwrap();
    }

    /// Waits until a query that gives one value gives this one; without the tables it gives none.
    pub async fn wait_for(&self, sql: &str, value: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows = self.database().await.query(sql).await.unwrap_or_default();
            let found = rows.first().and_then(|row| row[0].clone());
            if found.as_deref() == Some(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: {found:?}, not {value}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Epoch, reason and source of every epoch.
    pub async fn epochs(&self) -> Vec<String> {
        self.rows(
            "SELECT source, epoch, reason FROM silversink.source_epoch ORDER BY source, epoch",
        )
        .await
    }

    /// Partition, first offset and epoch of every start.
    pub async fn starts(&self) -> Vec<(i32, i64, u32)> {
        let sql = "SELECT partition, start_offset, epoch FROM silversink.source_epoch_start ORDER BY 1, 2";
        let rows = self.database().await.query(sql).await.unwrap();
        let number = |field: &Option<String>| field.as_ref().unwrap().parse::<i64>().unwrap();
        rows.iter()
            .map(|row| {
                let partition = i32::try_from(number(&row[0])).unwrap();
                (partition, number(&row[1]), u32::try_from(number(&row[2])).unwrap())
            })
            .collect()
    }

    /// Moves the whole group back to the earliest offsets, as `kafka-consumer-groups` would.
    pub fn rewind(&self) {
        let config = load::parse(&self.config_text(), "test.toml", &|_| None).unwrap();
        let starts: Vec<_> = (0..self.partitions)
            .map(|partition| (TopicPartition::new(self.topic.as_str(), partition), 0))
            .collect();
        move_group(&config.kafka, &starts).unwrap();
    }

    /// A fingerprint of every tuple of a Silver table: any write changes it.
    pub async fn tuples(&self, table: &str) -> Vec<String> {
        let text = "ctid::text || xmin::text || t::text";
        self.rows(&format!(
            "SELECT md5(string_agg({text}, '|' ORDER BY ctid)) FROM silver.{table} t"
        ))
        .await
    }

    /// Silver equals the source, once the rows are marked that no record ever deletes. Tells how many those are.
    pub async fn assert_equal(&self, capture: &Capture) -> usize {
        let mut ghosts = 0;
        for truth in capture.truth().unwrap() {
            for gone in truth.deleted.iter().filter(|gone| gone.in_topic && !gone.must_be_marked())
            {
                let id = gone.key["id"].clone().unwrap();
                let marked = self
                    .rows(&format!(
                        "UPDATE silver.{} SET _deleted_at = now() WHERE id = {id} AND _deleted_at IS NULL RETURNING id",
                        truth.name
                    ))
                    .await;
                ghosts += marked.len();
            }
            let table = TableName::new("silver", &truth.name);
            let database = self.database().await;
            let verdict =
                ground_truth::verify(&database, &table, &Bookkeeping::default(), &truth, 10)
                    .await
                    .unwrap();
            assert_eq!(verdict.difference_count, 0, "{verdict:#?}");
            assert!(verdict.live > 0);
        }
        ghosts
    }
}

impl Process {
    pub fn kill(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "the worker ended by itself");
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().code(), None, "it ended by a signal");
    }
}

/// Spreads a topic over partitions by key, and numbers the offsets anew.
pub fn spread(mut records: Vec<OwnedRecord>, partitions: u32) -> Vec<OwnedRecord> {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in &mut records {
        let key = record.key.as_ref().unwrap();
        let sum =
            key.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        record.at.partition = i32::try_from(sum % partitions).unwrap();
        let next = next.entry(record.at.partition).or_default();
        record.at.offset = *next;
        *next += 1;
    }
    records
}
