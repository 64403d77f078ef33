//! What is tried on one scenario, and the line about it.

use crate::log::{Item, What, as_captured};
use crate::order::{Order, as_it_arrived, edges, replay};
use crate::rig::Rig;
use crate::scenarios;
use crate::untold::{Untold, pinned};
use crate::verdict::{Differences, Line};
use crate::worker::World;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Drawn orders.
    seeds: u64,
    /// Offsets to replay from, beside the edges; `None` for each.
    offsets: Option<usize>,
    /// Batch limits of the runs in the order of arrival.
    limits: &'static [usize],
}

const LIMITS: &[usize] = &[1, 7, 1000, usize::MAX];

/// `SILVERSINK_ORDERS=all` tries everything (`make test-orders`).
fn effort(records: usize) -> Effort {
    if std::env::var("SILVERSINK_ORDERS").is_ok_and(|value| value == "all") {
        return Effort { seeds: 200, offsets: None, limits: LIMITS };
    }
    match records {
        0..300 => Effort { seeds: 4, offsets: Some(6), limits: &[7, usize::MAX] },
        300..3000 => Effort { seeds: 3, offsets: Some(3), limits: &[1000] },
        _ => Effort { seeds: 2, offsets: Some(2), limits: &[1000] },
    }
}

/// What came out.
#[derive(Debug, Default)]
struct Tally {
    orders: u64,
    rows: u64,
    wrong: u64,
    /// Differences of rows that a dead letter of the same order names.
    parked: u64,
    complaints: Vec<String>,
}

/// Every order of every encoding of a scenario.
pub async fn scenario(name: &str) {
    let mut types = None;
    let mut untold = Untold::default();
    let mut complaints = Vec::new();
    for encoding in scenarios::encodings(name) {
        let started = Instant::now();
        let wanted = scenarios::is_schemaless(name, &encoding);
        let given = types.as_ref().filter(|_| wanted);
        let mut rig = Rig::open(name, &encoding, given).await;
        types.get_or_insert_with(|| rig.column_types());
        let arrival = rig.judge.differences(&rig.silver.readback).await;
        for line in &arrival {
            untold.add(line, &encoding);
        }
        for (topic, code, partition, offset) in &rig.arrival.letters {
            let group = format!("dead letter: {topic}: {code}");
            let key = format!("{partition}@{offset}");
            untold.add(&Line { text: key.clone(), group, key }, &encoding);
        }
        let opened = started.elapsed();
        let effort = effort(rig.items.len());
        let mut tally = Tally { orders: 1, rows: rig.judge.rows, ..Tally::default() };
        // Where every lane has stopped at once there is nothing to try.
        if !rig.items.is_empty() {
            let arrival = baseline(&mut rig, arrival).await;
            arrivals(&mut rig, &arrival, effort, &mut tally).await;
            replays(&mut rig, effort, &mut tally).await;
            drawn(&mut rig, &arrival, effort, &mut tally).await;
        }
        println!(
            "{:<46} {:>7} records {:>6} orders {:>9} rows compared {:>5} wrong {:>4} parked  {:>6.1} s ({:.1} s to open)",
            rig.name,
            rig.items.len(),
            tally.orders,
            tally.rows,
            tally.wrong,
            tally.parked,
            started.elapsed().as_secs_f64(),
            opened.as_secs_f64()
        );
        complaints.append(&mut tally.complaints);
    }
    let (text, unexplained) = untold.render(name);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    let pinned = pinned(name, &text);
    assert!(unexplained.is_empty(), "{name}, without a reason:\n{}", unexplained.join("\n"));
    assert_eq!(text, pinned, "what the topics of {name} do not tell has changed");
}

/// What every order has to end in: what the run with its DDL ended in, or, where that holds older records than the tables
/// of the end can take, what the others come to in the order of arrival.
async fn baseline(rig: &mut Rig, arrival: Differences) -> Differences {
    if !rig.cut {
        return arrival;
    }
    rig.silver.empty(&rig.tables()).await;
    let writers = &mut rig.writers[..1];
    let mut world = World::start(&rig.silver, &rig.lanes, writers, as_captured(&rig.items)).await;
    as_it_arrived(&mut world, &rig.items, usize::MAX).await;
    rig.judge.differences(&rig.silver.readback).await
}

/// The order of arrival, with each batch limit and one or two workers.
async fn arrivals(rig: &mut Rig, expected: &Differences, effort: Effort, tally: &mut Tally) {
    for limit in effort.limits {
        for workers in 1..=2 {
            let what = format!("order of arrival, batches of {limit} rows, {workers} workers");
            rig.silver.empty(&rig.tables()).await;
            let writers = &mut rig.writers[..workers];
            let stretches = as_captured(&rig.items);
            let mut world = World::start(&rig.silver, &rig.lanes, writers, stretches).await;
            as_it_arrived(&mut world, &rig.items, *limit).await;
            // Rows that were deleted between two source epochs are still there: then it may be so. So it may where a batch ends
            // inside a transaction and a flattened delete does not bring the row that went.
            let starts_over = ["recreated-slot/", "new-cluster/", "interrupted-snapshot/"];
            let may_be = starts_over.iter().any(|name| rig.name.starts_with(name))
                || rig.name.contains("/flat-");
            let told = &world.counts.exchanged;
            if told.iter().any(|(.., certain)| *certain || !may_be)
                && !rig.name.starts_with("key-swap/")
            {
                tally.complaints.push(format!("{}: {what}: keys exchanged: {told:?}", rig.name));
            }
            compare(rig, expected, &what, &BTreeSet::new(), tally).await;
        }
    }
}

/// Everything is applied, and then again from many offsets: nothing is written.
async fn replays(rig: &mut Rig, effort: Effort, tally: &mut Tally) {
    let stretches = as_captured(&rig.items);
    rig.silver.empty(&rig.tables()).await;
    let writers = &mut rig.writers[..1];
    let mut world = World::start(&rig.silver, &rig.lanes, writers, stretches.clone()).await;
    as_it_arrived(&mut world, &rig.items, usize::MAX).await;
    let mut rng = fastrand::Rng::with_seed(1);
    let before = rig.judge.places(&rig.silver.readback).await;
    let told = world.counts.exchanged.len();
    for (partition, stretch) in stretches.iter().enumerate() {
        let end = i64::try_from(stretch.items.len()).unwrap();
        let mut offsets = match effort.offsets {
            None => (0..end).collect(),
            Some(count) => {
                let mut offsets = edges(stretch);
                rng.shuffle(&mut offsets);
                offsets.truncate(2 * count);
                offsets.extend((0..count).map(|_| rng.i64(0..end)));
                offsets
            }
        };
        offsets.sort_unstable();
        offsets.dedup();
        for from in offsets {
            world.limit = *rng.choice(&[usize::MAX, usize::MAX, 1000, 100]).unwrap();
            let applied = world.counts.applied;
            replay(&mut world, partition, from).await;
            tally.orders += 1;
            // A truncate counts as applied whenever it is read, so what it wrote is looked at instead.
            let truncates = stretch.items.iter().any(|i| matches!(i.what, What::Truncate { .. }));
            if world.counts.exchanged.len() > told {
                let topic = &world.lanes[stretch.lane].topic;
                tally.complaints.push(format!("{}: a replay of {topic} tells again", rig.name));
            }
            let again = match truncates {
                false => world.counts.applied - applied,
                true => u64::from(rig.judge.places(&rig.silver.readback).await != before),
            };
            if again > 0 {
                tally.wrong += again;
                tally.complaints.push(format!(
                    "{}: a replay of {}-{} from {from} wrote {again} rows",
                    rig.name, world.lanes[stretch.lane].topic, stretch.number
                ));
            }
        }
    }
    let after = rig.judge.places(&rig.silver.readback).await;
    if before != after {
        tally.wrong += 1;
        tally.complaints.push(format!("{}: replays moved rows", rig.name));
    }
}

/// Orders drawn by seeds.
async fn drawn(rig: &mut Rig, expected: &Differences, effort: Effort, tally: &mut Tally) {
    for seed in 1..=effort.seeds {
        let order = Order::of(seed, rig.items.len());
        rig.silver.empty(&rig.tables()).await;
        let writers = &mut rig.writers[..order.workers];
        let stretches = order.stretches(&rig.items);
        let mut world = World::start(&rig.silver, &rig.lanes, writers, stretches).await;
        order.perform(&mut world).await;
        let parked = parked(&rig.items, &world);
        compare(rig, expected, &order.to_string(), &parked, tally).await;
    }
}

/// Rows that came to their key without their unchanged values, before the row of their old key was read: they are dead letters
/// (I9), and Silver lacks them until they come whole. As the differences call them.
fn parked(items: &[Arc<Item>], world: &World<'_>) -> BTreeSet<String> {
    let row = |item: &Arc<Item>| {
        let What::Change(change) = &item.what else { return None };
        let lane = &world.lanes[item.lane];
        let letter = (lane.topic.clone(), "unchanged_without_base", item.partition, item.offset);
        world.counts.letters.contains(&letter).then_some(())?;
        // The tables that this is about have a key of one integer.
        let id = i32::from_be_bytes(change.key.get(4..)?.try_into().ok()?);
        Some(format!("{} (id={id})", lane.table))
    };
    items.iter().filter_map(row).collect()
}

async fn compare(
    rig: &mut Rig,
    expected: &Differences,
    what: &str,
    parked: &BTreeSet<String>,
    tally: &mut Tally,
) {
    let found = rig.judge.differences(&rig.silver.readback).await;
    tally.orders += 1;
    tally.rows += rig.judge.rows;
    let (away, wrong): (Vec<&Line>, Vec<&Line>) = found
        .symmetric_difference(expected)
        .partition(|line| parked.iter().any(|row| line.text.starts_with(row)));
    tally.parked += away.len() as u64;
    tally.wrong += wrong.len() as u64;
    if let Some(first) = wrong.first() {
        let count = wrong.len();
        tally
            .complaints
            .push(format!("{}: {what}: {count} wrong rows: {:.200}", rig.name, first.text));
    }
}

/// The suite sees what it is there for: a wrong expectation, and a guard without the commit position.
pub async fn planted() {
    let name = "snapshot-edge-slot-first";
    let mut rig = Rig::open(name, "avro", None).await;
    let effort = Effort { seeds: 2, offsets: Some(0), limits: &[usize::MAX] };
    let sound = rig.judge.differences(&rig.silver.readback).await;
    assert!(sound.is_empty(), "{sound:?}");

    rig.judge.spoil();
    let mut tally = Tally::default();
    arrivals(&mut rig, &sound, effort, &mut tally).await;
    assert_eq!(tally.wrong, 2, "one row in each of two orders: {:?}", tally.complaints);

    let mut rig = Rig::open("snapshot-edge", "avro", None).await;
    for item in &mut rig.items {
        if let What::Change(change) = &mut Arc::get_mut(item).unwrap().what {
            // Only the position of the change itself is left.
            (change.version.commit_position, change.version.phase) = (0, 0);
        }
    }
    let mut tally = Tally::default();
    arrivals(&mut rig, &sound, effort, &mut tally).await;
    drawn(&mut rig, &sound, effort, &mut tally).await;
    assert!(tally.wrong >= 4 * 10, "{} wrong: {:?}", tally.wrong, tally.complaints);
    assert!(tally.complaints.iter().any(|c| c.contains("seed 2")), "{:?}", tally.complaints);
}
