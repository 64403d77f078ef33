//! Wire format: magic byte, schema id, no value.
