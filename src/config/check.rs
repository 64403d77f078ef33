//! Values and relations of a well-formed file: turns [`RawConfig`] into [`Config`].
//!
//! A bad value becomes a problem and is replaced by a harmless one, so that the check always runs to its end; the
//! result counts only when there was no problem.

use super::check_connections::{check_dlq, check_kafka, check_postgres, check_registry};
use super::check_routes::{check_routes, check_tables};
use super::diagnostic::Problems;
use super::located::Located;
use super::quantity::{DURATION_EXPECTED, DurationText, SIZE_EXPECTED, Size};
use super::raw::{RawConfig, RawDefaults, RawGuard, RawHttp, RawLimits, RawLog, RawSchema};
use super::structure::nearest;
use super::{Config, Format, Guard, Limits, Log, Schema, Table};
use crate::table::Bookkeeping;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

/// Where /metrics listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Above this a batch would hold its locks for many seconds.
const MOST_BATCH_ROWS: i64 = 1_000_000;
/// PostgreSQL's default `max_connections` is 100; a worker should leave most of them to others.
const MOST_WRITERS: i64 = 64;
/// Statement and lock timeouts are an `integer` of milliseconds in PostgreSQL.
const LONGEST: Duration = Duration::from_millis(2_147_483_647);
/// PostgreSQL cuts identifiers at 63 bytes; the longest bookkeeping name behind the prefix is `deleted_at`.
const LONGEST_PREFIX: usize = 63 - "deleted_at".len();

/// Checks every value; `None` only where there is a problem.
pub fn check(raw: &RawConfig, problems: &mut Problems) -> Option<Config> {
    let name = check_name(raw, problems);
    let routes = check_routes(raw.route.as_deref().unwrap_or_default(), problems);
    if raw.route.as_ref().is_none_or(Vec::is_empty) && !problems.is_settled("route") {
        problems.add(
            0..0,
            "no [[route]]",
            "expected at least one [[route]] with `topics` and `table`",
        );
    }
    let limits = check_limits(raw.limits.as_ref(), problems);
    let defaults = check_defaults(
        raw.defaults.as_deref().unwrap_or(&RawDefaults::default()),
        &Table::default(),
        problems,
    );
    let config = Config {
        kafka: check_kafka(raw.kafka.as_ref(), &name, problems),
        registry: raw.registry.as_ref().map(|registry| check_registry(registry, problems)),
        postgres: check_postgres(raw.postgres.as_ref(), problems),
        dlq: raw.dlq.as_ref().map(|dlq| check_dlq(dlq, &routes, problems)),
        tables: check_tables(raw.table.as_ref(), &defaults, &routes, problems),
        schema: check_schema(raw.schema.as_ref(), problems),
        guard: check_guard(raw.guard.as_ref(), problems),
        http: check_http(raw.http.as_ref(), problems),
        shutdown_timeout: duration(raw.shutdown_timeout.as_ref(), 30, problems),
        adopt_kafka_offsets: raw.adopt_kafka_offsets.unwrap_or(false),
        log: check_log(raw.log.as_ref(), problems),
        name,
        routes,
        defaults,
        limits,
    };
    check_table_writers(raw, config.limits.writers, problems);
    if config.registry.is_none()
        && !problems.is_settled("registry")
        && let Some((route, _)) = raw
            .route
            .iter()
            .flatten()
            .zip(&config.routes)
            .find(|(_, route)| route.format == Format::Avro)
    {
        problems.add(
            route.span(),
            "a route reads Avro, but there is no [registry]",
            "needs a schema registry",
        );
        problems.help("add [registry] with `url`");
    }
    problems.is_empty().then_some(config)
}

/// A table cannot have more writers than there are.
fn check_table_writers(raw: &RawConfig, all: usize, problems: &mut Problems) {
    let defaults = raw.defaults.iter().filter_map(|defaults| defaults.writers.as_ref());
    let tables = raw.table.iter().flatten().filter_map(|(_, table)| table.writers.as_ref());
    for writers in defaults.chain(tables) {
        if usize::try_from(**writers).is_ok_and(|wanted| wanted > all) {
            problems.add(
                writers.span(),
                format!("a table cannot have more writers than `limits.writers` ({all})"),
                format!("expected at most {all}"),
            );
            problems
                .help("raise `writers` in [limits], which counts the connections of all tables");
        }
    }
}

fn check_name(raw: &RawConfig, problems: &mut Problems) -> String {
    let name = required(raw.name.as_ref(), "name", 0..0, problems);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(located) = &raw.name
        && !name.is_empty()
        && (name.len() > 100 || !name.chars().all(plain))
    {
        problems.add(
            located.span(),
            "`name` cannot be used",
            "expected up to 100 letters, digits, `-`, `_` or `.`",
        );
    }
    name
}

/// Checks the settings that `[defaults]` and `[table]` share.
pub fn check_defaults(raw: &RawDefaults, base: &Table, problems: &mut Problems) -> Table {
    let placeholder = raw.unavailable_value_placeholder.as_ref();
    if let Some(empty) = placeholder.filter(|text| text.is_empty()) {
        problems.add(
            empty.span(),
            "the placeholder is empty",
            "expected the connector's unavailable.value.placeholder",
        );
        problems.help("an empty one would make every empty string an unchanged column");
    }
    let nul_replacement = raw.nul_replacement.as_ref();
    if let Some(text) = nul_replacement.filter(|text| text.contains('\0')) {
        problems.add(text.span(), "U+0000 cannot replace itself", "expected any other text");
    }
    Table {
        decimal_handling_mode: raw.decimal_handling_mode.unwrap_or(base.decimal_handling_mode),
        time_precision_mode: raw.time_precision_mode.unwrap_or(base.time_precision_mode),
        binary_handling_mode: raw.binary_handling_mode.unwrap_or(base.binary_handling_mode),
        bigint_unsigned_handling_mode: raw
            .bigint_unsigned_handling_mode
            .unwrap_or(base.bigint_unsigned_handling_mode),
        unavailable_value_placeholder: placeholder
            .map_or_else(|| base.unavailable_value_placeholder.clone(), |text| text.to_string()),
        nul_replacement: nul_replacement
            .map_or_else(|| base.nul_replacement.clone(), |text| Some(text.to_string())),
        batch_rows: match &raw.batch_rows {
            Some(rows) => Some(count(Some(rows), 1, MOST_BATCH_ROWS, problems)),
            None => base.batch_rows,
        },
        writers: count(raw.writers.as_ref(), base.writers, MOST_WRITERS, problems),
        column_types: BTreeMap::new(),
        key: None,
        append: false,
    }
}

fn check_schema(raw: Option<&RawSchema>, problems: &mut Problems) -> Schema {
    let Some(raw) = raw else { return Schema::default() };
    let prefix = raw.prefix.as_ref().map_or("_", |prefix| prefix.as_str());
    if let Some(located) = &raw.prefix
        && (prefix.is_empty()
            || prefix.len() > LONGEST_PREFIX
            || !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    {
        problems.add(
            located.span(),
            "the prefix cannot be used",
            format!("expected 1 to {LONGEST_PREFIX} letters, digits or underscores"),
        );
    }
    Schema {
        changes: raw.changes.unwrap_or_default(),
        narrowing: raw.narrowing.unwrap_or_default(),
        bookkeeping: Bookkeeping::with_prefix(prefix),
    }
}

fn check_guard(raw: Option<&RawGuard>, problems: &mut Problems) -> Guard {
    let Some(raw) = raw else { return Guard::default() };
    if let Some(empty) = raw.epoch_header.as_ref().filter(|name| name.is_empty()) {
        problems.add(
            empty.span(),
            "the header has no name",
            "expected the name of a record header",
        );
        problems.help("leave `epoch_header` out to let the data tell the epoch");
    }
    Guard {
        epoch_header: raw.epoch_header.as_ref().map(|name| name.to_string()),
        tripwire: raw.tripwire.unwrap_or_default(),
    }
}

fn check_limits(raw: Option<&RawLimits>, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let Some(raw) = raw else { return default };
    let limits = Limits {
        batch_rows: count(raw.batch_rows.as_ref(), default.batch_rows, MOST_BATCH_ROWS, problems),
        batch_bytes: size(raw.batch_bytes.as_ref(), default.batch_bytes, problems),
        memory_bytes: size(raw.memory_bytes.as_ref(), default.memory_bytes, problems),
        record_bytes: size(raw.record_bytes.as_ref(), default.record_bytes, problems),
        writers: count(raw.writers.as_ref(), default.writers, MOST_WRITERS, problems),
        recheck: duration(raw.recheck.as_ref(), default.recheck.as_secs(), problems),
    };
    for (name, located, bytes) in [
        ("batch_bytes", &raw.batch_bytes, limits.batch_bytes),
        ("record_bytes", &raw.record_bytes, limits.record_bytes),
    ] {
        let place = located.as_ref().or(raw.memory_bytes.as_ref());
        if let Some(place) = place
            && bytes > limits.memory_bytes
        {
            let memory = limits.memory_bytes;
            problems.add(
                place.span(),
                format!("`{name}` ({bytes} bytes) is above `memory_bytes`"),
                format!("expected at most `memory_bytes` ({memory} bytes)"),
            );
        }
    }
    limits
}

fn check_http(raw: Option<&RawHttp>, problems: &mut Problems) -> Option<SocketAddr> {
    let Some(raw) = raw else { return Some(DEFAULT_LISTEN) };
    if raw.enabled == Some(false) {
        return None;
    }
    let Some(listen) = &raw.listen else { return Some(DEFAULT_LISTEN) };
    if listen.is_empty() {
        return None;
    }
    let numeric = listen
        .strip_prefix("localhost:")
        .map_or_else(|| listen.to_string(), |port| format!("127.0.0.1:{port}"));
    let Ok(address) = numeric.parse::<SocketAddr>() else {
        problems.add(
            listen.span(),
            "`http.listen` is not an address",
            "expected IP:port, such as \"127.0.0.1:9464\"; \"\" switches it off",
        );
        return None;
    };
    if !address.ip().is_loopback() && raw.allow_remote != Some(true) {
        problems.add(
            listen.span(),
            "other machines could reach this address",
            "expected a loopback address",
        );
        problems.help(
            "the endpoints have no authentication; where the network is trusted, set `allow_remote = true` in [http]",
        );
    }
    Some(address)
}

fn check_log(raw: Option<&RawLog>, problems: &mut Problems) -> Log {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let level = raw.and_then(|raw| raw.level.as_ref());
    if let Some(located) = level {
        let bad = located
            .split(',')
            .map(|part| part.rsplit('=').next().unwrap_or(part).trim())
            .find(|level| !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)));
        if let Some(bad) = bad {
            let expected =
                format!("expected {}, or a list: \"info,silversink=debug\"", LEVELS.join(", "));
            problems.add(located.span(), format!("unknown log level `{bad}`"), expected);
            if let Some(nearest) = nearest(bad, LEVELS) {
                problems.help(format!("did you mean `{nearest}`?"));
            }
        }
    }
    Log {
        format: raw.and_then(|raw| raw.format),
        level: level.map_or_else(|| "info".to_owned(), |level| level.to_string()),
    }
}

/// The text of a key that must be there; its absence is reported at `section`, unless something was said about it.
pub fn required(
    value: Option<&Located<String>>,
    path: &str,
    section: Range<usize>,
    problems: &mut Problems,
) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    match value {
        Some(text) if text.trim().is_empty() => {
            problems.add(text.span(), format!("`{key}` is empty"), "expected a value");
            String::new()
        }
        Some(text) => text.to_string(),
        None => {
            if !problems.is_settled(path) {
                let place = path
                    .rsplit_once('.')
                    .map_or("at the top of the file".to_owned(), |(section, _)| {
                        format!("in [{section}]")
                    });
                problems.add(
                    section,
                    format!("missing key `{key}` {place}"),
                    format!("expected `{key} = \"...\"` {place}"),
                );
            }
            String::new()
        }
    }
}

/// An empty text means none, so that `${env:NAME:-}` can switch a key off.
pub fn optional(value: Option<&Located<String>>) -> Option<String> {
    value.filter(|text| !text.is_empty()).map(|text| text.to_string())
}

/// A duration above zero that PostgreSQL can take too.
pub fn duration(
    value: Option<&Located<DurationText>>,
    default_seconds: u64,
    problems: &mut Problems,
) -> Duration {
    let default = Duration::from_secs(default_seconds);
    let Some(value) = value else { return default };
    match value.parse() {
        Some(duration) if !duration.is_zero() && duration <= LONGEST => duration,
        _ => {
            problems.add(
                value.span(),
                "not a usable duration",
                format!("expected {DURATION_EXPECTED}, above zero and below 24 days"),
            );
            default
        }
    }
}

fn size(value: Option<&Located<Size>>, default: usize, problems: &mut Problems) -> usize {
    let Some(value) = value else { return default };
    match value.parse() {
        Some(bytes) if bytes >= 1024 => bytes,
        _ => {
            problems.add(
                value.span(),
                "not a usable byte count",
                format!("expected {SIZE_EXPECTED}, at least 1KiB"),
            );
            default
        }
    }
}

/// A number from 1 to `most`.
pub fn count<N: TryFrom<i64>>(
    value: Option<&Located<i64>>,
    default: N,
    most: i64,
    problems: &mut Problems,
) -> N {
    let Some(value) = value else { return default };
    match N::try_from(**value) {
        Ok(number) if (1..=most).contains(&**value) => number,
        _ => {
            problems.add(
                value.span(),
                "out of range",
                format!("expected a number from 1 to {most}"),
            );
            default
        }
    }
}
