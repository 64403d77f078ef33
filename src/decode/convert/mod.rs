//! Turns one slot into one field of PostgreSQL's binary COPY, through an operation chosen once per (schema, table).
//!
//! The binary forms are those of the `*_recv` functions (PostgreSQL sources, `src/backend/utils/adt`); how Debezium
//! writes its values is in its documentation under "Data type mappings".
//!
//! # Decisions
//! - A value lands exactly or not at all (I11): what would be rounded, cut or moved to another zone is poison, what can
//!   never fit is refused when the plan is made.
//! - Whatever PostgreSQL would refuse in COPY is refused here (guarantees S9-S11), because one bad field aborts the
//!   batch. Labels of enums and syntax of text-staged types are the two things that only PostgreSQL knows.

mod array;
mod bytea;
mod cast;
mod cast_for;
mod decimal;
mod iso;
mod json_text;
mod narrow;
mod natural;
mod numeric;
mod placeholder;
mod resolve;
mod shape;
mod struct_text;
mod structured;
mod target;
mod temporal;
mod text;
mod untold;
mod vector;
mod wkb;

pub use cast_for::{NO_ARRAYS_OF_BITS, arrives_as_null};
pub use natural::natural_type;
pub use target::{Staging, staging};

use super::schema::FieldType;
use super::slot::{NestedReader, Scratch, Slot};
use crate::fault::{Code, Fault};
use crate::table::Column;
use placeholder::Placeholder;
use resolve::Operation;
use std::sync::Arc;

/// One column's compiled conversion: cheap to clone, used for every record of one (schema, table).
#[derive(Clone, Debug)]
pub struct Conversion {
    column: Arc<str>,
    sql: Arc<str>,
    operation: Operation,
    placeholder: Option<Arc<Placeholder>>,
    nul_replacement: Option<Arc<str>>,
}

impl Conversion {
    /// Chooses the operation that brings `field` into `column`. `modes` says what no schema tells (Debezium's
    /// `binary.handling.mode`, and for JSON without schema `decimal.handling.mode` and `time.precision.mode`).
    ///
    /// # Errors
    /// Why the field cannot land in this column without loss, as one lower-case sentence for the operator.
    pub fn resolve(
        field: &FieldType,
        column: &Column,
        modes: &crate::config::Table,
    ) -> Result<Self, String> {
        let accepted = modes.column_types.contains_key(&column.name);
        let operation = match arrives_as_null(field, &column.ty).filter(|_| !accepted) {
            Some(why) => Err(why),
            None => resolve::operation(field, &column.ty, modes),
        };
        let operation = operation.map_err(|why| {
            format!("column \"{}\" of type {}: {why}", column.name, column.ty.sql)
        })?;
        let placeholder = Placeholder::of(field, &column.ty, modes).map(Arc::new);
        Ok(Self {
            column: column.name.as_str().into(),
            sql: column.ty.sql.as_str().into(),
            operation,
            placeholder,
            nul_replacement: modes.nul_replacement.as_deref().map(Into::into),
        })
    }

    /// The same conversion for a key column: U+0000 is never replaced there, because two keys could become one.
    #[must_use]
    pub fn of_key(mut self) -> Self {
        self.nul_replacement = None;
        self
    }

    /// Appends one field (big-endian length, then the value). `Absent`, `Unavailable` and `Null` append -1: the caller
    /// knows which columns are kept (I9). After an error `out` may end in a partial field.
    ///
    /// # Errors
    /// Poison when the value does not fit the column; the text names column and type, never the value (I17).
    #[inline]
    pub fn encode(
        &self,
        slot: &Slot<'_>,
        nested: &dyn NestedReader,
        scratch: &Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let context = Context { nested, scratch, nul: self.nul_replacement.as_deref() };
        match self.operation.encode(slot, context, out) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.fault(refusal)),
        }
    }

    /// Is the value Debezium's placeholder for an unchanged value (`unavailable.value.placeholder`)? False for types
    /// that cannot carry it. Costs a length comparison for ordinary values.
    #[inline]
    #[must_use]
    pub fn is_unavailable(
        &self,
        slot: &Slot<'_>,
        nested: &dyn NestedReader,
        scratch: &Scratch,
    ) -> bool {
        match slot {
            Slot::Unavailable => true,
            Slot::Text(_) | Slot::Unescaped { .. } | Slot::Bytes(_) | Slot::Nested(_) => {
                self.placeholder.as_ref().is_some_and(|p| p.is(slot, Context::new(nested, scratch)))
            }
            _ => false,
        }
    }

    #[cold]
    fn fault(&self, refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Value(why) => Fault::poison(
                Code::ValueOutOfRange,
                format!("column \"{}\": a value {why} (type {})", self.column, self.sql),
            ),
            Refusal::Nul => Fault::poison(
                Code::NulCharacter,
                format!(
                    "column \"{}\": a value contains U+0000, which PostgreSQL cannot store (type {})",
                    self.column, self.sql
                ),
            )
            .with_hint(
                "remove it at the source, or set nul_replacement for this table (keys are never changed)",
            ),
            Refusal::Nested(fault) => *fault,
        }
    }
}

/// Why a value was not written: a phrase that continues "a value ...", U+0000 in a text, or a fault of the nested walker.
#[derive(Debug)]
enum Refusal {
    Value(&'static str),
    Nul,
    Nested(Box<Fault>),
}

type Encoded = Result<(), Refusal>;

/// What an operation may look at besides the slot itself.
#[derive(Clone, Copy)]
struct Context<'a> {
    nested: &'a dyn NestedReader,
    scratch: &'a Scratch,
    /// What takes the place of U+0000; `None` refuses it.
    nul: Option<&'a str>,
}

impl<'a> Context<'a> {
    fn new(nested: &'a dyn NestedReader, scratch: &'a Scratch) -> Self {
        Self { nested, scratch, nul: None }
    }
}

const WRONG_KIND: Refusal = Refusal::Value("is of a kind that its schema does not announce");

/// Visits a nested value and lets the visitor refuse.
fn each(
    bytes: &[u8],
    context: Context<'_>,
    visit: &mut dyn FnMut(&str, &Slot<'_>, Context<'_>) -> Encoded,
) -> Encoded {
    let mut refused = None;
    let walked = context.nested.each(bytes, &mut |name, slot, nested| {
        let inner = Context { nested, ..context };
        visit(name, slot, inner).map_err(|refusal| match refusal {
            Refusal::Nested(fault) => *fault,
            other => {
                refused = Some(other);
                // Only stops the walk; the reason is taken from `refused`.
                Fault::poison(Code::ValueOutOfRange, "")
            }
        })
    });
    match (walked, refused) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(refusal)) => Err(refusal),
        (Err(fault), None) => Err(Refusal::Nested(Box::new(fault))),
    }
}

/// NULL in COPY's binary form.
fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i32).to_be_bytes());
}

/// A field of fixed width, in one append.
#[inline]
fn put_fixed<const N: usize>(out: &mut Vec<u8>, value: [u8; N]) {
    let length = i32::try_from(N).expect("fixed widths are at most 16");
    let mut field = [0; 20];
    field[..4].copy_from_slice(&length.to_be_bytes());
    field[4..4 + N].copy_from_slice(&value);
    out.extend_from_slice(&field[..4 + N]);
}

/// A field whose content is at hand.
#[inline]
fn put_bytes(out: &mut Vec<u8>, value: &[u8]) -> Encoded {
    let length = i32::try_from(value.len()).map_err(|_| TOO_LONG)?;
    out.reserve(4 + value.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

const TOO_LONG: Refusal = Refusal::Value("is longer than a field can be");

/// Starts a field whose length is not known yet.
fn begin(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    at
}

/// Fills in the length of the field that [`begin`] started.
fn finish(out: &mut [u8], at: usize) -> Encoded {
    let length = i32::try_from(out.len().saturating_sub(at + 4)).map_err(|_| TOO_LONG)?;
    if let Some(head) = out.get_mut(at..at + 4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
