//! How many more calls a connection seems to have after failures, so that calls take others.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Error, ErrorKind, Execution, RejectionKind};

/// The most failures that count, so that a connection has its share again this many times [`FORGIVEN`] later.
const MOST: u32 = 10;

/// After how long one failure is forgiven.
const FORGIVEN: Duration = Duration::from_secs(1);

/// The recent failures of a connection, each of which doubles its load. One is forgiven each second.
///
/// A server that answers *busy* at once has few calls in flight, and would get most of the calls. With a load that doubles,
/// a few failures outweigh any number of calls in flight elsewhere, and a single one counts as much as one call. A call that
/// finds the server well again needs no note: what is left is forgiven soon.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Penalty {
    failures: u32,
    /// Since when they are forgiven. `None` if all are forgiven, so that no clock is read.
    since: Option<Instant>,
}

impl Penalty {
    #[cold]
    pub(super) fn add(&mut self) {
        let now = Instant::now();
        let left = self.left(now);
        self.since = match self.since {
            // What has passed of the time of the next one counts on.
            Some(since) if left > 0 => Some(since + FORGIVEN * (self.failures - left)),
            _ => Some(now),
        };
        self.failures = (left + 1).min(MOST);
    }

    /// Returns how many calls the failures count for.
    #[inline]
    pub(super) fn load(&mut self) -> usize {
        match self.since {
            None => 0,
            Some(_) => self.load_now(),
        }
    }

    #[cold]
    fn load_now(&mut self) -> usize {
        let left = self.left(Instant::now());
        if left == 0 {
            self.since = None;
        }
        (1 << left) - 1
    }

    fn left(&self, now: Instant) -> u32 {
        let forgiven = |since| now.duration_since(since).as_nanos() / FORGIVEN.as_nanos();
        let forgiven = self.since.map_or(u128::MAX, forgiven);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.failures.saturating_sub(forgiven)
    }
}

/// Returns `true` if an error says that the server is in trouble, and not only that the request is wrong. A connection that
/// was lost is no sign of that: others are not preferred to the next one.
pub(super) fn is_trouble(error: &Error) -> bool {
    use RejectionKind::{Busy, Failed, TimedOut};

    match error.rejection() {
        Some(rejection) => matches!(rejection.kind(), Busy | Failed | TimedOut),
        None => error.kind() == ErrorKind::TimedOut && error.execution() == Execution::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_load_up_to_a_limit_and_are_forgiven_one_by_one() {
        let mut penalty = Penalty::default();
        assert_eq!(penalty.load(), 0);
        for load in [1, 3, 7, 15, 31, 63, 127, 255, 511, 1_023, 1_023] {
            penalty.add();
            assert_eq!(penalty.load(), load);
        }
        for load in [511, 255, 127, 63, 31, 15, 7, 3, 1, 0, 0] {
            advance(FORGIVEN).await;
            assert_eq!(penalty.load(), load);
        }
        penalty.add();
        assert_eq!(penalty.load(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_come_more_slowly_than_they_are_forgiven_become_fewer() {
        let mut penalty = Penalty::default();
        for _ in 0..MOST {
            penalty.add();
        }
        for _ in 0..20 {
            advance(FORGIVEN.mul_f64(1.9)).await;
            penalty.add();
        }
        assert_eq!(penalty.load(), 1);
    }
}
