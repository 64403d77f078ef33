//! Bytes of one record -> what Debezium means by them, already in PostgreSQL's binary form. Pure: no I/O, no clock.
//!
//! Order of reading: [`topic`] leads; [`wire`] finds the encoding, [`identify`] the schema, [`schema`] describes it,
//! [`plan`] compiles it once against the Silver table, `walking` takes the record through its plan: [`avro`] and [`json`]
//! walk the bytes into [`slot::Slot`]s and [`facts`], [`envelope`] and [`sequence`] give op and version, [`convert`] writes
//! each slot as a PostgreSQL binary field, [`row`] gathers the fields.

pub mod avro;
mod change;
pub mod convert;
pub mod envelope;
pub mod facts;
mod fanout;
pub mod identify;
mod identity;
pub mod json;
pub mod keytext;
mod oldkey;
pub mod places;
pub mod plan;
pub mod readable;
pub mod registry_id;
pub mod row;
pub mod schema;
pub mod sequence;
pub mod skip;
pub mod slot;
mod source_names;
mod sources;
pub mod topic;
mod value;
mod walking;
pub mod wire;

#[cfg(test)]
mod tests;

pub use change::{Change, ChangeKind, Decoded};
pub use identify::{PlanNeed, SchemaId};
pub use places::UNPLACED;
pub use registry_id::{PayloadId, RegistryId};
pub use row::RowBuffer;
pub use skip::SkipRule;
pub use topic::TopicDecoder;
