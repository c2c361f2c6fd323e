//! Drives that are mended by opening them again: their index is damaged and is rebuilt from the log then, or their folder
//! was away and is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anvil_store::DriveStore;
use parking_lot::Mutex;

use crate::drives::OpenDrive;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::{Id128, hex};
use crate::local::LocalTarget;

/// Waits between two attempts at one drive grow from the first to the last: each may read the headers of all its records.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LAST_WAIT: Duration = Duration::from_secs(300);
/// A drive that was well for this long begins with the first wait again.
const FORGIVEN: Duration = Duration::from_secs(3600);

/// How often and when it was tried to open a drive again.
#[derive(Default)]
pub(crate) struct Reopening {
    busy: AtomicBool,
    tries: Mutex<Option<(Instant, Duration)>>,
}

impl Reopening {
    /// Whether it is time for an attempt, which is counted then.
    fn is_due(&self, now: Instant) -> bool {
        let mut tries = self.tries.lock();
        let wait = match *tries {
            Some((last, wait)) if now - last < wait => return false,
            Some((last, wait)) if now - last < FORGIVEN => (wait * 2).min(LAST_WAIT),
            _ => FIRST_WAIT,
        };
        *tries = Some((now, wait));
        true
    }
}

impl Engine {
    /// Begins to open those drives again that it mends. Called now and then.
    pub(crate) fn reopen_drives(self: &Arc<Self>) {
        let failed: Vec<(Id128, OpenDrive)> = self
            .drives
            .read()
            .iter()
            .filter(|(_, open)| open.store.reopens())
            .map(|(drive, open)| (*drive, open.clone()))
            .collect();
        for (drive, open) in failed {
            if open.reopening.busy.load(Relaxed) || !open.reopening.is_due(Instant::now()) {
                continue;
            }
            open.reopening.busy.store(true, Relaxed);
            let engine = self.clone();
            self.spawn(async move {
                if let Err(error) = engine.reopen(drive, &open).await {
                    tracing::warn!(drive = hex(&drive), %error, "a drive could not be opened again, trying later");
                }
                open.reopening.busy.store(false, Relaxed);
            });
        }
    }

    async fn reopen(&self, drive: Id128, open: &OpenDrive) -> Result<()> {
        // Its lock is on the folder that was opened: without it nobody else may have opened the drive in between.
        open.store.close().await;
        let options = open.options.clone();
        let (store, report) = self.blocking(move || DriveStore::open(options)).await??;
        if self.put_in_place(drive, open, &store) {
            tracing::warn!(
                drive = hex(&drive),
                records = report.recovered_records,
                ms = report.recovery_ms,
                rebuilt = report.index_rebuilt,
                "a drive was opened again"
            );
        } else {
            store.close().await;
        }
        Ok(())
    }

    /// False if the drive was closed by its user meanwhile.
    fn put_in_place(&self, drive: Id128, open: &OpenDrive, store: &DriveStore) -> bool {
        let mut drives = self.drives.write();
        let Some(now) = drives
            .get_mut(&drive)
            .filter(|now| Arc::ptr_eq(&now.reopening, &open.reopening))
        else {
            return false;
        };
        now.store = store.clone();
        self.registry
            .add_target(drive, Arc::new(LocalTarget(store.clone())));
        true
    }
}
