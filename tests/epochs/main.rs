//! Source epochs end to end: positions that start over, in captures of real Debezium and by hand, through the real worker.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod captures;
mod commands;
mod hand;
mod registry;
mod rig;
mod suspicions;
mod tripwire;
