//! What jobs tell the intake thread.

use super::lane::{Unplanned, Whose};
use crate::batch::Applied;
use crate::batch::Truncate;
use crate::core::{Generation, LaneId, PartitionId};
use crate::decode::PlanNeed;
use crate::decode::plan::Plan;
use crate::epoch::{self, Entered, Epochs, Lineage};
use crate::fault::Fault;
use crate::postgres::StartOver;
use crate::table::TableShape;
use crate::version::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use uuid::Uuid;

/// The destination and the start rules let a partition start.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) owner_epoch: i64,
    pub(super) offset: i64,
    pub(super) topic_id: Uuid,
    /// Records were settled before, so the topic was read with its key.
    pub(super) progressed: bool,
    /// End of the log at the time of the claim.
    pub(super) log_end: i64,
    /// What is known of the sources at that offset, and where their epochs start.
    pub(super) lineages: Vec<(String, Lineage)>,
    pub(super) starts: Vec<epoch::Start>,
    /// The epochs of every source.
    pub(super) epochs: Vec<(String, Epochs)>,
    /// The group offset in Kafka is not our mark of this position yet.
    pub(super) mirror: bool,
}

/// A plan that was found or made.
#[derive(Debug)]
pub(super) enum Resolution {
    /// Records of this schema are skipped by a rule.
    Plan(Arc<Plan>),
    /// Records of this schema are rows of a table as it now stands.
    TablePlan {
        plan: Arc<Plan>,
        shape: Arc<TableShape>,
        floor: Option<Truncate>,
        /// Encoded key and version of each dead letter that no whole row has made good.
        holes: Vec<(Vec<u8>, Version)>,
        /// No record had the schema before.
        unseen: bool,
    },
    /// Records of this schema are poison.
    Refused(Fault),
    /// The key of a dead letter gets no plan.
    Unplanned(Unplanned),
}

/// A row that PostgreSQL refuses, and why.
#[derive(Debug)]
pub(super) struct Culprit {
    /// Which of the batch's parts it is in, if it has any.
    pub(super) part: Option<usize>,
    /// Index of the row.
    pub(super) row: usize,
    pub(super) fault: Fault,
}

/// One report of a job.
pub(super) enum Report {
    Claimed {
        generation: Generation,
        grants: Vec<(PartitionId, Result<Granted, Fault>)>,
    },
    ClaimFailed {
        partitions: Vec<PartitionId>,
        generation: Generation,
        fault: Fault,
    },
    /// The label that a lane needed is there, or cannot be added.
    Labelled {
        lane: LaneId,
        table: usize,
        outcome: Result<(), Fault>,
    },
    Planned {
        lane: LaneId,
        whose: Whose,
        need: PlanNeed,
        outcome: Result<Resolution, Fault>,
    },
    EpochEntered {
        lane: LaneId,
        partition: PartitionId,
        over: StartOver,
        outcome: Result<(Entered, Epochs), Fault>,
    },
    Written {
        lane: LaneId,
        batch: u64,
        took: Duration,
        outcome: Result<Applied, Fault>,
    },
    Isolated {
        lane: LaneId,
        batch: u64,
        outcome: Result<Vec<Culprit>, Fault>,
    },
    /// Something came from Kafka while nothing was there.
    Kafka,
    /// The topics to subscribe to have changed.
    Topics(Vec<String>),
    Stop,
}

/// Sending side; cheap to clone.
///
/// The channel has no bound of its own: every report answers one job, the core never has more jobs under way than
/// partitions and lanes, and of [`Report::Kafka`] there is one at a time.
#[derive(Clone)]
pub(super) struct Reports {
    sender: mpsc::Sender<Report>,
    /// A [`Report::Kafka`] was sent and not heard.
    woken: Arc<AtomicBool>,
}

/// Receiving side, on the intake thread.
pub(super) type Inbox = mpsc::Receiver<Report>;

impl Reports {
    /// Sends; a receiver that is gone means that the worker has left and nobody wants to know.
    pub(super) fn send(&self, report: Report) {
        if self.sender.send(report).is_err() {
            tracing::debug!("a job ended after the worker");
        }
    }

    /// Wakes the intake: something came from Kafka.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.send(Report::Kafka);
        }
    }

    /// What comes from here on wakes again: to be called before looking at what came.
    pub(super) fn awake(&self) {
        self.woken.store(false, Ordering::Release);
    }
}

pub(super) fn channel() -> (Reports, Inbox) {
    let (sender, receiver) = mpsc::channel();
    (Reports { sender, woken: Arc::default() }, receiver)
}
