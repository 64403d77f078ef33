//! Whether the destination answers, and whether the Silver tables that exist can be written.

use super::Finding;
use crate::config::Config;
use crate::postgres::Destination;
use crate::route;
use crate::table::TableName;
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
    let tables: BTreeSet<TableName> = topics
        .iter()
        .filter_map(|topic| route::route(config, topic))
        .map(|routed| routed.table)
        .collect();
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
