//! SQL text, the only place that builds it.
