//! Debezium's `source` block, of which most stands in the record before, byte for byte.
//!
//! # Decisions
//! - Fields that name the source (connector, database, table, ...) are compared with those of the record before, a stretch at
//!   a time, and not read again where they are the same: the same bytes at the same place of one schema say the same.
//!   Positions and times between the stretches are read as ever. A block that differs is read whole, and remembered.

use super::field::Field;
use super::reader::{Broken, Reader};
use crate::decode::facts::{Block, Fact, Facts};
use crate::decode::slot::{Scratch, Slot};
use std::ops::Range;

/// How a source block is walked.
#[derive(Clone, Debug)]
pub struct Source {
    null: Option<usize>,
    parts: Box<[Part]>,
}

/// A stretch of fields that repeat from record to record, and the fields behind it that do not.
#[derive(Clone, Debug, Default)]
struct Part {
    same: Vec<Item>,
    other: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Item {
    field: Field,
    fact: Option<Fact>,
}

impl Item {
    #[inline(always)]
    fn read<'r>(&self, reader: &mut Reader<'r>, facts: &mut Facts<'r>) -> Result<(), Broken> {
        match self.fact {
            Some(fact) => self.field.read(reader, facts.place(fact)),
            None => self.field.skip(reader),
        }
    }
}

/// The repeated stretches of a source block.
#[derive(Debug, Default)]
pub struct Memo {
    /// All stretches, one behind the other.
    bytes: Vec<u8>,
    /// Where each ends; nothing is known while there is none.
    ends: Vec<usize>,
    /// The texts of the facts in them.
    texts: String,
    facts: Vec<(Fact, Option<Range<usize>>)>,
    /// A fact among them is no text: nothing of this schema is remembered any more.
    given_up: bool,
}

impl Source {
    /// Compiles a block from its fields' names, types and facts. `null` is the branch that is null when it is optional.
    pub fn new<'n>(
        null: Option<usize>,
        fields: impl Iterator<Item = (&'n str, Field, Option<Fact>)>,
    ) -> Self {
        let mut parts = vec![Part::default()];
        for (name, field, fact) in fields {
            let item = Item { field, fact };
            let repeats = Fact::repeats(name);
            if repeats && parts.last().is_some_and(|part| !part.other.is_empty()) {
                parts.push(Part::default());
            }
            if let Some(part) = parts.last_mut() {
                if repeats { part.same.push(item) } else { part.other.push(item) }
            }
        }
        Self { null, parts: parts.into() }
    }

    /// Walks the block; `facts.block` tells whether `memo` held it.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    pub fn read<'r>(
        &self,
        reader: &mut Reader<'r>,
        facts: &mut Facts<'r>,
        memo: Option<&'r Memo>,
    ) -> Result<(), Broken> {
        if let Some(null) = self.null
            && reader.branch(2)? == null
        {
            return Ok(());
        }
        let block = reader.rest();
        if let Some(memo) = memo
            && self.read_known(reader, facts, memo)?
        {
            facts.block = Block::Same;
            return Ok(());
        }
        *reader = Reader::new(block);
        for part in &self.parts {
            part.same.iter().chain(&part.other).try_for_each(|item| item.read(reader, facts))?;
        }
        if memo.is_some_and(|memo| !memo.given_up) {
            facts.block = Block::New { from_end: block.len(), length: reader.since(block).len() };
        }
        Ok(())
    }

    /// `false` where a stretch differs.
    fn read_known<'r>(
        &self,
        reader: &mut Reader<'r>,
        facts: &mut Facts<'r>,
        memo: &'r Memo,
    ) -> Result<bool, Broken> {
        if memo.ends.len() != self.parts.len() {
            return Ok(false);
        }
        let mut from = 0;
        for (part, end) in self.parts.iter().zip(&memo.ends) {
            if !reader.take_same(memo.bytes.get(from..*end).unwrap_or_default()) {
                return Ok(false);
            }
            from = *end;
            for item in &part.other {
                item.read(reader, facts)?;
            }
        }
        for (fact, text) in &memo.facts {
            let text = text.as_ref().and_then(|range| memo.texts.get(range.clone()));
            *facts.place(*fact) = text.map_or(Slot::Null, Slot::Text);
        }
        Ok(true)
    }

    /// Remembers the stretches of a block that was read; nothing where a fact among them is no text.
    pub fn learn(&self, block: &[u8], memo: &mut Memo) {
        memo.forget();
        if self.try_learn(block, memo).is_none() {
            memo.forget();
            memo.given_up = true;
        }
    }

    fn try_learn(&self, block: &[u8], memo: &mut Memo) -> Option<()> {
        let (mut reader, mut facts) = (Reader::new(block), Facts::default());
        let scratch = Scratch::default();
        for part in &self.parts {
            let start = reader.rest();
            for item in &part.same {
                item.read(&mut reader, &mut facts).ok()?;
                let Some(fact) = item.fact else { continue };
                let at = memo.texts.len();
                if facts.get(fact) == &Slot::Null {
                    memo.facts.push((fact, None));
                } else {
                    memo.texts.push_str(scratch.text(facts.get(fact))?);
                    memo.facts.push((fact, Some(at..memo.texts.len())));
                }
            }
            memo.bytes.extend_from_slice(reader.since(start));
            memo.ends.push(memo.bytes.len());
            for item in &part.other {
                item.read(&mut reader, &mut facts).ok()?;
            }
        }
        Some(())
    }
}

impl Memo {
    /// Empty, with the memory it has.
    fn forget(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.texts.clear();
        self.facts.clear();
    }
}
