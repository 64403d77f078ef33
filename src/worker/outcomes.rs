//! What jobs and the dead-letter topic answer, turned into inputs for the core.

use super::epochs::Sources;
use super::intake::Intake;
use super::lane::Whose;
use super::letters;
use super::report::{Culprit, Inbox, Report, Resolution};
use crate::core::{Claim, Input, LaneId};
use crate::decode::{PlanNeed, TopicDecoder};
use crate::fault::Code;
use crate::kafka::letters::Acknowledged;

impl Intake {
    pub(super) fn hear(&mut self, inbox: &Inbox) {
        while let Ok(report) = inbox.try_recv() {
            self.take_report(report);
        }
        self.hear_acknowledgements();
    }

    pub(super) fn take_report(&mut self, report: Report) {
        let of_a_job = !matches!(report, Report::Stop | Report::Topics(_) | Report::Kafka);
        self.under_way = self.under_way.saturating_sub(usize::from(of_a_job));
        match report {
            Report::Kafka => self.reports.awake(),
            Report::Stop => {
                let deadline = self.now().plus_ms(
                    u64::try_from(self.shared.config.shutdown_timeout.as_millis())
                        .unwrap_or(u64::MAX),
                );
                tracing::info!("stopping: finishing what is in flight");
                self.inputs.push_back(Input::Stop { deadline });
            }
            Report::Topics(topics) => {
                tracing::info!(topics = topics.len(), "the topics that match have changed");
                if let Err(fault) = self.consumer.subscribe(&topics) {
                    self.consumer_failed(fault);
                }
            }
            Report::Claimed { generation, grants } => {
                for (partition, grant) in grants {
                    // An answer for an assignment that is gone must not touch what belongs to the next one.
                    if !self.core.is_claiming(partition, generation) {
                        continue;
                    }
                    let outcome = grant.map(|granted| {
                        for (source, lineage) in &granted.lineages {
                            self.source_epochs.tell(source, lineage.epoch);
                        }
                        for start in &granted.starts {
                            self.source_epochs.tell(&start.source, start.epoch);
                        }
                        let at = self.partition_mut(partition);
                        at.topic_id = granted.topic_id;
                        at.owner_epoch = granted.owner_epoch;
                        at.log_end = granted.log_end;
                        at.next = granted.offset;
                        at.sources = Sources::new(granted.lineages, granted.starts, granted.epochs);
                        // Kafka holds our mark of just this position, unless it has to be written.
                        at.mirrored = Some(granted.offset);
                        at.confirmed = (!granted.mirror).then_some(granted.offset);
                        let (lane, decoder) = (at.lane, at.decoder);
                        self.lanes[lane].keyed[decoder] |= granted.progressed;
                        self.lanes[lane].decoders[decoder]
                            .set_topic_id(granted.topic_id.into_bytes());
                        // What another worker learned about the table meanwhile comes with the next plan.
                        self.lanes[lane].decoders.iter_mut().for_each(TopicDecoder::forget_plans);
                        if granted.mirror {
                            self.mirror_start(partition, granted.owner_epoch, granted.offset);
                        }
                        Claim { owner_epoch: granted.owner_epoch, offset: granted.offset }
                    });
                    self.inputs.push_back(Input::Claimed { partition, generation, outcome });
                }
            }
            Report::ClaimFailed { partitions, generation, fault } => {
                self.inputs.push_back(Input::ClaimFailed { partitions, generation, fault });
            }
            Report::Labelled { lane: id, table, outcome } => {
                let lane = &mut self.lanes[id.0 as usize];
                if outcome.is_ok() {
                    // The record that asked is read again, with a plan that knows the label.
                    lane.need = None;
                    lane.decoders.iter_mut().for_each(|decoder| decoder.forget_plans_of(table));
                }
                self.inputs.push_back(Input::Planned { lane: id, outcome });
            }
            Report::Planned { lane, whose, need, outcome } => {
                let outcome =
                    outcome.map(|resolution| self.planned(lane, whose, &need, resolution));
                self.inputs.push_back(Input::Planned { lane, outcome });
            }
            Report::EpochEntered { lane, partition, over, outcome } => {
                self.epoch_entered(lane, partition, &over, outcome);
            }
            Report::Written { lane, batch, took, outcome } => {
                let outcome =
                    outcome.map(|applied| self.count_applied(lane, batch, took, &applied));
                self.inputs.push_back(Input::Written { lane, batch, outcome });
            }
            Report::Isolated { lane, batch, outcome } => {
                let outcome = outcome.map(|culprits| self.condemn(lane, batch, culprits));
                self.inputs.push_back(Input::Isolated { lane, batch, outcome });
            }
        }
    }

    fn planned(&mut self, lane: LaneId, whose: Whose, need: &PlanNeed, resolution: Resolution) {
        let lane = &mut self.lanes[lane.0 as usize];
        lane.need = None;
        let Whose { decoder, table: number } = whose;
        let table = &mut lane.tables[number];
        match resolution {
            Resolution::Unplanned(why) => table.unplanned.push((decoder, need.clone(), why)),
            Resolution::Refused(fault) => lane.decoders[decoder].put(number, need, Err(fault)),
            Resolution::Plan(plan) => lane.decoders[decoder].put(number, need, Ok(plan)),
            Resolution::TablePlan { plan, shape, floor, holes, unseen } => {
                table.epochs_checked = true;
                table.unplanned.clear();
                table.nulls.expect(&plan.null_shaped());
                let changed = table.arena.shape() != Some(&shape);
                if changed || unseen {
                    // Plans encode for the columns of one shape, and know which columns other schemas have.
                    lane.decoders.iter_mut().for_each(|decoder| decoder.forget_plans_of(number));
                }
                if changed {
                    table.arena.set_shape(shape);
                }
                table.arena.set_floor(floor);
                holes.iter().for_each(|(key, version)| table.holes.open(key, *version));
                lane.decoders[decoder].put(number, need, Ok(plan));
            }
        }
    }

    /// Remembers which records PostgreSQL refuses, so that they are dead-lettered when they are read again.
    fn condemn(&mut self, lane: LaneId, batch: u64, culprits: Vec<Culprit>) -> usize {
        let lane = &mut self.lanes[lane.0 as usize];
        let Some(sealed) = lane.sealed.as_ref().filter(|sealed| sealed.number == batch) else {
            return 0;
        };
        let mut found = 0;
        for Culprit { part, row, fault } in culprits {
            let sealed = part.and_then(|at| sealed.parts.get(at)).map_or(&**sealed, |p| &p.batch);
            let Some(row) = sealed.rows.get(row) else { continue };
            let (range, offset) = match row.needs_base {
                Some(needs) if fault.code == Code::UnchangedWithoutBase => needs,
                _ => row.origin,
            };
            let Some(range) = sealed.ranges.get(usize::from(range)) else { continue };
            let at = self.numbers.get(range.topic.as_str()).and_then(|n| n.get(&range.partition));
            if let Some(id) = at {
                lane.condemned.insert((*id, offset), fault);
                found += 1;
            }
        }
        found
    }

    fn hear_acknowledgements(&mut self) {
        let Some((_, inbox)) = &self.letters else { return };
        while let Ok(Acknowledged { token, outcome }) = inbox.try_recv() {
            let Some(lane) = self.lanes.iter_mut().find(|lane| lane.letters.contains_key(&token))
            else {
                continue;
            };
            match outcome {
                Ok((partition, offset)) => {
                    let Some(pending) = lane.letters.remove(&token) else { continue };
                    lane.letter_bytes = lane.letter_bytes.saturating_sub(pending.record.size());
                    let metrics = &lane.tables[pending.table].metrics;
                    metrics.dead_lettered(pending.reason.code, 1);
                    metrics.unguarded(u64::from(pending.unguarded));
                    self.inputs.extend(letters::acknowledged(lane, pending, partition, offset));
                }
                Err(fault) => self.inputs.push_back(Input::LettersFailed { lane: lane.id, fault }),
            }
        }
    }
}
