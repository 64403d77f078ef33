//! `source.sequence` of PostgreSQL.
