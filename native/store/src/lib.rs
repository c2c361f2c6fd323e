//! The store of one drive. See native/CONTRACT.md.

pub mod disk;
pub mod format;
pub mod limits;
mod stub;
mod types;

pub use stub::{DriveStore, ShardWriter};
pub use types::*;
