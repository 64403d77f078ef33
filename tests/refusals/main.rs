//! Bad input and a bad world get an answer: each test runs the binary and reads what on-call would read.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod dependencies;
mod poison;
mod positions;
mod records;
mod rig;
mod secrets;
mod tables;
mod topics;
mod worker;
