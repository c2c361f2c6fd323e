//! Promises that other threads settle. One threadsafe function for each JavaScript thread serves all of its promises: one of
//! its own for each would cost more than most of the work that is waited for, and many are settled with one wake-up.

use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anvil_engine::Error;
use napi::{Env, JsError, check_status, sys};
use parking_lot::Mutex;

use crate::guard::thrown;

/// Makes the value of a promise, on its JavaScript thread.
type Settlement = Box<dyn FnOnce(sys::napi_env) -> napi::Result<sys::napi_value> + Send>;

thread_local! {
    static DESK: RefCell<Option<Arc<Desk>>> = const { RefCell::new(None) };
}

/// One JavaScript thread's promises.
struct Desk {
    inbox: Mutex<Inbox>,
    /// Promises not settled yet. Changed by the JavaScript thread alone.
    open: AtomicUsize,
}

#[derive(Default)]
struct Inbox {
    settled: Vec<(Deferred, Settlement)>,
    /// None: the JavaScript thread has ended.
    wake: Option<Wake>,
}

#[derive(Clone, Copy)]
struct Deferred(sys::napi_deferred);

#[derive(Clone, Copy)]
struct Wake(sys::napi_threadsafe_function);

// SAFETY: other threads only carry it back to its own.
unsafe impl Send for Deferred {}
// SAFETY: a threadsafe function may be called on any thread, until its environment ends; see `Desk::close`.
unsafe impl Send for Wake {}

/// A promise to be settled, on any thread. Dropped instead, it is rejected.
pub(crate) struct Pending {
    desk: Arc<Desk>,
    deferred: Option<Deferred>,
}

impl Pending {
    /// A promise of the calling JavaScript thread.
    pub(crate) fn new(env: &Env) -> napi::Result<(sys::napi_value, Pending)> {
        let desk = Desk::of_this_thread(env)?;
        let (mut deferred, mut promise) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: `env` is that of the running call, and both places are there for the answers.
        let status = unsafe { sys::napi_create_promise(env.raw(), &mut deferred, &mut promise) };
        check_status!(status, "cannot make a promise")?;
        desk.opened(env.raw());
        let pending = Pending {
            desk,
            deferred: Some(Deferred(deferred)),
        };
        Ok((promise, pending))
    }

    pub(crate) fn settle(
        mut self,
        settlement: impl FnOnce(sys::napi_env) -> napi::Result<sys::napi_value> + Send + 'static,
    ) {
        if let Some(deferred) = self.deferred.take() {
            self.desk.settle(deferred, Box::new(settlement));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(deferred) = self.deferred.take() {
            let lost = |_| Err(thrown(Error::internal("the work was given up")));
            self.desk.settle(deferred, Box::new(lost));
        }
    }
}

impl Desk {
    fn of_this_thread(env: &Env) -> napi::Result<Arc<Desk>> {
        DESK.with_borrow_mut(|slot| {
            // An environment that has ended may have been followed by another one on its thread.
            if let Some(desk) = slot
                && desk.inbox.lock().wake.is_some()
            {
                return Ok(desk.clone());
            }
            let desk = Desk::open(env)?;
            *slot = Some(desk.clone());
            Ok(desk)
        })
    }

    fn open(env: &Env) -> napi::Result<Arc<Desk>> {
        let desk = Arc::new(Desk {
            inbox: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        let name = env.create_string("anvil")?;
        let context = Arc::into_raw(desk.clone()).cast_mut().cast::<c_void>();
        let mut wake = ptr::null_mut();
        // SAFETY: `env` is that of the running call. The context is a reference count that `forget` gives back, which runs
        // once, when the function ends; `deliver` does not run after that with an environment.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                ptr::null_mut(),
                ptr::null_mut(),
                napi::JsValue::raw(&name),
                0,
                1,
                context,
                Some(forget),
                context,
                Some(deliver),
                &mut wake,
            )
        };
        if let Err(error) = check_status!(status, "cannot make a threadsafe function") {
            // SAFETY: nobody has taken the count made above.
            drop(unsafe { Arc::from_raw(context.cast::<Desk>()) });
            return Err(error);
        }
        let hook = Arc::into_raw(desk.clone()).cast_mut().cast::<c_void>();
        // SAFETY: as above; the hook gives the reference count back, and runs once. Hooks run in reverse order, so it comes
        // before the end of the function, which has registered its own when it was made.
        let status = unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(close), hook) };
        if let Err(error) = check_status!(status, "cannot watch the environment's end") {
            // SAFETY: the hook will not take the count; and the function, which nobody knows yet, goes.
            unsafe {
                drop(Arc::from_raw(hook.cast::<Desk>()));
                sys::napi_release_threadsafe_function(
                    wake,
                    sys::ThreadsafeFunctionReleaseMode::abort,
                );
            }
            return Err(error);
        }
        desk.inbox.lock().wake = Some(Wake(wake));
        Ok(desk)
    }

    /// On the JavaScript thread. Node lives on while a promise is open.
    fn opened(&self, env: sys::napi_env) {
        if self.open.fetch_add(1, Relaxed) == 0
            && let Some(Wake(wake)) = self.inbox.lock().wake
        {
            // SAFETY: the function's own thread, and its environment lives.
            unsafe { sys::napi_ref_threadsafe_function(env, wake) };
        }
    }

    /// On the JavaScript thread.
    fn closed(&self, env: sys::napi_env, count: usize) {
        if self.open.fetch_sub(count, Relaxed) == count
            && let Some(Wake(wake)) = self.inbox.lock().wake
        {
            // SAFETY: as above.
            unsafe { sys::napi_unref_threadsafe_function(env, wake) };
        }
    }

    /// On any thread.
    fn settle(&self, deferred: Deferred, settlement: Settlement) {
        let mut inbox = self.inbox.lock();
        let Some(Wake(wake)) = inbox.wake else {
            // The thread has ended, and its promises with it.
            return;
        };
        inbox.settled.push((deferred, settlement));
        if inbox.settled.len() == 1 {
            // SAFETY: the function lives: it ends only after `close` has taken it out, under this lock.
            unsafe {
                sys::napi_call_threadsafe_function(
                    wake,
                    ptr::null_mut(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                )
            };
        }
    }
}

/// Settles what waits, on the JavaScript thread.
unsafe extern "C" fn deliver(
    env: sys::napi_env,
    _: sys::napi_value,
    context: *mut c_void,
    _: *mut c_void,
) {
    if env.is_null() {
        // The environment ends; the context may be gone.
        return;
    }
    // SAFETY: the context lives until `forget`, which comes after the last call with an environment.
    let desk = unsafe { &*context.cast::<Desk>() };
    let settled = std::mem::take(&mut desk.inbox.lock().settled);
    let count = settled.len();
    for (deferred, settlement) in settled {
        // SAFETY: this is the thread of the environment, in a callback with a scope for handles.
        unsafe { settle_one(env, deferred, settlement) };
    }
    desk.closed(env, count);
}

/// # Safety
/// On the thread of `env`, inside of a scope for handles.
unsafe fn settle_one(env: sys::napi_env, Deferred(deferred): Deferred, settlement: Settlement) {
    let made = catch_unwind(AssertUnwindSafe(|| settlement(env)))
        .unwrap_or_else(|panic| Err(thrown(Error::from_panic(panic))));
    // SAFETY: by the caller; a deferred is settled once, for it is moved here.
    let status = unsafe {
        match made {
            Ok(value) => sys::napi_resolve_deferred(env, deferred, value),
            Err(error) => {
                sys::napi_reject_deferred(env, deferred, JsError::from(error).into_value(env))
            }
        }
    };
    if status != sys::Status::napi_ok {
        tracing::error!(status, "a promise could not be settled");
    }
}

/// The environment ends: from now on nobody calls the function.
unsafe extern "C" fn close(hook: *mut c_void) {
    // SAFETY: the reference count that was handed to the hook.
    let desk = unsafe { Arc::from_raw(hook.cast::<Desk>()) };
    let left = std::mem::take(&mut *desk.inbox.lock());
    drop(left);
}

/// The function has ended.
unsafe extern "C" fn forget(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: the reference count that was handed to the function.
    drop(unsafe { Arc::from_raw(context.cast::<Desk>()) });
}
