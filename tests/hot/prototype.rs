//! The prototype of the performance goals, written afresh: a plan walked for Avro, a visitor driven by column names for
//! JSON, a map from key to the newest row. No source time, no checks, one table's types by hand.

use crate::plan::{Plan, Slot};
use crate::records::Encoding;
use crate::{row, workload};
use anyhow::Context;
use base64::Engine as _;
use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

const COLUMNS: [&str; 8] = [
    "order_id",
    "customer_id",
    "store_id",
    "order_amount",
    "status",
    "created_at",
    "updated_at",
    "note",
];
const AMOUNT: usize = 3;

/// What one record says.
pub struct Event<'m> {
    pub slots: [Slot<'m>; 10],
    pub op: u8,
    pub lsn: i64,
}

struct Newest {
    from: usize,
    to: usize,
    lsn: i64,
}

pub struct Prototype {
    plan: Plan,
    encoding: Encoding,
    arena: BytesMut,
    newest: HashMap<i64, Newest, foldhash::fast::FixedState>,
}

impl Prototype {
    pub fn new(encoding: Encoding) -> anyhow::Result<Self> {
        let (_, value) = workload::schemas()?;
        let plan = Plan::compile(&serde_json::from_str(&value)?)?;
        Ok(Self { plan, encoding, arena: BytesMut::new(), newest: HashMap::default() })
    }

    pub fn decode<'m>(&self, message: &'m [u8]) -> anyhow::Result<Event<'m>> {
        if self.encoding != Encoding::Avro {
            return json(message);
        }
        let (slots, op, lsn) = self.plan.decode(message)?;
        Ok(Event { slots, op, lsn })
    }

    /// Appends the row when it is the newest of its key, whose map stays as it is otherwise.
    pub fn fold(&mut self, event: &Event<'_>) -> anyhow::Result<()> {
        let Slot::Integer(key) = event.slots[0] else { anyhow::bail!("no key") };
        let entry = self.newest.entry(key).or_insert(Newest { from: 0, to: 0, lsn: i64::MIN });
        if event.lsn <= entry.lsn {
            return Ok(());
        }
        let from = self.arena.len();
        encode(&mut self.arena, event)?;
        *entry = Newest { from, to: self.arena.len(), lsn: event.lsn };
        Ok(())
    }

    pub fn rows(&self) -> usize {
        self.newest.len()
    }

    /// The rows in key order as one COPY stream; what was gathered is forgotten.
    pub fn flush(&mut self) -> BytesMut {
        let mut rows: Vec<(i64, Newest)> = self.newest.drain().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        let mut out = BytesMut::with_capacity(self.arena.len() + 64);
        out.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        for (_, row) in &rows {
            out.put_slice(&self.arena[row.from..row.to]);
        }
        out.put_i16(-1);
        self.arena.clear();
        out
    }
}

/// One COPY tuple.
pub fn encode(out: &mut BytesMut, event: &Event<'_>) -> anyhow::Result<()> {
    let mut slots = event.slots;
    let mut amount = [0; 24];
    if let Slot::Text(text) = slots[AMOUNT] {
        let length = base64::prelude::BASE64_STANDARD.decode_slice(text, &mut amount)?;
        slots[AMOUNT] = Slot::Bytes(&amount[..length]);
    }
    row::encode(out, &slots, event.op == b'd', event.lsn)
}

fn json(message: &[u8]) -> anyhow::Result<Event<'_>> {
    let mut event = Event { slots: [Slot::Null; 10], op: 0, lsn: 0 };
    let mut before = None;
    let mut deserializer = serde_json::Deserializer::from_slice(message);
    Envelope { event: &mut event, before: &mut before }.deserialize(&mut deserializer)?;
    if event.op == b'd' {
        let row = before.context("a delete without its row")?;
        let mut deserializer = serde_json::Deserializer::from_str(row.get());
        Row(&mut event.slots).deserialize(&mut deserializer)?;
    }
    Ok(event)
}

#[derive(Deserialize)]
struct Source {
    lsn: Option<i64>,
}

struct Envelope<'a, 'm> {
    event: &'a mut Event<'m>,
    before: &'a mut Option<&'m RawValue>,
}

impl<'m> DeserializeSeed<'m> for Envelope<'_, 'm> {
    type Value = ();
    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'m> Visitor<'m> for Envelope<'_, 'm> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }
    fn visit_map<M: MapAccess<'m>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<&str>()? {
            match name {
                "before" => *self.before = map.next_value()?,
                "after" => map.next_value_seed(Row(&mut self.event.slots))?,
                "source" => self.event.lsn = map.next_value::<Source>()?.lsn.unwrap_or(0),
                "op" => {
                    let op = map.next_value::<&str>()?;
                    self.event.op = op.as_bytes().first().copied().unwrap_or_default();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Row<'a, 'm>(&'a mut [Slot<'m>; 10]);

impl<'m> DeserializeSeed<'m> for Row<'_, 'm> {
    type Value = ();
    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'m> Visitor<'m> for Row<'_, 'm> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_map<M: MapAccess<'m>>(self, mut map: M) -> Result<(), M::Error> {
        let mut next = 0;
        while let Some(name) = map.next_key::<&str>()? {
            let expected = COLUMNS.get(next).is_some_and(|column| *column == name);
            let at = if expected { Some(next) } else { COLUMNS.iter().position(|c| *c == name) };
            match at {
                Some(at) => {
                    next = at + 1;
                    self.0[at] = map.next_value_seed(Scalar)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Scalar;

impl<'m> DeserializeSeed<'m> for Scalar {
    type Value = Slot<'m>;
    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<Slot<'m>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'m> Visitor<'m> for Scalar {
    type Value = Slot<'m>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }
    fn visit_i64<E>(self, n: i64) -> Result<Slot<'m>, E> {
        Ok(Slot::Integer(n))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Slot<'m>, E> {
        Ok(Slot::Integer(n.cast_signed()))
    }
    fn visit_unit<E>(self) -> Result<Slot<'m>, E> {
        Ok(Slot::Null)
    }
    fn visit_borrowed_str<E>(self, text: &'m str) -> Result<Slot<'m>, E> {
        Ok(Slot::Text(text))
    }
}
