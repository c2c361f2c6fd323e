//! The one engine of the process.

use std::sync::{Arc, OnceLock};

use anvil_engine::{Engine, EngineOptions, Limits};
use napi_derive::napi;

use crate::convert::size;
use crate::guard::{self, Fallible};

static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();

/// The engine; an error before `init`.
pub(crate) fn engine() -> Fallible<&'static Arc<Engine>> {
    ENGINE
        .get()
        .ok_or_else(|| anvil_engine::Error::internal("init has not been called"))
}

#[napi(object)]
pub struct NativeInit {
    pub memory_limit_bytes: f64,
    pub log_filter: String,
    pub runtime_threads: u32,
}

#[napi]
pub fn init(options: NativeInit) -> napi::Result<()> {
    guard::now(|| {
        if ENGINE.get().is_some() {
            return Err(anvil_engine::Error::internal("init has been called before"));
        }
        crate::log::start(&options.log_filter)?;
        let engine = Engine::new(EngineOptions {
            memory_limit_bytes: size("memoryLimitBytes", options.memory_limit_bytes)?,
            runtime_threads: options.runtime_threads as usize,
            limits: Limits::default(),
        })?;
        ENGINE
            .set(engine)
            .map_err(|_| anvil_engine::Error::internal("init has been called before"))
    })
}

#[napi(object)]
pub struct EngineStats {
    pub memory_used_bytes: f64,
    pub memory_limit_bytes: f64,
    pub memory_peak_bytes: f64,
    pub uploads: f64,
    pub reads: f64,
    pub jobs_queued: f64,
    pub jobs_run: f64,
    pub hashed_bytes: f64,
    pub hash_lanes: f64,
    pub degraded_reads: f64,
}

#[napi]
pub fn stats() -> napi::Result<EngineStats> {
    guard::now(|| {
        let stats = engine()?.stats();
        Ok(EngineStats {
            memory_used_bytes: stats.memory_used_bytes as f64,
            memory_limit_bytes: stats.memory_limit_bytes as f64,
            memory_peak_bytes: stats.memory_peak_bytes as f64,
            uploads: stats.uploads as f64,
            reads: stats.reads as f64,
            jobs_queued: stats.jobs_queued as f64,
            jobs_run: stats.jobs_run as f64,
            hashed_bytes: stats.hashed_bytes as f64,
            hash_lanes: stats.hash_lanes,
            degraded_reads: stats.degraded_reads as f64,
        })
    })
}

/// Counts bytes of bodies that lie outside of the addon; false: they do not fit.
#[napi]
pub fn take_memory(bytes: f64) -> napi::Result<bool> {
    guard::now(|| Ok(engine()?.take_memory(size("bytes", bytes)?)))
}

#[napi]
pub fn give_memory(bytes: f64) -> napi::Result<()> {
    guard::now(|| {
        engine()?.give_memory(size("bytes", bytes)?);
        Ok(())
    })
}

/// The used share of the limit.
#[napi]
pub fn memory_pressure() -> napi::Result<f64> {
    guard::now(|| Ok(engine()?.memory_pressure()))
}

/// What CPU kernels are in use.
#[napi]
pub fn features() -> Vec<String> {
    anvil_engine::features()
}
