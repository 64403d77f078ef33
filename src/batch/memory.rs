//! Memory that goes from one batch of a lane to the next, so that a busy lane neither allocates per record nor touches fresh
//! pages with every batch.
//!
//! # Decisions
//! - A lane keeps memory only while it has something gathered: there may be hundreds of lanes, and most are quiet.
//! - What a batch needed once is not held for ever: a buffer more than four times too large is given back.

use super::arena::Arena;
use super::layer::Layer;
use super::{Batch, StagedRow};

/// Lists of layers that are kept for keys to come; a batch with more of them allocates the rest.
const LISTS: usize = 4096;

/// What is ready for the next batch.
#[derive(Debug, Default)]
pub(super) struct Spare {
    pub(super) bytes: Vec<u8>,
    pub(super) keys: Vec<u8>,
    pub(super) rows: Vec<StagedRow>,
    lists: Vec<Vec<Layer>>,
}

impl Spare {
    /// Adds a layer to those below a key's top.
    pub(super) fn push(&mut self, below: &mut Vec<Layer>, layer: Layer) {
        if below.capacity() == 0
            && let Some(list) = self.lists.pop()
        {
            *below = list;
        }
        below.push(layer);
    }

    /// Takes the memory of a list whose layers are merged.
    pub(super) fn keep(&mut self, below: &mut Vec<Layer>) {
        if below.capacity() > 0 && self.lists.len() < LISTS {
            below.clear();
            self.lists.push(std::mem::take(below));
        }
    }
}

/// A buffer for about `n` items, from the memory of an earlier one.
pub(super) fn fitting<T>(spare: &mut Vec<T>, n: usize) -> Vec<T> {
    let mut spare = std::mem::take(spare);
    if spare.capacity() / 4 > n {
        return Vec::with_capacity(n);
    }
    spare.reserve(n);
    spare
}

impl Arena {
    /// Takes back the memory of a batch that nobody needs any more. Gives everything back if nothing has been gathered
    /// meanwhile.
    pub fn recycle(&mut self, batch: Option<Batch>) {
        if self.rows() == 0 {
            self.entries = Vec::new();
            self.bytes = Vec::new();
            self.keys = Vec::new();
            self.spare = Spare::default();
            return;
        }
        let Some(Batch { mut bytes, mut keys, mut rows, .. }) = batch else { return };
        bytes.clear();
        keys.clear();
        rows.clear();
        (self.spare.bytes, self.spare.keys, self.spare.rows) = (bytes, keys, rows);
    }
}
