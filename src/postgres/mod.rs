//! The destination: the only place that knows tokio-postgres.
//!
//! # Decisions
//! - Short questions (catalogue, claims, status) go over a pool; every writer has one connection for its lifetime, because
//!   its session holds the stages, the settle functions and the planner switches.
//! - The pool uses unnamed statements only (`query_typed`): named ones run the *wrong* statement without an error behind a
//!   pooler in transaction mode.
//! - Every wait has a deadline on both sides: `statement_timeout` and `lock_timeout` in the session, and one here,
//!   because no server setting ends a session whose client is frozen or whose network is gone.

mod alter;
mod bookkeeping;
mod catalogue;
mod claim;
mod connect;
mod copy;
mod epochs;
mod exchange;
mod isolate;
mod letters;
mod load;
mod params;
mod raise;
pub mod readback;
mod rehearse;
mod session;
mod sqlstate;
mod stages;
mod status;
mod together;
mod truncate;
mod writer;

pub use alter::{LARGEST_REWRITE, Origin};
pub use catalogue::Described;
pub use claim::{BeginAt, ClaimAsk, Claimed, StoredPosition};
pub use copy::Frames;
pub use epochs::StartOver;
pub use raise::{EpochRow, Raise, Raised, StartRow};
pub use rehearse::{Rehearsal, SilverRow};
pub use session::WRITER_SETTINGS;
pub use status::{PositionRow, TableCounts};
pub use writer::Writer;

use crate::config;
use crate::fault::{Code, Fault};
use std::future::Future;
use std::time::Duration;

/// A PostgreSQL server that holds Silver tables and the bookkeeping beside them.
#[derive(Clone)]
pub struct Destination {
    pool: deadpool_postgres::Pool,
    target: connect::Target,
    limits: Limits,
}

/// Time limits of a session and of the client's own waits.
#[derive(Clone, Copy, Debug)]
struct Limits {
    statement: Duration,
    lock: Duration,
}

impl Limits {
    /// How long the client waits for one answer: the server's own limits come first, so this one only ends waits for a
    /// server or a network that is gone.
    fn answer(self) -> Duration {
        self.statement + self.lock + Duration::from_secs(5)
    }

    async fn wait<T>(self, doing: &str, work: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::time::timeout(self.answer(), work).await.map_err(|_| {
            Fault::transient(
                Code::PostgresUnavailable,
                format!("{doing}: no answer within {:?}", self.answer()),
            )
        })
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("at", &self.target.name()).finish_non_exhaustive()
    }
}

impl Destination {
    /// Connects and probes the server.
    ///
    /// `writers` is the number of writers that will be asked for; the pool is sized so that none of them waits for ever.
    ///
    /// # Errors
    /// Fatal `configuration` (URL, certificate), `postgres_login` (password, user, database) or `postgres_too_old`
    /// (below 15, which has no MERGE); transient `postgres_unavailable` when the server cannot be reached or is
    /// read-only.
    pub async fn connect(
        cfg: &config::Postgres,
        writers: usize,
        application_name: &str,
    ) -> Result<Self, Fault> {
        let limits = Limits { statement: cfg.statement_timeout, lock: cfg.lock_timeout };
        let target = connect::Target::parse(cfg, application_name)?;
        target.probe(limits).await?;
        let pool = target.pool(limits, cfg.connect_timeout, writers)?;
        Ok(Self { pool, target, limits })
    }

    /// A connection for one lane's transactions, for its lifetime.
    ///
    /// # Errors
    /// Transient when the server cannot be reached or refuses the login (it did not at start).
    pub async fn writer(&self) -> Result<Writer, Fault> {
        Writer::open(&self.target, self.limits).await
    }

    async fn client(&self) -> Result<deadpool_postgres::Client, Fault> {
        self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => sqlstate::fault(
                &format!("connecting to PostgreSQL at {}", self.target.name()),
                &error,
            ),
            other => Fault::transient(
                Code::PostgresUnavailable,
                format!("connecting to PostgreSQL at {}: {other}", self.target.name()),
            ),
        })
    }

    async fn ask<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        self.limits.wait(doing, work).await?.map_err(|error| sqlstate::fault(doing, &error))
    }
}
