//! Futures that begin on the thread that asks for them and go on on the runtime: one wake-up less for what only has to hand
//! its request over before it waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Started {
    runtime: Handle,
    state: Mutex<State>,
}

enum State {
    Beginning,
    /// Woken before its first poll had ended.
    Woken,
    Waiting(Work),
    /// With the runtime, or done.
    Away,
}

/// Polls `work` once, here; the rest of it runs on the runtime. Its first part should be short.
pub(crate) fn start(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    let mut work: Work = Box::pin(work);
    let started = Arc::new(Started {
        runtime: runtime.clone(),
        state: Mutex::new(State::Beginning),
    });
    let polled = {
        let _context = runtime.enter();
        let waker = Waker::from(started.clone());
        work.as_mut().poll(&mut Context::from_waker(&waker))
    };
    let mut state = started.state.lock();
    *state = match polled {
        Poll::Ready(()) => State::Away,
        Poll::Pending if matches!(*state, State::Woken) => {
            runtime.spawn(work);
            State::Away
        }
        Poll::Pending => State::Waiting(work),
    };
}

impl Wake for Started {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Away) {
            State::Beginning | State::Woken => *state = State::Woken,
            State::Waiting(work) => {
                drop(state);
                self.runtime.spawn(work);
            }
            State::Away => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    /// Whether the work ended, within a generous time.
    fn ends(begin: impl FnOnce(&Handle, std::sync::mpsc::Sender<std::thread::ThreadId>)) -> bool {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (done, ended) = std::sync::mpsc::channel();
        begin(runtime.handle(), done);
        let thread = ended.recv_timeout(Duration::from_secs(60));
        thread.is_ok_and(|thread| thread != std::thread::current().id())
    }

    #[test]
    fn what_is_ready_ends_where_it_began() {
        assert!(!ends(|runtime, done| {
            start(runtime, async move {
                done.send(std::thread::current().id()).expect("heard");
            });
        }));
    }

    #[test]
    fn what_waits_goes_on_on_the_runtime() {
        assert!(ends(|runtime, done| {
            let (answer, answered) = oneshot::channel();
            start(runtime, async move {
                answered.await.expect("answered");
                tokio::time::sleep(Duration::from_millis(1)).await;
                done.send(std::thread::current().id()).expect("heard");
            });
            answer.send(()).expect("waited for");
        }));
    }

    #[test]
    fn a_wake_up_during_the_first_poll_is_not_lost() {
        assert!(ends(|runtime, done| {
            start(runtime, async move {
                let mut woken = false;
                std::future::poll_fn(|context| {
                    if std::mem::replace(&mut woken, true) {
                        return Poll::Ready(());
                    }
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
                done.send(std::thread::current().id()).expect("heard");
            });
        }));
    }
}
