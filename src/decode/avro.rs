//! Walks Avro binary with a compiled plan into slots. Strict: what does not follow the schema to the last byte is an error.
//!
//! # Decisions
//! - A slot is written where it stays. Handed up as a value it was copied in pieces that the processor had to wait for (its
//!   stores were narrower than the loads): more than half of the samples in `Group::read`.
//! - A reader that stays in registers (everything inlined, a copy of it for what is not) took as long, in instructions and in
//!   time.

mod field;
pub mod nested;
pub mod reader;
mod source;

use super::facts::{Fact, Facts, Image};
use super::slot::Slot;
use crate::fault::Fault;
use reader::{Broken, Reader};

pub use field::Field;
pub use source::{Memo, Source};

/// A type as the walker needs it: names resolved, semantics gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `boolean`.
    Boolean,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `bytes`.
    Bytes,
    /// `string`.
    String,
    /// `fixed` of so many bytes.
    Fixed(usize),
    /// `enum` with its symbols.
    Enum(Box<[Box<str>]>),
    /// `array`.
    Array(Box<Node>),
    /// `map` with text keys.
    Map(Box<Node>),
    /// An array of Confluent's `MapEntry`: a map with other keys.
    Entries(Box<Node>, Box<Node>),
    /// `record`.
    Record(Box<[(Box<str>, Node)]>),
    /// Union.
    Union(Box<[Node]>),
}

/// What to do with one field, in the order in which the fields are written.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing of it is needed.
    Skip(Field),
    /// A column of the row.
    Column(Field, usize),
    /// A fact about the change.
    Fact(Field, Fact),
    /// The before image: remembered, not read.
    Before(Field),
    /// The after image.
    After(Group),
    /// An after image that is one text: a column of the row.
    Document(Node, usize),
    /// Debezium's `source` block.
    Source(Source),
}

/// A nested record that may be null, walked step by step.
#[derive(Clone, Debug)]
pub struct Group {
    /// For a union with `null`: which of its two branches is null.
    pub null: Option<usize>,
    /// The record's fields.
    pub steps: Box<[Step]>,
}

/// Where a walk puts what it finds.
pub struct Sink<'a, 'r> {
    /// Facts about the change.
    pub facts: &'a mut Facts<'r>,
    /// One slot per column of the record schema.
    pub row: &'a mut [Slot<'r>],
    /// The source block of the record before.
    pub memo: Option<&'r Memo>,
}

impl Group {
    /// The walk of its `source` block.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.steps.iter().find_map(|step| match step {
            Step::Source(source) => Some(source),
            _ => None,
        })
    }

    /// Walks a whole datum; `false` means it is null.
    ///
    /// # Errors
    /// Poison `Undecodable` when the bytes do not follow the schema or go on behind it.
    pub fn read_all<'r>(&self, bytes: &'r [u8], sink: &mut Sink<'_, 'r>) -> Result<bool, Fault> {
        let mut reader = Reader::new(bytes);
        let present = self.read(&mut reader, sink)?;
        reader.finish()?;
        Ok(present)
    }

    /// Walks a datum at the start of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// Poison `Undecodable` when the bytes do not follow the schema.
    pub fn read_prefix<'r>(&self, bytes: &'r [u8], sink: &mut Sink<'_, 'r>) -> Result<bool, Fault> {
        Ok(self.read(&mut Reader::new(bytes), sink)?)
    }

    fn read<'r>(&self, reader: &mut Reader<'r>, sink: &mut Sink<'_, 'r>) -> Result<bool, Broken> {
        if let Some(null) = self.null
            && reader.branch(2)? == null
        {
            return Ok(false);
        }
        for step in &self.steps {
            step.read(reader, sink)?;
        }
        Ok(true)
    }
}

impl Step {
    fn read<'r>(&self, reader: &mut Reader<'r>, sink: &mut Sink<'_, 'r>) -> Result<(), Broken> {
        match self {
            Self::Skip(field) => field.skip(reader)?,
            Self::Column(field, index) => {
                field.read(reader, sink.row.get_mut(*index).unwrap_or(&mut Slot::Absent))?;
            }
            Self::Fact(field, fact) => {
                field.read(reader, sink.facts.place(*fact))?;
            }
            Self::Before(field) => {
                let rest = reader.rest();
                sink.facts.before = if field.is_null(reader)? {
                    Image::Missing
                } else {
                    field.skip_value(reader)?;
                    Image::At(rest)
                };
            }
            Self::After(group) => sink.facts.after = group.read(reader, sink)?,
            Self::Document(node, index) => {
                let slot = node.slot(reader)?;
                sink.facts.after = slot != Slot::Null;
                if let Some(place) = sink.row.get_mut(*index) {
                    *place = slot;
                }
            }
            Self::Source(source) => source.read(reader, sink.facts, sink.memo)?,
        }
        Ok(())
    }
}

impl Node {
    /// Reads one value into a slot; arrays, maps and records are skipped and handed out as their bytes.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    pub fn slot<'r>(&self, reader: &mut Reader<'r>) -> Result<Slot<'r>, Broken> {
        let mut slot = Slot::Absent;
        self.read(reader, &mut slot)?;
        Ok(slot)
    }

    /// As [`Node::slot`], straight into its place.
    fn read<'r>(&self, reader: &mut Reader<'r>, place: &mut Slot<'r>) -> Result<(), Broken> {
        let Self::Union(branches) = self else { return self.read_plain(reader, place) };
        let index = reader.branch(branches.len())?;
        branches.get(index).map_or(Ok(()), |branch| branch.read_plain(reader, place))
    }

    /// For what is no union: inside its caller, because nearly every field is a union of one type with null.
    #[inline(always)]
    fn read_plain<'r>(&self, reader: &mut Reader<'r>, place: &mut Slot<'r>) -> Result<(), Broken> {
        match self {
            Self::Null => *place = Slot::Null,
            Self::Boolean => *place = Slot::Bool(reader.boolean()?),
            Self::Int => *place = Slot::Int(reader.int()?),
            Self::Long => *place = Slot::Int(reader.long()?),
            Self::Float => *place = Slot::Float(reader.float()?),
            Self::Double => *place = Slot::Double(reader.double()?),
            Self::Bytes => *place = Slot::Bytes(reader.bytes()?),
            Self::String => *place = Slot::Text(reader.string()?),
            Self::Fixed(size) => *place = Slot::Bytes(reader.take(*size)?),
            // A symbol belongs to the schema, not to the record: it is handed out by `symbol` where it is wanted.
            Self::Enum(_) | Self::Array(_) | Self::Map(_) | Self::Entries(..) | Self::Record(_) => {
                *place = Slot::Nested(self.skipped(reader)?);
            }
            Self::Union(_) => self.read(reader, place)?,
        }
        Ok(())
    }

    /// Skips one value and returns its bytes.
    fn skipped<'r>(&self, reader: &mut Reader<'r>) -> Result<&'r [u8], Broken> {
        let rest = reader.rest();
        self.skip(reader)?;
        Ok(reader.since(rest))
    }

    /// Skips one value, as strictly as reading it, except that text is not checked for UTF-8.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    pub fn skip(&self, reader: &mut Reader<'_>) -> Result<(), Broken> {
        let Self::Union(branches) = self else { return self.skip_plain(reader) };
        let index = reader.branch(branches.len())?;
        branches.get(index).map_or(Ok(()), |branch| branch.skip_plain(reader))
    }

    #[inline(always)]
    fn skip_plain(&self, reader: &mut Reader<'_>) -> Result<(), Broken> {
        match self {
            Self::Null => {}
            Self::Boolean => reader.boolean().map(drop)?,
            Self::Int => reader.int().map(drop)?,
            Self::Long => reader.skip_long()?,
            Self::Float => reader.take(4).map(drop)?,
            Self::Double => reader.take(8).map(drop)?,
            Self::Bytes | Self::String => reader.bytes().map(drop)?,
            Self::Fixed(size) => reader.take(*size).map(drop)?,
            Self::Enum(symbols) => reader.branch(symbols.len()).map(drop)?,
            Self::Array(item) => reader.blocks::<Broken>(&mut |reader| item.skip(reader))?,
            Self::Map(value) => reader.blocks::<Broken>(&mut |reader| {
                reader.bytes()?;
                value.skip(reader)
            })?,
            Self::Entries(key, value) => reader.blocks::<Broken>(&mut |reader| {
                key.skip(reader)?;
                value.skip(reader)
            })?,
            Self::Record(fields) => {
                for (_, field) in fields {
                    field.skip(reader)?;
                }
            }
            Self::Union(_) => self.skip(reader)?,
        }
        Ok(())
    }
}
