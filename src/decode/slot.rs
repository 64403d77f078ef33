//! One column's content on its way from the wire to PostgreSQL: borrowed, untyped, nothing allocated.

/// What the wire said about one column.
///
/// `Absent` (the schema or object has no such field) is not `Null` (the source has NULL) is not `Unavailable` (the source
/// did not send the unchanged value): invariant I9.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot<'r> {
    /// No such field in this record.
    Absent,
    /// Debezium's placeholder for an unchanged value.
    Unavailable,
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// Any integer up to 64 bits.
    Int(i64),
    /// An unsigned integer above `i64::MAX` (JSON only).
    Unsigned(u64),
    /// A 32-bit float.
    Float(f32),
    /// A 64-bit float.
    Double(f64),
    /// Text, borrowed from the record.
    Text(&'r str),
    /// Text that had to be unescaped (JSON): a range of [`Scratch::text`].
    Unescaped {
        /// First byte.
        at: u32,
        /// Length in bytes.
        len: u32,
    },
    /// Bytes, borrowed from the record (Avro `bytes` and `fixed`).
    Bytes(&'r [u8]),
    /// A number kept as its JSON text, so that nothing is rounded.
    Number(&'r str),
    /// The undecoded bytes of an array, map or struct: Avro binary or JSON text, according to the plan.
    Nested(&'r [u8]),
}

/// Buffers that are reused from record to record.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Unescaped JSON strings of the current record.
    pub text: String,
    /// General purpose bytes for conversions.
    pub bytes: Vec<u8>,
}

impl Scratch {
    /// Forgets the previous record.
    pub fn clear(&mut self) {
        self.text.clear();
        self.bytes.clear();
    }

    /// Resolves a text slot (`Text` or `Unescaped`).
    #[inline]
    #[must_use]
    pub fn text<'a>(&'a self, slot: &Slot<'a>) -> Option<&'a str> {
        match *slot {
            Slot::Text(text) => Some(text),
            Slot::Unescaped { at, len } => self.text.get(at as usize..(at + len) as usize),
            _ => None,
        }
    }
}

/// Reads the elements of a [`Slot::Nested`] value; implemented by the Avro and the JSON walker.
pub trait NestedReader {
    /// Calls `visit` once per array element (name empty), map entry (name is the key) or struct field (name is the
    /// field), in order, with the slot and the reader of what is nested in *it*. Text slots handed out are always
    /// [`Slot::Text`].
    ///
    /// # Errors
    /// Poison when the bytes do not follow their schema, or whatever `visit` returns.
    fn each(
        &self,
        bytes: &[u8],
        visit: &mut dyn FnMut(
            &str,
            &Slot<'_>,
            &dyn NestedReader,
        ) -> Result<(), crate::fault::Fault>,
    ) -> Result<(), crate::fault::Fault>;
}
