//! Values of the sections that name other systems: `[kafka]`, `[registry]`, `[postgres]` and `[dlq]`.

use super::check::{count, duration, optional, required};
use super::diagnostic::Problems;
use super::located::Located;
use super::properties::{denied, java_only};
use super::raw::{RawDlq, RawKafka, RawPostgres, RawRegistry, Scalar};
use super::{Dlq, Kafka, Postgres, Registry, RegistryApi, Route};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[kafka]`; the group is the pipeline's name unless it is given.
pub fn check_kafka(raw: Option<&Located<RawKafka>>, name: &str, problems: &mut Problems) -> Kafka {
    let span = raw.map_or(0..0, Located::span);
    let empty = RawKafka::default();
    let raw = raw.map_or(&empty, |raw| raw);
    let bootstrap_servers =
        required(raw.bootstrap_servers.as_ref(), "kafka.bootstrap_servers", span, problems);
    if let Some(located) = raw.bootstrap_servers.as_ref().filter(|l| !l.is_empty())
        && let Some(bad) = bootstrap_servers.split(',').find(|server| !is_server(server.trim()))
    {
        problems.add(
            located.span(),
            format!("`{bad}` is not the address of a broker"),
            "expected host:port, several separated by commas",
        );
    }
    if let Some(group) = raw.group_id.as_ref().filter(|group| group.is_empty()) {
        problems.add(
            group.span(),
            "`group_id` is empty",
            "expected a consumer group, or no `group_id` at all for the pipeline's name",
        );
    }
    Kafka {
        bootstrap_servers,
        group_id: raw.group_id.as_ref().map_or_else(|| name.to_owned(), |group| group.to_string()),
        instance_id: optional(raw.instance_id.as_ref()),
        properties: check_properties(raw, problems),
    }
}

fn check_properties(raw: &RawKafka, problems: &mut Problems) -> BTreeMap<String, SecretString> {
    let mut properties = BTreeMap::new();
    for (name, value) in raw.properties.iter().flatten() {
        let value = match &**value {
            Scalar::Text(text) => text.clone(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Boolean(switch) => switch.to_string(),
        };
        if let Some(reason) = denied(name, &value) {
            problems.add(name.span(), format!("`{}` cannot be set", **name), reason);
        } else if let Some(instead) = java_only(name) {
            problems.add(
                name.span(),
                format!("`{}` is a name of the Java client; librdkafka does not know it", **name),
                instead,
            );
        }
        properties.insert(name.to_string(), SecretString::from(value));
    }
    properties
}

fn is_server(text: &str) -> bool {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    match text.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0),
        None => false,
    }
}

/// `[registry]`.
pub fn check_registry(raw: &Located<RawRegistry>, problems: &mut Problems) -> Registry {
    let url = required(raw.url.as_ref(), "registry.url", raw.span(), problems);
    if let Some(located) = raw.url.as_ref().filter(|url| !url.is_empty()) {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if host.is_empty() {
            problems.add(
                located.span(),
                "`registry.url` is not a URL",
                "expected http://host:port or https://host:port",
            );
        } else if host.contains('@') {
            problems.add(
                located.span(),
                "`registry.url` holds credentials",
                "expected a URL without user and password",
            );
            problems.help("put them into `user` and `password` of [registry]");
        }
    }
    if let (Some(password), None) = (&raw.password, &raw.user) {
        problems.add(password.span(), "a password without a user", "expected `user` beside it");
    }
    let api = raw.api.unwrap_or_default();
    let wide_ids = match raw.id_bytes.as_ref().map_or(4, |bytes| **bytes) {
        4 => false,
        8 => true,
        _ => {
            let span = raw.id_bytes.as_ref().map_or(0..0, Located::span);
            problems.add(span, "`id_bytes` is neither 4 nor 8", "expected 4 or 8");
            false
        }
    };
    let of_apicurio = [
        (raw.use_id.as_ref().map(Located::span), "use_id"),
        (raw.id_bytes.as_ref().map(Located::span).filter(|_| wide_ids), "id_bytes"),
    ];
    if api == RegistryApi::Confluent
        && let Some((span, key)) =
            of_apicurio.into_iter().find_map(|(span, key)| span.map(|span| (span, key)))
    {
        problems.add(
            span,
            format!("`{key}` without `api = \"apicurio\"`"),
            "ids of Confluent's protocol have one kind and four bytes",
        );
    }
    Registry {
        api,
        use_id: raw.use_id.as_ref().map(|id| **id).unwrap_or_default(),
        wide_ids,
        cache_dir: optional(raw.cache_dir.as_ref()).map(PathBuf::from),
        url: url.trim_end_matches('/').to_owned(),
        user: optional(raw.user.as_ref()),
        password: optional(raw.password.as_ref()).map(SecretString::from),
        ca: optional(raw.ca.as_ref()).map(PathBuf::from),
    }
}

/// `[postgres]`.
pub fn check_postgres(raw: Option<&Located<RawPostgres>>, problems: &mut Problems) -> Postgres {
    let span = raw.map_or(0..0, Located::span);
    let empty = RawPostgres::default();
    let raw = raw.map_or(&empty, |raw| raw);
    let url = required(raw.url.as_ref(), "postgres.url", span, problems);
    if let Some(located) = raw.url.as_ref().filter(|url| !url.is_empty())
        && !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
    {
        problems.add(
            located.span(),
            "`postgres.url` is not a connection URL",
            "expected postgresql://user:password@host:port/database",
        );
    }
    Postgres {
        url: SecretString::from(url),
        ca: optional(raw.ca.as_ref()).map(PathBuf::from),
        statement_timeout: duration(raw.statement_timeout.as_ref(), 300, problems),
        lock_timeout: duration(raw.lock_timeout.as_ref(), 10, problems),
        connect_timeout: duration(raw.connect_timeout.as_ref(), 10, problems),
    }
}

/// `[dlq]`, against the routes.
pub fn check_dlq(raw: &Located<RawDlq>, routes: &[Route], problems: &mut Problems) -> Dlq {
    let topic = required(raw.topic.as_ref(), "dlq.topic", raw.span(), problems);
    if let Some(located) = raw.topic.as_ref().filter(|topic| !topic.is_empty()) {
        if !is_topic(&topic) {
            problems.add(located.span(), "not a topic name", TOPIC_EXPECTED);
        } else if let Some(route) = routes.iter().find(|route| route.pattern.is_match(&topic)) {
            problems.add(
                located.span(),
                "the dead-letter topic is routed to a table",
                format!("matches the route of `{}`", route.topics),
            );
            problems.help(
                "dead letters would be read again as records: choose a name that no route matches",
            );
        }
    }
    Dlq {
        topic,
        max_per_minute: count(raw.max_per_minute.as_ref(), 100, i64::from(u32::MAX), problems),
    }
}

/// What a topic name looks like, for messages.
pub const TOPIC_EXPECTED: &str = "expected up to 249 letters, digits, `.`, `_` or `-`";

/// Kafka's rule for topic names.
pub fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use crate::config::load::parse;

    #[test]
    fn settings_of_apicurio_need_apicurio_and_have_two_widths() {
        let said = |lines: &str| {
            let text = format!(
                "name = \"x\"\nkafka.bootstrap_servers = \"a:1\"\npostgres.url = \"postgresql://x\"\n\
                 [[route]]\ntopics = \"a\"\ntable = \"s.t\"\n[registry]\nurl = \"http://x\"\n{lines}"
            );
            let report = parse(&text, "x.toml", &|_| None).err().map(|report| report.to_string());
            report.and_then(|report| report.lines().next().map(str::to_owned))
        };
        let error = |text: &str| Some(format!("error: {text}"));
        assert_eq!(said("id_bytes = 5\n"), error("`id_bytes` is neither 4 nor 8"));
        assert_eq!(said("id_bytes = 8\n"), error("`id_bytes` without `api = \"apicurio\"`"));
        assert_eq!(said("use_id = \"globalId\"\n"), error("`use_id` without `api = \"apicurio\"`"));
        assert_eq!(said("id_bytes = 4\n"), None);
        assert_eq!(said("api = \"apicurio\"\nid_bytes = 8\nuse_id = \"globalId\"\n"), None);
    }
}
