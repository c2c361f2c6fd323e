//! The threads behind the scenes.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Shared;
use crate::limits::RECENT_AGE_MS;

/// How often the flusher looks around.
const TICK: Duration = Duration::from_millis(50);

/// Keeps the index up to date and the next segment ready.
pub fn start_flusher(shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    Builder::new().name("anvil-flush".into()).spawn(move || {
        let mut flushed = Instant::now();
        while shared.log.rest(TICK) {
            let core = &shared.core;
            if core.check_working().is_err() {
                continue;
            }
            if let Err(error) = core.prepare_spare() {
                tracing::warn!(%error, "no segment in reserve");
            }
            core.reap();
            let aged =
                flushed.elapsed() >= Duration::from_millis(RECENT_AGE_MS) && core.has_changes();
            if aged || core.wants_checkpoint() {
                if let Err(error) = core.checkpoint() {
                    tracing::warn!(%error, "index not brought up to date");
                }
                flushed = Instant::now();
            }
        }
    })
}

/// Runs compaction and scrubbing, with the least claim on the drive and the processor.
pub fn start_idle(shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    Builder::new().name("anvil-idle".into()).spawn(move || {
        lower_priority();
        while let Some(job) = shared.background.take() {
            job.run(&shared.core);
        }
    })
}

fn lower_priority() {
    const IOPRIO_WHO_PROCESS: libc::c_long = 1;
    const BEST_EFFORT_LOWEST: libc::c_long = 2 << 13 | 7;
    // SAFETY: system calls without pointers, on the calling thread (0). That they fail is no harm.
    unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0 as libc::c_long,
            BEST_EFFORT_LOWEST,
        );
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}
