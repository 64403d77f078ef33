//! Logs, metrics and health.

pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
pub mod names;
