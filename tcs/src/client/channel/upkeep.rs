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

/// What a connection needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping, because nothing was sent for a while.
    Ping,
    /// To be closed, because nobody has used it for a while.
    Close,
    /// To be replaced, because it is old.
    Replacement,
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
    /// The number of bytes of requests at the last check.
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
            last_offset: 0,
            last_request: now,
            last_sent: now,
        })
    }

    /// Waits until something is due. `offset` is the number of bytes of all requests so far.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, offset: u64) -> Poll<Due> {
        loop {
            ready!(self.checks.poll_tick(cx));
            let now = Instant::now();
            if offset != self.last_offset {
                self.last_offset = offset;
                (self.last_request, self.last_sent) = (now, now);
            }
            let has_passed = |limit: Option<Duration>, since| {
                limit.is_some_and(|limit| now.duration_since(since) >= limit)
            };
            // First: a replacement is due at each check while a stream lasts, and the end while a call is in flight.
            if has_passed(self.settings.ping_interval, self.last_sent) {
                self.last_sent = now;
                return Poll::Ready(Due::Ping);
            }
            if self.replaced_at.is_some_and(|at| now >= at) {
                self.replaced_at = None;
                return Poll::Ready(Due::Replacement);
            }
            if has_passed(self.settings.idle_timeout, self.last_request) {
                return Poll::Ready(Due::Close);
            }
        }
    }

    /// Makes a replacement due again at the next check.
    pub(super) fn postpone_replacement(&mut self) {
        self.replaced_at = Some(Instant::now());
    }

    /// Makes a replacement due again after the wait that follows a failed attempt.
    pub(super) fn replacement_failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.replaced_at = Some(Instant::now() + self.backoff.after(self.failures));
    }

    /// Notes the bytes of a ping. They are no request.
    pub(super) const fn note_ping(&mut self, offset: u64) {
        self.last_offset = offset;
    }
}
