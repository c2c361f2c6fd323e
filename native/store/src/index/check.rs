//! Whether the index on the drive is what was written. Its pages are read from memory mostly, and without a look at their
//! checksums, so what turns on the drive would be found when the drive is opened the next time, or never: a page that is
//! changed gets a new checksum, over what has turned as well.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase};

use super::backend::Unreadable;
use super::{META, guarded, index_error};
use crate::disk::File;
use crate::limits::{INDEX_CHECK_CACHE_BYTES, PAGE_BYTES};
use crate::types::{Result, StoreError};

/// Reads the whole file and compares every page with its checksum. No checkpoint may be under way, `checkpoints` is the
/// number of the last one: a database whose newest state does not verify falls back to the one before.
pub fn check_file(file: Arc<dyn File>, checkpoints: u64) -> Result<()> {
    guarded(|| {
        let db = Database::builder()
            .set_cache_size(INDEX_CHECK_CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(Overlay::new(file)?)
            .map_err(index_error)?;
        let read = db.begin_read().map_err(index_error)?;
        let meta = read.open_table(META).map_err(index_error)?;
        let found = meta.get("checkpoints").map_err(index_error)?;
        let found = found.map_or(0, |number| number.value());
        if found == checkpoints {
            Ok(())
        } else {
            Err(StoreError::Index(format!(
                "its file holds checkpoint {found} in place of {checkpoints}"
            )))
        }
    })
}

/// The file as it is, with changes in front of it that never reach it: the database writes when it is opened.
struct Overlay {
    file: Arc<dyn File>,
    changes: Mutex<Changes>,
}

struct Changes {
    len: u64,
    /// Of the file, what counts has been cut off behind this.
    file_len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn new(file: Arc<dyn File>) -> io::Result<Self> {
        let len = file.len()?;
        let changes = Mutex::new(Changes {
            len,
            file_len: len,
            pages: BTreeMap::new(),
        });
        Ok(Self { file, changes })
    }

    /// Bytes of the file, zeros behind its end.
    fn below(&self, changes: &Changes, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = changes
            .file_len
            .saturating_sub(offset)
            .min(out.len() as u64) as usize;
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        if there.is_empty() {
            return Ok(());
        }
        crate::disk::read_exact_at(self.file.as_ref(), there, offset)
    }

    /// The parts of `offset..offset + len` that lie in one page each: page, offset in it, range of the bytes.
    fn parts(
        offset: u64,
        len: usize,
    ) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
        let end = offset + len as u64;
        (offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)).map(move |page| {
            let from = (page * PAGE_BYTES).max(offset);
            let to = ((page + 1) * PAGE_BYTES).min(end);
            let range = (from - offset) as usize..(to - offset) as usize;
            (page, (from - page * PAGE_BYTES) as usize, range)
        })
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("index file, to be checked")
    }
}

impl redb::StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes.lock();
        if offset + out.len() as u64 > changes.len {
            let short = io::ErrorKind::UnexpectedEof.into();
            return Err(io::Error::other(Unreadable(short)));
        }
        self.below(&changes, offset, out)
            .map_err(|error| io::Error::other(Unreadable(error)))?;
        for (page, at, range) in Self::parts(offset, out.len()) {
            if let Some(changed) = changes.pages.get(&page) {
                let bytes = &changed[at..at + range.len()];
                out[range].copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes.lock();
        if len < changes.len {
            let first = len.div_ceil(PAGE_BYTES);
            changes.pages.split_off(&first);
            let cut = (len % PAGE_BYTES) as usize;
            if let Some(page) = changes.pages.get_mut(&(len / PAGE_BYTES)) {
                page[cut..].fill(0);
            }
            changes.file_len = changes.file_len.min(len);
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.lock();
        for (page, at, range) in Self::parts(offset, data.len()) {
            if !changes.pages.contains_key(&page) {
                let mut bytes = vec![0; PAGE_BYTES as usize].into_boxed_slice();
                self.below(&changes, page * PAGE_BYTES, &mut bytes)?;
                changes.pages.insert(page, bytes);
            }
            let bytes = changes.pages.get_mut(&page).expect("just put there");
            bytes[at..at + range.len()].copy_from_slice(&data[range]);
        }
        Ok(())
    }
}
