//! What is known about librdkafka properties: which are ours, which are Java's, and which hold secrets.

/// Properties that the worker sets itself, with the reason why nobody else may.
const DENIED: &[(&str, &str)] = &[
    ("enable.auto.commit", "offsets are committed by hand after the destination's transaction"),
    (
        "enable.auto.offset.store",
        "offsets are committed by hand after the destination's transaction",
    ),
    (
        "auto.commit.interval.ms",
        "offsets are committed by hand after the destination's transaction",
    ),
    (
        "auto.offset.reset",
        "a silent reset would skip or repeat records; a lost position stops the lane instead",
    ),
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
    (
        "request.required.acks",
        "a dead letter must be acknowledged by all replicas before the position moves",
    ),
    ("transactional.id", "dead letters are not produced in Kafka transactions"),
];

/// Names of the Java client that librdkafka does not know, with what to write instead.
const JAVA_ONLY: &[(&str, &str)] = &[
    ("sasl.jaas.config", "use \"sasl.username\" and \"sasl.password\""),
    (
        "sasl.client.callback.handler.class",
        "use \"sasl.oauthbearer.method\" = \"oidc\" and its \"sasl.oauthbearer.*\" properties",
    ),
    (
        "sasl.login.callback.handler.class",
        "use \"sasl.oauthbearer.method\" = \"oidc\" and its \"sasl.oauthbearer.*\" properties",
    ),
    ("ssl.truststore.location", "use \"ssl.ca.location\" with a PEM file"),
    ("ssl.truststore.certificates", "use \"ssl.ca.pem\""),
    (
        "ssl.truststore.password",
        "leave it out: \"ssl.ca.location\" takes a PEM file without password",
    ),
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
    ["pas", "secr", "key.pem", "keystore", "token", "jaas", "oauthbearer.config", "proxy"]
        .iter()
        .any(|part| name.contains(part))
}

/// Whether problems hide the value at this dotted path of the file: secrets, what may hold one by mistake (a password in
/// the registry's URL), and every librdkafka property, since a misspelt name would not be known as a secret's.
pub fn is_secret_path(path: &str) -> bool {
    path.starts_with("kafka.properties.")
        || matches!(path.rsplit('.').next(), Some("url" | "password"))
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
        for name in [
            "sasl.password",
            "sasl.pasword",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
        ] {
            assert!(is_secret_property(name), "{name}");
        }
        for name in ["sasl.username", "security.protocol", "ssl.ca.location", "session.timeout.ms"]
        {
            assert!(!is_secret_property(name), "{name}");
        }
        for path in ["postgres.url", "registry.password", "kafka.properties.sasl.pasword", "url"] {
            assert!(is_secret_path(path), "{path}");
        }
        assert!(!is_secret_path("name") && !is_secret_path("dlq.topic"));
    }
}
