//! Null values: nothing new behind a delete event, the delete itself where they stand alone (I10).

use super::Kind;
use super::arena::{Arena, Folded, Incoming, Slot};
use crate::version::{Version, VersionParts};

impl Arena {
    /// A null value. Behind its delete event it says nothing new; alone (compaction removed the event, or the topic marks
    /// deletes by tombstones only) it is the delete (I10).
    pub(super) fn fold_tombstone(&mut self, change: &Incoming<'_>, hash: u64) -> Folded {
        if self.last_delete.get(usize::from(change.slot)).copied().flatten().is_some_and(
            |(offset, key)| offset.checked_add(1) == Some(change.offset) && key == hash,
        ) {
            self.skip(change.slot);
            return Folded::RedundantTombstone;
        }
        let Some(at) = self.find(hash, change.key) else {
            self.progress(change.slot).changes += 1;
            return self.place(change, hash);
        };
        let top = &self.entries[at].top;
        let live = top.deleted_at.is_none() && !matches!(top.kind, Kind::Delete | Kind::Tombstone);
        if !live || top.slot != change.slot || top.offset > change.offset {
            self.skip(change.slot);
            return Folded::RedundantTombstone;
        }
        // The row's source position stays, only the offset rises: a later change of the source still wins.
        let parts = VersionParts {
            kafka_offset: u64::try_from(change.offset).unwrap_or(0),
            ..top.version.parts()
        };
        self.progress(change.slot).changes += 1;
        let delete = Incoming { kind: Kind::Delete, version: Version::new(parts), ..*change };
        self.place(&delete, hash)
    }

    pub(super) fn remember_delete(&mut self, slot: Slot, offset: i64, key: u64) {
        let at = usize::from(slot);
        if self.last_delete.len() <= at {
            self.last_delete.resize(at + 1, None);
        }
        self.last_delete[at] = Some((offset, key));
    }
}
