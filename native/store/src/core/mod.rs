//! The store without threads: every call does its work on the calling thread and returns. One thread at a time commits
//! ([`Core::commit`] takes the log's lock); reads go on beside it.

mod batch;
mod checkpoint;
mod commit;
mod compact;
mod failure;
mod files;
mod list;
mod plan;
mod read;
mod recover;
mod reserve;
mod rollover;
mod scan;
mod scrub;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};

use crate::buffers::Buffers;
use crate::disk::Disk;
use crate::format::checksum::Place;
use crate::format::identity::Identity;
use crate::index::Index;
use crate::stats::Counters;
use crate::types::{DriveState, Result, Stats};

pub use failure::FAILED_FILE;
pub use files::SEGMENTS_DIR;
pub use plan::{Op, SealedStream};
pub use stream::Stream;

/// Settings of the core.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    pub reserve_bytes: u64,
    pub segment_bytes: u64,
    pub buffers: Arc<Buffers>,
}

pub struct Core {
    disk: Arc<dyn Disk>,
    identity: Identity,
    options: CoreOptions,
    index: RwLock<Index>,
    log: Mutex<rollover::Log>,
    files: files::Files,
    streams: Mutex<HashMap<u64, stream::OpenStream>>,
    /// The next epoch of a shared segment or id of a dedicated one; they share one sequence.
    next_epoch: AtomicU64,
    failure: Mutex<Option<failure::Failure>>,
    index_lost: AtomicBool,
    full: AtomicBool,
    space: Mutex<reserve::SpaceSeen>,
    dir: files::DirSync,
    checkpointing: Mutex<()>,
    compaction: Mutex<compact::Progress>,
    stats: Counters,
}

impl Core {
    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    fn place(&self, epoch: u64, salt: u64) -> Place {
        Place {
            drive: self.identity.drive,
            epoch,
            salt,
        }
    }

    pub fn generation(&self, pg: u64) -> u64 {
        self.index.read().generation(pg)
    }

    pub fn mark(&self, name: &str) -> Option<String> {
        self.index
            .read()
            .marks
            .get(name)
            .map(|mark| mark.value.clone())
    }

    /// Everything but the queue depth.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.snapshot();
        stats.drive = self.identity.drive;
        let space = self.space_seen();
        (stats.total_bytes, stats.free_bytes) = (space.total, space.free);
        {
            let index = self.index.read();
            let used: u64 = index
                .segments
                .values()
                .map(|shared| shared.used - crate::format::segment::SHARED_START)
                .sum();
            let live: u64 = index.segments.values().map(|shared| shared.live).sum();
            stats.live_bytes = live + index.dedicated_bytes;
            stats.dead_bytes = used - live;
            stats.shards = index.shards;
        }
        if let Some(reason) = self.failure_reason() {
            (stats.state, stats.reason) = (DriveState::Failed, reason);
        } else if self.is_full() {
            stats.state = DriveState::Full;
        }
        stats
    }

    /// Brings the index up to date; the last step before the core is dropped.
    pub fn close(&self) -> Result<()> {
        self.check_working()?;
        self.reap();
        self.checkpoint()
    }
}

#[cfg(test)]
mod tests;
