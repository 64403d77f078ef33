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
use super::facts::Block;
use super::identify::{Half, Id, PlanNeed, Texts};
use super::identity::Identity;
use super::json::maxwell;
use super::json::recognise::{Recognised, is_signal, recognise};
use super::json::template::Templates;
use super::json::walk::Role;
use super::plan::{Plan, Target, ValuePlan};
use super::registry_id::{PayloadId, in_headers};
use super::row::RowBuffer;
use super::skip::SkipRule;
use super::slot::{Scratch, Slot};
use super::source_names::SourceNames;
use super::sources::Sources;
use super::walking::Walking;
use super::wire::{self, Part};
use crate::batch::exchange::Told;
use crate::config::{self, Position};
use crate::epoch::Sighting;
use crate::fault::{Code, Fault};
use crate::record::RawRecord;
use crate::version::{Version, VersionParts};
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
    /// The guard, in source epoch 0.
    pub version: Version,
    /// Microseconds since 2000-01-01, for deletes, tombstones and truncates.
    pub deleted_at: Option<i64>,
    /// When the change happened at the source, microseconds since 2000-01-01.
    pub source_ts: Option<i64>,
    /// `source_ts` is the source's own time, not the next best.
    pub own_time: bool,
    /// Some column keeps the target's value (`Row` only).
    pub has_kept: bool,
    /// Of those, some column was a placeholder, so a base row must exist (I9).
    pub needs_base: bool,
    /// Its source, by the number that [`TopicDecoder::source`] names until the next record is decoded.
    pub source: u16,
    /// What it tells of its source's positions.
    pub sighting: Option<Sighting>,
    /// The base is the row of another key: [`RowBuffer::old_key`].
    pub moved: bool,
    /// A row came to the key: op `c`.
    pub created: bool,
    /// A row went from the key to another: [`RowBuffer::image`].
    pub left: bool,
    /// An update with a NULL that may stand for an unchanged value: the column's type has no placeholder, and the source's
    /// replica identity is not full.
    pub null_in_doubt: bool,
}

impl Default for Change {
    fn default() -> Self {
        Self {
            kind: ChangeKind::Row,
            version: Version::new(VersionParts::default()),
            deleted_at: None,
            source_ts: None,
            own_time: false,
            has_kept: false,
            needs_base: false,
            source: SourceNames::UNKNOWN,
            sighting: None,
            moved: false,
            created: false,
            left: false,
            null_in_doubt: false,
        }
    }
}

impl Change {
    /// What it tells of how many rows its key has; `row` is what it was decoded into.
    #[must_use]
    pub fn told<'a>(&self, row: &'a RowBuffer) -> Told<'a> {
        match (self.created, self.left) {
            (true, _) => Told::Created,
            (false, true) => Told::Left { image: &row.image, lacks: &row.lacks },
            (false, false) => Told::Nothing,
        }
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A change.
    Change(Change),
    /// Nothing for a table; the rule that says so.
    Skip(SkipRule),
    /// A plan is missing: install one, or refuse, and decode the record again.
    NeedsPlan(PlanNeed),
    /// The record cannot be decoded. The fault's class may also be blocked: then the table lacks something.
    Poison(Fault),
}

/// As [`Decoded`], the change itself left out.
pub(super) enum Verdict {
    Change,
    Skip(SkipRule),
    NeedsPlan(PlanNeed),
}

/// Decoder of one topic.
#[derive(Debug)]
pub struct TopicDecoder {
    format: config::Format,
    overrides: config::Table,
    position: Position,
    topic_id: [u8; 16],
    sources: Sources,
    payload_id: PayloadId,
    /// Some record of the topic names a schema in its headers.
    headers: bool,
    identity: Identity,
    texts: Texts,
    plans: Vec<Entry>,
    /// Index of the plan that the last record used.
    last: usize,
    key_slots: Vec<Slot<'static>>,
    row_slots: Vec<Slot<'static>>,
    source_names: SourceNames,
}

#[derive(Debug)]
struct Entry {
    key: Id,
    value: Id,
    plan: Result<Arc<Plan>, Fault>,
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
        self.plans.push(Entry {
            key,
            value,
            plan,
            memo: Memo::default(),
            templates: Templates::default(),
        });
    }

    /// Decodes one record. `scratch` and `row` are cleared first; `row` is filled for every kind but `Truncate`.
    pub fn decode<'r>(
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
        if self.texts.is_full() {
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
            memo,
            block: Block::Unknown,
            templates,
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
        let exact = |e: &Entry| e.key == key && e.value == value;
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
            e.plan.is_ok()
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
        if let Some(Entry { plan: Ok(plan), templates, .. }) = self.plans.get_mut(index)
            && let Ok(text) = std::str::from_utf8(json)
        {
            match &plan.value {
                ValuePlan::Json { names, flattened } => {
                    let role = if *flattened { Role::Flattened } else { Role::Envelope };
                    templates.learn(text, role, names);
                }
                ValuePlan::Untyped { names } => templates.learn(text, role, names),
                ValuePlan::Avro { .. } | ValuePlan::None => {}
            }
        }
    }

    fn need(&self, key: Id, value: Id) -> Result<Verdict, Fault> {
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
