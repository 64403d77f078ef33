//! A PostgreSQL cluster as a source of changes: one table, write positions, row locks, transactions that overlap, commits
//! in an order of their own.

use fastrand::Rng;

/// Keys of the table, the highest one left out.
pub const KEYS: usize = 6;
/// A commit's time is up to this before the clock (microseconds).
pub const SKEW: i64 = 500;
/// Columns beside the key; the first is stored in the row, the others out of line (their unchanged values are not in WAL).
pub const COLUMNS: usize = 3;

/// The columns of one row beside its key. No value is ever used twice, so that a wrong one betrays itself.
pub type Values = [i32; COLUMNS];

/// What a WAL record does.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    Insert {
        key: u8,
        values: Values,
    },
    /// Bit n of `unchanged`: WAL does not hold column n.
    Update {
        key: u8,
        values: Values,
        unchanged: u8,
    },
    Delete {
        key: u8,
    },
    /// An update of the key.
    Move {
        from: u8,
        to: u8,
        values: Values,
        unchanged: u8,
    },
    Truncate,
    /// A row of the connector's signal table: a chunk's window opens or closes.
    Opens(u32),
    Closes(u32),
    /// A row of another table of the publication.
    Elsewhere,
}

/// One WAL record.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub lsn: u64,
    pub effect: Effect,
}

/// A committed transaction, as logical decoding tells it.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// WAL position when it began.
    pub began: u64,
    pub changes: Vec<Change>,
    /// First byte behind the commit record.
    pub end: u64,
    /// Commit time in microseconds. Taken before the commit record is written: not monotone in commit order.
    pub ts: i64,
}

/// A transaction in progress.
#[derive(Clone, Debug)]
struct Open {
    began: u64,
    changes: Vec<Change>,
    /// What it has written: also the rows it has locked.
    rows: [Option<Option<Values>>; KEYS],
    exclusive: bool,
}

/// One cluster.
#[derive(Clone, Debug)]
pub struct Source {
    /// End of WAL.
    pub wal: u64,
    /// Microseconds.
    pub clock: i64,
    /// Committed rows.
    pub rows: [Option<Values>; KEYS],
    /// Transactions in commit order: what a slot decodes.
    pub log: Vec<Transaction>,
    /// The table has replica identity full: no value is missing in WAL.
    pub full: bool,
    /// Key changes are made.
    pub moves: bool,
    /// Truncates are made.
    pub truncates: bool,
    open: Vec<Open>,
    next_value: i32,
}

impl Source {
    pub fn new(wal: u64, clock: i64) -> Self {
        Self {
            wal,
            clock,
            rows: [None; KEYS],
            log: Vec::new(),
            full: false,
            moves: true,
            truncates: true,
            open: Vec::new(),
            next_value: 1,
        }
    }

    /// Another cluster with these rows: positions start somewhere else, time goes on, what was in progress is gone.
    pub fn successor(&self, rows: [Option<Values>; KEYS], wal: u64) -> Self {
        Self { wal, rows, log: Vec::new(), open: Vec::new(), ..self.clone() }
    }

    /// One thing happens: a transaction begins, writes, commits or gives up.
    pub fn act(&mut self, rng: &mut Rng) {
        self.clock += rng.i64(1..2_000);
        // WAL of other databases, checkpoints, vacuum.
        self.wal += if rng.u8(..) < 40 { rng.u64(1..200) } else { 0 };
        let roll = rng.u8(0..100);
        if self.open.is_empty() || roll < 20 && self.open.len() < 3 {
            let began = self.wal;
            let rows = [None; KEYS];
            self.open.push(Open { began, changes: Vec::new(), rows, exclusive: false });
        }
        let at = rng.usize(0..self.open.len());
        match roll {
            0..70 => self.write(rng, at),
            70..95 => self.commit(rng, at),
            _ => self.abort(at),
        }
    }

    /// Ends every transaction in progress.
    pub fn rest(&mut self, rng: &mut Rng) {
        while !self.open.is_empty() {
            self.clock += rng.i64(1..2_000);
            let at = rng.usize(0..self.open.len());
            if rng.u8(0..10) == 0 { self.abort(at) } else { self.commit(rng, at) }
        }
    }

    /// A transaction of a row of another table.
    pub fn elsewhere(&mut self, rng: &mut Rng, effect: Effect) {
        let began = self.wal;
        let lsn = self.record(rng);
        self.append(rng, began, vec![Change { lsn, effect }]);
    }

    /// Writes one WAL record and tells where it starts.
    fn record(&mut self, rng: &mut Rng) -> u64 {
        let lsn = self.wal;
        self.wal += rng.u64(8..80);
        lsn
    }

    fn append(&mut self, rng: &mut Rng, began: u64, changes: Vec<Change>) {
        self.clock += 1;
        let ts = self.clock - rng.i64(0..SKEW);
        self.record(rng);
        self.log.push(Transaction { began, changes, end: self.wal, ts });
    }

    fn commit(&mut self, rng: &mut Rng, at: usize) {
        let open = self.open.swap_remove(at);
        for (row, written) in self.rows.iter_mut().zip(open.rows) {
            *row = written.unwrap_or(*row);
        }
        if !open.changes.is_empty() {
            self.append(rng, open.began, open.changes);
        }
    }

    fn abort(&mut self, at: usize) {
        self.open.swap_remove(at);
    }

    /// Whether another transaction holds the row, or the table.
    fn locked(&self, at: usize, key: usize) -> bool {
        let others = self.open.iter().enumerate().filter(|(other, _)| *other != at);
        others.into_iter().any(|(_, open)| open.exclusive || open.rows[key].is_some())
    }

    /// The row as transaction `at` sees it.
    fn row(&self, at: usize, key: usize) -> Option<Values> {
        self.open[at].rows[key].unwrap_or(self.rows[key])
    }

    fn fresh(&mut self) -> i32 {
        self.next_value += 1;
        self.next_value
    }

    fn write(&mut self, rng: &mut Rng, at: usize) {
        let key = rng.usize(0..KEYS);
        if self.locked(at, key) {
            return;
        }
        let Some(values) = self.row(at, key) else { return self.insert(rng, at, key) };
        match rng.u8(0..100) {
            0..12 if self.moves => self.relocate(rng, at, key, values),
            12..32 => {
                let lsn = self.record(rng);
                self.put(at, lsn, key, None, Effect::Delete { key: byte(key) });
            }
            32..38 if self.truncates => self.truncate(rng, at),
            _ => {
                let (values, unchanged) = self.changed(rng, values);
                let lsn = self.record(rng);
                let effect = Effect::Update { key: byte(key), values, unchanged };
                self.put(at, lsn, key, Some(values), effect);
            }
        }
    }

    /// Inserts a row, or several by one WAL record.
    fn insert(&mut self, rng: &mut Rng, at: usize, key: usize) {
        let lsn = self.record(rng);
        let more = if rng.u8(0..4) == 0 { KEYS } else { key + 1 };
        for key in key..more {
            if self.locked(at, key) || self.row(at, key).is_some() {
                continue;
            }
            let values = [self.fresh(), self.fresh(), self.fresh()];
            self.put(at, lsn, key, Some(values), Effect::Insert { key: byte(key), values });
        }
    }

    /// Gives a row another key. The new key is free at this moment, as a plain primary key demands.
    fn relocate(&mut self, rng: &mut Rng, at: usize, from: usize, values: Values) {
        let to = rng.usize(0..KEYS);
        if self.locked(at, to) || self.row(at, to).is_some() {
            return;
        }
        let (values, unchanged) =
            if rng.bool() { self.changed(rng, values) } else { (values, self.unchanged(0)) };
        let lsn = self.record(rng);
        let effect = Effect::Move { from: byte(from), to: byte(to), values, unchanged };
        self.put(at, lsn, from, None, effect);
        self.open[at].rows[to] = Some(Some(values));
    }

    /// Empties the table, which waits for everyone else.
    fn truncate(&mut self, rng: &mut Rng, at: usize) {
        if self.open.len() > 1 {
            return;
        }
        let lsn = self.record(rng);
        let open = &mut self.open[at];
        open.rows = [Some(None); KEYS];
        open.exclusive = true;
        open.changes.push(Change { lsn, effect: Effect::Truncate });
    }

    /// New values for some columns, and the bits of those that WAL does not hold.
    fn changed(&mut self, rng: &mut Rng, mut values: Values) -> (Values, u8) {
        let columns = rng.u8(0..1 << COLUMNS);
        for (column, value) in values.iter_mut().enumerate() {
            if columns & 1 << column != 0 {
                *value = self.fresh();
            }
        }
        (values, self.unchanged(columns))
    }

    fn unchanged(&self, changed: u8) -> u8 {
        // The first column is in the row itself.
        if self.full { 0 } else { !changed & ((1 << COLUMNS) - 2) }
    }

    fn put(&mut self, at: usize, lsn: u64, key: usize, row: Option<Values>, effect: Effect) {
        let open = &mut self.open[at];
        open.rows[key] = Some(row);
        open.changes.push(Change { lsn, effect });
    }
}

pub fn byte(key: usize) -> u8 {
    u8::try_from(key).unwrap()
}
