//! One record on its way through its plan: value, envelope, key, row.

use super::avro::Sink;
use super::change::{Change, ChangeKind, Verdict};
use super::envelope::{self, Op};
use super::facts::{Block, Fact, Facts, Image};
use super::identify::{Half, Id};
use super::identity::{self, Identity};
use super::json::maxwell::{self, Type};
use super::json::scan::{self, Scanner};
use super::json::walk::{Role, Walk};
use super::oldkey;
use super::plan::{KeyPlan, Plan, TablePlan, ValuePlan};
use super::row::{Placed, RowBuffer, Slots};
use super::skip::SkipRule;
use super::slot::{Scratch, Slot};
use super::source_names::SourceNames;
use super::sources::{self, Sources};
use super::value::{Before, disagree, walk_value};
use crate::config::Position;
use crate::fault::{Code, Fault};
use crate::record::RawRecord;
use std::ops::Range;

/// Header of a delete that is half of a change of the key.
const NEW_KEY: &str = "__debezium.newkey";

/// One record on its way through a plan.
pub(super) struct Walking<'a, 'r> {
    pub plan: &'a Plan,
    pub table: &'a TablePlan,
    pub record: &'a RawRecord<'r>,
    pub key: Half<'r>,
    pub value: Half<'r>,
    /// What a value without schema is.
    pub role: Role,
    pub scratch: &'a mut Scratch,
    /// What orders the changes.
    pub position: Position,
    /// The topic's id, for append tables.
    pub topic_id: [u8; 16],
    /// The names of the topic's sources so far.
    pub source_names: &'a mut SourceNames,
    /// What the record before leaves to compare with, where there is one to compare with.
    pub before: Option<Before<'r>>,
    /// The source block of this record.
    pub block: Block,
    /// It is JSON whose texts are not those of the record before.
    pub missed: bool,
    /// The source tables of the topic so far.
    pub sources: &'a mut Sources,
    /// What the topic's updates have told of its table's replica identity.
    pub identity: &'a mut Identity,
}

impl<'r> Walking<'_, 'r> {
    /// Walks value and key and encodes the row.
    ///
    /// # Errors
    /// Poison when bytes or envelope are broken; blocked when the table lacks what JSON without schema brings.
    pub fn decode(
        &mut self,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
        change: &mut Change,
    ) -> Result<Verdict, Fault> {
        let mut facts = Facts::default();
        if self.value.id == Id::None || !self.read_value(&mut facts, row_slots)? {
            return self.tombstone(key_slots, row_slots, row, change);
        }
        self.decode_walked(&facts, key_slots, row_slots, row, change)
    }

    /// The rest, behind the walk through the value.
    ///
    /// # Errors
    /// As [`Walking::decode`].
    pub fn decode_walked(
        &mut self,
        facts: &Facts<'r>,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
        change: &mut Change,
    ) -> Result<Verdict, Fault> {
        let flattened = self.plan.value.is_flattened(self.role);
        let op = if self.role == Role::Maxwell {
            match self.maxwell_type(facts)? {
                Type::Row(op) => op,
                Type::Skip(rule) => return Ok(Verdict::Skip(rule)),
            }
        } else if flattened {
            envelope::flattened_op(facts, self.scratch)?
        } else {
            envelope::envelope_op(facts, self.scratch)?
        };
        if op == Op::Message {
            return Ok(Verdict::Skip(SkipRule::Message));
        }
        let ordered = envelope::ordered(
            facts,
            op,
            flattened,
            self.record.offset,
            self.position,
            self.scratch,
        )?;
        let version = ordered.version;
        self.block = facts.block;
        // The record before was checked.
        if self.block != Block::Same && !self.sources.shared && !self.table.tells_source {
            self.sources.check(facts, &self.table.shape.table, self.scratch)?;
        }
        let own_time = envelope::source_time(facts, self.scratch)?;
        let sighting = envelope::sighting(facts, op, flattened, &ordered, own_time, self.scratch)?;
        let source = self.source_names.number(facts.source_name(self.scratch)?.unwrap_or_default());
        let source_ts = match own_time {
            Some(at) => Some(at),
            None => envelope::delivery_time(facts, self.record.timestamp_ms, self.scratch)?,
        };
        let deleted_at = source_ts.or_else(|| self.kafka_time()).or(Some(0));
        change.version = version;
        change.source_ts = source_ts;
        change.own_time = own_time.is_some();
        change.source = source;
        change.sighting = sighting;
        if !self.table.append.is_empty() {
            self.append(facts, op, flattened, key_slots, row_slots, row)?;
            return Ok(Verdict::Change);
        }
        if !flattened && facts.text(Fact::Connector, self.scratch)? == Some("postgresql") {
            change.null_in_doubt = self.check_identity(facts, op, key_slots, row_slots)?;
        }
        match op {
            Op::Truncate => {
                if self.sources.shared || self.table.tells_source {
                    return Err(sources::ambiguous_truncate(&self.table.shape.table));
                }
                let position = version.parts();
                if position.commit_position == 0 && position.change_position == 0 {
                    // Its Kafka offset says nothing about rows of other partitions.
                    return Err(Fault::blocked(
                        Code::EnvelopeInvalid,
                        format!(
                            "a truncate of {} without a source position cannot be ordered",
                            self.table.shape.table
                        ),
                        "let the connector skip truncates (skipped.operations=t), and truncate the Silver table by hand",
                    ));
                }
                (change.kind, change.deleted_at) = (ChangeKind::Truncate, deleted_at);
                return Ok(Verdict::Change);
            }
            Op::Delete => {
                (change.kind, change.deleted_at) = (ChangeKind::Delete, deleted_at);
                if !flattened && self.role != Role::Maxwell && self.key_is_in_row() {
                    self.read_before(facts.before, row_slots);
                }
                self.read_key(key_slots, row_slots)?;
                let slots = Slots { key: key_slots, row: row_slots, scratch: self.scratch };
                row.put_key(self.table, slots)?;
                row.put_stub(self.table);
                change.left = self.leaves(facts, flattened, key_slots, row_slots, row)?;
            }
            Op::Read | Op::Write | Op::Message => {
                self.read_key(key_slots, row_slots)?;
                let slots = Slots { key: key_slots, row: row_slots, scratch: self.scratch };
                row.put_key(self.table, slots)?;
                row.version = Some(version);
                change.created = facts.text(Fact::Op, self.scratch)? == Some("c");
                let kept = row.put_row(self.table, slots)?;
                (change.has_kept, change.needs_base) = (kept.any, kept.unavailable);
                if kept.unavailable && facts.may_create(self.scratch) {
                    change.moved = oldkey::read(self.record, self.table, self.scratch, row)?;
                }
            }
        }
        Ok(Verdict::Change)
    }

    /// Whether a delete is half of a change of the key; its row goes where it can be compared with another.
    fn leaves(
        &mut self,
        facts: &Facts<'r>,
        flattened: bool,
        key_slots: &[Slot<'r>],
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
    ) -> Result<bool, Fault> {
        if self.role == Role::Maxwell || self.record.headers.get(NEW_KEY).is_none() {
            return Ok(false);
        }
        if flattened {
            return Ok(true);
        }
        if facts.text(Fact::Connector, self.scratch)? != Some("postgresql") {
            return Ok(false);
        }
        self.read_before(facts.before, row_slots);
        // Another replica identity than full rules a deferrable key out.
        let full = self.identity.is_full(self.table, row_slots, self.scratch);
        if full {
            let slots = Slots { key: key_slots, row: row_slots, scratch: self.scratch };
            row.put_image(self.table, slots);
        }
        Ok(full)
    }

    /// Refuses a delete whose key was invented. `true` for an update with a NULL that may stand for an unchanged value.
    fn check_identity(
        &mut self,
        facts: &Facts<'r>,
        op: Op,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
    ) -> Result<bool, Fault> {
        match op {
            Op::Write if facts.text(Fact::Op, self.scratch)? == Some("u") => {
                let full = facts.before != Image::Missing;
                self.identity.updated(full);
                let is_null =
                    |(slot, _): &(usize, String)| row_slots.get(*slot) == Some(&Slot::Null);
                return Ok(!full && self.table.null_shaped.iter().any(is_null));
            }
            Op::Delete if !self.key_is_in_row() => {
                self.read_key(key_slots, row_slots)?;
                if self.identity.suspects(key_slots, self.scratch) {
                    self.read_before(facts.before, row_slots);
                    if identity::is_partial(self.table, row_slots, self.scratch) {
                        return Err(identity::fault(self.table));
                    }
                }
            }
            _ => {}
        }
        Ok(false)
    }

    /// Encodes a row of an append table: of the after image, of the before image for a delete, of neither for a truncate.
    fn append(
        &mut self,
        facts: &Facts<'r>,
        op: Op,
        flattened: bool,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
    ) -> Result<(), Fault> {
        match op {
            Op::Delete if !flattened => {
                self.read_before(facts.before, row_slots);
            }
            Op::Truncate => row_slots.fill(Slot::Absent),
            Op::Delete | Op::Read | Op::Write | Op::Message => {}
        }
        if self.key.id != Id::None && !matches!(self.plan.key, KeyPlan::None) {
            self.read_key(key_slots, row_slots)?;
        }
        let placed = Placed {
            topic_id: self.topic_id,
            partition: self.record.partition,
            offset: self.record.offset,
            // A flattened delete may tell itself by `__deleted` alone.
            op: match facts.text(Fact::Op, self.scratch)? {
                None if op == Op::Delete => Some("d"),
                told => told,
            },
        };
        let slots = Slots { key: key_slots, row: row_slots, scratch: self.scratch };
        row.put_append(self.table, slots, &placed)
    }

    /// Whether the key is a configured one, which the row has in any case.
    fn key_is_in_row(&self) -> bool {
        !self.table.key.is_empty() && self.table.key.iter().all(|source| source.row.is_some())
    }

    fn kafka_time(&self) -> Option<i64> {
        self.record.timestamp_ms.and_then(envelope::from_unix_millis)
    }

    fn tombstone(
        &mut self,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
        change: &mut Change,
    ) -> Result<Verdict, Fault> {
        row_slots.fill(Slot::Absent);
        self.read_key(key_slots, row_slots)?;
        match row
            .put_key(self.table, Slots { key: key_slots, row: row_slots, scratch: self.scratch })
        {
            // The configured key is in no tombstone; the delete before it has marked the row.
            Err(fault) if fault.code == Code::KeyMissing && self.key_is_in_row() => {
                return Ok(Verdict::Skip(SkipRule::TombstoneWithoutKey));
            }
            result => result?,
        }
        row.put_stub(self.table);
        change.kind = ChangeKind::Tombstone;
        change.version = envelope::offset_version(self.record.offset)?;
        change.deleted_at = self.kafka_time().or(Some(0));
        change.source_ts = self.kafka_time();
        Ok(Verdict::Change)
    }

    /// Walks the key; without one only a configured key can still be found in the row.
    fn read_key(&mut self, slots: &mut Vec<Slot<'r>>, row: &[Slot<'r>]) -> Result<(), Fault> {
        if self.key.id == Id::None {
            if self.key_is_in_row() {
                return Ok(());
            }
            return Err(Fault::poison(
                Code::KeyMissing,
                format!("decode record for {}: it has no key", self.table.shape.table),
            ));
        }
        let mut facts = Facts::default();
        let present = match &self.plan.key {
            KeyPlan::None => return Err(disagree("key")),
            KeyPlan::Avro(group, fields) => {
                slots.resize(*fields, Slot::Absent);
                group.read_all(
                    self.key.body,
                    &mut Sink { facts: &mut facts, row: slots, memo: None },
                )?
            }
            KeyPlan::Json { names } => {
                slots.resize(names.len(), Slot::Absent);
                let mut role = Role::Row;
                if self.role == Role::Maxwell {
                    if !self.key.body.starts_with(b"{") {
                        return self.copy_key(names, slots, row);
                    }
                    role = Role::MaxwellKey;
                }
                if names.len() == 1 && !self.key.body.starts_with(b"{") {
                    return self.read_bare_key(slots);
                }
                let mut walk = Walk::new(names, &mut facts, slots, self.scratch);
                let present = walk.read(self.key.body, role)?;
                if let Some(name) = walk.unknown
                    && !self.key_is_in_row()
                    && self.table.append.is_empty()
                {
                    let name = self.scratch.text.get(name).unwrap_or_default();
                    return Err(Fault::blocked(
                        Code::KeyMismatch,
                        format!(
                            "read key for {}: field {name} is no key column",
                            self.table.shape.table
                        ),
                        "make the primary key of the table the record key, or name its columns under key",
                    ));
                }
                present
            }
        };
        if present { Ok(()) } else { Err(disagree("key")) }
    }

    /// What Maxwell's `type` asks for.
    fn maxwell_type(&self, facts: &Facts<'r>) -> Result<Type, Fault> {
        let invalid =
            |what| Fault::poison(Code::EnvelopeInvalid, format!("read maxwell record: {what}"));
        let text = facts.text(Fact::Op, self.scratch)?.ok_or_else(|| invalid("type is missing"))?;
        let ty = maxwell::type_of(text)?;
        if matches!(ty, Type::Row(_)) && !facts.after {
            return Err(invalid("data is missing"));
        }
        if let (Type::Row(_), Image::At(old), KeyPlan::Json { names }) =
            (ty, facts.before, &self.plan.key)
            && maxwell::has_any(old, names)?
        {
            return Err(Fault::poison(
                Code::KeyChanged,
                format!(
                    "an update moved a row of {} to another key; the row of the old key has to be marked by hand",
                    self.table.shape.table
                ),
            ));
        }
        Ok(ty)
    }

    /// The key columns as the row has them.
    fn copy_key(
        &self,
        names: &[Box<str>],
        slots: &mut [Slot<'r>],
        row: &[Slot<'r>],
    ) -> Result<(), Fault> {
        let ValuePlan::Untyped { names: columns } = &self.plan.value else {
            return Err(disagree("key"));
        };
        for (slot, name) in slots.iter_mut().zip(names) {
            let place = columns.iter().position(|column| column == name);
            *slot = place.and_then(|place| row.get(place)).copied().unwrap_or(Slot::Absent);
        }
        Ok(())
    }

    /// A key that is one value and no object: it is the table's only key column.
    fn read_bare_key(&mut self, slots: &mut [Slot<'r>]) -> Result<(), Fault> {
        let mut scanner = Scanner::new(scan::text(self.key.body)?);
        let read = scanner.slot(self.scratch).and_then(|slot| {
            scanner.finish()?;
            Ok(slot)
        });
        let slot = read.map_err(|broken| scanner.fault(broken))?;
        if let Some(place) = slots.first_mut() {
            *place = slot;
        }
        Ok(())
    }

    /// Walks the value; `false` means that it is null after all.
    fn read_value(&mut self, facts: &mut Facts<'r>, row: &mut [Slot<'r>]) -> Result<bool, Fault> {
        let (body, role) = (self.value.body, self.role);
        let walked =
            walk_value(&self.plan.value, body, role, self.before, facts, row, self.scratch)?;
        (self.role, self.missed) = (walked.role, walked.missed);
        self.judge_unknown(walked.unknown)?;
        Ok(walked.present)
    }

    /// Refuses a field of JSON without schema that is no column.
    ///
    /// # Errors
    /// Blocked `ColumnMissing`.
    pub fn judge_unknown(&self, unknown: Option<Range<usize>>) -> Result<(), Fault> {
        let Some(name) = unknown else { return Ok(()) };
        let name = self.scratch.text.get(name).unwrap_or_default();
        Err(Fault::blocked(
            Code::ColumnMissing,
            format!("read row for {}: the table has no column {name}", self.table.shape.table),
            format!(
                "add column {name}, or give its type under [table.\"{}\"]: columns.{name}.type = \"...\"",
                self.table.shape.table
            ),
        ))
    }

    /// Reads the before image into the row's slots; they stay absent when there is none, or none that can be read.
    fn read_before(&mut self, before: Image<'r>, row: &mut [Slot<'r>]) {
        row.fill(Slot::Absent);
        let Image::At(bytes) = before else { return };
        let mut facts = Facts::default();
        let read = match &self.plan.value {
            ValuePlan::Avro { before: Some(group), .. } => {
                group.read_prefix(bytes, &mut Sink { facts: &mut facts, row, memo: None })
            }
            ValuePlan::Json { names, .. } | ValuePlan::Untyped { names } => {
                Walk::new(names, &mut facts, row, self.scratch).read(bytes, Role::Row)
            }
            ValuePlan::Avro { before: None, .. } | ValuePlan::None => Ok(false),
        };
        if !read.unwrap_or(false) {
            row.fill(Slot::Absent);
        }
    }
}
