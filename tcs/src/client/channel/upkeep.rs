//! Keeps up a connection that works: pings it, closes it when it is idle, and replaces it when it is old.

use std::{
    mem::replace,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{backoff::Backoff, connector::BoxFuture, subchannel::Subchannel};
use crate::{Result, client::connection::Connection, framing::Framing};

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
pub(super) struct Upkeep<F: Framing> {
    settings: UpkeepSettings,
    backoff: Backoff,
    checks: Interval,
    age: Age<F>,
    /// The number of attempts to replace the connection that have failed.
    failures: u32,
    /// When the last check was.
    now: Instant,
    /// The number of bytes of requests at the last check, and of the pings since.
    last_offset: u64,
    /// When a check found the last request, and when one found the last bytes.
    last_request: Instant,
    last_sent: Instant,
}

/// How far the replacement of a connection is.
enum Age<F: Framing> {
    /// The connection is old at this time. `None` if it never is.
    Young(Option<Instant>),
    /// The next connection is being opened, while this one is still used.
    Replacing(BoxFuture<Result<Connection<F>>>),
    /// The next connection is open.
    Replaced(Box<Connection<F>>),
}

impl<F: Framing> Upkeep<F> {
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
            age: Age::Young(max_age.map(|age| now + age.mul_f64(1.0 - fastrand::f64() / 10.0))),
            failures: 0,
            now,
            last_offset: 0,
            last_request: now,
            last_sent: now,
        })
    }

    /// Does what is due. `offset` is the number of bytes of all requests so far. Wakes the driver, whose next poll continues
    /// what was begun.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, subchannel: &Subchannel<F>, offset: u64) {
        if let Age::Replacing(next) = &mut self.age
            && let Poll::Ready(connected) = next.as_mut().poll(cx)
        {
            self.replace(subchannel, connected);
            cx.waker().wake_by_ref();
        }
        while self.poll_check(cx, offset).is_ready() {
            let mut state = subchannel.lock();
            if self.needs_ping() {
                let length = state.ping();
                self.record_ping(length);
            }
            let is_unused = state.is_idle() && subchannel.subscribers.is_empty();
            // While a stream lasts, an old connection stays: new calls would wait for the end of the stream, which may never
            // come.
            if self.is_old() && !state.calls.has_streams() {
                if state.has_worked || !is_unused {
                    // The connection is used until there is another, so that no call waits for the next one.
                    let next = subchannel.connect_again();
                    self.age = next.map_or(Age::Young(None), Age::Replacing);
                } else {
                    state.end();
                }
            } else if self.is_idle() && is_unused {
                // The calls that come now wait for another connection.
                state.end();
            }
            drop(state);
            cx.waker().wake_by_ref();
        }
    }

    /// Takes no more calls if the next connection is open. Calls in flight are still answered.
    #[cold]
    fn replace(&mut self, subchannel: &Subchannel<F>, connected: Result<Connection<F>>) {
        self.age = match connected {
            // A stream has begun meanwhile. The server would close the other connection before the stream ends.
            Ok(_) if subchannel.lock().calls.has_streams() => Age::Young(Some(Instant::now())),
            Ok(connection) => {
                subchannel.lock().end();
                Age::Replaced(Box::new(connection))
            }
            Err(error) => {
                tracing::debug!(error = ?error, "cannot replace the connection; trying again");
                subchannel.stats.record_failed_connect(&error.into());
                self.failures = self.failures.saturating_add(1);
                Age::Young(Some(Instant::now() + self.backoff.after(self.failures)))
            }
        };
    }

    /// Returns the connection that was opened to replace this one.
    pub(super) fn take_replacement(&mut self) -> Option<Connection<F>> {
        match replace(&mut self.age, Age::Young(None)) {
            Age::Replaced(connection) => Some(*connection),
            _ => None,
        }
    }

    /// Waits for the next check.
    fn poll_check(&mut self, cx: &mut Context<'_>, offset: u64) -> Poll<()> {
        ready!(self.checks.poll_tick(cx));
        self.now = Instant::now();
        // The offset is lower if pings are queued.
        if offset > self.last_offset {
            self.last_offset = offset;
            (self.last_request, self.last_sent) = (self.now, self.now);
        }
        Poll::Ready(())
    }

    /// Returns `true` if nothing was sent for a while.
    fn needs_ping(&self) -> bool {
        self.has_passed(self.settings.ping_interval, self.last_sent)
    }

    /// Records a ping of `length` bytes, which is no request.
    const fn record_ping(&mut self, length: u64) {
        self.last_offset += length;
        self.last_sent = self.now;
    }

    /// Returns `true` if nothing but pings was sent for a while.
    fn is_idle(&self) -> bool {
        self.has_passed(self.settings.idle_timeout, self.last_request)
    }

    /// Returns `true` if the connection is old, and is not being replaced.
    fn is_old(&self) -> bool {
        matches!(self.age, Age::Young(Some(at)) if self.now >= at)
    }

    fn has_passed(&self, limit: Option<Duration>, since: Instant) -> bool {
        limit.is_some_and(|limit| self.now.duration_since(since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::framing::LengthPrefixed;

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
        let upkeep = Upkeep::<LengthPrefixed>::new(&settings, backoff);
        let mut upkeep = upkeep.expect("it has limits");
        let mut offset = 0;
        for _ in 0..8 {
            assert!(!upkeep.is_idle());
            poll_fn(|cx| upkeep.poll_check(cx, offset)).await;
        }
        assert!(upkeep.is_idle() && upkeep.needs_ping());
        upkeep.record_ping(5);
        assert!(!upkeep.needs_ping());
        // The ping is sent later than the next check, after a request that was queued before it.
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
