//! How busy a server seems: each of its recent failures adds to the calls in flight.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Error, ErrorKind, Execution, RejectionKind};

/// The most failures that count. So a server gets its share again at most this many times [`DECAY`] after the last
/// failure.
const MAX_FAILURES: u32 = 10;

/// After this time, one failure no longer counts.
const DECAY: Duration = Duration::from_secs(1);

/// The recent failures of a server. Each of them doubles the load that it seems to have.
///
/// A server that answers *busy* at once has few calls in flight, and would get most of the calls. With a load that doubles,
/// a few failures outweigh any number of calls in flight elsewhere, and a single one counts as much as one call. Successes
/// are not recorded: failures are soon too old to count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecentFailures {
    /// When the last failure no longer counts. `None` if none does, so that no clock is read.
    end: Option<Instant>,
}

impl RecentFailures {
    #[cold]
    pub(super) fn record(&mut self) {
        let now = Instant::now();
        let end = self.end.map_or(now, |end| end.max(now)) + DECAY;
        if end <= now + DECAY * MAX_FAILURES {
            self.end = Some(end);
        }
    }

    /// Returns the load that the failures add, in calls.
    #[inline]
    pub(super) fn load(&mut self) -> usize {
        self.end.map_or(0, |end| self.load_until(end))
    }

    #[cold]
    fn load_until(&mut self, end: Instant) -> usize {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.end = None;
        }
        (1 << left.as_nanos().div_ceil(DECAY.as_nanos())) - 1
    }
}

/// Returns `true` if an error shows that the server fails, and not only that the request is wrong. A lost connection does
/// not count, because the next one probably works.
pub(super) fn is_server_failure(error: &Error) -> bool {
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
    use crate::{Peer, Rejection};

    #[test]
    fn wrong_request_and_lost_connection_say_nothing_about_the_server() {
        use RejectionKind::{BadRequest, Busy, Cancelled, Failed, GoingAway, TimedOut, TooLarge};

        let peer = Peer::unnamed();
        let rejected = |kind| Error::rejected(&peer, Rejection::new(kind, ""));
        let late =
            |execution| Error::with_peer(&peer, ErrorKind::TimedOut, execution, String::new());
        for kind in [Busy, Failed, TimedOut] {
            assert!(is_server_failure(&rejected(kind)), "{kind}");
        }
        for kind in [
            RejectionKind::Error,
            BadRequest,
            TooLarge,
            Cancelled,
            GoingAway,
        ] {
            assert!(!is_server_failure(&rejected(kind)), "{kind}");
        }
        assert!(is_server_failure(&late(Execution::Unknown)));
        assert!(!is_server_failure(&late(Execution::NotSent)));
        assert!(!is_server_failure(&Error::closed_before_reply(&peer)));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_load_up_to_a_limit_and_decay_one_by_one() {
        let mut failures = RecentFailures::default();
        assert_eq!(failures.load(), 0);
        for load in [1, 3, 7, 15, 31, 63, 127, 255, 511, 1_023, 1_023] {
            failures.record();
            assert_eq!(failures.load(), load);
        }
        for load in [511, 255, 127, 63, 31, 15, 7, 3, 1, 0, 0] {
            advance(DECAY).await;
            assert_eq!(failures.load(), load);
        }
        failures.record();
        assert_eq!(failures.load(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_come_more_slowly_than_they_decay_become_fewer() {
        let mut failures = RecentFailures::default();
        for _ in 0..MAX_FAILURES {
            failures.record();
        }
        for _ in 0..20 {
            advance(DECAY.mul_f64(1.9)).await;
            failures.record();
        }
        assert_eq!(failures.load(), 1);
    }
}
