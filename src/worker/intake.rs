//! The intake thread: one loop that polls, decodes, folds, and steps the decision core.
//!
//! # Decisions
//! - A plain thread, because polling must go on whatever the runtime does, and because one loop makes the order of
//!   messages, assignments, revocations and outcomes a fact.
//! - The core hears of bursts, not of records. A burst ends with the record that fills its lane's batch, so that the core
//!   can close the lane before the next one: a limit of one makes batches of one.
//! - Each lane has a feed, queues of its own inside librdkafka. A full lane's feed is not polled, and librdkafka stops
//!   fetching for it when its bound is reached; pausing would throw away what was fetched ahead, and one queue for all
//!   lanes would hold the others up: two lanes on two connections were then no faster than one.
//! - The loop waits in one place, for the inbox: jobs report there, and librdkafka's threads wake it.

use super::lane::{Lane, Partition};
use super::report::{Inbox, Report, Reports};
use super::taking::{Taken, Taking};
use super::writers::Writers;
use super::{Options, Shared};
use crate::core::{Core, Input, LaneId, PartitionId, Settings, Tick};
use crate::decode::RowBuffer;
use crate::decode::slot::Scratch;
use crate::fault::{Code, Fault};
use crate::kafka::consumer::{Consumer, Event};
use crate::kafka::letters::{Acknowledged, Letters};
use crate::telemetry::metrics::{self, SourceEpochs, WorkerMetrics};
use crate::telemetry::names::{Commit, Pause, Rebalance};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Records between two looks at reports and timers.
const BURST: usize = 2_000;
/// Of them, records of one lane at a time.
const LANE_BURST: usize = 1_000;
/// How long the loop may wait while dead letters are under way: their acknowledgements come by a channel of their own.
const LETTERS_POLL: Duration = Duration::from_millis(1);
/// From then on a full lane counts as paused.
const FULL_FOR_LONG: Duration = Duration::from_secs(2);
/// How long the loop may wait otherwise; bounds how late a stop is noticed.
const IDLE_POLL: Duration = Duration::from_millis(100);

pub(super) struct Intake {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
    pub(super) consumer: Consumer,
    pub(super) letters: Option<(Letters, mpsc::Receiver<Acknowledged>)>,
    pub(super) reports: Reports,
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
    pub(super) writers: Arc<Writers>,
    pub(super) core: Core,
    pub(super) started: Instant,
    pub(super) lanes: Vec<Lane>,
    pub(super) partitions: Vec<Partition>,
    pub(super) numbers: HashMap<Arc<str>, HashMap<i32, PartitionId>>,
    /// The lane whose turn it is to be polled.
    pub(super) next_lane: usize,
    /// Records polled since the start.
    pub(super) taken: usize,
    /// The partition of the last record: fetches come in runs.
    pub(super) last: Option<usize>,
    pub(super) inputs: VecDeque<Input>,
    pub(super) next_token: u64,
    /// Jobs whose report has not come yet.
    pub(super) under_way: usize,
    pub(super) assigned_once: bool,
    pub(super) caught_up: bool,
    pub(super) stopped: Option<Fault>,
    pub(super) exit: Option<Result<(), Fault>>,
    pub(super) broker_trouble: bool,
    /// The outages that lanes (or, without one, the claims) wait for.
    pub(super) waiting_for: BTreeMap<Option<LaneId>, Code>,
    pub(super) metrics: WorkerMetrics,
    pub(super) source_epochs: SourceEpochs,
    pub(super) mirrored_at: Instant,
    pub(super) scratch: Scratch,
    pub(super) row: RowBuffer,
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
            recheck_ms: u64::try_from(limits.recheck.as_millis()).unwrap_or(u64::MAX),
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
            next_lane: 0,
            taken: 0,
            last: None,
            inputs: VecDeque::new(),
            next_token: 0,
            under_way: 0,
            assigned_once: false,
            caught_up: false,
            stopped: None,
            exit: None,
            broker_trouble: false,
            waiting_for: BTreeMap::new(),
            metrics: WorkerMetrics::new(),
            source_epochs: SourceEpochs::default(),
            mirrored_at: Instant::now(),
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
            let came = self.poll();
            self.tell_of_gathered();
            self.inputs.push_back(Input::Woke);
            self.step_core();
            self.keep_mirror();
            self.stop_when_caught_up();
            if let Some(outcome) = self.exit.take() {
                break outcome;
            }
            if !came {
                self.wait(inbox);
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

    pub(super) fn now(&self) -> Tick {
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

    /// Until a job reports, something comes from Kafka, or the core wants to be woken.
    fn wait(&mut self, inbox: &Inbox) {
        let limits = &self.shared.config.limits;
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_full(limits)) {
            lane.tables.iter_mut().for_each(|table| table.arena.sort_ahead());
        }
        if let Ok(report) = inbox.recv_timeout(self.until_wake()) {
            self.take_report(report);
        }
    }

    fn until_wake(&self) -> Duration {
        if !self.inputs.is_empty() {
            return Duration::ZERO;
        }
        if self.lanes.iter().any(|lane| !lane.letters.is_empty()) {
            return LETTERS_POLL;
        }
        let until_wake =
            self.core.next_wake().map_or(u64::MAX, |wake| wake.0.saturating_sub(self.now().0));
        IDLE_POLL.min(Duration::from_millis(until_wake))
    }

    /// Takes what Kafka has: first what concerns the group, then the records of each lane that takes any. Whether anything
    /// came.
    fn poll(&mut self) -> bool {
        let mut came = self.burst(None, BURST);
        let lanes = self.lanes.len();
        let mut left = BURST;
        for _ in 0..lanes {
            let at = self.next_lane % lanes;
            self.next_lane = at + 1;
            if !self.core.takes(self.lanes[at].id) {
                self.full(at);
                continue;
            }
            let lane = &mut self.lanes[at];
            if lane.full_since.take().is_some() && lane.need.is_none() {
                lane.paused = None;
            }
            let before = self.taken;
            came |= self.burst(Some(at), left.min(LANE_BURST));
            left = left.saturating_sub(self.taken - before);
            if left == 0 {
                break;
            }
        }
        came
    }

    /// A lane that is full for long is told of.
    fn full(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        let since = *lane.full_since.get_or_insert_with(Instant::now);
        if lane.paused.is_none() && since.elapsed() > FULL_FOR_LONG {
            lane.paused = Some(metrics::paused(&lane.table, Pause::Backpressure));
        }
    }

    /// At most so many records of one feed, or of what comes beside the feeds. Whether anything came.
    fn burst(&mut self, feed: Option<usize>, limit: usize) -> bool {
        for polled in 0..limit {
            // The event borrows the consumer; what it changes here does not touch it.
            let Self { consumer, .. } = self;
            let event = match feed {
                Some(feed) => consumer.poll_feed(feed),
                None => consumer.poll(Duration::ZERO),
            };
            match event {
                Event::Idle => return polled > 0,
                Event::Record(message) => {
                    self.taken += 1;
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
                    match intake.take(&raw) {
                        Taken::Done => {}
                        Taken::Full | Taken::Refused => break,
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
                Event::Committed { offsets, outcome } => {
                    if outcome.is_ok() {
                        self.confirm(&offsets);
                    }
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
                Event::End(partition, offset) => self.reached_end(&partition, offset),
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
        true
    }

    fn tell_of_gathered(&mut self) {
        for partition in self.partitions.iter_mut().filter(|partition| partition.polled > 0) {
            let polled = std::mem::take(&mut partition.polled);
            if let Some(metrics) = &partition.metrics {
                metrics.read(polled);
            }
        }
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
            let (rows, bytes) = (lane.rows(), lane.bytes());
            self.inputs.push_back(Input::Gathered { lane: lane.id, progress, rows, bytes });
        }
        // A record of the burst may have asked for a plan; the core hears of it after what came before.
        for lane in &self.lanes {
            if lane.need.is_some() || lane.refused.is_some() {
                self.inputs.push_back(Input::PlanNeeded(lane.id));
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
