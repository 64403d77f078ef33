//! The effective configuration as a file again, without secrets: [`Config`] -> [`RawConfig`].

use super::located::Located;
use super::properties::is_secret_property;
use super::quantity::{DurationText, Size};
use super::raw::{
    RawColumn, RawConfig, RawDefaults, RawDlq, RawGuard, RawHttp, RawKafka, RawLimits, RawLog,
    RawPostgres, RawRegistry, RawRoute, RawSchema, RawTable, Scalar,
};
use super::{Config, Kafka, RegistryApi, Table};
use secrecy::ExposeSecret;
use std::path::Path;

/// Stands for every secret.
pub const HIDDEN: &str = "***";

/// Every key with the value that the worker will use; secrets are [`HIDDEN`].
#[must_use]
pub fn effective(config: &Config) -> RawConfig {
    RawConfig {
        name: text(&config.name),
        shutdown_timeout: Some(Located::nowhere(DurationText::of(config.shutdown_timeout))),
        adopt_kafka_offsets: Some(config.adopt_kafka_offsets),
        kafka: Some(Located::nowhere(kafka(&config.kafka))),
        registry: config.registry.as_ref().map(|registry| {
            Located::nowhere(RawRegistry {
                url: text(&registry.url),
                user: registry.user.as_deref().and_then(text),
                password: registry.password.as_ref().and_then(|_| text(HIDDEN)),
                ca: registry.ca.as_deref().and_then(path),
                api: Some(registry.api),
                use_id: (registry.api == RegistryApi::Apicurio)
                    .then(|| Located::nowhere(registry.use_id)),
                id_bytes: registry.wide_ids.then(|| Located::nowhere(8)),
                cache_dir: registry.cache_dir.as_deref().and_then(path),
            })
        }),
        postgres: Some(Located::nowhere(RawPostgres {
            url: text(HIDDEN),
            ca: config.postgres.ca.as_deref().and_then(path),
            statement_timeout: Some(Located::nowhere(DurationText::of(
                config.postgres.statement_timeout,
            ))),
            lock_timeout: Some(Located::nowhere(DurationText::of(config.postgres.lock_timeout))),
            connect_timeout: Some(Located::nowhere(DurationText::of(
                config.postgres.connect_timeout,
            ))),
        })),
        dlq: config.dlq.as_ref().map(|dlq| {
            Located::nowhere(RawDlq {
                topic: text(&dlq.topic),
                max_per_minute: Some(Located::nowhere(i64::from(dlq.max_per_minute))),
            })
        }),
        route: Some(
            config
                .routes
                .iter()
                .map(|route| {
                    Located::nowhere(RawRoute {
                        topics: text(&route.topics),
                        table: text(&route.table),
                        format: Some(route.format),
                        merge_sources: Some(route.merge_sources),
                        position: Some(route.position),
                    })
                })
                .collect(),
        ),
        defaults: Some(Located::nowhere(defaults(&config.defaults))),
        table: (!config.tables.is_empty()).then(|| {
            config
                .tables
                .iter()
                .map(|(name, settings)| (Located::nowhere(name.to_string()), table(settings)))
                .collect()
        }),
        schema: Some(RawSchema {
            changes: Some(config.schema.changes),
            narrowing: Some(config.schema.narrowing),
            prefix: text(
                config.schema.bookkeeping.version.strip_suffix("version").unwrap_or_default(),
            ),
        }),
        guard: Some(RawGuard {
            epoch_header: config.guard.epoch_header.as_deref().and_then(text),
            tripwire: Some(config.guard.tripwire),
        }),
        limits: Some(RawLimits {
            batch_rows: number(config.limits.batch_rows),
            batch_bytes: Some(Located::nowhere(Size::of(config.limits.batch_bytes))),
            memory_bytes: Some(Located::nowhere(Size::of(config.limits.memory_bytes))),
            record_bytes: Some(Located::nowhere(Size::of(config.limits.record_bytes))),
            writers: number(config.limits.writers),
            recheck: Some(Located::nowhere(DurationText::of(config.limits.recheck))),
        }),
        http: Some(RawHttp {
            listen: text(&config.http.map_or_else(String::new, |address| address.to_string())),
            enabled: Some(config.http.is_some()),
            allow_remote: Some(config.http.is_some_and(|address| !address.ip().is_loopback())),
        }),
        log: Some(RawLog { format: config.log.format, level: text(&config.log.level) }),
    }
}

fn kafka(kafka: &Kafka) -> RawKafka {
    let properties = kafka.properties.iter().map(|(name, value)| {
        let shown = if is_secret_property(name) { HIDDEN } else { value.expose_secret() };
        (Located::nowhere(name.clone()), Located::nowhere(Scalar::Text(shown.to_owned())))
    });
    RawKafka {
        bootstrap_servers: text(&kafka.bootstrap_servers),
        group_id: text(&kafka.group_id),
        instance_id: kafka.instance_id.as_deref().and_then(text),
        properties: (!kafka.properties.is_empty()).then(|| properties.collect()),
    }
}

fn defaults(table: &Table) -> RawDefaults {
    RawDefaults {
        decimal_handling_mode: Some(table.decimal_handling_mode),
        time_precision_mode: Some(table.time_precision_mode),
        binary_handling_mode: Some(table.binary_handling_mode),
        bigint_unsigned_handling_mode: Some(table.bigint_unsigned_handling_mode),
        unavailable_value_placeholder: text(&table.unavailable_value_placeholder),
        nul_replacement: table.nul_replacement.as_deref().and_then(text),
        batch_rows: table.batch_rows.and_then(number),
        writers: number(table.writers),
    }
}

fn table(settings: &Table) -> RawTable {
    let shared = defaults(settings);
    let columns = settings
        .column_types
        .iter()
        .map(|(name, ty)| (Located::nowhere(name.clone()), RawColumn { r#type: text(ty) }));
    RawTable {
        decimal_handling_mode: shared.decimal_handling_mode,
        time_precision_mode: shared.time_precision_mode,
        binary_handling_mode: shared.binary_handling_mode,
        bigint_unsigned_handling_mode: shared.bigint_unsigned_handling_mode,
        unavailable_value_placeholder: shared.unavailable_value_placeholder,
        nul_replacement: shared.nul_replacement,
        batch_rows: shared.batch_rows,
        writers: shared.writers,
        key: settings.key.clone().map(Located::nowhere),
        append: settings.append.then(|| Located::nowhere(true)),
        columns: (!settings.column_types.is_empty()).then(|| columns.collect()),
    }
}

fn text(text: &str) -> Option<Located<String>> {
    Some(Located::nowhere(text.to_owned()))
}

fn path(path: &Path) -> Option<Located<String>> {
    text(&path.display().to_string())
}

fn number(number: usize) -> Option<Located<i64>> {
    i64::try_from(number).ok().map(Located::nowhere)
}
