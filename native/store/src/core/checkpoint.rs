//! Work behind the scenes that keeps recovery short and the folder tidy.

use std::sync::atomic::Ordering::Relaxed;

use super::Core;
use super::files::FileId;
use crate::index::check_file;
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
                    return Err(self.index_failed(error));
                }
                self.full.store(true, Relaxed);
                tracing::warn!("no room for the index");
                // The database refuses to go on after an error; the log still holds everything.
                index
                    .reopen(self.disk.as_ref())
                    .map_err(|error| match error {
                        StoreError::Full => error,
                        error => self.index_failed(error),
                    })?;
                Err(error)
            }
        }
    }

    /// Reads all of the index on the drive. While it does, no checkpoint is made; everything else goes on.
    pub fn check_index_file(&self) -> Result<()> {
        let _quiet = self.checkpointing.lock();
        self.check_working()?;
        let (file, checkpoints) = {
            let index = self.index.read();
            (index.file.clone(), index.checkpoints)
        };
        self.trusted(check_file(file, checkpoints))
    }

    /// What an index that cannot follow means: rebuilt it can be if it cannot be read, and after a failed write or fsync the
    /// drive is out for good.
    pub(super) fn index_failed(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Index(why) => self.index_lost(&why),
            error => self.fail("index", &std::io::Error::other(error)),
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
