//! Timers that are kept from one wait to the next.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::options::MAX_TIMEOUT;

/// A timer for many waits, one after the other. Most of them end before their deadline.
///
/// The timer stays set to the deadline of an earlier wait, and is replaced only if it fires before the current
/// deadline, or would fire after it. So a wait reads the clock once, instead of creating and dropping a timer.
#[derive(Debug, Default)]
pub(super) struct Timer {
    armed: Option<Armed>,
    /// When the current wait ends. The value is kept if a wait is dropped, until [`reset`](Self::reset).
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Armed {
    sleep: Pin<Box<Sleep>>,
    /// Wakes the task that waited last.
    waker: Waker,
}

impl Timer {
    /// Ends the current wait. The next poll begins another.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.deadline = None;
    }

    /// Drops the waker of the task that waited last. The current wait continues.
    pub(super) fn forget_waker(&mut self) {
        self.armed = None;
    }

    /// Waits for `limit`, and returns it. Without a limit, waits forever.
    ///
    /// The wait begins with its first poll.
    #[inline]
    pub(super) fn poll_limit(
        &mut self,
        limit: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Duration> {
        let Some(limit) = limit else {
            return Poll::Pending;
        };
        let new_deadline = || Instant::now() + limit.min(MAX_TIMEOUT);
        let deadline = *self.deadline.get_or_insert_with(new_deadline);
        self.poll_until(deadline, cx).map(|()| limit)
    }

    /// Waits until `deadline`.
    pub(super) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // Another task gets a new timer, because it may belong to another runtime. The same waker can
        // also be of another runtime: then the timer fires when the first one ends, and cannot be
        // set again.
        if let Some(armed) = &self.armed
            && armed.waker.will_wake(cx.waker())
            && armed.sleep.deadline() <= deadline
            && !armed.sleep.is_elapsed()
        {
            return Poll::Pending;
        }
        let Armed { sleep, .. } = self.armed.insert(Armed {
            sleep: Box::pin(sleep_until(deadline)),
            waker: cx.waker().clone(),
        });
        // Without `unconstrained`, a `Sleep` in a task that has used up its budget wakes the task at
        // once instead of registering the timer.
        Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        task::Wake,
    };

    use tokio::{task::coop, time::advance};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn limit_begins_with_the_first_poll() {
        let mut timer = Timer::default();
        for limit in [SECOND, SECOND, 5 * SECOND, MAX_TIMEOUT] {
            let start = Instant::now();
            let end = poll_fn(|cx| timer.poll_limit(Some(limit), cx)).await;
            assert_eq!((end, Instant::now()), (limit, start + limit));
            timer.reset();
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert!(timer.poll_limit(None, &mut cx).is_pending());
        assert_eq!(timer.deadline, None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_at_its_deadline() {
        let mut timer = Timer::default();
        for after in [1, 3, 3, 10] {
            let deadline = Instant::now() + after * SECOND;
            poll_fn(|cx| timer.poll_until(deadline, cx)).await;
            assert_eq!(Instant::now(), deadline);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn timer_of_an_earlier_wait_does_not_end_a_later_one() {
        let mut timer = Timer::default();
        let mut cx = Context::from_waker(Waker::noop());
        let first = Instant::now() + 5 * SECOND;
        assert!(timer.poll_until(first, &mut cx).is_pending());
        advance(4 * SECOND).await;
        let second = Instant::now() + 5 * SECOND;
        assert!(timer.poll_until(second, &mut cx).is_pending());
        advance(2 * SECOND).await;
        assert!(timer.poll_until(second, &mut cx).is_pending());
        advance(3 * SECOND).await;
        assert!(timer.poll_until(second, &mut cx).is_ready());
    }

    struct Counted(AtomicU64);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn timer_wakes_who_waits_last() {
        let mut timer = Timer::default();
        let deadline = Instant::now() + SECOND;
        let tasks = [(); 2].map(|()| Arc::new(Counted(AtomicU64::new(0))));
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            let mut cx = Context::from_waker(&waker);
            assert!(timer.poll_until(deadline, &mut cx).is_pending());
            assert!(timer.poll_until(deadline, &mut cx).is_pending());
        }
        advance(SECOND).await;
        assert_eq!(tasks.map(|task| task.0.load(Relaxed)), [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn task_that_has_done_enough_for_now_is_woken_all_the_same() {
        let mut timer = Timer::default();
        let deadline = Instant::now() + SECOND;
        let task = Arc::new(Counted(AtomicU64::new(0)));
        let waker = Waker::from(Arc::clone(&task));
        poll_fn(|cx| {
            while let Poll::Ready(restore) = coop::poll_proceed(cx) {
                restore.made_progress();
            }
            let mut cx = Context::from_waker(&waker);
            assert!(timer.poll_until(deadline, &mut cx).is_pending());
            Poll::Ready(())
        })
        .await;
        // A wake for the used-up budget would come here, before the wake of the timer.
        tokio::task::yield_now().await;
        assert_eq!(task.0.load(Relaxed), 0);
        advance(SECOND).await;
        assert_eq!(task.0.load(Relaxed), 1);
    }
}
