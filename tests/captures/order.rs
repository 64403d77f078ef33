//! Orders in which records reach Silver: as they arrived, repeated from an offset, or drawn by a seed.

use crate::log::{Item, Stretch, as_captured, split};
use crate::worker::World;
use std::fmt;
use std::sync::Arc;

/// How an order is drawn; everything follows from the seed.
#[derive(Clone, Debug)]
pub struct Order {
    pub seed: u64,
    /// Partitions per topic; `None` as captured.
    pub partitions: Option<i32>,
    pub workers: usize,
    /// Rows of a batch; `None` changes with every stretch.
    pub limit: Option<usize>,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: partitions ", self.seed)?;
        match self.partitions {
            Some(count) => write!(f, "{count}")?,
            None => f.write_str("as captured")?,
        }
        write!(f, ", {} workers, batches of ", self.workers)?;
        match self.limit {
            Some(usize::MAX) => f.write_str("any size"),
            Some(limit) => write!(f, "{limit} rows"),
            None => f.write_str("changing sizes"),
        }
    }
}

/// Batches of one row cost a transaction each: histories longer than this have them in stretches only.
const LONG: usize = 250;

impl Order {
    /// The order of a seed, for a history of so many records.
    pub fn of(seed: u64, records: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits: &[Option<usize>] = match records > LONG {
            true => &[None, None, Some(1000), Some(usize::MAX)],
            false => &[None, Some(1), Some(7), Some(1000), Some(usize::MAX)],
        };
        Self {
            seed,
            partitions: *rng.choice(&[None, None, Some(3), Some(4)]).unwrap(),
            workers: rng.usize(1..=2),
            limit: *rng.choice(limits).unwrap(),
        }
    }

    /// The partitions that it reads.
    pub fn stretches(&self, items: &[Arc<Item>]) -> Vec<Stretch> {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        match self.partitions {
            Some(count) => split(items, count, &mut rng),
            None => as_captured(items),
        }
    }

    /// Lets the workers read everything in this order, with stretches that are read twice, crashes and hand-overs.
    pub async fn perform(&self, world: &mut World<'_>) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let total: i64 = (0..world.partitions()).map(|partition| world.end(partition)).sum();
        let mut disturbances = rng.u32(2..6);
        loop {
            let unfinished = world.unfinished();
            let Some(partition) = rng.choice(&unfinished).copied() else {
                if disturbances > 0 && rng.bool() {
                    disturbances -= 1;
                    disturb(world, &mut rng, total).await;
                    continue;
                }
                break;
            };
            if disturbances > 0 && rng.u32(0..100) < 8 {
                disturbances -= 1;
                disturb(world, &mut rng, total).await;
                continue;
            }
            let (limit, longest) = match self.limit {
                Some(limit) => (limit, total),
                None => {
                    *rng.choice(&[(1, 15), (7, 150), (1000, total), (usize::MAX, total)]).unwrap()
                }
            };
            world.limit = limit;
            let count = *rng.choice(&[1, 3, 12, total / 20 + 1, total / 5 + 1]).unwrap();
            world.read(partition, count.min(longest)).await;
            let lane = world.lane_of(partition);
            match rng.u32(0..10) {
                0..3 => world.flush(world.owner_of(partition), lane).await,
                3 => world.flush_together(lane).await,
                _ => {}
            }
        }
        world.flush_all().await;
    }
}

/// What makes workers read again: a crash, a partition that goes to another worker, an offset that is moved back.
async fn disturb(world: &mut World<'_>, rng: &mut fastrand::Rng, total: i64) {
    match rng.u32(0..4) {
        0 => world.crash(rng.usize(0..world.workers())).await,
        1 if world.workers() > 1 => {
            let partition = rng.usize(0..world.partitions());
            world.hand_over(partition, 1 - world.owner_of(partition)).await;
        }
        _ => {
            let partition = rng.usize(0..world.partitions());
            let back = *rng.choice(&[1, 5, 40, total / 4 + 1, total]).unwrap();
            let (worker, lane) = (world.owner_of(partition), world.lane_of(partition));
            if rng.bool() {
                world.flush(worker, lane).await;
            }
            let to = world.stored(partition) - rng.i64(1..=back);
            if to >= 0 {
                world.rewind(partition, to).await;
            }
        }
    }
}

/// Reads everything one by one, in the order in which it was captured.
pub async fn as_it_arrived(world: &mut World<'_>, items: &[Arc<Item>], limit: usize) {
    world.limit = limit;
    for item in items {
        let partition = world.find(&world.lanes[item.lane].topic, item.partition);
        world.read(partition, 1).await;
    }
    world.flush_all().await;
}

/// Moves a partition back and reads it to its end.
pub async fn replay(world: &mut World<'_>, partition: usize, from: i64) {
    world.rewind(partition, from).await;
    world.read(partition, i64::MAX).await;
    world.flush_all().await;
}

/// Offsets next to which something begins: a snapshot, a stream, a lineage.
pub fn edges(stretch: &Stretch) -> Vec<i64> {
    let mut edges = vec![0];
    let (mut last, mut position) = (None, None);
    for (offset, item) in (0..).zip(&stretch.items) {
        let Some(seen) = item.seen.as_ref().and_then(|s| s.sighting) else { continue };
        let kind = (seen.read, seen.incremental, seen.commit_position.is_none());
        if last != Some(kind) || seen.commit_position < position {
            edges.extend([offset - 1, offset, offset + 1]);
        }
        (last, position) = (Some(kind), seen.commit_position);
    }
    let end = i64::try_from(stretch.items.len()).unwrap();
    edges.retain(|offset| (0..end).contains(offset));
    edges.sort_unstable();
    edges.dedup();
    edges
}
