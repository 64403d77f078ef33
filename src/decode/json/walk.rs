//! One pass over a JSON payload: columns, facts and the before image into their places, the rest skipped.
//!
//! # Decisions
//! - A field that stands twice in a row, a key, an envelope or its `source` is poison: two columns that were given one name
//!   on the way would otherwise be one, and nobody would know. Metadata of flattened records has several names for one
//!   fact, of which the last one counts.
//! - A field that is no column is told in [`Walk::unknown`] unless it is null; unknown fields of an envelope and of `source`
//!   are left out, for connectors add some with each version.
//! - Nothing here recurses into a value: depth is limited where a nested value lands.

use super::maxwell;
use super::scan::{self, Broken, OTHER_FORM, Scanner, TWICE};
use super::template::{Template, Templates, What};
use crate::decode::facts::{Block, Fact, Facts, Image};
use crate::decode::schema::describe::DOCUMENT;
use crate::decode::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};
use serde::de::{DeserializeSeed, Deserializer, Visitor};
use std::borrow::Cow;
use std::ops::Range;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A row or a key: every field is a column.
    Row,
    /// The row inside an envelope; it may be one text instead, a document.
    Image,
    /// Debezium's envelope.
    Envelope,
    /// The envelope's `source`.
    Source,
    /// A row with `__op` and friends among its columns.
    Flattened,
    /// Maxwell's record.
    Maxwell,
    /// Maxwell's record key: the row's key columns behind a prefix, beside database and table.
    MaxwellKey,
}

/// A walk and what it needs.
pub struct Walk<'a, 'r> {
    /// Column names in the order in which they are expected.
    pub names: &'a [Box<str>],
    /// Facts about the change.
    pub facts: &'a mut Facts<'r>,
    /// One slot per name.
    pub row: &'a mut [Slot<'r>],
    /// Where escaped texts go.
    pub scratch: &'a mut Scratch,
    /// The first field that is no known column and not null: where its name stands in [`Scratch::text`], so that nothing is
    /// allocated for it.
    pub unknown: Option<Range<usize>>,
    /// The texts between the values of the record before.
    pub templates: Option<&'r Templates>,
    /// This record has others.
    pub missed: bool,
}

/// What a field is for where fields are followed by a template; `None` where it cannot be.
pub fn what_of(role: Role, name: &str, names: &[Box<str>]) -> Option<What> {
    let column = || names.iter().position(|column| **column == *name).map(What::Column);
    match role {
        Role::Image => column(),
        Role::Flattened => match Fact::of_flattened(name) {
            Some(fact) => Some(What::Fact(fact)),
            None => column(),
        },
        Role::Source => Some(Fact::of_source(name).map_or(What::Skip, What::Fact)),
        Role::Envelope => Some(match name {
            "before" => What::Before,
            "after" => What::After,
            "source" => What::Source,
            _ => Fact::of_envelope(name).map_or(What::Skip, What::Fact),
        }),
        Role::Row | Role::Maxwell | Role::MaxwellKey => None,
    }
}

/// The fault of bytes that are no JSON of the expected form. The error's own text may quote values, so it is not used.
#[cold]
pub fn undecodable(error: &serde_json::Error) -> Fault {
    let what = match error.classify() {
        serde_json::error::Category::Data => {
            "a part has another form than the envelope or schema says, or a field stands twice"
        }
        serde_json::error::Category::Eof => "the text ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
            "the text is no JSON"
        }
    };
    Fault::poison(
        Code::Undecodable,
        format!("decode json: {what}, line {} column {}", error.line(), error.column()),
    )
}

impl<'a, 'r> Walk<'a, 'r> {
    /// A walk that knows nothing of the record before.
    pub fn new(
        names: &'a [Box<str>],
        facts: &'a mut Facts<'r>,
        row: &'a mut [Slot<'r>],
        scratch: &'a mut Scratch,
    ) -> Self {
        Self { names, facts, row, scratch, unknown: None, templates: None, missed: false }
    }

    /// Walks a payload; `false` means it is `null`.
    ///
    /// # Errors
    /// Poison `Undecodable` when the text is no JSON object or goes on behind it.
    pub fn read(&mut self, json: &'r [u8], role: Role) -> Result<bool, Fault> {
        // What an earlier attempt has left would count as standing twice.
        self.row.fill(Slot::Absent);
        let mut scanner = Scanner::new(scan::text(json)?);
        let read = self.object(role, &mut scanner).and_then(|present| {
            scanner.finish()?;
            Ok(present)
        });
        read.map_err(|broken| scanner.fault(broken))
    }

    /// Walks an object; `false` means that null stands there.
    fn object(&mut self, role: Role, scanner: &mut Scanner<'r>) -> Result<bool, Broken> {
        match scanner.peek()? {
            b'{' => {}
            b'"' if role == Role::Image => return self.document(scanner),
            _ => {
                return match scanner.slot(self.scratch)? {
                    Slot::Null => Ok(false),
                    _ => Err(OTHER_FORM),
                };
            }
        }
        let mut progress = Progress::default();
        let mut first = true;
        if let Some(templates) = self.templates {
            if let Some(template) = templates.of(role)
                && self.follow(template, &mut progress, &mut first, scanner)?
            {
                return Ok(true);
            }
            self.missed = true;
        }
        while let Some(name) = scanner.name(&mut first)? {
            self.field(role, &name, &mut progress, scanner)?;
        }
        Ok(true)
    }

    /// Reads the values of an object between the texts of a template; `false` from where on others stand.
    fn follow(
        &mut self,
        template: &'r Template,
        progress: &mut Progress,
        first: &mut bool,
        scanner: &mut Scanner<'r>,
    ) -> Result<bool, Broken> {
        let mut from = 0;
        for step in &template.steps {
            if !scanner.take_same(template.text.get(from..step.end).unwrap_or_default()) {
                return Ok(false);
            }
            (from, *first) = (step.end, false);
            for (fact, place) in template.constants.get(step.constants.clone()).unwrap_or_default()
            {
                let text = place.as_ref().and_then(|place| template.text.get(place.clone()));
                *self.facts.place(*fact) = text.map_or(Slot::Null, Slot::Text);
            }
            match step.what {
                What::Column(index) => {
                    progress.next = index + 1;
                    let slot = scanner.slot(self.scratch)?;
                    if let Some(place) = self.row.get_mut(index) {
                        *place = slot;
                    }
                }
                What::Fact(fact) => *self.facts.place(fact) = scanner.slot(self.scratch)?,
                What::Skip => scanner.skip()?,
                What::Before => self.before(progress, scanner)?,
                What::After => self.after(progress, scanner)?,
                What::Source => self.source(progress, scanner)?,
                What::End => return Ok(true),
            }
        }
        Ok(false)
    }

    fn before(&mut self, progress: &mut Progress, scanner: &mut Scanner<'r>) -> Result<(), Broken> {
        once(&mut progress.before)?;
        scanner.peek()?;
        let start = scanner.at();
        if !self.templates.is_some_and(|templates| skip_image(templates, scanner)) {
            scanner.back_to(start);
            scanner.skip()?;
        }
        let before = scanner.since(start);
        self.facts.before =
            if before == "null" { Image::Missing } else { Image::At(before.as_bytes()) };
        Ok(())
    }

    fn after(&mut self, progress: &mut Progress, scanner: &mut Scanner<'r>) -> Result<(), Broken> {
        once(&mut progress.after)?;
        self.row.fill(Slot::Absent);
        self.facts.after = self.object(Role::Image, scanner)?;
        Ok(())
    }

    fn source(&mut self, progress: &mut Progress, scanner: &mut Scanner<'r>) -> Result<(), Broken> {
        once(&mut progress.source)?;
        let missed = std::mem::replace(&mut self.missed, false);
        self.object(Role::Source, scanner)?;
        if self.templates.is_some() && !self.missed && self.facts.has(Fact::Connector) {
            self.facts.block = Block::Same;
        }
        self.missed |= missed;
        Ok(())
    }

    /// An image that is one text: the only column that can hold it is the one for documents.
    fn document(&mut self, scanner: &mut Scanner<'r>) -> Result<bool, Broken> {
        let slot = scanner.slot(self.scratch)?;
        match self.names.iter().position(|name| **name == *DOCUMENT) {
            Some(place) => {
                if let Some(place) = self.row.get_mut(place) {
                    *place = slot;
                }
            }
            None => self.is_unknown(DOCUMENT),
        }
        Ok(true)
    }

    fn field(
        &mut self,
        role: Role,
        name: &str,
        progress: &mut Progress,
        scanner: &mut Scanner<'r>,
    ) -> Result<(), Broken> {
        let fact = match role {
            Role::Row | Role::Image => return self.column(role, name, progress, scanner),
            Role::Flattened => match Fact::of_flattened(name) {
                Some(fact) => Some(fact),
                None => return self.column(role, name, progress, scanner),
            },
            Role::Source => Fact::of_source(name),
            Role::MaxwellKey => {
                return match name.strip_prefix(maxwell::KEY_PREFIX) {
                    Some(column) => self.column(role, column, progress, scanner),
                    None if maxwell::KEY_NAMES.contains(&name) => scanner.skip(),
                    None => self.column(role, name, progress, scanner),
                };
            }
            Role::Maxwell => match name {
                "data" => {
                    self.row.fill(Slot::Absent);
                    self.facts.after = self.object(Role::Row, scanner)?;
                    return Ok(());
                }
                "old" => {
                    self.facts.before = Image::At(scanner.raw()?.as_bytes());
                    return Ok(());
                }
                _ => maxwell::fact_of(name),
            },
            Role::Envelope => match name {
                "before" => return self.before(progress, scanner),
                "after" => return self.after(progress, scanner),
                "source" => return self.source(progress, scanner),
                _ => Fact::of_envelope(name),
            },
        };
        let Some(fact) = fact else { return scanner.skip() };
        if role != Role::Flattened && self.facts.has(fact) {
            return Err(TWICE);
        }
        *self.facts.place(fact) = scanner.slot(self.scratch)?;
        Ok(())
    }

    fn is_unknown(&mut self, name: &str) {
        let from = self.scratch.text.len();
        self.scratch.text.push_str(name);
        self.unknown = Some(from..self.scratch.text.len());
    }

    fn column(
        &mut self,
        role: Role,
        name: &str,
        progress: &mut Progress,
        scanner: &mut Scanner<'r>,
    ) -> Result<(), Broken> {
        let hint = &mut progress.next;
        // Fields come in schema order nearly always, so the expected name is the next one.
        let expected = self.names.get(*hint).is_some_and(|n| **n == *name);
        let index =
            if expected { Some(*hint) } else { self.names.iter().position(|n| **n == *name) };
        match index {
            Some(index) => {
                *hint = index + 1;
                let slot = scanner.slot(self.scratch)?;
                if let Some(place) = self.row.get_mut(index) {
                    if !matches!(place, Slot::Absent) {
                        return Err(TWICE);
                    }
                    *place = slot;
                }
            }
            None => {
                let value = scanner.raw()?;
                let metadata = role == Role::Flattened && name.starts_with("__");
                if !metadata && value != "null" && self.unknown.is_none() {
                    self.is_unknown(name);
                }
            }
        }
        Ok(())
    }
}

/// How far an object is read.
#[derive(Default)]
struct Progress {
    /// The column that is expected next.
    next: usize,
    before: bool,
    after: bool,
    source: bool,
}

/// Skips an image whose texts are those of the one before; `false` where it has others, or is no image.
fn skip_image(templates: &Templates, scanner: &mut Scanner<'_>) -> bool {
    let Some(template) = templates.of(Role::Image) else { return false };
    let mut from = 0;
    for step in &template.steps {
        if !scanner.take_same(template.text.get(from..step.end).unwrap_or_default()) {
            return false;
        }
        from = step.end;
        if step.what == What::End {
            return true;
        }
        if scanner.skip().is_err() {
            return false;
        }
    }
    false
}

fn once(seen: &mut bool) -> Result<(), Broken> {
    if std::mem::replace(seen, true) { Err(TWICE) } else { Ok(()) }
}

/// A field name, borrowed unless it has escapes.
pub struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field name")
    }
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
