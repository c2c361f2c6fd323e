//! Reads: a range of a blob as a stream of verified plaintext, some stripes ahead of its reader.

mod fetch;
mod latency;
mod source;
mod stripe;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub(crate) use fetch::fetch;
pub(crate) use latency::Latency;
pub use source::BlobSource;
pub(crate) use source::Source;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::memory::{Level, Reservation};

/// Plaintext that a read may be ahead of its reader, and in how many stripes.
const AHEAD_BYTES: u64 = 8 << 20;
const AHEAD_STRIPES: usize = 16;

/// See `ReadOpen` in src/shared/native.ts.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    pub source: BlobSource,
    pub offset: u64,
    pub length: u64,
}

/// One read. All methods may be called on any thread.
pub struct Read {
    /// None: there is nothing to read.
    source: Option<Arc<Source>>,
    end: u64,
    /// One `ready` at a time.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    /// Where the next fetch begins, and where the reader is.
    next: u64,
    at: u64,
    fetching: VecDeque<Fetching>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Memory of the bytes that wait.
    held: Vec<Reservation>,
    /// Memory for one stripe, so that a read that was admitted can go on; None while a fetch has it.
    guarantee: Option<Reservation>,
    failed: Option<Error>,
}

type Fetched = Result<(Vec<Bytes>, Reservation)>;

/// A fetch under way; dropping it gives it up.
enum Fetching {
    Ahead(Task),
    /// The one that is waited for runs with whoever waits: a task of its own would cost another wake-up.
    Now(BoxFuture<'static, Fetched>),
}

struct Task(JoinHandle<Fetched>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Fetching {
    async fn finish(self) -> Fetched {
        match self {
            Fetching::Ahead(mut task) => {
                let fetched = (&mut task.0).await;
                fetched.unwrap_or_else(|_| Err(Error::gone("read")))
            }
            Fetching::Now(fetch) => fetch.await,
        }
    }
}

impl Read {
    /// Reserves memory for one stripe; SlowDown if it is not to be had.
    pub(crate) fn open(engine: &Arc<Engine>, options: ReadOptions) -> Result<Arc<Read>> {
        let blob = &options.source;
        let end = options
            .offset
            .checked_add(options.length)
            .filter(|end| *end <= blob.size);
        let end = end.ok_or_else(|| Error::internal("a range beyond the end of the blob"))?;
        let empty = options.length == 0;
        if !empty
            && (blob.stripe_bytes == 0
                || !blob
                    .stripe_bytes
                    .is_multiple_of(crate::layout::STRIPE_STEP_BYTES))
        {
            return Err(Error::internal(format!(
                "{} is no stripe size",
                blob.stripe_bytes
            )));
        }
        if !empty && blob.encrypted != blob.data_key.is_some() {
            return Err(Error::new(
                Kind::WrongEncryptionKey,
                "an encrypted blob needs its key, another none",
            ));
        }
        let source = if empty {
            None
        } else {
            Some(Arc::new(Source::open(engine, blob)?))
        };
        let stripe = options.length.min(blob.stripe_bytes as u64);
        let guarantee = engine
            .budget
            .reserve(stripe, Level::Admission)
            .ok_or_else(|| Error::new(Kind::SlowDown, "no memory for a further read now"))?;
        Ok(Arc::new(Read {
            source,
            end,
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                next: options.offset,
                at: options.offset,
                fetching: VecDeque::new(),
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                held: Vec::new(),
                guarantee: Some(guarantee),
                failed: None,
            }),
        }))
    }

    /// Resolves with the number of bytes that wait; 0 at the end. The error of a read that failed comes after its good
    /// bytes, and again.
    pub async fn ready(&self) -> Result<usize> {
        let _turn = self.turn.lock().await;
        let first = {
            let mut state = self.state.lock();
            if state.waiting_bytes > 0 {
                return Ok(state.waiting_bytes);
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            self.fetch_ahead(&mut state, true);
            match state.fetching.pop_front() {
                Some(first) => first,
                None if state.next >= self.end => return Ok(0),
                // The guarantee is there whenever nothing is fetched and nothing waits: an end here would be a short body.
                None => return Err(state.fail(Error::internal("a read without its memory"))),
            }
        };
        let fetched = first.finish().await;
        let mut state = self.state.lock();
        match fetched {
            Ok((bytes, memory)) => state.arrive(bytes, memory),
            Err(error) => return Err(state.fail(error)),
        }
        self.fetch_ahead(&mut state, false);
        Ok(state.waiting_bytes)
    }

    /// Copies bytes that wait; returns how many.
    pub fn copy(&self, mut target: &mut [u8]) -> usize {
        let mut state = self.state.lock();
        let mut copied = 0;
        while let Some(front) = state.waiting.front_mut() {
            let now = front.len().min(target.len());
            let (head, tail) = target.split_at_mut(now);
            head.copy_from_slice(&front[..now]);
            target = tail;
            copied += now;
            if now < front.len() {
                let _ = front.split_to(now);
                break;
            }
            state.waiting.pop_front();
        }
        state.taken(copied);
        copied
    }

    /// Takes all bytes that wait, without copying them.
    pub fn take_all(&self) -> Vec<Bytes> {
        let mut state = self.state.lock();
        let all: Vec<Bytes> = state.waiting.drain(..).collect();
        let bytes = state.waiting_bytes;
        state.taken(bytes);
        all
    }

    /// Frees everything.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.fail(Error::gone("read"));
        state.waiting.clear();
        state.waiting_bytes = 0;
        state.held.clear();
        state.guarantee = None;
    }

    /// Starts fetches for as long as there is memory for them. `now`: the first one is waited for.
    fn fetch_ahead(&self, state: &mut State, now: bool) {
        let Some(source) = &self.source else { return };
        let stripe_bytes = source.layout.stripe_bytes as u64;
        while state.next < self.end
            && state.failed.is_none()
            && state.fetching.len() < AHEAD_STRIPES
            && (state.fetching.is_empty() || state.next - state.at < AHEAD_BYTES)
        {
            let stripe = state.next / stripe_bytes;
            let base = stripe * stripe_bytes;
            let end = self.end.min(base + stripe_bytes);
            let budget = &source.engine.budget;
            let memory = match state.guarantee.take() {
                Some(memory) => memory,
                None => match budget.reserve(end - state.next, Level::Ahead) {
                    Some(memory) => memory,
                    None => return,
                },
            };
            let range = (state.next - base) as usize..(end - base) as usize;
            state.next = end;
            let from = source.clone();
            let fetch = async move { Ok((stripe::plain(&from, stripe, range).await?, memory)) };
            let fetching = if now && state.fetching.is_empty() {
                Fetching::Now(Box::pin(fetch))
            } else {
                Fetching::Ahead(Task(source.engine.handle().spawn(fetch)))
            };
            state.fetching.push_back(fetching);
        }
    }
}

impl State {
    fn arrive(&mut self, bytes: Vec<Bytes>, memory: Reservation) {
        self.waiting_bytes += bytes.iter().map(Bytes::len).sum::<usize>();
        self.waiting.extend(bytes);
        self.held.push(memory);
    }

    /// The reader took bytes; at the last of a stripe its memory is free.
    fn taken(&mut self, bytes: usize) {
        self.at += bytes as u64;
        self.waiting_bytes -= bytes;
        if self.waiting_bytes == 0 {
            for memory in self.held.drain(..) {
                self.guarantee.get_or_insert(memory);
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.fetching.clear();
        self.failed.get_or_insert(error).clone()
    }
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Read")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
