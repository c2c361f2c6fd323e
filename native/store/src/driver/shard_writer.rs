//! Writing one shard block by block.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Handle;
use crate::core::{Op, Stream};
use crate::types::{Block, Result, ShardKey, StoreError};

/// One shard that is being written. Dropped without [`Self::seal`], nothing of it stays.
pub struct ShardWriter {
    state: Arc<State>,
    appended: u32,
    bytes: u64,
    /// A block shorter than the others came: it was the last.
    ended: bool,
}

struct State {
    handle: Arc<Handle>,
    stream: Stream,
    /// The one small block of a shard that was announced to have no more: it goes to a shared segment.
    small: Mutex<Small>,
    progress: Mutex<Progress>,
    settled: Notify,
}

enum Small {
    No,
    Expected,
    Held(Block),
}

#[derive(Default)]
struct Progress {
    running: u32,
    written: u32,
    failed: Option<StoreError>,
}

impl ShardWriter {
    pub(super) fn begin(
        handle: &Arc<Handle>,
        key: ShardKey,
        generation: u64,
        hint: Option<u32>,
        block_bytes: usize,
    ) -> Result<Self> {
        handle.shared.check_open()?;
        let stream = handle
            .shared
            .core
            .begin_stream(key, generation, hint, block_bytes)?;
        let small = hint == Some(1) && block_bytes <= handle.shared.core.shared_shard_bytes();
        let state = State {
            handle: handle.clone(),
            stream,
            small: Mutex::new(if small { Small::Expected } else { Small::No }),
            progress: Mutex::default(),
            settled: Notify::new(),
        };
        Ok(Self {
            state: Arc::new(state),
            appended: 0,
            bytes: 0,
            ended: false,
        })
    }

    /// Writes the next block. Resolves when the bytes are with the operating system and `block` is released; it waits while
    /// too much waits for the drive. Several may be under way at once. A future that is dropped before it resolves makes
    /// `seal` fail.
    pub fn append(
        &mut self,
        block: Block,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let state = self.state.clone();
        let (number, after_last) = (self.appended, self.ended);
        self.appended += 1;
        self.bytes += block.data.len() as u64;
        self.ended = block.data.len() < state.stream.block_bytes as usize;
        async move {
            if after_last {
                return state.fail(StoreError::Invalid("a block behind a shorter one".into()));
            }
            let small = std::mem::replace(&mut *state.small.lock(), Small::No);
            let earlier = match small {
                Small::Expected if number == 0 => {
                    *state.small.lock() = Small::Held(block);
                    state.progress.lock().written += 1;
                    return Ok(());
                }
                Small::Held(earlier) => Some(earlier),
                _ => None,
            };
            if let Some(earlier) = earlier {
                state.progress.lock().written -= 1;
                state.clone().write(0, earlier).await?;
            }
            state.write(number, block).await
        }
    }

    /// Makes the shard durable and known. NotFound if it was deleted while it was being written.
    pub fn seal(self) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let state = self.state.clone();
        let (blocks, bytes) = (self.appended, self.bytes);
        async move {
            // Until here a drop of the future drops the shard.
            let writer = self;
            state.settle(blocks).await?;
            let shared = &state.handle.shared;
            let held = std::mem::replace(&mut *state.small.lock(), Small::No);
            let generation = state.stream.generation;
            if let Small::Held(block) = held {
                let len = block.data.len();
                let op = Op::Put {
                    key: state.stream.key,
                    generation,
                    block,
                };
                return shared.commit(op, len).await;
            }
            let syncing = state.clone();
            let stream = shared
                .on_io(0, move |core| {
                    core.sync_stream(&syncing.stream, blocks, bytes)
                })
                .await?;
            let result = shared.commit(Op::Seal { generation, stream }, 0).await;
            drop(writer);
            result
        }
    }

    /// Gives the shard up and removes what was written.
    pub fn abort(self) {}
}

impl State {
    async fn write(self: Arc<Self>, number: u32, block: Block) -> Result<()> {
        let bytes = block.data.len();
        self.progress.lock().running += 1;
        let running = Running(self.clone());
        let state = self.clone();
        let result = self
            .handle
            .shared
            .on_io(bytes, move |core| {
                let _running = running;
                let result = core.append(&state.stream, number, &block);
                match &result {
                    Ok(()) => state.progress.lock().written += 1,
                    Err(error) => drop(state.fail::<()>(error.clone())),
                }
                result
            })
            .await;
        result.or_else(|error| self.fail(error))
    }

    fn fail<T>(&self, error: StoreError) -> Result<T> {
        self.progress.lock().failed.get_or_insert(error.clone());
        Err(error)
    }

    /// Waits for appends that are under way.
    async fn settle(&self, blocks: u32) -> Result<()> {
        loop {
            let settled = self.settled.notified();
            {
                let progress = self.progress.lock();
                if let Some(error) = &progress.failed {
                    return Err(error.clone());
                }
                if progress.running == 0 {
                    return match progress.written == blocks {
                        true => Ok(()),
                        false => Err(StoreError::Invalid("an append was given up".into())),
                    };
                }
            }
            settled.await;
        }
    }
}

/// Counts an append as under way until it is done, or refused, or given up.
struct Running(Arc<State>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.progress.lock().running -= 1;
        self.0.settled.notify_waiters();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.handle.shared.core.drop_stream(&self.stream);
    }
}
