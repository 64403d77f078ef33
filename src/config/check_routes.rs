//! Routes and table overrides: expressions, templates, and how they fit together.

use super::check::check_defaults;
use super::check_connections::{TOPIC_EXPECTED, is_topic};
use super::diagnostic::Problems;
use super::located::Located;
use super::raw::{RawDefaults, RawRoute, RawTable};
use super::structure::nearest;
use super::{Format, Position, Route, Table};
use crate::route::{LONGEST_IDENTIFIER, Told, is_identifier};
use crate::table::TableName;
use regex::Regex;
use std::collections::BTreeMap;

/// Schema of the bookkeeping tables.
const OWN_SCHEMA: &str = "silversink";

/// Checks each route and the routes among each other. The result has one entry for each raw route.
pub fn check_routes(raw: &[Located<RawRoute>], problems: &mut Problems) -> Vec<Route> {
    let routes: Vec<Route> =
        raw.iter().enumerate().map(|(index, route)| check_route(index, route, problems)).collect();
    for (index, (route, place)) in routes.iter().zip(raw).enumerate() {
        let Some(topics) = &place.topics else { continue };
        let earlier = routes.iter().take(index);
        if let Some(winner) = earlier.clone().find(|earlier| hides(earlier, route)) {
            let why =
                format!("the earlier route of `{}` takes every topic of this one", winner.topics);
            problems.add(topics.span(), "this route never matches", why);
            problems.help(
                "the first route that matches wins: remove one, or put the narrower one first",
            );
        } else if let Some(other) = earlier.clone().find(|earlier| shares_table(earlier, route)) {
            let Some(table) = &place.table else { continue };
            problems.add(
                table.span(),
                format!("two routes lead to `{}`", route.table),
                format!("`{}` feeds it too", other.topics),
            );
            problems.help("if the topics hold different rows of one table, set `merge_sources = true` in both");
        }
    }
    routes
}

fn hides(earlier: &Route, route: &Route) -> bool {
    !route.topics.is_empty()
        && (earlier.topics == route.topics
            || (is_literal(&route.topics) && earlier.pattern.is_match(&route.topics)))
}

fn shares_table(earlier: &Route, route: &Route) -> bool {
    let is_one_table = !route.table.is_empty() && !route.table.contains("${");
    let is_wanted = route.merge_sources && earlier.merge_sources;
    is_one_table && route.table == earlier.table && !is_wanted
}

fn is_literal(topics: &str) -> bool {
    !topics.starts_with('^')
}

fn check_route(index: usize, raw: &Located<RawRoute>, problems: &mut Problems) -> Route {
    let topics = required(index, "topics", raw.topics.as_ref(), raw, problems);
    let table = required(index, "table", raw.table.as_ref(), raw, problems);
    let pattern = raw
        .topics
        .as_ref()
        .filter(|topics| !topics.is_empty())
        .and_then(|topics| check_topics(topics, problems));
    if let (Some(Format::Maxwell), Some(Position::Binlog)) = (raw.format, raw.position) {
        problems.add(
            raw.span(),
            "a route of Maxwell's JSON orders by the binary log",
            "expected no `position`: rows of a bootstrap have none",
        );
    }
    if let Some(located) = raw.table.as_ref().filter(|table| !table.is_empty()) {
        check_template(located, pattern.as_ref(), problems);
    }
    Route {
        topics,
        // An expression that matches nothing stands in for a bad one; a problem was added.
        pattern: pattern.unwrap_or_else(|| Regex::new(r"[^\s\S]").expect("a constant expression")),
        table,
        format: raw.format.unwrap_or_default(),
        merge_sources: raw.merge_sources.unwrap_or(false),
        position: raw.position.unwrap_or_default(),
    }
}

fn required(
    index: usize,
    key: &str,
    value: Option<&Located<String>>,
    route: &Located<RawRoute>,
    problems: &mut Problems,
) -> String {
    match value {
        Some(text) if text.is_empty() => {
            problems.add(text.span(), format!("`{key}` is empty"), "expected a value");
        }
        Some(text) => return text.to_string(),
        None if problems.is_settled(&format!("route[{index}].{key}")) => {}
        None => problems.add(
            route.span(),
            format!("missing key `{key}` in [[route]]"),
            format!("expected `{key} = \"...\"` in [[route]]"),
        ),
    }
    String::new()
}

/// The expression that a whole topic name must match.
fn check_topics(topics: &Located<String>, problems: &mut Problems) -> Option<Regex> {
    if is_literal(topics) {
        if !is_topic(topics) {
            problems.add(topics.span(), "not a topic name", TOPIC_EXPECTED);
            problems.help("a regular expression starts with ^");
            return None;
        }
        return Regex::new(&format!(r"\A{}\z", regex::escape(topics))).ok();
    }
    // The user's own text first: its error must not talk about our anchors.
    let anchored = Regex::new(topics).and_then(|_| Regex::new(&format!(r"\A(?:{})\z", **topics)));
    match anchored {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let text = error.to_string();
            let reason =
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            problems.add(topics.span(), "not a regular expression", reason);
            None
        }
    }
}

fn check_template(table: &Located<String>, pattern: Option<&Regex>, problems: &mut Problems) {
    let span = table.span();
    let Some((schema, name)) = table.split_once('.') else {
        problems.add(span, format!("`{}` names no schema", **table), "expected \"schema.name\"");
        return;
    };
    if schema.contains('$') {
        problems.add(
            span,
            "the schema of `table` is not literal",
            "expected a fixed schema, and ${...} only in the name",
        );
        problems.help("topics and records are input: they may choose a table, never a schema");
        return;
    }
    check_identifier(schema, table, problems);
    if schema == OWN_SCHEMA {
        problems.add(
            span.clone(),
            format!("schema `{OWN_SCHEMA}` holds the bookkeeping"),
            "expected another schema",
        );
    }
    let Some((literals, groups)) = split_template(name) else {
        problems.add(
            span,
            "`$` stands alone in `table`",
            "expected ${group} with the name of a group in `topics`, or ${source.table}",
        );
        return;
    };
    if groups.is_empty()
        || literals
            .iter()
            .any(|literal| literal.len() > LONGEST_IDENTIFIER || literal.contains('.'))
    {
        check_identifier(&literals.join(""), table, problems);
    }
    let Some(pattern) = pattern else { return };
    let known: Vec<&str> = pattern.capture_names().flatten().collect();
    for group in groups {
        if known.contains(&group)
            || group.parse::<usize>().is_ok_and(|n| n > 0 && n < pattern.captures_len())
            || Told::of(group).is_some()
        {
            continue;
        }
        if group.starts_with("source") {
            let told = Told::ALL.map(Told::name);
            problems.add(
                span.clone(),
                format!("a record's source tells no `{group}`"),
                format!("expected one of {}", told.join(", ")),
            );
            if let Some(nearest) = nearest(group, told) {
                problems.help(format!("did you mean ${{{nearest}}}?"));
            }
            continue;
        }
        let expected = match known.as_slice() {
            [] => "`topics` has no named group; write one as (?<name>...)".to_owned(),
            known => format!("groups of `topics`: {}", known.join(", ")),
        };
        problems.add(span.clone(), format!("unknown group `{group}`"), expected);
        if let Some(nearest) = nearest(group, known.iter().copied()) {
            problems.help(format!("did you mean ${{{nearest}}}?"));
        }
    }
}

/// The literal parts and the groups of a name; `None` where a `$` starts no `${group}`.
fn split_template(name: &str) -> Option<(Vec<&str>, Vec<&str>)> {
    let mut parts = name.split("${");
    let mut literals = vec![parts.next()?];
    let mut groups = Vec::new();
    for part in parts {
        let (group, literal) = part.split_once('}')?;
        groups.push(group);
        literals.push(literal);
    }
    (!literals.iter().any(|literal| literal.contains('$'))).then_some((literals, groups))
}

fn check_identifier(name: &str, place: &Located<String>, problems: &mut Problems) {
    if !is_identifier(name) {
        problems.add(
            place.span(),
            format!("`{}` is not the name of a table", **place),
            format!("expected \"schema.name\", each part of 1 to {LONGEST_IDENTIFIER} bytes, unquoted, without dots"),
        );
    }
}

/// Checks the overrides; each must belong to a table that some route leads to.
pub fn check_tables(
    raw: Option<&BTreeMap<Located<String>, RawTable>>,
    defaults: &Table,
    routes: &[Route],
    problems: &mut Problems,
) -> BTreeMap<TableName, Table> {
    let mut tables = BTreeMap::new();
    for (name, raw) in raw.into_iter().flatten() {
        let Some((schema, table)) =
            name.split_once('.').filter(|(schema, table)| !schema.is_empty() && !table.is_empty())
        else {
            problems.add(
                name.span(),
                format!("`{}` names no schema", **name),
                "expected [table.\"schema.name\"], in quotes",
            );
            continue;
        };
        if !routes.iter().any(|route| may_lead_to(route, name)) {
            problems.add(
                name.span(),
                format!("no route leads to `{}`", **name),
                "expected the table of a [[route]]",
            );
            let known = routes
                .iter()
                .map(|route| route.table.as_str())
                .filter(|table| !table.contains("${"));
            if let Some(nearest) = nearest(name, known) {
                problems.help(format!("did you mean \"{nearest}\"?"));
            }
        }
        check_shared(name, raw, routes, problems);
        tables.insert(TableName::new(schema, table), check_table(name, raw, defaults, problems));
    }
    tables
}

/// What belongs to a lane cannot be set for one of the tables that its records name.
fn check_shared(name: &str, raw: &RawTable, routes: &[Route], problems: &mut Problems) {
    let mut leading = routes.iter().filter(|route| may_lead_to(route, name)).peekable();
    let names_tables = |route: &Route| {
        split_template(&route.table)
            .is_some_and(|(_, groups)| groups.into_iter().any(|group| Told::of(group).is_some()))
    };
    if leading.peek().is_none() || !leading.all(names_tables) {
        return;
    }
    let keys = [("batch_rows", &raw.batch_rows), ("writers", &raw.writers)];
    for (key, value) in keys.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        problems.add(
            value.span(),
            format!("`{key}` cannot be set for a table that records name"),
            "expected it in [defaults]: all tables of the topic are written together",
        );
    }
}

/// Whether a route's table can be this one. Routes with mistakes may lead anywhere.
fn may_lead_to(route: &Route, table: &str) -> bool {
    let Some((literals, _)) = split_template(&route.table) else { return true };
    let escaped: Vec<String> = literals.into_iter().map(regex::escape).collect();
    route.table.is_empty()
        || Regex::new(&format!(r"\A{}\z", escaped.join(".*")))
            .is_ok_and(|pattern| pattern.is_match(table))
}

fn check_table(name: &str, raw: &RawTable, defaults: &Table, problems: &mut Problems) -> Table {
    let shared = RawDefaults {
        decimal_handling_mode: raw.decimal_handling_mode,
        time_precision_mode: raw.time_precision_mode,
        binary_handling_mode: raw.binary_handling_mode,
        bigint_unsigned_handling_mode: raw.bigint_unsigned_handling_mode,
        unavailable_value_placeholder: raw.unavailable_value_placeholder.clone(),
        nul_replacement: raw.nul_replacement.clone(),
        batch_rows: raw.batch_rows.clone(),
        writers: raw.writers.clone(),
    };
    let mut table = check_defaults(&shared, defaults, problems);
    if let Some(key) = &raw.key {
        let unique: std::collections::BTreeSet<&String> = key.iter().collect();
        if key.is_empty() || unique.len() != key.len() || key.iter().any(String::is_empty) {
            problems.add(
                key.span(),
                "`key` is not a list of columns",
                "expected at least one column, each once",
            );
        }
        table.key = Some(key.to_vec());
    }
    table.append = raw.append.as_ref().is_some_and(|append| **append);
    if let (Some(append), Some(_), true) = (&raw.append, &raw.key, table.append) {
        problems.add(
            append.span(),
            "an append table has a `key`",
            "expected one of the two: its rows are keyed by their place in Kafka",
        );
    }
    for (column, settings) in raw.columns.iter().flatten() {
        match &settings.r#type {
            Some(ty) if is_type(ty) => {
                table.column_types.insert(column.to_string(), ty.to_string());
            }
            Some(ty) => problems.add(
                ty.span(),
                "not a PostgreSQL type",
                "expected a type's name, such as \"numeric(10,2)\" or \"text[]\"",
            ),
            None if problems.is_settled(&format!("table.{name}.columns.{}.type", **column)) => {}
            None => problems.add(
                column.span(),
                format!("column `{}` has no settings", **column),
                "expected `type = \"...\"`",
            ),
        }
    }
    table
}

/// Letters, digits and what types are written with; the text becomes part of DDL.
fn is_type(text: &str) -> bool {
    let allowed = |c: char| {
        c.is_alphanumeric() || matches!(c, '_' | ' ' | '(' | ')' | ',' | '.' | '[' | ']' | '"')
    };
    text.starts_with(|c: char| c.is_alphabetic() || c == '"') && text.chars().all(allowed)
}
