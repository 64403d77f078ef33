//! Mock broker, database and configuration for one worker.

use crate::worker::Worker;
use silversink::demo::throwaway::ThrowawayPostgres;
use silversink::kafka::mock::MockBroker;
use silversink::postgres::readback::{PrintedRow, Readback};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Rig {
    pub broker: MockBroker,
    pub bootstrap: String,
    pub postgres: String,
    pub registry: Option<String>,
    /// Pipeline.
    pub name: &'static str,
    /// Consumer group.
    pub group: &'static str,
    /// More sections; `[limits]` has its own field below.
    pub extra: String,
    pub limits: String,
    /// Whether there is a dead-letter topic.
    pub dlq: bool,
    /// More of `[kafka.properties]`.
    pub properties: String,
    pub routes: Vec<(String, String)>,
    directory: tempfile::TempDir,
    runs: AtomicU32,
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Rig {
    /// One topic with one partition and a dead-letter topic; `topics` are routed to tables of their last part's name.
    pub fn new(topics: &[&str]) -> Self {
        let all: Vec<(&str, i32)> = topics.iter().map(|topic| (*topic, 1)).collect();
        let broker = MockBroker::start(&all).unwrap();
        broker.create_topic("parked", 1).unwrap();
        let routes = topics
            .iter()
            .map(|t| ((*t).to_owned(), format!("silver.{}", t.rsplit('.').next().unwrap())));
        Self {
            bootstrap: broker.bootstrap().to_owned(),
            broker,
            postgres: ThrowawayPostgres::shared().fresh_database().unwrap(),
            registry: None,
            name: "shop",
            group: "shop",
            extra: String::new(),
            limits: String::new(),
            properties: String::new(),
            dlq: true,
            routes: routes.collect(),
            directory: tempfile::tempdir().unwrap(),
            runs: AtomicU32::new(0),
        }
    }

    fn config(&self, port: u16) -> PathBuf {
        let Self { name, group, bootstrap, postgres, extra, limits, properties, .. } = self;
        let mut text = format!(
            "name = \"{name}\"\nshutdown_timeout = \"5s\"\n[kafka]\nbootstrap_servers = \"{bootstrap}\"\n\
             group_id = \"{group}\"\n[kafka.properties]\n\"session.timeout.ms\" = \"2000\"\n\
             \"heartbeat.interval.ms\" = \"100\"\n{properties}\n[postgres]\nurl = \"{postgres}\"\n\
             connect_timeout = \"2s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
             [limits]\nrecheck = \"300ms\"\n{limits}\n{extra}\n"
        );
        if self.dlq {
            text.push_str("[dlq]\ntopic = \"parked\"\n");
        }
        if let Some(url) = &self.registry {
            write!(text, "[registry]\nurl = \"{url}\"\n").unwrap();
        }
        for (topics, table) in &self.routes {
            write!(text, "[[route]]\ntopics = '{topics}'\ntable = \"{table}\"\n").unwrap();
        }
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("sink{run}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts a worker that stays.
    pub fn worker(&self) -> Worker {
        let port = free_port();
        Worker::start(&self.config(port), &[], port)
    }

    /// Runs a worker until it has caught up; its exit code is asked for with `exit`.
    pub fn catch_up(&self) -> Worker {
        let port = free_port();
        Worker::start(&self.config(port), &["--until-caught-up"], port)
    }

    fn database<T>(&self, work: impl AsyncFnOnce(Readback) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { work(Readback::connect(&self.postgres).await.unwrap()).await })
    }

    pub fn execute(&self, sql: &str) {
        self.database(async |db| db.execute(sql).await.unwrap());
    }

    pub fn rows(&self, sql: &str) -> Vec<PrintedRow> {
        self.database(async |db| db.query(sql).await.unwrap())
    }

    /// One value as text; empty for NULL.
    pub fn ask(&self, sql: &str) -> String {
        self.rows(sql)[0][0].clone().unwrap_or_default()
    }

    /// Waits until a query answers this.
    pub fn until(&self, sql: &str, wanted: &str) {
        crate::worker::eventually(&format!("{sql} = {wanted}"), || {
            (self.ask(sql) == wanted).then_some(())
        });
    }

    /// State and reason of a topic's partition 0.
    pub fn state(&self, topic: &str) -> String {
        self.ask(&format!(
            "SELECT coalesce(max(concat_ws(' ', state, reason)), '-') FROM silversink.position WHERE topic = '{topic}'"
        ))
    }

    /// Every column and constraint of the Silver tables: equal texts mean that nothing was changed.
    pub fn catalogue(&self) -> String {
        self.ask(
            "SELECT coalesce(string_agg(concat_ws(' ', c.oid::regclass, a.attname, a.atttypid::regtype, a.attnotnull, \
             x.indexrelid::regclass), '; ' ORDER BY c.oid, a.attnum, x.indexrelid), '-') FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'silver' \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_index x ON x.indrelid = c.oid",
        )
    }
}
