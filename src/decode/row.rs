//! Slots -> the encoded row: one field per column of the table, the key's fields, and which columns are kept.

use super::plan::{KeySource, Nested, Place, Reading, Source, TablePlan};
use super::slot::{Scratch, Slot};
use crate::batch::ColumnSet;
use crate::fault::{Code, Fault};
use crate::version::Version;
use std::ops::Range;

/// One row in PostgreSQL's binary form.
#[derive(Debug, Default)]
pub struct RowBuffer {
    /// One encoded field per column of the shape, in its order: `i32` length (big-endian, -1 for NULL or not given) and
    /// that many bytes.
    pub body: Vec<u8>,
    /// The encoded fields of the key, in the order of the shape's key.
    pub key: Vec<u8>,
    /// Columns that keep the target's value.
    pub kept: ColumnSet,
    /// Column and label, where the record was refused because the column's enum type lacks a label of the source's.
    pub missing_label: Option<(String, String)>,
    /// The encoded fields of the key that the row had before its key changed; empty unless a base is needed.
    pub old_key: Vec<u8>,
    /// The encoded data columns of the row that left its key by this delete; empty where the record does not tell.
    pub image: Vec<u8>,
    /// Columns that `image` does not give.
    pub lacks: ColumnSet,
    /// Version of the change, once the key is encoded: what a record that fails later is remembered by.
    pub version: Option<Version>,
    /// Where each key field stands in `key`.
    fields: Vec<Range<usize>>,
}

const NOT_GIVEN: [u8; 4] = (-1_i32).to_be_bytes();

/// What a whole row left open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Some column keeps the target's value.
    pub any: bool,
    /// Some column was a placeholder.
    pub unavailable: bool,
}

/// The slots of one record and the texts they point into.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a, 'r> {
    pub key: &'a [Slot<'r>],
    pub row: &'a [Slot<'r>],
    pub scratch: &'a Scratch,
}

impl<'a, 'r> Slots<'a, 'r> {
    // Where it stands: a copy would wait for stores that are narrower than its loads.
    #[inline]
    fn of_key(&self, reading: &Reading) -> &'a Slot<'r> {
        self.key.get(reading.slot).unwrap_or(&Slot::Absent)
    }
    #[inline]
    fn of_row(&self, reading: &Reading) -> &'a Slot<'r> {
        self.row.get(reading.slot).unwrap_or(&Slot::Absent)
    }
}

impl RowBuffer {
    /// Forgets the previous row, keeps the memory.
    pub fn clear(&mut self) {
        self.body.clear();
        self.key.clear();
        self.kept.clear();
        self.missing_label = None;
        self.old_key.clear();
        self.image.clear();
        self.lacks.clear();
        self.version = None;
        self.fields.clear();
    }

    /// Encodes the key.
    ///
    /// # Errors
    /// Poison `KeyMissing` when a key column is missing or null, or what its conversion says.
    pub(super) fn put_key(&mut self, table: &TablePlan, slots: Slots<'_, '_>) -> Result<(), Fault> {
        for (place, source) in table.key.iter().enumerate() {
            let start = self.key.len();
            let Some((reading, slot)) = key_slot(source, slots) else {
                return Err(key_missing(table, place));
            };
            reading.encode(slot, slots.scratch, &mut self.key)?;
            self.fields.push(start..self.key.len());
        }
        Ok(())
    }

    /// Encodes a row of an append table: key and columns. What is unchanged and was not sent is NULL there, as what came
    /// before is a row of its own.
    ///
    /// # Errors
    /// What a conversion says.
    pub(super) fn put_append(
        &mut self,
        table: &TablePlan,
        slots: Slots<'_, '_>,
        place: &Placed<'_>,
    ) -> Result<(), Fault> {
        for part in &table.append {
            place.put(*part, &mut self.key);
        }
        for source in &table.columns {
            let (reading, slot) = match source {
                Source::Place(part) => {
                    place.put(*part, &mut self.body);
                    continue;
                }
                Source::Row(reading) => (reading, slots.of_row(reading)),
                Source::RecordKey(reading) => (reading, slots.of_key(reading)),
                Source::Absent | Source::Gone | Source::Key(_) => {
                    self.body.extend_from_slice(&NOT_GIVEN);
                    continue;
                }
            };
            if *slot == Slot::Absent || reading.is_unavailable(slot, slots.scratch) {
                self.body.extend_from_slice(&NOT_GIVEN);
            } else {
                reading.encode(slot, slots.scratch, &mut self.body)?;
            }
        }
        Ok(())
    }

    /// Encodes the key that the row had before; its slots stand where those of the key do.
    ///
    /// # Errors
    /// As [`RowBuffer::put_key`].
    pub(super) fn put_old_key(
        &mut self,
        table: &TablePlan,
        slots: Slots<'_, '_>,
    ) -> Result<(), Fault> {
        for (place, source) in table.key.iter().enumerate() {
            let Some((reading, slot)) = key_slot(source, slots) else {
                return Err(key_missing(table, place));
            };
            reading.encode(slot, slots.scratch, &mut self.old_key)?;
        }
        Ok(())
    }

    #[inline]
    fn put_key_field(&mut self, place: usize) {
        let field = self.fields.get(place).and_then(|range| self.key.get(range.clone()));
        self.body.extend_from_slice(field.unwrap_or(&NOT_GIVEN));
    }

    /// Encodes every column of an after image; the key is encoded already.
    ///
    /// # Errors
    /// What a conversion says.
    pub(super) fn put_row(
        &mut self,
        table: &TablePlan,
        slots: Slots<'_, '_>,
    ) -> Result<Kept, Fault> {
        let mut kept = Kept::default();
        for (index, source) in table.columns.iter().enumerate() {
            let given = match source {
                Source::Key(place) => {
                    self.put_key_field(*place);
                    true
                }
                Source::Absent | Source::RecordKey(_) | Source::Place(_) => false,
                Source::Gone => {
                    self.body.extend_from_slice(&NOT_GIVEN);
                    true
                }
                Source::Row(reading) => match slots.of_row(reading) {
                    Slot::Absent => false,
                    slot if reading.is_unavailable(slot, slots.scratch) => {
                        kept.unavailable = true;
                        false
                    }
                    slot => {
                        if let Some(label) = reading.missing_label(slot, slots.scratch) {
                            return Err(self.lacks_label(table, index, label));
                        }
                        reading.encode(slot, slots.scratch, &mut self.body)?;
                        true
                    }
                },
            };
            if !given {
                self.body.extend_from_slice(&NOT_GIVEN);
                self.kept.insert(index);
                kept.any = true;
            }
        }
        Ok(kept)
    }

    /// Encodes the old row of a delete as [`RowBuffer::image`]; nothing where it cannot be.
    pub(super) fn put_image(&mut self, table: &TablePlan, slots: Slots<'_, '_>) {
        let swap = |row: &mut Self| {
            std::mem::swap(&mut row.body, &mut row.image);
            std::mem::swap(&mut row.kept, &mut row.lacks);
        };
        swap(self);
        let put = self.put_row(table, slots);
        swap(self);
        if put.is_err() {
            self.image.clear();
            self.missing_label = None;
        }
    }

    #[cold]
    fn lacks_label(&mut self, table: &TablePlan, index: usize, label: &str) -> Fault {
        let column = table.shape.columns.get(index).map_or("", |column| column.name.as_str());
        self.missing_label = Some((column.to_owned(), label.to_owned()));
        Fault::blocked(
            Code::TypeMismatch,
            format!("column \"{column}\" of {}: its enum type lacks a label", table.shape.table),
            "add the label that the source's type has, or make the column text",
        )
    }

    /// Encodes the key's columns alone: enough to insert a marked row, as no other column may be NOT NULL.
    pub(super) fn put_stub(&mut self, table: &TablePlan) {
        for source in &table.columns {
            match source {
                Source::Key(place) => self.put_key_field(*place),
                Source::Absent
                | Source::Gone
                | Source::Row(_)
                | Source::RecordKey(_)
                | Source::Place(_) => self.body.extend_from_slice(&NOT_GIVEN),
            }
        }
    }
}

/// A record's place in Kafka, and its op.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'o> {
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub offset: i64,
    pub op: Option<&'o str>,
}

impl Placed<'_> {
    /// Appends one field in PostgreSQL's binary form.
    fn put(&self, part: Place, out: &mut Vec<u8>) {
        let mut field = |bytes: &[u8]| {
            // At most sixteen bytes, or an op's letter.
            out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(-1).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        match (part, self.op) {
            (Place::TopicId, _) => field(&self.topic_id),
            (Place::Partition, _) => field(&self.partition.to_be_bytes()),
            (Place::Offset, _) => field(&self.offset.to_be_bytes()),
            (Place::Op, Some(op)) => field(op.as_bytes()),
            (Place::Op, None) => out.extend_from_slice(&NOT_GIVEN),
        }
    }
}

fn key_slot<'p, 's, 'r>(
    source: &'p KeySource,
    slots: Slots<'s, 'r>,
) -> Option<(&'p Reading, &'s Slot<'r>)> {
    let given = |slot: &Slot<'_>| !matches!(slot, Slot::Absent | Slot::Null | Slot::Unavailable);
    let from_record = source.record.as_ref().map(|reading| (reading, slots.of_key(reading)));
    from_record.filter(|(_, slot)| given(slot)).or_else(|| {
        source
            .row
            .as_ref()
            .map(|reading| (reading, slots.of_row(reading)))
            .filter(|(_, slot)| given(slot))
    })
}

fn key_missing(table: &TablePlan, place: usize) -> Fault {
    let column = table.shape.key.get(place).and_then(|index| table.shape.columns.get(*index));
    let name = column.map_or("", |column| column.name.as_str());
    Fault::poison(
        Code::KeyMissing,
        format!("read key for {}: column {name} is missing or null", table.shape.table),
    )
}

impl Reading {
    #[inline]
    fn encode(&self, slot: &Slot<'_>, scratch: &Scratch, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.unsigned
            && let Slot::Int(n) = slot
        {
            let slot = Slot::Unsigned(n.cast_unsigned());
            return self.conversion.encode(&slot, self.nested.reader(), scratch, out);
        }
        match (&self.nested, slot) {
            (Nested::Avro(node), Slot::Nested(_)) => {
                self.conversion.encode(&node.symbol(*slot)?, node, scratch, out)
            }
            _ => self.conversion.encode(slot, self.nested.reader(), scratch, out),
        }
    }

    /// The label that the column's enum type lacks.
    #[inline]
    fn missing_label<'a>(&self, slot: &Slot<'a>, scratch: &'a Scratch) -> Option<&'a str> {
        let labels = self.labels.as_ref()?;
        scratch.text(slot).filter(|label| !labels.contains(*label))
    }

    #[inline]
    fn is_unavailable(&self, slot: &Slot<'_>, scratch: &Scratch) -> bool {
        match slot {
            // The placeholder is a text, its bytes, or a list or map of it; asking is not free, so ask only there.
            Slot::Text(_)
            | Slot::Unescaped { .. }
            | Slot::Bytes(_)
            | Slot::Nested(_)
            | Slot::Unavailable => {
                self.conversion.is_unavailable(slot, self.nested.reader(), scratch)
            }
            _ => false,
        }
    }
}
