//! The data path of Anvil without Node: uploads, the job queue, reads and repair over placement groups of drives.
//!
//! [`Engine`] is the way in. See docs/ARCHITECTURE.md for the stored form and src/shared/native.ts for what each operation
//! promises.

mod drives;
mod engine;
mod error;
mod handles;
pub mod id;
mod jobs;
mod layout;
mod local;
mod memory;
mod read;
mod rebuild;
mod reencode;
mod registry;
mod reopen;
mod request;
mod small;
mod start;
pub mod target;
mod upload;
mod write;

pub use drives::OpenDrive;
pub use engine::{
    Damage, DamageListener, DamageReason, Engine, EngineOptions, EngineStats, Limits,
};
pub use error::{Error, Kind, Result};
pub use jobs::Listener;
pub use local::LocalTarget;
pub use read::{BlobSource, Read, ReadOptions};
pub use registry::{Pg, Registry};
pub use request::RequestId;
pub use small::{SmallDigest, crc_combine, digest, open_inline, seal_inline};
pub use upload::{Checksum, Flow, Upload, UploadOptions, UploadResult};

/// The CPU kernels in use, as `purpose:kernel`.
pub fn features() -> Vec<String> {
    anvil_codec::features()
}
