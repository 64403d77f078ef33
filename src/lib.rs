//! Silversink: Debezium topics in, guarded PostgreSQL Silver tables out.
//!
//! Data flows `RawRecord -> Envelope -> Change -> Batch -> Applied -> position` and never back.

pub mod batch;
pub mod cli;
pub mod config;
pub mod core;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod epoch;
pub mod explain;
pub mod fault;
pub mod kafka;
pub mod postgres;
pub mod record;
pub mod registry;
pub mod route;
pub mod silver;
pub mod sql;
pub mod table;
pub mod telemetry;
pub mod version;
pub mod worker;
