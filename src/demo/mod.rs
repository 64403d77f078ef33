//! The embedded default: mock cluster, registry, throw-away PostgreSQL.
//!
//! Order of reading: [`capture`] reads what a real connector wrote, [`poison`] adds what can never be applied,
//! [`script`] says what is played and how it must end, [`stage`] starts what it runs on ([`registry`], [`throwaway`],
//! [`binaries`]), [`play`] runs the worker on it, [`ground_truth`] compares Silver with the source, [`screen`] shows it.

pub mod binaries;
pub mod capture;
pub mod ground_truth;
pub mod play;
pub mod poison;
pub mod registry;
pub mod screen;
pub mod script;
pub mod stage;
pub mod throwaway;
