//! The key that a row had before its key changed: header `__debezium.oldkey` of the create, read only where a placeholder
//! asks for the base that stands under it (I9).
//!
//! Its form is that of the connector's header converter. The default (`SimpleHeaderConverter`) writes a struct as JSON-like
//! text, `JsonConverter` writes JSON with or without an envelope of schema and payload. Other forms are not read.

use super::facts::Facts;
use super::json::walk::{Role, Walk};
use super::plan::TablePlan;
use super::row::{RowBuffer, Slots};
use super::slot::{Scratch, Slot};
use crate::fault::{Code, Fault};
use crate::record::RawRecord;
use serde::Deserialize;
use serde_json::value::RawValue;

const HEADER: &str = "__debezium.oldkey";

/// Encodes the old key into the row buffer, as the key itself is encoded; `false` when the record has none.
///
/// # Errors
/// Poison `UnchangedWithoutBase` when the header is there and cannot be read as a key of the table.
pub(super) fn read(
    record: &RawRecord<'_>,
    table: &TablePlan,
    scratch: &mut Scratch,
    row: &mut RowBuffer,
) -> Result<bool, Fault> {
    let Some(header) = record.headers.get(HEADER) else { return Ok(false) };
    let unreadable = || {
        Fault::poison(
            Code::UnchangedWithoutBase,
            format!(
                "read row for {}: its key changed with unchanged columns, and header {HEADER} is no key of the table in JSON",
                table.shape.table
            ),
        )
    };
    let text = header.map(payload).ok_or_else(unreadable)?;
    let mut names: Vec<Box<str>> = Vec::new();
    for (source, index) in table.key.iter().zip(&table.shape.key) {
        let reading = source.record.as_ref().ok_or_else(unreadable)?;
        let column = table.shape.columns.get(*index).ok_or_else(unreadable)?;
        if names.len() <= reading.slot {
            names.resize(reading.slot + 1, Box::default());
        }
        names[reading.slot] = column.name.as_str().into();
    }
    let mut slots = vec![Slot::Absent; names.len()];
    let mut facts = Facts::default();
    let mut walk = Walk::new(&names, &mut facts, &mut slots, scratch);
    let present = walk.read(text, Role::Row).map_err(|_| unreadable())?;
    if !present || walk.unknown.is_some() {
        return Err(unreadable());
    }
    let slots = Slots { key: &slots, row: &[], scratch };
    row.put_old_key(table, slots).map_err(|_| unreadable())?;
    Ok(true)
}

/// The inside of JSON that brings its schema along; anything else as it is.
fn payload(header: &[u8]) -> &[u8] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Enveloped<'h> {
        #[serde(borrow, rename = "schema")]
        _schema: &'h RawValue,
        #[serde(borrow)]
        payload: &'h RawValue,
    }
    let enveloped: Result<Enveloped<'_>, _> = serde_json::from_slice(header);
    enveloped.map_or(header, |enveloped| enveloped.payload.get().as_bytes())
}
