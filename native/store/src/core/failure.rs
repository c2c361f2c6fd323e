//! A drive that failed stays failed: what the kernel holds of it can no longer be told from what the drive holds.

use std::io;

use std::sync::atomic::Ordering::Relaxed;

use super::Core;
use crate::disk::{Disk, File, is_gone, is_no_space};
use crate::index::{INDEX_FILE, Index};
use crate::stats::add;
use crate::types::{Result, StoreError};

/// Written, as well as it can be, when a write or an fsync fails, so that a restart does not try again: after a failed fsync
/// the page cache shows bytes that never reached the drive. A person looks at the drive and removes the file.
pub const FAILED_FILE: &str = "failed";

/// Why a drive is out until it is opened again.
pub(super) enum Failure {
    /// What it holds is in doubt. Word of it was left on the drive, as well as that could be done.
    InDoubt(String),
    /// Its folder went away. What is found out later may still put in doubt what it holds: a write that was under way then.
    Gone(String),
    /// Its index cannot be trusted. The log is in order, and the index is made from it when the drive is opened again.
    Index(String),
}

impl Failure {
    fn reason(&self) -> &str {
        match self {
            Self::InDoubt(reason) | Self::Gone(reason) | Self::Index(reason) => reason,
        }
    }
}

impl Core {
    pub fn check_working(&self) -> Result<()> {
        self.failure_reason()
            .map_or(Ok(()), |reason| Err(StoreError::Failed(reason)))
    }

    pub(super) fn failure_reason(&self) -> Option<String> {
        Some(self.failure.lock().as_ref()?.reason().to_owned())
    }

    /// Whether it failed in a way that opening it again mends: its index has to be rebuilt, or its folder was away.
    pub fn reopens(&self) -> bool {
        matches!(
            self.failure.lock().as_ref(),
            Some(Failure::Gone(_) | Failure::Index(_))
        )
    }

    /// Refuses to conclude anything from an index that is known to be wrong.
    pub(super) fn check_index(&self) -> Result<()> {
        if self.index_lost.load(Relaxed) {
            self.check_working()
        } else {
            Ok(())
        }
    }

    /// Asks the index. An error that is the index's takes the drive out until it is opened again.
    pub(super) fn indexed<T>(&self, ask: impl FnOnce(&Index) -> Result<T>) -> Result<T> {
        self.check_index()?;
        let answer = ask(&self.index.read());
        self.trusted(answer)
    }

    /// The same for an answer that there is.
    pub(super) fn trusted<T>(&self, answer: Result<T>) -> Result<T> {
        answer.map_err(|error| match error {
            StoreError::Index(why) => self.index_lost(&why),
            error => error,
        })
    }

    /// The index is not what the log says: its file goes, so that the next open makes it again. Were it left there, a page that
    /// was written anew over what had turned would have a checksum that matches.
    pub(super) fn index_lost(&self, why: &str) -> StoreError {
        if self.disk.check_there().is_err_and(|error| is_gone(&error)) {
            return self.gone(&format!("index: {why}"));
        }
        let mut failure = self.failure.lock();
        if let Some(failure) = failure.as_ref() {
            return StoreError::Failed(failure.reason().to_owned());
        }
        let reason = format!("index: {why}; it is rebuilt when the drive is opened again");
        tracing::error!(drive = %crate::format::identity::hex(&self.identity.drive), %reason, "drive failed");
        add(&self.stats.io_errors, 1);
        *failure = Some(Failure::Index(reason.clone()));
        self.index_lost.store(true, Relaxed);
        let removed = self.disk.remove(INDEX_FILE);
        if let Err(error) = removed.and_then(|()| self.disk.sync_dir("")) {
            tracing::warn!(%error, "the damaged index stays until the drive is opened again");
        }
        StoreError::Failed(reason)
    }

    /// Takes the drive out for good.
    pub(super) fn fail(&self, what: &str, error: &io::Error) -> StoreError {
        add(&self.stats.io_errors, 1);
        if is_gone(error) && self.disk.check_there().is_err_and(|error| is_gone(&error)) {
            return self.gone(&format!("{what}: {error}"));
        }
        let mut failure = self.failure.lock();
        if let Some(Failure::InDoubt(reason)) = failure.as_ref() {
            return StoreError::Failed(reason.clone());
        }
        let reason = format!("{what}: {error}");
        tracing::error!(drive = %crate::format::identity::hex(&self.identity.drive), %reason, "drive failed");
        if let Err(error) = self.disk.leave_word(FAILED_FILE, reason.as_bytes()) {
            tracing::error!(%error, "cannot leave word of the failure on the drive");
        }
        *failure = Some(Failure::InDoubt(reason.clone()));
        StoreError::Failed(reason)
    }

    /// Refuses to go on when the drive's folder is not there any more. No word of it is left on the drive, which can be
    /// opened again once the folder is back: nothing that it holds is in doubt.
    pub(super) fn check_there(&self) -> Result<()> {
        match self.disk.check_there() {
            Err(error) if is_gone(&error) => Err(self.gone(&error.to_string())),
            _ => Ok(()),
        }
    }

    /// To be asked when a write is durable and before it is acknowledged: whether it went to a file of the drive's folder.
    pub(super) fn check_in_place(&self, file: &dyn File) -> Result<()> {
        self.check_there()?;
        match file.is_linked() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.gone("a segment that is being written has been removed")),
            Err(error) => Err(self.fail("looking at a segment", &error)),
        }
    }

    pub(super) fn gone(&self, how: &str) -> StoreError {
        let mut failure = self.failure.lock();
        let failure = failure.get_or_insert_with(|| {
            let reason = format!("the drive's folder is gone: {how}");
            tracing::error!(drive = %crate::format::identity::hex(&self.identity.drive), %reason, "drive failed");
            Failure::Gone(reason)
        });
        StoreError::Failed(failure.reason().to_owned())
    }

    /// What a failed write of new data means: no room, or the end of the drive.
    pub(super) fn write_failed(&self, what: &str, error: &io::Error) -> StoreError {
        if is_no_space(error) {
            self.space_ran_out();
            StoreError::Full
        } else {
            self.fail(what, error)
        }
    }
}

/// Refuses a drive on which an earlier process left word of a failure.
pub(super) fn refuse_failed(disk: &dyn Disk) -> Result<()> {
    let file = match disk.open(FAILED_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Not known to be there is not known to be absent.
        Err(error) => return Err(error.into()),
    };
    let mut text = vec![0; 1024];
    let read = file.read_at(&mut text, 0).unwrap_or(0);
    let reason = String::from_utf8_lossy(&text[..read]).into_owned();
    Err(StoreError::Failed(format!(
        "{reason} (earlier; check the drive, then remove its file `{FAILED_FILE}`)"
    )))
}
