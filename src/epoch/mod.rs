//! Source epochs: how the data tells that a source's positions start over, and which epoch a record belongs to. Pure.
//!
//! A version orders changes only while the source's positions grow. A new replication slot, a restored or a new cluster
//! and a snapshot from scratch start them over; the source epoch, the first part of the version, puts everything after
//! such a moment above everything before it. [`lineage`] watches one source in one partition and finds the moment;
//! [`epochs`] gives it a number that all partitions of the source share; [`tracker`] says of each record of a partition
//! which epoch it is in; [`stored`] is the form of lineages in the destination.

#[cfg(test)]
mod apart_tests;
pub mod epochs;
pub mod lineage;
pub mod stored;
#[cfg(test)]
mod tests;
pub mod tracker;

pub use epochs::{Entered, Epoch, Epochs};
pub use lineage::{Lineage, Sighting, Signal};
pub use tracker::{Placed, Start, Tracker};
