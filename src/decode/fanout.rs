//! Records of a topic that feeds many tables: the value is walked first, its source tells the table, then the table's own plan
//! goes on from there.
//!
//! # Decisions
//! - A walk belongs to the schemas and not to the table, as long as there are schemas: slots are those of the schema's
//!   fields. So the plan of any table walks the value, and only what comes behind the walk is the record's own table's. JSON
//!   without schema is walked by the table's columns, so it is walked again where the record before was of another table.
//! - Plans are per table beside the schemas: two tables of equal columns may share both schema ids.
//! - The first plan for two schemas is one for no table ([`Plan::placing`]): it tells what is no table data, and walks.
//! - Nothing is compared with the record before, which often is one of another table.
//! - A null value names no table. The delete before it has done its work, so it is skipped by a rule of its own; where
//!   compaction took that delete away, the row stays.

use super::change::{Change, Verdict};
use super::envelope::{self, Op};
use super::facts::{Block, Fact, Facts};
use super::identify::{Half, Id};
use super::json::maxwell::{self, Type};
use super::json::recognise::is_signal;
use super::json::walk::Role;
use super::places::{Place, UNPLACED};
use super::plan::{Plan, Target, ValuePlan};
use super::row::RowBuffer;
use super::skip::SkipRule;
use super::slot::{Scratch, Slot};
use super::topic::{Entry, TopicDecoder};
use super::value::{Walked, walk_value};
use super::walking::Walking;
use crate::fault::Fault;
use crate::record::RawRecord;
use std::sync::Arc;

/// A record taken apart as far as it goes without a table.
pub(super) struct Apart<'a, 'r> {
    pub record: &'a RawRecord<'r>,
    pub key: Half<'r>,
    pub value: Half<'r>,
    /// What a value without schema is.
    pub role: Role,
}

impl TopicDecoder {
    /// Decodes a record that has a value.
    pub(super) fn decode_placed<'r>(
        &mut self,
        apart: &Apart<'_, 'r>,
        (key_slots, row_slots): (&mut Vec<Slot<'r>>, &mut Vec<Slot<'r>>),
        scratch: &mut Scratch,
        row: &mut RowBuffer,
        change: &mut Change,
    ) -> Result<Verdict, Fault> {
        let (key, value) = (apart.key.id, apart.value.id);
        let Some(walker) = self.walker(key, value)? else { return self.need(key, value) };
        if let Target::Skip(rule) = &walker.target {
            return Ok(Verdict::Skip(*rule));
        }
        let mut facts = Facts::default();
        let mut walked = self.walk(apart, &walker, &mut facts, row_slots, scratch)?;
        if !walked.present {
            return Ok(Verdict::Skip(SkipRule::TombstoneWithoutTable));
        }
        if let Some(rule) = without_row(&facts, &walker, walked.role, scratch)? {
            return Ok(Verdict::Skip(rule));
        }
        let Some(places) = &mut self.places else { return self.need(key, value) };
        let at = match places.find(&facts, scratch)? {
            Place::Known(at) => at,
            // The signal table gets no place: it is known by its rows where it has no schema.
            Place::New(_) if walked.role == Role::Envelope && is_signal(apart.value.body) => {
                return Ok(Verdict::Skip(SkipRule::Signal));
            }
            Place::New(table) => return Ok(Verdict::NewTable(table)),
        };
        let Some(placed) = places.at(at) else { return self.need(key, value) };
        self.placed = placed.number;
        let own = find(&self.plans, placed.last_plan, placed.number, key, value);
        let Some((index, plan)) = own else {
            return self.need(key, value);
        };
        placed.last_plan = index;
        let plan = Arc::clone(plan.as_ref().map_err(Clone::clone)?);
        if !Arc::ptr_eq(&plan, &walker) && matches!(plan.value, ValuePlan::Untyped { .. }) {
            scratch.clear();
            facts = Facts::default();
            walked = self.walk(apart, &plan, &mut facts, row_slots, scratch)?;
        }
        let Target::Table(table) = &plan.target else { return self.need(key, value) };
        self.last = index;
        let Some(placed) = self.places.as_mut().and_then(|places| places.at(at)) else {
            return self.need(key, value);
        };
        let mut walking = Walking {
            plan: &plan,
            table,
            record: apart.record,
            key: apart.key,
            value: apart.value,
            role: walked.role,
            scratch,
            position: self.position,
            topic_id: self.topic_id,
            sources: &mut placed.sources,
            identity: &mut placed.identity,
            source_names: &mut self.source_names,
            before: None,
            block: Block::Unknown,
            missed: false,
        };
        walking.judge_unknown(walked.unknown)?;
        walking.decode_walked(&facts, key_slots, row_slots, row, change)
    }

    /// Walks a value through a plan, which need not be that of its table.
    fn walk<'r>(
        &mut self,
        apart: &Apart<'_, 'r>,
        plan: &Plan,
        facts: &mut Facts<'r>,
        row_slots: &mut Vec<Slot<'r>>,
        scratch: &mut Scratch,
    ) -> Result<Walked, Fault> {
        let fields = match &plan.target {
            Target::Table(table) => table.fields,
            Target::Skip(_) => 0,
        };
        row_slots.clear();
        row_slots.resize(fields, Slot::Absent);
        walk_value(&plan.value, apart.value.body, apart.role, None, facts, row_slots, scratch)
    }

    /// A plan that walks values of these schemas: the last one, else any; the error where records of them are refused
    /// whatever their table.
    fn walker(&self, key: Id, value: Id) -> Result<Option<Arc<Plan>>, Fault> {
        let fits = |e: &&Entry| e.value == value && e.key == key;
        let last = self.plans.get(self.last).filter(fits);
        let usable = |e: &&Entry| fits(e) && e.plan.is_ok();
        let entry = last.filter(usable).or_else(|| self.plans.iter().find(usable));
        let entry = entry.or_else(|| self.plans.iter().find(|e| fits(e) && e.table == UNPLACED));
        entry.map(|entry| entry.plan.clone()).transpose()
    }
}

/// The plan of a table for these schemas. A record without a key has its value alone to be read (a truncate).
fn find(
    plans: &[Entry],
    last: usize,
    table: usize,
    key: Id,
    value: Id,
) -> Option<(usize, &Result<Arc<Plan>, Fault>)> {
    let exact = |e: &Entry| e.table == table && e.value == value && e.key == key;
    let half =
        |e: &Entry| key == Id::None && e.table == table && e.value == value && e.plan.is_ok();
    let found = match plans.get(last) {
        Some(entry) if exact(entry) => Some(last),
        _ => plans.iter().position(exact).or_else(|| plans.iter().position(half)),
    };
    found.and_then(|at| Some((at, &plans.get(at)?.plan)))
}

/// The rule for a record that is about no row, so that nothing is to be asked about its table.
fn without_row(
    facts: &Facts<'_>,
    plan: &Plan,
    role: Role,
    scratch: &Scratch,
) -> Result<Option<SkipRule>, Fault> {
    if role == Role::Maxwell {
        let told = facts.text(Fact::Op, scratch)?.map(maxwell::type_of).transpose()?;
        return Ok(match told {
            Some(Type::Skip(rule)) => Some(rule),
            _ => None,
        });
    }
    if plan.value.is_flattened(role) {
        return Ok(None);
    }
    let op = envelope::envelope_op(facts, scratch)?;
    Ok((op == Op::Message).then_some(SkipRule::Message))
}
