//! Limits how long a connection may process requests within one poll of its task.

use std::time::{Duration, Instant};

/// The time that a connection may spend on requests within one poll of its task.
///
/// Without it, a peer that never stops sending keeps its worker thread busy, and the timers, the signals
/// and the other connections of that thread wait. The clock is read once for [`STRIDE`] cheap requests,
/// and once for each dear one. A lone request reads no clock.
#[derive(Debug)]
pub(super) struct Budget {
    /// How many more requests may be processed before the clock is read.
    left: u32,
    /// How many requests have been processed since the clock was first read, once `left` is 0.
    processed: u32,
    /// When the clock was first read in this poll.
    began: Option<Instant>,
}

/// The most requests that are processed between two looks at the clock.
const STRIDE: u32 = 32;

impl Budget {
    /// Returns a full budget, for a new poll.
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            left: 1,
            processed: 1,
            began: None,
        }
    }

    /// Returns `true` if [`is_spent`](Self::is_spent) must be called before the next request.
    #[inline]
    pub(super) const fn is_due(&self) -> bool {
        self.left == 0
    }

    /// Reads the clock. Returns `true` if the time is over, and otherwise allows more requests.
    #[cold]
    pub(super) fn is_spent(&mut self, limit: Duration) -> bool {
        let now = Instant::now();
        let Some(began) = self.began else {
            // The time that the first request took is not known.
            (self.began, self.left) = (Some(now), 1);
            return false;
        };
        let taken = now - began;
        if taken >= limit {
            return true;
        }
        // The next stride must not exceed the limit by much.
        let is_cheap = taken * STRIDE < limit * self.processed;
        self.left = if is_cheap { STRIDE } else { 1 };
        self.processed = self.processed.saturating_add(self.left);
        false
    }

    /// Counts a request that is about to be processed.
    #[inline]
    pub(super) fn count(&mut self, has_more: bool) {
        // `left` can be 0 here: a framing can find a frame when no bytes are left.
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && has_more && self.began.is_none() {
            self.began = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;
    const PLENTY: Duration = Duration::from_secs(10);

    #[test]
    fn lone_request_reads_no_clock() {
        let mut budget = Budget::new();
        assert!(!budget.is_due());
        budget.count(false);
        assert_eq!(budget.began, None);
        // The next one in the same poll does, but has its turn.
        assert!(budget.is_due() && !budget.is_spent(NONE));
        budget.count(false);
        assert!(budget.is_due() && budget.is_spent(NONE));
    }

    #[test]
    fn second_of_several_waits_if_the_first_took_too_long() {
        let mut budget = Budget::new();
        budget.count(true);
        assert!(budget.is_due() && budget.is_spent(NONE));
    }

    #[test]
    fn clock_is_read_once_for_many_cheap_requests() {
        let mut budget = Budget::new();
        budget.count(true);
        assert!(!budget.is_spent(PLENTY));
        for _ in 0..STRIDE {
            assert!(!budget.is_due());
            budget.count(true);
        }
        assert!(budget.is_due());
    }

    #[test]
    fn clock_is_read_for_each_dear_request() {
        let mut budget = Budget::new();
        budget.count(true);
        budget.began = Instant::now().checked_sub(PLENTY / 2);
        assert!(budget.began.is_some() && !budget.is_spent(PLENTY));
        budget.count(true);
        assert!(budget.is_due());
    }
}
