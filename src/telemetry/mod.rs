//! Logs, metrics and health.

pub mod health;
pub mod held;
pub mod http;
pub mod log;
pub mod metrics;
pub mod names;
