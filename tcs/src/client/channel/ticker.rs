//! One timer for all calls of a channel.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::calls::TICKS;
use crate::client::timer::{LONGEST, Timer};

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
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ticks_come_while_it_runs() {
        let start = Instant::now();
        let mut ticker = Ticker::new(Some(Duration::from_secs(8)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(ticker.poll_tick(&mut cx).is_pending());
        for second in 1..20 {
            ticker.start();
            poll_fn(|cx| ticker.poll_tick(cx)).await;
            assert_eq!(start.elapsed().as_secs(), second);
        }
        ticker.stop();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(ticker.poll_tick(&mut cx).is_pending());
        ticker.start();
        assert!(ticker.poll_tick(&mut cx).is_pending());

        let mut never = Ticker::new(None);
        never.start();
        assert!(never.poll_tick(&mut cx).is_pending());
    }
}
