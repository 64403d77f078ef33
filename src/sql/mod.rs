//! SQL text, the only place that builds it. Pure: no connection, no clock.

pub mod again;
pub mod alteration;
pub mod base;
pub mod catalogue;
pub mod ddl;
pub mod epochs;
pub mod exchange;
pub mod floor;
pub mod ident;
pub mod ledger;
pub mod load;
pub mod merge;
pub mod settle;
pub mod source;
pub mod stage;
