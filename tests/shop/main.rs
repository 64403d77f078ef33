//! The captured shop lands right in Silver, in each form, however it is read and whatever fails meanwhile.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod faults;
mod forms;
mod holes;
mod kill;
mod logs;
mod ready;
mod rig;
mod schema_ids;
