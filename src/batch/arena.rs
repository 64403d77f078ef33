//! The fold: at most one row per key.
