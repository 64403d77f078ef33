//! What is known about librdkafka properties: which are ours, which are Java's, and which hold secrets.

/// Properties that the worker sets itself, with the reason why nobody else may.
const DENIED: &[(&str, &str)] = &[
    ("enable.auto.commit", "offsets are committed by hand after the destination's transaction"),
    ("enable.auto.offset.store", "offsets are committed by hand after the destination's transaction"),
    ("auto.commit.interval.ms", "offsets are committed by hand after the destination's transaction"),
    ("auto.offset.reset", "a silent reset would skip or repeat records; a lost position stops the lane instead"),
    ("enable.partition.eof", "the worker decides by offsets when a partition is caught up"),
    ("isolation.level", "records of aborted transactions must never reach a Silver table"),
    ("partition.assignment.strategy", "the worker's rebalance protocol is cooperative-sticky"),
    ("group.protocol", "only the classic group protocol is known to work with the worker's claims"),
    ("group.id", "it has a key of its own: `group_id` in [kafka]"),
    ("bootstrap.servers", "it has a key of its own: `bootstrap_servers` in [kafka]"),
    ("metadata.broker.list", "it has a key of its own: `bootstrap_servers` in [kafka]"),
    ("group.instance.id", "it has a key of its own: `instance_id` in [kafka]"),
    ("enable.idempotence", "dead letters must be produced exactly once per position"),
    ("acks", "a dead letter must be acknowledged by all replicas before the position moves"),
    ("request.required.acks", "a dead letter must be acknowledged by all replicas before the position moves"),
    ("transactional.id", "dead letters are not produced in Kafka transactions"),
];

/// Names of the Java client that librdkafka does not know, with what to write instead.
const JAVA_ONLY: &[(&str, &str)] = &[
    ("sasl.jaas.config", "use \"sasl.username\" and \"sasl.password\""),
    ("sasl.client.callback.handler.class", "use \"sasl.oauthbearer.method\" = \"oidc\" and its \"sasl.oauthbearer.*\" properties"),
    ("sasl.login.callback.handler.class", "use \"sasl.oauthbearer.method\" = \"oidc\" and its \"sasl.oauthbearer.*\" properties"),
    ("ssl.truststore.location", "use \"ssl.ca.location\" with a PEM file"),
    ("ssl.truststore.certificates", "use \"ssl.ca.pem\""),
    ("ssl.truststore.password", "leave it out: \"ssl.ca.location\" takes a PEM file without password"),
    ("ssl.truststore.type", "leave it out: \"ssl.ca.location\" takes a PEM file"),
    ("ssl.keystore.type", "leave it out: \"ssl.keystore.location\" takes a PKCS#12 file"),
    ("ssl.keystore.key", "use \"ssl.key.pem\""),
    ("ssl.keystore.certificate.chain", "use \"ssl.certificate.pem\""),
    ("key.deserializer", "leave it out: `format` of the [[route]] says how records are written"),
    ("value.deserializer", "leave it out: `format` of the [[route]] says how records are written"),
    ("key.converter", "leave it out: `format` of the [[route]] says how records are written"),
    ("value.converter", "leave it out: `format` of the [[route]] says how records are written"),
    ("max.poll.records", "use `batch_rows` in [limits]"),
    ("schema.registry.url", "use `url` in [registry]"),
    ("request.timeout.ms", "use \"socket.timeout.ms\""),
    ("receive.buffer.bytes", "use \"socket.receive.buffer.bytes\""),
    ("send.buffer.bytes", "use \"socket.send.buffer.bytes\""),
    ("buffer.memory", "use \"queue.buffering.max.kbytes\""),
];

/// Why a property may not be set, or `None` where it may. `isolation.level` may only say what the worker says too.
pub fn denied(name: &str, value: &str) -> Option<&'static str> {
    if name == "isolation.level" && value == "read_committed" {
        return None;
    }
    DENIED.iter().find(|(denied, _)| *denied == name).map(|(_, reason)| *reason)
}

/// What to write instead of a name that only the Java client knows.
pub fn java_only(name: &str) -> Option<&'static str> {
    JAVA_ONLY.iter().find(|(java, _)| *java == name).map(|(_, instead)| *instead)
}

/// Whether the value of a librdkafka property is kept out of sight. Errs on the side of hiding.
pub fn is_secret_property(name: &str) -> bool {
    ["password", "secret", "key.pem", "keystore", "token", "jaas", "oauthbearer.config", "proxy", "passphrase"]
        .iter()
        .any(|part| name.contains(part))
}

/// Whether the value at this dotted path of the file is kept out of sight. `registry.url` is none, but a password may
/// have been put into it by mistake.
pub fn is_secret_path(path: &str) -> bool {
    match path {
        "postgres.url" | "registry.password" | "registry.url" => true,
        _ => path.strip_prefix("kafka.properties.").is_some_and(is_secret_property) || {
            // A misspelt key must not show what the right one would hide.
            let key = path.rsplit('.').next().unwrap_or(path);
            ["pass", "secret", "token", "url", "uri", "dsn"].iter().any(|part| key.contains(part))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_break_the_promise_are_denied_with_a_reason() {
        assert!(denied("enable.auto.commit", "true").is_some());
        assert!(denied("isolation.level", "read_uncommitted").is_some());
        assert!(denied("isolation.level", "read_committed").is_none());
        assert!(denied("security.protocol", "SASL_SSL").is_none());
    }

    #[test]
    fn what_may_hold_a_secret_is_hidden() {
        for path in ["postgres.url", "registry.password", "kafka.properties.sasl.password", "postgres.urll"] {
            assert!(is_secret_path(path), "{path}");
        }
        for path in ["name", "kafka.properties.sasl.username", "dlq.topic"] {
            assert!(!is_secret_path(path), "{path}");
        }
    }
}
