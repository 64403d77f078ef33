//! What the intake thread holds for one lane: decoders, the open batch, the sealed batch, unacknowledged letters.

use super::epochs::Sources;
use super::letters::Pending;
use super::suspicions::Nulls;
use crate::batch::Batch;
use crate::batch::arena::Arena;
use crate::batch::holes::Holes;
use crate::config::{Limits, Table, Tripwire};
use crate::core::{LaneId, PartitionId};
use crate::decode::{Change, PayloadId, PlanNeed, RowBuffer, SkipRule, TopicDecoder};
use crate::fault::Fault;
use crate::postgres::StartOver;
use crate::route::Routed;
use crate::table::TableName;
use crate::telemetry::held::Condition;
use crate::telemetry::metrics::{PartitionMetrics, TableMetrics};
use crate::version::Version;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// What has to be done before a record can be taken.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// A plan, for the decoder of that number.
    Plan(usize, PlanNeed),
    /// A plan for the key of a dead letter alone, for the decoder of that number.
    Key(usize, PlanNeed),
    /// A label in the enum type of a Silver column.
    Label(MissingLabel),
    /// A source epoch that is to be written down, for that partition.
    Epoch(PartitionId, Box<StartOver>),
}

/// Why the key of a dead letter has no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unplanned {
    /// There is no table yet, so no row of it is stale.
    NoTable,
    /// The table does not fit the key, or its schema cannot be had.
    NoFit,
}

/// A label of the source's enum that the Silver column's type lacks.
#[derive(Clone, Debug)]
pub(super) struct MissingLabel {
    pub(super) decoder: usize,
    pub(super) column: String,
    pub(super) label: String,
}

/// One lane: a Silver table and the topics that feed it, or a share of their partitions.
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) table: TableName,
    /// Which lane of its table it is, from 0.
    pub(super) share: usize,
    pub(super) overrides: Table,
    /// Rows at which the open batch is full.
    pub(super) batch_rows: usize,
    pub(super) topics: Vec<Arc<str>>,
    /// One decoder per topic, as writer schemas of topics differ.
    pub(super) decoders: Vec<TopicDecoder>,
    /// Per topic: a record with a key has been seen, so one without is an exception and not the rule.
    pub(super) keyed: Vec<bool>,
    pub(super) arena: Arena,
    /// Keys whose dead letters no whole row has made good yet.
    pub(super) holes: Holes,
    /// The number that the open batch will get.
    pub(super) open_batch: u64,
    pub(super) sealed: Option<Arc<Batch>>,
    /// Records of the open batch that rules skipped.
    pub(super) skips: Skips,
    /// The same of the sealed batch.
    pub(super) sealed_skips: Skips,
    /// NULLs that may stand for unchanged values.
    pub(super) nulls: Nulls,
    /// What a record needs before it can be taken.
    pub(super) need: Option<Need>,
    /// Keys of dead letters that no plan could be made for, by decoder.
    pub(super) unplanned: Vec<(usize, PlanNeed, Unplanned)>,
    /// The epochs of the table's rows have been compared with the registry.
    pub(super) epochs_checked: bool,
    /// Why the next record cannot be taken, until what came before it has landed and the lane stops.
    pub(super) refused: Option<Fault>,
    /// The lane was stopped and is being tried again.
    pub(super) retried: bool,
    /// Partitions in the order of their slots.
    pub(super) slots: Vec<PartitionId>,
    /// Letters that are not acknowledged yet, by token.
    pub(super) letters: BTreeMap<u64, Pending>,
    /// Bytes of their records.
    pub(super) letter_bytes: usize,
    /// Records that PostgreSQL refused, to be dead-lettered when they are read again.
    pub(super) condemned: BTreeMap<(PartitionId, i64), Fault>,
    pub(super) metrics: TableMetrics,
    /// Present on `/metrics` while the lane is stopped; a lane that is tried again counts as stopped until it has applied
    /// something.
    pub(super) stopped: Option<Condition>,
    /// Present on `/metrics` while nothing of the lane is fetched for another reason.
    pub(super) paused: Option<Condition>,
    /// Since when the lane is full and takes nothing.
    pub(super) full_since: Option<Instant>,
    /// Encoded bytes of the sealed batch, for its histogram.
    pub(super) sealed_bytes: usize,
    /// Something was gathered since the core was last told.
    pub(super) touched: bool,
}

impl Lane {
    pub(super) fn new(
        id: LaneId,
        table: TableName,
        share: usize,
        overrides: Table,
        batch_rows: usize,
        tripwire: Tripwire,
    ) -> Self {
        let mut arena = Arena::default();
        arena.set_tripwire(tripwire);
        Self {
            id,
            metrics: TableMetrics::new(&table),
            stopped: None,
            paused: None,
            full_since: None,
            sealed_bytes: 0,
            table,
            share,
            overrides,
            batch_rows,
            topics: Vec::new(),
            decoders: Vec::new(),
            keyed: Vec::new(),
            arena,
            holes: Holes::default(),
            open_batch: 1,
            sealed: None,
            skips: Skips::default(),
            sealed_skips: Skips::default(),
            nulls: Nulls::default(),
            need: None,
            unplanned: Vec::new(),
            epochs_checked: false,
            refused: None,
            retried: false,
            slots: Vec::new(),
            letters: BTreeMap::new(),
            letter_bytes: 0,
            condemned: BTreeMap::new(),
            touched: false,
        }
    }

    /// What `/readyz` calls it.
    pub(super) fn name(&self) -> String {
        match self.share {
            0 => self.table.to_string(),
            share => format!("{} ({})", self.table, share + 1),
        }
    }

    /// Whether a partial row stands above a hole, so that what Silver holds is no base for it (I9).
    pub(super) fn has_hole(&self, change: &Change, version: Version, row: &RowBuffer) -> bool {
        let key = if change.moved { &row.old_key } else { &row.key };
        change.needs_base && !self.holes.is_empty() && self.holes.covers(key, version)
    }

    /// Rows and unacknowledged letters: what counts towards a full batch.
    pub(super) fn rows(&self) -> usize {
        self.arena.rows() + self.letters.len()
    }

    /// Bytes held for rows and unacknowledged letters.
    pub(super) fn bytes(&self) -> usize {
        self.arena.held_bytes() + self.letter_bytes
    }

    /// The open batch has reached a limit.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.rows() >= self.batch_rows || self.bytes() >= limits.batch_bytes
    }

    /// The decoder of a topic, made when the topic is new to the lane.
    pub(super) fn decoder_of(
        &mut self,
        topic: &Arc<str>,
        routed: &Routed,
        payload_id: PayloadId,
    ) -> usize {
        if let Some(at) = self.topics.iter().position(|known| known == topic) {
            return at;
        }
        self.topics.push(Arc::clone(topic));
        self.decoders.push(
            TopicDecoder::new(routed.format, self.overrides.clone())
                .with_payload_id(payload_id)
                .with_sources(routed.position, routed.merge_sources),
        );
        self.keyed.push(false);
        self.topics.len() - 1
    }
}

/// Records skipped, by rule. A lane meets a handful of rules.
#[derive(Debug, Default)]
pub(super) struct Skips(Vec<(SkipRule, u64)>);

impl Skips {
    /// Counts one record.
    pub(super) fn add(&mut self, rule: SkipRule) {
        match self.0.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, count)) => *count += 1,
            None => self.0.push((rule, 1)),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Every rule with its count, forgotten afterwards.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (SkipRule, u64)> {
        self.0.drain(..)
    }
}

/// What the intake thread knows of one partition.
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    pub(super) lane: usize,
    pub(super) decoder: usize,
    pub(super) slot: u16,
    /// Records are taken.
    pub(super) accepting: bool,
    /// The next offset to take: everything below is settled or gathered.
    pub(super) next: i64,
    pub(super) topic_id: Uuid,
    pub(super) owner_epoch: i64,
    /// What is known of its sources.
    pub(super) sources: Sources,
    /// End of the log when the partition was claimed.
    pub(super) log_end: i64,
    /// Present on `/metrics` while a start rule holds the partition back.
    pub(super) stopped: Option<Condition>,
    /// Present while the partition is ours.
    pub(super) metrics: Option<PartitionMetrics>,
    /// The assignment is gone: nothing is committed for it.
    pub(super) lost: bool,
    /// The newest position that was handed to Kafka.
    pub(super) mirrored: Option<i64>,
    /// The newest position that Kafka took.
    pub(super) confirmed: Option<i64>,
    /// Records polled since the metrics were last told.
    pub(super) polled: u64,
    /// It came forward since the core was last told.
    pub(super) touched: bool,
}
