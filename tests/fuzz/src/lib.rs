//! The pure modules of Silversink as a crate of their own, what decodes bytes and checks configurations, and the targets.

// The targets name the crate as `make test` does, where it is the whole of Silversink.
extern crate self as silversink;

#[path = "../../../src/batch/mod.rs"]
pub mod batch;
#[path = "../../../src/config/mod.rs"]
pub mod config;
#[path = "../../../src/decode/mod.rs"]
pub mod decode;
#[path = "../../../src/epoch/mod.rs"]
pub mod epoch;
#[path = "../../../src/fault.rs"]
pub mod fault;
#[path = "../../../src/record.rs"]
pub mod record;
#[path = "../../../src/route.rs"]
pub mod route;
#[path = "../../../src/table.rs"]
pub mod table;
#[path = "../targets/mod.rs"]
pub mod targets;
#[path = "../../../src/version.rs"]
pub mod version;
