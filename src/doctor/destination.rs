//! Whether the destination answers, and whether the Silver tables that exist can be written.

use super::Finding;
use crate::config::Config;
use crate::postgres::Destination;
use crate::route;
use std::collections::BTreeSet;

pub(super) async fn check(config: &Config, topics: &[String], findings: &mut Vec<Finding>) {
    let connected = Destination::connect(&config.postgres, 1, "silversink doctor").await;
    let destination = match connected {
        Ok(destination) => destination,
        Err(fault) => {
            findings.push(Finding::broken("postgres", &fault));
            return;
        }
    };
    findings
        .push(Finding::fine("postgres", "the destination answers and is PostgreSQL 15 or newer"));
    let fed = destination.fed(&config.name).await.unwrap_or_else(|fault| {
        findings.push(Finding::broken("table", &fault));
        Vec::new()
    });
    let mut tables = BTreeSet::new();
    for (topic, routed) in topics.iter().filter_map(|t| Some((t, route::route(config, t)?))) {
        let Some(template) = routed.tables else {
            tables.insert(routed.table);
            continue;
        };
        let named = fed.iter().filter(|(by, _)| by == topic).map(|(_, table)| table.clone());
        let before = tables.len();
        tables.extend(named);
        findings.push(Finding::fine(
            "table",
            format!(
                "records of topic {topic} name their tables ({template}): {} more are known so far",
                tables.len() - before
            ),
        ));
    }
    for table in tables {
        match destination.describe(&table, &config.schema.bookkeeping).await {
            Err(fault) => findings.push(Finding::broken("table", &fault)),
            Ok(None) => findings.push(Finding::fine(
                "table",
                format!("{table} does not exist yet: it is made from the first record's schema"),
            )),
            Ok(Some(described)) => {
                let sound = described.refusals.is_empty();
                findings.extend(described.refusals.iter().map(|f| Finding::broken("table", f)));
                findings.extend(described.warnings.iter().map(|text| {
                    Finding::risk("table", text.clone(), "make sure that this is wanted")
                }));
                if sound {
                    findings.push(Finding::fine("table", format!("{table} can be written")));
                }
            }
        }
    }
}
