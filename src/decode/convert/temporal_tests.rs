//! Tests of `temporal`.
