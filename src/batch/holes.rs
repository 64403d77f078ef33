//! Keys that a dead letter left a hole in (I9, across dead letters): until a whole row closes it, what Silver holds for the
//! key may be older than what a placeholder stands for.
//!
//! # Decisions
//! - A hole is a stretch of versions, not a flag: what is read again after a rewind meets the same holes as before.
//! - A key may have several: what stands on a hole is dead-lettered and leaves one of its own, and read again alone it
//!   must meet the one below it.
//! - Holes stand in the destination too (`silversink.hole`), written with the letter's batch and removed with the batch of
//!   the whole row; a lane reads them when it makes a plan, which it does again after every claim.
//! - A record whose position cannot be read has its hole where its partition has come to ([`Tracker::reached`]): what is
//!   read behind it is above, what was read before it below. A replay that starts in the middle knows less of that: the
//!   hole stays where it was. Where the partition never told, older whole rows that are read again close the hole, so the
//!   record opens it again.
//! - A record whose key cannot be read leaves no hole, for nobody can tell where it would be.
//!
//! [`Tracker::reached`]: crate::epoch::Tracker::reached

use crate::version::Version;
use std::collections::HashMap;

/// The holes of one table, by encoded key.
#[derive(Debug, Default)]
pub struct Holes {
    keys: HashMap<Box<[u8]>, Vec<Hole>>,
}

/// From the version of the dead letter to the version of the whole row that closes it.
#[derive(Clone, Copy, Debug)]
struct Hole {
    from: Version,
    to: Option<Version>,
}

impl Holes {
    /// No hole at all: then nothing else need be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Forgets every hole; those of the destination are read again with the next plan.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    /// A record of this key and version was dead-lettered.
    pub fn open(&mut self, key: &[u8], version: Version) {
        let holes = self.keys.entry(key.into()).or_default();
        if !holes.iter().any(|hole| hole.from == version) {
            holes.push(Hole { from: version, to: None });
        }
    }

    /// A record of this key, whose position cannot be read, was dead-lettered: whatever closed its hole was read before it.
    /// Returns where the hole is: where it was before, if more was known then of what the partition had come to.
    pub fn open_again(&mut self, key: &[u8], version: Version) -> Version {
        let holes = self.keys.entry(key.into()).or_default();
        let same = |hole: &&mut Hole| hole.from.same_offset(&version) && hole.from >= version;
        if let Some(before) = holes.iter_mut().find(same) {
            before.to = None;
            return before.from;
        }
        holes.push(Hole { from: version, to: None });
        version
    }

    /// A whole row of this key and version: it is a base for what comes after it. True when there was a hole below it.
    pub fn close(&mut self, key: &[u8], version: Version) -> bool {
        let Some(holes) = self.keys.get_mut(key) else { return false };
        let mut closed = false;
        for hole in holes.iter_mut().filter(|hole| hole.from <= version) {
            closed = true;
            if hole.to.is_none_or(|to| version < to) {
                hole.to = Some(version);
            }
        }
        closed
    }

    /// Whether a row of this version has a hole between itself and its base.
    #[must_use]
    pub fn covers(&self, key: &[u8], version: Version) -> bool {
        self.keys.get(key).is_some_and(|holes| {
            holes.iter().any(|hole| hole.from < version && hole.to.is_none_or(|to| version < to))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::VersionParts;

    fn v(n: u64) -> Version {
        Version::new(VersionParts { change_position: n, ..VersionParts::default() })
    }

    #[test]
    fn a_hole_reaches_from_the_letter_to_the_next_whole_row() {
        let mut holes = Holes::default();
        holes.open(b"k", v(5));
        let covered =
            |holes: &Holes| (1..10).filter(|n| holes.covers(b"k", v(*n))).collect::<Vec<_>>();
        assert_eq!(covered(&holes), [6, 7, 8, 9]);
        assert!(!holes.close(b"k", v(4)) && !holes.close(b"other", v(9)));
        assert!(holes.close(b"k", v(8)));
        assert_eq!(covered(&holes), [6, 7]);
        assert!(!holes.covers(b"other", v(6)));
    }

    #[test]
    fn a_record_without_a_position_opens_its_hole_again_when_it_is_read_again() {
        let mut holes = Holes::default();
        assert_eq!(holes.open_again(b"k", v(5)), v(5));
        // Read again from further back, where nothing told that this row is older.
        assert!(holes.close(b"k", v(6)));
        assert!(!holes.covers(b"k", v(7)));
        assert_eq!(holes.open_again(b"k", v(5)), v(5));
        assert!(holes.covers(b"k", v(7)));
        assert!(holes.close(b"k", v(8)));
        assert!(holes.covers(b"k", v(7)) && !holes.covers(b"k", v(9)));
        // A replay that starts just here knows less; another record is another hole.
        assert_eq!(holes.open_again(b"k", v(4)), v(5));
        let at = |offset| {
            let parts = VersionParts { kafka_offset: offset, ..v(4).parts() };
            Version::new(parts)
        };
        assert_eq!(holes.open_again(b"k", at(1)), at(1));
    }

    #[test]
    fn what_is_read_again_meets_the_same_holes() {
        let mut holes = Holes::default();
        for _ in 0..2 {
            holes.close(b"k", v(2));
            holes.open(b"k", v(5));
            assert!(holes.covers(b"k", v(6)));
            holes.close(b"k", v(8));
            // The same record is dead-lettered once more, or applied after all.
            holes.open(b"k", v(5));
            assert!(!holes.covers(b"k", v(9)) && holes.covers(b"k", v(6)));
        }
        holes.close(b"k", v(5));
        assert!(!holes.covers(b"k", v(6)), "the record itself was whole and is applied now");
    }
}
