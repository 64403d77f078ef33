//! A field in the form that nearly all have, one plain type or null: read by one look at its union and one at its type.
//!
//! # Decisions
//! - Reading a field, and a number in it, is one piece of code for all that do it. In a copy for each it took fewer
//!   instructions (2 %) and more time (5 %), perhaps as more code than the processor keeps decoded. The same done to facts and to
//!   the writing of fields took 4 % more time.
//! - Walking [`Node`]s, where a union is another node behind a pointer, took 8 % more CPU for a whole record.

use super::Node;
use super::reader::{Broken, Reader};
use crate::decode::slot::Slot;

/// How a field is read or skipped.
#[derive(Clone, Debug)]
pub struct Field {
    /// For a union of one type with null: which of its two branches is null.
    null: Option<Branch>,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    First,
    Second,
}

#[derive(Clone, Debug)]
enum Value {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Record(Box<[Field]>),
    /// Everything else; a union that is not of one type with null goes here whole.
    Other(Node),
}

impl From<Node> for Field {
    fn from(node: Node) -> Self {
        match node {
            Node::Union(branches) => match &*branches {
                [Node::Null, value] if *value != Node::Null => {
                    Self { null: Some(Branch::First), value: value.clone().into() }
                }
                [value, Node::Null] if *value != Node::Null => {
                    Self { null: Some(Branch::Second), value: value.clone().into() }
                }
                _ => Self { null: None, value: Value::Other(Node::Union(branches)) },
            },
            plain => Self { null: None, value: plain.into() },
        }
    }
}

impl From<Node> for Value {
    fn from(node: Node) -> Self {
        match node {
            Node::Boolean => Self::Boolean,
            Node::Int => Self::Int,
            Node::Long => Self::Long,
            Node::Float => Self::Float,
            Node::Double => Self::Double,
            Node::Bytes => Self::Bytes,
            Node::String => Self::String,
            Node::Record(fields) => {
                Self::Record(fields.into_iter().map(|(_, node)| node.into()).collect())
            }
            other => Self::Other(other),
        }
    }
}

impl Field {
    /// Reads the union, if the field is one; `true` when the value is null and there is no more of it.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    #[inline(always)]
    pub fn is_null(&self, reader: &mut Reader<'_>) -> Result<bool, Broken> {
        Ok(match self.null {
            None => false,
            Some(null) => (reader.branch(2)? == 0) == (null == Branch::First),
        })
    }

    /// Reads one value into its place; arrays, maps and records are skipped and handed out as their bytes.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    #[inline(never)]
    pub fn read<'r>(&self, reader: &mut Reader<'r>, place: &mut Slot<'r>) -> Result<(), Broken> {
        if self.is_null(reader)? {
            *place = Slot::Null;
            return Ok(());
        }
        match &self.value {
            Value::Boolean => *place = Slot::Bool(reader.boolean()?),
            Value::Int => *place = Slot::Int(reader.int()?),
            Value::Long => *place = Slot::Int(reader.long()?),
            Value::Float => *place = Slot::Float(reader.float()?),
            Value::Double => *place = Slot::Double(reader.double()?),
            Value::Bytes => *place = Slot::Bytes(reader.bytes()?),
            Value::String => *place = Slot::Text(reader.string()?),
            Value::Record(fields) => {
                let rest = reader.rest();
                fields.iter().try_for_each(|field| field.skip(reader))?;
                *place = Slot::Nested(reader.since(rest));
            }
            Value::Other(node) => node.read(reader, place)?,
        }
        Ok(())
    }

    /// Skips one value, as strictly as reading it, except that text is not checked for UTF-8.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    #[inline]
    pub fn skip(&self, reader: &mut Reader<'_>) -> Result<(), Broken> {
        if self.is_null(reader)? { Ok(()) } else { self.skip_value(reader) }
    }

    /// Skips a value whose union is read already.
    ///
    /// # Errors
    /// When the bytes do not follow the schema.
    #[inline]
    pub fn skip_value(&self, reader: &mut Reader<'_>) -> Result<(), Broken> {
        match &self.value {
            Value::Boolean => reader.boolean().map(drop),
            Value::Int => reader.int().map(drop),
            Value::Long => reader.skip_long(),
            Value::Float => reader.take(4).map(drop),
            Value::Double => reader.take(8).map(drop),
            Value::Bytes | Value::String => reader.bytes().map(drop),
            Value::Record(fields) => fields.iter().try_for_each(|field| field.skip(reader)),
            Value::Other(node) => node.skip(reader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes() -> impl Strategy<Value = Node> {
        let leaf = prop::sample::select(vec![
            Node::Null,
            Node::Boolean,
            Node::Int,
            Node::Long,
            Node::Float,
            Node::Double,
            Node::Bytes,
            Node::String,
            Node::Fixed(2),
        ]);
        leaf.prop_recursive(3, 12, 3, |inner| {
            let record = |nodes: Vec<Node>| {
                Node::Record(nodes.into_iter().map(|node| ("f".into(), node)).collect())
            };
            prop_oneof![
                inner.clone().prop_map(|node| Node::Union([Node::Null, node].into())),
                inner.clone().prop_map(|node| Node::Union([node, Node::Null].into())),
                prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|nodes| Node::Union(nodes.into())),
                prop::collection::vec(inner.clone(), 1..4).prop_map(record),
                inner.prop_map(|node| Node::Array(Box::new(node))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_field_reads_and_skips_what_its_node_does(
            node in nodes(),
            bytes in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..24),
        ) {
            let field = Field::from(node.clone());
            let (mut expected, mut reader) = (Reader::new(&bytes), Reader::new(&bytes));
            let (mut slot, mut place) = (Slot::Absent, Slot::Absent);
            let read = node.read(&mut expected, &mut slot);
            prop_assert_eq!(field.read(&mut reader, &mut place), read);
            if read.is_ok() {
                prop_assert_eq!(format!("{place:?}"), format!("{slot:?}"));
                prop_assert_eq!(reader.rest(), expected.rest());
            }
            let (mut expected, mut reader) = (Reader::new(&bytes), Reader::new(&bytes));
            let skipped = node.skip(&mut expected);
            prop_assert_eq!(field.skip(&mut reader), skipped);
            if skipped.is_ok() {
                prop_assert_eq!(reader.rest(), expected.rest());
            }
        }
    }
}
