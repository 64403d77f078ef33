//! Moves a group's offsets as stock tools do: without our marker, so that the next claim takes it for a request.

use super::client::{self, Context};
use super::error::{classify, from_error};
use super::event::TopicPartition;
use super::native;
use crate::config;
use crate::fault::Fault;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

/// Commits these next offsets for the group, with empty metadata, as `kafka-consumer-groups --reset-offsets` does. The
/// group must have no members, as for that tool: a member's next commit would overwrite the request. Blocks.
///
/// A worker honours an offset that was moved back (a replay) and stops at one that was moved forward (I6).
///
/// # Errors
/// Fatal `configuration` when librdkafka refuses a property; transient when the coordinator does not answer; else what
/// the broker said about the group or the first refused partition.
pub fn move_group(kafka: &config::Kafka, offsets: &[(TopicPartition, i64)]) -> Result<(), Fault> {
    let attempt = format!("move the offsets of group {}", kafka.group_id);
    if offsets.is_empty() {
        return Ok(());
    }
    let fixed = [("group.id", kafka.group_id.as_str()), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer<Context> = client::properties(kafka, "silversink-offsets", &[], &fixed)?
        .create_with_context(Context::default())
        .map_err(|e| from_error(&e, &attempt))?;
    let mut list = TopicPartitionList::new();
    for (at, offset) in offsets {
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(*offset))
            .map_err(|e| from_error(&e, &format!("{attempt} of {at} to {offset}")))?;
    }
    // Without a subscription this is the commit of a client outside of the group.
    consumer.commit(&list, CommitMode::Sync).map_err(|e| from_error(&e, &attempt))?;
    // A partition that was refused is told in the list alone.
    match native::entries(&list).into_iter().find_map(|entry| Some((entry.error?, entry.at))) {
        Some((code, at)) => Err(classify(code, &format!("{attempt} of {at}"))),
        None => Ok(()),
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
        let offsets: Vec<Option<i64>> = found.iter().map(|o| o.as_ref().map(|o| o.offset)).collect();
        assert_eq!(offsets, [Some(3), None, Some(9)]);
        assert!(found.iter().flatten().all(|offset| !is_ours(&offset.metadata)));
    }

    #[test]
    fn nothing_to_move_asks_nobody() {
        assert!(move_group(&kafka("127.0.0.1:1", "g"), &[]).is_ok());
    }
}
