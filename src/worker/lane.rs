//! What the intake thread holds for one lane: decoders, tables, the sealed batch, unacknowledged letters.

use super::epochs::Sources;
use super::letters::Pending;
use super::table::LaneTable;
use crate::batch::Batch;
use crate::config::{Limits, Table, Tripwire};
use crate::core::{LaneId, PartitionId};
use crate::decode::{PayloadId, PlanNeed, TopicDecoder, UNPLACED};
use crate::fault::Fault;
use crate::postgres::StartOver;
use crate::route::{Routed, Template};
use crate::table::TableName;
use crate::telemetry::held::Condition;
use crate::telemetry::metrics::PartitionMetrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// What has to be done before a record can be taken.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// A plan.
    Plan(Whose, PlanNeed),
    /// A plan for the key of a dead letter alone.
    Key(Whose, PlanNeed),
    /// A label in the enum type of a Silver column.
    Label(MissingLabel),
    /// A source epoch that is to be written down, for that partition.
    Epoch(PartitionId, Box<StartOver>),
}

/// Whose plan it is: numbers in the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) decoder: usize,
    pub(super) table: usize,
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
    pub(super) whose: Whose,
    pub(super) column: String,
    pub(super) label: String,
}

/// One lane: a Silver table and the topics that feed it, or a topic and the tables that its records name, or a share of
/// their partitions.
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// Its table, or what stands for those that its records name.
    pub(super) table: TableName,
    /// How records name their tables.
    pub(super) template: Option<Template>,
    /// Other lanes may feed the same tables.
    pub(super) merges: bool,
    /// Its table; where records name theirs, one for what belongs to none, and those behind it.
    pub(super) tables: Vec<LaneTable>,
    /// Rows and bytes of the open batch.
    pub(super) gathered: (usize, usize),
    /// Which lane of its table it is, from 0.
    pub(super) share: usize,
    /// Rows at which the open batch is full.
    pub(super) batch_rows: usize,
    pub(super) topics: Vec<Arc<str>>,
    /// One decoder per topic, as writer schemas of topics differ.
    pub(super) decoders: Vec<TopicDecoder>,
    /// Per topic: a record with a key has been seen, so one without is an exception and not the rule.
    pub(super) keyed: Vec<bool>,
    /// The number that the open batch will get.
    pub(super) open_batch: u64,
    pub(super) sealed: Option<Arc<Batch>>,
    /// What a record needs before it can be taken.
    pub(super) need: Option<Need>,
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
    /// Present on `/metrics` while the lane is stopped; a lane that is tried again counts as stopped until it has applied
    /// something.
    pub(super) stopped: Option<Condition>,
    /// Present on `/metrics` while nothing of the lane is fetched for another reason.
    pub(super) paused: Option<Condition>,
    /// Since when the lane is full and takes nothing.
    pub(super) full_since: Option<Instant>,
    /// Something was gathered since the core was last told.
    pub(super) touched: bool,
}

impl Lane {
    pub(super) fn new(
        id: LaneId,
        routed: &Routed,
        share: usize,
        overrides: Table,
        batch_rows: usize,
        tripwire: Tripwire,
    ) -> Self {
        let table = routed.table.clone();
        Self {
            id,
            stopped: None,
            paused: None,
            full_since: None,
            tables: vec![LaneTable::new(table.clone(), overrides, tripwire)],
            gathered: (0, 0),
            template: routed.tables.clone(),
            merges: routed.merge_sources,
            table,
            share,
            batch_rows,
            topics: Vec::new(),
            decoders: Vec::new(),
            keyed: Vec::new(),
            open_batch: 1,
            sealed: None,
            need: None,
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
            TopicDecoder::new(routed.format, self.tables[UNPLACED].overrides.clone())
                .with_payload_id(payload_id)
                .with_tables(routed.tables.clone())
                .with_sources(routed.position, routed.merge_sources),
        );
        self.keyed.push(false);
        self.topics.len() - 1
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
