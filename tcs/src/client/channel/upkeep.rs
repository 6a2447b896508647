//! When a connection that works is pinged, and when it is closed because it is idle, or replaced because it is old.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::backoff::Backoff;

/// How many times a timeout is checked while it runs.
const CHECKS: u32 = 8;

/// When a connection is closed, pinged and replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct UpkeepSettings {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) ping_interval: Option<Duration>,
    pub(super) max_age: Option<Duration>,
}

/// Checks now and then whether a connection is in use, so that a call reads no clock.
#[derive(Debug)]
pub(super) struct Upkeep {
    settings: UpkeepSettings,
    backoff: Backoff,
    checks: Interval,
    /// When the connection is to be replaced, unless it is being replaced.
    replaced_at: Option<Instant>,
    /// The number of attempts to replace it that have failed.
    failures: u32,
    /// When the last check was.
    now: Instant,
    /// The number of bytes of requests at the last check, and of the pings since.
    last_offset: u64,
    /// When the last request was found, and when the last bytes were.
    last_request: Instant,
    last_sent: Instant,
}

impl Upkeep {
    /// Begins with a new connection. Returns `None` if it needs no upkeep.
    pub(super) fn new(settings: &UpkeepSettings, backoff: Backoff) -> Option<Self> {
        let UpkeepSettings {
            idle_timeout,
            ping_interval,
            max_age,
        } = *settings;
        let limits = [idle_timeout, ping_interval, max_age];
        let shortest = limits.into_iter().flatten().min()?;
        let now = Instant::now();
        let period = (shortest / CHECKS).max(Duration::from_millis(1));
        let mut checks = interval_at(now + period, period);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self {
            settings: *settings,
            backoff,
            checks,
            // Up to a tenth earlier, so that the connections of many clients are not replaced at the same time.
            replaced_at: max_age.map(|age| now + age.mul_f64(1.0 - fastrand::f64() / 10.0)),
            failures: 0,
            now,
            last_offset: 0,
            last_request: now,
            last_sent: now,
        })
    }

    /// Waits for the next check. `offset` is the number of bytes of all requests so far.
    pub(super) fn poll_check(&mut self, cx: &mut Context<'_>, offset: u64) -> Poll<()> {
        ready!(self.checks.poll_tick(cx));
        self.now = Instant::now();
        // Less if pings are queued.
        if offset > self.last_offset {
            self.last_offset = offset;
            (self.last_request, self.last_sent) = (self.now, self.now);
        }
        Poll::Ready(())
    }

    /// Returns `true` if nothing was sent for a while.
    pub(super) fn needs_ping(&self) -> bool {
        self.has_passed(self.settings.ping_interval, self.last_sent)
    }

    /// Records a ping of `length` bytes. They are no request.
    pub(super) const fn record_ping(&mut self, length: u64) {
        self.last_offset += length;
        self.last_sent = self.now;
    }

    /// Returns `true` if nothing but pings was sent for a while.
    pub(super) fn is_idle(&self) -> bool {
        self.has_passed(self.settings.idle_timeout, self.last_request)
    }

    /// Returns `true` if the connection is old, and is not being replaced.
    pub(super) fn is_old(&self) -> bool {
        self.replaced_at.is_some_and(|at| self.now >= at)
    }

    fn has_passed(&self, limit: Option<Duration>, since: Instant) -> bool {
        limit.is_some_and(|limit| self.now.duration_since(since) >= limit)
    }

    /// Notes that the next connection is being opened.
    pub(super) const fn begin_replacement(&mut self) {
        self.replaced_at = None;
    }

    /// Makes the connection old again at the next check.
    pub(super) fn postpone_replacement(&mut self) {
        self.replaced_at = Some(Instant::now());
    }

    /// Makes the connection old again after the wait that follows a failed attempt.
    pub(super) fn replacement_failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.replaced_at = Some(Instant::now() + self.backoff.after(self.failures));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ping_is_no_use_of_a_connection_and_hides_none() {
        let second = Duration::from_secs(1);
        let settings = UpkeepSettings {
            idle_timeout: Some(8 * second),
            ping_interval: Some(8 * second),
            max_age: None,
        };
        let backoff = Backoff {
            min: second,
            max: second,
        };
        let mut upkeep = Upkeep::new(&settings, backoff).expect("it has limits");
        let mut offset = 0;
        for _ in 0..8 {
            assert!(!upkeep.is_idle());
            poll_fn(|cx| upkeep.poll_check(cx, offset)).await;
        }
        assert!(upkeep.is_idle() && upkeep.needs_ping());
        upkeep.record_ping(5);
        assert!(!upkeep.needs_ping());
        // It is sent later than the next check, after a request that was queued before it.
        poll_fn(|cx| upkeep.poll_check(cx, offset)).await;
        assert!(upkeep.is_idle());
        offset += 10 + 5;
        poll_fn(|cx| upkeep.poll_check(cx, offset)).await;
        assert!(!upkeep.is_idle());
        for _ in 0..8 {
            poll_fn(|cx| upkeep.poll_check(cx, offset)).await;
        }
        assert!(upkeep.is_idle());
    }
}
