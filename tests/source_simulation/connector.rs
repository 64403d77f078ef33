//! A Debezium connector: a slot's position, snapshots of all kinds, and what it writes to Kafka for each change.

use super::source::{Change, Effect, KEYS, Source, Transaction, Values, byte};
use super::topic::{CONCRETE, Kafka, Op, Record, Snapshot};
use fastrand::Rng;

/// The next change to stream: transaction and change inside it.
type Place = (usize, usize);

/// What the connector would go on with, as it stands in Kafka Connect's offsets.
#[derive(Clone, Copy, Debug)]
struct Stored {
    place: Place,
    last_commit: Option<u64>,
    /// `lsn_proc`: the last streamed change.
    processed: Option<u64>,
    last_change: u64,
}

/// How the window of an incremental chunk ends.
#[derive(Clone, Copy, Debug)]
enum Window {
    /// By the row of the signal table with this number.
    Signal(u32),
    /// Read only: by the first change of a transaction that began after this position.
    Began(u64),
}

/// Rows of an incremental snapshot that wait for their window to close.
#[derive(Clone, Debug)]
struct Chunk {
    window: Window,
    /// The window is open: a change of a key removes its row.
    open: bool,
    /// Transactions that had committed when the rows were read.
    read_at: usize,
    rows: [Option<Values>; KEYS],
}

/// One connector over one slot.
#[derive(Clone, Debug)]
pub struct Connector {
    place: Place,
    /// The furthest place so far.
    furthest: Place,
    last_commit: Option<u64>,
    last_change: u64,
    processed: Option<u64>,
    stored: Stored,
    chunk: Option<Chunk>,
    signals: u32,
    /// Tombstones follow deletes.
    pub tombstones: bool,
}

impl Connector {
    /// A connector whose slot decodes what commits from now on.
    pub fn new(source: &Source) -> Self {
        let place = (source.log.len(), 0);
        let stored = Stored { place, last_commit: None, processed: None, last_change: source.wal };
        Self {
            place,
            furthest: place,
            last_commit: None,
            last_change: source.wal,
            processed: None,
            stored,
            chunk: None,
            signals: 0,
            tombstones: true,
        }
    }

    /// An initial snapshot of `rows` at the position where the slot began, as far as `until` rows.
    pub fn snapshot(
        &self,
        rng: &mut Rng,
        kafka: &mut Kafka,
        rows: &[Option<Values>; KEYS],
        ts: i64,
        until: usize,
    ) {
        let keys = (0..KEYS).filter_map(|key| Some((key, rows[key]?)));
        for (key, values) in keys.take(until) {
            let row = read(key, values, None, self.last_change, Snapshot::Initial, ts);
            kafka.produce(rng, row);
        }
    }

    /// A blocking snapshot: the state of now, at the position that streaming has reached.
    pub fn blocking(&self, rng: &mut Rng, kafka: &mut Kafka, source: &Source) {
        for (key, row) in source.rows.iter().enumerate() {
            let Some(values) = *row else { continue };
            let (commit, change) = (self.last_commit, self.last_change);
            let row = read(key, values, commit, change, Snapshot::Blocking, source.clock);
            kafka.produce(rng, row);
        }
    }

    /// Whether rows of an incremental snapshot wait for their window to close.
    pub fn chunking(&self) -> bool {
        self.chunk.is_some()
    }

    /// Inserts the opening signal, reads a chunk, inserts the closing signal. The connector does so without streaming in
    /// between, while the source goes on.
    pub fn incremental(&mut self, rng: &mut Rng, source: &mut Source) {
        self.signals += 1;
        source.elsewhere(rng, Effect::Opens(self.signals));
        (0..rng.usize(0..6)).for_each(|_| source.act(rng));
        let window = Window::Signal(self.signals);
        let read_at = source.log.len();
        self.chunk = Some(Chunk { window, open: false, read_at, rows: source.rows });
        (0..rng.usize(0..6)).for_each(|_| source.act(rng));
        source.elsewhere(rng, Effect::Closes(self.signals));
    }

    /// Reads a chunk without signals: watermarks are transaction ids.
    pub fn read_only(&mut self, source: &Source) {
        let window = Window::Began(source.wal);
        let read_at = source.log.len();
        self.chunk = Some(Chunk { window, open: true, read_at, rows: source.rows });
    }

    /// Kafka Connect flushes offsets.
    pub fn flush(&mut self) {
        let Self { place, last_commit, processed, last_change, .. } = *self;
        self.stored = Stored { place, last_commit, processed, last_change };
    }

    /// Starts again where offsets were flushed last. A chunk under way is read again later, under other signals.
    pub fn restart(&mut self) {
        self.place = self.stored.place;
        // Before the first commit the offsets know no commit: the last change stands in for it.
        self.last_commit = self.stored.last_commit.or(self.stored.processed);
        self.processed = self.stored.processed;
        self.last_change = self.stored.last_change;
        self.chunk = None;
    }

    /// Before the end of its first transaction. Rows of a blocking snapshot cannot be told from those of an initial one here.
    pub fn opening(&self) -> bool {
        self.last_commit.is_none()
    }

    /// As if it had streamed before: the log begins in the midst.
    pub fn in_midst(&mut self, source: &Source) {
        self.last_commit = Some(source.wal);
        self.flush();
    }

    /// Everything that has committed is streamed.
    pub fn idle(&self, source: &Source) -> bool {
        self.place.0 >= source.log.len()
    }

    /// Streams one change; `false` when there is none.
    pub fn stream(&mut self, rng: &mut Rng, kafka: &mut Kafka, source: &Source) -> bool {
        let Some(transaction) = source.log.get(self.place.0) else { return false };
        if let Some(change) = transaction.changes.get(self.place.1) {
            self.window(rng, kafka, source, transaction, change);
            self.emit(rng, kafka, transaction, change);
            self.place.1 += 1;
            self.furthest = self.furthest.max(self.place);
            self.last_change = change.lsn;
            self.processed = Some(change.lsn);
        }
        if self.place.1 >= transaction.changes.len() {
            self.place = (self.place.0 + 1, 0);
            self.last_commit = Some(transaction.end);
            if rng.bool() {
                self.close_behind(rng, kafka, source, transaction);
            }
        }
        true
    }

    /// A crash in the middle of what one change becomes.
    pub fn crash(&mut self, rng: &mut Rng, kafka: &mut Kafka, source: &Source) {
        if let Some(transaction) = source.log.get(self.place.0)
            && let Some(change) = transaction.changes.get(self.place.1)
            && let Effect::Move { from, .. } = change.effect
        {
            kafka.produce(rng, self.record(Op::Delete, from, transaction, change));
        }
        self.restart();
    }

    /// What a change does to the chunk that waits: it opens or closes the window, or removes a row that is stale.
    fn window(
        &mut self,
        rng: &mut Rng,
        kafka: &mut Kafka,
        source: &Source,
        transaction: &Transaction,
        change: &Change,
    ) {
        let Some(chunk) = &mut self.chunk else { return };
        match (chunk.window, change.effect) {
            (Window::Signal(number), Effect::Opens(other)) if number == other => chunk.open = true,
            (Window::Signal(number), Effect::Closes(other)) if number == other => {
                self.finish(rng, kafka, self.last_commit, change.lsn, source.clock);
                return;
            }
            (Window::Began(position), _) if transaction.began > position => {
                self.finish(rng, kafka, self.last_commit, change.lsn, source.clock);
                return;
            }
            _ => {}
        }
        if !chunk.open {
            return;
        }
        match change.effect {
            Effect::Insert { key, .. } | Effect::Update { key, .. } | Effect::Delete { key } => {
                chunk.rows[usize::from(key)] = None;
            }
            Effect::Move { from, to, .. } => {
                chunk.rows[usize::from(from)] = None;
                chunk.rows[usize::from(to)] = None;
            }
            // Debezium removes by key, and a truncate has none. No order repairs rows that come back so: the window is
            // given up here (expected by name, see the suite's text).
            Effect::Truncate => chunk.rows = [None; KEYS],
            Effect::Opens(_) | Effect::Closes(_) | Effect::Elsewhere => {}
        }
    }

    /// Read only: a heartbeat behind a commit closes the window, too, once nothing from before the read can follow.
    fn close_behind(
        &mut self,
        rng: &mut Rng,
        kafka: &mut Kafka,
        source: &Source,
        transaction: &Transaction,
    ) {
        let Some(chunk) = &self.chunk else { return };
        let Window::Began(position) = chunk.window else { return };
        let seen = self.place.0 >= chunk.read_at;
        if seen && (transaction.began > position || self.idle(source)) {
            self.finish(rng, kafka, Some(transaction.end), transaction.end, source.clock);
        }
    }

    /// Writes the rows that are left of the chunk.
    fn finish(
        &mut self,
        rng: &mut Rng,
        kafka: &mut Kafka,
        commit: Option<u64>,
        change: u64,
        ts: i64,
    ) {
        let Some(chunk) = self.chunk.take() else { return };
        for (key, row) in chunk.rows.into_iter().enumerate() {
            let Some(values) = row else { continue };
            kafka.produce(rng, read(key, values, commit, change, Snapshot::Incremental, ts));
        }
    }

    fn emit(&self, rng: &mut Rng, kafka: &mut Kafka, transaction: &Transaction, change: &Change) {
        let record = |op, key| self.record(op, key, transaction, change);
        let mut produce = |record| kafka.produce(rng, record);
        match change.effect {
            Effect::Insert { key, values } => {
                produce(Record { values, ..record(Op::Write, key) });
            }
            Effect::Update { key, values, unchanged } => {
                produce(Record { values, unchanged, ..record(Op::Write, key) });
            }
            Effect::Delete { key } => {
                produce(record(Op::Delete, key));
                if self.tombstones {
                    produce(record(Op::Tombstone, key));
                }
            }
            Effect::Move { from, to, values, unchanged } => {
                produce(record(Op::Delete, from));
                if self.tombstones {
                    produce(record(Op::Tombstone, from));
                }
                let old_key = Some(from);
                produce(Record { values, unchanged, old_key, ..record(Op::Write, to) });
            }
            Effect::Truncate => produce(record(Op::Truncate, 0)),
            Effect::Opens(_) | Effect::Closes(_) | Effect::Elsewhere => {}
        }
    }

    fn record(&self, op: Op, key: u8, transaction: &Transaction, change: &Change) -> Record {
        Record {
            op,
            key,
            old_key: None,
            values: Values::default(),
            unchanged: CONCRETE,
            commit: self.last_commit,
            change: change.lsn,
            lsn: Some(change.lsn),
            snapshot: Snapshot::No,
            ts: transaction.ts,
            repeated: self.place < self.furthest,
            number: 0,
        }
    }
}

fn read(
    key: usize,
    values: Values,
    commit: Option<u64>,
    change: u64,
    snapshot: Snapshot,
    ts: i64,
) -> Record {
    Record {
        op: Op::Read,
        key: byte(key),
        old_key: None,
        values,
        unchanged: CONCRETE,
        commit,
        change,
        lsn: (snapshot != Snapshot::Incremental).then_some(change),
        snapshot,
        ts,
        repeated: false,
        number: 0,
    }
}
