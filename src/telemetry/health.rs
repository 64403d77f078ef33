//! What the worker knows about its own health, as a few atomics. Decides what alive and ready mean.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without a turn of the intake loop for this long the worker counts as hung. Each turn waits at most a fraction of a
/// second for records, so this is a hundred turns; and it is well below Kafka's default `max.poll.interval.ms` (5 min).
const TICK_LIMIT: Duration = Duration::from_secs(30);

/// Shared between the worker, which writes, and the endpoints, which read.
#[derive(Debug)]
pub struct Health {
    origin: Instant,
    /// Milliseconds from `origin` to the intake loop's last turn, plus one; 0 before its first.
    last_tick: AtomicU64,
    joined: AtomicBool,
    postgres: AtomicBool,
    fatal: AtomicBool,
    /// What waits or is stopped, and why.
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A worker that has started nothing yet: alive, not ready.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            last_tick: AtomicU64::new(0),
            joined: AtomicBool::new(false),
            postgres: AtomicBool::new(false),
            fatal: AtomicBool::new(false),
            troubles: Mutex::default(),
        }
    }

    /// The intake loop made a turn. Cheap enough for each one.
    pub fn tick(&self) {
        self.last_tick.store(self.now_ms().saturating_add(1), Ordering::Relaxed);
    }

    /// Whether the worker is a member of its group with an assignment, even an empty one.
    pub fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// Whether the last contact with the destination succeeded.
    pub fn set_postgres_reachable(&self, reachable: bool) {
        self.postgres.store(reachable, Ordering::Relaxed);
    }

    /// The worker cannot go on; there is no way back.
    pub fn set_fatal(&self) {
        self.fatal.store(true, Ordering::Relaxed);
    }

    /// A part of the worker (a Silver table, a partition, a dependency) waits or is stopped, until it is well again.
    pub fn set_trouble(&self, part: impl Into<String>, why: impl Into<String>) {
        self.troubles().insert(part.into(), why.into());
    }

    /// A part of the worker is well again.
    pub fn clear_trouble(&self, part: &str) {
        self.troubles().remove(part);
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // Each change is one insertion or removal: a panic elsewhere cannot leave it half done.
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process should go on living.
    ///
    /// # Errors
    /// Why it should be restarted. Never because PostgreSQL, Kafka or the registry is down: a restart heals none.
    pub fn live(&self) -> Result<(), &'static str> {
        self.live_at(self.now_ms())
    }

    /// Whether the worker does its whole job now: a single stopped lane means no, although the others run.
    ///
    /// # Errors
    /// Every reason why not.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        reasons.extend(self.live().err().map(str::to_owned));
        if !self.joined.load(Ordering::Relaxed) {
            reasons.push("not a member of the consumer group".to_owned());
        }
        if !self.postgres.load(Ordering::Relaxed) {
            reasons.push("PostgreSQL is not reachable".to_owned());
        }
        reasons.extend(self.troubles().iter().map(|(part, why)| format!("{part}: {why}")));
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn live_at(&self, now_ms: u64) -> Result<(), &'static str> {
        if self.fatal.load(Ordering::Relaxed) {
            return Err("the worker has failed for good");
        }
        let last = self.last_tick.load(Ordering::Relaxed);
        // Before the first turn the worker may be waiting for PostgreSQL, which is no reason to restart it.
        if last > 0 && u128::from(now_ms.saturating_sub(last - 1)) > TICK_LIMIT.as_millis() {
            return Err("the intake loop has stopped turning");
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_of_others_do_not_make_a_worker_dead() {
        let health = Health::new();
        assert_eq!(health.live(), Ok(()));
        assert_eq!(
            health.ready(),
            Err(vec![
                "not a member of the consumer group".to_owned(),
                "PostgreSQL is not reachable".to_owned()
            ])
        );
        health.set_joined(true);
        health.set_postgres_reachable(true);
        assert_eq!(health.ready(), Ok(()));
        health.set_postgres_reachable(false);
        assert_eq!(health.live(), Ok(()));
        assert_eq!(health.ready(), Err(vec!["PostgreSQL is not reachable".to_owned()]));
    }

    #[test]
    fn one_stopped_lane_is_told_until_it_goes_on() {
        let health = Health::new();
        health.set_joined(true);
        health.set_postgres_reachable(true);
        health.set_trouble("silver.orders", "stopped [type_mismatch]");
        assert_eq!(health.ready(), Err(vec!["silver.orders: stopped [type_mismatch]".to_owned()]));
        assert_eq!(health.live(), Ok(()), "the other lanes run");
        health.clear_trouble("silver.orders");
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn an_intake_loop_that_stops_turning_makes_it_dead() {
        let health = Health::new();
        assert_eq!(health.live_at(3_600_000), Ok(()), "not before the first turn");
        health.tick();
        let ticked = health.last_tick.load(Ordering::Relaxed) - 1;
        assert_eq!(health.live_at(ticked + 30_000), Ok(()));
        assert_eq!(health.live_at(ticked + 30_001), Err("the intake loop has stopped turning"));
    }

    #[test]
    fn a_fatal_failure_makes_it_dead_and_not_ready() {
        let health = Health::new();
        health.set_fatal();
        assert_eq!(health.live(), Err("the worker has failed for good"));
        assert!(health.ready().unwrap_err().contains(&"the worker has failed for good".to_owned()));
    }
}
