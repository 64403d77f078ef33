//! Decodes the records of one topic, one at a time: finds the plan, walks key and value, encodes the row.

use super::avro::Sink;
use super::envelope::{self, Fact, Facts, Image, Op};
use super::identify::{Half, Id, PlanNeed, Texts};
use super::json::recognise::{Recognised, recognise};
use super::json::token;
use super::json::walk::{Role, Walk};
use super::plan::{KeyPlan, Plan, TablePlan, Target, ValuePlan};
use super::row::{RowBuffer, Slots};
use super::slot::{Scratch, Slot};
use super::wire::{self, Part};
use crate::config;
use crate::fault::{Code, Fault};
use crate::record::RawRecord;
use crate::version::Version;
use std::sync::Arc;

/// What a record asks of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A row; some of its columns may be kept.
    Row,
    /// A delete with its own position.
    Delete,
    /// A null value.
    Tombstone,
    /// The whole table was emptied.
    Truncate,
}

/// One change; its columns are in the [`RowBuffer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub kind: ChangeKind,
    /// The guard.
    pub version: Version,
    /// Microseconds since 2000-01-01, for deletes, tombstones and truncates.
    pub deleted_at: Option<i64>,
    /// When the change happened at the source, microseconds since 2000-01-01.
    pub source_ts: Option<i64>,
    /// Some column keeps the target's value (`Row` only).
    pub has_kept: bool,
    /// Of those, some column was a placeholder, so a base row must exist (I9).
    pub needs_base: bool,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A change.
    Change(Change),
    /// Nothing for a table; the rule that says so.
    Skip(&'static str),
    /// A plan is missing: install one, or refuse, and decode the record again.
    NeedsPlan(PlanNeed),
    /// The record cannot be decoded. The fault's class may also be blocked: then the table lacks something.
    Poison(Fault),
}

/// Decoder of one topic.
#[derive(Debug)]
pub struct TopicDecoder {
    format: config::Format,
    overrides: config::Table,
    texts: Texts,
    plans: Vec<Entry>,
    /// Index of the plan that the last record used.
    last: usize,
    key_slots: Vec<Slot<'static>>,
    row_slots: Vec<Slot<'static>>,
}

#[derive(Debug)]
struct Entry {
    key: Id,
    value: Id,
    plan: Result<Arc<Plan>, Fault>,
}

impl TopicDecoder {
    /// A decoder without plans.
    #[must_use]
    pub fn new(format: config::Format, overrides: config::Table) -> Self {
        Self {
            format,
            overrides,
            texts: Texts::default(),
            plans: Vec::new(),
            last: 0,
            key_slots: Vec::new(),
            row_slots: Vec::new(),
        }
    }

    /// The overrides that plans for this topic are to be compiled with.
    #[must_use]
    pub fn overrides(&self) -> &config::Table {
        &self.overrides
    }

    /// Uses this plan for every record with these schemas.
    pub fn install(&mut self, need: &PlanNeed, plan: Arc<Plan>) {
        self.put(need, Ok(plan));
    }

    /// Makes every record with these schemas poison, with this fault.
    pub fn refuse(&mut self, need: &PlanNeed, fault: Fault) {
        self.put(need, Err(fault));
    }

    /// Forgets every plan and refusal: the table has changed.
    pub fn forget_plans(&mut self) {
        self.plans.clear();
    }

    fn put(&mut self, need: &PlanNeed, plan: Result<Arc<Plan>, Fault>) {
        let (key, value) = (self.texts.inside(&need.key), self.texts.inside(&need.value));
        self.plans.retain(|e| e.key != key || e.value != value);
        self.plans.push(Entry { key, value, plan });
    }

    /// Decodes one record. `scratch` and `row` are cleared first; `row` is filled for every kind but `Truncate`.
    pub fn decode<'r>(
        &mut self,
        record: &RawRecord<'r>,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
        source_epoch: u32,
    ) -> Decoded {
        scratch.clear();
        row.clear();
        match self.try_decode(record, scratch, row, source_epoch) {
            Ok(decoded) => decoded,
            Err(fault) => Decoded::Poison(fault),
        }
    }

    fn try_decode<'r>(
        &mut self,
        record: &RawRecord<'r>,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
        source_epoch: u32,
    ) -> Result<Decoded, Fault> {
        if self.texts.is_full() {
            self.texts = Texts::default();
            self.plans.clear();
        }
        let key = self.half(Part::Key, record)?;
        let value = self.half(Part::Value, record)?;
        if key.id == Id::None && value.id == Id::None {
            return Err(Fault::poison(Code::KeyMissing, "decode record: it has neither key nor value"));
        }
        let mut role = Role::Row;
        if value.id == Id::Schemaless {
            role = match recognise(value.body, (key.id != Id::None).then_some(key.body))? {
                Recognised::Envelope => Role::Envelope,
                Recognised::Row => Role::Flattened,
                Recognised::NotTableData(rule) => return Ok(Decoded::Skip(rule)),
            };
        }
        let Some(plan) = self.plan(key.id, value.id)? else { return self.need(record, key.id, value.id) };
        let table = match &plan.target {
            Target::Skip(rule) => return Ok(Decoded::Skip(rule)),
            Target::Table(table) => table,
        };
        let mut key_slots = recycle(&mut self.key_slots);
        let mut row_slots = recycle(&mut self.row_slots);
        row_slots.resize(table.fields, Slot::Absent);
        let mut walking = Walking { plan: &plan, table, record, source_epoch, key, value, role, scratch };
        let decoded = walking.decode(&mut key_slots, &mut row_slots, row);
        self.key_slots = recycle(&mut key_slots);
        self.row_slots = recycle(&mut row_slots);
        decoded
    }

    fn half<'r>(&mut self, part: Part, record: &RawRecord<'r>) -> Result<Half<'r>, Fault> {
        let bytes = match part {
            Part::Key => record.key,
            Part::Value => record.value,
        };
        let framed = wire::frame(part, bytes, self.format).map_err(|fault| in_header(part, record).unwrap_or(fault))?;
        self.texts.identify(part, framed)
    }

    /// The plan for these schemas. A record without a value needs only its key read and a truncate only its value, so any
    /// plan that knows that half will do.
    fn plan(&mut self, key: Id, value: Id) -> Result<Option<Arc<Plan>>, Fault> {
        let exact = |e: &Entry| e.key == key && e.value == value;
        let found = if self.plans.get(self.last).is_some_and(exact) {
            Some(self.last)
        } else {
            self.plans.iter().position(exact)
        };
        if let Some(index) = found {
            self.last = index;
            return match self.plans.get(index).map(|e| &e.plan) {
                Some(Ok(plan)) => Ok(Some(Arc::clone(plan))),
                Some(Err(fault)) => Err(fault.clone()),
                None => Ok(None),
            };
        }
        let half = |e: &&Entry| (value == Id::None && e.key == key) || (key == Id::None && e.value == value);
        Ok(self.plans.iter().filter(half).find_map(|e| e.plan.as_ref().ok()).map(Arc::clone))
    }

    fn need(&self, record: &RawRecord<'_>, key: Id, value: Id) -> Result<Decoded, Fault> {
        // A datum whose schema id is in a header may start with a zero byte: look before the registry is asked.
        for (part, id) in [(Part::Key, key), (Part::Value, value)] {
            if matches!(id, Id::Avro(_))
                && let Some(fault) = in_header(part, record)
            {
                return Err(fault);
            }
        }
        Ok(Decoded::NeedsPlan(PlanNeed { key: self.texts.outside(key)?, value: self.texts.outside(value)? }))
    }
}

fn in_header(part: Part, record: &RawRecord<'_>) -> Option<Fault> {
    record.headers.get(part.schema_header()).map(|_| wire::schema_id_in_header(part))
}

/// The same memory, empty, for slots of another lifetime: the standard library collects in place, so nothing is allocated.
fn recycle<'b>(slots: &mut Vec<Slot<'_>>) -> Vec<Slot<'b>> {
    let mut slots = std::mem::take(slots);
    slots.clear();
    slots.into_iter().map(|_| Slot::Absent).collect()
}

/// One record on its way through a plan.
struct Walking<'a, 'r> {
    plan: &'a Plan,
    table: &'a TablePlan,
    record: &'a RawRecord<'r>,
    source_epoch: u32,
    key: Half<'r>,
    value: Half<'r>,
    /// What a value without schema is.
    role: Role,
    scratch: &'a mut Scratch,
}

impl<'r> Walking<'_, 'r> {
    fn decode(
        &mut self,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
    ) -> Result<Decoded, Fault> {
        let mut facts = Facts::default();
        if self.value.id == Id::None || !self.read_value(&mut facts, row_slots)? {
            return self.tombstone(key_slots, row_slots, row);
        }
        let flattened = match &self.plan.value {
            ValuePlan::Avro { flattened, .. } | ValuePlan::Json { flattened, .. } => *flattened,
            ValuePlan::Untyped { .. } | ValuePlan::None => self.role == Role::Flattened,
        };
        let op = if flattened {
            envelope::flattened_op(&facts, self.scratch)?
        } else {
            envelope::envelope_op(&facts, self.scratch)?
        };
        if op == Op::Message {
            return Ok(Decoded::Skip("message"));
        }
        let version = envelope::version(&facts, op, flattened, self.source_epoch, self.record.offset, self.scratch)?;
        let source_ts = envelope::source_time(&facts, self.record.timestamp_ms, self.scratch)?;
        let deleted_at = || source_ts.or_else(|| self.kafka_time()).or(Some(0));
        let mut change =
            Change { kind: ChangeKind::Row, version, deleted_at: None, source_ts, has_kept: false, needs_base: false };
        match op {
            Op::Truncate => {
                (change.kind, change.deleted_at) = (ChangeKind::Truncate, deleted_at());
                return Ok(Decoded::Change(change));
            }
            Op::Delete => {
                (change.kind, change.deleted_at) = (ChangeKind::Delete, deleted_at());
                let by_row = self.table.deletes_need_row || self.table.key.iter().any(|k| k.row.is_some());
                let old = flattened || (by_row && self.read_before(facts.before, row_slots));
                self.read_key(key_slots)?;
                let slots = Slots { key: key_slots, row: row_slots, scratch: self.scratch };
                row.put_key(self.table, slots)?;
                row.put_stub(self.table, old.then_some(slots));
            }
            Op::Read | Op::Write | Op::Message => {
                self.read_key(key_slots)?;
                let slots = Slots { key: key_slots, row: row_slots, scratch: self.scratch };
                row.put_key(self.table, slots)?;
                let kept = row.put_row(self.table, slots)?;
                (change.has_kept, change.needs_base) = (kept.any, kept.unavailable);
            }
        }
        Ok(Decoded::Change(change))
    }

    fn kafka_time(&self) -> Option<i64> {
        self.record.timestamp_ms.and_then(envelope::from_unix_millis)
    }

    fn tombstone(
        &mut self,
        key_slots: &mut Vec<Slot<'r>>,
        row_slots: &mut [Slot<'r>],
        row: &mut RowBuffer,
    ) -> Result<Decoded, Fault> {
        row_slots.fill(Slot::Absent);
        self.read_key(key_slots)?;
        row.put_key(self.table, Slots { key: key_slots, row: row_slots, scratch: self.scratch })?;
        row.put_stub(self.table, None);
        Ok(Decoded::Change(Change {
            kind: ChangeKind::Tombstone,
            version: envelope::offset_version(self.source_epoch, self.record.offset)?,
            deleted_at: self.kafka_time().or(Some(0)),
            source_ts: self.kafka_time(),
            has_kept: false,
            needs_base: false,
        }))
    }

    /// Walks the key; without one only a configured key can still be found in the row.
    fn read_key(&mut self, slots: &mut Vec<Slot<'r>>) -> Result<(), Fault> {
        if self.key.id == Id::None {
            if self.table.key.iter().all(|source| source.row.is_some()) && !self.table.key.is_empty() {
                return Ok(());
            }
            return Err(Fault::poison(Code::KeyMissing, format!("decode record for {}: it has no key", self.table.shape.table)));
        }
        let mut facts = Facts::default();
        let present = match &self.plan.key {
            KeyPlan::None => return Err(disagree("key")),
            KeyPlan::Avro(group, fields) => {
                slots.resize(*fields, Slot::Absent);
                group.read_all(self.key.body, &mut Sink { facts: &mut facts, row: slots })?
            }
            KeyPlan::Json { names } => {
                slots.resize(names.len(), Slot::Absent);
                if names.len() == 1 && !self.key.body.starts_with(b"{") {
                    return self.read_bare_key(slots);
                }
                let mut walk = Walk { names, facts: &mut facts, row: slots, scratch: self.scratch, unknown: None };
                let present = walk.read(self.key.body, Role::Row)?;
                if let Some(name) = walk.unknown {
                    return Err(Fault::blocked(
                        Code::KeyMismatch,
                        format!("read key for {}: field {name} is no key column", self.table.shape.table),
                        "make the primary key of the table the record key, or name its columns under key",
                    ));
                }
                present
            }
        };
        if present { Ok(()) } else { Err(disagree("key")) }
    }

    /// A key that is one value and no object: it is the table's only key column.
    fn read_bare_key(&mut self, slots: &mut [Slot<'r>]) -> Result<(), Fault> {
        let json: &'r serde_json::value::RawValue =
            serde_json::from_slice(self.key.body).map_err(|e| super::json::walk::undecodable(&e))?;
        let slot = token::slot(json.get(), self.scratch).ok_or_else(|| disagree("key"))?;
        if let Some(place) = slots.first_mut() {
            *place = slot;
        }
        Ok(())
    }

    /// Walks the value; `false` means that it is null after all.
    fn read_value(&mut self, facts: &mut Facts<'r>, row: &mut [Slot<'r>]) -> Result<bool, Fault> {
        let json_role = |flattened| if flattened { Role::Flattened } else { Role::Envelope };
        let (names, role, typed) = match &self.plan.value {
            ValuePlan::None => return Err(disagree("value")),
            ValuePlan::Avro { datum, .. } => return datum.read_all(self.value.body, &mut Sink { facts, row }),
            ValuePlan::Json { names, flattened } => (names, json_role(*flattened), true),
            ValuePlan::Untyped { names } => (names, self.role, false),
        };
        let mut walk = Walk { names, facts, row, scratch: self.scratch, unknown: None };
        let mut present = walk.read(self.value.body, role)?;
        if !typed && role == Role::Envelope && !walk.facts.has(Fact::Op) {
            // A row whose first column is called `before`.
            *walk.facts = Facts::default();
            present = walk.read(self.value.body, Role::Flattened)?;
            self.role = Role::Flattened;
        }
        match walk.unknown {
            Some(_) if typed => Err(disagree("value")),
            Some(name) => Err(Fault::blocked(
                Code::ColumnMissing,
                format!("read row for {}: the table has no column {name}", self.table.shape.table),
                format!("add column {name}, or give its type under [table.\"{}\"] column_types", self.table.shape.table),
            )),
            None => Ok(present),
        }
    }

    /// Reads the before image into the row's slots; `false` when there is none, or none that can be read.
    fn read_before(&mut self, before: Image<'r>, row: &mut [Slot<'r>]) -> bool {
        row.fill(Slot::Absent);
        let Image::At(bytes) = before else { return false };
        let mut facts = Facts::default();
        let read = match &self.plan.value {
            ValuePlan::Avro { before: Some(group), .. } => group.read_prefix(bytes, &mut Sink { facts: &mut facts, row }),
            ValuePlan::Json { names, .. } | ValuePlan::Untyped { names } => {
                Walk { names, facts: &mut facts, row, scratch: self.scratch, unknown: None }.read(bytes, Role::Row)
            }
            ValuePlan::Avro { before: None, .. } | ValuePlan::None => Ok(false),
        };
        let read = read.unwrap_or(false);
        if !read {
            row.fill(Slot::Absent);
        }
        read
    }
}

fn disagree(part: &str) -> Fault {
    Fault::poison(Code::Undecodable, format!("decode {part}: it does not have the form that its schema gives it"))
}
