//! The invariants (I1, I2, I5, I8, I15, I16), checked against the world after every step.

use super::shell::Worker;
use super::world::{Class, Nature, World};
use silversink::core::PartitionId;

impl World {
    /// The ledger tiles the offsets: each record once, in order, in its class, dead letters acknowledged.
    pub fn check_ledger(&mut self, id: PartitionId) {
        let position = &self.positions[&id];
        let checked = usize::try_from(position.next_offset).unwrap_or(usize::MAX);
        if checked != position.ledger.len() {
            let text = format!(
                "I1: {id:?} is at {} with {} records in its ledger",
                position.next_offset,
                position.ledger.len()
            );
            return self.violate(text);
        }
        for (offset, entry) in position.ledger.iter().enumerate() {
            let expected = match self.nature(entry.at) {
                Nature::Plain => Class::Applied,
                Nature::Skipped => Class::Skipped,
                Nature::Undecodable | Nature::Refused => Class::DeadLettered,
            };
            let acknowledged =
                entry.class != Class::DeadLettered || self.letters.contains(&entry.at);
            if entry.at != (id, offset as i64) || entry.class != expected || !acknowledged {
                let text = format!(
                    "I1, I5, I8: {entry:?} at offset {offset} of {id:?}, expected {expected:?}"
                );
                return self.violate(text);
            }
        }
    }

    /// What holds between any two steps of a worker.
    pub fn check_worker(&mut self, worker: &Worker) {
        if !worker.alive {
            return;
        }
        if worker.core.next_wake().is_some_and(|at| at.0 <= self.now) {
            return self.violate("the core wants to be woken for what it does not do".to_owned());
        }
        for id in worker.consumed.keys() {
            if let Some(settled) = worker.core.settled(*id)
                && settled > self.positions[id].next_offset
            {
                return self
                    .violate(format!("I2: {id:?} settled {settled}, ahead of the destination"));
            }
        }
        for (id, deadline) in &worker.revoked {
            if self.now > *deadline {
                return self.violate(format!("revocation of {id:?} unanswered at {}", self.now));
            }
        }
        if worker.stop_by.is_some_and(|deadline| self.now > deadline) {
            self.violate("I16: no exit by the deadline".to_owned());
        }
        for (lane, state) in &worker.lanes {
            let rows =
                state.open.entries.iter().filter(|entry| entry.class == Class::Applied).count();
            // A full batch of 8, the burst that filled it, and 3 records fetched ahead of each of 4 partitions.
            if rows > 8 + 5 + 12 {
                return self.violate(format!("I14: {rows} rows gathered in {lane:?}"));
            }
        }
    }

    /// Nothing is left to do, and nobody is told of an outage that is over (I15).
    pub fn unsettled(&self, workers: &[Worker]) -> Option<String> {
        for (id, log) in &self.logs {
            let at = self.positions[id].next_offset;
            let stopped =
                log.forbidden || workers.iter().any(|w| w.alive && w.is_stopped_for_good(*id));
            if at != log.end && !stopped {
                return Some(format!(
                    "I15: {id:?} is at {at} of {} ({:?})",
                    log.end, self.owners[id]
                ));
            }
        }
        for (number, worker) in workers.iter().enumerate().filter(|(_, worker)| worker.alive) {
            if !worker.core.is_idle() {
                return Some(format!("I15: worker {number} is not idle"));
            }
            if let Some(lane) = worker.waiting.first() {
                return Some(format!("worker {number} never recovered: {lane:?}"));
            }
        }
        None
    }
}
