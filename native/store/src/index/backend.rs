//! redb on a file of the drive's [`Disk`](crate::disk::Disk), so that the simulation can crash it too.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::disk::{File, read_exact_at};

/// An error of reading, as opposed to one of writing: the file can be made again from the log.
#[derive(Debug)]
pub struct Unreadable(pub io::Error);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

pub struct Backend(pub Arc<dyn File>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("index file")
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(self.0.as_ref(), out, offset)
            .map_err(|error| io::Error::other(Unreadable(error)))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(&[IoSlice::new(data)], offset)
    }
}
