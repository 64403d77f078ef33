//! The captured histories of schema changes, in their encodings, with an operator who runs what is printed.
