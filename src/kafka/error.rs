//! librdkafka's codes mapped to classes and codes, once.

use crate::fault::{Class, Code, Fault};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Rd};

/// The fault that a librdkafka code means. `attempt` says what was attempted on what, e.g. `commit offsets of group x`.
///
/// A broker that is down is transient: librdkafka reconnects by itself.
#[must_use]
pub fn classify(code: Rd, attempt: &str) -> Fault {
    let text = format!("could not {attempt}: {code}");
    match code {
        Rd::AutoOffsetReset | Rd::OffsetOutOfRange => Fault::blocked(
            Code::RetentionGap,
            text,
            "records may have been deleted before they were read: restart the worker, which then compares the stored \
             position with the log and says what is missing and what to do",
        ),
        Rd::LogTruncation => Fault::blocked(
            Code::Truncated,
            text,
            "the broker lost records after they were read (unclean leader election): compare the source with Silver; \
             after a restart the worker goes on from its stored position",
        ),
        // The broker refuses this member's generation: a later commit under a live one covers the same offsets (G7).
        Rd::IllegalGeneration
        | Rd::UnknownMemberId
        | Rd::RebalanceInProgress
        | Rd::AssignmentLost => Fault::new(Class::Fenced, Code::Fenced, text),
        Rd::Authentication
        | Rd::SaslAuthenticationFailed
        | Rd::UnsupportedSASLMechanism
        | Rd::IllegalSASLState => Fault::new(Class::Fatal, Code::KafkaFatal, text)
            .with_hint("check security.protocol and the sasl.* properties in [kafka.properties]"),
        Rd::TopicAuthorizationFailed
        | Rd::GroupAuthorizationFailed
        | Rd::ClusterAuthorizationFailed => Fault::new(Class::Fatal, Code::KafkaFatal, text)
            .with_hint("grant Read and Describe on the topics and the group, and Write on the dead-letter topic"),
        Rd::FencedInstanceId => Fault::new(Class::Fatal, Code::KafkaFatal, text)
            .with_hint("another worker runs with the same [kafka] instance_id"),
        Rd::SSL => Fault::transient(Code::KafkaUnavailable, text)
            .with_hint("check security.protocol and the ssl.* properties in [kafka.properties]"),
        Rd::MessageSizeTooLarge => Fault::poison(Code::RecordTooLarge, text),
        // A batch that fails its checksum is never delivered and never skipped (check.crcs, L8).
        Rd::BadMessage | Rd::InvalidMessage => Fault::new(Class::Fatal, Code::KafkaFatal, text)
            .with_hint("a batch in the log is damaged: check the broker's disk"),
        Rd::Fatal
        | Rd::Fenced
        | Rd::InvalidArgument
        | Rd::InconsistentGroupProtocol
        | Rd::InvalidGroupId
        | Rd::InvalidSessionTimeout
        | Rd::UnknownProtocol
        | Rd::CriticalSystemResource
        | Rd::OutOfOrderSequenceNumber
        | Rd::ProducerFenced => Fault::new(Class::Fatal, Code::KafkaFatal, text),
        _ => Fault::transient(Code::KafkaUnavailable, text),
    }
}

/// The fault that an error of the wrapper means.
#[must_use]
pub fn from_error(error: &KafkaError, attempt: &str) -> Fault {
    match error {
        KafkaError::MessageConsumptionFatal(code) => {
            Fault::new(Class::Fatal, Code::KafkaFatal, format!("could not {attempt}: {code}"))
        }
        // The value may be a secret, so only the property's name is told.
        KafkaError::ClientConfig(_, _, property, _) => Fault::new(
            Class::Fatal,
            Code::Configuration,
            format!(
                "could not {attempt}: the Kafka client refuses the value of property {property:?} or does not know it"
            ),
        ),
        KafkaError::ClientCreation(why) => {
            Fault::new(Class::Fatal, Code::Configuration, format!("could not {attempt}: {why}"))
        }
        KafkaError::Canceled | KafkaError::NoMessageReceived => Fault::transient(
            Code::KafkaUnavailable,
            format!("could not {attempt}: the request was given up"),
        ),
        KafkaError::Subscription(why) | KafkaError::PauseResume(why) | KafkaError::Seek(why) => {
            Fault::new(Class::Fatal, Code::KafkaFatal, format!("could not {attempt}: {why}"))
        }
        // rdkafka's own accessor leaves this one out.
        KafkaError::AdminOp(code) => classify(*code, attempt),
        other => match other.rdkafka_error_code() {
            Some(code) => classify(code, attempt),
            None => Fault::new(
                Class::Fatal,
                Code::Internal,
                format!("could not {attempt}: unexpected client error"),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_down_is_transient() {
        for code in [
            Rd::AllBrokersDown,
            Rd::BrokerTransportFailure,
            Rd::OperationTimedOut,
            Rd::NotCoordinator,
        ] {
            let fault = classify(code, "fetch");
            assert_eq!(
                (fault.class, fault.code),
                (Class::Transient, Code::KafkaUnavailable),
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_commit_under_an_old_generation_is_fenced() {
        assert_eq!(classify(Rd::IllegalGeneration, "commit").class, Class::Fenced);
    }

    #[test]
    fn a_refused_login_is_fatal_and_a_missing_offset_blocks() {
        assert_eq!(classify(Rd::SaslAuthenticationFailed, "connect").class, Class::Fatal);
        let gap = classify(Rd::AutoOffsetReset, "fetch");
        assert_eq!((gap.class, gap.code), (Class::Blocked, Code::RetentionGap));
    }

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "bad".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        let fault = from_error(&error, "open the consumer");
        assert!(fault.text.contains("sasl.password") && !fault.text.contains("hunter2"));
    }
}
