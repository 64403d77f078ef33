//! The JSON of Maxwell's daemon: what its fields and types mean (<https://maxwells-daemon.io/dataformat/>, key:
//! <https://maxwells-daemon.io/producers/>, snapshots: <https://maxwells-daemon.io/bootstrapping/>).
//!
//! # Decisions
//! - The version is the Kafka offset: `position` is a place in the binary log of a server that may change, and rows of a
//!   bootstrap have none.
//! - `data` is the whole row, in deletes too, so the key is read from there when the record key is no object
//!   (`kafka_key_format=array`).
//! - An update of a primary key is one record with the old value under `old`. Applying its new row alone would leave the old
//!   one live, so it is dead-lettered where people see it.

use super::walk::{Name, undecodable};
use crate::decode::envelope::Op;
use crate::decode::facts::Fact;
use crate::decode::skip::SkipRule;
use crate::fault::{Code, Fault};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What stands before a column's name in the record key.
pub const KEY_PREFIX: &str = "pk.";

/// What else is in the record key.
pub const KEY_NAMES: [&str; 2] = ["database", "table"];

/// What a field tells; every other one (`xid`, `commit`, `position`, `server_id` ...) is not needed.
#[must_use]
pub fn fact_of(name: &str) -> Option<Fact> {
    Some(match name {
        "type" => Fact::Op,
        "database" => Fact::Database,
        "table" => Fact::Table,
        "ts" => Fact::SourceTsS,
        _ => return None,
    })
}

/// What a type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A change of a row.
    Row(Op),
    /// Nothing for a table; the rule that says so.
    Skip(SkipRule),
}

/// The meaning of `type`.
///
/// # Errors
/// Blocked `OpUnknown`.
pub fn type_of(text: &str) -> Result<Type, Fault> {
    Ok(match text {
        "insert" | "update" | "bootstrap-insert" => Type::Row(Op::Write),
        "delete" => Type::Row(Op::Delete),
        "bootstrap-start" | "bootstrap-complete" => Type::Skip(SkipRule::Bootstrap),
        "table-create" | "table-alter" | "table-drop" | "database-create" | "database-alter"
        | "database-drop" => Type::Skip(SkipRule::SchemaChange),
        _ => {
            return Err(Fault::blocked(
                Code::OpUnknown,
                "read maxwell record: its type is none that is known",
                "a newer Maxwell may have types that this version does not know: update the worker; if it is a single stray record, stop the worker and set next_offset behind it in silversink.position",
            ));
        }
    })
}

/// The rule that skips a record, if its type is not about a row: asked before there is a plan, as the table of a skipped
/// record need not exist.
///
/// # Errors
/// Poison `Undecodable` when the text is no JSON object.
pub fn skipped(value: &[u8]) -> Result<Option<SkipRule>, Fault> {
    #[derive(Deserialize)]
    struct Record<'r> {
        #[serde(borrow, rename = "type")]
        ty: Option<std::borrow::Cow<'r, str>>,
    }
    let record: Record<'_> = serde_json::from_slice(value).map_err(|e| undecodable(&e))?;
    Ok(match record.ty.as_deref().map(type_of) {
        Some(Ok(Type::Skip(rule))) => Some(rule),
        _ => None,
    })
}

/// Whether a JSON object has a field of one of these names.
///
/// # Errors
/// Poison `Undecodable` when the text is no JSON object.
pub fn has_any(json: &[u8], names: &[Box<str>]) -> Result<bool, Fault> {
    struct Names<'n>(&'n [Box<str>]);
    impl<'de> DeserializeSeed<'de> for Names<'_> {
        type Value = bool;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    impl<'de> Visitor<'de> for Names<'_> {
        type Value = bool;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
            let mut found = false;
            while let Some(name) = map.next_key_seed(Name)? {
                found |= self.0.iter().any(|wanted| **wanted == *name);
                map.next_value::<IgnoredAny>()?;
            }
            Ok(found)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Names(names).deserialize(&mut deserializer).map_err(|e| undecodable(&e))
}
