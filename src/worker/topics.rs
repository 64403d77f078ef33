//! Which topics are read: the routes' expressions matched against what the cluster has, watched for new ones.
//!
//! # Decisions
//! - Matching is ours, not librdkafka's: its regular expressions know no named groups, and the routes' must mean the same
//!   in both places.

use super::report::{Report, Reports};
use super::{Shared, blocking};
use crate::config::Config;
use crate::fault::{Class, Code, Fault};
use crate::kafka::facts::Facts;
use crate::route;
use std::sync::Arc;
use std::time::Duration;

/// How often the cluster is asked for new topics.
const WATCH: Duration = Duration::from_secs(30);
/// The same while no topic is there at all.
const WATCH_EMPTY: Duration = Duration::from_secs(2);

/// The topics to subscribe to: those that exist and match, and literal names whether they exist or not. Says which routes
/// lead nowhere yet; with `must_exist` that is an error, because a run that ends when it has caught up would end at once.
/// Beside them, how many partitions those that exist have.
pub(super) async fn matching(
    config: &Config,
    facts: &Arc<Facts>,
    must_exist: bool,
) -> Result<(Vec<String>, usize), Fault> {
    let counted = list(facts).await?;
    let matching = |(topic, _): &&(String, usize)| route::route(config, topic).is_some();
    let partitions = counted.iter().filter(matching).map(|(_, partitions)| partitions).sum();
    let existing = names(counted);
    check(config, &existing, must_exist)?;
    if let Some((table, topics)) =
        route::collisions(config, existing.iter().map(String::as_str)).into_iter().next()
    {
        return Err(Fault::new(
            Class::Fatal,
            Code::Configuration,
            format!("topics {} all lead to table {table}", topics.join(", ")),
        )
        .with_hint("give them different tables, or set merge_sources = true on the route if they share their keys"));
    }
    Ok((select(config, existing), partitions))
}

async fn list(facts: &Arc<Facts>) -> Result<Vec<(String, usize)>, Fault> {
    let facts = Arc::clone(facts);
    blocking(move || facts.topics()).await
}

fn names(topics: Vec<(String, usize)>) -> Vec<String> {
    topics.into_iter().map(|(topic, _)| topic).collect()
}

fn select(config: &Config, existing: Vec<String>) -> Vec<String> {
    let mut topics: Vec<String> =
        existing.into_iter().filter(|topic| route::route(config, topic).is_some()).collect();
    topics.extend(literal(config).map(str::to_owned));
    topics.sort_unstable();
    topics.dedup();
    topics
}

fn literal(config: &Config) -> impl Iterator<Item = &str> {
    config
        .routes
        .iter()
        .map(|route| route.topics.as_str())
        .filter(|topics| !topics.starts_with('^'))
}

fn check(config: &Config, existing: &[String], must_exist: bool) -> Result<(), Fault> {
    for route in &config.routes {
        if existing.iter().any(|topic| route.pattern.is_match(topic)) {
            continue;
        }
        let nearest = nearest(existing, &route.topics);
        if must_exist {
            let hint = match nearest {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => "check [[route]] topics, and that the connector has written to the topic"
                    .to_owned(),
            };
            let text = format!("no topic matches \"{}\"", route.topics);
            return Err(Fault::new(Class::Fatal, Code::Configuration, text).with_hint(hint));
        }
        tracing::warn!(
            topics = route.topics,
            nearest,
            "no topic matches yet; it is read as soon as it appears"
        );
    }
    Ok(())
}

fn nearest<'t>(existing: &'t [String], wanted: &str) -> Option<&'t str> {
    existing
        .iter()
        .map(|topic| (strsim::jaro_winkler(topic, wanted), topic.as_str()))
        .filter(|(similarity, _)| *similarity > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, topic)| topic)
}

/// Reports each change of the topics to subscribe to, until the worker is gone.
pub(super) async fn watch(shared: Arc<Shared>, reports: Reports, mut known: Vec<String>) {
    loop {
        tokio::time::sleep(if known.is_empty() { WATCH_EMPTY } else { WATCH }).await;
        match list(&shared.facts).await {
            Ok(existing) => {
                let topics = select(&shared.config, names(existing));
                if topics != known {
                    known.clone_from(&topics);
                    reports.send(Report::Topics(topics));
                }
            }
            Err(fault) => tracing::debug!("could not list topics: {fault}"),
        }
    }
}
