//! The queue of CPU work and the protocol that brings the pool's workers to it.
//!
//! Workers are tasks of a pool that this crate does not own: a listener is told "n more tasks", each task then calls
//! [`Queue::enter`] and takes work until there is none. Two counters under one lock make that safe: `asked` (told, not yet
//! started) and `running`. The invariant is that while work waits, `asked + running >= 1`:
//! - whoever adds work asks for a task in the same critical section if none is on its way;
//! - a task leaves only in the critical section that found the queue empty, or asks for a successor when it leaves early.
//!
//! A task that was asked for and never starts (its pool was torn down) is written off by [`Queue::watch`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Stripes that are hashed side by side at most: two sets of the widest lanes.
pub const MAX_LANES: usize = 32;
/// Fewer than this many stripes are not split over workers: the wide kernels cost the same for half as many lanes.
const MIN_LANES: usize = 8;
/// A task that was asked for this long ago and has not started is written off.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Told how many more tasks should run.
pub type Listener = Arc<dyn Fn(u32) + Send + Sync>;

/// A piece of work.
pub enum Work<S> {
    /// Stripes of different uploads, to be hashed side by side.
    Stripes(Vec<S>),
    /// Anything else: rebuilding blocks.
    Task(Box<dyn FnOnce() + Send>),
}

/// Counters for the stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    pub queued: usize,
    pub asked: usize,
    pub running: usize,
    pub workers: usize,
}

struct State<S> {
    stripes: VecDeque<S>,
    tasks: VecDeque<Box<dyn FnOnce() + Send>>,
    workers: usize,
    asked: usize,
    running: usize,
    asked_at: Instant,
}

pub struct Queue<S> {
    state: Mutex<State<S>>,
    listener: Mutex<Listener>,
}

impl<S> Queue<S> {
    /// `workers`: tasks that may be asked for or run at a time.
    pub fn new(workers: usize, listener: Listener) -> Queue<S> {
        Queue {
            state: Mutex::new(State {
                stripes: VecDeque::new(),
                tasks: VecDeque::new(),
                workers: workers.max(1),
                asked: 0,
                running: 0,
                asked_at: Instant::now(),
            }),
            listener: Mutex::new(listener),
        }
    }

    /// Replaces the listener. Tasks that the old one was told of are written off: its pool may be gone.
    pub fn set_listener(&self, listener: Listener) {
        *self.listener.lock() = listener;
        let ask = {
            let mut state = self.state.lock();
            state.asked = 0;
            state.ask()
        };
        self.tell(ask);
    }

    pub fn set_workers(&self, workers: usize) {
        let ask = {
            let mut state = self.state.lock();
            state.workers = workers.max(1);
            state.ask()
        };
        self.tell(ask);
    }

    pub fn push_stripe(&self, stripe: S) {
        let ask = {
            let mut state = self.state.lock();
            state.stripes.push_back(stripe);
            state.ask()
        };
        self.tell(ask);
    }

    pub fn push_task(&self, task: Box<dyn FnOnce() + Send>) {
        let ask = {
            let mut state = self.state.lock();
            state.tasks.push_back(task);
            state.ask()
        };
        self.tell(ask);
    }

    /// A task starts. Dropping the visit ends it.
    pub fn enter(&self) -> Visit<'_, S> {
        let mut state = self.state.lock();
        state.asked = state.asked.saturating_sub(1);
        state.running += 1;
        Visit {
            queue: self,
            left: false,
        }
    }

    /// Call it about once a second: asks again where tasks that were asked for did not come.
    pub fn watch(&self, now: Instant) {
        let ask = {
            let mut state = self.state.lock();
            let waiting = !state.stripes.is_empty() || !state.tasks.is_empty();
            if waiting
                && state.asked > 0
                && now.saturating_duration_since(state.asked_at) >= LOST_AFTER
            {
                tracing::warn!(
                    asked = state.asked,
                    "workers that were asked for did not come"
                );
                state.asked = 0;
            }
            state.ask()
        };
        self.tell(ask);
    }

    pub fn stats(&self) -> QueueStats {
        let state = self.state.lock();
        QueueStats {
            queued: state.stripes.len() + state.tasks.len(),
            asked: state.asked,
            running: state.running,
            workers: state.workers,
        }
    }

    /// Outside of the lock: the listener may run anything, also a task on this thread.
    fn tell(&self, tasks: usize) {
        if tasks > 0 {
            let listener = self.listener.lock().clone();
            listener(tasks as u32);
        }
    }
}

impl<S> State<S> {
    /// How many tasks to ask for now; they count as asked.
    fn ask(&mut self) -> usize {
        let batches = self.tasks.len() + self.stripes.len().div_ceil(MIN_LANES);
        let room = self.workers.saturating_sub(self.asked + self.running);
        let more = batches.saturating_sub(self.asked).min(room);
        if more > 0 {
            if self.asked == 0 {
                self.asked_at = Instant::now();
            }
            self.asked += more;
        }
        more
    }

    fn take(&mut self) -> Option<Work<S>> {
        if let Some(task) = self.tasks.pop_front() {
            return Some(Work::Task(task));
        }
        if self.stripes.is_empty() {
            return None;
        }
        let queued = self.stripes.len();
        let share = queued.div_ceil(self.workers).max(queued.min(MIN_LANES));
        Some(Work::Stripes(
            self.stripes.drain(..share.min(MAX_LANES)).collect(),
        ))
    }
}

/// One task's stay at the queue.
pub struct Visit<'a, S> {
    queue: &'a Queue<S>,
    left: bool,
}

impl<S> Visit<'_, S> {
    /// The next work; None ends the visit: nothing was left.
    pub fn next(&mut self) -> Option<Work<S>> {
        if self.left {
            return None;
        }
        let mut state = self.queue.state.lock();
        let work = state.take();
        if work.is_none() {
            state.running -= 1;
            self.left = true;
        }
        work
    }
}

impl<S> Drop for Visit<'_, S> {
    /// Leaves with work perhaps still waiting (time is up, or a panic): a successor takes it.
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let ask = {
            let mut state = self.queue.state.lock();
            state.running -= 1;
            state.ask()
        };
        self.queue.tell(ask);
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
