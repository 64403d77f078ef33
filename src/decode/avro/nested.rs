//! Reads what is inside an Avro array, map or record, one entry at a time.

use super::Node;
use super::reader::Reader;
use crate::decode::slot::{NestedReader, Slot};
use crate::fault::{Code, Fault};

type Visit<'v> = dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault> + 'v;

impl NestedReader for Node {
    fn each(
        &self,
        bytes: &[u8],
        visit: &mut dyn FnMut(&str, &Slot<'_>, &dyn NestedReader) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let reader = &mut Reader::new(bytes);
        match self.non_null() {
            Self::Array(item) => {
                reader.blocks::<Fault>(&mut |reader| item.hand_out("", reader, visit))?
            }
            Self::Map(value) => reader.blocks::<Fault>(&mut |reader| {
                let name = reader.string()?;
                value.hand_out(name, reader, visit)
            })?,
            Self::Entries(key, value) => {
                reader.blocks::<Fault>(&mut |reader| match key.slot(reader)? {
                    Slot::Text(name) => value.hand_out(name, reader, visit),
                    Slot::Int(name) => value.hand_out(&name.to_string(), reader, visit),
                    Slot::Bool(name) => value.hand_out(&name.to_string(), reader, visit),
                    _ => Err(Fault::poison(
                        Code::SchemaUnusable,
                        "decode avro: the keys of a map are neither texts nor integers",
                    )),
                })?
            }
            Self::Record(fields) => {
                for (name, field) in fields {
                    field.hand_out(name, reader, visit)?;
                }
            }
            _ => {
                return Err(Fault::poison(
                    Code::Undecodable,
                    "decode avro: a single value has no entries",
                ));
            }
        }
        Ok(reader.finish()?)
    }
}

impl Node {
    /// The branch beside `null` of a union, else the type itself.
    #[must_use]
    pub fn non_null(&self) -> &Self {
        match self {
            Self::Union(branches) => branches.iter().find(|b| **b != Self::Null).unwrap_or(self),
            _ => self,
        }
    }

    fn hand_out(
        &self,
        name: &str,
        reader: &mut Reader<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let slot = self.slot(reader)?;
        visit(name, &self.symbol(slot)?, self)
    }

    /// An enum's slot with its bytes replaced by the symbol; every other slot as it is.
    ///
    /// # Errors
    /// Poison when the index is out of range.
    pub fn symbol<'s>(&'s self, slot: Slot<'s>) -> Result<Slot<'s>, Fault> {
        match (self.non_null(), slot) {
            (Self::Enum(symbols), Slot::Nested(bytes)) => {
                let index = Reader::new(bytes).branch(symbols.len())?;
                Ok(symbols.get(index).map_or(Slot::Null, |symbol| Slot::Text(symbol)))
            }
            (_, slot) => Ok(slot),
        }
    }
}
