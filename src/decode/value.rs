//! The walk through a record's value: into facts and slots, by its schema and not yet by its table.

use super::avro::{Memo, Sink};
use super::facts::{Fact, Facts};
use super::json::template::Templates;
use super::json::walk::{Role, Walk};
use super::plan::ValuePlan;
use super::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};
use std::ops::Range;

/// What a walk through a value came to.
pub(super) struct Walked {
    /// It is not null after all.
    pub present: bool,
    /// What a value without schema was.
    pub role: Role,
    /// Of JSON without schema, the first field that is no column: where its name stands in [`Scratch::text`].
    pub unknown: Option<Range<usize>>,
    /// It is JSON whose texts are not those of the record before.
    pub missed: bool,
}

/// What the record before has left to compare with.
#[derive(Clone, Copy)]
pub(super) struct Before<'r> {
    /// Its source block.
    pub memo: &'r Memo,
    /// The texts between its values, in JSON.
    pub templates: &'r Templates,
}

/// Walks a value into facts and slots; needs no table.
///
/// # Errors
/// Poison when its bytes do not have the form that their schema gives them.
#[inline]
pub(super) fn walk_value<'r>(
    plan: &ValuePlan,
    body: &'r [u8],
    role: Role,
    before: Option<Before<'r>>,
    facts: &mut Facts<'r>,
    row: &mut [Slot<'r>],
    scratch: &mut Scratch,
) -> Result<Walked, Fault> {
    if let ValuePlan::Avro { datum, .. } = plan {
        let memo = before.map(|before| before.memo);
        let present = datum.read_all(body, &mut Sink { facts, row, memo })?;
        return Ok(Walked { present, role, unknown: None, missed: false });
    }
    let templates = before.map(|before| before.templates);
    walk_json(plan, body, role, templates, facts, row, scratch)
}

/// Apart, so that Avro does not carry its room on the stack.
#[inline(never)]
fn walk_json<'r>(
    plan: &ValuePlan,
    body: &'r [u8],
    role: Role,
    templates: Option<&'r Templates>,
    facts: &mut Facts<'r>,
    row: &mut [Slot<'r>],
    scratch: &mut Scratch,
) -> Result<Walked, Fault> {
    let json_role = |flattened| if flattened { Role::Flattened } else { Role::Envelope };
    let (names, as_what, typed) = match plan {
        ValuePlan::None | ValuePlan::Avro { .. } => return Err(disagree("value")),
        ValuePlan::Json { .. } if role == Role::Maxwell => return Err(disagree("value")),
        ValuePlan::Json { names, flattened } => (names, json_role(*flattened), true),
        ValuePlan::Untyped { names } => (names, role, false),
    };
    let mut walk = Walk::new(names, facts, row, scratch);
    walk.templates = templates;
    let (mut present, mut role) = (walk.read(body, as_what)?, role);
    if !typed && as_what == Role::Envelope && !walk.facts.has(Fact::Op) {
        // A row whose first column is called `before`.
        *walk.facts = Facts::default();
        present = walk.read(body, Role::Flattened)?;
        role = Role::Flattened;
    }
    match (walk.unknown, walk.missed) {
        (Some(_), _) if typed => Err(disagree("value")),
        (unknown, missed) => Ok(Walked { present, role, unknown, missed }),
    }
}

/// The fault of a half that is not as its schema says.
pub(super) fn disagree(part: &str) -> Fault {
    Fault::poison(
        Code::Undecodable,
        format!("decode {part}: it does not have the form that its schema gives it"),
    )
}
