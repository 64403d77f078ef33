//! The Kafka adapter: consumer, facts about the cluster, dead-letter producer, loader and mock broker over rdkafka.

mod admin;
mod client;
pub mod consumer;
pub mod error;
mod event;
pub mod facts;
mod letter_headers;
pub mod letters;
pub mod marker;
pub mod mock;
mod native;
mod newest;
pub mod producer;
pub mod record_at;
mod reset;

#[cfg(test)]
mod consumer_tests;
#[cfg(test)]
mod facts_tests;
#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod letters_tests;

pub use client::RESERVED;
pub use consumer::{Consumer, Event, Message, TopicPartition};
pub use facts::{Facts, GroupOffset};
pub use letters::{Acknowledged, LetterReason, Letters};
pub use mock::MockBroker;
pub use newest::newest_record;
pub use producer::Producer;
pub use record_at::Found;
pub use reset::move_group;
