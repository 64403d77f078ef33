//! What happens to Silver when the source's schema changes: every row of the taxonomy, the captured histories, `plan` and `apply`.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod additive;
mod captures;
mod commands;
mod dropped;
mod narrowing;
mod refused;
mod rig;
mod waiting;
