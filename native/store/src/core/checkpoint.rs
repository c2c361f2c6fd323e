//! Work behind the scenes that keeps recovery short and the folder tidy.

use std::sync::atomic::Ordering::Relaxed;

use super::Core;
use super::files::FileId;
use crate::limits::RECENT_ENTRIES;
use crate::types::{Result, StoreError};

impl Core {
    /// Whether so many changes wait that the index should be brought up to date now.
    pub fn wants_checkpoint(&self) -> bool {
        self.index.read().pending() >= RECENT_ENTRIES
    }

    pub fn has_changes(&self) -> bool {
        self.index.read().pending() > 0
    }

    /// Brings the index on the drive up to date with the log; durable when it returns.
    pub fn checkpoint(&self) -> Result<()> {
        self.check_working()?;
        let _one = self.checkpointing.lock();
        let checkpoint = self.index.write().begin_checkpoint();
        let written = checkpoint.write();
        let mut index = self.index.write();
        match written.and_then(|()| index.end_checkpoint(&checkpoint)) {
            Ok(()) => Ok(()),
            Err(error) => {
                index.abandon_checkpoint(checkpoint);
                if !matches!(error, StoreError::Full) {
                    // After a failed fsync not one byte more may be written to the file: it would become durable on top of
                    // what was lost, and the database could not see that.
                    return Err(self.fail("index", &std::io::Error::other(error)));
                }
                self.full.store(true, Relaxed);
                tracing::warn!("no room for the index");
                // The database refuses to go on after an error; the log still holds everything.
                index
                    .reopen(self.disk.as_ref())
                    .map_err(|error| match error {
                        StoreError::Full => error,
                        error => self.fail("index", &std::io::Error::other(error)),
                    })?;
                Err(error)
            }
        }
    }

    /// Removes the segments of shards that are gone, durably so.
    pub fn reap(&self) {
        if self.check_working().is_err() {
            return;
        }
        let unlinks = std::mem::take(&mut self.index.write().unlinks);
        for id in unlinks {
            let file = FileId::Dedicated(id);
            match self.disk.remove(&file.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = file.path(), "cannot remove a segment");
                }
                _ => {}
            }
            // After the removal: a reader that is just opening it must not leave it open, and its room taken.
            self.files.forget(file);
        }
    }
}
