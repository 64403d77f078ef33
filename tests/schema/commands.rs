//! `plan` and `apply` as processes: what they print, their exit codes, and what they leave in the database.
