//! Where a claimed partition starts reading: the start rules, one total function of what the destination, Kafka and the log
//! say (I2, I12).

use crate::fault::{Class, Code, Fault};

/// What the destination stores for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Next offset to apply.
    pub next_offset: i64,
}

/// What the group committed in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// Next offset, as Kafka sees it.
    pub offset: i64,
    /// The commit carries our marker: we wrote it, nobody moved it since.
    pub ours: bool,
}

/// First and one-past-last offset of the partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Log start offset.
    pub start: i64,
    /// Log end offset (high watermark).
    pub end: i64,
}

/// Everything the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The destination's position.
    pub stored: Option<Stored>,
    /// A position of the same topic and partition under another topic id exists.
    pub other_incarnation: bool,
    /// Kafka's group offset.
    pub group: Option<GroupOffset>,
    /// The log.
    pub log: Log,
    /// Configuration: take over the offsets of a sink that kept them in Kafka only.
    pub adopt_kafka_offsets: bool,
}

/// Why a partition starts where it starts; recorded with the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No position anywhere: from the log start.
    Earliest,
    /// The destination's position.
    Position,
    /// The group offset of an earlier sink was adopted.
    Adopted,
    /// The group offset was moved back with a stock tool, and is honoured: the guard makes the replay harmless.
    ResetHonoured,
    /// The partition had been read past the beginning of a source epoch that another one has found since: it is read again
    /// from where its epoch before starts.
    ReadAgain,
    /// As `Position`, and Kafka was ahead: the destination lost its tail, which is now replayed.
    DestinationRewound,
}

impl Reason {
    /// The reason as it stands in logs and in `silversink.position`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Position => "position",
            Self::Adopted => "adopted",
            Self::ResetHonoured => "reset_honoured",
            Self::ReadAgain => "read_again",
            Self::DestinationRewound => "destination_rewound",
        }
    }
}

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// First offset to read.
    pub offset: i64,
    /// Why.
    pub reason: Reason,
}

/// Decides the start of one partition, or why it must not start.
///
/// # Errors
/// A blocked fault with a coded reason: retention gap, truncated log, changed incarnation, offsets in Kafka without a
/// position, group offset moved forward.
pub fn decide(facts: &Facts) -> Result<Start, Fault> {
    let Facts { stored, group, log, .. } = *facts;
    let Some(stored) = stored else {
        return decide_without_position(facts);
    };
    let d = stored.next_offset;
    if let Some(group) = group.filter(|g| !g.ours && g.offset != d) {
        if group.offset > d {
            return Err(stop(
                Code::ForwardResetRefused,
                format!(
                    "the group offset was moved forward from {d} to {}: {} records would be skipped",
                    group.offset,
                    group.offset - d
                ),
                "stop the workers, move it to the offset that silversink.position holds, or below, with kafka-consumer-groups --reset-offsets, and start them again",
            ));
        }
        // Moving back below the log start asks for what is gone: the tool would have clamped it.
        check_log(group.offset, log, GROUP_BELOW)?;
        return Ok(Start { offset: group.offset, reason: Reason::ResetHonoured });
    }
    check_log(d, log, POSITION_BELOW)?;
    let reason = match group {
        Some(group) if group.ours && group.offset > d => Reason::DestinationRewound,
        _ => Reason::Position,
    };
    Ok(Start { offset: d, reason })
}

fn decide_without_position(facts: &Facts) -> Result<Start, Fault> {
    if facts.other_incarnation {
        return Err(stop(
            Code::IncarnationChanged,
            "the topic was deleted and created again: its offsets start over",
            "compare the topic with the Silver table; then raise the source epoch (`silversink epoch raise --source NAME --topic TOPIC --reason topic_recreated --execute`: the new topic's records count as newer than the rows, from offset 0), and remove the old rows of this topic, those with the other topic_id, from silversink.position: the new topic is read from its start",
        ));
    }
    match facts.group {
        Some(group) if facts.adopt_kafka_offsets => {
            check_log(group.offset, facts.log, GROUP_BELOW)?;
            Ok(Start { offset: group.offset, reason: Reason::Adopted })
        }
        Some(group) if group.ours => Err(stop(
            Code::DestinationRewound,
            format!(
                "Kafka holds our commit at {} but the destination has no position: it was restored or emptied, or the pipeline has another name now",
                group.offset
            ),
            "to rebuild from earliest delete the group's offsets with kafka-consumer-groups --delete-offsets; to go on from Kafka's offset set adopt_kafka_offsets = true",
        )),
        Some(group) if group.offset > facts.log.start => Err(stop(
            Code::KafkaOffsetsWithoutPosition,
            format!(
                "the group has offset {} in Kafka, but the destination knows no position",
                group.offset
            ),
            "set adopt_kafka_offsets = true to take over from another sink, or delete the group's offsets to read from earliest",
        )),
        // A group offset at or before the log start asks for everything there is, which is what earliest means.
        Some(_) | None => Ok(Start { offset: facts.log.start, reason: Reason::Earliest }),
    }
}

/// What to do when the log no longer holds what a stored position asks for.
const POSITION_BELOW: &str = "the missing records cannot be read again: rebuild the table from a new snapshot; to accept the gap stop the worker and set next_offset to the log start in silversink.position";
/// The same for a group offset.
const GROUP_BELOW: &str = "the missing records cannot be read again: rebuild the table from a new snapshot; to accept the gap stop the workers and move the group offset to the log start with kafka-consumer-groups --reset-offsets --to-earliest";

fn check_log(position: i64, log: Log, below: &str) -> Result<(), Fault> {
    if position < log.start {
        return Err(stop(
            Code::RetentionGap,
            format!(
                "position {position} is below the log start {}: {} records are gone",
                log.start,
                log.start - position
            ),
            below,
        ));
    }
    if position > log.end {
        return Err(stop(
            Code::Truncated,
            format!("position {position} is beyond the log end {}: the log was truncated", log.end),
            "find out what the cluster lost; stop the workers and move the group offset back with kafka-consumer-groups to replay what is there",
        ));
    }
    Ok(())
}

fn stop(code: Code, text: impl Into<String>, hint: &str) -> Fault {
    Fault::new(Class::Blocked, code, text).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            stored: None,
            other_incarnation: false,
            group: None,
            log: Log { start: 10, end: 100 },
            adopt_kafka_offsets: false,
        }
    }

    fn ours(offset: i64) -> Option<GroupOffset> {
        Some(GroupOffset { offset, ours: true })
    }

    fn foreign(offset: i64) -> Option<GroupOffset> {
        Some(GroupOffset { offset, ours: false })
    }

    fn at(next_offset: i64) -> Option<Stored> {
        Some(Stored { next_offset })
    }

    #[test]
    fn each_situation_has_its_rule() {
        let start = |offset, reason| Ok(Start { offset, reason });
        let rows: Vec<(&str, Facts, Result<Start, Code>)> = vec![
            ("nothing anywhere", facts(), start(10, Reason::Earliest)),
            ("position only", Facts { stored: at(40), ..facts() }, start(40, Reason::Position)),
            ("at the end", Facts { stored: at(100), ..facts() }, start(100, Reason::Position)),
            ("gap", Facts { stored: at(9), ..facts() }, Err(Code::RetentionGap)),
            ("truncated", Facts { stored: at(101), ..facts() }, Err(Code::Truncated)),
            (
                "kafka behind, ours",
                Facts { stored: at(40), group: ours(30), ..facts() },
                start(40, Reason::Position),
            ),
            (
                "kafka ahead, ours",
                Facts { stored: at(40), group: ours(50), ..facts() },
                start(40, Reason::DestinationRewound),
            ),
            (
                "moved back",
                Facts { stored: at(40), group: foreign(10), ..facts() },
                start(10, Reason::ResetHonoured),
            ),
            (
                "moved back below start",
                Facts { stored: at(40), group: foreign(5), ..facts() },
                Err(Code::RetentionGap),
            ),
            (
                "moved forward",
                Facts { stored: at(40), group: foreign(60), ..facts() },
                Err(Code::ForwardResetRefused),
            ),
            (
                "same, foreign",
                Facts { stored: at(40), group: foreign(40), ..facts() },
                start(40, Reason::Position),
            ),
            (
                "accepted gap",
                Facts { stored: at(5), group: foreign(10), ..facts() },
                Err(Code::ForwardResetRefused),
            ),
            (
                "other incarnation",
                Facts { other_incarnation: true, ..facts() },
                Err(Code::IncarnationChanged),
            ),
            (
                "kafka only",
                Facts { group: foreign(40), ..facts() },
                Err(Code::KafkaOffsetsWithoutPosition),
            ),
            (
                "kafka only, at start",
                Facts { group: foreign(10), ..facts() },
                start(10, Reason::Earliest),
            ),
            (
                "kafka only, ours",
                Facts { group: ours(40), ..facts() },
                Err(Code::DestinationRewound),
            ),
            (
                "adopted",
                Facts { group: foreign(40), adopt_kafka_offsets: true, ..facts() },
                start(40, Reason::Adopted),
            ),
        ];

        for (name, facts, expected) in rows {
            assert_eq!(decide(&facts).map_err(|fault| fault.code), expected, "{name}");
        }
    }
}
