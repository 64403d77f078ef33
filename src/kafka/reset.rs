//! Moves a group's offsets as stock tools do: without our marker, so that the next claim takes it for a request.

use super::client::{self, Context};
use super::error::{classify, from_error};
use super::event::TopicPartition;
use super::native;
use crate::config;
use crate::fault::{Code, Fault};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Time that joining the group and the commit may take each.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A membership lasts for one commit: nobody shall wait long for a member that is gone.
const SHORT: [(&str, &str); 2] = [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "200")];

/// Commits these next offsets for the group, with empty metadata, as `kafka-consumer-groups --reset-offsets` does. The
/// group must have no members, as for that tool: a member's next commit would overwrite the request. Blocks.
///
/// A worker honours an offset that was moved back (a replay) and stops at one that was moved forward (I6).
///
/// # Errors
/// Fatal `configuration` when librdkafka refuses a property; transient when the coordinator does not answer; else what
/// the broker said about the group or the first refused partition.
pub fn move_group(kafka: &config::Kafka, offsets: &[(TopicPartition, i64)]) -> Result<(), Fault> {
    if offsets.is_empty() {
        return Ok(());
    }
    let attempt = format!("move the offsets of group {}", kafka.group_id);
    let fixed = [("group.id", kafka.group_id.as_str()), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer<Context> =
        client::properties(kafka, "silversink-offsets", &SHORT, &fixed)?
            .create_with_context(Context::default())
            .map_err(|e| from_error(&e, &attempt))?;
    let mut list = TopicPartitionList::new();
    for (at, offset) in offsets {
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(*offset))
            .map_err(|e| from_error(&e, &format!("{attempt} of {at} to {offset}")))?;
    }
    // Without a subscription this is the commit of a client outside of the group.
    match commit(&consumer, &list, &attempt)? {
        Some((RDKafkaErrorCode::UnknownMemberId, _)) => {}
        refused => return verdict(refused, &attempt),
    }
    // Brokers refuse outsiders while the group has members, librdkafka's mock ever since it had one. As a member we may;
    // beside a worker we do not get in, because it speaks another protocol (`cooperative-sticky`) than we offer.
    let mut topics: Vec<&str> = offsets.iter().map(|(at, _)| &*at.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    consumer.subscribe(&topics).map_err(|e| from_error(&e, &attempt))?;
    let deadline = Instant::now() + PATIENCE;
    while consumer.assignment().map_err(|e| from_error(&e, &attempt))?.count() == 0 {
        if let Some(Err(error)) = consumer.poll(LOOK)
            && error.rdkafka_error_code() == Some(RDKafkaErrorCode::InconsistentGroupProtocol)
        {
            return Err(from_error(&error, &attempt));
        }
        if Instant::now() > deadline {
            return Err(Fault::transient(
                Code::KafkaUnavailable,
                format!("{attempt}: the group has members"),
            ));
        }
    }
    let refused = commit(&consumer, &list, &attempt)?;
    // Leaving is a request of its own: give it the time to go out.
    consumer.unsubscribe();
    while consumer.assignment().is_ok_and(|held| held.count() > 0) && Instant::now() < deadline {
        let _ = consumer.poll(LOOK);
    }
    verdict(refused, &attempt)
}

/// What was refused, and for which partition if for one.
type Refused = Option<(RDKafkaErrorCode, Option<TopicPartition>)>;

fn commit(
    consumer: &BaseConsumer<Context>,
    list: &TopicPartitionList,
    attempt: &str,
) -> Result<Refused, Fault> {
    let (error, entries) = native::commit(consumer.client().native_ptr(), list, PATIENCE)
        .ok_or_else(|| Fault::transient(Code::KafkaUnavailable, format!("{attempt}: no answer")))?;
    let entry = entries.into_iter().find_map(|entry| Some((entry.error?, Some(entry.at))));
    Ok(entry.or_else(|| Some((error?, None))))
}

fn verdict(refused: Refused, attempt: &str) -> Result<(), Fault> {
    match refused {
        None => Ok(()),
        Some((code, Some(at))) => Err(classify(code, &format!("{attempt} of {at}"))),
        Some((code, None)) => Err(classify(code, attempt)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::kafka;
    use super::*;
    use crate::kafka::facts::Facts;
    use crate::kafka::marker::is_ours;
    use crate::kafka::mock::MockBroker;

    #[test]
    fn a_moved_offset_is_there_without_our_marker_and_others_stay() {
        let broker = MockBroker::start(&[("t", 3)]).unwrap();
        let settings = kafka(broker.bootstrap(), "g");
        let at = |partition| TopicPartition::new("t", partition);
        move_group(&settings, &[(at(0), 7), (at(2), 9)]).unwrap();
        move_group(&settings, &[(at(0), 3)]).unwrap();
        let found = Facts::open(&settings).unwrap().group_offsets(&[at(0), at(1), at(2)]).unwrap();
        let offsets: Vec<Option<i64>> =
            found.iter().map(|o| o.as_ref().map(|o| o.offset)).collect();
        assert_eq!(offsets, [Some(3), None, Some(9)]);
        assert!(found.iter().flatten().all(|offset| !is_ours(&offset.metadata)));
    }

    #[test]
    fn nothing_to_move_asks_nobody() {
        assert!(move_group(&kafka("127.0.0.1:1", "g"), &[]).is_ok());
    }
}
