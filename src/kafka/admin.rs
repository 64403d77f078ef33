//! Creating topics; nothing else is administered.

use super::client::Context;
use super::error::{classify, from_error};
use crate::fault::Fault;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult,
};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// "As the broker is configured".
pub(super) const BROKER_DEFAULT: i32 = -1;

/// Creates a topic; one that exists is fine. Blocks.
pub(super) fn create_topic(
    properties: &ClientConfig,
    name: &str,
    partitions: i32,
) -> Result<(), Fault> {
    let attempt = format!("create topic {name}");
    let admin = open(properties, &attempt)?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(BROKER_DEFAULT));
    finish(wait(admin.create_topics([&topic], &options())), &attempt)
}

/// Raises a topic's number of partitions. Blocks.
pub(super) fn add_partitions(
    properties: &ClientConfig,
    name: &str,
    total: usize,
) -> Result<(), Fault> {
    let attempt = format!("raise topic {name} to {total} partitions");
    let admin = open(properties, &attempt)?;
    finish(wait(admin.create_partitions([&NewPartitions::new(name, total)], &options())), &attempt)
}

fn open(properties: &ClientConfig, attempt: &str) -> Result<AdminClient<Context>, Fault> {
    properties.create_with_context(Context::default()).map_err(|e| from_error(&e, attempt))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn finish(answer: KafkaResult<Vec<TopicResult>>, attempt: &str) -> Result<(), Fault> {
    for result in answer.map_err(|e| from_error(&e, attempt))? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(classify(code, attempt)),
        }
    }
    Ok(())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread; the admin client answers from a thread of its own. Works inside and outside of a runtime.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
