//! The files of the segments: names, open ones, those that readers hold.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::disk::{Disk, File};
use crate::limits::OPEN_FILES;

pub const SEGMENTS_DIR: &str = "segments";

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileId {
    /// By slot: the file is used again under another epoch.
    Shared(u64),
    /// By id, never used again.
    Dedicated(u64),
}

impl FileId {
    pub fn path(self) -> String {
        match self {
            Self::Shared(slot) => format!("{SEGMENTS_DIR}/s-{slot:08x}.seg"),
            Self::Dedicated(id) => format!("{SEGMENTS_DIR}/d-{id:016x}.seg"),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let stem = name.strip_suffix(".seg")?;
        match stem.split_at_checked(2)? {
            ("s-", slot) => number(slot).map(Self::Shared),
            ("d-", id) => number(id).map(Self::Dedicated),
            _ => None,
        }
    }
}

/// The file, and when it was last asked for.
type Open = (Arc<dyn File>, u64);

/// Open files, the least recently used closed first, and the segments that are being read.
pub struct Files {
    disk: Arc<dyn Disk>,
    open: Mutex<HashMap<FileId, Open>>,
    clock: AtomicU64,
    pins: Mutex<HashMap<u64, u32>>,
}

impl Files {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            open: Mutex::default(),
            clock: AtomicU64::new(0),
            pins: Mutex::default(),
        }
    }

    pub fn file(&self, id: FileId) -> io::Result<Arc<dyn File>> {
        let now = self.clock.fetch_add(1, Relaxed);
        if let Some((file, used)) = self.open.lock().get_mut(&id) {
            *used = now;
            return Ok(file.clone());
        }
        let file = self.disk.open(&id.path())?;
        let mut open = self.open.lock();
        if open.len() >= OPEN_FILES {
            let oldest = open
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(id, _)| *id);
            oldest.and_then(|id| open.remove(&id));
        }
        open.insert(id, (file.clone(), now));
        Ok(file)
    }

    pub fn forget(&self, id: FileId) {
        self.open.lock().remove(&id);
    }

    /// Keeps a shared segment from being used again. To be called while the index still names it.
    pub fn pin(&self, epoch: u64) -> Pin<'_> {
        *self.pins.lock().entry(epoch).or_default() += 1;
        Pin { files: self, epoch }
    }

    pub fn is_pinned(&self, epoch: u64) -> bool {
        self.pins.lock().contains_key(&epoch)
    }
}

pub struct Pin<'a> {
    files: &'a Files,
    epoch: u64,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.files.pins.lock();
        match pins.get_mut(&self.epoch) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(pins.remove(&self.epoch)),
        }
    }
}

/// One fsync of the folder for all who made a file before it.
#[derive(Default)]
pub struct DirSync {
    created: AtomicU64,
    synced: Mutex<u64>,
}

impl DirSync {
    /// A file has been made; its name is durable after `sync` with this number.
    pub fn created(&self) -> u64 {
        self.created.fetch_add(1, Relaxed) + 1
    }

    pub fn sync(&self, disk: &dyn Disk, number: u64) -> io::Result<()> {
        let mut synced = self.synced.lock();
        if *synced < number {
            let upto = self.created.load(Relaxed);
            disk.sync_dir(SEGMENTS_DIR)?;
            *synced = upto;
        }
        Ok(())
    }
}
