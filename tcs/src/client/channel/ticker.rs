//! When a channel looks for calls that are late.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::client::options::MAX_TIMEOUT;

/// The timer for all calls of a channel: a call counts ticks instead of reading the clock.
#[derive(Debug)]
pub(super) struct Ticker {
    /// The time between two ticks.
    period: Duration,
    /// Set while the ticker runs.
    interval: Option<Interval>,
}

impl Ticker {
    /// Creates a ticker with [`ticks_in(limit)`](ticks_in) ticks in `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        let period = limit / ticks_in(limit);
        Self {
            period: period.clamp(Duration::from_millis(1), MAX_TIMEOUT),
            interval: None,
        }
    }

    /// Starts the ticker, unless it runs. The first tick is a period from now.
    #[inline]
    pub(super) fn start(&mut self) {
        let period = self.period;
        self.interval.get_or_insert_with(|| {
            let mut interval = interval_at(Instant::now() + period, period);
            // After a pause of the whole process, calls get that time in addition.
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
    }

    pub(super) fn stop(&mut self) {
        self.interval = None;
    }

    /// Waits for the next tick. Stays pending while the ticker does not run.
    pub(super) fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.interval {
            Some(interval) => interval.poll_tick(cx).map(drop),
            None => Poll::Pending,
        }
    }
}

/// Returns the number of ticks in a reply timeout: eight, but at most one for each millisecond, which
/// is as exact as a timer is.
pub(super) fn ticks_in(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).map_or(8, |millis| millis.clamp(1, 8))
}
