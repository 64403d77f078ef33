//! Where partitions are fetched: starting, moving, pausing.

use super::{Consumer, Fed, Holding, SEEK, add};
use crate::fault::Fault;
use crate::kafka::error::{classify, from_error};
use crate::kafka::event::TopicPartition;
use crate::kafka::native;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;

impl Consumer {
    /// Starts fetching at exactly these offsets: partitions that were just assigned, or that [`Event::Stopped`] told and
    /// somebody has allowed to go on. Partitions that are not ours any more (revoked while they were being claimed), and
    /// those that are being fetched, are left out.
    ///
    /// An offset that the log does not hold comes back as [`Event::Stopped`] with `retention_gap`.
    ///
    /// # Errors
    /// Fatal when librdkafka refuses (an offset below zero).
    pub fn start(&self, starts: &[(TopicPartition, i64)]) -> Result<(), Fault> {
        let mut holdings = self.holdings.borrow_mut();
        let (mut list, mut stopped) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (partition, offset) in starts {
            match holdings.get(partition) {
                Some(Holding::Held) => add(&mut list, partition, *offset)?,
                Some(Holding::Stopped) => {
                    stopped.add_partition(&partition.topic, partition.partition);
                    add(&mut list, partition, *offset)?;
                }
                _ => {}
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let attempt = "start fetching";
        self.divert(starts);
        if stopped.count() > 0 {
            // A stopped fetcher takes no seek: it has to be assigned anew.
            self.client().incremental_unassign(&stopped).map_err(|e| from_error(&e, attempt))?;
            self.client().resume(&stopped).map_err(|e| from_error(&e, attempt))?;
        }
        self.client().incremental_assign(&list).map_err(|e| from_error(&e, attempt))?;
        for (partition, _) in starts {
            if let Some(holding @ (Holding::Held | Holding::Stopped)) = holdings.get_mut(partition)
            {
                *holding = Holding::Started;
            }
        }
        Ok(())
    }

    /// Moves partitions that are being fetched to other offsets; what was fetched before is dropped. Others are left out.
    ///
    /// # Errors
    /// Fatal when librdkafka refuses, transient when it did not answer in time.
    pub fn seek(&self, positions: &[(TopicPartition, i64)]) -> Result<(), Fault> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            if self.started(partition) {
                add(&mut list, partition, *offset)?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let attempt = "move the fetch position";
        self.each_fed(positions.iter().map(|(partition, _)| partition), |fed| fed.fetched.forget());
        let answered =
            self.client().seek_partitions(list, SEEK).map_err(|e| from_error(&e, attempt))?;
        match native::entries(&answered).into_iter().find_map(|e| e.error.map(|code| (e.at, code)))
        {
            Some((at, code)) => Err(classify(code, &format!("{attempt} of {at}"))),
            None => Ok(()),
        }
    }

    /// Fetches on from exactly these offsets, for partitions that are being fetched or paused; what was fetched before is
    /// dropped. Others are left out.
    ///
    /// By giving them up and assigning them anew: after a seek or a resume librdkafka's broker thread may sleep on for a
    /// second, an assignment wakes it.
    ///
    /// # Errors
    /// Fatal when librdkafka refuses.
    pub fn restart(&self, positions: &[(TopicPartition, i64)]) -> Result<(), Fault> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            if self.started(partition) {
                add(&mut list, partition, *offset)?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let partitions: Vec<_> = positions.iter().map(|(partition, _)| partition.clone()).collect();
        let started = self.started_list(&partitions);
        if self.revoking.get() {
            // Giving up anything now would count as the answer to the revocation.
            return self.seek(positions).and_then(|()| self.resume(&partitions));
        }
        self.each_fed(&partitions, Fed::begin_anew);
        self.assign_anew(&started, &list, "move the fetch position")
    }

    fn assign_anew(
        &self,
        partitions: &TopicPartitionList,
        at: &TopicPartitionList,
        attempt: &str,
    ) -> Result<(), Fault> {
        let client = self.client();
        client.incremental_unassign(partitions).map_err(|e| from_error(&e, attempt))?;
        // The application's pause outlives the assignment inside librdkafka.
        client.resume(partitions).map_err(|e| from_error(&e, attempt))?;
        client.incremental_assign(at).map_err(|e| from_error(&e, attempt))
    }

    /// Stops fetching and drops what was prefetched; goes on at the next record that was not polled. For what stands still:
    /// backpressure is a feed that is not polled.
    ///
    /// # Errors
    /// Fatal when librdkafka refuses.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<(), Fault> {
        self.each_fed(partitions, |fed| fed.paused = true);
        self.client()
            .pause(&self.started_list(partitions))
            .map_err(|e| from_error(&e, "pause partitions"))
    }

    /// Ends a [`Consumer::pause`].
    ///
    /// # Errors
    /// Fatal when librdkafka refuses.
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<(), Fault> {
        self.each_fed(partitions, |fed| fed.paused = false);
        self.client()
            .resume(&self.started_list(partitions))
            .map_err(|e| from_error(&e, "resume partitions"))
    }
}
