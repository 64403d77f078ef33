//! Histories of one source, record by record, and the epoch that each record must get.

use super::*;
use crate::version::{Version, VersionParts};
use proptest::prelude::*;

pub const SOURCE: &str = "yard";

/// A row of an initial snapshot at `position`.
pub fn row(position: u64) -> Sighting {
    Sighting {
        read: true,
        incremental: false,
        commit_position: None,
        change_position: position,
        source_ts: Some(1_000 * SECOND),
    }
}

/// Microseconds.
const SECOND: i64 = 1_000_000;

/// A streamed change behind commit `commit`, at a second.
pub fn change(commit: u64, at: i64) -> Sighting {
    Sighting {
        read: false,
        incremental: false,
        commit_position: Some(commit.into()),
        change_position: commit + 1,
        source_ts: Some(at * SECOND),
    }
}

/// A change of the first transaction.
fn first(at: i64) -> Sighting {
    Sighting { commit_position: None, ..change(0, at) }
}

/// Some partitions, and what is written down for them.
#[derive(Default)]
struct Partitions {
    epochs: Epochs,
    trackers: Vec<Tracker>,
    offsets: Vec<i64>,
    raised: Vec<(u32, Signal)>,
}

impl Partitions {
    /// Reads a record as the worker does: what starts over is written down, and the record read again.
    fn read_of(&mut self, source: &str, partition: usize, seen: &Sighting) -> u32 {
        if self.trackers.len() <= partition {
            self.trackers.resize(partition + 1, Tracker::default());
            self.offsets.resize(partition + 1, 0);
        }
        let offset = self.offsets[partition];
        self.offsets[partition] += 1;
        let tracker = &mut self.trackers[partition];
        match tracker.place(source, offset, Some(seen)) {
            Placed::In(epoch) => epoch,
            Placed::StartsOver { current, signal } => {
                let entered = self.epochs.enter(current, signal, seen.source_ts);
                if entered.raised {
                    self.raised.push((entered.number, signal));
                }
                tracker.enter(source, offset, entered.number);
                assert_eq!(
                    tracker.place(source, offset, Some(seen)),
                    Placed::In(entered.number),
                    "read again"
                );
                entered.number
            }
        }
    }

    fn read(&mut self, partition: usize, seen: &Sighting) -> u32 {
        self.read_of(SOURCE, partition, seen)
    }

    fn all(&mut self, partition: usize, seen: &[Sighting]) -> Vec<u32> {
        seen.iter().map(|seen| self.read(partition, seen)).collect()
    }
}

#[test]
fn a_snapshot_after_the_stream_starts_over() {
    let mut log = Partitions::default();
    let history =
        [row(100), row(100), first(1), change(110, 2), change(120, 3), row(200), row(200)];
    assert_eq!(log.all(0, &history), [0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(log.raised, [(1, Signal::Snapshot { position: 200 })]);
    assert_eq!(log.all(0, &[first(9), change(210, 10), row(300)]), [1, 1, 2]);
}

#[test]
fn an_interrupted_snapshot_starts_over_with_the_next_one() {
    let mut log = Partitions::default();
    assert_eq!(log.all(0, &[row(100), row(100), row(150), row(150), first(5)]), [0, 0, 1, 1, 1]);
}

#[test]
fn fresh_offsets_without_a_snapshot_start_over() {
    let mut log = Partitions::default();
    assert_eq!(log.all(0, &[change(110, 2), change(120, 3), first(9), first(9)]), [0, 0, 1, 1]);
    assert_eq!(log.raised, [(1, Signal::FreshOffsets)]);
}

#[test]
fn positions_that_fall_at_a_later_time_start_over() {
    let mut log = Partitions::default();
    assert_eq!(
        log.all(0, &[change(110, 2), change(120, 3), change(5, 4), change(6, 5)]),
        [0, 0, 1, 1]
    );
    assert_eq!(log.raised, [(1, Signal::PositionsFell)]);
}

/// The commit before has the later time, and is repeated in a partition that had only the other one.
#[test]
fn commit_times_that_are_out_of_order_start_nothing_over() {
    let mut log = Partitions::default();
    let late = |micros| Sighting { source_ts: Some(9 * SECOND + micros), ..change(110, 9) };
    assert_eq!(log.all(0, &[change(120, 9), late(99_999), change(130, 10)]), [0; 3]);
    assert_eq!(log.all(1, &[change(120, 9), late(100_001)]), [0, 1]);
}

#[test]
fn what_a_connector_repeats_after_a_crash_is_no_new_lineage() {
    let mut log = Partitions::default();
    let once = [row(100), first(1), first(1), change(110, 2), change(120, 3), change(130, 3)];
    log.all(0, &once);
    // From the first transaction on, from the middle, and with its commit position filled in.
    for again in [&once[1..], &once[3..], &once[5..]] {
        assert!(log.all(0, again).iter().all(|epoch| *epoch == 0));
    }
    assert_eq!(log.read(0, &Sighting { commit_position: Some(100), ..first(1) }), 0);
    assert_eq!(log.raised, []);
}

#[test]
fn incremental_and_blocking_snapshots_belong_to_their_lineage() {
    let mut log = Partitions::default();
    log.all(0, &[row(100), change(110, 2)]);
    let incremental = Sighting { incremental: true, ..row(105) };
    let blocking = Sighting { commit_position: Some(110), ..row(111) };
    assert_eq!(log.all(0, &[incremental, blocking, change(112, 3)]), [0, 0, 0]);
}

#[test]
fn rows_beside_the_stream_show_how_far_positions_had_come() {
    let incremental = Sighting { read: true, incremental: true, ..change(120, 900) };
    let blocking = Sighting { read: true, ..change(120, 900) };
    for read in [incremental, blocking] {
        for after in [first(950), change(50, 950), row(130)] {
            let mut log = Partitions::default();
            assert_eq!(log.all(0, &[read, after]), [0, 1], "{read:?} {after:?}");
        }
    }
}

#[test]
fn repeated_changes_below_a_row_beside_the_stream_start_nothing_over() {
    let incremental = Sighting { read: true, incremental: true, ..change(120, 900) };
    let mut log = Partitions::default();
    // The partition has seen none of the changes that the connector repeats after a crash.
    assert_eq!(log.all(0, &[incremental, change(100, 500), change(130, 950)]), [0; 3]);
}

#[test]
fn a_commit_position_that_comes_again_with_a_lower_change_starts_over() {
    let at = |change_position, at| Sighting { change_position, ..change(120, at) };
    let mut log = Partitions::default();
    assert_eq!(log.all(0, &[at(110, 500), at(115, 500), at(112, 500), at(111, 600)]), [0, 0, 0, 1]);
    // Where positions do not reach into a transaction, several may share a commit position.
    let mut log = Partitions::default();
    assert_eq!(log.all(0, &[at(0, 500), at(0, 600)]), [0; 2]);
}

#[test]
fn a_replay_does_not_take_a_known_source_for_a_new_one() {
    let start = |offset, epoch| Start { source: SOURCE.to_owned(), offset, epoch };
    let stored = [(SOURCE.to_owned(), Lineage::new(2))];
    let starts = [start(10, 1), start(20, 2)];
    for (offset, epoch) in [(5, 0), (10, 1), (15, 1), (25, 2)] {
        let anew = Tracker::anew(&stored, &starts, offset, 0);
        assert_eq!(anew, [(SOURCE.to_owned(), Lineage::new(epoch))], "{offset}");
    }

    // Another partition has raised an epoch meanwhile; this one has not seen it start.
    let stored = [(SOURCE.to_owned(), Lineage::new(0))];
    let mut tracker = Tracker::new(Tracker::anew(&stored, &[], 5, 9), Vec::new());
    let raised = Epoch { number: 1, snapshot: Some(50), since: Some(950 * SECOND) };
    tracker.learn(SOURCE, Epochs::new(vec![raised]));
    assert_eq!(
        tracker.place_at(SOURCE, 5, Some(&change(120, 900)), Some(900 * SECOND)),
        Placed::In(0)
    );
}

#[test]
fn fresh_offsets_show_behind_an_incremental_row_that_has_no_commit_either() {
    let incremental = |seen: Sighting| Sighting { read: true, incremental: true, ..seen };
    let before = incremental(change(120, 900));
    // The connector's clock is ahead of the commit that it reads next.
    let ahead = incremental(Sighting { commit_position: None, ..change(0, 2_000) });
    let mut log = Partitions::default();
    assert_eq!(log.all(0, &[before, ahead, first(1_900)]), [0, 0, 1]);
}

#[test]
fn what_was_judged_once_is_not_judged_again() {
    // The second transaction has an earlier time, and the connector repeats both: only what came before tells that.
    let history = [change(100, 500), change(110, 490), change(100, 500), change(110, 490)];
    let lineage = [(SOURCE.to_owned(), Lineage::new(0))];
    let mut tracker = Tracker::new(Tracker::anew(&lineage, &[], 1, 4), Vec::new());
    for (offset, seen) in (1..).zip(&history[1..]) {
        assert_eq!(tracker.place(SOURCE, offset, Some(seen)), Placed::In(0), "{offset}");
    }
    let fell = tracker.place(SOURCE, 4, Some(&change(90, 600)));
    assert!(matches!(fell, Placed::StartsOver { .. }), "{fell:?}");
}

#[test]
fn a_replay_from_the_middle_takes_a_repeated_first_transaction_for_what_it_is() {
    let mut log = Partitions::default();
    let history = [row(100), first(1), change(110, 2), change(120, 3), first(1), change(110, 2)];
    assert_eq!(log.all(0, &history), [0; 6]);
    log.trackers[0].rewind(Vec::new());
    log.offsets[0] = 3;
    assert_eq!(log.all(0, &history[3..]), [0; 3]);
}

#[test]
fn sources_that_share_a_partition_have_lineages_of_their_own() {
    let mut log = Partitions::default();
    assert_eq!(log.read_of("a", 0, &change(1_000, 5)), 0);
    assert_eq!(log.read_of("b", 0, &change(10, 6)), 0);
    assert_eq!(log.read_of("a", 0, &change(20, 7)), 1);
    assert_eq!(log.read_of("b", 0, &change(11, 8)), 0);
    assert_eq!(log.trackers[0].highest(4), 1);
}

#[test]
fn partitions_join_the_epoch_that_the_first_one_raised() {
    let mut log = Partitions::default();
    for partition in 0..4 {
        log.all(partition, &[row(100), change(110, 2), change(120, 3)]);
    }
    // One sees the snapshot, one only the first transaction, one only that positions fell.
    assert_eq!(log.all(0, &[row(20), first(10)]), [1, 1]);
    assert_eq!(log.read(1, &first(10)), 1);
    assert_eq!(log.read(2, &change(25, 11)), 1);
    // The last one comes to it when a further epoch is there already.
    assert_eq!(log.read(0, &row(7)), 2);
    assert_eq!(log.all(3, &[row(20), change(26, 12), row(7)]), [1, 1, 2]);
    assert_eq!(log.raised.len(), 2);
}

#[test]
fn a_partition_without_snapshot_rows_joins_by_time() {
    let mut epochs = Epochs::new(vec![
        Epoch { number: 2, snapshot: Some(5), since: Some(200) },
        Epoch { number: 1, snapshot: Some(9), since: Some(100) },
    ]);
    assert_eq!(epochs.enter(0, Signal::PositionsFell, Some(150)).number, 1);
    assert_eq!(epochs.enter(0, Signal::PositionsFell, Some(250)).number, 2);
    assert_eq!(epochs.enter(1, Signal::FreshOffsets, Some(250)).number, 2);
    assert_eq!(
        epochs.enter(2, Signal::FreshOffsets, Some(250)),
        Entered { number: 3, raised: true }
    );
    assert_eq!(epochs.highest(), 3);
}

#[test]
fn what_is_written_down_comes_before_what_the_record_tells() {
    let start = |offset, epoch| Start { source: SOURCE.to_owned(), offset, epoch };
    let mut tracker = Tracker::new(Vec::new(), vec![start(7, 2), start(3, 1)]);
    let history = [change(110, 2), change(120, 3), row(20), row(20), change(21, 9)];
    let epochs: Vec<_> =
        (1..).zip(&history).map(|(at, seen)| tracker.place(SOURCE, at, Some(seen))).collect();
    assert_eq!(epochs, [0, 0, 1, 1, 1].map(Placed::In));
    assert_eq!(tracker.place(SOURCE, 7, Some(&change(22, 10))), Placed::In(2));
    assert_eq!((tracker.highest(0), Tracker::default().highest(9)), (2, 0));
}

#[test]
fn lineages_that_were_stored_find_a_signal_that_fell_into_a_restart() {
    let mut before = Tracker::default();
    for (at, seen) in (0..).zip([row(100), change(110, 2), change(120, 3)]) {
        before.place(SOURCE, at, Some(&seen));
    }
    let text = stored::to_text(before.lineages()).unwrap();
    let mut after = Tracker::new(stored::from_text(&text).unwrap(), Vec::new());
    let signal = Signal::PositionsFell;
    assert_eq!(
        after.place(SOURCE, 3, Some(&change(5, 4))),
        Placed::StartsOver { current: 0, signal }
    );
    // Without them nothing tells.
    assert_eq!(Tracker::default().place(SOURCE, 3, Some(&change(5, 4))), Placed::In(0));
}

#[test]
fn a_partition_that_was_empty_begins_where_its_source_is() {
    let epochs = Epochs::new(vec![
        Epoch { number: 1, snapshot: Some(9), since: Some(100 * SECOND) },
        Epoch { number: 2, snapshot: Some(5), since: Some(200 * SECOND) },
    ]);
    let mut empty = Tracker::default();
    empty.learn(SOURCE, epochs.clone());
    let place = |seen: &Sighting| empty.clone().place_at(SOURCE, 0, Some(seen), seen.source_ts);
    let begins =
        |snapshot| Placed::StartsOver { current: 0, signal: Signal::FirstSeen { snapshot } };
    assert_eq!(place(&change(3, 250)), begins(None));
    assert_eq!(place(&Sighting { source_ts: Some(1), ..row(9) }), begins(Some(9)));
    assert_eq!(place(&change(3, 99)), Placed::In(0));
    assert_eq!(empty.clone().place_at("other", 0, None, Some(250 * SECOND)), Placed::In(0));

    let mut known = epochs.clone();
    assert_eq!(
        known.enter(0, Signal::FirstSeen { snapshot: None }, Some(250 * SECOND)),
        Entered { number: 2, raised: false }
    );
    assert_eq!(
        known.enter(0, Signal::FirstSeen { snapshot: Some(9) }, Some(250 * SECOND)).number,
        1
    );
    assert_eq!(known.enter(0, Signal::FirstSeen { snapshot: None }, None).number, 2);
    assert_eq!(known, epochs);
    empty.enter(SOURCE, 0, 2);
    assert_eq!(empty.place_at(SOURCE, 0, Some(&change(3, 250)), Some(250 * SECOND)), Placed::In(2));
    // Replayed from before a start that is written down: it was in epoch 0 there.
    let start = Start { source: SOURCE.to_owned(), offset: 7, epoch: 2 };
    let mut seen_before = Tracker::new(Vec::new(), vec![start]);
    seen_before.learn(SOURCE, epochs);
    assert_eq!(
        seen_before.place_at(SOURCE, 0, Some(&change(3, 250)), Some(250 * SECOND)),
        Placed::In(0)
    );
}

#[test]
fn a_header_knows_best() {
    let mut tracker = Tracker::default();
    let mut epochs = Epochs::default();
    assert_eq!(tracker.place_declared(SOURCE, 0, Some(&change(110, 2)), 0), Placed::In(0));
    // A signal of the data is not asked.
    assert_eq!(tracker.place_declared(SOURCE, 1, Some(&change(5, 4)), 0), Placed::In(0));
    let signal = Signal::Header { epoch: 7 };
    assert_eq!(
        tracker.place_declared(SOURCE, 2, Some(&change(6, 5)), 7),
        Placed::StartsOver { current: 0, signal }
    );
    assert_eq!(epochs.enter(0, signal, None), Entered { number: 7, raised: true });
    assert_eq!(epochs.enter(0, signal, None), Entered { number: 7, raised: false });
    tracker.enter(SOURCE, 2, 7);
    assert_eq!(tracker.place_declared(SOURCE, 2, Some(&change(6, 5)), 7), Placed::In(7));
    // A late record of an older epoch keeps its own, and says nothing about the current one.
    assert_eq!(tracker.place_declared(SOURCE, 3, Some(&change(900, 1)), 0), Placed::In(0));
    assert_eq!(tracker.place_declared(SOURCE, 4, Some(&change(7, 6)), 7), Placed::In(7));
}

#[test]
fn the_stored_form_stays_readable() {
    let mut tracker = Tracker::default();
    tracker.place(SOURCE, 0, Some(&row(100)));
    tracker.place(
        SOURCE,
        1,
        Some(&Sighting { commit_position: Some(u128::MAX), source_ts: Some(7), ..change(0, 7) }),
    );
    assert_eq!(
        stored::to_text(tracker.lineages()).unwrap(),
        r#"{"yard":{"epoch":0,"snapshot":100,"streamed":true,"commit":"340282366920938463463374607431768211455","latest":7,"streamed_commit":"340282366920938463463374607431768211455","streamed_change":1}}"#
    );
    assert_eq!(
        stored::from_text(r#"{"":{"epoch":3}}"#).unwrap(),
        [(String::new(), Lineage::new(3))]
    );
    assert_eq!(stored::to_text(&[]), None);
}

proptest! {
    #[test]
    fn a_lineage_comes_back_as_it_was(
        seen in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<Option<u128>>(), any::<u64>(), any::<Option<i64>>()), 0..8),
        sources in proptest::collection::vec("[a-z\"\\\\ ]{0,4}", 1..3),
    ) {
        let mut tracker = Tracker::default();
        for (at, (read, incremental, commit_position, change_position, source_ts)) in (0..).zip(seen) {
            let seen = Sighting { read, incremental, commit_position, change_position, source_ts };
            for source in &sources {
                tracker.place(source, at, Some(&seen));
            }
        }
        let mut lineages = tracker.lineages().to_vec();
        lineages.sort_by(|a, b| a.0.cmp(&b.0));
        let read = stored::to_text(&lineages).map(|text| stored::from_text(&text).unwrap());
        prop_assert_eq!(read.unwrap_or_default(), lineages);
    }
}

/// The version of a record with a position.
fn version(seen: &Sighting, source_epoch: u32, offset: usize) -> Version {
    Version::new(VersionParts {
        source_epoch,
        commit_position: seen.commit_position.unwrap_or(0),
        phase: u8::from(!seen.read),
        change_position: seen.change_position,
        kafka_offset: offset as u64,
    })
}

#[test]
fn a_record_whose_position_cannot_be_read_stands_where_its_partition_has_come_to() {
    let beside = Sighting { commit_position: Some(120), change_position: 0, ..row(0) };
    // It started before the commit that the row beside the stream stands at.
    let older = Sighting { change_position: 90, ..change(120, 4) };
    let history = [
        row(100),
        row(100),
        first(1),
        first(1),
        change(110, 2),
        change(110, 2),
        change(120, 3),
        Sighting { commit_position: Some(130), ..beside },
        Sighting { commit_position: Some(130), ..older },
        change(140, 5),
        row(300),
        row(300),
        first(9),
    ];
    let mut all = Partitions::default();
    let epochs = all.all(0, &history);
    assert_eq!(epochs[9..], [0, 1, 1, 1]);
    for unread in 0..history.len() {
        let mut log = Partitions::default();
        log.all(0, &history[..unread]);
        let tracker = log.trackers.first().cloned().unwrap_or_default();
        let reached = tracker.reached(unread as i64);
        for (offset, seen) in history.iter().enumerate().filter(|(offset, _)| *offset != unread) {
            let version = version(seen, epochs[offset], offset);
            assert_eq!(version < reached, offset < unread, "{unread}, {offset}: {version}");
        }
    }
}

#[test]
fn a_record_whose_position_cannot_be_read_is_below_what_any_source_of_its_partition_tells() {
    let mut log = Partitions::default();
    log.read_of("high", 0, &change(9_000, 1));
    log.read_of("low", 0, &change(10, 1));
    let reached = log.trackers[0].reached(2);
    for seen in [change(9_000, 1), change(10, 1)] {
        assert!(reached < version(&seen, 0, 3), "{reached}");
    }
    // Once one of them has started over, the other may still be in the epoch before.
    log.trackers[0].enter("high", 2, 1);
    assert_eq!(log.read_of("high", 0, &change(20, 2)), 1);
    let reached = log.trackers[0].reached(3);
    assert!(reached < version(&change(10, 2), 0, 4), "{reached}");
}

#[test]
fn without_positions_the_offset_alone_tells_where_a_record_stands() {
    let mut tracker = Tracker::default();
    let at = |kafka_offset| {
        Version::new(VersionParts { phase: 1, kafka_offset, ..VersionParts::default() })
    };
    assert!(tracker.reached(0) < at(1));
    assert_eq!(tracker.place(SOURCE, 0, None), Placed::In(0));
    assert!(at(0) < tracker.reached(1) && tracker.reached(1) < at(2));
    // An epoch that is written down here is known before any record of it is read.
    tracker.enter(SOURCE, 1, 3);
    assert!(at(0).in_epoch(2) < tracker.reached(1) && tracker.reached(1) < at(2).in_epoch(3));
}
