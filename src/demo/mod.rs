//! The embedded default: mock cluster, registry, throw-away PostgreSQL.

pub mod capture;
pub mod registry;
