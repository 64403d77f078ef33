//! One history, made from a seed: what a source did, what the connectors saw of it, and what Kafka holds in the end.

use super::connector::Connector;
use super::source::{self, Effect, KEYS, Source, Values};
use super::topic::{Kafka, Told};
use fastrand::Rng;

/// What may happen in a history. Few things at a time, so that histories stay short and still meet each pair of them.
#[derive(Clone, Copy, Debug)]
struct Happens {
    incremental: bool,
    read_only: bool,
    blocking: bool,
    crashes: bool,
    slot_loss: bool,
    interrupted: bool,
    new_cluster: bool,
    restored: bool,
    fresh_offsets: bool,
    growth: bool,
    topic_recreated: bool,
    older_slot: bool,
}

impl Happens {
    fn new(rng: &mut Rng) -> Self {
        let mut one_in = |n: u8| rng.u8(0..n) == 0;
        Self {
            incremental: one_in(4),
            read_only: one_in(4),
            blocking: one_in(4),
            crashes: one_in(3),
            slot_loss: one_in(4),
            interrupted: one_in(5),
            new_cluster: one_in(5),
            restored: one_in(8),
            fresh_offsets: one_in(8),
            growth: one_in(4),
            topic_recreated: one_in(8),
            older_slot: one_in(3),
        }
    }
}

impl Happens {
    fn in_one_epoch(self) -> Self {
        Self {
            slot_loss: false,
            interrupted: false,
            new_cluster: false,
            restored: false,
            fresh_offsets: false,
            topic_recreated: false,
            ..self
        }
    }
}

/// What a history may hold although rows are known to end wrong by it: gaps of the product, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Unchanged values and keys that change partition: the row with the values may be read later than the one without, when
    /// that one has taken them from an older row already. What is stored cannot tell it: a row has one version, not one for
    /// each column, and a replay or the connector's own repetition looks the same. 338 rows in a million histories.
    pub late: bool,
    /// Tombstones and keys that change partition: a tombstone that was read apart from its delete marks a row that has been
    /// inserted in another partition, at a lower offset. A null value tells nothing but its offset. 76 rows in a million
    /// histories.
    pub bare_tombstones: bool,
    /// Backups, fresh offsets without a snapshot, empty snapshots or commit times before that of their snapshot, and what is compared across
    /// partitions (truncates, keys that change partition): no partition, or no time, shows where the epoch begins. 80 rows in
    /// a million histories.
    pub epochs_apart: bool,
    /// Lost slots, interrupted snapshots and new clusters beside growth or truncates, without those of `epochs_apart`: a new
    /// partition that begins with rows of the second snapshot, where no other one shows that snapshot but its first
    /// transaction (seed 685911; one row in about 700,000 histories).
    pub epochs_beside: bool,
    /// Key changes with unchanged values below rows that a snapshot read ahead of the stream (a blocking one, or one over an
    /// older slot): the old key's row belongs to a later life of that key already. 5 rows in a million histories.
    pub moved_below: bool,
    /// Key changes with unchanged values in the first transaction of a slot, when a crashed connector repeats them: only the
    /// repetition has a commit position, so it stands above the old key's later life (seed 6571458; one row in about a
    /// million histories).
    pub moved_again: bool,
}

impl Gaps {
    pub const NAMED: [(&str, Self); 6] = {
        const NONE: Gaps = Gaps {
            late: false,
            bare_tombstones: false,
            epochs_apart: false,
            epochs_beside: false,
            moved_below: false,
            moved_again: false,
        };
        [
            ("late", Self { late: true, ..NONE }),
            ("bare tombstones", Self { bare_tombstones: true, ..NONE }),
            ("epochs apart", Self { epochs_apart: true, ..NONE }),
            ("epochs beside growth", Self { epochs_beside: true, ..NONE }),
            ("moved below a snapshot", Self { moved_below: true, ..NONE }),
            ("moved again", Self { moved_again: true, ..NONE }),
        ]
    };
}

/// What the source did and what Kafka holds of it.
#[derive(Clone, Debug)]
pub struct History {
    pub kafka: Kafka,
    /// Workers that may read it.
    pub workers: usize,
    /// The source's own last state.
    pub rows: [Option<Values>; KEYS],
    /// Slots that a connector began with: lineages of positions.
    pub slots: usize,
}

struct World {
    rng: Rng,
    happens: Happens,
    source: Source,
    connector: Connector,
    kafka: Kafka,
    /// Positions where a slot began: a real one is never met twice.
    begun: Vec<u64>,
    /// Rows and position of an earlier moment: a backup.
    backup: ([Option<Values>; KEYS], u64),
    traced: bool,
    /// The connector begins without a snapshot.
    plain: bool,
    /// The source's clock jumps: days of silence, steps of its correction.
    jumps: bool,
    /// How far the time of a snapshot is before the clock.
    early: i64,
}

impl History {
    /// The history of a seed. `traced` keeps remarks for people.
    pub fn new(seed: u64, gaps: Gaps, traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut source = Source::new(rng.u64(1_000..50_000), 1_000_000_000);
        source.full = rng.u8(0..6) == 0;
        source.moves = rng.u8(0..3) == 0;
        source.truncates = rng.u8(0..3) == 0;
        let mut connector = Connector::new(&source);
        connector.tombstones = rng.u8(0..6) != 0;
        let mut happens = Happens::new(&mut rng);
        let workers = rng.usize(1..=2);
        source.full |= happens.growth && !gaps.late;
        let ahead = happens.blocking || happens.older_slot;
        source.full |= source.moves && ahead && !gaps.moved_below;
        source.full |= source.moves && happens.crashes && !gaps.moved_again;
        connector.tombstones &= !happens.growth || gaps.bare_tombstones;
        let mut early = 0;
        if (happens.growth || source.truncates) && !gaps.epochs_apart {
            happens = if gaps.epochs_beside {
                Happens { restored: false, fresh_offsets: false, ..happens }
            } else {
                happens.in_one_epoch()
            };
            early = source::SKEW;
        }
        let kafka = Kafka::new(rng.usize(1..=3));
        let mut world = World::new(rng, happens, source, connector, kafka, traced);
        world.early = early;
        Self::of(world, workers)
    }

    /// A history of one lineage, in which everything else may happen: the connector begins with or without a snapshot, at the
    /// log's begin or in its midst, the clock jumps, partitions begin late.
    pub fn of_one_lineage(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x0ae1_11ea_6e00);
        let mut source = Source::new(rng.u64(1_000..50_000), 1_000_000_000);
        source.full = rng.bool();
        source.moves = rng.bool();
        source.truncates = rng.u8(0..3) == 0;
        let connector = Connector::new(&source);
        let happens = Happens::new(&mut rng).in_one_epoch();
        let workers = rng.usize(1..=2);
        let kafka = Kafka::new(rng.usize(1..=6));
        let mut world = World::new(rng, happens, source, connector, kafka, traced);
        world.plain = world.rng.bool();
        world.jumps = world.rng.bool();
        Self::of(world, workers)
    }

    fn of(mut world: World, workers: usize) -> Self {
        world.run();
        Self { kafka: world.kafka, workers, rows: world.source.rows, slots: world.begun.len() }
    }

    /// Whether the simulator contradicts itself: what the topics tell, in the order of their making, is what the source
    /// has, but for what nobody could see.
    pub fn contradiction(&self) -> Option<usize> {
        (0..KEYS).find(|&key| {
            let Told { row, ghost } = self.kafka.told[key];
            if ghost { self.rows[key].is_some() || row.is_none() } else { self.rows[key] != row }
        })
    }
}

impl World {
    fn new(
        rng: Rng,
        happens: Happens,
        source: Source,
        connector: Connector,
        kafka: Kafka,
        traced: bool,
    ) -> Self {
        let (backup, begun) = ((source.rows, source.wal), Vec::new());
        let (plain, jumps, early) = (false, false, 0);
        Self { rng, happens, source, connector, kafka, begun, backup, traced, plain, jumps, early }
    }

    /// An empty snapshot shows no partition where its epoch begins ([`Gaps::epochs_apart`]).
    fn fill(&mut self) {
        while self.early > 0 && self.source.rows.iter().all(Option::is_none) {
            self.source.act(&mut self.rng);
        }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.usize(0..12) {
            self.source.act(&mut self.rng);
        }
        if self.plain {
            self.slot();
            if self.rng.bool() {
                self.connector.in_midst(&self.source);
            }
        } else {
            self.new_connector();
        }
        for _ in 0..self.rng.usize(10..60) {
            match self.rng.u8(0..100) {
                0..55 => self.source.act(&mut self.rng),
                55..88 => self.stream(),
                88..91 => self.connector.flush(),
                91 => self.source.elsewhere(&mut self.rng, Effect::Elsewhere),
                _ => self.surprise(),
            }
        }
        self.source.rest(&mut self.rng);
        self.drain();
    }

    fn remark(&mut self, what: &str) {
        let position = self.source.wal;
        self.kafka.remark(|| format!("{what}, WAL at {position}"), self.traced);
    }

    fn stream(&mut self) {
        for _ in 0..self.rng.usize(1..8) {
            self.connector.stream(&mut self.rng, &mut self.kafka, &self.source);
        }
    }

    fn drain(&mut self) {
        while self.connector.stream(&mut self.rng, &mut self.kafka, &self.source) {}
    }

    fn surprise(&mut self) {
        let happens = self.happens;
        if self.jumps {
            self.source.clock += match self.rng.u8(0..3) {
                0 => self.rng.i64(0..1_000_000_000_000),
                1 if !happens.growth && !happens.crashes => -self.rng.i64(0..5_000_000),
                _ => 0,
            };
        }
        match self.rng.u8(0..14) {
            0 if happens.incremental && !self.connector.chunking() => {
                self.remark("incremental snapshot");
                self.connector.incremental(&mut self.rng, &mut self.source);
            }
            1 if happens.read_only && !self.connector.chunking() => {
                self.remark("read-only incremental snapshot");
                self.connector.read_only(&self.source);
            }
            2 if happens.blocking && !self.connector.opening() => {
                self.remark("blocking snapshot");
                self.connector.blocking(&mut self.rng, &mut self.kafka, &self.source);
            }
            3 | 4 if happens.crashes => {
                if self.rng.bool() {
                    self.connector.flush();
                    self.connector.restart();
                    self.remark("connector restarted in order");
                } else {
                    self.connector.crash(&mut self.rng, &mut self.kafka, &self.source);
                    self.remark("connector crashed");
                }
            }
            5 if happens.slot_loss => {
                self.remark("slot lost");
                self.gap();
                self.new_connector();
            }
            6 if happens.new_cluster => {
                let wal = self.rng.u64(1..60_000);
                self.gap();
                self.source = self.source.successor(self.source.rows, wal);
                self.remark("new cluster");
                self.recreate_topic();
                self.new_connector();
            }
            7 if happens.restored => {
                let (rows, wal) = self.backup;
                self.gap();
                self.source = self.source.successor(rows, wal);
                self.remark("restored from a backup");
                self.recreate_topic();
                self.new_connector();
            }
            8 if happens.fresh_offsets => self.fresh_offsets(),
            9 if happens.growth && self.kafka.partitions() < 4 => {
                let count = self.kafka.partitions() + self.rng.usize(1..=2);
                self.kafka.grow(count);
                self.remark(&format!("topic grows to {count} partitions"));
            }
            10 => self.recreate_topic(),
            11 => self.backup = (self.source.rows, self.source.wal),
            _ => {}
        }
    }

    /// Time in which nobody reads WAL.
    fn gap(&mut self) {
        for _ in 0..self.rng.usize(0..12) {
            self.source.act(&mut self.rng);
        }
        self.source.clock += self.rng.i64(1_000_000..60_000_000);
    }

    fn recreate_topic(&mut self) {
        if self.happens.topic_recreated && self.rng.bool() {
            let count = self.rng.usize(1..=3);
            self.kafka.recreate(count);
            self.remark(&format!("topic created again with {count} partitions"));
        }
    }

    /// A slot and offsets from nothing, with an initial snapshot, which may take several attempts.
    fn new_connector(&mut self) {
        let mut attempts = 1;
        if self.happens.interrupted {
            attempts = self.rng.usize(1..=3);
        }
        for attempt in 1..=attempts {
            self.fill();
            self.slot();
            let ts = self.source.clock - self.early;
            // A slot that was there before: its position is read first, the rows are as of a moment later.
            if self.happens.older_slot && self.rng.bool() {
                (0..self.rng.usize(0..5)).for_each(|_| self.source.act(&mut self.rng));
                self.fill();
            }
            let rows = self.source.rows;
            if attempt == attempts {
                self.remark("initial snapshot");
                self.kafka.missed(&rows);
                self.connector.snapshot(&mut self.rng, &mut self.kafka, &rows, ts, KEYS);
                return;
            }
            self.remark("initial snapshot, interrupted");
            let until = self.rng.usize(0..KEYS);
            self.connector.snapshot(&mut self.rng, &mut self.kafka, &rows, ts, until);
            self.gap();
        }
    }

    /// A new connector without a snapshot, where nothing was missed: everything has been streamed before.
    fn fresh_offsets(&mut self) {
        self.source.rest(&mut self.rng);
        self.drain();
        self.source.clock += self.rng.i64(1_000_000..60_000_000);
        if self.rng.bool() {
            let wal = self.rng.u64(1..60_000);
            self.source = self.source.successor(self.source.rows, wal);
        }
        self.remark("fresh offsets without a snapshot");
        self.slot();
    }

    fn slot(&mut self) {
        while self.begun.contains(&self.source.wal) {
            self.source.wal += 1;
        }
        self.begun.push(self.source.wal);
        let tombstones = self.connector.tombstones;
        self.connector = Connector::new(&self.source);
        self.connector.tombstones = tombstones;
    }
}
