//! The border to Node: errors become messages, panics become errors, futures become promises.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anvil_engine::Error;
use futures_util::FutureExt;
use napi::Env;
use napi::Status;
use napi::bindgen_prelude::{PromiseRaw, ToNapiValue};

use crate::process::engine;
use crate::promises::Pending;

pub(crate) type Fallible<T> = Result<T, Error>;

/// As JavaScript sees it: an Error whose message is `[Kind] text`.
pub(crate) fn thrown(error: Error) -> napi::Error {
    napi::Error::new(Status::GenericFailure, error.to_string())
}

/// Runs what is done before the call returns.
pub(crate) fn now<T>(work: impl FnOnce() -> Fallible<T>) -> napi::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(thrown),
        Err(panic) => Err(thrown(Error::from_panic(panic))),
    }
}

/// A promise for what `future` gives, run on the engine's runtime; `convert` makes the value on the caller's thread.
pub(crate) fn later<'env, T, J, F>(
    env: &'env Env,
    future: F,
    convert: impl FnOnce(T) -> J + Send + 'static,
) -> napi::Result<PromiseRaw<'env, J>>
where
    T: Send + 'static,
    J: ToNapiValue + 'static,
    F: Future<Output = Fallible<T>> + Send + 'static,
{
    let engine = engine().map_err(thrown)?;
    let (promise, pending) = Pending::new(env)?;
    engine.spawn(settled(future, convert, pending));
    Ok(PromiseRaw::new(env.raw(), promise))
}

/// The same for a future whose first part, up to where it waits, is short: that runs before the call returns.
pub(crate) fn begun<'env, T, J, F>(
    env: &'env Env,
    future: F,
    convert: impl FnOnce(T) -> J + Send + 'static,
) -> napi::Result<PromiseRaw<'env, J>>
where
    T: Send + 'static,
    J: ToNapiValue + 'static,
    F: Future<Output = Fallible<T>> + Send + 'static,
{
    let engine = engine().map_err(thrown)?;
    let (promise, pending) = Pending::new(env)?;
    engine.start(settled(future, convert, pending));
    Ok(PromiseRaw::new(env.raw(), promise))
}

async fn settled<T, J>(
    future: impl Future<Output = Fallible<T>>,
    convert: impl FnOnce(T) -> J + Send + 'static,
    pending: Pending,
) where
    T: Send + 'static,
    J: ToNapiValue + 'static,
{
    let result = AssertUnwindSafe(future).catch_unwind().await;
    let result = result.unwrap_or_else(|panic| Err(Error::from_panic(panic)));
    pending.settle(move |env| match result {
        // SAFETY: `env` is that of the thread on which this runs.
        Ok(value) => unsafe { J::to_napi_value(env, convert(value)) },
        Err(error) => Err(thrown(error)),
    });
}
