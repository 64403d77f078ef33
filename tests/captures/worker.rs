//! Workers without Kafka: each reads partitions, folds into arenas of its own and writes through a session of its own.

pub use crate::lane::{Counts, Lane};
use crate::letters::{dead_letter, has_hole};
use crate::log::{Item, Stretch, What, version_at};
use crate::silver::{PIPELINE, Silver};
use crate::sources::{Place, Sources};
use silversink::batch::arena::{Arena, Folded, Incoming, SealedRange};
use silversink::batch::holes::Holes;
use silversink::batch::{Applied, Batch, Kind, OffsetRange, Truncate};
use silversink::epoch::Placed;
use silversink::fault::{Class, Code, Fault};
use silversink::postgres::{BeginAt, ClaimAsk, Writer};
use silversink::table::TableShape;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A transaction that lost a race is repeated; more often than this it would not be a race.
const RACES: u32 = 20;

#[derive(Default)]
struct OpenLane {
    arena: Arena,
    /// Keys whose dead letters no whole row has made good yet.
    holes: Holes,
    batches: u64,
}

/// One partition, wherever it is read at the moment.
struct Partition {
    stretch: Stretch,
    /// Place among its lane's partitions.
    slot: u16,
    owner: usize,
    owner_epoch: i64,
    /// The next offset to read.
    next: i64,
    /// The position in the destination.
    stored: i64,
    /// Records that PostgreSQL refused.
    condemned: BTreeMap<i64, Fault>,
    place: Place,
}

/// Some workers on the same tables.
pub struct World<'a> {
    silver: &'a Silver,
    pub lanes: Vec<Lane>,
    writers: &'a mut [Writer],
    open: Vec<Vec<OpenLane>>,
    partitions: Vec<Partition>,
    sources: Sources,
    pub counts: Counts,
    /// Rows at which a batch is written.
    pub limit: usize,
}

impl<'a> World<'a> {
    /// Workers that have claimed every partition, in turns, at offset 0. One writer a worker.
    pub async fn start(
        silver: &'a Silver,
        lanes: &[Lane],
        writers: &'a mut [Writer],
        stretches: Vec<Stretch>,
    ) -> Self {
        let mut slots = vec![0; lanes.len()];
        let workers = writers.len();
        let partition = |(at, stretch): (usize, Stretch)| {
            let slot = slots[stretch.lane];
            slots[stretch.lane] += 1;
            Partition {
                stretch,
                slot,
                owner: at % workers,
                owner_epoch: 0,
                next: 0,
                stored: 0,
                condemned: BTreeMap::new(),
                place: Place::default(),
            }
        };
        let partitions: Vec<Partition> = stretches.into_iter().enumerate().map(partition).collect();
        let mut world = Self {
            silver,
            lanes: lanes.to_vec(),
            writers,
            open: Vec::new(),
            partitions,
            sources: Sources::default(),
            counts: Counts::default(),
            limit: usize::MAX,
        };
        for worker in 0..workers {
            let lanes = world.fresh_lanes().await;
            world.open.push(lanes);
            let mine = world.of(worker, None);
            world.claim(worker, &mine, Some(0)).await;
        }
        world
    }

    async fn fresh_lanes(&self) -> Vec<OpenLane> {
        let mut open = Vec::new();
        for lane in &self.lanes {
            let mut fresh = OpenLane::default();
            if let Some(shape) = &lane.shape {
                fresh.arena.set_shape(Arc::clone(shape));
                fresh.arena.set_floor(self.silver.floor(&lane.table).await);
                let holes = self.silver.destination.holes(&lane.table).await.unwrap();
                holes.iter().for_each(|(key, version)| fresh.holes.open(key, *version));
            }
            open.push(fresh);
        }
        open
    }

    pub fn workers(&self) -> usize {
        self.writers.len()
    }

    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    pub fn lane_of(&self, partition: usize) -> usize {
        self.partitions[partition].stretch.lane
    }

    pub fn owner_of(&self, partition: usize) -> usize {
        self.partitions[partition].owner
    }

    pub fn next(&self, partition: usize) -> i64 {
        self.partitions[partition].next
    }

    pub fn stored(&self, partition: usize) -> i64 {
        self.partitions[partition].stored
    }

    pub fn end(&self, partition: usize) -> i64 {
        i64::try_from(self.partitions[partition].stretch.items.len()).unwrap()
    }

    /// Partitions that have records left to read.
    pub fn unfinished(&self) -> Vec<usize> {
        (0..self.partitions()).filter(|p| self.next(*p) < self.end(*p)).collect()
    }

    fn of(&self, worker: usize, lane: Option<usize>) -> Vec<usize> {
        let mine = |(_, p): &(usize, &Partition)| {
            p.owner == worker && lane.is_none_or(|lane| p.stretch.lane == lane)
        };
        self.partitions.iter().enumerate().filter(mine).map(|(at, _)| at).collect()
    }

    /// The worker claims these partitions: from the stored position, or from where someone moved the group's offset.
    async fn claim(&mut self, worker: usize, partitions: &[usize], from: Option<i64>) {
        let asks: Vec<ClaimAsk> = partitions
            .iter()
            .map(|at| {
                let partition = &self.partitions[*at];
                let lane = &self.lanes[partition.stretch.lane];
                ClaimAsk {
                    topic: lane.topic.clone(),
                    topic_id: Uuid::nil(),
                    partition: partition.stretch.number,
                    table: Some(lane.table.clone()),
                }
            })
            .collect();
        let owner = format!("worker-{worker}");
        let claimed = self.silver.destination.claim(PIPELINE, &owner, &asks).await.unwrap();
        assert_eq!(claimed.len(), asks.len());
        let mut starts = Vec::new();
        for answer in &claimed {
            let at = self.find(&answer.topic, answer.partition);
            let partition = &mut self.partitions[at];
            partition.owner = worker;
            partition.owner_epoch = answer.owner_epoch;
            let stored = answer.stored.map(|stored| stored.next_offset);
            let start = from.unwrap_or_else(|| stored.expect("it was started before"));
            if let Some(stored) = stored {
                assert_eq!(stored, partition.stored, "{}-{}", answer.topic, answer.partition);
            }
            match stored {
                Some(stored) if stored != start => partition.place.move_to(start, stored),
                _ => partition.place.resume(),
            }
            partition.stored = start;
            partition.next = start;
            if Some(start) != stored {
                starts.push(BeginAt {
                    topic: &answer.topic,
                    topic_id: answer.topic_id,
                    partition: answer.partition,
                    owner_epoch: answer.owner_epoch,
                    start_offset: start,
                    rewound: stored.is_some(),
                    reason: "initial",
                    lineage: None,
                });
            }
        }
        self.silver.destination.begin_at(PIPELINE, &starts).await.unwrap();
    }

    pub fn find(&self, topic: &str, number: i32) -> usize {
        let same =
            |p: &Partition| p.stretch.number == number && self.lanes[p.stretch.lane].topic == topic;
        self.partitions.iter().position(same).unwrap()
    }

    /// Adds a record behind the others of its partition: the records of a live run are not known beforehand.
    pub fn append(&mut self, item: &Arc<Item>) -> usize {
        let at = self.find(&self.lanes[item.lane].topic, item.partition);
        self.partitions[at].stretch.items.push(Arc::clone(item));
        at
    }

    /// The table of a lane has another shape from here on; nothing of it may be unwritten.
    pub fn set_shape(&mut self, lane: usize, shape: &Arc<TableShape>) {
        self.lanes[lane].shape = Some(Arc::clone(shape));
        for open in &mut self.open {
            open[lane].arena.set_shape(Arc::clone(shape));
        }
    }

    /// Reads up to `count` records of a partition, and writes whenever the batch is full.
    pub async fn read(&mut self, partition: usize, count: i64) {
        let to = self.next(partition).saturating_add(count).min(self.end(partition));
        while self.next(partition) < to {
            self.take(partition);
            let (worker, lane) = (self.owner_of(partition), self.lane_of(partition));
            if self.open[worker][lane].arena.rows() >= self.limit {
                self.flush(worker, lane).await;
            }
        }
    }

    /// The source epoch of the next record of a partition; a new one is written down first.
    fn epoch(&mut self, at: usize) -> u32 {
        let offset = self.next(at);
        let partition = &mut self.partitions[at];
        let item = Arc::clone(&partition.stretch.items[usize::try_from(offset).unwrap()]);
        loop {
            match (self.partitions[at].place.of(offset, item.seen.as_ref()), &item.seen) {
                (Placed::In(epoch), _) => return epoch,
                (Placed::StartsOver { .. }, None) => panic!("nothing tells of a new epoch"),
                (Placed::StartsOver { current, signal }, Some(seen)) => {
                    let (epoch, epochs) = self.sources.enter(seen, current, signal);
                    self.partitions[at].place.enter(&seen.source, offset, epoch);
                    for partition in &mut self.partitions {
                        partition.place.learn(&seen.source, epochs.clone());
                    }
                }
            }
        }
    }

    fn take(&mut self, at: usize) {
        let epoch = match self.partitions[at].condemned.contains_key(&self.next(at)) {
            true => self.partitions[at].place.highest(self.next(at)),
            false => self.epoch(at),
        };
        let partition = &mut self.partitions[at];
        let offset = partition.next;
        let item = &partition.stretch.items[usize::try_from(offset).unwrap()];
        let lane = partition.stretch.lane;
        let open = &mut self.open[partition.owner][lane];
        let slot = partition.slot;
        partition.next += 1;
        self.counts.read += 1;
        let topic = &self.lanes[lane].topic;
        let mut letter = |open: &mut OpenLane, fault: &Fault| {
            let row = item.row(epoch, offset);
            if let Some((key, version)) = &row {
                open.holes.open(key, *version);
            }
            open.arena.dead_letter(slot);
            let number = partition.stretch.number;
            open.arena.add_letter(dead_letter(topic, number, offset, fault, row));
            let code = fault.code.as_str();
            self.counts.letters.insert((topic.clone(), code, item.partition, item.offset));
        };
        if let Some(fault) = partition.condemned.get(&offset) {
            return letter(open, fault);
        }
        match &item.what {
            What::Skip => open.arena.skip(slot),
            What::Letter(fault) => letter(open, fault),
            What::Truncate { version, at } => {
                let version = version_at(*version, epoch, offset);
                open.arena.truncate(slot, Truncate { version, at: *at });
            }
            What::Change(change) => {
                let version = version_at(change.version, epoch, offset);
                if has_hole(&open.holes, change, version) {
                    return letter(open, &Fault::poison(Code::UnchangedWithoutBase, "a hole"));
                }
                if change.kind == Kind::Whole && open.holes.close(&change.key, version) {
                    open.arena.close_holes(&change.key, version);
                }
                let folded = open.arena.fold(Incoming {
                    body: &change.body,
                    key: &change.key,
                    kind: change.kind,
                    version,
                    deleted_at: change.deleted_at,
                    source_ts: change.source_ts,
                    own_time: change.own_time,
                    kept: &change.kept,
                    needs_base: change.needs_base,
                    old_key: change.old_key.as_deref(),
                    told: change.told(),
                    slot,
                    offset,
                });
                if let Folded::Contradicted(row) = folded {
                    panic!(
                        "{topic}-{}@{offset} is below {row}, but later",
                        partition.stretch.number
                    );
                }
            }
        }
    }

    fn seal(&mut self, worker: usize, lane: usize) -> Option<Batch> {
        let ranges: Vec<SealedRange> = self
            .of(worker, Some(lane))
            .into_iter()
            .map(|at| &self.partitions[at])
            .filter(|p| p.next > p.stored)
            .map(|p| SealedRange {
                slot: p.slot,
                range: OffsetRange {
                    topic: self.lanes[lane].topic.clone(),
                    topic_id: Uuid::nil(),
                    partition: p.stretch.number,
                    owner_epoch: p.owner_epoch,
                    from: p.stored,
                    next: p.next,
                    changes: 0,
                    folded: 0,
                    skipped: 0,
                    dead_lettered: 0,
                    lineage: None,
                },
            })
            .collect();
        if ranges.is_empty() {
            return None;
        }
        let open = &mut self.open[worker][lane];
        open.batches += 1;
        open.arena.leave_holes(&open.holes);
        Some(open.arena.seal(open.batches, ranges))
    }

    /// Writes what a worker has gathered for a lane.
    pub async fn flush(&mut self, worker: usize, lane: usize) {
        let Some(mut batch) = self.seal(worker, lane) else { return };
        let mut races = 0;
        loop {
            match self.writers[worker].write(PIPELINE, None, &batch).await {
                Ok(applied) => return self.written(worker, lane, &batch, &applied),
                Err(fault) if fault.class == Class::Transient && races < RACES => races += 1,
                Err(fault) if fault.class == Class::Poison => {
                    self.condemn(worker, &batch).await;
                    self.gather_again(worker, lane);
                    batch = self.seal(worker, lane).expect("as many records as before");
                }
                Err(fault) => panic!("{}: {fault:?}", self.lanes[lane].table),
            }
        }
    }

    /// Writes a lane's batches of all workers at the same time.
    pub async fn flush_together(&mut self, lane: usize) {
        let batches: Vec<Option<Batch>> =
            (0..self.workers()).map(|worker| self.seal(worker, lane)).collect();
        let jobs = self.writers.iter_mut().zip(&batches).map(|(writer, batch)| async move {
            let Some(batch) = batch else { return None };
            let mut outcome = writer.write(PIPELINE, None, batch).await;
            for _ in 0..RACES {
                match &outcome {
                    Err(fault) if fault.class == Class::Transient => {
                        outcome = writer.write(PIPELINE, None, batch).await;
                    }
                    _ => break,
                }
            }
            Some(outcome)
        });
        let outcomes = futures::future::join_all(jobs).await;
        for (worker, (outcome, batch)) in outcomes.into_iter().zip(&batches).enumerate() {
            let (Some(outcome), Some(batch)) = (outcome, batch) else { continue };
            match outcome {
                Ok(applied) => self.written(worker, lane, batch, &applied),
                Err(fault) if fault.class == Class::Poison => {
                    // Alone, where refused rows are found.
                    self.gather_again(worker, lane);
                    self.flush(worker, lane).await;
                }
                Err(fault) => panic!("{}: {fault:?}", self.lanes[lane].table),
            }
        }
    }

    pub async fn flush_all(&mut self) {
        for worker in 0..self.workers() {
            for lane in 0..self.lanes.len() {
                self.flush(worker, lane).await;
            }
        }
    }

    /// Reads what was gathered for a lane once more, the refused records apart.
    fn gather_again(&mut self, worker: usize, lane: usize) {
        let mine = self.of(worker, Some(lane));
        let ends: Vec<i64> = mine.iter().map(|at| self.partitions[*at].next).collect();
        self.forget(worker, lane);
        for (at, end) in mine.into_iter().zip(ends) {
            while self.partitions[at].next < end {
                self.take(at);
            }
        }
    }

    fn written(&mut self, worker: usize, lane: usize, batch: &Batch, applied: &Applied) {
        assert!(!applied.already, "no answer was lost");
        self.counts.batches += 1;
        self.counts.applied += applied.ranges.iter().map(|range| range.applied).sum::<u64>();
        for exchanged in &applied.exchanged {
            let range = &batch.ranges[usize::from(exchanged.range)];
            let stretch = &self.partitions[self.find(&range.topic, range.partition)].stretch;
            let item = &stretch.items[usize::try_from(exchanged.offset).unwrap()];
            let What::Change(change) = &item.what else { panic!("it is no change") };
            let told = (range.topic.clone(), change.key.clone(), item.offset, exchanged.certain);
            self.counts.exchanged.push(told);
        }
        for at in self.of(worker, Some(lane)) {
            let partition = &mut self.partitions[at];
            let number = partition.stretch.number;
            if let Some(range) = batch.ranges.iter().find(|range| range.partition == number) {
                partition.stored = range.next;
                partition.place.stored();
            }
        }
    }

    async fn condemn(&mut self, worker: usize, batch: &Batch) {
        let culprits = self.writers[worker].isolate(PIPELINE, batch).await.unwrap();
        assert!(!culprits.is_empty(), "a refused batch has a refused row");
        for (row, fault) in culprits {
            let row = &batch.rows[row];
            let (range, offset) = match row.needs_base {
                Some(needs) if fault.code == Code::UnchangedWithoutBase => needs,
                _ => row.origin,
            };
            let range = &batch.ranges[usize::from(range)];
            let at = self.find(&range.topic, range.partition);
            let known = self.partitions[at].condemned.insert(offset, fault);
            assert!(known.is_none(), "{}-{}@{offset} twice", range.topic, range.partition);
        }
    }

    /// What a worker has gathered for a lane is lost; its partitions stand where they are stored.
    pub fn forget(&mut self, worker: usize, lane: usize) {
        self.open[worker][lane].arena.discard();
        for at in self.of(worker, Some(lane)) {
            let partition = &mut self.partitions[at];
            partition.next = partition.stored;
            partition.place.resume();
        }
    }

    /// A worker dies, and another claims what it had.
    pub async fn crash(&mut self, worker: usize) {
        self.open[worker] = self.fresh_lanes().await;
        let mine = self.of(worker, None);
        self.claim(worker, &mine, None).await;
    }

    /// A partition goes to another worker; what was gathered of its lane and is not written is lost.
    pub async fn hand_over(&mut self, partition: usize, to: usize) {
        let (from, lane) = (self.owner_of(partition), self.lane_of(partition));
        self.forget(from, lane);
        self.claim(to, &[partition], None).await;
    }

    /// Someone moves the group's offset of a partition back.
    pub async fn rewind(&mut self, partition: usize, to: i64) {
        let (worker, lane) = (self.owner_of(partition), self.lane_of(partition));
        self.forget(worker, lane);
        self.claim(worker, &[partition], Some(to)).await;
    }
}
