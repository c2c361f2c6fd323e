//! What other threads do in the middle of a sync of the simulated disk.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// How long a deed may take before it is taken for one that waits for a lock of the sync's caller.
const DEED_TIME: Duration = Duration::from_millis(50);

type Deed = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct Deeds {
    /// How many syncs come before, and what is done then.
    waiting: Mutex<Vec<(u64, Deed)>>,
    doers: Mutex<Vec<JoinHandle<()>>>,
}

impl Deeds {
    /// After so many more syncs `deed` is done by another thread in the middle of the next one, before anything of it is
    /// durable. If it waits for a lock that the sync's caller holds, it comes to its end some time after that.
    pub fn during_sync(&self, syncs: u64, deed: impl FnOnce() + Send + 'static) {
        self.waiting.lock().push((syncs, Box::new(deed)));
    }

    /// Until those that have been begun are done.
    pub fn settle(&self) {
        let doers = std::mem::take(&mut *self.doers.lock());
        doers
            .into_iter()
            .for_each(|doer| doer.join().expect("a deed without panic"));
    }

    /// Gives up those that wait for a sync that did not come.
    pub fn forget(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        drop(waiting);
    }

    pub(super) fn sync_begins(&self) {
        let due = {
            let mut waiting = self.waiting.lock();
            let (due, mut later): (Vec<_>, Vec<_>) = std::mem::take(&mut *waiting)
                .into_iter()
                .partition(|(syncs, _)| *syncs == 0);
            later.iter_mut().for_each(|(syncs, _)| *syncs -= 1);
            *waiting = later;
            due
        };
        for (_, deed) in due {
            let (done, is_done) = mpsc::channel::<()>();
            let doer = std::thread::spawn(move || {
                deed();
                drop(done);
            });
            let _ = is_done.recv_timeout(DEED_TIME);
            self.doers.lock().push(doer);
        }
    }
}
