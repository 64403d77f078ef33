//! Seeded histories of a PostgreSQL source, its connectors and Kafka, read by the product's own version, epochs and fold.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod checker;
mod connector;
mod guard;
mod history;
mod shape;
mod silver;
mod sink;
mod source;
mod topic;

use checker::Verdict;
use guard::Guard;
use history::{History, Without};

fn add(sum: &mut Verdict, one: Verdict) {
    sum.wrong += one.wrong;
    sum.lettered += one.lettered;
    sum.ghosts += one.ghosts;
    sum.parked += one.parked;
    sum.rewritten += one.rewritten;
    sum.records += one.records;
    sum.epochs += one.epochs;
}

#[test]
fn explore() {
    let count: u64 = std::env::var("N").map_or(1000, |n| n.parse().unwrap());
    let guards: Vec<Guard> =
        if std::env::var("WEAK").is_ok() { Guard::WEAKER.to_vec() } else { vec![Guard::Design] };
    let w = std::env::var("W").unwrap_or_default();
    let without = Without {
        moved_unchanged: w.contains('m'),
        late_unchanged: w.contains('l'),
        shared_truncates: w.contains('s'),
        truncates: w.contains('t'),
        growth: w.contains('g'),
        placeholders: w.contains('f'),
        epochs: w.contains('e'),
    };
    for guard in guards {
        let mut sum = Verdict::default();
        let mut first = None;
        let begun = std::time::Instant::now();
        for seed in 0..count {
            let history = History::new(seed, without, false);
            if let Some(key) = history.contradiction() {
                panic!("key {key}: {}", checker::tell(seed, without, guard));
            }
            let one = checker::judge(&history, seed, guard);
            if one.wrong > 0 && first.is_none() {
                first = Some(seed);
            }
            add(&mut sum, one);
        }
        println!("{guard:?}: {sum:?} in {:?}, first {first:?}", begun.elapsed());
        if guard == Guard::Design && let Some(seed) = first {
            println!("{}", checker::tell(seed, without, guard));
        }
    }
}
