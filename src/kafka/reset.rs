//! Moves a group's offsets the way a person with Kafka's own tools does: a commit without our marker.

use super::consumer::{Consumer, Event, TopicPartition};
use crate::config;
use crate::fault::{Code, Fault};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(50);

/// Commits offset 0 with empty metadata for every partition of the topics. The group must have no other members. Blocks
/// for seconds at worst.
///
/// It joins the group to do so (a mock cluster lets it in `session.timeout.ms` less a second after the last member left)
/// and reads nothing: real brokers take the commit of a stranger while a group is empty
/// (which `kafka-consumer-groups --reset-offsets` relies on), librdkafka's mock cluster takes those of members only.
///
/// # Errors
/// Transient when the group does not give all partitions within half a minute or does not take the commit.
pub fn to_earliest(kafka: &config::Kafka, partitions: &[TopicPartition]) -> Result<(), Fault> {
    let consumer = Consumer::open(kafka, "silversink-reset")?;
    let topics: BTreeSet<String> = partitions.iter().map(|p| p.topic.to_string()).collect();
    consumer.subscribe(&topics.into_iter().collect::<Vec<_>>())?;
    let mut wanted: BTreeSet<&TopicPartition> = partitions.iter().collect();
    let deadline = Instant::now() + PATIENCE;
    while !wanted.is_empty() {
        match consumer.poll(TICK) {
            Event::Assigned(given) => {
                consumer.assign_paused(&given)?;
                wanted.retain(|partition| !given.contains(partition));
            }
            Event::Failed(fault) => return Err(fault),
            _ if Instant::now() > deadline => {
                let text =
                    format!("group {} did not give all partitions to one member", kafka.group_id);
                return Err(Fault::transient(Code::KafkaUnavailable, text));
            }
            _ => {}
        }
    }
    let offsets: Vec<(TopicPartition, i64, String)> =
        partitions.iter().map(|partition| (partition.clone(), 0, String::new())).collect();
    let outcome = consumer.commit_sync(&offsets, PATIENCE);
    consumer.close();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::client::tests::kafka;
    use crate::kafka::marker::marker;
    use crate::kafka::{Facts, GroupOffset, MockBroker};

    #[test]
    fn offsets_that_we_committed_are_moved_to_the_start_without_our_marker() {
        let broker = MockBroker::start(&[("a", 2), ("b", 1)]).unwrap();
        let mut settings = kafka(broker.bootstrap(), "g");
        // The mock lets nobody in for so long, less a second, after the last member left.
        settings.properties.insert("session.timeout.ms".into(), "2000".to_owned().into());
        settings.properties.insert("heartbeat.interval.ms".into(), "100".to_owned().into());
        let all = [("a", 0), ("a", 1), ("b", 0)].map(|(t, p)| TopicPartition::new(t, p));
        let member = Consumer::open(&settings, "worker").unwrap();
        member.subscribe(&["a".to_owned(), "b".to_owned()]).unwrap();
        let given = loop {
            if let Event::Assigned(given) = member.poll(TICK) {
                break given;
            }
        };
        member.assign_paused(&given).unwrap();
        member.start(&all.clone().map(|p| (p, 0))).unwrap();
        let ours: Vec<_> = all.iter().map(|p| (p.clone(), 7, marker(1, 7))).collect();
        member.commit_sync(&ours, PATIENCE).unwrap();
        member.close();

        to_earliest(&settings, &all).unwrap();

        let found = Facts::open(&settings).unwrap().group_offsets(&all).unwrap();
        let moved = GroupOffset { offset: 0, metadata: String::new() };
        assert_eq!(found, vec![Some(moved); 3]);
    }
}
