//! Topic name -> Silver table, or how a topic's records name theirs. Pure.
//!
//! # Decisions
//! - What a topic's name tells is filled in here, what a record's source tells ([`Told`]) record by record. A topic whose
//!   records name their tables has a lane of its own, for its positions cover all of them; with `merge_sources` the topics
//!   of one template share a lane. [`Routed::table`] is then that lane's name, which is the name of no table.
//! - A name comes from input, so it must be one that PostgreSQL does not cut, without dots and quotes, and is refused
//!   otherwise. The schema is literal.

use crate::config::{Config, Format, Position, Route};
use crate::fault::{Code, Fault};
use crate::table::TableName;
use std::collections::BTreeMap;

/// PostgreSQL cuts identifiers at this many bytes (NAMEDATALEN - 1).
pub const LONGEST_IDENTIFIER: usize = 63;

/// What a record's source tells that a table's name may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// `${source.db}`.
    Database,
    /// `${source.schema}`.
    Schema,
    /// `${source.table}`.
    Table,
}

impl Told {
    /// All of them, in the order of [`Template::table`]'s parameter.
    pub const ALL: [Self; 3] = [Self::Database, Self::Schema, Self::Table];

    /// As it is written in a template, between `${` and `}`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "source.db",
            Self::Schema => "source.schema",
            Self::Table => "source.table",
        }
    }

    /// By that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|told| told.name() == name)
    }
}

/// The name of a table that each record chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    schema: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Told(Told),
}

impl Template {
    /// The table of a record whose source tells this database, schema and table; empty is not told.
    ///
    /// # Errors
    /// `TableUnplaced`: poison where the record does not tell a part of the name, blocked where it would be no table's name.
    pub fn table(&self, told: [&str; 3]) -> Result<TableName, Fault> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => name.push_str(text),
                Part::Told(which) => match told[*which as usize] {
                    "" => return Err(untold(*which)),
                    text => name.push_str(text),
                },
            }
        }
        if !is_identifier(&name) {
            return Err(Fault::blocked(
                Code::TableUnplaced,
                format!(
                    "the source names a table that Silver cannot have under {self}: its name would have {} bytes, or holds a dot, a quote or U+0000",
                    name.len()
                ),
                format!(
                    "a name has 1 to {LONGEST_IDENTIFIER} bytes: shorten `table` of the route, rename the source table, or give it a topic and a route of its own"
                ),
            ));
        }
        Ok(TableName::new(self.schema.as_str(), name))
    }

    /// Whether some record may name this table.
    #[must_use]
    pub fn may_name(&self, table: &TableName) -> bool {
        let literals = self.parts.iter().map(|part| match part {
            Part::Literal(text) => regex::escape(text),
            Part::Told(_) => ".+".to_owned(),
        });
        let pattern: String = literals.collect();
        self.schema == table.schema
            && regex::Regex::new(&format!(r"\A(?s:{pattern})\z"))
                .is_ok_and(|pattern| pattern.is_match(&table.name))
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.", self.schema)?;
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Told(told) => write!(f, "${{{}}}", told.name()),
        })
    }
}

/// Whether a part of a table's name can be used: not empty, not cut, and nothing that would have to be quoted twice.
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_IDENTIFIER && !name.contains(['.', '\0', '"'])
}

fn untold(told: Told) -> Fault {
    Fault::poison(
        Code::TableUnplaced,
        format!("the record does not tell ${{{}}}, which its table's name is made of", told.name()),
    )
    .with_hint(
        "where records are flattened, let the connector's transform add it (add.fields=source.table); give topics whose records tell no source a route with a literal table",
    )
}

/// Where a topic's records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The Silver table; where records name theirs, the name of their lane.
    pub table: TableName,
    /// How each record names its table, where one topic feeds many.
    pub tables: Option<Template>,
    /// How key and value are written.
    pub format: Format,
    /// Whether other topics may feed the same table, and other source tables the same topic.
    pub merge_sources: bool,
    /// What orders the changes.
    pub position: Position,
}

impl Routed {
    /// Whether records of the topic may go to this table.
    #[must_use]
    pub fn may_feed(&self, table: &TableName) -> bool {
        match &self.tables {
            None => self.table == *table,
            Some(template) => template.may_name(table),
        }
    }
}

/// The first route whose expression matches the whole topic name.
#[must_use]
pub fn route(config: &Config, topic: &str) -> Option<Routed> {
    config.routes.iter().find_map(|r| route_one(r, topic))
}

fn route_one(route: &Route, topic: &str) -> Option<Routed> {
    let captures = route.pattern.captures(topic)?;
    let (schema, name) = route.table.split_once('.')?;
    let of_group = |text: &str| {
        let mut expanded = String::new();
        captures.expand(text, &mut expanded);
        expanded
    };
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some((before, told, after)) = next_told(route, rest) {
        parts.push(Part::Literal(of_group(before)));
        parts.push(Part::Told(told));
        rest = after;
    }
    parts.push(Part::Literal(of_group(rest)));
    parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
    let (table, tables) = match parts.as_slice() {
        [] => (String::new(), None),
        [Part::Literal(name)] => (name.clone(), None),
        _ => {
            let template = Template { schema: schema.to_owned(), parts };
            let written = template.to_string();
            let name = written.get(schema.len() + 1..).unwrap_or_default();
            let lane = match route.merge_sources {
                true => name.to_owned(),
                false => format!("{name} of {topic}"),
            };
            (lane, Some(template))
        }
    };
    Some(Routed {
        table: TableName::new(schema, table),
        tables,
        format: route.format,
        merge_sources: route.merge_sources,
        position: route.position,
    })
}

/// Splits at the first `${source.…}` that is no group of the route's expression.
fn next_told<'t>(route: &Route, text: &'t str) -> Option<(&'t str, Told, &'t str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find("${")?;
        let inside = text.get(at + 2..)?;
        let (name, after) = inside.split_once('}')?;
        let is_group = route.pattern.capture_names().flatten().any(|group| group == name);
        match Told::of(name).filter(|_| !is_group) {
            Some(told) => return Some((text.get(..at)?, told, after)),
            None => from = at + 2,
        }
    }
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
