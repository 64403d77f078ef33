//! What stands between the values of a record, remembered from the one before: names, commas, and what never changes.
//!
//! # Decisions
//! - Debezium writes the fields of one schema in one order, so the text from one value to the next is compared as bytes, and
//!   only values are read. The same text behind the same text means the same to the scanner, so nothing is taken that it would
//!   refuse; where another text comes, it goes on from there.
//! - Learning reads the record once more. Where records keep differing it would cost more than it brings, so it is given up
//!   unless records follow what was learnt.

use super::scan::{Broken, Scanner};
use super::walk::{Role, what_of};
use crate::decode::facts::Fact;
use crate::decode::slot::{Scratch, Slot};
use std::ops::Range;

/// So often is a template learnt in a row without a record that follows it.
const TRIES: u8 = 8;

/// What becomes of the value behind a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A column of the row.
    Column(usize),
    /// A fact about the change.
    Fact(Fact),
    /// Nothing of it is needed.
    Skip,
    /// The before image.
    Before,
    /// The after image.
    After,
    /// The source block.
    Source,
    /// There is none: the object has ended.
    End,
}

/// A text and the value behind it.
#[derive(Debug)]
pub struct Step {
    /// Where the text ends in the template's.
    pub end: usize,
    /// What comes behind it.
    pub what: What,
    /// The facts that the text holds.
    pub constants: Range<usize>,
}

/// One object's texts.
#[derive(Debug, Default)]
pub struct Template {
    /// All texts, one behind the other.
    pub text: String,
    /// Without any, nothing is known.
    pub steps: Vec<Step>,
    /// Facts that the texts hold, with their places there; `None` is null.
    pub constants: Vec<(Fact, Option<Range<usize>>)>,
}

/// The templates of a topic's records.
#[derive(Debug)]
pub struct Templates {
    role: Role,
    outer: Template,
    image: Template,
    source: Template,
    tries: u8,
}

impl Default for Templates {
    fn default() -> Self {
        let [outer, image, source] = <[Template; 3]>::default();
        Self { role: Role::Envelope, outer, image, source, tries: TRIES }
    }
}

impl Templates {
    /// The template of an object; without steps where there is none.
    #[must_use]
    pub fn of(&self, role: Role) -> Option<&Template> {
        let template = match role {
            Role::Image => &self.image,
            Role::Source => &self.source,
            _ if role == self.role => &self.outer,
            _ => return None,
        };
        (!template.steps.is_empty()).then_some(template)
    }

    /// A record has followed them.
    #[inline]
    pub fn followed(&mut self) {
        self.tries = TRIES;
    }

    /// Learns from a record that was read without fault. `names` are the row's columns.
    pub fn learn(&mut self, json: &[u8], role: Role, names: &[Box<str>]) {
        if self.tries == 0 || !matches!(role, Role::Envelope | Role::Flattened) {
            return;
        }
        let Ok(text) = std::str::from_utf8(json) else { return };
        self.tries -= 1;
        self.role = role;
        let outer = self.object(role, &mut Scanner::new(text), names);
        self.outer = outer.unwrap_or_default();
    }

    /// Learns an object; none where it holds what no template can.
    fn object(
        &mut self,
        role: Role,
        scanner: &mut Scanner<'_>,
        names: &[Box<str>],
    ) -> Result<Template, Broken> {
        let mut template = Template::default();
        if scanner.peek()? != b'{' {
            scanner.skip()?;
            return Ok(template);
        }
        let (mut from, mut first, mut known) = (scanner.at(), true, 0);
        let mut usable = true;
        loop {
            let name = scanner.name(&mut first)?;
            let what = name.as_deref().map_or(What::End, |name| {
                what_of(role, name, names).unwrap_or_else(|| {
                    usable = false;
                    What::Skip
                })
            });
            let repeats = role == Role::Source && name.as_deref().is_some_and(Fact::repeats);
            if repeats {
                // Its value is part of the text.
                scanner.peek()?;
                let at = template.text.len() + scanner.at() - from + 1;
                let slot = scanner.slot(&mut Scratch::default())?;
                let place = match slot {
                    Slot::Text(text) => Some(at..at + text.len()),
                    Slot::Null => None,
                    _ => {
                        usable = false;
                        continue;
                    }
                };
                if let What::Fact(fact) = what {
                    template.constants.push((fact, place));
                }
                continue;
            }
            template.text.push_str(scanner.since(from));
            // A schema may give two columns one name; only the walk by names tells that apart.
            usable &= !matches!(what, What::Column(_))
                || template.steps.iter().all(|step| step.what != what);
            let constants = known..template.constants.len();
            known = constants.end;
            template.steps.push(Step { end: template.text.len(), what, constants });
            match what {
                What::End => break,
                What::After if scanner.peek()? == b'{' => {
                    self.image = self.object(Role::Image, scanner, names)?;
                }
                What::Source => self.source = self.object(Role::Source, scanner, names)?,
                _ => scanner.skip()?,
            }
            from = scanner.at();
        }
        Ok(if usable { template } else { Template::default() })
    }
}
