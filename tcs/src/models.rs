//! Runs models: small programs of a few threads, which must keep a promise in each order (`docs/reliability.md`).
//!
//! With `--cfg shuttle`, the locks and atomics of [`crate::sync`] are those of `shuttle`, and each of their
//! operations is a point at which another thread may go on. Without it, models are ordinary tests with threads of the
//! operating system, and so they are under Miri, which also reorders what atomics allow.
//!
//! The types of tokio are its own in both cases. Between two points, an operation of theirs is one step.

#[cfg(shuttle)]
mod kind {
    use shuttle::{
        Config, Runner,
        scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
    };
    pub(crate) use shuttle::{future::block_on, thread};

    /// How many orders of a model are run at most, by each of three ways to choose them.
    fn iterations() -> usize {
        let number = std::env::var("TCS_ORDERS").ok();
        let number = number.map_or(1_000, |number| number.parse().expect("a number"));
        assert!(number > 0, "`TCS_ORDERS` is 0: nothing would be checked");
        number
    }

    /// Runs a model in many orders of its threads.
    ///
    /// They are in part those that are next to each other, in part those with few changes of the thread, and in part
    /// random ones.
    pub(crate) fn explore(model: impl Fn() + Send + Sync + Copy + 'static) {
        let most = iterations();
        if run(DfsScheduler::new(Some(most), true), model) == most {
            run(PctScheduler::new(3, most), model);
            run(RandomScheduler::new(most), model);
        }
    }

    /// Runs a model in all orders of its threads. Panics if they are too many.
    pub(crate) fn explore_all(model: impl Fn() + Send + Sync + Copy + 'static) {
        const MOST: usize = 10_000;
        let orders = run(DfsScheduler::new(Some(MOST), true), model);
        assert!(orders < MOST, "it has more than {MOST} orders");
    }

    fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) -> usize {
        let mut config = Config::new();
        config.stack_size = 256 << 10;
        // Of the models of atomics: Miri knows the weaker ones.
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(model)
    }
}

#[cfg(not(shuttle))]
mod kind {
    pub(crate) use std::thread;
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Poll, Wake},
        thread::Thread,
        time::{Duration, Instant},
    };

    /// As `explore`: nobody knows which orders happen.
    pub(crate) fn explore_all(model: impl Fn() + Send + Sync + Copy + 'static) {
        explore(model);
    }

    /// Runs a model in the orders that happen. That shows that it compiles and ends, hardly more.
    pub(crate) fn explore(model: impl Fn() + Send + Sync + Copy + 'static) {
        let times = if cfg!(miri) { 1 } else { 20 };
        for _ in 0..times {
            model();
        }
    }

    /// Runs a future on this thread. Panics if it is not woken.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        const LIMIT: Duration = Duration::from_secs(20);
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            let began = Instant::now();
            thread::park_timeout(LIMIT);
            assert!(began.elapsed() < LIMIT, "nobody wakes it");
        }
    }
}

use kind::thread;
pub(crate) use kind::{block_on, explore, explore_all};

/// Runs `body` in a thread of its own, and waits for it and its threads.
///
/// The end of the last thread wakes the one that waits for them, whatever it waits for at the time. If that were the
/// one of `body`, a wake-up that it did not get would remain unnoticed.
pub(crate) fn scope<'env, F>(body: F)
where
    F: for<'scope> FnOnce(&'scope thread::Scope<'scope, 'env>) + Send + 'env,
{
    thread::scope(|threads| {
        threads.spawn(move || body(threads));
    });
}
