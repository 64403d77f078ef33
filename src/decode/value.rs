//! The walk through a record's value: into facts and slots, by its schema and not yet by its table.

use super::avro::Sink;
use super::facts::{Fact, Facts};
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
    facts: &mut Facts<'r>,
    row: &mut [Slot<'r>],
    scratch: &mut Scratch,
) -> Result<Walked, Fault> {
    let json_role = |flattened| if flattened { Role::Flattened } else { Role::Envelope };
    let (names, as_what, typed) = match plan {
        ValuePlan::None => return Err(disagree("value")),
        ValuePlan::Avro { datum, .. } => {
            let present = datum.read_all(body, &mut Sink { facts, row })?;
            return Ok(Walked { present, role, unknown: None });
        }
        ValuePlan::Json { .. } if role == Role::Maxwell => return Err(disagree("value")),
        ValuePlan::Json { names, flattened } => (names, json_role(*flattened), true),
        ValuePlan::Untyped { names } => (names, role, false),
    };
    let mut walk = Walk { names, facts, row, scratch, unknown: None };
    let mut walked = Walked { present: walk.read(body, as_what)?, role, unknown: None };
    if !typed && as_what == Role::Envelope && !walk.facts.has(Fact::Op) {
        // A row whose first column is called `before`.
        *walk.facts = Facts::default();
        walked.present = walk.read(body, Role::Flattened)?;
        walked.role = Role::Flattened;
    }
    match walk.unknown {
        Some(_) if typed => Err(disagree("value")),
        unknown => Ok(Walked { unknown, ..walked }),
    }
}

/// The fault of a half that is not as its schema says.
pub(super) fn disagree(part: &str) -> Fault {
    Fault::poison(
        Code::Undecodable,
        format!("decode {part}: it does not have the form that its schema gives it"),
    )
}
