//! The intake thread: one loop that polls, decodes, folds, and steps the decision core.
//!
//! # Decisions
//! - A plain thread, because polling must go on whatever the runtime does, and because one loop makes the order of
//!   messages, assignments, revocations and outcomes a fact.
//! - The core hears of bursts, not of records.
//! - While jobs are under way the poll waits a millisecond at most, so that an outcome is acted on at once.

use super::lane::{Lane, Partition};
use super::letters::{self, Pending};
use super::report::{Inbox, Report, Reports, Resolution};
use super::writers::Writers;
use super::{Options, Shared};
use crate::batch::Kind;
use crate::batch::arena::Incoming;
use crate::core::{Claim, Core, Input, LaneId, PartitionId, Settings, Tick};
use crate::decode::PlanNeed;
use crate::decode::slot::Scratch;
use crate::decode::{ChangeKind, Decoded, RowBuffer};
use crate::fault::{Class, Code, Fault};
use crate::kafka::consumer::{Consumer, Event, TopicPartition};
use crate::kafka::letters::{Acknowledged, Letters};
use crate::record::RawRecord;
use crate::route;
use crate::telemetry::metrics::{self, PartitionMetrics, WorkerMetrics};
use crate::telemetry::names::{Commit, Rebalance};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Records between two looks at reports and timers.
const BURST: usize = 2_000;
/// How long a poll may wait while jobs are under way.
const BUSY_POLL: Duration = Duration::from_millis(1);
/// How long a poll may wait otherwise; bounds how late a stop is noticed.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// Source epochs are raised by the registry of lineages; a pipeline starts with this one.
const FIRST_SOURCE_EPOCH: u32 = 0;

pub(super) struct Intake {
    pub(super) shared: Arc<Shared>,
    options: Options,
    pub(super) consumer: Consumer,
    pub(super) letters: Option<(Letters, mpsc::Receiver<Acknowledged>)>,
    pub(super) reports: Reports,
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
    pub(super) writers: Arc<Writers>,
    core: Core,
    started: Instant,
    pub(super) lanes: Vec<Lane>,
    pub(super) partitions: Vec<Partition>,
    numbers: HashMap<Arc<str>, HashMap<i32, PartitionId>>,
    /// The partition of the last record: fetches come in runs.
    last: Option<usize>,
    inputs: VecDeque<Input>,
    next_token: u64,
    /// Jobs whose report has not come yet.
    pub(super) under_way: usize,
    assigned_once: bool,
    caught_up: bool,
    pub(super) stopped: Option<Fault>,
    pub(super) exit: Option<Result<(), Fault>>,
    broker_trouble: bool,
    pub(super) metrics: WorkerMetrics,
    scratch: Scratch,
    row: RowBuffer,
}

/// What taking one record came to.
enum Taken {
    /// It was folded, skipped or dead-lettered, or fell away at the door.
    Done,
    /// The lane takes no more records for now.
    Refused,
}

impl Intake {
    pub(super) fn new(
        shared: Arc<Shared>,
        options: Options,
        consumer: Consumer,
        letters: Option<(Letters, mpsc::Receiver<Acknowledged>)>,
        reports: Reports,
        runtime: Handle,
    ) -> Self {
        let limits = &shared.config.limits;
        let settings = Settings {
            batch_rows: limits.batch_rows,
            batch_bytes: limits.batch_bytes,
            memory_bytes: limits.memory_bytes,
            letters_per_minute: shared
                .config
                .dlq
                .as_ref()
                .map_or(u32::MAX, |dlq| dlq.max_per_minute),
            ..Settings::default()
        };
        Self {
            options,
            consumer,
            letters,
            reports,
            runtime,
            tasks: TaskTracker::new(),
            writers: Arc::new(Writers::new(limits.writers)),
            core: Core::new(settings),
            started: Instant::now(),
            lanes: Vec::new(),
            partitions: Vec::new(),
            numbers: HashMap::new(),
            last: None,
            inputs: VecDeque::new(),
            next_token: 0,
            under_way: 0,
            assigned_once: false,
            caught_up: false,
            stopped: None,
            exit: None,
            broker_trouble: false,
            metrics: WorkerMetrics::new(),
            scratch: Scratch::default(),
            row: RowBuffer::default(),
            shared,
        }
    }

    /// The loop. Returns when the core says `Exit`.
    pub(super) fn run(mut self, inbox: &Inbox) -> Result<(), Fault> {
        let outcome = loop {
            self.shared.health.tick();
            self.hear(inbox);
            // Outcomes first: a batch is sealed with exactly what the core was told of.
            self.step_core();
            self.poll_burst();
            self.tell_of_gathered();
            self.inputs.push_back(Input::Woke);
            self.step_core();
            self.stop_when_caught_up();
            if let Some(outcome) = self.exit.take() {
                break outcome;
            }
        };
        if let Some((letters, _)) = &self.letters {
            letters.flush(Duration::from_secs(5));
        }
        self.consumer.close();
        match (outcome, self.stopped) {
            (Ok(()), Some(fault)) if self.options.until_caught_up => Err(fault),
            (outcome, _) => outcome,
        }
    }

    fn now(&self) -> Tick {
        Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Feeds the core until it has nothing more to say.
    fn step_core(&mut self) {
        let mut actions = Vec::new();
        while let Some(input) = self.inputs.pop_front() {
            let now = self.now();
            self.core.step(now, input, &mut actions);
            for action in std::mem::take(&mut actions) {
                self.perform(action);
            }
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    fn poll_wait(&self) -> Duration {
        if self.under_way > 0 || self.lanes.iter().any(|lane| !lane.letters.is_empty()) {
            return BUSY_POLL;
        }
        let until_wake =
            self.core.next_wake().map_or(u64::MAX, |wake| wake.0.saturating_sub(self.now().0));
        IDLE_POLL.min(Duration::from_millis(until_wake))
    }

    fn poll_burst(&mut self) {
        let mut wait = self.poll_wait();
        for _ in 0..BURST {
            // The event borrows the consumer; what it changes here does not touch it.
            let Self { consumer, .. } = self;
            let event = consumer.poll(wait);
            wait = Duration::ZERO;
            match event {
                Event::Idle => break,
                Event::Record(message) => {
                    let raw = message.raw();
                    let mut intake = Taking {
                        lanes: &mut self.lanes,
                        partitions: &mut self.partitions,
                        numbers: &self.numbers,
                        last: &mut self.last,
                        inputs: &mut self.inputs,
                        letters: self.letters.as_ref().map(|(letters, _)| letters),
                        next_token: &mut self.next_token,
                        scratch: &mut self.scratch,
                        row: &mut self.row,
                        shared: &self.shared,
                    };
                    if let Taken::Refused = intake.take(&raw) {
                        break;
                    }
                }
                Event::Assigned(partitions) => {
                    self.tell_of_gathered();
                    self.assigned(&partitions);
                    break;
                }
                Event::Revoked(partitions) => {
                    self.tell_of_gathered();
                    let ids = self.ids(&partitions);
                    metrics::rebalance(Rebalance::Revoked);
                    self.inputs.push_back(Input::Revoked(ids));
                    break;
                }
                Event::Lost(partitions) => {
                    self.tell_of_gathered();
                    let ids = self.ids(&partitions);
                    for id in &ids {
                        self.partition_mut(*id).lost = true;
                    }
                    tracing::warn!(
                        partitions = ids.len(),
                        "partitions were lost: another worker may own them by now"
                    );
                    metrics::rebalance(Rebalance::Lost);
                    self.inputs.push_back(Input::Lost(ids));
                    break;
                }
                Event::Committed { outcome, .. } => {
                    metrics::offset_commit(if outcome.is_ok() {
                        Commit::Done
                    } else {
                        Commit::Failed
                    });
                    if let Err(fault) = outcome {
                        tracing::debug!(
                            "Kafka did not take a commit; the next one covers it: {fault}"
                        );
                    }
                }
                Event::Stopped(partition, fault) => {
                    self.fetch_failed(&partition, fault);
                    break;
                }
                Event::Failed(fault) => {
                    self.consumer_failed(fault);
                    break;
                }
            }
        }
    }

    /// The client has read everything up to this offset, control records and compacted ones included.
    fn reached_end(&mut self, partition: &TopicPartition, offset: i64) {
        let Some(id) = self.numbers.get(&partition.topic).and_then(|n| n.get(&partition.partition))
        else {
            return;
        };
        let partition = &mut self.partitions[id.0 as usize];
        if partition.accepting && partition.next < offset {
            partition.next = offset;
            partition.touched = true;
            self.lanes[partition.lane].touched = true;
        }
    }

    /// One partition cannot be read any more (its records are gone, or the log was cut): its lane stops (I12).
    fn fetch_failed(&mut self, partition: &TopicPartition, fault: Fault) {
        for id in self.ids(std::slice::from_ref(partition)) {
            let lane = self.lanes[self.partitions[id.0 as usize].lane].id;
            self.inputs.push_back(Input::LaneFailed { lane, fault: fault.clone() });
        }
    }

    fn consumer_failed(&mut self, fault: Fault) {
        match fault.class {
            Class::Fatal => self.exit = Some(Err(fault)),
            Class::Transient => {
                if !std::mem::replace(&mut self.broker_trouble, true) {
                    tracing::warn!(code = fault.code.as_str(), "waiting for Kafka: {}", fault.text);
                }
            }
            Class::Poison | Class::Blocked | Class::Fenced => {
                tracing::error!(code = fault.code.as_str(), hint = fault.hint, "{}", fault.text);
                self.stopped.get_or_insert(fault);
            }
        }
    }

    fn assigned(&mut self, partitions: &[TopicPartition]) {
        metrics::rebalance(Rebalance::Assigned);
        self.assigned_once = true;
        self.broker_trouble = false;
        self.shared.health.set_joined(true);
        tracing::info!(partitions = partitions.len(), "partitions assigned");
        if let Err(fault) = self.consumer.assign_paused(partitions) {
            self.consumer_failed(fault);
            return;
        }
        let mut assigned = Vec::with_capacity(partitions.len());
        for partition in partitions {
            if let Some(id) = self.register(partition) {
                let at = &mut self.partitions[id.0 as usize];
                at.accepting = false;
                at.lost = false;
                at.mirrored = None;
                at.metrics = Some(PartitionMetrics::new(&partition.topic, partition.partition));
                assigned.push((id, self.lanes[at.lane].id));
            }
        }
        self.inputs.push_back(Input::Assigned(assigned));
    }

    /// The number of a partition; a new one gets its lane by the route of its topic.
    fn register(&mut self, partition: &TopicPartition) -> Option<PartitionId> {
        if let Some(id) =
            self.numbers.get(&partition.topic).and_then(|n| n.get(&partition.partition))
        {
            return Some(*id);
        }
        let Some(routed) = route::route(&self.shared.config, &partition.topic) else {
            tracing::error!(
                topic = &*partition.topic,
                code = Code::Unrouted.as_str(),
                "the topic matches no route; it is not read"
            );
            return None;
        };
        let lane = self.lane_of(&routed);
        let lane_shell = &mut self.lanes[lane];
        if !routed.merge_sources
            && lane_shell.topics.first().is_some_and(|first| *first != partition.topic)
        {
            let fault = Fault::blocked(
                Code::Unrouted,
                format!(
                    "topics {} and {} both lead to table {}",
                    lane_shell.topics[0], partition.topic, lane_shell.table
                ),
                "give them different tables, or set merge_sources = true on the route if they share their keys",
            );
            tracing::error!(code = fault.code.as_str(), hint = fault.hint, "{}", fault.text);
            self.stopped.get_or_insert(fault);
            return None;
        }
        let decoder = lane_shell.decoder_of(&partition.topic, routed.format);
        let id = PartitionId(u32::try_from(self.partitions.len()).ok()?);
        let slot = u16::try_from(lane_shell.slots.len()).ok()?;
        lane_shell.slots.push(id);
        self.partitions.push(Partition {
            topic: Arc::clone(&partition.topic),
            number: partition.partition,
            lane,
            decoder,
            slot,
            accepting: false,
            next: 0,
            topic_id: uuid::Uuid::nil(),
            owner_epoch: 0,
            log_end: 0,
            metrics: None,
            lost: false,
            mirrored: None,
            touched: false,
        });
        self.numbers
            .entry(Arc::clone(&partition.topic))
            .or_default()
            .insert(partition.partition, id);
        Some(id)
    }

    fn lane_of(&mut self, routed: &route::Routed) -> usize {
        if let Some(at) = self.lanes.iter().position(|lane| lane.table == routed.table) {
            return at;
        }
        let config = &self.shared.config;
        let overrides = config.tables.get(&routed.table).unwrap_or(&config.defaults).clone();
        let id =
            LaneId(u32::try_from(self.lanes.len()).expect("a worker has fewer than 2^32 tables"));
        self.lanes.push(Lane::new(id, routed.table.clone(), overrides, routed.merge_sources));
        self.lanes.len() - 1
    }

    pub(super) fn ids(&self, partitions: &[TopicPartition]) -> Vec<PartitionId> {
        partitions
            .iter()
            .filter_map(|p| self.numbers.get(&p.topic).and_then(|n| n.get(&p.partition)).copied())
            .collect()
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> &mut Partition {
        &mut self.partitions[id.0 as usize]
    }

    fn tell_of_gathered(&mut self) {
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if !std::mem::take(&mut lane.touched) {
                continue;
            }
            let mut progress = Vec::new();
            for id in &lane.slots {
                let partition = &mut self.partitions[id.0 as usize];
                debug_assert_eq!(partition.lane, at);
                if std::mem::take(&mut partition.touched) {
                    progress.push((*id, partition.next));
                }
            }
            let (rows, bytes) = (lane.arena.rows(), lane.arena.held_bytes());
            self.inputs.push_back(Input::Gathered { lane: lane.id, progress, rows, bytes });
        }
        // A record of the burst may have asked for a plan; the core hears of it after what came before.
        for lane in &self.lanes {
            if lane.need.is_some() {
                self.inputs.push_back(Input::PlanNeeded(lane.id));
            }
        }
    }

    fn hear(&mut self, inbox: &Inbox) {
        while let Ok(report) = inbox.try_recv() {
            self.take_report(report);
        }
        self.hear_acknowledgements();
    }

    fn take_report(&mut self, report: Report) {
        self.under_way = self
            .under_way
            .saturating_sub(usize::from(!matches!(report, Report::Stop | Report::Topics(_))));
        match report {
            Report::Stop => {
                let deadline = self.now().plus_ms(
                    u64::try_from(self.shared.config.shutdown_timeout.as_millis())
                        .unwrap_or(u64::MAX),
                );
                tracing::info!("stopping: finishing what is in flight");
                self.inputs.push_back(Input::Stop { deadline });
            }
            Report::Topics(topics) => {
                tracing::info!(topics = topics.len(), "the topics that match have changed");
                if let Err(fault) = self.consumer.subscribe(&topics) {
                    self.consumer_failed(fault);
                }
            }
            Report::Claimed { generation, grants } => {
                for (partition, grant) in grants {
                    let outcome = grant.map(|granted| {
                        let at = self.partition_mut(partition);
                        at.topic_id = granted.topic_id;
                        at.owner_epoch = granted.owner_epoch;
                        at.log_end = granted.log_end;
                        at.next = granted.offset;
                        if granted.mirror {
                            self.mirror_start(partition, granted.owner_epoch, granted.offset);
                        }
                        Claim { owner_epoch: granted.owner_epoch, offset: granted.offset }
                    });
                    self.inputs.push_back(Input::Claimed { partition, generation, outcome });
                }
            }
            Report::ClaimFailed { partitions, generation, fault } => {
                self.inputs.push_back(Input::ClaimFailed { partitions, generation, fault });
            }
            Report::Planned { lane, decoder, need, outcome } => {
                let outcome =
                    outcome.map(|resolution| self.planned(lane, decoder, &need, resolution));
                self.inputs.push_back(Input::Planned { lane, outcome });
            }
            Report::Written { lane, batch, took, outcome } => {
                let outcome =
                    outcome.map(|applied| self.count_applied(lane, batch, took, &applied));
                self.inputs.push_back(Input::Written { lane, batch, outcome });
            }
            Report::Isolated { lane, batch, outcome } => {
                let outcome = outcome.map(|culprits| self.condemn(lane, batch, culprits));
                self.inputs.push_back(Input::Isolated { lane, batch, outcome });
            }
        }
    }

    fn planned(&mut self, lane: LaneId, decoder: usize, need: &PlanNeed, resolution: Resolution) {
        let lane = &mut self.lanes[lane.0 as usize];
        lane.need = None;
        match resolution {
            Resolution::Refused(fault) => lane.decoders[decoder].refuse(need, fault),
            Resolution::Plan(plan) => lane.decoders[decoder].install(need, plan),
            Resolution::TablePlan { plan, shape, floor } => {
                if lane.arena.shape() != Some(&shape) {
                    // Plans encode for the columns of one shape.
                    lane.decoders.iter_mut().for_each(crate::decode::TopicDecoder::forget_plans);
                    lane.arena.set_shape(shape);
                }
                lane.arena.set_floor(floor);
                lane.decoders[decoder].install(need, plan);
            }
        }
    }

    /// Remembers which records PostgreSQL refuses, so that they are dead-lettered when they are read again.
    fn condemn(&mut self, lane: LaneId, batch: u64, culprits: Vec<(usize, Fault)>) -> usize {
        let lane = &mut self.lanes[lane.0 as usize];
        let Some(sealed) = lane.sealed.as_ref().filter(|sealed| sealed.number == batch) else {
            return 0;
        };
        let mut found = 0;
        for (row, fault) in culprits {
            let Some(row) = sealed.rows.get(row) else { continue };
            let Some(range) = sealed.ranges.get(usize::from(row.range)) else { continue };
            let at = self.numbers.get(range.topic.as_str()).and_then(|n| n.get(&range.partition));
            if let Some(id) = at {
                lane.condemned.insert((*id, row.offset), fault);
                found += 1;
            }
        }
        found
    }

    fn hear_acknowledgements(&mut self) {
        let Some((_, inbox)) = &self.letters else { return };
        while let Ok(Acknowledged { token, outcome }) = inbox.try_recv() {
            let Some(lane) = self.lanes.iter_mut().find(|lane| lane.letters.contains_key(&token))
            else {
                continue;
            };
            match outcome {
                Ok((partition, offset)) => {
                    let Some(pending) = lane.letters.remove(&token) else { continue };
                    lane.metrics.dead_lettered(pending.reason.code, 1);
                    self.inputs.extend(letters::acknowledged(lane, pending, partition, offset));
                }
                Err(fault) => self.inputs.push_back(Input::LettersFailed { lane: lane.id, fault }),
            }
        }
    }

    fn stop_when_caught_up(&mut self) {
        if !self.options.until_caught_up
            || self.caught_up
            || !self.assigned_once
            || self.under_way > 0
        {
            return;
        }
        let caught_up = |(at, partition): (usize, &Partition)| {
            let id = PartitionId(u32::try_from(at).unwrap_or(u32::MAX));
            partition.lost
                || self.core.is_stopped(id)
                || self.core.settled(id).is_none_or(|settled| settled >= partition.log_end)
        };
        if !self.core.has_claims_under_way() && self.partitions.iter().enumerate().all(caught_up) {
            self.reports.send(Report::Stop);
            self.caught_up = true;
        }
    }
}

/// The parts of the intake that taking a record touches; apart from the consumer, whose buffer the record borrows.
struct Taking<'a> {
    lanes: &'a mut Vec<Lane>,
    partitions: &'a mut Vec<Partition>,
    numbers: &'a HashMap<Arc<str>, HashMap<i32, PartitionId>>,
    last: &'a mut Option<usize>,
    inputs: &'a mut VecDeque<Input>,
    letters: Option<&'a Letters>,
    next_token: &'a mut u64,
    scratch: &'a mut Scratch,
    row: &'a mut RowBuffer,
    shared: &'a Shared,
}

impl Taking<'_> {
    fn find(&mut self, raw: &RawRecord<'_>) -> Option<usize> {
        if let Some(at) = *self.last {
            let partition = &self.partitions[at];
            if partition.number == raw.partition && *partition.topic == *raw.topic {
                return Some(at);
            }
        }
        let id = self.numbers.get(raw.topic)?.get(&raw.partition)?;
        *self.last = Some(id.0 as usize);
        *self.last
    }

    fn take(&mut self, raw: &RawRecord<'_>) -> Taken {
        let Some(at) = self.find(raw) else { return Taken::Done };
        let partition = &self.partitions[at];
        // Another generation's record, or one below the position: it falls away at the door.
        if !partition.accepting || raw.offset < partition.next {
            return Taken::Done;
        }
        let id = PartitionId(u32::try_from(at).unwrap_or(u32::MAX));
        if let Some(fault) = self.refusal(at, id, raw) {
            return self.dead_letter(at, raw, &fault);
        }
        let partition = &mut self.partitions[at];
        let lane = &mut self.lanes[partition.lane];
        let decoder = partition.decoder;
        match lane.decoders[decoder].decode(raw, self.scratch, self.row, FIRST_SOURCE_EPOCH) {
            Decoded::Change(change) => {
                let slot = partition.slot;
                let kind = match change.kind {
                    ChangeKind::Row if change.has_kept => Kind::Partial,
                    ChangeKind::Row => Kind::Whole,
                    ChangeKind::Delete => Kind::Delete,
                    ChangeKind::Tombstone => Kind::Tombstone,
                    ChangeKind::Truncate => {
                        let truncate = crate::batch::Truncate {
                            version: change.version,
                            at: change.deleted_at.unwrap_or_default(),
                        };
                        lane.arena.truncate(slot, truncate);
                        return self.advance(at, raw.offset);
                    }
                };
                lane.arena.fold(Incoming {
                    body: &self.row.body,
                    key: &self.row.key,
                    kind,
                    version: change.version,
                    deleted_at: change.deleted_at,
                    source_ts: change.source_ts,
                    kept: &self.row.kept,
                    needs_base: change.needs_base,
                    slot,
                    offset: raw.offset,
                });
                self.advance(at, raw.offset)
            }
            Decoded::Skip(_rule) => {
                lane.arena.skip(partition.slot);
                self.advance(at, raw.offset)
            }
            Decoded::Poison(fault) if fault.class == Class::Poison => {
                self.dead_letter(at, raw, &fault)
            }
            // The record is fine, its table is not.
            Decoded::Poison(fault) => self.fail_lane(at, fault),
            Decoded::NeedsPlan(need) => {
                lane.need = Some((decoder, need));
                // This record and all behind it are read again once the plan is there.
                for id in lane.slots.clone() {
                    self.partitions[id.0 as usize].accepting = false;
                    self.lanes[self.partitions[id.0 as usize].lane].touched = true;
                }
                Taken::Refused
            }
        }
    }

    /// Stops the lane of a partition: nothing more of it is taken.
    fn fail_lane(&mut self, at: usize, fault: Fault) -> Taken {
        let lane = &self.lanes[self.partitions[at].lane];
        for id in &lane.slots {
            self.partitions[id.0 as usize].accepting = false;
        }
        self.inputs.push_back(Input::LaneFailed { lane: lane.id, fault });
        Taken::Refused
    }

    /// Why a record is dead-lettered before it is decoded: PostgreSQL refused it before, or it is too large.
    fn refusal(&self, at: usize, id: PartitionId, raw: &RawRecord<'_>) -> Option<Fault> {
        let lane = &self.lanes[self.partitions[at].lane];
        if !lane.condemned.is_empty()
            && let Some(fault) = lane.condemned.get(&(id, raw.offset))
        {
            return Some(fault.clone());
        }
        let limit = self.shared.config.limits.record_bytes;
        let size = raw.key.map_or(0, <[u8]>::len) + raw.value.map_or(0, <[u8]>::len);
        (size > limit).then(|| {
            Fault::poison(
                Code::RecordTooLarge,
                format!("the record holds {size} bytes, the limit is {limit}"),
            )
        })
    }

    fn advance(&mut self, at: usize, offset: i64) -> Taken {
        let partition = &mut self.partitions[at];
        partition.next = offset + 1;
        partition.touched = true;
        self.lanes[partition.lane].touched = true;
        Taken::Done
    }

    fn dead_letter(&mut self, at: usize, raw: &RawRecord<'_>, fault: &Fault) -> Taken {
        let partition = &mut self.partitions[at];
        let lane = &mut self.lanes[partition.lane];
        let Some(letters) = self.letters else {
            return self.fail_lane(at, letters::no_topic(fault));
        };
        let stage = if fault.sqlstate.is_some() { "write" } else { "decode" };
        let reason = letters::reason(&self.shared.config.name, lane, fault, stage);
        let record = raw.to_owned_record();
        *self.next_token += 1;
        tracing::warn!(
            code = fault.code.as_str(),
            table = %lane.table,
            topic = raw.topic,
            partition = raw.partition,
            offset = raw.offset,
            "dead-lettering a record: {}",
            fault.text
        );
        self.inputs.push_back(Input::LetterSent(lane.id));
        if let Err(fault) = letters.send(*self.next_token, &record, &reason) {
            self.inputs.push_back(Input::LettersFailed { lane: lane.id, fault });
        }
        let pending =
            Pending { batch: lane.open_batch, record, reason, topic_id: partition.topic_id };
        lane.letters.insert(*self.next_token, pending);
        lane.arena.dead_letter(partition.slot);
        self.advance(at, raw.offset)
    }
}
