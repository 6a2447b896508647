//! Timers: one that is kept from one wait to the next, and one for all calls of a channel.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// The number of ticks in a reply timeout. A call that has seen more of them begin is late.
pub(super) const TICKS: u32 = 8;
/// No wait is longer than this, so that each can be added to the clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// A timer for many waits, one after the other, nearly all of which end before their time.
///
/// It stays set to the deadline of an earlier wait, and is set anew only when it goes off too early
/// for this one. So a wait costs one look at the clock, instead of creating and dropping a timer.
#[derive(Debug)]
pub(super) struct Timer(Option<Armed>);

#[derive(Debug)]
struct Armed {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    waker: Waker,
}

impl Timer {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Waits for as long as `limit`, which it returns, from its first poll with this `deadline`, or
    /// without end.
    ///
    /// What is there before the first poll needs no clock. No limit may be shorter than one before.
    #[inline]
    pub(super) fn poll_limit(
        &mut self,
        limit: Option<Duration>,
        deadline: &mut Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Duration> {
        let Some(limit) = limit else {
            return Poll::Pending;
        };
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit.min(LONGEST));
        self.poll_until(deadline, cx).map(|()| limit)
    }

    /// Waits for `deadline`, which must not be earlier than any before.
    pub(super) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // Another task may belong to another runtime, so it gets a timer of its own.
        let kept = self.0.take().filter(|it| it.waker.will_wake(cx.waker()));
        let armed = match kept {
            Some(armed) if !armed.sleep.is_elapsed() => {
                self.0 = Some(armed);
                return Poll::Pending;
            }
            Some(mut armed) => {
                armed.sleep.as_mut().reset(deadline);
                armed
            }
            None => Armed {
                sleep: Box::pin(sleep_until(deadline)),
                waker: cx.waker().clone(),
            },
        };
        let Armed { sleep, .. } = self.0.insert(armed);
        // With its budget used up, `Sleep` would wake the task at once instead of registering the
        // timer.
        Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx)
    }
}

/// A timer that goes off again and again while it is started, eight times in a reply timeout.
///
/// After a pause of the whole process it goes on as if there had been none.
#[derive(Debug)]
pub(super) struct Ticker {
    period: Option<Duration>,
    timer: Timer,
    /// The next tick, unless it is stopped.
    next: Option<Instant>,
}

impl Ticker {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let period = |limit: Duration| (limit / TICKS).clamp(Duration::from_millis(1), LONGEST);
        Self {
            period: limit.map(period),
            timer: Timer::new(),
            next: None,
        }
    }

    /// Starts it, unless it runs.
    pub(super) fn start(&mut self) {
        if self.next.is_none() {
            self.set();
        }
    }

    pub(super) fn stop(&mut self) {
        self.next = None;
    }

    /// Waits for the next tick.
    pub(super) fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.next else {
            return Poll::Pending;
        };
        ready!(self.timer.poll_until(next, cx));
        self.set();
        Poll::Ready(())
    }

    fn set(&mut self) {
        self.next = self.period.map(|period| Instant::now() + period);
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
        let mut timer = Timer::new();
        for limit in [SECOND, SECOND, 5 * SECOND, LONGEST] {
            let (start, mut deadline) = (Instant::now(), None);
            let end = poll_fn(|cx| timer.poll_limit(Some(limit), &mut deadline, cx)).await;
            assert_eq!((end, Instant::now()), (limit, start + limit));
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut deadline = None;
        assert!(timer.poll_limit(None, &mut deadline, &mut cx).is_pending());
        assert_eq!(deadline, None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_at_its_deadline() {
        let mut timer = Timer::new();
        for after in [1, 3, 3, 10] {
            let deadline = Instant::now() + after * SECOND;
            poll_fn(|cx| timer.poll_until(deadline, cx)).await;
            assert_eq!(Instant::now(), deadline);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn timer_of_an_earlier_wait_does_not_end_a_later_one() {
        let mut timer = Timer::new();
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
        let mut timer = Timer::new();
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
        let mut timer = Timer::new();
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
        // It would be told to come again here, instead of by the timer.
        tokio::task::yield_now().await;
        assert_eq!(task.0.load(Relaxed), 0);
        advance(SECOND).await;
        assert_eq!(task.0.load(Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_come_while_it_runs() {
        let start = Instant::now();
        let mut ticker = Ticker::new(Some(Duration::from_secs(8)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(ticker.poll_tick(&mut cx).is_pending());
        for second in 1..20 {
            ticker.start();
            poll_fn(|cx| ticker.poll_tick(cx)).await;
            assert_eq!(start.elapsed().as_secs(), second);
        }
        ticker.stop();
        advance(Duration::from_secs(9)).await;
        assert!(ticker.poll_tick(&mut cx).is_pending());
        ticker.start();
        assert!(ticker.poll_tick(&mut cx).is_pending());

        let mut never = Ticker::new(None);
        never.start();
        assert!(never.poll_tick(&mut cx).is_pending());
    }
}
