//! The pool's side of the job queue, and the listeners on the main thread. None of them keeps Node alive.

use std::sync::Arc;
use std::time::Duration;

use anvil_engine::DamageReason;
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::guard;
use crate::process::engine;

/// Weak: it does not keep the event loop alive. Calls give the value alone, without an error before it.
pub(crate) type WeakListener<T> = ThreadsafeFunction<T, (), T, Status, false, true>;

pub(crate) fn weak_listener<T>(listener: &Function<'_, T, ()>) -> napi::Result<WeakListener<T>>
where
    T: napi::bindgen_prelude::JsValuesTupleIntoVec + 'static,
{
    listener
        .build_threadsafe_function::<T>()
        .weak::<true>()
        .build()
}

/// `listener(n)`: n more `runJobs` tasks should run in the pool.
#[napi]
pub fn set_job_listener(listener: Function<'_, u32, ()>) -> napi::Result<()> {
    let listener = weak_listener(&listener)?;
    guard::now(|| {
        let engine = engine()?;
        let own = Arc::downgrade(engine);
        engine.set_job_listener(Arc::new(move |tasks| {
            let told = listener.call(tasks, ThreadsafeFunctionCallMode::NonBlocking);
            if told != Status::Ok
                && let Some(engine) = own.upgrade()
            {
                // The thread of the listener has ended; what is under way ends on threads of our own.
                engine.run_own_tasks(tasks);
            }
        }));
        Ok(())
    })
}

#[napi]
pub fn set_worker_count(workers: u32) -> napi::Result<()> {
    guard::now(|| {
        engine()?.set_worker_count(workers as usize);
        Ok(())
    })
}

/// Takes jobs until none is left or the time is over; how many were done.
#[napi]
pub fn run_jobs(budget_ms: f64) -> napi::Result<u32> {
    guard::now(|| {
        let budget = Duration::from_secs_f64((budget_ms / 1000.0).clamp(0.0, 60.0));
        Ok(engine()?.run_jobs(budget) as u32)
    })
}

/// A shard that could not be read or did not verify.
#[napi(object)]
pub struct Damage {
    pub bucket_id: f64,
    pub blob_id: String,
    pub pg_id: f64,
    pub index: u32,
    pub drive_id: String,
    #[napi(ts_type = "'crc' | 'missing' | 'io'")]
    pub reason: String,
}

#[napi]
pub fn set_damage_listener(listener: Function<'_, Damage, ()>) -> napi::Result<()> {
    let listener = weak_listener(&listener)?;
    guard::now(|| {
        engine()?.set_damage_listener(Arc::new(move |damage| {
            let damage = Damage {
                bucket_id: damage.shard.bucket as f64,
                blob_id: anvil_engine::id::hex(&damage.shard.blob),
                pg_id: damage.shard.pg as f64,
                index: damage.shard.index.into(),
                drive_id: anvil_engine::id::hex(&damage.drive),
                reason: reason(damage.reason).to_owned(),
            };
            // A thread that has ended wants no reports; the engine has logged it.
            let _ = listener.call(damage, ThreadsafeFunctionCallMode::NonBlocking);
        }));
        Ok(())
    })
}

fn reason(reason: DamageReason) -> &'static str {
    match reason {
        DamageReason::Crc => "crc",
        DamageReason::Missing => "missing",
        DamageReason::Io => "io",
    }
}
