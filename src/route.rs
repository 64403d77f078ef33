//! Topic name -> Silver table. Pure.

use crate::config::{Config, Format, Position, Route};
use crate::table::TableName;
use std::collections::BTreeMap;

/// Where a topic's records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The Silver table.
    pub table: TableName,
    /// How key and value are written.
    pub format: Format,
    /// Whether other topics may feed the same table, and other source tables the same topic.
    pub merge_sources: bool,
    /// What orders the changes.
    pub position: Position,
}

/// The first route whose expression matches the whole topic name.
#[must_use]
pub fn route(config: &Config, topic: &str) -> Option<Routed> {
    config.routes.iter().find_map(|r| route_one(r, topic))
}

fn route_one(route: &Route, topic: &str) -> Option<Routed> {
    let captures = route.pattern.captures(topic)?;
    let (schema, name) = route.table.split_once('.')?;
    let mut table = String::new();
    captures.expand(name, &mut table);
    Some(Routed {
        table: TableName::new(schema, table),
        format: route.format,
        merge_sources: route.merge_sources,
        position: route.position,
    })
}

/// Topics of one table that would need `merge_sources`, by table.
#[must_use]
pub fn collisions<'t>(
    config: &Config,
    topics: impl IntoIterator<Item = &'t str>,
) -> BTreeMap<TableName, Vec<String>> {
    let mut by_table: BTreeMap<TableName, (bool, Vec<String>)> = BTreeMap::new();
    for topic in topics {
        if let Some(routed) = route(config, topic) {
            let entry = by_table.entry(routed.table).or_insert((true, Vec::new()));
            entry.0 &= routed.merge_sources;
            entry.1.push(topic.to_owned());
        }
    }
    by_table
        .into_iter()
        .filter(|(_, (merge, topics))| !merge && topics.len() > 1)
        .map(|(table, (_, topics))| (table, topics))
        .collect()
}
