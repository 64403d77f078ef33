//! The destination: the only place that knows tokio-postgres.

pub mod readback;
