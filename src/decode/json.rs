//! Walks JSON with a compiled plan into slots.

pub mod maxwell;
pub mod nested;
pub mod recognise;
pub mod scan;
pub mod split;
pub mod template;
pub mod token;
pub mod walk;
