//! Free space: the reserve that no shard may touch.

use std::sync::atomic::Ordering::Relaxed;

use super::Core;
use crate::disk::{Space, is_gone};
use crate::limits::SPACE_CACHE_MS;
use crate::types::{Result, StoreError};

/// The last look at the file system, less what was written since.
pub struct SpaceSeen {
    at_ms: u64,
    seen: Space,
    /// The last look failed; said once.
    failing: bool,
}

impl Default for SpaceSeen {
    fn default() -> Self {
        Self {
            at_ms: 0,
            seen: Space { total: 0, free: 0 },
            failing: false,
        }
    }
}

impl Core {
    pub(super) fn space_seen(&self) -> Space {
        let now = self.disk.now_ms();
        let mut space = self.space.lock();
        if now.abs_diff(space.at_ms) >= SPACE_CACHE_MS || (space.seen.total == 0 && !space.failing)
        {
            let looked = self.disk.space().and_then(|seen| {
                self.disk.check_there()?;
                Ok(seen)
            });
            // After a failed look too: the next one comes when it would have come.
            space.at_ms = now;
            let failing = looked.is_err();
            match looked {
                Ok(seen) => space.seen = seen,
                Err(error) if is_gone(&error) => drop(self.gone(&error.to_string())),
                Err(error) if !space.failing => {
                    tracing::warn!(%error, "cannot ask for free space; the last answer counts until it can")
                }
                Err(_) => {}
            }
            if space.failing && !failing {
                tracing::info!("free space is known again");
            }
            space.failing = failing;
        }
        space.seen
    }

    /// Room for `bytes` of a new shard without touching the reserve, or Full. Counts them as used until the next look.
    pub(super) fn admit(&self, bytes: u64) -> Result<()> {
        let free = self.space_seen().free;
        if free < self.options.reserve_bytes.saturating_add(bytes) {
            self.full.store(true, Relaxed);
            return Err(StoreError::Full);
        }
        self.full.store(false, Relaxed);
        let mut space = self.space.lock();
        space.seen.free = space.seen.free.saturating_sub(bytes);
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        let free = self.space_seen().free;
        if self.full.load(Relaxed) && free > self.options.reserve_bytes {
            self.full.store(false, Relaxed);
        }
        self.full.load(Relaxed) || free < self.options.reserve_bytes
    }

    pub(super) fn space_ran_out(&self) {
        self.full.store(true, Relaxed);
        self.space.lock().seen.free = 0;
    }
}
