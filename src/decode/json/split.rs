//! The outer object of JsonConverter with schemas: `{"schema": ..., "payload": ...}` taken apart.

use super::walk::undecodable;
use crate::fault::Fault;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'r> {
    /// The schema block's text, `null` included.
    pub schema: &'r str,
    /// The payload's text.
    pub payload: &'r str,
}

/// Takes the outer object apart; `None` when the JSON is no such object.
///
/// # Errors
/// Poison when the text is no JSON.
pub fn split(json: &[u8]) -> Result<Option<Parts<'_>>, Fault> {
    if !starts_with_part(json) {
        return Ok(None);
    }
    let Outer(parts) = serde_json::from_slice(json).map_err(|e| undecodable(&e))?;
    Ok(parts)
}

/// Whether the first field is `schema` or `payload`; what is neither is not looked at any further.
fn starts_with_part(json: &[u8]) -> bool {
    let Some(first) = json.trim_ascii_start().strip_prefix(b"{") else { return false };
    let first = first.trim_ascii_start();
    first.starts_with(b"\"schema\"") || first.starts_with(b"\"payload\"")
}

/// Everything before the payload, when the payload is the last thing in the object: the same bytes in front of another
/// record mean the same schema, so that only what follows has to be read.
#[must_use]
pub fn prefix<'r>(json: &'r [u8], parts: &Parts<'_>) -> Option<&'r [u8]> {
    let body = json.strip_suffix(b"}")?.trim_ascii_end();
    body.strip_suffix(parts.payload.as_bytes())
}

/// The payload behind a known prefix.
#[must_use]
pub fn payload_behind<'r>(json: &'r [u8], prefix: &[u8]) -> Option<&'r [u8]> {
    Some(json.strip_prefix(prefix)?.strip_suffix(b"}")?.trim_ascii())
}

struct Outer<'r>(Option<Parts<'r>>);

impl<'de> Deserialize<'de> for Outer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Outer<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Outer<'de>, M::Error> {
                let (mut schema, mut payload, mut others) = (None, None, false);
                let twice = || M::Error::custom("schema or payload stands twice");
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match &*key {
                        "schema" if schema.is_some() => return Err(twice()),
                        "payload" if payload.is_some() => return Err(twice()),
                        "schema" => schema = Some(map.next_value::<&'de RawValue>()?.get()),
                        "payload" => payload = Some(map.next_value::<&'de RawValue>()?.get()),
                        _ => {
                            others = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                // A row may have columns of these names; a schema is null or an object with a type.
                let parts = schema.zip(payload).map(|(schema, payload)| Parts { schema, payload });
                Ok(Outer(
                    parts.filter(|p| !others && (p.schema == "null" || p.schema.starts_with('{'))),
                ))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_and_payload_come_apart_in_either_order() {
        let parts = Some(Parts { schema: "{\"type\":\"x\"}", payload: "[1]" });
        assert_eq!(split(br#"{"schema":{"type":"x"},"payload":[1]}"#), Ok(parts));
        assert_eq!(split(br#" { "payload" : [1] , "schema" : {"type":"x"} } "#), Ok(parts));
    }

    #[test]
    fn an_object_with_other_fields_is_a_row() {
        assert_eq!(split(br#"{"schema":"public","payload":1}"#), Ok(None));
        assert_eq!(split(br#"{"schema":{},"payload":1,"id":2}"#), Ok(None));
        assert_eq!(split(br#"{"id":2}"#), Ok(None));
        assert!(split(br#"{"schema":{},"payload":"#).is_err());
        assert!(split(br#"{"schema":{},"payload":1,"payload":2}"#).is_err());
        assert!(split(br#"{"schema":{},"payload":1,"schema":{}}"#).is_err());
    }

    #[test]
    fn a_known_prefix_gives_the_payload_without_reading_the_schema() {
        let json = br#"{"schema":{"type":"x"},"payload": {"a":1} }"#;
        let parts = split(json).unwrap().unwrap();
        let prefix = prefix(json, &parts).unwrap();
        assert_eq!(
            payload_behind(br#"{"schema":{"type":"x"},"payload": {"a":2}}"#, prefix),
            Some(&br#"{"a":2}"#[..])
        );
        assert_eq!(payload_behind(br#"{"schema":{"type":"y"},"payload": {"a":2}}"#, prefix), None);
    }
}
