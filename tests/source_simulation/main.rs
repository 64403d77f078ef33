//! Seeded histories of a PostgreSQL source, its connectors and Kafka, read by the product's own version, epochs and fold.
//!
//! A history is made by simulating what writes it: WAL positions, row locks, overlapping transactions, slots, snapshots of
//! all kinds, crashes, lost slots, new clusters, partitions. What must come out is what the source has in the end; only the
//! rows that nobody could see go stay. The sink reads the partitions in any interleaving, with one or two workers, crashes,
//! moves and replays. Its destination is a model of the MERGE, which a test compares with the real one.
//!
//! `SILVERSINK_HISTORIES` sets how many histories are run, `SILVERSINK_SEED` runs and prints one, `SILVERSINK_GAP` adds what
//! one of [`history::Gaps::NAMED`] leaves out and counts.
//!
//! Not generated, because no order can tell: keys that are exchanged inside one transaction (a deferrable key), unchanged
//! values that arrive as NULL, truncates inside the window of an incremental chunk, blocking snapshots before the
//! end of the first transaction of a slot, a source clock that steps back (by more than the pause between two clusters, or between a change and its repetition). What is generated and
//! known to end wrong stands in [`history::Gaps`].

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod checker;
mod connector;
mod differential;
mod guard;
mod history;
#[path = "../postgres/server.rs"]
#[allow(dead_code, reason = "this suite needs a part of it")]
mod server;
mod shape;
mod silver;
mod sink;
mod source;
mod topic;
mod unread;

use checker::Verdict;
use guard::Guard;
use history::{Gaps, History};
use sink::Sink;
use std::env;
use std::time::{Duration, Instant};
use unread::Unread;

/// Histories of everyday work.
const HISTORIES: u64 = 100_000;
/// Histories that each weaker guard and each gap gets.
const FEWER: u64 = 5_000;
const THREADS: u64 = 2;

/// Runs seeds `from..to` on two threads; the sum, and the first seed of a wrong row.
fn run(from: u64, to: u64, gaps: Gaps, guard: Guard) -> (Verdict, Option<u64>) {
    let part = |thread: u64| {
        move || {
            let (mut sum, mut first) = (Verdict::default(), None);
            for seed in (from + thread..to).step_by(THREADS as usize) {
                let history = History::new(seed, gaps, false);
                if let Some(key) = history.contradiction() {
                    let told = checker::tell(seed, gaps, guard);
                    panic!("the simulator contradicts itself on key {key}\n{told}");
                }
                let one = checker::judge(&history, seed, guard);
                if one.wrong > 0 {
                    first = first.or(Some(seed));
                }
                sum.add(one);
            }
            (sum, first)
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(part(thread))).collect();
        threads.into_iter().fold((Verdict::default(), None), |(mut sum, first), thread| {
            let (one, other): (Verdict, Option<u64>) = thread.join().unwrap();
            sum.add(one);
            (sum, [first, other].into_iter().flatten().min())
        })
    })
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_row_ends_wrong_under_the_design() {
    let gap = env::var("SILVERSINK_GAP").ok().map(|gap| {
        Gaps::NAMED.into_iter().find(|(name, _)| *name == gap).expect("the name of a gap").1
    });
    let gaps = gap.unwrap_or_default();
    if let Some(seed) = number("SILVERSINK_SEED") {
        println!("{}", checker::tell(seed, gaps, Guard::Design));
        assert_eq!(run(seed, seed + 1, gaps, Guard::Design).0.wrong, 0);
        return;
    }
    let histories = number("SILVERSINK_HISTORIES").unwrap_or(HISTORIES);
    if gap.is_some() {
        let (sum, first) = run(0, histories, gaps, Guard::Design);
        println!("{histories} histories, {} wrong rows, first {first:?}: {sum:?}", sum.wrong);
        assert!(sum.wrong as u64 <= histories / 1_000);
        return;
    }
    let (begun, mut said) = (Instant::now(), Instant::now());
    let mut sum = Verdict::default();
    let mut done = 0;
    while done < histories {
        let to = (done + 10_000).min(histories);
        let (one, first) = run(done, to, Gaps::default(), Guard::Design);
        if let Some(seed) = first {
            println!(
                "{}\nalone: SILVERSINK_SEED={seed} cargo test --test source_simulation \
                 no_row_ends_wrong_under -- --nocapture",
                checker::tell(seed, Gaps::default(), Guard::Design)
            );
        }
        sum.add(one);
        done = to;
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            println!("{done} histories, {:?}", begun.elapsed());
        }
    }
    println!("{done} histories in {:?}, {} wrong rows: {sum:?}", begun.elapsed(), sum.wrong);
    assert!(sum.ghosts > 0, "no slot was ever lost");
    assert!(sum.raised > 0, "no epoch was ever raised");
    assert_eq!(sum.wrong, 0);
    assert_eq!(sum.causeless, 0, "epochs were raised in one lineage");
    assert!(sum.records as u64 > 10 * histories, "the histories are empty");
}

/// One row in millions: a partition is read again past a beginning, and the key whose row another partition's change of the
/// key asks for has a later life already, of which the epoch before is left ([`silversink::sql::again`]).
#[test]
fn a_row_of_a_later_time_is_no_base() {
    // Of these no row is wrong, but what is repeated there once looked like positions that fell and like fresh offsets.
    for seed in [1_865_260, 5_755_885] {
        assert_eq!(run(seed, seed + 1, Gaps::default(), Guard::Design).0.raised, 0, "{seed}");
    }
    for seed in [1_899_430, 3_129_183] {
        let (sum, _) = run(seed, seed + 1, Gaps::default(), Guard::Design);
        assert_eq!((sum.wrong, sum.lettered), (0, 1), "seed {seed}");
        assert!(sum.led_back > 0, "seed {seed} is another history by now");
    }
}

/// Epochs while keys move between partitions or the table is truncated, as far as some partition shows them.
#[test]
fn no_row_ends_wrong_where_an_epoch_begins_beside_growth_or_truncates() {
    let gaps = Gaps { epochs_beside: true, ..Gaps::default() };
    let (sum, first) = run(0, HISTORIES, gaps, Guard::Design);
    println!("{HISTORIES} histories, {} wrong rows, first {first:?}: {sum:?}", sum.wrong);
    assert_eq!((sum.wrong, first), (0, None));
    assert!(sum.led_back > 0, "no partition ever went past the beginning of an epoch");
}

/// Partitions that are read apart, begin in different transactions, without rows of the snapshot, days later, behind repeated
/// stretches: nothing of that is another lineage.
#[test]
fn nothing_is_raised_in_one_lineage() {
    let histories = number("SILVERSINK_HISTORIES").unwrap_or(HISTORIES);
    let part = |thread: u64| {
        move || {
            for seed in (thread..histories).step_by(THREADS as usize) {
                let history = History::of_one_lineage(seed, false);
                let one = checker::judge(&history, seed, Guard::Design);
                if (one.epochs, one.led_back) != (0, 0) {
                    let history = History::of_one_lineage(seed, true);
                    panic!("{}", checker::told(&history, seed, Guard::Design));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|thread| drop(scope.spawn(part(thread))));
    });
}

#[test]
fn every_weaker_guard_is_caught() {
    for guard in Guard::WEAKER {
        let (sum, first) = run(0, FEWER, Gaps::default(), guard);
        println!("{guard:?}: {} wrong rows of {FEWER} histories, first {first:?}", sum.wrong);
        assert!(sum.wrong > 0, "{guard:?} was not caught");
    }
}

#[test]
fn nothing_is_built_on_the_row_behind_a_record_that_nobody_can_read() {
    let histories = number("SILVERSINK_HISTORIES").unwrap_or(FEWER);
    let judge = |unread| {
        let (mut mixed, mut guarded, mut first) = (0, 0, None);
        for seed in 0..histories {
            let history = History::new(seed, Gaps::default(), false);
            let sink = Sink::run(&history, seed, (Guard::Design, unread), false);
            let one = unread::mixed(&history, &sink);
            mixed += one;
            guarded += sink.letters.guarded;
            first = first.or((one > 0).then_some(seed));
        }
        println!("{unread:?}: {mixed} mixed rows, first {first:?}; {guarded} above a hole");
        (mixed, guarded)
    };
    let (mixed, guarded) = judge(Unread::Guarded);
    // A change of the key past a dead letter that another worker has just read: once in 100,000 histories.
    assert!(mixed as u64 <= histories / 50_000 && guarded > 0);
    assert!(judge(Unread::Unguarded).0 > 0, "without holes nothing is built on a stale row");
}

/// Gaps of the product stay as rare as they are: [`Gaps`] has the figures of a million histories each, which
/// `SILVERSINK_GAP` counts. A gap that is closed is taken off the list.
#[test]
fn named_gaps_do_not_widen() {
    for (name, gaps) in Gaps::NAMED {
        let (sum, first) = run(0, FEWER, gaps, Guard::Design);
        println!("{name}: {} wrong rows of {FEWER} histories, first {first:?}", sum.wrong);
        let known = if gaps.late { 4 } else { 0 };
        assert!(sum.wrong <= known, "{name}: {} wrong rows", sum.wrong);
    }
}

#[test]
fn a_seed_makes_the_same_history_again() {
    for seed in 0..20 {
        let tell = || checker::tell(seed, Gaps::default(), Guard::Design);
        assert_eq!(tell(), tell());
    }
}
