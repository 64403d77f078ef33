//! Whole records through the decoder.

mod capture;
mod oracle;
mod rules;
mod shop;
mod strict;
mod tables;
