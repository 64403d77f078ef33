//! Which schemas a record was written with, found without reading a schema twice.

use super::json::split;
use super::registry_id::RegistryId;
use super::wire::{Framed, Part};
use crate::fault::{Code, Fault};
use std::sync::Arc;

/// Schema texts that are remembered for each table of a topic before everything is forgotten: a table has a handful, a
/// hostile topic has no end.
const MAX_TEXTS: usize = 256;
/// The same for keys in the registry, which are smaller.
const MAX_REGISTERED: usize = 4096;

/// The schema that a key or a value was written with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// Avro, by its key in the registry.
    Avro(RegistryId),
    /// JSON with schema: the text of the schema block.
    ConnectJson(Arc<str>),
    /// JSON without schema.
    Schemaless,
    /// There is no key, or no value.
    None,
}

impl SchemaId {
    /// The id in the registry, or the kind of JSON; `None` when there is nothing.
    #[must_use]
    pub fn short(&self) -> Option<String> {
        match self {
            Self::Avro(id) => Some(id.to_string()),
            Self::ConnectJson(_) => Some("json with schema".to_owned()),
            Self::Schemaless => Some("json without schema".to_owned()),
            Self::None => None,
        }
    }
}

/// The schemas that a plan is needed for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlanNeed {
    /// Schema of the key.
    pub key: SchemaId,
    /// Schema of the value.
    pub value: SchemaId,
}

/// A [`SchemaId`] inside one decoder: a text or a key in the registry is a number, so that it is a word to copy and compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    None,
    Avro(usize),
    Json(usize),
    Schemaless,
}

/// A key or a value: its schema and its bytes without any framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half<'r> {
    pub id: Id,
    pub body: &'r [u8],
}

fn forgotten() -> Fault {
    Fault::poison(Code::SchemaUnusable, "find schema: it was forgotten")
}

/// The schemas that a decoder has seen.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: Vec<Arc<str>>,
    registered: Vec<RegistryId>,
    key_frame: Option<Frame>,
    value_frame: Option<Frame>,
    key: Prefixes,
    value: Prefixes,
}

/// The frame of the last record, if it is of the common length, and the schema it names.
#[derive(Clone, Copy, Debug)]
struct Frame {
    bytes: [u8; 5],
    id: Id,
}

/// What stood before payloads, for each text once.
#[derive(Debug, Default)]
struct Prefixes {
    seen: Vec<Seen>,
    /// Index of the last one that was met again.
    last: usize,
}

/// What stood before the payload of a record, and the schema it means.
#[derive(Debug)]
struct Seen {
    prefix: Vec<u8>,
    text: usize,
}

impl Prefixes {
    /// The text and the payload of a record that starts as one before it did.
    #[inline]
    fn behind<'r>(&mut self, json: &'r [u8]) -> Option<(usize, &'r [u8])> {
        let met = |seen: &Seen| Some((seen.text, split::payload_behind(json, &seen.prefix)?));
        if let Some(found) = self.seen.get(self.last).and_then(met) {
            return Some(found);
        }
        let (at, found) =
            self.seen.iter().enumerate().find_map(|(at, seen)| Some((at, met(seen)?)))?;
        self.last = at;
        Some(found)
    }

    /// Remembers what stands before the payload; a text that is written in another way replaces its first.
    fn remember(&mut self, prefix: &[u8], text: usize) {
        let at = self.seen.iter().position(|seen| seen.text == text);
        self.last = at.unwrap_or(self.seen.len());
        let seen = Seen { prefix: prefix.to_vec(), text };
        match at.and_then(|at| self.seen.get_mut(at)) {
            Some(place) => *place = seen,
            None => self.seen.push(seen),
        }
    }
}

impl Texts {
    /// Whether there are so many texts that it is time to forget them (and the plans that go with them).
    pub fn is_full(&self, tables: usize) -> bool {
        let tables = tables.max(1);
        self.known.len() >= MAX_TEXTS * tables || self.registered.len() >= MAX_REGISTERED * tables
    }

    /// The schema of a key or a value that starts as that of the record before: no frame is read twice.
    #[inline]
    pub fn again<'r>(&self, part: Part, bytes: &'r [u8]) -> Option<Half<'r>> {
        let frame = match part {
            Part::Key => self.key_frame,
            Part::Value => self.value_frame,
        }?;
        let (start, body) = bytes.split_first_chunk()?;
        (*start == frame.bytes).then_some(Half { id: frame.id, body })
    }

    /// Notes how an Avro key or value starts.
    pub fn note<'r>(&mut self, part: Part, bytes: &[u8], half: Half<'r>) {
        if let (Id::Avro(_), Some((start, body))) = (half.id, bytes.split_first_chunk())
            && body.len() == half.body.len()
        {
            let frame = Some(Frame { bytes: *start, id: half.id });
            match part {
                Part::Key => self.key_frame = frame,
                Part::Value => self.value_frame = frame,
            }
        }
    }

    /// Finds the schema of a key or a value.
    ///
    /// # Errors
    /// Poison when the JSON cannot be taken apart.
    #[inline]
    pub fn identify<'r>(&mut self, part: Part, framed: Framed<'r>) -> Result<Half<'r>, Fault> {
        let half = match framed {
            Framed::Nothing => return Ok(Half { id: Id::None, body: &[] }),
            Framed::Avro { id, body } => return Ok(Half { id: self.registered(id), body }),
            Framed::Json(json) => self.json(part, json)?,
        };
        Ok(if half.body == b"null" { Half { id: Id::None, body: &[] } } else { half })
    }

    fn json<'r>(&mut self, part: Part, json: &'r [u8]) -> Result<Half<'r>, Fault> {
        if let Some((text, body)) = self.prefixes(part).behind(json) {
            return Ok(Half { id: Id::Json(text), body });
        }
        let Some(parts) = split::split(json)? else {
            return Ok(Half { id: Id::Schemaless, body: json });
        };
        let body = parts.payload.as_bytes();
        if parts.schema == "null" {
            return Ok(Half { id: Id::Schemaless, body });
        }
        let text = self.number(parts.schema);
        if let Some(prefix) = split::prefix(json, &parts) {
            self.prefixes(part).remember(prefix, text);
        }
        Ok(Half { id: Id::Json(text), body })
    }

    fn prefixes(&mut self, part: Part) -> &mut Prefixes {
        match part {
            Part::Key => &mut self.key,
            Part::Value => &mut self.value,
        }
    }

    fn number(&mut self, text: &str) -> usize {
        self.known.iter().position(|known| **known == *text).unwrap_or_else(|| {
            self.known.push(text.into());
            self.known.len() - 1
        })
    }

    /// A key in the registry as a number.
    pub fn registered(&mut self, id: RegistryId) -> Id {
        Id::Avro(self.registered.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.registered.push(id);
            self.registered.len() - 1
        }))
    }

    /// The id by which the outside knows a schema.
    pub fn outside(&self, id: Id) -> Result<SchemaId, Fault> {
        Ok(match id {
            Id::None => SchemaId::None,
            Id::Avro(id) => SchemaId::Avro(*self.registered.get(id).ok_or_else(forgotten)?),
            Id::Schemaless => SchemaId::Schemaless,
            Id::Json(text) => {
                SchemaId::ConnectJson(Arc::clone(self.known.get(text).ok_or_else(forgotten)?))
            }
        })
    }

    /// The id by which this decoder knows a schema.
    pub fn inside(&mut self, id: &SchemaId) -> Id {
        match id {
            SchemaId::None => Id::None,
            SchemaId::Avro(id) => self.registered(*id),
            SchemaId::Schemaless => Id::Schemaless,
            SchemaId::ConnectJson(text) => Id::Json(self.number(text)),
        }
    }
}
