//! The threads that read and stream.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use super::Shared;
use super::queue::Queue;
use crate::core::Core;
use crate::types::Result;

/// Work on the core, whose answer someone waits for.
pub struct Job(Box<dyn FnOnce(&Core) + Send>);

impl Job {
    /// `held` is released when the work is done, before its answer is seen.
    pub fn new<T: Send + 'static>(
        work: impl FnOnce(&Core) -> Result<T> + Send + 'static,
        held: impl Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T>>) {
        let (done, answer) = oneshot::channel();
        let job = Self(Box::new(move |core| {
            let result = work(core);
            drop(held);
            let _ = done.send(result);
        }));
        (job, answer)
    }

    pub fn run(self, core: &Core) {
        (self.0)(core);
    }
}

pub fn start(
    shared: &Arc<Shared>,
    name: String,
    queue: fn(&Shared) -> &Queue<Job>,
) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    Builder::new().name(name).spawn(move || {
        super::wake::promptly();
        while let Some(job) = queue(&shared).take() {
            job.run(&shared.core);
        }
    })
}
