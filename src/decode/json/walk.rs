//! One pass over a JSON payload: columns, facts and the before image into their places, the rest skipped.

use super::{maxwell, token};
use crate::decode::facts::{Fact, Facts, Image};
use crate::decode::schema::describe::DOCUMENT;
use crate::decode::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

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
    /// The first field that is no known column and not null.
    pub unknown: Option<String>,
}

/// The fault of bytes that are no JSON of the expected form. The error's own text may quote values, so it is not used.
#[cold]
pub fn undecodable(error: &serde_json::Error) -> Fault {
    let what = match error.classify() {
        serde_json::error::Category::Data => {
            "a part has another form than the envelope or schema says"
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

impl<'r> Walk<'_, 'r> {
    /// Walks a payload; `false` means it is `null`.
    ///
    /// # Errors
    /// Poison `Undecodable` when the text is no JSON object or goes on behind it.
    pub fn read(&mut self, json: &'r [u8], role: Role) -> Result<bool, Fault> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let present = Object { walk: self, role }
            .deserialize(&mut deserializer)
            .map_err(|e| undecodable(&e))?;
        deserializer.end().map_err(|e| undecodable(&e))?;
        Ok(present)
    }

    fn field<M: MapAccess<'r>>(
        &mut self,
        role: Role,
        name: &str,
        hint: &mut usize,
        map: &mut M,
    ) -> Result<(), M::Error> {
        let fact = match role {
            Role::Row | Role::Image => return self.column(role, name, hint, map),
            Role::Flattened => match Fact::of_flattened(name) {
                Some(fact) => Some(fact),
                None => return self.column(role, name, hint, map),
            },
            Role::Source => Fact::of_source(name),
            Role::MaxwellKey => {
                return match name.strip_prefix(maxwell::KEY_PREFIX) {
                    Some(column) => self.column(role, column, hint, map),
                    None if maxwell::KEY_NAMES.contains(&name) => {
                        map.next_value::<IgnoredAny>().map(drop)
                    }
                    None => self.column(role, name, hint, map),
                };
            }
            Role::Maxwell => match name {
                "data" => {
                    self.row.fill(Slot::Absent);
                    self.facts.after =
                        map.next_value_seed(Object { walk: self, role: Role::Row })?;
                    return Ok(());
                }
                "old" => {
                    self.facts.before =
                        Image::At(map.next_value::<&'r RawValue>()?.get().as_bytes());
                    return Ok(());
                }
                _ => maxwell::fact_of(name),
            },
            Role::Envelope => match name {
                "before" => {
                    let before = map.next_value::<&'r RawValue>()?.get();
                    self.facts.before = if before == "null" {
                        Image::Missing
                    } else {
                        Image::At(before.as_bytes())
                    };
                    return Ok(());
                }
                "after" => {
                    self.row.fill(Slot::Absent);
                    self.facts.after =
                        map.next_value_seed(Object { walk: self, role: Role::Image })?;
                    return Ok(());
                }
                "source" => {
                    map.next_value_seed(Object { walk: self, role: Role::Source })?;
                    return Ok(());
                }
                _ => Fact::of_envelope(name),
            },
        };
        match fact {
            Some(fact) => {
                let slot = self.slot(map)?;
                self.facts.set(fact, slot);
            }
            None => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn column<M: MapAccess<'r>>(
        &mut self,
        role: Role,
        name: &str,
        hint: &mut usize,
        map: &mut M,
    ) -> Result<(), M::Error> {
        // Fields come in schema order nearly always, so the expected name is the next one.
        let expected = self.names.get(*hint).is_some_and(|n| **n == *name);
        let index =
            if expected { Some(*hint) } else { self.names.iter().position(|n| **n == *name) };
        match index {
            Some(index) => {
                *hint = index + 1;
                let slot = self.slot(map)?;
                if let Some(place) = self.row.get_mut(index) {
                    *place = slot;
                }
            }
            None => {
                let value = map.next_value::<&'r RawValue>()?.get();
                let metadata = role == Role::Flattened && name.starts_with("__");
                if !metadata && value != "null" && self.unknown.is_none() {
                    self.unknown = Some(name.to_owned());
                }
            }
        }
        Ok(())
    }

    fn slot<M: MapAccess<'r>>(&mut self, map: &mut M) -> Result<Slot<'r>, M::Error> {
        let text = map.next_value::<&'r RawValue>()?.get();
        token::slot(text, self.scratch).ok_or_else(|| M::Error::custom("an escape is no Unicode"))
    }
}

struct Object<'w, 'a, 'r> {
    walk: &'w mut Walk<'a, 'r>,
    role: Role,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, 'de> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'r> Object<'_, '_, 'r> {
    /// An image that is one text: the only column that can hold it is the one for documents.
    fn document<E: Error>(self, slot: Slot<'r>) -> Result<bool, E> {
        if self.role != Role::Image {
            return Err(E::custom("a text where an object should be"));
        }
        match self.walk.names.iter().position(|name| **name == *DOCUMENT) {
            Some(place) => {
                if let Some(place) = self.walk.row.get_mut(place) {
                    *place = slot;
                }
            }
            None => self.walk.unknown = Some(DOCUMENT.to_owned()),
        }
        Ok(true)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = bool;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object or null")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<bool, E> {
        self.document(Slot::Text(text))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        let scratch = &mut self.walk.scratch.text;
        let place = u32::try_from(scratch.len()).ok().zip(u32::try_from(text.len()).ok());
        let Some((at, len)) = place else { return Err(E::custom("too long a text")) };
        scratch.push_str(text);
        self.document(Slot::Unescaped { at, len })
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        let mut hint = 0;
        while let Some(name) = map.next_key_seed(Name)? {
            self.walk.field(self.role, &name, &mut hint, &mut map)?;
        }
        Ok(true)
    }
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
