//! What a JSON record without schema is, by the names of its fields.

use super::walk::{Name, undecodable};
use crate::decode::schema::describe::is_signal_name;
use crate::decode::skip::SkipRule;
use crate::fault::Fault;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What the names say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// Debezium's envelope.
    Envelope,
    /// Not table data; the name of the rule that skips it.
    NotTableData(SkipRule),
    /// Anything else is a flattened row.
    Row,
}

/// Field names that tell something, one bit each; the last bit is for every other name.
const NAMES: [&str; 17] = [
    "op",
    "source",
    "ts_ms",
    "status",
    "id",
    "event_count",
    "data_collections",
    "ddl",
    "databaseName",
    "tableChanges",
    "aggregate_type",
    "additional_data",
    "type",
    "data",
    "message",
    "after",
    "before",
];
const OTHER: u32 = 1 << 31;

fn bits(names: &[&str]) -> u32 {
    names.iter().fold(0, |set, name| set | bit(name))
}

fn bit(name: &str) -> u32 {
    NAMES.iter().position(|n| *n == name).map_or(OTHER, |index| 1 << index)
}

/// Looks at the names of a value's fields. `key` is the record key's JSON: heartbeats and signals are told from rows by it.
///
/// # Errors
/// Poison `Undecodable` when the value is no JSON object.
pub fn recognise(value: &[u8], key: Option<&[u8]>) -> Result<Recognised, Fault> {
    if starts_with_before(value) {
        return Ok(Recognised::Envelope);
    }
    let Fields(found) = serde_json::from_slice(value).map_err(|e| undecodable(&e))?;
    let has = |names: &[&str]| found & bits(names) == bits(names);
    let only = |names: &[&str]| found & !bits(names) == 0;
    let key_is_object = key.is_some_and(|k| k.starts_with(b"{"));
    // The key of a logical message is its prefix; a row may have columns of these names.
    let of_message = key.is_none_or(|k| key_fields_are(k, "prefix"));
    Ok(if has(&["op", "source", "message"]) && !has(&["after"]) && of_message {
        Recognised::NotTableData(SkipRule::Message)
    } else if has(&["op", "source"]) && found & bits(&["before", "after"]) != 0 {
        Recognised::Envelope
    } else if has(&["source", "databaseName", "ddl", "tableChanges"]) {
        Recognised::NotTableData(SkipRule::SchemaChange)
    } else if has(&["status", "id", "event_count", "data_collections"])
        && only(&["status", "id", "event_count", "data_collections", "ts_ms"])
    {
        Recognised::NotTableData(SkipRule::Transaction)
    } else if has(&["id", "type", "aggregate_type", "additional_data"]) {
        Recognised::NotTableData(SkipRule::Notification)
    } else if found == bit("ts_ms") && key.is_some_and(|k| key_fields_are(k, "serverName")) {
        Recognised::NotTableData(SkipRule::Heartbeat)
    } else if has(&["type", "data"]) && only(&["id", "type", "data"]) && !key_is_object {
        Recognised::NotTableData(SkipRule::Signal)
    } else {
        Recognised::Row
    })
}

/// Whether an envelope is of the table through which Debezium is given signals: by the table's name and its columns.
#[must_use]
pub fn is_signal(envelope: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Envelope<'r> {
        #[serde(borrow)]
        source: Source<'r>,
        #[serde(borrow)]
        before: Option<Row<'r>>,
        #[serde(borrow)]
        after: Option<Row<'r>>,
    }
    #[derive(Deserialize)]
    struct Source<'r> {
        #[serde(borrow)]
        table: Cow<'r, str>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row<'r> {
        #[serde(borrow, rename = "id")]
        _id: Cow<'r, str>,
        #[serde(borrow, rename = "type")]
        _type: Option<Cow<'r, str>>,
        #[serde(borrow, rename = "data")]
        _data: Option<Cow<'r, str>>,
    }
    serde_json::from_slice::<Envelope<'_>>(envelope).is_ok_and(|envelope| {
        is_signal_name(&envelope.source.table) && envelope.before.or(envelope.after).is_some()
    })
}

/// Debezium writes `before` first, so most records need no look at their names.
fn starts_with_before(json: &[u8]) -> bool {
    let value = json
        .strip_prefix(b"{")
        .and_then(|rest| rest.trim_ascii_start().strip_prefix(b"\"before\""));
    let value = value
        .and_then(|rest| rest.trim_ascii_start().strip_prefix(b":"))
        .map(<[u8]>::trim_ascii_start);
    value.is_some_and(|value| value.starts_with(b"{") || value.starts_with(b"null"))
}

fn key_fields_are(key: &[u8], name: &str) -> bool {
    serde_json::from_slice::<std::collections::BTreeMap<String, IgnoredAny>>(key)
        .is_ok_and(|fields| fields.len() == 1 && fields.contains_key(name))
}

struct Fields(u32);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut found = 0;
                while let Some(name) = map.next_key_seed(Name)? {
                    // A column may be called so too, but it holds no object.
                    let image = matches!(&*name, "source" | "before" | "after");
                    if image && !map.next_value::<&'de RawValue>()?.get().starts_with(['{', 'n']) {
                        found |= OTHER;
                        continue;
                    }
                    found |= bit(&name);
                    if !image {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Fields(found))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_are_no_table_data_are_known_by_their_fields() {
        let of =
            |value: &str, key: &str| recognise(value.as_bytes(), Some(key.as_bytes())).unwrap();
        let rule = Recognised::NotTableData;
        assert_eq!(of(r#"{"ts_ms":1}"#, r#"{"serverName":"a"}"#), rule(SkipRule::Heartbeat));
        assert_eq!(of(r#"{"ts_ms":1}"#, r#"{"id":1}"#), Recognised::Row);
        assert_eq!(
            of(
                r#"{"status":"BEGIN","id":"1","event_count":null,"data_collections":null,"ts_ms":1}"#,
                r#"{"id":"1"}"#
            ),
            rule(SkipRule::Transaction)
        );
        assert_eq!(
            of(
                r#"{"source":{},"ts_ms":1,"databaseName":"a","schemaName":null,"ddl":"x","tableChanges":[]}"#,
                "{}"
            ),
            rule(SkipRule::SchemaChange)
        );
        assert_eq!(
            of(
                r#"{"id":"1","aggregate_type":"a","type":"b","additional_data":{},"timestamp":1}"#,
                r#"{"id":"1"}"#
            ),
            rule(SkipRule::Notification)
        );
        assert_eq!(
            of(r#"{"type":"execute-snapshot","data":{}}"#, r#""app""#),
            rule(SkipRule::Signal)
        );
        assert_eq!(of(r#"{"id":1,"type":"a","data":"b"}"#, r#"{"id":1}"#), Recognised::Row);
        assert_eq!(
            of(r#"{"op":"m","ts_ms":1,"source":{},"message":{}}"#, r#"{"prefix":"a"}"#),
            rule(SkipRule::Message)
        );
    }

    #[test]
    fn the_signal_table_is_known_by_its_name_and_its_columns() {
        let of = |table: &str, row: &str| {
            is_signal(
                format!(
                    r#"{{"before":null,"after":{row},"source":{{"table":"{table}"}},"op":"c"}}"#
                )
                .as_bytes(),
            )
        };
        let row = r#"{"id":"a","type":"execute-snapshot","data":null}"#;
        assert!(of("debezium_signal", row) && of("DEBEZIUM_SIGNALS", row));
        assert!(!of("orders", row));
        assert!(!of("traffic_signal", r#"{"id":"a","type":"red","data":null,"at":1}"#));
        assert!(!of("traffic_signal", r#"{"id":7,"type":"red","data":null}"#));
    }

    #[test]
    fn an_envelope_is_known_in_any_order() {
        assert_eq!(recognise(br#"{"before":null}"#, None), Ok(Recognised::Envelope));
        assert_eq!(
            recognise(br#"{"op":"c","after":{},"source":{}}"#, None),
            Ok(Recognised::Envelope)
        );
        assert_eq!(recognise(br#"{"op":"sale","source":"web","id":1}"#, None), Ok(Recognised::Row));
        assert!(recognise(b"[1]", None).is_err());
    }
}
