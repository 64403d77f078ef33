//! Feeds: partitions with queues of their own, and the records that were taken out of these ahead of the poll.

use super::Consumer;
use crate::kafka::event::TopicPartition;
use crate::kafka::native::{Fetched, Polled, Queue};
use rdkafka::consumer::Consumer as _;

/// A partition with its queue.
pub(super) struct Fed {
    at: TopicPartition,
    pub(super) fetched: Fetched,
    /// It stands still, and what was fetched with it.
    pub(super) paused: bool,
}

impl Fed {
    pub(super) fn begin_anew(&mut self) {
        self.fetched.forget();
        self.paused = false;
    }
}

/// Partitions that are polled together.
#[derive(Default)]
pub(super) struct Feed {
    partitions: Vec<Fed>,
    /// The one that gave the last record: fetches come in runs.
    last: usize,
}

impl Feed {
    pub(super) fn poll(&mut self) -> Option<Polled> {
        for _ in 0..self.partitions.len() {
            let fed = self.partitions.get_mut(self.last)?;
            if !fed.paused
                && let polled @ Some(_) = fed.fetched.poll()
            {
                return polled;
            }
            self.last = (self.last + 1) % self.partitions.len();
        }
        None
    }
}

impl Consumer {
    /// Gives partitions that belong to a feed their queues there.
    pub(super) fn divert(&self, starts: &[(TopicPartition, i64)]) {
        let (fed, client) = (self.fed.borrow(), self.open_client());
        let mut feeds = client.feeds.borrow_mut();
        for (partition, _) in starts {
            let Some(feed) = fed.get(partition) else { continue };
            let queue = Queue::of_partition(self.client().client().native_ptr(), partition);
            // Without one the records come with everything else, which is right too.
            let Some(queue) = queue else { continue };
            queue.wake_by(&client.wake);
            while feeds.len() <= *feed {
                feeds.push(Feed::default());
            }
            let fetched = Fetched::from(queue);
            let partitions = &mut feeds[*feed].partitions;
            match partitions.iter_mut().find(|fed| fed.at == *partition) {
                Some(fed) => (fed.fetched, fed.paused) = (fetched, false),
                None => partitions.push(Fed { at: partition.clone(), fetched, paused: false }),
            }
        }
    }

    /// What librdkafka does not see: records that were taken out of the queues of these partitions.
    pub(super) fn each_fed<'p>(
        &self,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
        mut change: impl FnMut(&mut Fed),
    ) {
        let (fed, mut feeds) = (self.fed.borrow(), self.open_client().feeds.borrow_mut());
        for partition in partitions {
            let feed = fed.get(partition).and_then(|feed| feeds.get_mut(*feed));
            let known = feed.and_then(|f| f.partitions.iter_mut().find(|fed| fed.at == *partition));
            known.into_iter().for_each(&mut change);
        }
    }
}
