//! The embedded default: mock cluster, registry, throw-away PostgreSQL.

pub mod binaries;
pub mod capture;
pub mod ground_truth;
pub mod poison;
pub mod registry;
pub mod screen;
pub mod script;
pub mod throwaway;
