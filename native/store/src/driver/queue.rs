//! A queue between threads whose consumer takes everything at once. Bounded by permits that its entries hold.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::types::{Result, StoreError};

pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    closing: Condvar,
}

struct State<T> {
    entries: VecDeque<T>,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
            closing: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    pub fn push(&self, entry: T) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.entries.push_back(entry);
        self.filled.notify_one();
        Ok(())
    }

    /// Everything that waits, at least one entry; `None` once the queue is closed and empty.
    pub fn take_all(&self) -> Option<Vec<T>> {
        let mut state = self.state.lock();
        self.filled.wait_while(&mut state, |state| {
            state.entries.is_empty() && !state.closed
        });
        let all: Vec<T> = state.entries.drain(..).collect();
        (!all.is_empty()).then_some(all)
    }

    /// The next entry; `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<T> {
        let mut state = self.state.lock();
        self.filled.wait_while(&mut state, |state| {
            state.entries.is_empty() && !state.closed
        });
        state.entries.pop_front()
    }

    /// Waits for at most `time`; false once the queue is closed.
    pub fn rest(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.closed {
            self.closing.wait_for(&mut state, time);
        }
        !state.closed
    }

    pub fn len(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Entries that wait are still taken; new ones are refused.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.closing.notify_all();
    }
}
