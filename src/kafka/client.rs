//! What every Kafka client of the worker shares: properties, and librdkafka's log lines and errors on their way to `tracing`.

use crate::config;
use crate::fault::{Class, Code, Fault};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use secrecy::ExposeSecret;
use std::sync::{Mutex, PoisonError};

/// Properties that correctness depends on: `[kafka.properties]` may not set them.
pub const RESERVED: &[&str] = &[
    "bootstrap.servers",
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "isolation.level",
    "partition.assignment.strategy",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "log.queue",
];

/// Properties for one client: `defaults`, the user's on top, `fixed` last.
pub(super) fn properties(
    kafka: &config::Kafka,
    client_id: &str,
    defaults: &[(&str, &str)],
    fixed: &[(&str, &str)],
) -> Result<ClientConfig, Fault> {
    if let Some(name) = kafka.properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
        return Err(Fault::new(
            Class::Fatal,
            Code::Configuration,
            format!(
                "property {name:?} in [kafka.properties] is set by the worker itself and cannot be changed"
            ),
        ));
    }
    let mut properties = ClientConfig::new();
    properties.set("bootstrap.servers", &kafka.bootstrap_servers);
    properties.set("client.id", client_id);
    for (name, value) in defaults {
        properties.set(*name, *value);
    }
    for (name, value) in &kafka.properties {
        properties.set(name, value.expose_secret());
    }
    for (name, value) in fixed {
        properties.set(*name, *value);
    }
    // Without this the level follows the `log` crate, which nothing here installs: everything would be dropped.
    properties.set_log_level(RDKafkaLogLevel::Info);
    Ok(properties)
}

/// One line of librdkafka's log. It calls a refused connection an error and then recovers by itself, so its errors are
/// warnings here; the faults that the worker acts on are logged by the worker.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    // The same properties go to consumers and producers; each complains about the other's.
    if facility == "CONFWARN" {
        tracing::debug!(target: "librdkafka", facility, "{line}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// Context of the clients that ask and produce: keeps the last error that explains why nothing answers.
#[derive(Default)]
pub(super) struct Context {
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Context {
    /// Takes the last error that the client reported by itself, with librdkafka's reason.
    pub(super) fn take_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
        if let Some(code) = error.rdkafka_error_code() {
            // "All brokers down" follows each real cause and would hide it.
            if code != RDKafkaErrorCode::AllBrokersDown {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((code, reason.to_owned()));
            }
        }
    }
}

// The consumer polls its queue itself, so rdkafka runs its callbacks only while it closes. Its default rebalance gives
// everything up then, which is what closing means.
impl ConsumerContext for Context {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use secrecy::SecretString;
    use std::collections::BTreeMap;

    /// A configuration as a test needs it.
    pub(crate) fn kafka(bootstrap: &str, group: &str) -> config::Kafka {
        config::Kafka {
            bootstrap_servers: bootstrap.to_owned(),
            group_id: group.to_owned(),
            instance_id: None,
            properties: BTreeMap::new(),
        }
    }

    #[test]
    fn a_reserved_property_is_refused_and_others_come_on_top() {
        let mut settings = kafka("localhost:1", "g");
        settings.properties.insert("fetch.max.bytes".into(), SecretString::from("77"));
        let built =
            properties(&settings, "c", &[("fetch.max.bytes", "1")], &[("acks", "all")]).unwrap();
        assert_eq!(built.get("fetch.max.bytes"), Some("77"));
        assert_eq!(built.get("acks"), Some("all"));
        settings.properties.insert("enable.auto.commit".into(), SecretString::from("true"));
        let fault = properties(&settings, "c", &[], &[]).unwrap_err();
        assert_eq!((fault.class, fault.code), (Class::Fatal, Code::Configuration));
    }
}
