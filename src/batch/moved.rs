//! Rows that came by a change of their key: finds their base inside the batch, where it is.
//!
//! A change of the key is a delete of the old key and a create of the new one, both at one position of the source. The
//! create carries placeholders for what did not change; their values are in the row that the delete left behind.

use super::arena::{Arena, Entry, slice};
use super::holes::Holes;
use super::layer::{Layer, lay_over, merge};
use super::{Base, Kind, OldKey};
use crate::version::{Version, VersionParts};
use std::hash::BuildHasher;

impl Arena {
    /// Completes every row whose old key is in the batch too, as far as the batch knows that one. In the order of
    /// versions, so that a row that moved twice finds its first move completed.
    pub(super) fn resolve_moves(&mut self, columns: usize) {
        if std::mem::take(&mut self.moves) == 0 {
            return;
        }
        let mut moved: Vec<(Version, usize)> = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let here = entry.layers().filter(|layer| old_key(layer).is_some());
            moved.extend(here.map(|layer| (layer.version, at)));
        }
        moved.sort_unstable();
        for (version, at) in moved {
            let layer = self.entries[at].layers().find(|layer| layer.version == version).cloned();
            let Some(layer) = layer else { continue };
            let Some(old) = old_key(&layer).cloned() else { continue };
            let Some(left) = self.left_behind(&old, columns) else { continue };
            let complete = carry(&mut self.bytes, columns, &left, layer, old);
            let place = self.entries[at].layers_mut().find(|layer| layer.version == version);
            *place.expect("it was found before") = complete;
        }
    }

    /// A dead letter of the old key may be read after the row that came from it, in another partition. Then what that key has
    /// is no base for the row, nor is what the batch has of it.
    pub fn leave_holes(&mut self, holes: &Holes) {
        if self.moves == 0 || holes.is_empty() {
            return;
        }
        let keys = &self.keys;
        let layers = self.entries.iter_mut().flat_map(Entry::layers_mut);
        for old in layers.filter_map(|layer| layer.base.as_mut()?.old.as_mut()) {
            if holes.covers(slice(keys, &old.key), old.at) {
                // Still a row that came by a change of its key, but no delete is its other half.
                (old.at, old.live) = (Version::HIGHEST, None);
            }
        }
    }

    /// The row of the old key as the change left it; `None` when the batch does not hold its delete.
    fn left_behind(&mut self, old: &OldKey, columns: usize) -> Option<Layer> {
        let key = slice(&self.keys, &old.key);
        let entry = &self.entries[self.find(self.hasher.hash_one(key), key)?];
        let is_the_delete =
            |layer: &&Layer| layer.kind == Kind::Delete && layer.version.same_position(&old.at);
        let mut row = entry.layers().find(is_the_delete)?.clone();
        let before = entry.layers().filter(|layer| layer.version < row.version);
        let mut before = before.cloned().collect();
        merge(&mut self.bytes, columns, &mut row, &mut before);
        Some(row)
    }
}

fn old_key(layer: &Layer) -> Option<&OldKey> {
    layer.base.as_ref()?.old.as_ref()
}

/// The moved row with what the batch knows of the one that it was.
fn carry(bytes: &mut Vec<u8>, columns: usize, left: &Layer, layer: Layer, old: OldKey) -> Layer {
    let from = layer.version;
    let lowest = || Version::new(VersionParts::default());
    let live = |base: Option<&Base>| Some(base.map_or_else(lowest, |base| base.from)..left.version);
    let base = |old| Some(Box::new(Base { from, old: Some(old) }));
    match left.kind {
        // The batch knows of its end only: its last image is in the Silver table.
        Kind::Delete | Kind::Tombstone => {
            let old = OldKey { live: live(left.base.as_deref()), ..old };
            Layer { base: base(old), ..layer }
        }
        Kind::Whole => lay_over(bytes, columns, left, layer),
        Kind::Partial => {
            let needs_base = layer.needs_base;
            let row = lay_over(bytes, columns, left, layer);
            if row.kind == Kind::Whole {
                return row;
            }
            let old = match old_key(left) {
                Some(older) => older.clone(),
                None => OldKey { live: live(left.base.as_deref()), ..old },
            };
            Layer { base: base(old), needs_base, ..row }
        }
    }
}
