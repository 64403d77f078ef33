//! The embedded default: mock cluster, registry, throw-away PostgreSQL.
