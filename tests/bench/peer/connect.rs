//! Debezium's JDBC sink as a connector of the stack's Kafka Connect.

use crate::server::Server;
use crate::tables::Side;
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// What a sink of this load needs, all else at its default.
const NEEDED: &str = include_str!("sink.json");
/// The best that was found, out of about a dozen combinations: batches of 10,000 (3,000 are as fast), keys folded, statements
/// rewritten to many rows each (or `unnest`, as fast), tombstones dropped before they break up the batches, headers not parsed.
const BEST: &str = include_str!("best.json");

/// Settings of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// Tasks, which is partitions of the topic too.
    pub tasks: i32,
    pub is_tuned: bool,
}

/// The worker process and its REST interface.
pub struct Connect {
    pub url: String,
    pub pid: u32,
    pub registry: String,
    client: reqwest::Client,
}

impl Connect {
    pub fn new(url: String, pid: u32, registry: String) -> Self {
        Self { url, pid, registry, client: reqwest::Client::new() }
    }

    /// Starts the largest resident size anew at the present one.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5").context("forgetting a peak")
    }

    /// Creates a connector; it starts by itself.
    pub async fn create(
        &self,
        name: &str,
        topic: &str,
        sink: Sink,
        server: &Server,
    ) -> anyhow::Result<()> {
        let mut config: Map<String, Value> = serde_json::from_str(NEEDED)?;
        let login = tokio_postgres::Config::from_str(&server.url())?;
        let port = login.get_ports().first().context("the server has no port")?;
        let mut url = format!("jdbc:postgresql://127.0.0.1:{port}/postgres");
        if sink.is_tuned {
            config.extend(serde_json::from_str::<Map<String, Value>>(BEST)?);
            url.push_str("?reWriteBatchedInserts=true");
        }
        let password = login.get_password().context("the server has no password")?;
        for (name, value) in [
            ("topics", topic),
            ("tasks.max", &sink.tasks.to_string()),
            ("collection.name.format", Side::Peer.table()),
            ("connection.url", &url),
            ("connection.username", login.get_user().unwrap_or_default()),
            ("connection.password", std::str::from_utf8(password)?),
            ("key.converter.schema.registry.url", &self.registry),
            ("value.converter.schema.registry.url", &self.registry),
        ] {
            config.insert(name.to_owned(), json!(value));
        }
        let answer = self
            .client
            .put(format!("{}/connectors/{name}/config", self.url))
            .header("Content-Type", "application/json")
            .body(Value::Object(config).to_string())
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!("Connect refused the connector: {}", answer.text().await?);
        }
        Ok(())
    }

    /// An error with its trace when the connector or one of its tasks has failed.
    pub async fn check(&self, name: &str) -> anyhow::Result<()> {
        let url = format!("{}/connectors/{name}/status", self.url);
        let status = self.client.get(url).send().await?.text().await?;
        if status.contains("\"FAILED\"") {
            bail!("the connector failed: {status}");
        }
        Ok(())
    }

    /// Removes a connector; its tasks may work a little longer.
    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let url = format!("{}/connectors/{name}", self.url);
        self.client.delete(url).send().await?.error_for_status()?;
        Ok(())
    }
}
