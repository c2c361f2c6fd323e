//! Buffers of stripes and reads that are used again: fresh ones cost a page fault every 4 KiB, which is more than encoding or
//! reading from the page cache costs. All but
//! small ones are pages of their own and not the allocator's: what is given back is the system's again, however the
//! rest of the process allocates. (Of a burst of 500 uploads glibc kept 300 MiB in the gaps of its heap for good.)

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::MmapMut;
use parking_lot::Mutex;

/// Buffers up to this size are not kept: the allocator is as good at them.
const LEAST_BYTES: usize = 8 * 1024;
/// From this size on, buffers are pages of their own.
const LEAST_PAGES_BYTES: usize = 32 * 1024;
/// Sizes are rounded up by at most an eighth, and to pages, so that different bodies find the same buffers.
const SIZES_PER_DOUBLING: usize = 8;
const PAGE_BYTES: usize = 4096;
/// Kept at most, whatever the bound of the memory.
const MOST_IDLE_BYTES: usize = 64 << 20;
/// And at most this share of that bound.
const IDLE_SHARE: u64 = 16;

/// The buffers that wait for their next use. They are not counted in the engine's memory budget.
pub struct Buffers {
    most_idle: usize,
    idle: Mutex<Idle>,
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers")
            .field("most_idle", &self.most_idle)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Idle {
    by_size: BTreeMap<usize, Vec<Memory>>,
    bytes: usize,
}

impl Buffers {
    /// Keeps at most a sixteenth of the memory that the process may use for bodies.
    pub fn new(memory_limit_bytes: u64) -> Arc<Buffers> {
        let share = usize::try_from(memory_limit_bytes / IDLE_SHARE).unwrap_or(usize::MAX);
        Arc::new(Buffers {
            most_idle: share.min(MOST_IDLE_BYTES),
            idle: Mutex::default(),
        })
    }

    /// A buffer of `bytes`, best one that [`size`] gave. What is in it does not matter to anyone and must not be shown.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        let used = {
            let mut idle = self.idle.lock();
            let used = idle.by_size.get_mut(&bytes).and_then(Vec::pop);
            idle.bytes -= used.as_ref().map_or(0, |used| used.len());
            used
        };
        Buffer {
            bytes: used.unwrap_or_else(|| Memory::new(bytes)),
            home: self.clone(),
        }
    }

    fn give_back(&self, buffer: Memory) {
        let bytes = buffer.len();
        if bytes < LEAST_BYTES || bytes > self.most_idle {
            return;
        }
        let mut idle = self.idle.lock();
        let mut unused = Vec::new();
        while idle.bytes + bytes > self.most_idle {
            // Sizes that nobody asks for now make room for the one that somebody does.
            let other = idle.by_size.iter_mut();
            let other = other
                .filter(|(size, kept)| **size != bytes && !kept.is_empty())
                .max_by_key(|(_, kept)| kept.len())
                .and_then(|(_, kept)| kept.pop());
            let Some(other) = other else {
                return;
            };
            idle.bytes -= other.len();
            unused.push(other);
        }
        idle.bytes += bytes;
        idle.by_size.entry(bytes).or_default().push(buffer);
        drop(idle);
        drop(unused);
    }
}

/// The size of buffer to take for `bytes`.
pub fn size(bytes: usize) -> usize {
    if bytes < LEAST_BYTES {
        return bytes;
    }
    let doubling = 1 << bytes.ilog2();
    bytes.next_multiple_of((doubling / SIZES_PER_DOUBLING).max(PAGE_BYTES))
}

enum Memory {
    Heap(Box<[u8]>),
    Pages(MmapMut),
}

impl Memory {
    fn new(bytes: usize) -> Memory {
        if bytes >= LEAST_PAGES_BYTES {
            match MmapMut::map_anon(bytes) {
                Ok(pages) => return Memory::Pages(pages),
                // Too many mappings, perhaps: the heap may still have it.
                Err(error) => tracing::warn!(%error, bytes, "no pages for a stripe buffer"),
            }
        }
        Memory::Heap(vec![0; bytes].into_boxed_slice())
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::Heap(Box::default())
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Pages(pages) => pages,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Pages(pages) => pages,
        }
    }
}

/// A buffer in use; dropping it makes it available again.
pub struct Buffer {
    bytes: Memory,
    home: Arc<Buffers>,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_what_is_idle_is_bounded() {
        let buffers = Buffers::new(16 << 20);
        assert_eq!(buffers.most_idle, 1 << 20);
        let mut first = buffers.take(1 << 19);
        first[0] = 7;
        drop(first);
        assert_eq!(buffers.take(1 << 19)[0], 7);
        drop((0..5).map(|_| buffers.take(1 << 19)).collect::<Vec<_>>());
        assert_eq!(buffers.idle.lock().bytes, 1 << 20);
        // Another size takes the room over; what is larger than all of it is not kept.
        drop((buffers.take(1 << 20), buffers.take(2 << 20)));
        let idle = buffers.idle.lock();
        assert_eq!((idle.bytes, idle.by_size[&(1 << 20)].len()), (1 << 20, 1));
    }

    #[test]
    fn sizes_are_little_more_than_what_is_needed() {
        for bytes in (1..200_000).step_by(61).chain([6 << 20, 5_000_001]) {
            let size = size(bytes);
            assert!(size >= bytes && size - bytes <= (bytes / 8).max(PAGE_BYTES));
            assert_eq!(super::size(size), size);
        }
    }
}
