//! One timer for all calls of a channel.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::calls::TICKS;

/// Ticks are not longer than this, so that each can be added to the clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// A timer that goes off again and again while it is started, eight times in a reply timeout.
///
/// After a pause of the whole process it goes on as if there had been none.
#[derive(Debug)]
pub(super) struct Ticker {
    period: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Stopped,
    /// The timer does not know yet whom to wake.
    Set,
    /// The timer wakes the task.
    Armed,
}

impl Ticker {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let period = |limit: Duration| (limit / TICKS).clamp(Duration::from_millis(1), LONGEST);
        Self {
            period: limit.map(period),
            timer: None,
            phase: Phase::Stopped,
        }
    }

    /// Starts it, unless it runs.
    pub(super) fn start(&mut self) {
        if self.phase == Phase::Stopped {
            self.set();
        }
    }

    pub(super) fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    /// Waits for the next tick.
    ///
    /// It must be polled by one task only: a timer that is armed is not polled until it goes off.
    pub(super) fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        match self.phase {
            Phase::Stopped => return Poll::Pending,
            Phase::Armed if !timer.is_elapsed() => return Poll::Pending,
            Phase::Set | Phase::Armed => self.phase = Phase::Armed,
        }
        ready!(timer.as_mut().poll(cx));
        self.set();
        Poll::Ready(())
    }

    fn set(&mut self) {
        let Some(period) = self.period else {
            return;
        };
        self.phase = Phase::Set;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + period),
            none => *none = Some(Box::pin(sleep(period))),
        }
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
