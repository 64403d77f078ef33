//! JSON envelopes read in one pass by a list of columns, without a tree and without an allocation; of a delete the image
//! before is read in a second one.

use super::plan::{COLUMNS, SLOTS, Slot};
use anyhow::Context;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

pub struct Decoder {
    wrapped: bool,
    /// What stood before the payload of the last message: a schema is compared, not read.
    prefix: Vec<u8>,
}

#[derive(serde::Deserialize)]
struct Wrapped<'m> {
    #[serde(borrow)]
    payload: &'m RawValue,
}

#[derive(serde::Deserialize)]
struct Source {
    lsn: i64,
}

impl Decoder {
    pub fn new(wrapped: bool) -> Self {
        Self { wrapped, prefix: Vec::new() }
    }

    pub fn decode<'m>(
        &mut self,
        message: &'m [u8],
    ) -> anyhow::Result<([Slot<'m>; SLOTS], u8, i64)> {
        if !self.wrapped {
            return envelope(message);
        }
        if self.prefix.is_empty() || !message.starts_with(&self.prefix) {
            let wrapped: Wrapped<'_> = serde_json::from_slice(message)?;
            let at = wrapped.payload.get().as_ptr() as usize - message.as_ptr() as usize;
            self.prefix = message[..at].to_vec();
        }
        let end = message.len().checked_sub(1).context("an empty message")?;
        envelope(&message[self.prefix.len()..end])
    }
}

fn envelope(message: &[u8]) -> anyhow::Result<([Slot<'_>; SLOTS], u8, i64)> {
    let mut read = Envelope { slots: [Slot::Null; SLOTS], row: false, op: 0, lsn: 0, before: None };
    Into(&mut read).deserialize(&mut serde_json::Deserializer::from_slice(message))?;
    if !read.row {
        let before = read.before.context("a delete without an image before")?;
        let mut there = false;
        Row(&mut read.slots, &mut there)
            .deserialize(&mut serde_json::Deserializer::from_str(before.get()))?;
    }
    Ok((read.slots, read.op, read.lsn))
}

struct Envelope<'m> {
    slots: [Slot<'m>; SLOTS],
    row: bool,
    op: u8,
    lsn: i64,
    before: Option<&'m RawValue>,
}

struct Into<'e, 'm>(&'e mut Envelope<'m>);

impl<'m> DeserializeSeed<'m> for Into<'_, 'm> {
    type Value = ();

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'m> Visitor<'m> for Into<'_, 'm> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<M: MapAccess<'m>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "before" => self.0.before = map.next_value()?,
                "after" => map.next_value_seed(Row(&mut self.0.slots, &mut self.0.row))?,
                "source" => self.0.lsn = map.next_value::<Source>()?.lsn,
                "op" => {
                    let op: &str = map.next_value()?;
                    self.0.op = op.as_bytes().first().copied().unwrap_or_default();
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A row into its slots; says whether it was there.
struct Row<'e, 'm>(&'e mut [Slot<'m>; SLOTS], &'e mut bool);

impl<'m> DeserializeSeed<'m> for Row<'_, 'm> {
    type Value = ();

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'m> Visitor<'m> for Row<'_, 'm> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<M: MapAccess<'m>>(self, mut map: M) -> Result<(), M::Error> {
        *self.1 = true;
        let mut next = 0;
        while let Some(key) = map.next_key::<&str>()? {
            // Columns come in the order of the table.
            let found = if COLUMNS.get(next) == Some(&key) {
                Some(next)
            } else {
                COLUMNS.iter().position(|column| *column == key)
            };
            match found {
                Some(column) => {
                    next = column + 1;
                    self.0[column] = map.next_value_seed(Scalar)?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Scalar;

impl<'m> DeserializeSeed<'m> for Scalar {
    type Value = Slot<'m>;

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<Slot<'m>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'m> Visitor<'m> for Scalar {
    type Value = Slot<'m>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without an escape")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Slot<'m>, E> {
        Ok(Slot::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Slot<'m>, E> {
        i64::try_from(value).map(Slot::Integer).map_err(E::custom)
    }

    fn visit_unit<E>(self) -> Result<Slot<'m>, E> {
        Ok(Slot::Null)
    }

    fn visit_borrowed_str<E>(self, value: &'m str) -> Result<Slot<'m>, E> {
        Ok(Slot::Text(value))
    }
}
