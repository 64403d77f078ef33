//! One pipeline on the embedded parts: mock brokers, an in-process registry, a database of a throw-away PostgreSQL.

use silversink::config::load;
use silversink::demo::capture::Capture;
use silversink::demo::ground_truth::{self, TableVerdict};
use silversink::demo::registry::DemoRegistry;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::fault::Fault;
use silversink::kafka::mock::MockBroker;
use silversink::postgres::readback::Readback;
use silversink::record::OwnedRecord;
use silversink::table::{Bookkeeping, TableName};
use silversink::telemetry::health::Health;
use silversink::worker::{self, Options};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub const TABLES: [&str; 4] = ["customers", "order_items", "orders", "products"];

pub struct Rig {
    pub broker: MockBroker,
    pub registry: DemoRegistry,
    pub postgres: String,
    pub capture: Capture,
    pub extra: String,
}

impl Rig {
    /// Topics of the shop with this many partitions each, filled with `records`.
    pub fn start(encoding: &str, partitions: i32, records: &[OwnedRecord]) -> Self {
        let capture = Capture::open("testdata/debezium/shop").unwrap();
        let topics: Vec<String> =
            TABLES.iter().map(|table| format!("shop.public.{table}")).collect();
        let topics: Vec<(&str, i32)> =
            topics.iter().map(|topic| (topic.as_str(), partitions)).collect();
        let broker = MockBroker::start(&topics).unwrap();
        broker.create_topic("shop.dlq", 1).unwrap();
        let registry = DemoRegistry::start().unwrap();
        registry.preload(capture.schemas(encoding).unwrap().values());
        broker.produce_exactly(records).unwrap();
        let postgres = ThrowawayPostgres::shared().fresh_database().unwrap();
        Self { broker, registry, postgres, capture, extra: String::new() }
    }

    pub fn config_text(&self) -> String {
        format!(
            "name = \"shop\"\n[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"shop\"\n[registry]\nurl = \"{}\"\n\
             [postgres]\nurl = \"{}\"\n[dlq]\ntopic = \"shop.dlq\"\n[http]\nlisten = \"\"\n{}\n[[route]]\n\
             topics = '^shop\\.public\\.(?<table>.+)$'\ntable = \"silver.${{table}}\"\n",
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
        worker::run(config, options, Arc::new(Health::new()), CancellationToken::new()).await
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
}
