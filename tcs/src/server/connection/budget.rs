//! Limits how long a connection may process requests within one poll of its task.

use tokio::time::Instant;

/// The time that a connection may spend on requests within one poll of its task.
///
/// Without this limit, a peer that never stops sending would starve the timers, the signals and the other connections of
/// its worker thread. While requests are cheap, the clock is read once for up to [`MAX_STRIDE`] of them. For a single
/// request, it is not read.
#[derive(Debug)]
pub(super) struct Budget {
    /// How many more requests may be processed before the clock is read.
    left: u8,
    /// How many requests are processed between two readings of the clock. Kept from poll to poll.
    stride: u8,
    /// When the clock was last read in this poll.
    last_read: Option<Instant>,
    /// The nanoseconds spent until then, at most 4 s. A `u32` keeps idle connections small.
    spent: u32,
}

/// The maximum number of requests between two readings of the clock.
///
/// Other connections may wait for this many expensive requests. A flood must not slow them down by more than a factor of
/// 10 (`tests/fairness.rs`), so this is less than 10.
const MAX_STRIDE: u8 = 9;

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            left: 1,
            stride: 1,
            last_read: None,
            spent: 0,
        }
    }

    /// Begins a new poll.
    #[inline]
    pub(super) fn restart(&mut self) {
        self.left = 1;
        self.last_read = None;
        self.spent = 0;
    }

    /// Returns `true` if [`check_clock`](Self::check_clock) must be called before the next request.
    #[inline]
    pub(super) const fn is_due(&self) -> bool {
        self.left == 0
    }

    /// Reads the clock. Returns `true` if `limit` nanoseconds are spent, and otherwise allows more requests.
    #[inline(never)]
    pub(super) fn check_clock(&mut self, limit: u64) -> bool {
        let now = Instant::now();
        let Some(last) = self.last_read.replace(now) else {
            // After the first request nothing more had arrived, so the clock was not started.
            self.left = 1;
            return false;
        };
        let taken = u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_add(taken);
        // Below a sixteenth of the limit, so that `MAX_STRIDE` such requests stay within it.
        let is_cheap = u64::from(taken) < limit / 16;
        self.stride = if is_cheap {
            MAX_STRIDE.min(self.stride * 2)
        } else {
            1
        };
        self.left = self.stride;
        u64::from(self.spent) >= limit
    }

    /// Counts a request that is about to be processed. Starts the clock if more may follow.
    #[inline]
    pub(super) fn count(&mut self, has_more: impl FnOnce() -> bool) {
        // `left` can be 0 here: a framing can find a frame when no bytes are left.
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && self.last_read.is_none() && has_more() {
            self.last_read = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NONE: u64 = 0;
    const PLENTY: u64 = u64::MAX;

    /// Returns a budget after one request was processed, with others after it.
    fn begun() -> Budget {
        let mut budget = Budget::new();
        assert!(!budget.is_due());
        budget.count(|| true);
        assert!(budget.is_due());
        budget
    }

    /// Counts the requests until the clock is to be read.
    fn stride(budget: &mut Budget) -> u8 {
        let mut count = 0;
        while !budget.is_due() {
            budget.count(|| true);
            count += 1;
        }
        count
    }

    #[test]
    fn lone_request_reads_no_clock() {
        let mut budget = Budget::new();
        budget.count(|| false);
        assert_eq!(budget.last_read, None);
        // The next request in the same poll reads the clock, but is processed.
        assert!(budget.is_due() && !budget.check_clock(NONE));
        budget.count(|| false);
        assert!(budget.is_due() && budget.check_clock(NONE));
    }

    #[test]
    fn second_of_several_waits_if_the_first_took_too_long() {
        assert!(begun().check_clock(NONE));
    }

    #[test]
    fn clock_is_read_less_often_for_cheap_requests() {
        let mut budget = begun();
        for expected in [2, 4, 8, MAX_STRIDE, MAX_STRIDE] {
            assert!(!budget.check_clock(PLENTY));
            assert_eq!(stride(&mut budget), expected);
        }
        // Requests are cheap in the next poll as well.
        budget.restart();
        budget.count(|| true);
        assert!(!budget.check_clock(PLENTY));
        assert_eq!(stride(&mut budget), MAX_STRIDE);
    }

    #[test]
    fn clock_is_read_for_each_request_after_an_expensive_one() {
        let mut budget = begun();
        assert!(!budget.check_clock(PLENTY));
        stride(&mut budget);
        budget.last_read = Instant::now().checked_sub(Duration::from_secs(1));
        assert!(budget.last_read.is_some() && !budget.check_clock(3_000_000_000));
        assert_eq!(stride(&mut budget), 1);
    }
}
