//! Op, version and source time of a record.
