//! Mock broker, registry, a database and a worker in this process.

use silversink::config::{self, load};
use silversink::demo::capture::{CapturedSchema, TableTruth};
use silversink::demo::ground_truth;
use silversink::demo::registry::DemoRegistry;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::{Code, Fault};
use silversink::kafka::{MockBroker, Producer, TopicPartition, move_group};
use silversink::postgres::readback::{PrintedRow, Readback};
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use silversink::telemetry::health::Health;
use silversink::worker::{self, Options};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub struct Rig {
    broker: MockBroker,
    registry: DemoRegistry,
    postgres: String,
    /// Routes and tables: what a user writes behind the connections.
    pub config: String,
}

impl Rig {
    /// The topics that the records name, with the records in them.
    pub fn new(records: &[OwnedRecord], config: &str) -> Self {
        let mut topics: BTreeMap<&str, i32> = BTreeMap::new();
        for record in records {
            let partitions = topics.entry(&record.at.topic).or_default();
            *partitions = (*partitions).max(record.at.partition + 1);
        }
        topics.insert("parked", 1);
        let broker = MockBroker::start(&topics.into_iter().collect::<Vec<_>>()).unwrap();
        let rig = Self {
            broker,
            registry: DemoRegistry::start().unwrap(),
            postgres: ThrowawayPostgres::shared().fresh_database().unwrap(),
            config: config.to_owned(),
        };
        rig.produce(records);
        rig
    }

    pub fn with_schemas(self, schemas: &BTreeMap<u32, CapturedSchema>) -> Self {
        self.registry.preload(schemas.values());
        self
    }

    pub fn produce(&self, records: &[OwnedRecord]) {
        let mut kafka = self.kafka("loader");
        // The mock keeps 5 MiB of each partition.
        kafka.properties.insert("compression.codec".to_owned(), "zstd".to_owned().into());
        Producer::open(&kafka).unwrap().load(records).unwrap();
    }

    /// Moves the group back to an offset in every partition of a topic, as `kafka-consumer-groups` would.
    pub fn rewind(&self, topic: &str, partitions: i32, offset: i64) {
        let starts: Vec<_> =
            (0..partitions).map(|number| (TopicPartition::new(topic, number), offset)).collect();
        move_group(&self.kafka("shop"), &starts).unwrap();
    }

    fn kafka(&self, group: &str) -> config::Kafka {
        config::Kafka {
            bootstrap_servers: self.broker.bootstrap().to_owned(),
            group_id: group.to_owned(),
            instance_id: None,
            properties: BTreeMap::new(),
        }
    }

    fn work<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work)
    }

    /// Runs a worker until it has caught up, or a lane has stopped.
    pub fn run(&self) -> Result<(), Fault> {
        let text = format!(
            "name = \"shop\"\n[kafka]\nbootstrap_servers = \"{}\"\n[kafka.properties]\n\
             \"session.timeout.ms\" = \"2000\"\n\"heartbeat.interval.ms\" = \"100\"\n[registry]\nurl = \"{}\"\n\
             [postgres]\nurl = \"{}\"\n[dlq]\ntopic = \"parked\"\n[http]\nlisten = \"\"\n{}",
            self.broker.bootstrap(),
            self.registry.url(),
            self.postgres,
            self.config
        );
        let config =
            load::parse(&text, "test.toml", &|_| None).unwrap_or_else(|report| panic!("{report}"));
        let options = Options { until_caught_up: true };
        let stop = CancellationToken::new();
        let work = worker::run(config, options, Arc::new(Health::new()), stop);
        self.work(async {
            tokio::time::timeout(Duration::from_secs(60), work).await.expect("the worker hangs")
        })
    }

    /// Runs a worker whose lane has to stop for this reason.
    pub fn stops(&self, code: Code) -> Fault {
        let fault = self.run().unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.hint.is_some(), "{fault}");
        fault
    }

    pub fn rows(&self, sql: &str) -> Vec<PrintedRow> {
        self.work(async {
            Readback::connect(&self.postgres).await.unwrap().query(sql).await.unwrap()
        })
    }

    pub fn execute(&self, sql: &str) {
        self.work(async {
            Readback::connect(&self.postgres).await.unwrap().execute(sql).await.unwrap();
        });
    }

    /// Every row as its columns joined by a space, rows by a comma; NULL is left out.
    pub fn list(&self, columns: &str, from: &str) -> String {
        let sql = format!(
            "SELECT coalesce(string_agg(r.line, ', ' ORDER BY r.line), '') FROM (SELECT concat_ws(' ', {columns}) AS line FROM {from}) AS r"
        );
        self.rows(&sql)[0][0].clone().unwrap_or_default()
    }

    /// The live rows of a table are the source's, the deleted keys are marked.
    pub fn equals(&self, table: &str, truth: &TableTruth) {
        let (schema, name) = table.split_once('.').unwrap();
        let table = TableName::new(schema, name);
        let verdict = self.work(async {
            let database = Readback::connect(&self.postgres).await.unwrap();
            ground_truth::verify(&database, &table, &Bookkeeping::default(), truth, 10)
                .await
                .unwrap()
        });
        assert!(verdict.is_equal(), "{:#?}", verdict.differences);
    }

    /// Applied, superseded, skipped and dead-lettered records of a topic, which together are all of them (I1).
    pub fn counts(&self, topic: &str) -> [u64; 4] {
        let sql = format!(
            "SELECT sum(applied), sum(superseded), sum(skipped), sum(dead_lettered), sum(next_offset - start_offset) \
             FROM silversink.position WHERE topic = '{topic}'"
        );
        let row = self.rows(&sql).remove(0);
        let number = |at: usize| -> u64 { row[at].as_ref().unwrap().parse().unwrap() };
        let counts = [number(0), number(1), number(2), number(3)];
        assert_eq!(counts.iter().sum::<u64>(), number(4), "{topic}: {counts:?}");
        counts
    }
}
