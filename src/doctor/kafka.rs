//! Whether Kafka answers, and which topics the routes lead somewhere.

use super::Finding;
use crate::config::Config;
use crate::fault::{Class, Code, Fault};
use crate::kafka::Facts;
use crate::route;

/// The topics that a route matches.
pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) -> Vec<String> {
    let kafka = config.kafka.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let facts = Facts::open(&kafka)?;
        facts.probe()?;
        facts.topics()
    });
    let answer = asked.await.unwrap_or_else(|error| {
        Err(Fault::new(Class::Fatal, Code::Internal, format!("could not ask Kafka: {error}")))
    });
    let topics = match answer {
        Ok(topics) => topics,
        Err(fault) => {
            findings.push(Finding::broken("kafka", &fault));
            return Vec::new();
        }
    };
    findings.push(Finding::fine(
        "kafka",
        format!("{} answers and shows {} topics", config.kafka.bootstrap_servers, topics.len()),
    ));
    let names = || topics.iter().map(|(name, _)| name.as_str());
    for (table, topics) in route::collisions(config, names()) {
        let text = format!("topics {} all lead to table {table}", topics.join(", "));
        findings.push(Finding::broken(
            "kafka",
            &Fault::blocked(
                Code::Configuration,
                text,
                "give them different tables, or set merge_sources = true on the route if they share their keys",
            ),
        ));
    }
    for one in &config.routes {
        if !names().any(|topic| one.pattern.is_match(topic)) {
            findings.push(Finding::risk(
                "kafka",
                format!("no topic matches route \"{}\"", one.topics),
                "check the route's topics, and that the connector has written",
            ));
        }
    }
    match &config.dlq {
        None => findings.push(Finding::risk(
            "kafka",
            "no dead-letter topic is configured: a record that can never be applied stops its lane",
            "set [dlq] topic",
        )),
        Some(dlq) if !names().any(|topic| topic == dlq.topic) => findings.push(Finding::risk(
            "kafka",
            format!("the dead-letter topic {} does not exist yet", dlq.topic),
            "create it, or let the worker do it where the cluster allows that",
        )),
        Some(dlq) => {
            findings
                .push(Finding::fine("kafka", format!("dead-letter topic {} exists", dlq.topic)));
        }
    }
    names().filter(|topic| route::route(config, topic).is_some()).map(str::to_owned).collect()
}
