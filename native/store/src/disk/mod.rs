//! Everything the store asks of the world: files, free space, time, chance. Paths are relative to the drive's folder.

#[cfg(any(test, feature = "sim"))]
mod deeds;
mod real;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

use std::io::{self, IoSlice};
use std::sync::Arc;

pub use real::RealDisk;

/// One drive's folder.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file. NotFound if there is none.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Makes a new, empty file, replacing one that is there. Durable only after `sync_dir`.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Removes a file. Those who have it open go on using it.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names of the files of a folder.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes creations and removals in a folder durable. `""` is the drive's folder itself.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes a small file, durably, in the folder that was opened, wherever it is by now: also when it has been moved or its
    /// file system unmounted lazily, and its path names nothing or another folder.
    fn leave_word(&self, name: &str, text: &[u8]) -> io::Result<()>;
    fn space(&self) -> io::Result<Space>;
    /// Whether the folder is still there and still a drive's; an error of which [`is_gone`] holds if it is not.
    fn check_there(&self) -> io::Result<()>;
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> u64;
    fn random(&self) -> u64;
    /// For the log: how I/O is done.
    fn name(&self) -> &'static str;
}

/// Of the file system the drive lies on. Bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

pub trait File: Send + Sync + 'static {
    /// Fills `buffer` from `offset`; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Fills `buffer` from what the operating system holds in memory; false if that is not all of it.
    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool>;
    /// Writes all of `parts`, one behind the other, at `offset`.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes everything written before durable (data, and the length of the file).
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Whether the file still has a name: what goes to one without is lost when the last handle is closed.
    fn is_linked(&self) -> io::Result<bool>;
    /// Reserves room for `len` bytes without changing the length. A hint: an error other than ENOSPC may be ignored.
    fn reserve(&self, len: u64) -> io::Result<()>;
}

/// Reads exactly `buffer.len()` bytes; UnexpectedEof if the file is shorter.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    match file.read_at(buffer, offset)? {
        read if read == buffer.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether the file system said that it has no room (or the user no quota) left.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Whether the file system said that what the path named is not there any more: removed, renamed, unmounted, unplugged.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOENT
                | libc::ENOTDIR
                | libc::ESTALE
                | libc::ENODEV
                | libc::ENXIO
                | libc::ENOTCONN
        )
    )
}
