//! Raw configuration -> checked configuration, every problem at once.
