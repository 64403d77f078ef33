//! Recognises Debezium's placeholder for values that the source did not send (`unavailable.value.placeholder`).

use super::{Context, Refusal, each};
use crate::config::{BinaryHandlingMode, Table};
use crate::decode::schema::{FieldType, Semantic, Wire};
use crate::decode::slot::Slot;
use crate::table::ColumnType;
use base64::Engine as _;
use md5::{Digest as _, Md5};

/// Every form that the placeholder takes in one column.
#[derive(Debug, PartialEq, Eq)]
pub struct Placeholder {
    text: String,
    bytes: Vec<u8>,
    base64: Option<String>,
    /// JSON object of an hstore column.
    object: String,
    /// Java's `UUID.nameUUIDFromBytes` of the placeholder.
    uuid: String,
    elements: Elements,
}

/// What the placeholder looks like inside an array or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elements {
    /// Nothing nested can be one.
    Never,
    /// One element, text, bytes or UUID, or one integer for each byte.
    Array,
    /// One entry whose key and value are it.
    Map,
}

impl Placeholder {
    /// `None` when this field cannot carry it.
    pub fn of(field: &FieldType, column: &ColumnType, modes: &Table) -> Option<Self> {
        let elements = match &field.wire {
            Wire::String | Wire::Bytes => Elements::Never,
            Wire::Array(_) => Elements::Array,
            Wire::Map(..) => Elements::Map,
            Wire::Untyped if column.element_oid != 0 => Elements::Array,
            Wire::Untyped => Elements::Map,
            _ => return None,
        };
        if matches!(field.semantic, Semantic::Decimal { .. } | Semantic::Bits { .. }) {
            return None;
        }
        let configured = &modes.unavailable_value_placeholder;
        // Debezium reads `hex:...` as the bytes themselves.
        let bytes = match configured.strip_prefix("hex:") {
            Some(hex) => {
                let mut bytes = Vec::new();
                super::bytea::decode(hex, super::bytea::Alphabet::Hex, &mut bytes).ok()?;
                bytes
            }
            None => configured.clone().into_bytes(),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let in_base64 = match (&field.wire, modes.binary_handling_mode) {
            (Wire::Bytes, _)
            | (Wire::Untyped, BinaryHandlingMode::Bytes | BinaryHandlingMode::Base64) => true,
            (Wire::Array(element), _) => element.wire == Wire::Bytes,
            _ => false,
        };
        let base64 = in_base64.then(|| base64::engine::general_purpose::STANDARD.encode(&bytes));
        let digest: [u8; 16] = Md5::digest(&bytes).into();
        Some(Self {
            base64,
            object: format!("{{\"{text}\":\"{text}\"}}"),
            uuid: uuid::Builder::from_md5_bytes(digest).into_uuid().to_string(),
            text,
            bytes,
            elements,
        })
    }

    /// Is this slot the placeholder?
    pub fn is(&self, slot: &Slot<'_>, context: Context<'_>) -> bool {
        match *slot {
            Slot::Bytes(bytes) => bytes == self.bytes,
            Slot::Nested(bytes) => self.is_nested(bytes, context),
            _ => context.scratch.text(slot).is_some_and(|text| {
                text == self.text
                    || text == self.object
                    || self.base64.as_deref().is_some_and(|base64| base64 == text)
            }),
        }
    }

    fn is_nested(&self, bytes: &[u8], context: Context<'_>) -> bool {
        // From a tight binary form of one element to JSON integers with blanks between them.
        let plausible = self.bytes.len().min(36)..=self.bytes.len() * 8 + 64;
        if self.elements == Elements::Never || !plausible.contains(&bytes.len()) {
            return false;
        }
        let mut count = 0usize;
        let mut whole = false;
        let walked = each(bytes, context, &mut |name, slot, inner| {
            let matches = match (*slot, self.elements) {
                (Slot::Int(code), Elements::Array) => {
                    let byte = self.bytes.get(count).map(|byte| i64::from(*byte));
                    whole = count + 1 == self.bytes.len();
                    byte == Some(code)
                }
                (_, Elements::Map) => {
                    whole = count == 0;
                    whole
                        && name == self.text
                        && inner.scratch.text(slot) == Some(self.text.as_str())
                }
                (Slot::Bytes(bytes), _) => {
                    whole = count == 0;
                    whole && bytes == self.bytes
                }
                _ => {
                    whole = count == 0;
                    whole
                        && inner.scratch.text(slot).is_some_and(|text| {
                            text == self.text
                                || text == self.uuid
                                || self.base64.as_deref() == Some(text)
                        })
                }
            };
            count += 1;
            // The first element that differs ends the walk.
            if matches { Ok(()) } else { Err(Refusal::Value("is no placeholder")) }
        });
        walked.is_ok() && whole
    }
}
