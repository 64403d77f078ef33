//! Decodes the records of one topic, one at a time: finds the plan, walks key and value, encodes the row.
//!
//! # Decisions
//! - Headers are not touched while records decode by their first bytes. They are looked at when they could change the
//!   answer: the record is refused, its schemas have no plan yet, or its key starts like neither a frame nor an object
//!   (the Avro of an integer key may read as a bare JSON number). From the first record on that names a schema there,
//!   headers go first for the topic.
//! - So a topic that mixes both forms is read rightly, unless a bare datum starts with a zero byte, happens to name two
//!   schemas that have a plan together, and follows them to its last byte.

use super::avro::Memo;
use super::change::{Change, Decoded, Verdict};
use super::facts::Block;
use super::fanout::Apart;
use super::identify::{Half, Id, PlanNeed, Texts};
use super::identity::Identity;
use super::json::maxwell;
use super::json::recognise::{Recognised, is_signal, recognise};
use super::json::template::Templates;
use super::json::walk::Role;
use super::places::{Places, UNPLACED};
use super::plan::{Plan, Target, ValuePlan};
use super::registry_id::{PayloadId, in_headers};
use super::row::RowBuffer;
use super::skip::SkipRule;
use super::slot::{Scratch, Slot};
use super::source_names::SourceNames;
use super::sources::Sources;
use super::value::Before;
use super::walking::Walking;
use super::wire::{self, Part};
use crate::config::{self, Position};
use crate::fault::{Code, Fault};
use crate::record::RawRecord;
use crate::route::Template;
use crate::table::TableName;
use std::sync::Arc;

/// Decoder of one topic.
#[derive(Debug)]
pub struct TopicDecoder {
    format: config::Format,
    overrides: config::Table,
    pub(super) position: Position,
    pub(super) topic_id: [u8; 16],
    sources: Sources,
    payload_id: PayloadId,
    /// Some record of the topic names a schema in its headers.
    headers: bool,
    identity: Identity,
    texts: Texts,
    pub(super) plans: Vec<Entry>,
    /// Index of the plan that the last record used.
    pub(super) last: usize,
    /// The tables of a topic whose records name theirs.
    pub(super) places: Option<Places>,
    /// The number of the last record's table.
    pub(super) placed: usize,
    key_slots: Vec<Slot<'static>>,
    row_slots: Vec<Slot<'static>>,
    pub(super) source_names: SourceNames,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Number of the table; [`UNPLACED`] where the topic has one only, and for plans that place.
    pub table: usize,
    pub key: Id,
    pub value: Id,
    pub plan: Result<Arc<Plan>, Fault>,
    /// What its last change had in common with the one before.
    memo: Memo,
    templates: Templates,
}

impl TopicDecoder {
    /// A decoder without plans.
    #[must_use]
    pub fn new(format: config::Format, overrides: config::Table) -> Self {
        Self {
            format,
            overrides,
            position: Position::default(),
            topic_id: [0; 16],
            sources: Sources::default(),
            payload_id: PayloadId::default(),
            headers: false,
            identity: Identity::default(),
            texts: Texts::default(),
            plans: Vec::new(),
            last: 0,
            places: None,
            placed: UNPLACED,
            key_slots: Vec::new(),
            row_slots: Vec::new(),
            source_names: SourceNames::default(),
        }
    }

    /// What orders the changes, and whether several source tables may share the topic.
    #[must_use]
    pub fn with_sources(mut self, position: Position, shared: bool) -> Self {
        self.position = position;
        self.sources.shared = shared;
        self
    }

    /// For a topic whose records name their tables.
    #[must_use]
    pub fn with_tables(mut self, template: Option<Template>) -> Self {
        self.places = template.map(Places::new);
        self
    }

    /// Gives a table that records name its number, which is not [`UNPLACED`].
    pub fn add_table(&mut self, table: TableName, number: usize) {
        let shared = self.sources.shared;
        if let Some(places) = &mut self.places {
            places.add(table, number, shared);
        }
    }

    /// The number of the table that the last record belongs to: [`UNPLACED`] where it could not be told, and where the topic
    /// has one table only.
    #[must_use]
    pub fn placed(&self) -> usize {
        self.placed
    }

    /// The topic's id in Kafka, known once a partition is claimed; all zero when the broker does not tell it. Keys of append
    /// tables hold it.
    pub fn set_topic_id(&mut self, id: [u8; 16]) {
        self.topic_id = id;
    }

    /// The same decoder for records whose number behind `0x00` is of this kind.
    #[must_use]
    pub fn with_payload_id(self, payload_id: PayloadId) -> Self {
        Self { payload_id, ..self }
    }

    /// The overrides that plans for this topic are to be compiled with.
    #[must_use]
    pub fn overrides(&self) -> &config::Table {
        &self.overrides
    }

    /// The name of a source; empty where records do not tell it.
    #[must_use]
    pub fn source(&self, number: u16) -> &str {
        self.source_names.name(number)
    }

    /// Uses this plan for every record with these schemas.
    pub fn install(&mut self, need: &PlanNeed, plan: Arc<Plan>) {
        self.put(UNPLACED, need, Ok(plan));
    }

    /// Makes every record with these schemas poison, with this fault.
    pub fn refuse(&mut self, need: &PlanNeed, fault: Fault) {
        self.put(UNPLACED, need, Err(fault));
    }

    /// As [`TopicDecoder::install`] or [`TopicDecoder::refuse`], for records of the table of this number.
    pub fn put(&mut self, table: usize, need: &PlanNeed, plan: Result<Arc<Plan>, Fault>) {
        let (key, value) = (self.texts.inside(&need.key), self.texts.inside(&need.value));
        self.plans.retain(|e| e.table != table || e.key != key || e.value != value);
        let (memo, templates) = (Memo::default(), Templates::default());
        self.plans.push(Entry { table, key, value, plan, memo, templates });
    }

    /// Forgets every plan and refusal: tables may have changed.
    pub fn forget_plans(&mut self) {
        self.plans.clear();
    }

    /// Forgets the plans and refusals of the table of this number, which has changed.
    pub fn forget_plans_of(&mut self, table: usize) {
        self.plans.retain(|e| e.table != table);
    }

    /// Decodes the key of a record alone, as if it had no value; in the table of this number.
    pub fn decode_key<'r>(
        &mut self,
        record: &RawRecord<'r>,
        table: usize,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
    ) -> Decoded {
        let key_alone = RawRecord { value: None, ..*record };
        self.placed = table;
        let decoded = self.decode_in(&key_alone, scratch, row);
        self.placed = table;
        decoded
    }

    /// Decodes one record. `scratch` and `row` are cleared first; `row` is filled for every kind but `Truncate`.
    pub fn decode<'r>(
        &mut self,
        record: &RawRecord<'r>,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
    ) -> Decoded {
        self.placed = UNPLACED;
        self.decode_in(record, scratch, row)
    }

    /// Decodes a record, one without a value into the table that is set.
    fn decode_in<'r>(
        &mut self,
        record: &RawRecord<'r>,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
    ) -> Decoded {
        let decoded = self.attempt(record, scratch, row);
        if self.headers || self.format == config::Format::Json || is_certain(record, &decoded) {
            return decoded;
        }
        let named = |part| in_headers(part, record.headers).is_some();
        if !named(Part::Value) && !named(Part::Key) {
            return decoded;
        }
        self.headers = true;
        if record.value.is_some() {
            self.placed = UNPLACED;
        }
        self.attempt(record, scratch, row)
    }

    fn attempt<'r>(
        &mut self,
        record: &RawRecord<'r>,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
    ) -> Decoded {
        scratch.clear();
        row.clear();
        // Written where it stays: handed up by value it was copied three times.
        let mut change = Change::default();
        match self.try_decode(record, scratch, row, &mut change) {
            Ok(Verdict::Change) => Decoded::Change(change),
            Ok(Verdict::Skip(rule)) => Decoded::Skip(rule),
            Ok(Verdict::NeedsPlan(need)) => Decoded::NeedsPlan(need),
            Ok(Verdict::NewTable(table)) => Decoded::NewTable(table),
            Err(fault) => Decoded::Poison(fault),
        }
    }

    fn try_decode<'r>(
        &mut self,
        record: &RawRecord<'r>,
        scratch: &mut Scratch,
        row: &mut RowBuffer,
        change: &mut Change,
    ) -> Result<Verdict, Fault> {
        if self.texts.is_full(self.places.as_ref().map_or(1, Places::len)) {
            self.texts = Texts::default();
            self.plans.clear();
        }
        let key = self.half(Part::Key, record)?;
        let value = self.half(Part::Value, record)?;
        // A delete that came before it has its own row.
        if self.overrides.append && value.id == Id::None {
            return Ok(Verdict::Skip(SkipRule::Tombstone));
        }
        if key.id == Id::None && value.id == Id::None {
            return Err(Fault::poison(
                Code::KeyMissing,
                "decode record: it has neither key nor value",
            ));
        }
        let mut role = Role::Row;
        let is_maxwell = self.format == config::Format::Maxwell;
        if is_maxwell {
            role = Role::Maxwell;
        } else if value.id == Id::Schemaless {
            role = match recognise(value.body, (key.id != Id::None).then_some(key.body))? {
                Recognised::Envelope => Role::Envelope,
                Recognised::Row => Role::Flattened,
                Recognised::NotTableData(rule) => return Ok(Verdict::Skip(rule)),
            };
        }
        if self.places.is_some() && (value.id != Id::None || self.placed == UNPLACED) {
            if value.id == Id::None {
                return Ok(Verdict::Skip(SkipRule::TombstoneWithoutTable));
            }
            let apart = Apart { record, key, value, role };
            let mut slots = (recycle(&mut self.key_slots), recycle(&mut self.row_slots));
            let decoded =
                self.decode_placed(&apart, (&mut slots.0, &mut slots.1), scratch, row, change);
            (self.key_slots, self.row_slots) = (recycle(&mut slots.0), recycle(&mut slots.1));
            return decoded;
        }
        let Some(index) = self.plan(key.id, value.id)? else {
            // What is no row must not wait for a table.
            if is_maxwell && value.id != Id::None {
                if let Some(rule) = maxwell::skipped(value.body)? {
                    return Ok(Verdict::Skip(rule));
                }
            } else if role == Role::Envelope && is_signal(value.body) {
                return Ok(Verdict::Skip(SkipRule::Signal));
            }
            return self.need(key.id, value.id);
        };
        let Some(Entry { plan: Ok(plan), memo, templates, .. }) = self.plans.get(index) else {
            return self.need(key.id, value.id);
        };
        let table = match &plan.target {
            Target::Skip(rule) => return Ok(Verdict::Skip(*rule)),
            Target::Table(table) => table,
        };
        let mut key_slots = recycle(&mut self.key_slots);
        let mut row_slots = recycle(&mut self.row_slots);
        row_slots.resize(table.fields, Slot::Absent);
        let mut walking = Walking {
            plan,
            table,
            record,
            key,
            value,
            role,
            scratch,
            position: self.position,
            topic_id: self.topic_id,
            sources: &mut self.sources,
            identity: &mut self.identity,
            source_names: &mut self.source_names,
            before: Some(Before { memo, templates }),
            block: Block::Unknown,
            missed: false,
        };
        let verdict = walking.decode(&mut key_slots, &mut row_slots, row, change);
        let (block, missed, role) = (walking.block, walking.missed, walking.role);
        self.key_slots = recycle(&mut key_slots);
        self.row_slots = recycle(&mut row_slots);
        if let Ok(Verdict::Change) = verdict {
            match block {
                Block::New { from_end, length } => self.learn(index, value.body, from_end, length),
                _ if missed => self.learn_texts(index, value.body, role),
                _ if value.id == Id::None => {}
                _ => {
                    if let Some(entry) = self.plans.get_mut(index) {
                        entry.templates.followed();
                    }
                }
            }
        }
        verdict
    }

    fn half<'r>(&mut self, part: Part, record: &RawRecord<'r>) -> Result<Half<'r>, Fault> {
        let bytes = match part {
            Part::Key => record.key,
            Part::Value => record.value,
        };
        if self.headers
            && let Some(body) = bytes
            && let Some(id) = in_headers(part, record.headers)
        {
            return Ok(Half { id: self.texts.registered(id?), body });
        }
        if let Some(bytes) = bytes
            && let Some(half) = self.texts.again(part, bytes)
        {
            return Ok(half);
        }
        let framed = wire::frame(part, bytes, self.format, self.payload_id)?;
        let half = self.texts.identify(part, framed)?;
        self.texts.note(part, bytes.unwrap_or_default(), half);
        Ok(half)
    }

    /// The plan for these schemas. A record without a value needs only its key read and a truncate only its value, so any
    /// plan that knows that half will do.
    fn plan(&mut self, key: Id, value: Id) -> Result<Option<usize>, Fault> {
        let table = self.placed;
        let exact = |e: &Entry| e.key == key && e.value == value && e.table == table;
        let found = if self.plans.get(self.last).is_some_and(exact) {
            Some(self.last)
        } else {
            self.plans.iter().position(exact)
        };
        if let Some(index) = found {
            self.last = index;
            return match self.plans.get(index).map(|e| &e.plan) {
                Some(Ok(_)) => Ok(Some(index)),
                Some(Err(fault)) => Err(fault.clone()),
                None => Ok(None),
            };
        }
        let half = |e: &Entry| {
            e.table == table
                && e.plan.is_ok()
                && ((value == Id::None && e.key == key) || (key == Id::None && e.value == value))
        };
        Ok(self.plans.iter().position(half))
    }

    /// Remembers the source block of a change.
    #[cold]
    fn learn(&mut self, index: usize, datum: &[u8], from_end: usize, length: usize) {
        let at = datum.len().saturating_sub(from_end);
        if let Some(Entry { plan: Ok(plan), memo, .. }) = self.plans.get_mut(index)
            && let ValuePlan::Avro { datum: walk, .. } = &plan.value
            && let (Some(source), Some(block)) = (walk.source(), datum.get(at..at + length))
        {
            source.learn(block, memo);
        }
    }

    /// Remembers the texts between the values of a change in JSON.
    #[cold]
    fn learn_texts(&mut self, index: usize, json: &[u8], role: Role) {
        if let Some(Entry { plan: Ok(plan), templates, .. }) = self.plans.get_mut(index) {
            match &plan.value {
                ValuePlan::Json { names, flattened } => {
                    let role = if *flattened { Role::Flattened } else { Role::Envelope };
                    templates.learn(json, role, names);
                }
                ValuePlan::Untyped { names } => templates.learn(json, role, names),
                ValuePlan::Avro { .. } | ValuePlan::None => {}
            }
        }
    }

    pub(super) fn need(&self, key: Id, value: Id) -> Result<Verdict, Fault> {
        Ok(Verdict::NeedsPlan(PlanNeed {
            key: self.texts.outside(key)?,
            value: self.texts.outside(value)?,
        }))
    }
}

/// Whether no header could tell anything else: the record was decoded, and its key starts as only a frame or a JSON object
/// does.
fn is_certain(record: &RawRecord<'_>, decoded: &Decoded) -> bool {
    matches!(decoded, Decoded::Change(_) | Decoded::Skip(_))
        && record.key.is_none_or(|key| matches!(key, [0 | 1 | b'{', ..]))
}

/// The same memory, empty, for slots of another lifetime: the standard library collects in place, so nothing is allocated.
fn recycle<'b>(slots: &mut Vec<Slot<'_>>) -> Vec<Slot<'b>> {
    let mut slots = std::mem::take(slots);
    slots.clear();
    slots.into_iter().map(|_| Slot::Absent).collect()
}
