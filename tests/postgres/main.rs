//! The destination against a real PostgreSQL: one throw-away server for the binary, one database for each test.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod claims;
mod connecting;
mod epochs;
mod faults;
mod load;
mod plans;
#[cfg(feature = "system")]
mod pooler;
mod rows;
mod server;
mod tables;
mod toast;
mod together;
mod truncates;
mod wide;
mod write;
