//! Handles: positive integers that are never used again, valid on every thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

/// Things under their handles.
pub struct Handles<T> {
    next: AtomicU64,
    live: RwLock<HashMap<u64, Arc<T>>>,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles {
            next: AtomicU64::new(1),
            live: RwLock::default(),
        }
    }
}

impl<T> Handles<T> {
    pub fn add(&self, thing: Arc<T>) -> u64 {
        let handle = self.next.fetch_add(1, Relaxed);
        self.live.write().insert(handle, thing);
        handle
    }

    pub fn find(&self, handle: u64) -> Option<Arc<T>> {
        self.live.read().get(&handle).cloned()
    }

    pub fn remove(&self, handle: u64) -> Option<Arc<T>> {
        self.live.write().remove(&handle)
    }

    pub fn count(&self) -> usize {
        self.live.read().len()
    }
}
