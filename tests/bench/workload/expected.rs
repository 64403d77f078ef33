//! What a table must hold in the end, from the changes themselves: no decoder, no fold and no MERGE has a part in it.

use super::row::{self, Value};
use super::{Change, Spec};
use std::collections::HashMap;
use std::fmt::Write as _;

/// The last change of each row, as text for COPY: the columns, then whether it is a delete.
pub fn last_changes(spec: &Spec) -> String {
    let mut last: HashMap<i64, Change> = HashMap::new();
    for change in spec.changes() {
        // The source's order is the order of the changes: the later one wins.
        last.insert(change.id, change);
    }
    let mut out = String::new();
    for change in last.values() {
        let deleted = change.op == b'd';
        for number in 0..spec.columns {
            // Writing to a string cannot fail.
            let _ = match row::value(number, change, false) {
                Value::Long(value) => write!(out, "{value}\t"),
                Value::Int(value) => write!(out, "{value}\t"),
                Value::Cents(value) => write!(out, "{}.{:02}\t", value / 100, value % 100),
                Value::Text(value) => write!(out, "{value}\t"),
                Value::Instant(value) => write!(out, "{}\t", row::instant(value)),
            };
        }
        let _ = writeln!(out, "{deleted}");
    }
    out
}
