//! The source epoch that a record names itself, in a header (`[guard] epoch_header`).

use crate::fault::{Code, Fault};
use crate::record::RawRecord;

/// The epoch that a record's header `name` names; `None` without that header.
///
/// # Errors
/// Blocked `epoch_header_invalid` when it holds no number.
pub fn declared(name: &str, raw: &RawRecord<'_>) -> Result<Option<u32>, Fault> {
    let Some(value) = raw.headers.get(name) else { return Ok(None) };
    let number = value
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| {
        Fault::blocked(
            Code::EpochHeaderInvalid,
            format!("header {name} of record {} is no whole number from 0 to 4294967295", raw.coordinates()),
            "let the connector's InsertHeader transform write a decimal number, or remove [guard] epoch_header",
        )
    })
}
