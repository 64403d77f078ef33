//! Settings of a session, as SQL.
//!
//! # Decisions
//! - COMMIT is waited for until it is on disk, whatever the server's, the role's or the database's setting says. A claim that a
//!   crash of the server forgets would let the worker before it write again (I6). For batches it was tried as an option and
//!   dropped: rows and positions are lost together, but a partition in which nothing follows would not notice until it is
//!   claimed again; and it brought nothing here (0.91 of the yardstick at batches of 10,000 rows, in another run 0.89 without; a
//!   median latency of 2.7 ms, and 2.1 ms without).
//! - `temp_buffers` stays the server's (8 MB by default). Stages live there: with 32 MB a batch of 10,000 rows cost the server
//!   6 % more CPU (more memory is gone round), with 4 MB as much as with 8, batches of 50,000 rows too.

use super::Limits;

/// What every session of ours has: time limits on the server's side, and a fixed reading of times and intervals.
pub(super) fn settings(limits: Limits) -> String {
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
         SET client_min_messages = 'error'; \
         SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
           WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
        milliseconds(limits.statement),
        milliseconds(limits.lock),
        milliseconds(limits.statement),
    )
}

/// What a writer's session has on top.
///
/// The four planner switches keep MERGE on the key's index whatever the statistics say; with them the stage's scan is
/// "forbidden" and so expensive that it would be compiled for every batch: hence `jit`. `row_security = off` turns a policy
/// that would hide rows into an error.
pub const WRITER_SETTINGS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; \
     SET enable_material = off; SET jit = off; SET row_security = off";

/// PostgreSQL reads 0 as "no limit".
fn milliseconds(limit: std::time::Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).clamp(1, 2_147_483_647)
}
