//! The model's outcomes: what was asked for comes back to the core.

use super::shell::Worker;
use super::world::{Event, TxResult, World};
use silversink::core::{Input, LaneId};
use silversink::fault::{Class, Code, Fault};

fn fault(class: Class, code: Code) -> Fault {
    Fault::new(class, code, "simulated")
}

impl Worker {
    /// An outcome arrives.
    pub fn hear(&mut self, world: &mut World, event: Event) {
        match event {
            Event::Answer(index) => {
                let transaction = &world.transactions[index];
                let (lane, batch) = (transaction.lane, transaction.batch);
                let result = if transaction.answer_lost { None } else { transaction.result };
                let outcome = match result {
                    Some(TxResult::Committed | TxResult::Already) => Ok(()),
                    Some(TxResult::Fenced) => Err(fault(Class::Fenced, Code::Fenced)),
                    Some(TxResult::Poison) => Err(fault(Class::Poison, Code::ConstraintViolation)),
                    Some(TxResult::Fatal) => Err(fault(Class::Fatal, Code::PostgresLogin)),
                    Some(TxResult::Blocked) => Err(fault(Class::Blocked, Code::ColumnMissing)),
                    Some(TxResult::Transient) | None => {
                        Err(fault(Class::Transient, Code::PostgresUnavailable))
                    }
                };
                self.landed(lane, batch);
                let held = self.lanes.get(&lane).and_then(|state| state.held.get(&batch));
                let orphan = held.is_some_and(|batch| {
                    !batch.stretches.iter().all(|stretch| self.holds(stretch))
                });
                if orphan {
                    world.see("orphaned batch");
                }
                self.step(world, Input::Written { lane, batch, outcome });
            }
            Event::Isolated { lane, batch, culprits, .. } => {
                self.landed(lane, batch);
                let outcome = match culprits {
                    Ok(culprits) => {
                        if !culprits.is_empty() {
                            world.see("poison isolated");
                        }
                        let count = culprits.len();
                        self.condemned.extend(culprits);
                        Ok(count)
                    }
                    Err(()) => Err(fault(Class::Transient, Code::PostgresUnavailable)),
                };
                self.step(world, Input::Isolated { lane, batch, outcome });
            }
            Event::Claimed { granted, generation, fails, .. } => {
                if fails {
                    let partitions = granted.into_iter().map(|(id, _)| id).collect();
                    let fault = fault(Class::Transient, Code::PostgresUnavailable);
                    return self.step(world, Input::ClaimFailed { partitions, generation, fault });
                }
                for (partition, claim) in granted {
                    let forbidden = world.logs[&partition].forbidden;
                    let outcome = if forbidden {
                        Err(fault(Class::Blocked, Code::RetentionGap))
                    } else {
                        Ok(claim)
                    };
                    let current = self.consumed.get(&partition).and_then(|c| c.generation);
                    let before = self.core.settled(partition);
                    self.step(world, Input::Claimed { partition, generation, outcome });
                    if current != Some(generation) && self.core.settled(partition) != before {
                        world.violate(format!(
                            "takes a claim of another assignment of {partition:?}"
                        ));
                    }
                }
            }
            Event::Planned { lane, wanted, fails, .. } => {
                let outcome = if fails {
                    world.see("plan failed");
                    Err(fault(Class::Transient, Code::RegistryUnavailable))
                } else {
                    self.lane(lane).plans.extend(wanted);
                    Ok(())
                };
                self.step(world, Input::Planned { lane, outcome });
            }
            Event::Letter { lane, batch, at, fails, .. } => {
                if fails {
                    world.see("letter failed");
                    let fault = fault(Class::Transient, Code::DeadLetterUnacknowledged);
                    return self.step(world, Input::LettersFailed { lane, fault });
                }
                let state = self.lane(lane);
                let open = (state.number == batch).then_some(&mut state.open);
                let known = open
                    .or_else(|| state.held.get_mut(&batch))
                    .is_some_and(|b| b.unacknowledged.remove(&at));
                // A repeated acknowledgement ends in the shell, which knows the letters.
                if known {
                    self.step(world, Input::LetterAcknowledged { lane, batch });
                } else {
                    world.see("letter acknowledged twice or too late");
                }
            }
            Event::Lost { partitions, .. } => {
                for id in &partitions {
                    self.losing.remove(id);
                }
                world.see("lost");
                self.step(world, Input::Lost(partitions));
            }
            Event::Apply(_) | Event::ClaimApply { .. } | Event::Restart { .. } => {}
        }
    }

    fn landed(&mut self, lane: LaneId, batch: u64) {
        if let Some(batch) = self.lane(lane).held.get_mut(&batch) {
            batch.in_flight = false;
        }
    }
}
