//! The engine: one per process in the addon, one per test here. Everything is reached through it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::drives::OpenDrive;
use crate::error::{Error, Result};
use crate::handles::Handles;
use crate::id::Id128;
use crate::jobs::{Listener, Queue, Work};
use crate::memory::{Budget, Level};
use crate::read::{Latency, Read, ReadOptions};
use crate::registry::Registry;
use crate::target::ShardKey;
use crate::upload::{self, Flow, Upload, UploadOptions, UploadResult};
use anvil_store::buffers::Buffers;

/// Threads for what blocks: files that drives make, opening drives.
const BLOCKING_THREADS: usize = 32;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bound of the memory for stripe buffers, uploads and reads together.
    pub memory_limit_bytes: u64,
    /// Threads of the engine's own runtime: members' writers and reads.
    pub runtime_threads: usize,
    pub limits: Limits,
}

/// Times that tests make shorter.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A member without progress for this long, while enough others are done, is left out of a write.
    pub stall: Duration,
    /// Shortest wait before a slow member of a read is overtaken.
    pub hedge_min: Duration,
    /// A stripe that cannot be read in this time is not to be had.
    pub read: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            stall: Duration::from_secs(1),
            hedge_min: Duration::from_millis(10),
            read: Duration::from_secs(30),
        }
    }
}

/// A shard that could not be read or did not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub shard: ShardKey,
    pub drive: Id128,
    pub reason: DamageReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DamageReason {
    Crc,
    Missing,
    Io,
}

pub type DamageListener = Arc<dyn Fn(Damage) + Send + Sync>;

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) jobs_run: AtomicU64,
    pub(crate) hashed_bytes: AtomicU64,
    pub(crate) hash_calls: AtomicU64,
    pub(crate) hash_lanes: AtomicU64,
    pub(crate) degraded_reads: AtomicU64,
}

/// See `EngineStats` in src/shared/native.ts.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineStats {
    pub memory_used_bytes: u64,
    pub memory_limit_bytes: u64,
    pub memory_peak_bytes: u64,
    pub uploads: usize,
    pub reads: usize,
    pub jobs_queued: usize,
    pub jobs_run: u64,
    pub hashed_bytes: u64,
    /// Lanes filled on average.
    pub hash_lanes: f64,
    /// Calls of the hash kernels.
    pub hash_calls: u64,
    pub degraded_reads: u64,
}

impl EngineStats {
    /// Lanes filled on average since `earlier`.
    pub fn lanes_since(&self, earlier: &EngineStats) -> f64 {
        let lanes = |stats: &EngineStats| stats.hash_lanes * stats.hash_calls as f64;
        (lanes(self) - lanes(earlier)) / (self.hash_calls - earlier.hash_calls).max(1) as f64
    }
}

pub struct Engine {
    pub registry: Registry,
    pub(crate) budget: Arc<Budget>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) jobs: Queue<Arc<Upload>>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) latency: Latency,
    pub(crate) uploads: Handles<Upload>,
    pub(crate) reads: Handles<Read>,
    pub(crate) drives: RwLock<HashMap<Id128, OpenDrive>>,
    damage: RwLock<Option<DamageListener>>,
    handle: Handle,
    /// None once it is shut down.
    runtime: Option<Runtime>,
}

impl Engine {
    /// Starts the runtime. Until [`Engine::set_job_listener`] is called, jobs run on threads of that runtime.
    pub fn new(options: EngineOptions) -> Result<Arc<Engine>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.runtime_threads.max(1))
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("anvil-engine")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::internal(format!("the addon's runtime does not start: {error}"))
            })?;
        let handle = runtime.handle().clone();
        let engine = Arc::new_cyclic(|engine| Engine {
            registry: Registry::default(),
            budget: Budget::new(options.memory_limit_bytes),
            buffers: Buffers::new(options.memory_limit_bytes),
            jobs: Queue::new(
                options.runtime_threads,
                own_workers(engine.clone(), handle.clone()),
            ),
            limits: options.limits,
            counters: Counters::default(),
            latency: Latency::default(),
            uploads: Handles::default(),
            reads: Handles::default(),
            drives: RwLock::default(),
            damage: RwLock::default(),
            handle,
            runtime: Some(runtime),
        });
        let watched = Arc::downgrade(&engine);
        engine.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let Some(engine) = watched.upgrade() else {
                    return;
                };
                engine.jobs.watch(Instant::now());
                engine.reopen_drives();
            }
        });
        Ok(engine)
    }

    /// Runs a future on the engine's runtime.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// Runs the first part of `future`, which should be short, on the calling thread, and the rest on the runtime.
    pub fn start(&self, future: impl Future<Output = ()> + Send + 'static) {
        crate::start::start(&self.handle, future);
    }

    /// Runs what blocks on a thread made for that.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.handle
            .spawn_blocking(work)
            .await
            .map_err(|error| Error::internal(format!("a blocking task failed: {error}")))
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    // ---------------------------------------------------------------------------------------------------------- memory

    /// Counts bytes of bodies that lie elsewhere in the process; false: they do not fit, and nothing was counted.
    pub fn take_memory(&self, bytes: u64) -> bool {
        let taken = self.budget.reserve(bytes, Level::Extra);
        // What `give_memory` gives back.
        taken.map(std::mem::forget).is_some()
    }

    /// They are gone.
    pub fn give_memory(&self, bytes: u64) {
        self.budget.give_back(bytes);
    }

    /// The used share of the limit.
    pub fn memory_pressure(&self) -> f64 {
        self.budget.used() as f64 / self.budget.limit().max(1) as f64
    }

    // ------------------------------------------------------------------------------------------------------------ jobs

    pub fn set_job_listener(&self, listener: Listener) {
        self.jobs.set_listener(listener);
    }

    /// Runs tasks on threads of the engine's own runtime, for a pool that is gone.
    pub fn run_own_tasks(self: &Arc<Self>, tasks: u32) {
        own_workers(Arc::downgrade(self), self.handle.clone())(tasks);
    }

    pub fn set_worker_count(&self, workers: usize) {
        self.jobs.set_workers(workers);
    }

    /// Takes jobs until none is left or the time is over. Returns how many were done.
    pub fn run_jobs(&self, budget: Duration) -> usize {
        let deadline = Instant::now() + budget;
        let mut visit = self.jobs.enter();
        let mut done = 0;
        while let Some(work) = visit.next() {
            done += match work {
                Work::Stripes(uploads) => upload::process(self, uploads),
                Work::Task(task) => {
                    task();
                    1
                }
            };
            if Instant::now() >= deadline {
                break;
            }
        }
        self.counters.jobs_run.fetch_add(done as u64, Relaxed);
        done
    }

    /// Runs CPU work on a worker of the pool and resolves with what it gave.
    pub(crate) async fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.jobs.push_task(Box::new(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
                .map_err(Error::from_panic);
            // Nobody waits any more if the read was closed.
            let _ = answer.send(result);
        }));
        answered
            .await
            .map_err(|_| Error::internal("a job was lost"))?
    }

    // --------------------------------------------------------------------------------------------------------- uploads

    pub fn open_upload(self: &Arc<Self>, options: UploadOptions) -> Result<u64> {
        Ok(self.uploads.add(Upload::open(self, options)?))
    }

    pub fn upload(&self, handle: u64) -> Result<Arc<Upload>> {
        self.uploads
            .find(handle)
            .ok_or_else(|| Error::gone("upload"))
    }

    /// Ends an upload; its handle is gone.
    pub async fn finish_upload(&self, handle: u64) -> Result<UploadResult> {
        self.uploads
            .remove(handle)
            .ok_or_else(|| Error::gone("upload"))?
            .finish()
            .await
    }

    /// Ends an upload whose body came whole and is small enough to be handed back at once; its handle is gone then, also
    /// after an error. None: it is not, and goes on.
    pub fn finish_inline(&self, handle: u64) -> Result<Option<UploadResult>> {
        let finished = self.upload(handle)?.finish_inline();
        if !matches!(finished, Ok(None)) {
            self.uploads.remove(handle);
        }
        finished
    }

    /// No error if it is gone.
    pub fn abort_upload(&self, handle: u64) {
        if let Some(upload) = self.uploads.remove(handle) {
            upload.abort();
        }
    }

    /// Moves bytes from a read into an upload; resolves at the read's end, and closes the read in any case.
    pub async fn upload_from(&self, upload: u64, read: u64) -> Result<()> {
        let upload = self.upload(upload);
        let read = self.reads.remove(read).ok_or_else(|| Error::gone("read"))?;
        let upload = upload?;
        loop {
            if read.ready().await? == 0 {
                return Ok(());
            }
            for bytes in read.take_all() {
                if upload.write(&bytes)? == Flow::Pause {
                    upload.drained().await?;
                }
            }
        }
    }

    // ----------------------------------------------------------------------------------------------------------- reads

    pub fn open_read(self: &Arc<Self>, options: ReadOptions) -> Result<u64> {
        Ok(self.reads.add(Read::open(self, options)?))
    }

    pub fn read(&self, handle: u64) -> Result<Arc<Read>> {
        self.reads.find(handle).ok_or_else(|| Error::gone("read"))
    }

    /// No error if it is gone.
    pub fn close_read(&self, handle: u64) {
        if let Some(read) = self.reads.remove(handle) {
            read.close();
        }
    }

    /// Opens, reads and closes in one.
    pub async fn read_all(self: &Arc<Self>, options: ReadOptions) -> Result<Vec<u8>> {
        let length = options.length as usize;
        let read = Read::open(self, options)?;
        let mut all = Vec::with_capacity(length);
        while read.ready().await? > 0 {
            for bytes in read.take_all() {
                all.extend_from_slice(&bytes);
            }
        }
        if all.len() != length {
            return Err(Error::internal(format!("{} of {length} bytes", all.len())));
        }
        Ok(all)
    }

    // ---------------------------------------------------------------------------------------------------------- reports

    pub fn set_damage_listener(&self, listener: DamageListener) {
        *self.damage.write() = Some(listener);
    }

    /// To the log and the listener. A shard that is not there may have been looked for by an old view of its blob: whether it
    /// is missed the blob's row tells, which the listener asks and then says so itself.
    pub fn report_damage(&self, damage: Damage) {
        let Damage { shard, reason, .. } = damage;
        let drive = crate::registry::drive_name(&damage.drive);
        if reason == DamageReason::Missing {
            tracing::debug!(
                drive,
                index = shard.index,
                pg = shard.pg,
                "a shard is not where it was looked for"
            );
        } else {
            tracing::warn!(
                drive,
                index = shard.index,
                pg = shard.pg,
                ?reason,
                "a damaged shard"
            );
        }
        let listener = self.damage.read().clone();
        if let Some(listener) = listener {
            listener(damage);
        }
    }

    pub fn stats(&self) -> EngineStats {
        let calls = self.counters.hash_calls.load(Relaxed);
        EngineStats {
            memory_used_bytes: self.budget.used(),
            memory_limit_bytes: self.budget.limit(),
            memory_peak_bytes: self.budget.peak(),
            uploads: self.uploads.count(),
            reads: self.reads.count(),
            jobs_queued: self.jobs.stats().queued,
            jobs_run: self.counters.jobs_run.load(Relaxed),
            hashed_bytes: self.counters.hashed_bytes.load(Relaxed),
            hash_calls: calls,
            hash_lanes: self.counters.hash_lanes.load(Relaxed) as f64 / calls.max(1) as f64,
            degraded_reads: self.counters.degraded_reads.load(Relaxed),
        }
    }
}

impl Drop for Engine {
    /// May happen on a thread of the runtime itself, which must not wait for itself.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The workers of an engine that nobody gave a pool.
fn own_workers(engine: Weak<Engine>, handle: Handle) -> Listener {
    Arc::new(move |tasks| {
        for _ in 0..tasks {
            let engine = engine.clone();
            handle.spawn_blocking(move || {
                if let Some(engine) = engine.upgrade() {
                    engine.run_jobs(Duration::from_millis(20));
                }
            });
        }
    })
}
