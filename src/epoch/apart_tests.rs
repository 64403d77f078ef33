//! Partitions that are read apart: what one shows, and what the others make of it.

use super::tests::{self, SOURCE, row};
use super::*;
use proptest::prelude::*;

/// A streamed change, at a microsecond.
fn change(commit: u64, at: i64) -> Sighting {
    Sighting { source_ts: Some(at), ..tests::change(commit, 0) }
}

#[test]
fn a_partition_without_a_sign_passes_into_an_epoch_by_time() {
    let mut quiet = Tracker::default();
    let place = |tracker: &mut Tracker, offset, seen: &Sighting| {
        tracker.place_at(SOURCE, offset, Some(seen), seen.source_ts)
    };
    assert_eq!(place(&mut quiet, 0, &change(110, 90)), Placed::In(0));
    quiet
        .learn(SOURCE, Epochs::new(vec![Epoch { number: 1, snapshot: Some(9), since: Some(100) }]));
    assert_eq!(quiet.read_again(1, 0), None);
    assert_eq!(place(&mut quiet, 1, &change(120, 99)), Placed::In(0));
    // The connector's clock does not count.
    let beside = Sighting { read: true, incremental: true, ..change(120, 105) };
    assert_eq!(place(&mut quiet, 2, &beside), Placed::In(0));
    let passed = Placed::StartsOver { current: 0, signal: Signal::Passed { epoch: 1 } };
    assert_eq!(place(&mut quiet.clone(), 3, &change(130, 100)), passed);
    // A mark of its own further on says where.
    let mut marked = quiet.clone();
    marked.enter(SOURCE, 5, 1);
    assert_eq!(place(&mut marked, 3, &change(130, 100)), Placed::In(0));
    // Its own sign comes first, and a skewed clock does not lead others astray.
    let fell = Placed::StartsOver { current: 0, signal: Signal::PositionsFell };
    assert_eq!(place(&mut quiet, 3, &change(5, 200_000)), fell);
    assert_eq!(quiet.since(SOURCE, Some(98)), Some(99));
}

#[test]
fn what_was_read_past_a_beginning_is_read_again_from_the_mark_before() {
    let mut past = Tracker::default();
    for (offset, at) in [(0, 40_i64), (1, 60), (2, 90), (3, 120)] {
        past.place_at(SOURCE, offset, Some(&change(100 + at.unsigned_abs(), at)), Some(at));
    }
    let epoch = |number, since| Epoch { number, snapshot: None, since };
    past.learn(SOURCE, Epochs::new(vec![epoch(1, Some(100))]));
    let (back, lineages) = past.read_again(4, 0).unwrap();
    assert_eq!(back, 0);
    assert_eq!(past.read_again(4, 2).unwrap().0, 2, "what the log still has");
    // It stays where it is until then, and is not led back twice.
    assert_eq!(past.place_at(SOURCE, 4, Some(&change(230, 130)), Some(130)), Placed::In(0));
    let mut again = past.clone();
    again.rewind(lineages);
    assert_eq!(again.read_again(0, 0), None);
    // What is read again has been in Silver in the epoch before, what follows has not; also after a restart.
    let stored = stored::from_text(&stored::to_text(again.lineages()).unwrap());
    let again = Tracker::new(stored.unwrap(), Vec::new());
    assert!(!past.is_again(0) && again.is_again(0) && again.is_again(3) && !again.is_again(4));
    // A mark that began before the epoch is far enough.
    let start = Start { source: SOURCE.to_owned(), offset: 1, epoch: 2 };
    let mut marked = Tracker::new(vec![(SOURCE.to_owned(), Lineage::new(2))], vec![start]);
    marked.place_at(SOURCE, 3, Some(&change(120, 120)), Some(120));
    marked.learn(SOURCE, Epochs::new(vec![epoch(2, Some(50)), epoch(3, Some(100))]));
    assert_eq!(marked.read_again(4, 0).unwrap().0, 1);
}

/// A lineage that is found late gets a number above that of the next one: where that begins, another one begins again.
#[test]
fn a_mark_below_the_epoch_by_now_is_judged_anew() {
    let epoch = |number, at, since| Epoch { number, snapshot: Some(at), since: Some(since) };
    let first = change(110, 50);
    let lineage = vec![(SOURCE.to_owned(), Lineage::new(1))];
    let start = Start { source: SOURCE.to_owned(), offset: 1, epoch: 1 };
    let mut epochs = Epochs::new(vec![epoch(1, 20, 90), epoch(2, 100, 40)]);
    let mut tracker =
        Tracker::new(Tracker::anew(&lineage, std::slice::from_ref(&start), 0, 5), vec![start]);
    tracker.learn(SOURCE, epochs.clone());
    let signal = Signal::Passed { epoch: 2 };
    let passed = tracker.place_at(SOURCE, 0, Some(&first), first.source_ts);
    assert_eq!(passed, Placed::StartsOver { current: 0, signal });
    tracker.enter(SOURCE, 0, 2);
    assert_eq!(tracker.place_at(SOURCE, 0, Some(&first), first.source_ts), Placed::In(2));
    let next = Sighting { source_ts: Some(90), ..row(20) };
    let signal = Signal::Snapshot { position: 20 };
    let begins = tracker.place_at(SOURCE, 1, Some(&next), next.source_ts);
    assert_eq!(begins, Placed::StartsOver { current: 2, signal });
    assert_eq!(epochs.enter(2, signal, Some(90)), Entered { number: 3, raised: true });
    assert_eq!(epochs.of(3), Some(&epoch(3, 20, 90)));
}

/// Commit times do not grow strictly; a replay from the middle must not forget the latest one.
#[test]
fn a_replay_from_the_middle_knows_how_late_it_was() {
    let history = [change(100, 500), change(110, 490), change(100, 500)];
    let mut tracker = Tracker::default();
    for (offset, seen) in (0..2).zip(&history) {
        assert_eq!(tracker.place(SOURCE, offset, Some(seen)), Placed::In(0));
    }
    let mut again = Tracker::new(Tracker::anew(tracker.lineages(), &[], 1, 2), Vec::new());
    for (offset, seen) in (1..3).zip(&history[1..]) {
        assert_eq!(again.place(SOURCE, offset, Some(seen)), Placed::In(0), "{offset}");
    }
}

proptest! {
    /// Two sources in one topic, each in one lineage: whatever partition a change is in and whichever is read first, and
    /// although records without positions lie between, all stay in epoch 0.
    #[test]
    fn sources_that_share_a_topic_stay_in_their_lineages(
        changes in proptest::collection::vec((0..2_usize, 0..4_usize, 1..90_u64, 1..1_000_000_000_i64), 1..40),
        order in Just([0_usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let mut at = [(1_000_u64, 0_i64), (50, 5_000)];
        let mut log = vec![Vec::new(); 4];
        for (source, partition, further, later) in changes {
            at[source] = (at[source].0 + further, at[source].1 + later);
            log[partition].push((["a", "b"][source], change(at[source].0, at[source].1)));
        }
        for partition in order {
            let mut tracker = Tracker::default();
            for (offset, (source, seen)) in (0..).zip(&log[partition]) {
                prop_assert_eq!(tracker.place_at(source, 2 * offset, Some(seen), seen.source_ts), Placed::In(0));
                prop_assert_eq!(tracker.place_at("heartbeat", 2 * offset + 1, None, None), Placed::In(0));
            }
            prop_assert_eq!(tracker.read_again(i64::MAX, 0), None);
        }
    }
}
