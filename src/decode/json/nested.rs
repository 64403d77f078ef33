//! Reads what is inside a JSON array or object, one entry at a time.

use super::scan::Scanner;
use super::walk::{Name, undecodable};
use crate::decode::schema::Wire;
use crate::decode::slot::{NestedReader, Scratch, Slot};
use crate::fault::Fault;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

type Visit<'v> = dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault> + 'v;

impl NestedReader for Wire {
    fn each(
        &self,
        bytes: &[u8],
        visit: &mut dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut fault = None;
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = Entries { wire: self, visit, fault: &mut fault }.deserialize(&mut deserializer);
        match (fault, read.and_then(|()| deserializer.end())) {
            (Some(fault), _) => Err(fault),
            (None, Err(e)) => Err(undecodable(&e)),
            (None, Ok(())) => Ok(()),
        }
    }
}

struct Entries<'a, 'v> {
    wire: &'a Wire,
    visit: &'a mut Visit<'v>,
    fault: &'a mut Option<Fault>,
}

impl Entries<'_, '_> {
    fn hand_out<E: Error>(&mut self, name: &str, wire: &Wire, json: &str) -> Result<(), E> {
        let mut scratch = Scratch::default();
        let slot = slot(json, &mut scratch)?;
        let slot = scratch.text(&slot).map_or(slot, Slot::Text);
        (self.visit)(name, &slot, wire).map_err(|fault| {
            *self.fault = Some(fault);
            E::custom("stopped")
        })
    }

    /// One `[key, value]` pair: how JsonConverter writes a map whose keys are no text.
    fn pair<E: Error>(&mut self, value: &Wire, json: &str) -> Result<(), E> {
        let pair: [&RawValue; 2] =
            serde_json::from_str(json).map_err(|_| E::custom("an entry of a map is no pair"))?;
        let [name, entry] = pair.map(RawValue::get);
        let mut scratch = Scratch::default();
        let slot = slot(name, &mut scratch)?;
        let name = scratch.text(&slot).unwrap_or(name);
        self.hand_out(name, value, entry)
    }
}

fn slot<'r, E: Error>(json: &'r str, scratch: &mut Scratch) -> Result<Slot<'r>, E> {
    Scanner::new(json).slot(scratch).map_err(|_| E::custom("an escape is no Unicode"))
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array or an object")
    }
    fn visit_seq<S: SeqAccess<'de>>(mut self, mut items: S) -> Result<(), S::Error> {
        while let Some(item) = items.next_element::<&'de RawValue>()? {
            match self.wire {
                Wire::Array(ty) => self.hand_out("", &ty.wire, item.get())?,
                Wire::Map(_, value) => self.pair(&value.wire, item.get())?,
                _ => self.hand_out("", &Wire::Untyped, item.get())?,
            }
        }
        Ok(())
    }
    fn visit_map<M: MapAccess<'de>>(mut self, mut fields: M) -> Result<(), M::Error> {
        while let Some(name) = fields.next_key_seed(Name)? {
            let value = fields.next_value::<&'de RawValue>()?;
            let wire = match self.wire {
                Wire::Map(_, value) => &value.wire,
                Wire::Struct(fields) => {
                    fields.iter().find(|f| f.name == name).map_or(&Wire::Untyped, |f| &f.ty.wire)
                }
                _ => &Wire::Untyped,
            };
            self.hand_out(&name, wire, value.get())?;
        }
        Ok(())
    }
}
