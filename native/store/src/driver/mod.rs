//! The store with its threads: one that commits, some that read and stream, one that keeps the index up to date, one for
//! compaction and scrubbing.

mod background;
mod pool;
mod queue;
mod shard_writer;
mod wake;
mod writer;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::core::{Core, CoreOptions, Op};
use crate::folder::{self, Lock};
use crate::limits::{MAX_DELETE_KEYS, QUEUE_BYTES, QUEUE_OPS};
use crate::types::{
    Block, CompactStep, OpenOptions, OpenReport, Probe, Result, ScrubStep, ShardKey, ShardRecord,
    ShardState, Stats, StoreError,
};

pub use shard_writer::ShardWriter;

/// Unit in which waiting bytes are counted.
const PERMIT_BYTES: usize = 4096;

/// One open drive. Clones are the same drive; when the last one (and the last [`ShardWriter`]) goes, it is closed.
#[derive(Clone)]
pub struct DriveStore(Arc<Handle>);

/// Owns the threads; they hold `Shared` only, so that the last user's end is seen.
struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
struct Shared {
    core: Core,
    log: queue::Queue<writer::Request>,
    io: queue::Queue<pool::Job>,
    /// Reads of what only the drive has: many at once, which the drive likes, on threads that mostly wait.
    cold: queue::Queue<pool::Job>,
    background: queue::Queue<pool::Job>,
    /// Bounds the operations and the bytes that wait.
    ops: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    closed: AtomicBool,
    lock: Mutex<Option<Lock>>,
}

impl DriveStore {
    /// What lies at `path`, without locking or changing it.
    pub fn probe(path: &Path) -> Result<Probe> {
        folder::probe(path)
    }

    /// Makes a drive of a folder that is missing or empty.
    pub fn create(path: &Path, deployment: [u8; 16], drive: [u8; 16]) -> Result<()> {
        folder::create(path, deployment, drive)
    }

    /// Locks the drive and recovers it. Blocks: in milliseconds when the index is there, otherwise as long as it takes to read
    /// the headers of all records.
    pub fn open(options: OpenOptions) -> Result<(Self, OpenReport)> {
        let (identity, lock) = folder::lock(&options)?;
        let disk = Arc::new(crate::disk::RealDisk::new(&options.path));
        let core_options = CoreOptions {
            reserve_bytes: options.reserve_bytes,
            segment_bytes: folder::segment_bytes(&options)?,
            buffers: options.buffers,
        };
        let (core, report) = Core::open(disk, identity, core_options)?;
        let shared = Arc::new(Shared {
            core,
            log: queue::Queue::default(),
            io: queue::Queue::default(),
            cold: queue::Queue::default(),
            background: queue::Queue::default(),
            ops: Arc::new(Semaphore::new(QUEUE_OPS)),
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES / PERMIT_BYTES)),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        });
        let mut threads = vec![
            writer::start(&shared)?,
            background::start_flusher(&shared)?,
            background::start_idle(&shared)?,
        ];
        for number in 0..options.io_threads.max(1) {
            threads.push(pool::start(
                &shared,
                format!("anvil-io-{number}"),
                |shared| &shared.io,
            )?);
        }
        for number in 0..options.read_depth.max(1) {
            threads.push(pool::start(
                &shared,
                format!("anvil-read-{number}"),
                |shared| &shared.cold,
            )?);
        }
        Ok((
            Self(Arc::new(Handle {
                shared,
                threads: Mutex::new(threads),
            })),
            report,
        ))
    }

    /// Finishes what has been asked for, brings the index up to date, stops the threads and unlocks the drive. Later calls of
    /// anything are refused with Closed.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let handle = self.0.clone();
        async move {
            let (done, closed) = oneshot::channel();
            // Joining blocks, so not on the caller's thread.
            let spawned = std::thread::Builder::new()
                .name("anvil-close".into())
                .spawn(move || {
                    handle.close();
                    let _ = done.send(());
                });
            if spawned.is_ok() {
                let _ = closed.await;
            }
        }
    }

    pub fn drive(&self) -> [u8; 16] {
        self.0.shared.core.identity().drive
    }

    /// Begins a shard of many blocks in a segment of its own. `block_bytes` is the length of all blocks but the last, which
    /// may be shorter. A shard whose hint says that it has one small block is written like [`Self::put`].
    pub fn begin(
        &self,
        key: ShardKey,
        generation: u64,
        blocks_hint: Option<u32>,
        block_bytes: usize,
    ) -> Result<ShardWriter> {
        ShardWriter::begin(&self.0, key, generation, blocks_hint, block_bytes)
    }

    /// A shard of one block: durable when it resolves, together with everything else that waits. A block that is too large
    /// for the shared segments gets one of its own.
    pub fn put(
        &self,
        key: ShardKey,
        generation: u64,
        block: Block,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let handle = self.0.clone();
        async move {
            if block.data.len() <= handle.shared.core.shared_shard_bytes() {
                let bytes = block.data.len();
                return handle
                    .shared
                    .commit(
                        Op::Put {
                            key,
                            generation,
                            block,
                        },
                        bytes,
                    )
                    .await;
            }
            let mut writer = ShardWriter::begin(&handle, key, generation, None, block.data.len())?;
            writer.append(block).await?;
            writer.seal().await
        }
    }

    /// Verified bytes `[offset, offset + len)` of one block. A generation that is higher than what the drive knew is made
    /// durable first.
    pub fn read(
        &self,
        key: &ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    ) -> impl Future<Output = Result<Bytes>> + Send + 'static + use<> {
        let (handle, key) = (self.0.clone(), *key);
        async move {
            if generation > handle.shared.core.generation(key.pg) {
                handle
                    .shared
                    .commit(
                        Op::Generation {
                            pg: key.pg,
                            generation,
                        },
                        0,
                    )
                    .await?;
            }
            let shared = &handle.shared;
            let cached = shared
                .on_io(0, move |core| {
                    core.read_cached(&key, generation, block, offset, len)
                })
                .await?;
            match cached {
                Some(bytes) => Ok(bytes),
                None => {
                    shared
                        .on(&shared.cold, 0, move |core| {
                            core.read(&key, generation, block, offset, len)
                        })
                        .await
                }
            }
        }
    }

    /// Index only, no read of the data. An error is no word of whether the shard is there.
    pub fn has(&self, key: &ShardKey) -> Result<Option<ShardState>> {
        self.0.shared.core.has(key)
    }

    /// Durably removes shards, also those that are being written; those that are not there are no error. If a generation is
    /// too low nothing is removed (of more than [`MAX_DELETE_KEYS`] keys: nothing of that many at a time).
    pub fn delete(
        &self,
        keys: &[(ShardKey, u64)],
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let (handle, keys) = (self.0.clone(), keys.to_vec());
        async move {
            for keys in keys.chunks(MAX_DELETE_KEYS) {
                handle
                    .shared
                    .commit(
                        Op::Delete {
                            keys: keys.to_vec(),
                        },
                        keys.len() * 128,
                    )
                    .await?;
            }
            Ok(())
        }
    }

    /// Tells the drive the generation of a placement group: lower ones are refused once this has resolved.
    pub fn raise_generation(
        &self,
        pg: u64,
        generation: u64,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let handle = self.0.clone();
        async move {
            handle
                .shared
                .commit(Op::Generation { pg, generation }, 0)
                .await
        }
    }

    /// The highest generation the drive was told.
    pub fn generation(&self, pg: u64) -> u64 {
        self.0.shared.core.generation(pg)
    }

    /// Shards in key order behind `cursor`, sealed before `before_ms` or begun before it and being written, and the cursor to go on
    /// with (`None` at the end). A page may be short before the end.
    #[allow(clippy::type_complexity)]
    pub fn list(
        &self,
        cursor: Option<Vec<u8>>,
        limit: usize,
        before_ms: u64,
    ) -> Result<(Vec<ShardRecord>, Option<Vec<u8>>)> {
        self.0.shared.core.list(cursor.as_deref(), limit, before_ms)
    }

    pub fn mark(&self, name: &str) -> Option<String> {
        self.0.shared.core.mark(name)
    }

    /// Durable when it resolves.
    pub fn set_mark(
        &self,
        name: &str,
        value: &str,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        let (handle, name, value) = (self.0.clone(), name.to_owned(), value.to_owned());
        async move { handle.shared.commit(Op::Mark { name, value }, 0).await }
    }

    /// Reads shards in index order from `cursor` on, about `max_bytes` of them, at low priority.
    pub fn scrub(
        &self,
        cursor: Option<Vec<u8>>,
        max_bytes: u64,
    ) -> impl Future<Output = Result<ScrubStep>> + Send + 'static + use<> {
        let handle = self.0.clone();
        async move {
            handle
                .shared
                .in_background(move |core| core.scrub(cursor.as_deref(), max_bytes))
                .await
        }
    }

    /// One step of compaction at low priority, moving about `max_bytes`.
    pub fn compact(
        &self,
        max_bytes: u64,
    ) -> impl Future<Output = Result<CompactStep>> + Send + 'static + use<> {
        let handle = self.0.clone();
        async move {
            handle
                .shared
                .in_background(move |core| core.compact(max_bytes))
                .await
        }
    }

    /// Whether it failed in a way that opening it again mends: its index has to be rebuilt, or its folder was away. Asks the
    /// drive for nothing, so never waits for it.
    pub fn reopens(&self) -> bool {
        self.0.shared.core.reopens()
    }

    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        let mut stats = shared.core.stats();
        stats.queue_depth = (shared.log.len() + shared.io.len() + shared.cold.len()) as u64;
        stats
    }
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Relaxed) {
            Err(StoreError::Closed)
        } else {
            self.core.check_working()
        }
    }

    /// Waits until there is room for `bytes` more.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = bytes
            .div_ceil(PERMIT_BYTES)
            .clamp(1, QUEUE_BYTES / PERMIT_BYTES) as u32;
        self.bytes
            .clone()
            .acquire_many_owned(permits)
            .await
            .map_err(|_| StoreError::Closed)
    }

    /// Through the log, with everything else that waits.
    async fn commit(&self, op: Op, bytes: usize) -> Result<()> {
        self.check_open()?;
        let slot = self
            .ops
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let room = self.room(bytes).await?;
        let (done, answer) = oneshot::channel();
        self.log.push(writer::Request {
            op,
            done,
            _slot: slot,
            _room: room,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// On an I/O thread.
    async fn on_io<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Core) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on(&self.io, bytes, work).await
    }

    async fn on<T: Send + 'static>(
        &self,
        queue: &queue::Queue<pool::Job>,
        bytes: usize,
        work: impl FnOnce(&Core) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.closed.load(Relaxed) {
            return Err(StoreError::Closed);
        }
        let slot = self
            .ops
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let room = self.room(bytes).await?;
        let (job, answer) = pool::Job::new(work, (slot, room));
        queue.push(job)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_open()?;
        let (job, answer) = pool::Job::new(work, ());
        self.background.push(job)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Handle {
    fn close(&self) {
        let mut threads = self.threads.lock();
        if !self.shared.closed.swap(true, Relaxed) {
            self.shared.ops.close();
            self.shared.bytes.close();
        }
        // First those that hand work to the log, then the log itself.
        self.shared.io.close();
        self.shared.cold.close();
        self.shared.background.close();
        self.shared.log.close();
        for thread in threads.drain(..) {
            // The last user may have been a job on one of them, which then ends by itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        if let Some(lock) = self.shared.lock.lock().take() {
            if let Err(error) = self.shared.core.close() {
                tracing::warn!(%error, "the index was not brought up to date at the end; the log has what is missing");
            }
            drop(lock);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
