//! The drives of this host: opening and closing them, and what is asked of one by its id.

use std::path::PathBuf;
use std::sync::Arc;

use anvil_store::{DriveStore, OpenOptions, OpenReport, Probe, Stats, StoreError};

use crate::engine::{Damage, DamageReason, Engine};
use crate::error::{Error, Kind, Result};
use crate::id::{Id128, hex};
use crate::local::LocalTarget;
use crate::reopen::Reopening;
use crate::target::{ShardError, ShardKey, ShardTarget};

/// An open drive and how it was opened.
#[derive(Clone)]
pub struct OpenDrive {
    pub store: DriveStore,
    pub(crate) options: OpenOptions,
    pub(crate) reopening: Arc<Reopening>,
}

impl Engine {
    /// What lies at `path`, without locking or changing it.
    pub async fn probe_drive(&self, path: PathBuf) -> Result<Probe> {
        Ok(self.blocking(move || DriveStore::probe(&path)).await??)
    }

    pub async fn create_drive(&self, path: PathBuf, deployment: Id128, drive: Id128) -> Result<()> {
        Ok(self
            .blocking(move || DriveStore::create(&path, deployment, drive))
            .await??)
    }

    /// Opens a drive and makes it a target for placement groups.
    pub async fn open_drive(&self, mut options: OpenOptions) -> Result<OpenReport> {
        options.buffers = self.buffers.clone();
        let opened = options.clone();
        let (store, report) = self.blocking(move || DriveStore::open(options)).await??;
        // Opened again, it must be the same drive.
        let options = OpenOptions {
            drive: Some(report.drive),
            ..opened
        };
        let reopening = Arc::default();
        let open = OpenDrive {
            store: store.clone(),
            options,
            reopening,
        };
        self.registry
            .add_target(report.drive, Arc::new(LocalTarget(store)));
        self.drives.write().insert(report.drive, open);
        Ok(report)
    }

    /// Takes the drive out of use, flushes and unlocks it. No error if it is not open.
    pub async fn close_drive(&self, drive: Id128) {
        self.registry.remove_target(&drive);
        let open = self.drives.write().remove(&drive);
        if let Some(open) = open {
            open.store.close().await;
        }
    }

    pub fn drive(&self, drive: &Id128) -> Result<DriveStore> {
        let drives = self.drives.read();
        let open = drives.get(drive).map(|open| open.store.clone());
        open.ok_or_else(|| not_open(drive))
    }

    /// Path and numbers of each open drive.
    pub fn drive_stats(&self) -> Vec<(PathBuf, Stats)> {
        let drives: Vec<OpenDrive> = self.drives.read().values().cloned().collect();
        drives
            .into_iter()
            .map(|open| (open.options.path, open.store.stats()))
            .collect()
    }

    /// Durably removes shards, each under its generation, from a drive of this host or another.
    pub async fn delete_shards(&self, drive: &Id128, shards: Vec<(ShardKey, u64)>) -> Result<()> {
        let deleting = self.known_drive(drive)?.delete(shards);
        Ok(deleting.await?)
    }

    /// Whether each shard lies sealed and whole on a drive of this host or another.
    pub async fn has_shards(&self, drive: &Id128, shards: Vec<ShardKey>) -> Result<Vec<bool>> {
        let asking = self.known_drive(drive)?.has(shards);
        Ok(asking.await?)
    }

    fn known_drive(&self, drive: &Id128) -> Result<Arc<dyn ShardTarget>> {
        self.registry.target(drive).ok_or_else(|| not_open(drive))
    }

    /// One step of scrubbing. What it found damaged also goes to the damage listener.
    pub async fn scrub_drive(
        &self,
        drive: Id128,
        cursor: Option<Vec<u8>>,
        max_bytes: u64,
    ) -> Result<anvil_store::ScrubStep> {
        let scrubbing = self.drive(&drive)?.scrub(cursor, max_bytes);
        let step = scrubbing.await?;
        for (shard, reason) in &step.damaged {
            let reason = match reason {
                anvil_store::DamageReason::Crc => DamageReason::Crc,
                anvil_store::DamageReason::Missing => DamageReason::Missing,
                anvil_store::DamageReason::Io => DamageReason::Io,
            };
            self.report_damage(Damage {
                shard: *shard,
                drive,
                reason,
            });
        }
        Ok(step)
    }
}

fn not_open(drive: &Id128) -> Error {
    let text = format!("drive {} is not open", hex(drive));
    Error::new(Kind::DriveFailed, text)
}

impl From<ShardError> for Error {
    fn from(error: ShardError) -> Error {
        let kind = match &error {
            ShardError::NotFound
            | ShardError::Corrupt
            | ShardError::Stalled
            | ShardError::Unreachable(_) => Kind::ShardsUnavailable,
            ShardError::Stale { .. } => Kind::StaleGeneration,
            ShardError::Full => Kind::InsufficientStorage,
            ShardError::Failed(_) | ShardError::Io(_) | ShardError::Closed => Kind::DriveFailed,
        };
        Error::new(kind, error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        let kind = match &error {
            StoreError::NotFound | StoreError::Corrupt { .. } => Kind::ShardsUnavailable,
            StoreError::StaleGeneration { .. } => Kind::StaleGeneration,
            StoreError::Full => Kind::InsufficientStorage,
            StoreError::Failed(_)
            | StoreError::Io(_)
            | StoreError::Index(_)
            | StoreError::Closed => Kind::DriveFailed,
            StoreError::Mismatch(_) => Kind::DriveMismatch,
            StoreError::Locked => Kind::DriveLocked,
            StoreError::Invalid(_) => Kind::Internal,
        };
        Error::new(kind, error.to_string())
    }
}
