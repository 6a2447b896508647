//! How long a connection may go on within one poll of its task.

use std::time::{Duration, Instant};

/// The time that a connection has within one poll of its task.
///
/// A peer that never stops asking would otherwise keep its worker thread, and with it the timers, the
/// signals and the other connections. Cheap requests are counted, and the clock is read once for
/// [`STRIDE`] of them. The first request of a poll is free if no other waits behind it, so a lone
/// request reads no clock.
#[derive(Debug)]
pub(super) struct Budget {
    /// How many requests may be processed before the clock is read.
    left: u32,
    /// How many were allowed when it was read last.
    allowed: u32,
    /// When the clock was read first in this poll, and when last.
    clock: Option<(Instant, Instant)>,
}

/// The most requests that are processed between two looks at the clock.
const STRIDE: u32 = 32;

impl Budget {
    /// Returns the budget of a new poll.
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            left: 1,
            allowed: 1,
            clock: None,
        }
    }

    /// Returns `true` if [`is_spent`](Self::is_spent) must be asked before the next request.
    #[inline]
    pub(super) const fn is_due(&self) -> bool {
        self.left == 0
    }

    /// Returns `true` if the time of this poll is over, and otherwise allows more requests.
    #[cold]
    pub(super) fn is_spent(&mut self, limit: Duration) -> bool {
        let now = Instant::now();
        let (began, last) = self.clock.unwrap_or((now, now));
        if now - began >= limit {
            return true;
        }
        let is_cheap = self.clock.is_some() && now - last < limit * self.allowed / STRIDE;
        self.allowed = if is_cheap { STRIDE } else { 1 };
        self.left = self.allowed;
        self.clock = Some((began, now));
        false
    }

    /// Counts a request that is about to be processed.
    #[inline]
    pub(super) fn count(&mut self, has_more: bool) {
        self.left -= 1;
        if self.left == 0 && has_more && self.clock.is_none() {
            self.start();
        }
    }

    #[cold]
    fn start(&mut self) {
        let now = Instant::now();
        self.clock = Some((now, now));
    }
}
