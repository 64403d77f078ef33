//! COPY BINARY frames of a batch's rows, chunk by chunk (PostgreSQL manual, "COPY", section "Binary Format").

use crate::batch::{Batch, Kind, StagedRow};
use crate::sql::merge::Variant;
use crate::sql::{load, stage};
use crate::version::Version;
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

/// Bytes handed to the connection at a time: large enough to be cheap, small enough that encoding and sending overlap.
const CHUNK: usize = 256 * 1024;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;

/// The stream of a stretch of a batch's rows, chunk by chunk.
pub struct Frames<'b> {
    batch: &'b Batch,
    rows: Range<usize>,
    /// Fields per row.
    fields: i16,
    variant: Variant,
    /// Words of kept bits.
    words: usize,
    /// The rows go into the table itself, as of this time in microseconds since 2000.
    applied_at: Option<i64>,
    buffer: BytesMut,
    started: bool,
    done: bool,
}

impl<'b> Frames<'b> {
    /// `variant` must be what the COPY statement was made with. `None` when the table has more columns than a frame can
    /// count (PostgreSQL's own limit is 1,600).
    #[must_use]
    pub fn new(batch: &'b Batch, rows: Range<usize>, variant: Variant) -> Option<Self> {
        let shape = batch.shape.as_ref()?;
        Some(Self {
            batch,
            rows,
            fields: i16::try_from(stage::fields(shape, variant)).ok()?,
            variant,
            words: stage::kept_words(shape),
            applied_at: None,
            buffer: BytesMut::new(),
            started: false,
            done: false,
        })
    }

    /// The stream of all rows for [`load::copy`]; `applied_at` is the transaction's time in microseconds since 2000.
    #[must_use]
    pub fn of_table(batch: &'b Batch, applied_at: i64) -> Option<Self> {
        let fields = i16::try_from(load::fields(batch.shape.as_ref()?)).ok()?;
        let staged = Self::new(batch, 0..batch.rows.len(), Variant::Fast)?;
        Some(Self { fields, applied_at: Some(applied_at), ..staged })
    }

    fn put(&mut self, index: usize, row: &StagedRow) {
        let body = self.batch.body(row);
        let out = &mut self.buffer;
        out.put_i16(self.fields);
        out.put_slice(body);
        if self.applied_at.is_some() {
            field(out, row.version.as_bytes());
            nullable(out, row.deleted_at);
            nullable(out, row.source_ts);
            nullable(out, self.applied_at);
            return;
        }
        out.put_i32(1);
        out.put_u8(row.kind.as_byte());
        field(out, row.version.as_bytes());
        nullable(out, row.deleted_at);
        nullable(out, row.source_ts);
        out.put_i32(2);
        out.put_u16(row.range);
        out.put_i32(4);
        // A batch of more than 2^31 rows cannot exist: `StagedRow::body` is addressed by 32 bits.
        out.put_u32(u32::try_from(index).unwrap_or(u32::MAX));
        if self.variant != Variant::Fast {
            out.put_i32(1);
            out.put_u8(u8::from(row.kind == Kind::Partial && row.needs_base.is_some()));
            version(out, row.base.as_ref().map(|base| &base.from));
            for word in 0..self.words {
                out.put_i32(8);
                out.put_i64(row.kept.word(word));
            }
        }
        if self.variant == Variant::Moved {
            self.put_old_key(row);
        }
    }

    fn put_old_key(&mut self, row: &StagedRow) {
        let old = row.base.as_ref().and_then(|base| base.old.as_ref());
        let out = &mut self.buffer;
        version(out, old.map(|old| &old.at));
        let live = old.and_then(|old| old.live.as_ref());
        version(out, live.map(|live| &live.start));
        version(out, live.map(|live| &live.end));
        match old {
            Some(old) => out.put_slice(self.batch.old_key(old)),
            None => {
                let places = self.batch.shape.as_ref().map_or(0, |shape| shape.key.len());
                (0..places).for_each(|_| out.put_i32(-1));
            }
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        self.buffer.reserve(CHUNK + CHUNK / 8);
        if !self.started {
            self.buffer.put_slice(HEADER);
            self.started = true;
        }
        while self.buffer.len() < CHUNK {
            let next = self.rows.next().and_then(|i| self.batch.rows.get(i).map(|row| (i, row)));
            let Some((index, row)) = next else {
                self.buffer.put_i16(TRAILER);
                self.done = true;
                break;
            };
            self.put(index, row);
        }
        Some(self.buffer.split().freeze())
    }
}

fn field(out: &mut BytesMut, bytes: &[u8; Version::LEN]) {
    out.put_i32(37);
    out.put_slice(bytes);
}

fn version(out: &mut BytesMut, version: Option<&Version>) {
    match version {
        Some(version) => field(out, version.as_bytes()),
        None => out.put_i32(-1),
    }
}

fn nullable(out: &mut BytesMut, microseconds: Option<i64>) {
    match microseconds {
        Some(at) => {
            out.put_i32(8);
            out.put_i64(at);
        }
        None => out.put_i32(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_version_is_the_one_that_is_written() {
        assert_eq!(Version::LEN, 37);
        assert_eq!(HEADER.len(), 19);
    }
}
