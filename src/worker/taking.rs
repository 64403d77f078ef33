//! Takes one record: decode, fold, or the reason why not. The hot path: nothing is allocated per record.

use super::Shared;
use super::epochs;
use super::lane::{Lane, MissingLabel, Need, Partition, Unplanned, Whose};
use super::letters::{self, Left, Pending};
use super::table::meeting;
use crate::batch::arena::{Folded, Incoming};
use crate::batch::{Kind, Truncate, contradicted};
use crate::config::Tripwire;
use crate::core::{Input, PartitionId};
use crate::decode::slot::Scratch;
use crate::decode::{ChangeKind, Decoded, RowBuffer, SkipRule, UNPLACED};
use crate::epoch::Placed;
use crate::fault::{Class, Code, Fault};
use crate::kafka::letters::Letters;
use crate::record::RawRecord;
use crate::table::TableName;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What taking one record came to.
pub(super) enum Taken {
    /// It was folded, skipped or dead-lettered, or fell away at the door.
    Done,
    /// As `Done`, and the lane's open batch is full now.
    Full,
    /// The lane takes no more records for now.
    Refused,
}

/// The parts of the intake that taking a record touches; apart from the consumer, whose buffer the record borrows.
pub(super) struct Taking<'a> {
    pub(super) lanes: &'a mut Vec<Lane>,
    pub(super) partitions: &'a mut Vec<Partition>,
    pub(super) numbers: &'a HashMap<Arc<str>, HashMap<i32, PartitionId>>,
    pub(super) last: &'a mut Option<usize>,
    pub(super) inputs: &'a mut VecDeque<Input>,
    pub(super) letters: Option<&'a Letters>,
    pub(super) next_token: &'a mut u64,
    pub(super) scratch: &'a mut Scratch,
    pub(super) row: &'a mut RowBuffer,
    pub(super) shared: &'a Shared,
}

impl Taking<'_> {
    fn find(&mut self, raw: &RawRecord<'_>) -> Option<usize> {
        if let Some(at) = *self.last {
            let partition = &self.partitions[at];
            if partition.number == raw.partition && *partition.topic == *raw.topic {
                return Some(at);
            }
        }
        let id = self.numbers.get(raw.topic)?.get(&raw.partition)?;
        *self.last = Some(id.0 as usize);
        *self.last
    }

    pub(super) fn take(&mut self, raw: &RawRecord<'_>) -> Taken {
        let Some(at) = self.find(raw) else { return Taken::Done };
        let partition = &mut self.partitions[at];
        partition.polled += 1;
        // Another generation's record, or one below the position: it falls away at the door.
        if !partition.accepting || raw.offset < partition.next {
            return Taken::Done;
        }
        let id = PartitionId(u32::try_from(at).unwrap_or(u32::MAX));
        let refusal = self.refusal(at, id, raw);
        let partition = &mut self.partitions[at];
        let lane = &mut self.lanes[partition.lane];
        let decoder = partition.decoder;
        let mut decoded = lane.decoders[decoder].decode(raw, self.scratch, self.row);
        while let Decoded::NewTable(table) = &decoded {
            if let Err(fault) = self.add_table(at, table) {
                return self.fail_lane(at, fault);
            }
            let lane = &mut self.lanes[self.partitions[at].lane];
            decoded = lane.decoders[decoder].decode(raw, self.scratch, self.row);
        }
        let partition = &mut self.partitions[at];
        let lane = &mut self.lanes[partition.lane];
        let number = lane.decoders[decoder].placed();
        let table = &mut lane.tables[number];
        if let Some(fault) = refusal {
            if number == UNPLACED
                && lane.names_tables()
                && let Decoded::NeedsPlan(need) = decoded
            {
                // Its letter needs its table.
                return self.wait_for(at, Need::Plan(Whose { decoder, table: number }, need));
            }
            let is_change = !matches!(decoded, Decoded::Skip(_));
            return self.dead_letter(at, raw, &fault, is_change);
        }
        match decoded {
            Decoded::Change(change) => {
                let slot = partition.slot;
                let source = lane.decoders[decoder].source(change.source);
                let header = self.shared.config.guard.epoch_header.as_deref();
                let version = match partition.sources.place(source, &change, raw, header) {
                    Ok(Placed::In(epoch)) => change.version.in_epoch(epoch),
                    Ok(Placed::StartsOver { current, signal }) => {
                        let over =
                            epochs::starts_over(partition, source, raw, &change, current, signal);
                        return self.wait_for(at, Need::Epoch(id, Box::new(over)));
                    }
                    Err(fault) => return self.fail_lane(at, fault),
                };
                if table.has_hole(&change, version, self.row) {
                    let text = format!(
                        "read row for {}: unchanged columns, and an earlier change of the row is a dead letter",
                        table.table
                    );
                    let fault = Fault::poison(Code::UnchangedWithoutBase, text);
                    return self.dead_letter(at, raw, &fault, true);
                }
                lane.keyed[decoder] |= raw.key.is_some();
                table.keyed |= raw.key.is_some();
                if change.null_in_doubt {
                    table.nulls.doubt(&table.table, raw);
                }
                let kind = match change.kind {
                    ChangeKind::Row if change.has_kept => Kind::Partial,
                    ChangeKind::Row => Kind::Whole,
                    ChangeKind::Delete => Kind::Delete,
                    ChangeKind::Tombstone => Kind::Tombstone,
                    ChangeKind::Truncate => {
                        let truncate =
                            Truncate { version, at: change.deleted_at.unwrap_or_default() };
                        table.arena.truncate(slot, truncate);
                        return self.advance(at, number, raw.offset);
                    }
                };
                if kind == Kind::Whole
                    && !table.holes.is_empty()
                    && table.holes.close(&self.row.key, version)
                {
                    table.arena.close_holes(&self.row.key, version);
                }
                let folded = table.arena.fold(Incoming {
                    body: &self.row.body,
                    key: &self.row.key,
                    kind,
                    version,
                    deleted_at: change.deleted_at,
                    source_ts: change.source_ts,
                    own_time: change.own_time,
                    kept: &self.row.kept,
                    needs_base: change.needs_base,
                    old_key: change.moved.then_some(&self.row.old_key),
                    told: change.told(self.row),
                    slot,
                    offset: raw.offset,
                });
                match folded {
                    Folded::RedundantTombstone => table.skips.add(SkipRule::Tombstone),
                    Folded::Contradicted(row) => {
                        if self.shared.config.guard.tripwire == Tripwire::Stop {
                            let fault =
                                contradicted(&table.table, &raw.coordinates(), version, row);
                            return self.fail_lane(at, fault);
                        }
                        table.metrics.contradicted(1);
                    }
                    Folded::Kept | Folded::Superseded => {}
                }
                self.advance(at, number, raw.offset)
            }
            Decoded::Skip(rule) => {
                table.skips.add(rule);
                table.arena.skip(partition.slot);
                self.advance(at, number, raw.offset)
            }
            Decoded::Poison(fault)
                if fault.code == Code::KeyMissing
                    && !(if number == UNPLACED { lane.keyed[decoder] } else { table.keyed }) =>
            {
                self.fail_lane(at, keyless(raw))
            }
            // Where no record named its table yet, none may: parking them one by one would park the whole topic.
            Decoded::Poison(fault) if fault.code == Code::TableUnplaced && !lane.keyed[decoder] => {
                let text = format!("record {}: {}", raw.coordinates(), fault.text);
                self.fail_lane(at, Fault { class: Class::Blocked, text, ..fault })
            }
            Decoded::Poison(fault) if fault.class == Class::Poison => {
                self.dead_letter(at, raw, &fault, true)
            }
            // The record is fine, its table is not.
            Decoded::Poison(fault) => match self.row.missing_label.take() {
                Some((column, label)) => {
                    let whose = Whose { decoder, table: number };
                    self.wait_for(at, Need::Label(MissingLabel { whose, column, label }))
                }
                None => {
                    let text = format!("record {}: {}", raw.coordinates(), fault.text);
                    self.fail_lane(at, Fault { text, ..fault })
                }
            },
            Decoded::NeedsPlan(need) => {
                self.wait_for(at, Need::Plan(Whose { decoder, table: number }, need))
            }
            // It was given its place above.
            Decoded::NewTable(_) => Taken::Refused,
        }
    }

    /// This record and all behind it are read again once there is what it needs.
    fn wait_for(&mut self, at: usize, need: Need) -> Taken {
        let lane = &mut self.lanes[self.partitions[at].lane];
        lane.need = Some(need);
        lane.touched = true;
        for id in &lane.slots {
            self.partitions[id.0 as usize].accepting = false;
        }
        Taken::Refused
    }

    /// Stops the lane of a partition: nothing more of it is taken, and what came before this record lands first.
    fn fail_lane(&mut self, at: usize, fault: Fault) -> Taken {
        let lane = &mut self.lanes[self.partitions[at].lane];
        lane.refused = Some(fault);
        lane.touched = true;
        for id in &lane.slots {
            self.partitions[id.0 as usize].accepting = false;
        }
        Taken::Refused
    }

    /// Why a record is dead-lettered before it is decoded: PostgreSQL refused it before, or it is too large.
    fn refusal(&self, at: usize, id: PartitionId, raw: &RawRecord<'_>) -> Option<Fault> {
        let lane = &self.lanes[self.partitions[at].lane];
        if !lane.condemned.is_empty()
            && let Some(fault) = lane.condemned.get(&(id, raw.offset))
        {
            return Some(fault.clone());
        }
        let limit = self.shared.config.limits.record_bytes;
        let size = raw.key.map_or(0, <[u8]>::len) + raw.value.map_or(0, <[u8]>::len);
        (size > limit).then(|| {
            Fault::poison(
                Code::RecordTooLarge,
                format!("the record holds {size} bytes, the limit is {limit}"),
            )
        })
    }

    /// Gives a table that a record names its place in the lane, unless another lane feeds it.
    fn add_table(&mut self, at: usize, table: &TableName) -> Result<(), Fault> {
        let Partition { lane: own, decoder, topic, .. } = &self.partitions[at];
        let (group, merges) = (&self.lanes[*own].table, self.lanes[*own].merges);
        let meets = |lane: &&Lane| lane.table != *group && lane.feeds(table);
        if let Some(other) = self.lanes.iter().find(|l| meets(l) && !(merges && l.merges)) {
            let other = other.topics.first().map_or("another topic", |topic| &**topic);
            return Err(meeting(table, topic, &format!("topic {other}")));
        }
        let lane = &mut self.lanes[*own];
        let number = lane.add_table(table, &self.shared.config);
        lane.decoders[*decoder].add_table(table.clone(), number);
        Ok(())
    }

    fn advance(&mut self, at: usize, table: usize, offset: i64) -> Taken {
        let partition = &mut self.partitions[at];
        partition.next = offset + 1;
        partition.touched = true;
        let lane = &mut self.lanes[partition.lane];
        lane.touched = true;
        lane.count(table);
        if lane.is_full(&self.shared.config.limits) { Taken::Full } else { Taken::Done }
    }

    fn dead_letter(
        &mut self,
        at: usize,
        raw: &RawRecord<'_>,
        fault: &Fault,
        is_change: bool,
    ) -> Taken {
        let Some(letters) = self.letters else {
            return self.fail_lane(at, letters::no_topic(&raw.coordinates(), fault));
        };
        let version = self.row.version;
        let left = match is_change.then(|| self.left_by(at, raw)) {
            None => Left::Nothing,
            Some(Ok(left)) => left,
            Some(Err(need)) => return self.wait_for(at, need),
        };
        let partition = &mut self.partitions[at];
        let lane = &mut self.lanes[partition.lane];
        let number = lane.decoders[partition.decoder].placed();
        let is_told = number != UNPLACED || !lane.names_tables();
        let table = &mut lane.tables[number];
        let stage = if fault.sqlstate.is_some() { "write" } else { "decode" };
        let reason =
            letters::reason(&self.shared.config.name, (&table.table, is_told), fault, stage);
        let record = raw.to_owned_record();
        *self.next_token += 1;
        tracing::warn!(
            target: letters::TARGET,
            code = fault.code.as_str(),
            table = %table.table,
            topic = raw.topic,
            partition = raw.partition,
            offset = raw.offset,
            "dead-lettering a record: {}",
            fault.text
        );
        if let Left::Unguarded(why) = left {
            letters::tell_unguarded(&table.table, raw, why);
        }
        self.inputs.push_back(Input::LetterSent(lane.id));
        if let Err(fault) = letters.send(*self.next_token, &record, &reason) {
            self.inputs.push_back(Input::LettersFailed { lane: lane.id, fault });
        }
        let epoch = partition.sources.tracker.highest(raw.offset);
        let pending = Pending {
            table: number,
            batch: lane.open_batch,
            record,
            reason,
            topic_id: partition.topic_id,
            version: version.map(|version| version.in_epoch(epoch)),
            hole: letters::open_hole(table, &self.row.key, left),
            unguarded: matches!(left, Left::Unguarded(_)),
        };
        table.arena.dead_letter(partition.slot);
        lane.letter_bytes += pending.record.size();
        lane.letters.insert(*self.next_token, pending);
        self.advance(at, number, raw.offset)
    }

    /// What a record leaves behind that is dead-lettered (I9); its key is in the row buffer afterwards.
    fn left_by(&mut self, at: usize, raw: &RawRecord<'_>) -> Result<Left, Need> {
        let partition = &self.partitions[at];
        let lane = &mut self.lanes[partition.lane];
        let tracker = &partition.sources.tracker;
        if let Some(version) = self.row.version {
            return Ok(Left::Hole(version.in_epoch(tracker.highest(raw.offset))));
        }
        // Without its value a record is its key alone.
        let decoder = partition.decoder;
        let number = lane.decoders[decoder].placed();
        if number == UNPLACED && lane.names_tables() {
            return Ok(Left::Unguarded("as its table is not known"));
        }
        if lane.tables[number].overrides.append {
            // Each of its rows has a key of its own.
            return Ok(Left::Nothing);
        }
        match lane.decoders[decoder].decode_key(raw, number, self.scratch, self.row) {
            Decoded::Change(_) => Ok(Left::HoleReached(tracker.reached(raw.offset))),
            Decoded::Poison(_) | Decoded::Skip(SkipRule::TombstoneWithoutKey) => {
                Ok(Left::Unguarded("as its key cannot be read"))
            }
            Decoded::Skip(_) | Decoded::NewTable(_) => Ok(Left::Nothing),
            Decoded::NeedsPlan(need) => {
                let unplanned = &lane.tables[number].unplanned;
                let unplanned = unplanned.iter().find(|u| u.0 == decoder && u.1 == need);
                match unplanned.map(|(.., why)| why) {
                    None => Err(Need::Key(Whose { decoder, table: number }, need)),
                    Some(Unplanned::NoTable) => Ok(Left::Nothing),
                    Some(Unplanned::NoFit) => {
                        Ok(Left::Unguarded("as the table does not fit the schema of its key"))
                    }
                }
            }
        }
    }
}

/// A record without a key on a topic where none with a key was ever seen: parking them one by one would park the whole
/// topic (design section 15: keyless topics need configuration).
fn keyless(raw: &RawRecord<'_>) -> Fault {
    Fault::blocked(
        Code::KeyMissing,
        format!(
            "record {} has no key, and no record of the topic had one so far: the row that it belongs to is not known",
            raw.coordinates()
        ),
        "give the source table a primary key, set message.key.columns in the connector, name the row's key columns under [table.\"schema.name\"] key, or set append = true there to keep each change as a row; if it is a single stray record, stop the worker and set next_offset behind it in silversink.position",
    )
}
