//! Which addresses of a name are tried first.

use std::{net::SocketAddr, time::Duration};

use tokio::time::Instant;

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
