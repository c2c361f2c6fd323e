//! The store of one drive. See native/CONTRACT.md.

pub mod core;
pub mod disk;
mod driver;
mod folder;
pub mod format;
mod index;
pub mod limits;
#[cfg(test)]
mod simulation;
mod stats;
mod types;

pub use driver::{DriveStore, ShardWriter};
pub use types::*;
