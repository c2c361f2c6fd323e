//! The bound of what peers make this process hold: together, of one peer, for one drive. Whoever is above it waits, and with
//! it its stream.

use std::collections::HashMap;
use std::sync::Arc;

use anvil_engine::id::Id128;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::ReceiveLimits;

/// Unit in which bytes are counted.
const UNIT_BYTES: usize = 1024;

pub(super) struct Memory {
    limits: ReceiveLimits,
    total: Arc<Semaphore>,
    drives: Mutex<HashMap<Id128, Arc<Semaphore>>>,
}

/// Bytes taken; dropping gives them back.
pub(super) struct Held {
    _permits: [OwnedSemaphorePermit; 3],
}

/// The share of one peer's connection.
#[derive(Clone)]
pub(super) struct Share {
    memory: Arc<Memory>,
    peer: Arc<Semaphore>,
}

impl Memory {
    pub(super) fn new(limits: ReceiveLimits) -> Arc<Memory> {
        Arc::new(Memory {
            limits,
            total: semaphore(limits.total_bytes),
            drives: Mutex::default(),
        })
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share {
            memory: self.clone(),
            peer: semaphore(self.limits.peer_bytes),
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        let free = self.total.available_permits() * UNIT_BYTES;
        (self.limits.total_bytes / UNIT_BYTES * UNIT_BYTES).saturating_sub(free)
    }

    /// Only drives that are open here get so far, so their number is bounded.
    fn drive(&self, drive: Id128) -> Arc<Semaphore> {
        let mut drives = self.drives.lock();
        let bytes = self.limits.drive_bytes;
        drives
            .entry(drive)
            .or_insert_with(|| semaphore(bytes))
            .clone()
    }
}

impl Share {
    /// Waits until so much may be held. The narrowest bound is taken first, so that nobody waits for it with a part of the
    /// others'.
    pub(super) async fn take(&self, drive: Id128, bytes: usize) -> Held {
        let limits = &self.memory.limits;
        let of_drive = take(self.memory.drive(drive), bytes, limits.drive_bytes).await;
        let of_peer = take(self.peer.clone(), bytes, limits.peer_bytes).await;
        let of_all = take(self.memory.total.clone(), bytes, limits.total_bytes).await;
        Held {
            _permits: [of_drive, of_peer, of_all],
        }
    }
}

fn semaphore(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / UNIT_BYTES).max(1)))
}

/// What is larger than the whole bound takes all of it.
async fn take(from: Arc<Semaphore>, bytes: usize, bound: usize) -> OwnedSemaphorePermit {
    let units = bytes
        .div_ceil(UNIT_BYTES)
        .clamp(1, (bound / UNIT_BYTES).max(1));
    match from.acquire_many_owned(units as u32).await {
        Ok(permit) => permit,
        // Nothing closes these semaphores.
        Err(closed) => unreachable!("{closed}"),
    }
}
