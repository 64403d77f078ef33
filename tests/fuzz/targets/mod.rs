//! The fuzz targets: functions that take any bytes and panic when a promise is broken.

pub mod avro;
pub mod config;
pub mod json;
pub mod shapes;
pub mod values;
pub mod version;
pub mod wire;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its directory of seeds.
pub const ALL: [(&str, Target); 6] = [
    ("wire", wire::check),
    ("avro", avro::check),
    ("json", json::check),
    ("values", values::check),
    ("version", version::check),
    ("config", config::check),
];
