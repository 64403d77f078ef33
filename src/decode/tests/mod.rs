//! Whole records through the decoder.
