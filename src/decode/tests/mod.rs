//! Whole records through the decoder.

mod capture;
mod facts;
mod oracle;
mod rules;
mod shop;
mod strict;
mod tables;
