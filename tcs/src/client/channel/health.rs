//! Which servers and addresses work: calls prefer connections without recent failures, and attempts to connect prefer
//! addresses that have answered.

use std::{net::SocketAddr, time::Duration};

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
    count: u32,
    /// When `count` failures counted. `None` if none counts, so that no clock is read.
    since: Option<Instant>,
}

impl RecentFailures {
    #[cold]
    pub(super) fn record(&mut self) {
        let now = Instant::now();
        let left = self.left(now);
        self.since = match self.since {
            // The oldest failure that still counts keeps its age.
            Some(since) if left > 0 => Some(since + DECAY * (self.count - left)),
            _ => Some(now),
        };
        self.count = (left + 1).min(MAX_FAILURES);
    }

    /// Returns the load that the failures add, in calls.
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
        let decayed = |since| now.duration_since(since).as_nanos() / DECAY.as_nanos();
        let decayed = self.since.map_or(u128::MAX, decayed);
        let decayed = u32::try_from(decayed).unwrap_or(u32::MAX);
        self.count.saturating_sub(decayed)
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

/// The most addresses that are recorded as not answering. The addresses of a name may change for ever.
const MAX_FAILED: usize = 64;

/// After this time, an address that has failed is as good as the others.
const FAILURE_AGE: Duration = Duration::from_mins(1);

/// Which addresses of a name are better than others.
#[derive(Debug, Default)]
pub(super) struct AddressStats {
    /// The addresses of the open connections, each as often as it has one.
    used: Vec<SocketAddr>,
    /// The addresses whose last connection could not be made or has not worked, and when.
    failed: Vec<(SocketAddr, Instant)>,
}

impl AddressStats {
    /// Sorts the addresses of a name: those that work first, and of these the ones with the fewest connections, so that the
    /// connections of a channel spread over all of them. Of those that have failed, the one whose failure is the oldest.
    pub(super) fn sort(&self, addrs: &mut [SocketAddr]) {
        // Read once: a failure that gets too old meanwhile would change the order.
        let now = Instant::now();
        addrs.sort_by_key(|addr| {
            let used = self.used.iter().filter(|used| *used == addr).count();
            let failed = self.failed.iter().find(|(it, _)| it == addr);
            let failed_at = failed
                .map(|(_, at)| *at)
                .filter(|at| now.duration_since(*at) < FAILURE_AGE);
            (failed_at, used)
        });
    }

    pub(super) fn add(&mut self, addr: Option<SocketAddr>) {
        self.used.extend(addr);
    }

    pub(super) fn remove(&mut self, addr: Option<SocketAddr>) {
        let used = &mut self.used;
        if let Some(place) = used.iter().position(|used| Some(*used) == addr) {
            used.swap_remove(place);
        }
    }

    /// Records whether the last connection to `addr`, or attempt to make one, has worked.
    pub(super) fn record(&mut self, addr: Option<SocketAddr>, has_worked: bool) {
        let Some(addr) = addr else {
            return;
        };
        let failed = &mut self.failed;
        failed.retain(|(failed, _)| *failed != addr);
        if !has_worked {
            if failed.len() >= MAX_FAILED {
                failed.remove(0);
            }
            failed.push((addr, Instant::now()));
        }
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

    #[test]
    fn address_with_the_fewest_connections_comes_first() {
        let [a, b, c] = [1, 2, 3].map(|n| SocketAddr::from(([127, 0, 0, n], 7_000)));
        let mut addresses = AddressStats::default();
        let sorted = |addresses: &AddressStats| {
            let mut addrs = [a, b, c];
            addresses.sort(&mut addrs);
            addrs
        };
        assert_eq!(sorted(&addresses), [a, b, c]);
        for addr in [Some(a), Some(a), Some(b), None] {
            addresses.add(addr);
        }
        assert_eq!(sorted(&addresses), [c, b, a]);
        addresses.remove(Some(a));
        addresses.remove(None);
        assert_eq!(sorted(&addresses), [c, a, b]);
        addresses.remove(Some(a));
        assert_eq!(sorted(&addresses), [a, c, b]);
    }

    #[tokio::test(start_paused = true)]
    async fn address_that_does_not_answer_comes_last_until_it_does_or_for_a_minute() {
        let [a, b] = [1, 2].map(|n| SocketAddr::from(([127, 0, 0, n], 7_000)));
        let mut addresses = AddressStats::default();
        let sorted = |addresses: &AddressStats| {
            let mut addrs = [a, b];
            addresses.sort(&mut addrs);
            addrs
        };
        addresses.record(Some(a), false);
        addresses.add(Some(b));
        assert_eq!(sorted(&addresses), [b, a]);
        addresses.record(Some(a), true);
        assert_eq!(sorted(&addresses), [a, b]);
        addresses.record(Some(b), false);
        assert_eq!(sorted(&addresses), [a, b]);
        advance(Duration::from_secs(1)).await;
        addresses.record(Some(a), false);
        assert_eq!(sorted(&addresses), [b, a]);
        addresses.record(Some(b), true);
        advance(Duration::from_secs(59)).await;
        assert_eq!(sorted(&addresses), [b, a]);
        advance(Duration::from_secs(1)).await;
        assert_eq!(sorted(&addresses), [a, b]);
    }
}
