//! Walks Avro binary with a compiled plan into slots.
