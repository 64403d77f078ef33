//! Checks everything that a pipeline depends on, and says what to do about what is wrong. Changes nothing.

mod destination;
mod kafka;
mod registry;
pub mod source;

use crate::config::Config;
use crate::route::route;
use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// The worker runs, but something cannot be promised.
    Risk,
    /// The worker, or a lane of it, will not run.
    Broken,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `postgres`, `kafka`, `registry`, `table`, `source`.
    pub area: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, one sentence.
    pub text: String,
    /// What to do.
    pub help: Option<String>,
}

impl Finding {
    fn fine(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, severity: Severity::Fine, text: text.into(), help: None }
    }

    fn risk(area: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { area, severity: Severity::Risk, text: text.into(), help: Some(help.into()) }
    }

    fn broken(area: &'static str, fault: &crate::fault::Fault) -> Self {
        Self { area, severity: Severity::Broken, text: fault.to_string(), help: fault.hint.clone() }
    }
}

/// Runs every check. `source` is the URL of the source database, if it is given.
pub async fn examine(config: &Config, source: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let topics = kafka::check(config, &mut findings).await;
    registry::check(config, &mut findings).await;
    destination::check(config, &topics, &mut findings).await;
    if let Some(url) = source {
        // Where records name their tables, no topic's name tells which are read.
        let named = |topic: &String| route(config, topic).is_some_and(|r| r.tables.is_some());
        let topics = if topics.iter().any(named) { Vec::new() } else { topics };
        source::check(url, &topics, &mut findings).await;
    }
    findings
}
