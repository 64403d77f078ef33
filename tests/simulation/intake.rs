//! The model's intake: takes bursts of records into the open batch of a lane, and sends dead letters.

use super::shell::Worker;
use super::world::{At, Class, Entry, Event, Nature, World};
use silversink::core::{Input, LaneId, PartitionId};
use std::collections::BTreeMap;

impl Worker {
    pub fn send_letter(&mut self, world: &mut World, lane: LaneId, batch: u64, at: At) {
        let (worker, incarnation) = (self.number, self.incarnation);
        let fails = world.fault();
        let delay = world.delay();
        world.later(delay, Event::Letter { worker, incarnation, lane, batch, at, fails });
        if world.fault() {
            let delay = world.delay();
            world
                .later(delay, Event::Letter { worker, incarnation, lane, batch, at, fails: false });
        }
    }

    /// Takes a burst of records of one lane, as the intake does.
    pub fn burst(&mut self, world: &mut World, id: LaneId) {
        if !self.core.takes(id) {
            world.see("held");
            return;
        }
        let mut progress = BTreeMap::new();
        let number = self.lane(id).number;
        for _ in 0..world.rng.u32(1..6) {
            let ready: Vec<_> = self
                .consumed
                .iter()
                .filter(|(p, c)| c.lane == id && c.accepted && c.position < world.logs[p].end)
                .filter(|(_, c)| !c.paused || c.prefetched > 0)
                .map(|(p, _)| *p)
                .collect();
            if ready.is_empty() {
                break;
            }
            let partition = ready[world.rng.usize(0..ready.len())];
            let consumed = self.consumed.get_mut(&partition).expect("it is ready");
            let at = (partition, consumed.position);
            let schema = world.schema(at);
            if !self.lane(id).plans.contains(&schema) {
                self.lane(id).wanted = Some(schema);
                self.gathered(world, id, &progress);
                for consumed in self.consumed.values_mut().filter(|consumed| consumed.lane == id) {
                    consumed.accepted = false;
                }
                world.see("plan needed");
                return self.step(world, Input::PlanNeeded(id));
            }
            let consumed = self.consumed.get_mut(&partition).expect("it is ready");
            consumed.position += 1;
            consumed.prefetched = if consumed.paused { consumed.prefetched - 1 } else { 0 };
            progress.insert(partition, consumed.position);
            let nature = world.nature(at);
            let class = match nature {
                Nature::Skipped => Class::Skipped,
                Nature::Undecodable => Class::DeadLettered,
                Nature::Refused if self.condemned.contains(&at) => Class::DeadLettered,
                Nature::Plain | Nature::Refused => Class::Applied,
            };
            self.lane(id).open.entries.push(Entry { at, class });
            if class == Class::DeadLettered {
                self.lane(id).open.unacknowledged.insert(at);
                self.send_letter(world, id, number, at);
                self.step(world, Input::LetterSent(id));
                if self.lane(id).number != number {
                    return;
                }
            }
        }
        self.gathered(world, id, &progress);
    }

    fn gathered(&mut self, world: &mut World, lane: LaneId, progress: &BTreeMap<PartitionId, i64>) {
        if progress.is_empty() {
            return;
        }
        let open = &self.lane(lane).open.entries;
        let rows = open.iter().filter(|entry| entry.class == Class::Applied).count();
        let bytes = rows * 10 + open.len();
        let progress = progress.iter().map(|(p, next)| (*p, *next)).collect();
        self.step(world, Input::Gathered { lane, progress, rows, bytes });
    }
}
