//! Measures how long tasks wait until they run, for `max_queue_time`.

use std::{
    convert::Infallible, future::poll_fn, mem::replace, sync::Arc, task::Poll, time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    Rejection,
    codel::CoDel,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The bounds of the pause between two turns of the probe. The pause is a quarter of the limit.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(25)];

/// A task that only sleeps. It wakes as late as other tasks wait to run.
///
/// A request is checked against the delay of the probe *now*, so requests at the front of a queue pass. With the last
/// delay, all requests would be rejected until the probe's next turn, and then none. A single long call also delays the
/// probe, so the limit applies only to a standing queue ([`CoDel`]).
#[derive(Debug)]
pub(super) struct SchedulerProbe {
    queue: CoDel,
    /// The time at which the probe is due, in microseconds.
    due: AtomicU64,
}

impl SchedulerProbe {
    pub(super) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            queue: CoDel::new(limit),
            due: AtomicU64::new(u64::MAX),
        })
    }

    /// Rejects a request that was read at `read` and starts at `now`, if it has waited too long.
    pub(super) fn check(&self, read: Option<Instant>, now: Instant) -> Result<(), Rejection> {
        // Requests of one connection wait for each other, so a burst of them gets no allowance.
        if read.is_some_and(|read| now - read > self.queue.limit()) {
            return Err(self.queue.rejection());
        }
        let late = self
            .queue
            .micros(now)
            .saturating_sub(self.due.load(Relaxed));
        self.queue.check(Duration::from_micros(late), now)
    }

    /// Starts the probe, which ends when the result is dropped.
    ///
    /// The probe is a task of its own, because the caller may run in `block_on`, on a thread without a queue.
    pub(super) fn start(self: &Arc<Self>) -> JoinSet<Infallible> {
        let mut probe = JoinSet::new();
        probe.spawn(Arc::clone(self).run());
        probe
    }

    async fn run(self: Arc<Self>) -> Infallible {
        let [shortest, longest] = PAUSES;
        let pause = (self.queue.limit() / 4).clamp(shortest, longest);
        loop {
            let mut due = Instant::now() + pause;
            self.set_due(due);
            sleep_until(due).await;
            wait_for_turn().await;
            self.queue.note(due.elapsed(), Instant::now());
            // While the probe is late, it does not sleep: requests that start meanwhile have waited longer. Once it is
            // on time, it records nothing, because further requests may still be in their sockets.
            while self.queue.is_long(due.elapsed()) {
                due = Instant::now();
                self.set_due(due);
                wait_for_turn().await;
            }
        }
    }

    fn set_due(&self, due: Instant) {
        self.due.store(self.queue.micros(due), Relaxed);
    }
}

/// Waits until the tasks that are ready to run have been polled.
async fn wait_for_turn() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        // This task is polled after the ready tasks of its thread. `yield_now` would also wait for the driver.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[test]
    fn requests_are_rejected_while_the_probe_is_late_for_a_while() {
        let probe = SchedulerProbe::new(LIMIT);
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let is_busy = |milliseconds| probe.check(None, at(milliseconds)).is_err();
        probe.set_due(at(1_000));
        assert!(!is_busy(500) && !is_busy(1_019) && !is_busy(1_021));
        assert!(!is_busy(1_119) && is_busy(1_122));
        // The probe has had its turn, and is late again. The first requests have waited for a short time.
        probe.set_due(at(1_122));
        assert!(!is_busy(1_123) && !is_busy(1_141) && is_busy(1_144));
        // The probe was on time.
        probe.queue.note(Duration::ZERO, at(1_200));
        assert!(!is_busy(1_201) && !is_busy(1_299) && is_busy(1_302));
    }

    #[tokio::test(start_paused = true)]
    async fn single_call_that_computes_for_long_rejects_nothing() {
        let probe = SchedulerProbe::new(LIMIT);
        let _running = probe.start();
        for _ in 0..10 {
            sleep(Duration::from_millis(100)).await;
            let after_the_call = Instant::now() + Duration::from_millis(300);
            assert!(probe.check(None, after_the_call).is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn probe_ends_with_the_server() {
        let probe = SchedulerProbe::new(LIMIT);
        let running = probe.start();
        sleep(LIMIT).await;
        drop(running);
        sleep(LIMIT).await;
        assert_eq!(Arc::strong_count(&probe), 1);
    }
}
