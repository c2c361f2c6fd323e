use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use super::*;

/// A pool of the test's own: `workers` threads that take tasks from a channel, as piscina's would.
struct Pool {
    queue: Arc<Queue<u64>>,
    done: Arc<AtomicUsize>,
    most_asked: Arc<AtomicUsize>,
}

fn pool(workers: usize, budget: Duration) -> Pool {
    let (ask, asked) = mpsc::channel::<()>();
    let asked = Arc::new(Mutex::new(asked));
    let outstanding = Arc::new(AtomicUsize::new(0));
    let most_asked = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let listener: Listener = {
        let (outstanding, most_asked) = (outstanding.clone(), most_asked.clone());
        Arc::new(move |tasks| {
            let now = outstanding.fetch_add(tasks as usize, SeqCst) + tasks as usize;
            most_asked.fetch_max(now, SeqCst);
            for _ in 0..tasks {
                // The threads end with the test; a task asked for after that is of no interest.
                let _ = ask.send(());
            }
        })
    };
    let queue = Arc::new(Queue::new(workers, listener));
    for _ in 0..workers {
        let (queue, asked, done, outstanding) = (
            queue.clone(),
            asked.clone(),
            done.clone(),
            outstanding.clone(),
        );
        std::thread::spawn(move || {
            loop {
                if asked.lock().recv().is_err() {
                    return;
                }
                let deadline = Instant::now() + budget;
                let mut visit = queue.enter();
                // Counted down before the visit can end, so that the count is never above what the queue believes.
                outstanding.fetch_sub(1, SeqCst);
                while let Some(work) = visit.next() {
                    match work {
                        Work::Stripes(stripes) => {
                            assert!(stripes.len() <= MAX_LANES);
                            done.fetch_add(stripes.len(), SeqCst);
                        }
                        Work::Task(task) => task(),
                    }
                    if Instant::now() >= deadline {
                        break;
                    }
                }
            }
        });
    }
    Pool {
        queue,
        done,
        most_asked,
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn no_wake_up_is_lost_whatever_the_workers_do() {
    for workers in [1, 2, 5] {
        for budget in [
            Duration::ZERO,
            Duration::from_micros(20),
            Duration::from_millis(5),
        ] {
            let pool = pool(workers, budget);
            let total = 4000;
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for number in 0..total / 2 {
                            pool.queue.push_stripe(number as u64);
                            if number % 7 == 0 {
                                // Lets the queue run dry, so that the last worker leaves while the next stripe comes.
                                std::thread::yield_now();
                            }
                        }
                    });
                }
            });
            until("a stripe was left behind", || {
                pool.done.load(SeqCst) == total
            });
            assert!(pool.most_asked.load(SeqCst) <= workers);
        }
    }
}

#[test]
fn one_stripe_at_a_time_never_waits_for_the_next() {
    let pool = pool(2, Duration::from_millis(1));
    for number in 1..=5000 {
        pool.queue.push_stripe(number as u64);
        until("a single stripe was left behind", || {
            pool.done.load(SeqCst) == number
        });
    }
}

#[test]
fn tasks_go_first_and_stripes_come_in_lanes() {
    let queue: Queue<u64> = Queue::new(2, Arc::new(|_| {}));
    for number in 0..100 {
        queue.push_stripe(number);
    }
    queue.push_task(Box::new(|| {}));
    let mut visit = queue.enter();
    assert!(matches!(visit.next(), Some(Work::Task(_))));
    assert!(matches!(visit.next(), Some(Work::Stripes(lanes)) if lanes.len() == MAX_LANES));
}

#[test]
fn tasks_that_never_come_are_asked_for_again() {
    let told = Arc::new(AtomicUsize::new(0));
    let queue: Queue<u64> = {
        let told = told.clone();
        Queue::new(
            3,
            Arc::new(move |tasks| told.store(told.load(SeqCst) + tasks as usize, SeqCst)),
        )
    };
    queue.push_stripe(1);
    assert_eq!(told.load(SeqCst), 1);
    queue.watch(Instant::now());
    assert_eq!(told.load(SeqCst), 1);
    queue.watch(Instant::now() + LOST_AFTER);
    assert_eq!(told.load(SeqCst), 2);
    drop(queue.enter());
    assert_eq!(
        told.load(SeqCst),
        3,
        "who leaves early asks for a successor"
    );
}

#[test]
fn a_new_listener_or_more_workers_take_up_what_waits() {
    let queue: Queue<u64> = Queue::new(1, Arc::new(|_| {}));
    for number in 0..40 {
        queue.push_stripe(number);
    }
    let told = Arc::new(AtomicUsize::new(0));
    let listener = {
        let told = told.clone();
        Arc::new(move |tasks: u32| told.store(told.load(SeqCst) + tasks as usize, SeqCst))
    };
    queue.set_listener(listener);
    assert_eq!(told.load(SeqCst), 1);
    queue.set_workers(4);
    assert_eq!(told.load(SeqCst), 4);
}
