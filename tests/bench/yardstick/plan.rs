//! A writer schema compiled once to a tree that is walked for each message.

use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::HashMap;

/// Columns of the row, in the order of the table.
pub const COLUMNS: [&str; 8] = [
    "order_id",
    "customer_id",
    "store_id",
    "order_amount",
    "status",
    "created_at",
    "updated_at",
    "note",
];
const OP: usize = 8;
const LSN: usize = 9;
pub const SLOTS: usize = 10;

/// A value where the message holds it.
#[derive(Clone, Copy)]
pub enum Slot<'m> {
    Null,
    Integer(i64),
    Text(&'m str),
    Bytes(&'m [u8]),
}

/// A node; a leaf without a slot is skipped.
enum Node {
    Null,
    Integer(Option<usize>),
    Text(Option<usize>),
    Bytes(Option<usize>),
    Record(Vec<Node>),
    Union(Vec<Node>),
}

pub struct Plan(Node);

impl Plan {
    pub fn compile(schema: &Value) -> anyhow::Result<Self> {
        Ok(Self(node(schema, "", &mut HashMap::new())?))
    }

    /// The row (of a delete: its before-image), op and position.
    pub fn decode<'m>(&self, message: &'m [u8]) -> anyhow::Result<([Slot<'m>; SLOTS], u8, i64)> {
        let mut slots = [Slot::Null; SLOTS];
        let mut reader = Reader(message.get(5..).context("a message without a frame")?);
        // Both images have the same columns: what stands behind wins, and a delete has only the first.
        reader.walk(&self.0, &mut slots)?;
        let (Slot::Text(op), Slot::Integer(lsn)) = (slots[OP], slots[LSN]) else {
            bail!("no envelope")
        };
        Ok((slots, op.as_bytes().first().copied().unwrap_or_default(), lsn))
    }
}

fn node<'s>(
    schema: &'s Value,
    path: &str,
    named: &mut HashMap<&'s str, &'s Value>,
) -> anyhow::Result<Node> {
    let slot = match path {
        "/op" => Some(OP),
        "/source/lsn" => Some(LSN),
        _ => path
            .strip_prefix("/before/")
            .or(path.strip_prefix("/after/"))
            .and_then(|name| COLUMNS.iter().position(|column| *column == name)),
    };
    if let Some(branches) = schema.as_array() {
        return Ok(Node::Union(
            branches.iter().map(|b| node(b, path, named)).collect::<Result<_, _>>()?,
        ));
    }
    if let Some(fields) = schema.get("fields").and_then(Value::as_array) {
        named.insert(schema["name"].as_str().context("a record without a name")?, schema);
        let field = |field: &'s Value, named: &mut HashMap<&'s str, &'s Value>| {
            node(
                &field["type"],
                &format!("{path}/{}", field["name"].as_str().unwrap_or_default()),
                named,
            )
        };
        return Ok(Node::Record(fields.iter().map(|f| field(f, named)).collect::<Result<_, _>>()?));
    }
    let ty =
        schema.as_str().or_else(|| schema["type"].as_str()).context("a type without a name")?;
    Ok(match ty {
        "null" => Node::Null,
        "int" | "long" => Node::Integer(slot),
        "string" => Node::Text(slot),
        "bytes" => Node::Bytes(slot),
        name => {
            let found = *named.get(name).with_context(|| format!("unknown type {name}"))?;
            return node(found, path, named);
        }
    })
}

struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn long(&mut self) -> anyhow::Result<i64> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().context("the message ends early")?;
            self.0 = rest;
            bits |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
        }
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    fn bytes(&mut self) -> anyhow::Result<&'m [u8]> {
        let length = usize::try_from(self.long()?)?;
        let (bytes, rest) = self.0.split_at_checked(length).context("the message ends early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn walk(&mut self, node: &Node, slots: &mut [Slot<'m>; SLOTS]) -> anyhow::Result<()> {
        match node {
            Node::Null => {}
            Node::Integer(slot) => {
                let value = self.long()?;
                put(slots, *slot, Slot::Integer(value));
            }
            Node::Text(None) | Node::Bytes(None) => {
                self.bytes()?;
            }
            Node::Text(slot) => {
                let text = std::str::from_utf8(self.bytes()?)?;
                put(slots, *slot, Slot::Text(text));
            }
            Node::Bytes(slot) => {
                let bytes = self.bytes()?;
                put(slots, *slot, Slot::Bytes(bytes));
            }
            Node::Record(fields) => {
                for field in fields {
                    self.walk(field, slots)?;
                }
            }
            Node::Union(branches) => {
                let branch = usize::try_from(self.long()?)?;
                self.walk(branches.get(branch).context("no such branch")?, slots)?;
            }
        }
        Ok(())
    }
}

fn put<'m>(slots: &mut [Slot<'m>; SLOTS], slot: Option<usize>, value: Slot<'m>) {
    if let Some(slot) = slot {
        slots[slot] = value;
    }
}
