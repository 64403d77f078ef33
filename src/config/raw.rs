//! Serde mirror of the configuration file.
