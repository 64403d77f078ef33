//! A plain reader of JSON values into slots, enough for this test.

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use silversink::decode::slot::{NestedReader, Slot};
use silversink::fault::{Code, Fault};
use std::fmt;

/// Reads nested JSON text.
pub struct Json;

/// The slot of a JSON token; texts are leaked, which a test may do.
pub fn slot(json: &str) -> Slot<'_> {
    match json.as_bytes()[0] {
        b'n' => Slot::Null,
        b't' => Slot::Bool(true),
        b'f' => Slot::Bool(false),
        b'"' => Slot::Text(serde_json::from_str::<String>(json).unwrap().leak()),
        b'[' | b'{' => Slot::Nested(json.as_bytes()),
        _ if json.contains(['.', 'e', 'E']) => Slot::Number(json),
        _ => json
            .parse()
            .map(Slot::Int)
            .or_else(|_| json.parse().map(Slot::Unsigned))
            .unwrap_or(Slot::Number(json)),
    }
}

struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl NestedReader for Json {
    fn each(
        &self,
        bytes: &[u8],
        visit: &mut dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let broken = |_| Fault::poison(Code::Undecodable, "broken json");
        if bytes.first() == Some(&b'[') {
            let elements: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(broken)?;
            return elements.iter().try_for_each(|element| visit("", &slot(element.get()), self));
        }
        let Object(entries) = serde_json::from_slice(bytes).map_err(broken)?;
        entries.iter().try_for_each(|(name, value)| visit(name, &slot(value.get()), self))
    }
}
