//! Whole records through the decoder.

mod capture;
mod facts;
mod fanout;
mod json_rules;
mod oracle;
mod prefixes;
mod random_schemas;
mod repeats;
mod rules;
mod schema_ids;
mod shop;
mod sources;
mod strict;
mod tables;
