//! Whole records through the decoder.

mod capture;
mod oracle;
mod random_schemas;
mod rules;
mod schema_ids;
mod shop;
mod strict;
mod tables;
