//! Walks JSON with a compiled plan into slots.
