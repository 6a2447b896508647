//! The report of a server.

use std::{
    fmt,
    ops::AddAssign,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::RejectionKind;

/// The report of a server, from its start to its end.
///
/// It exists when the server has ended. [Rejecting requests](crate#what-the-client-and-the-report-say) says which
/// event is in which number.
///
/// The numbers add up: `received = served + failed + rejected + aborted` for requests, and
/// `accepted = closed + aborted` for connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The number of requests, by outcome.
    pub requests: Requests,
    /// The number of connections, by outcome.
    pub connections: Connections,
}

/// The number of requests, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// Received completely, or found invalid before their end.
    pub received: u64,
    /// Answered by the function, including with its own errors, and handed to the operating system.
    pub served: u64,
    /// Failed: the function panicked or exceeded `request_timeout` or `half_close_timeout`, or the
    /// framing could not carry its reply. The peer received a failure, if the framing can carry one.
    pub failed: u64,
    /// Invalid, too large, or rejected by the protocol or by [`FromContext`](crate::FromContext).
    pub rejected: u64,
    /// Started, but the reply was not sent, because the drain timeout expired, or the peer reset the
    /// connection or stopped reading.
    /// Replies that were to leave in one write count together.
    pub aborted: u64,
}

/// The number of connections, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connections {
    /// Accepted from the listener.
    pub accepted: u64,
    /// Ended by the peer, by a limit, or by the server gracefully.
    pub closed: u64,
    /// Still open when the drain timeout expired or the server was aborted.
    pub aborted: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        let connections = &self.connections;
        write!(
            f,
            "requests received: {} ({} served, {} failed, {} rejected, {} aborted); \
             connections accepted: {} ({} closed, {} aborted)",
            requests.received,
            requests.served,
            requests.failed,
            requests.rejected,
            requests.aborted,
            connections.accepted,
            connections.closed,
            connections.aborted,
        )
    }
}

/// Adds field by field.
impl AddAssign for Requests {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.served += other.served;
        self.failed += other.failed;
        self.rejected += other.rejected;
        self.aborted += other.aborted;
    }
}

/// The requests of one connection. Its task counts, and the report reads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    received: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
}

impl Tally {
    /// Counts a received request.
    #[inline]
    pub(super) fn count_received(&self) {
        add(&self.received, 1);
    }

    /// Returns the number of received requests.
    #[inline]
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Counts the responses in `unsent` as sent, and resets it.
    #[inline]
    pub(super) fn count_sent(&self, unsent: &mut Unsent) {
        add(&self.served, std::mem::take(&mut unsent.served));
        if unsent.failed | unsent.rejected != 0 {
            self.others_sent(std::mem::take(unsent));
        }
    }

    #[cold]
    fn others_sent(&self, unsent: Unsent) {
        add(&self.failed, unsent.failed);
        add(&self.rejected, unsent.rejected);
    }

    /// Returns the number of received requests whose response was not sent.
    pub(super) fn unanswered(&self) -> u64 {
        self.requests().aborted
    }

    /// Returns the totals. Requests received and not answered count as aborted.
    pub(super) fn requests(&self) -> Requests {
        let (served, failed) = (self.served.load(Acquire), self.failed.load(Acquire));
        let rejected = self.rejected.load(Acquire);
        // Last, so that each response that was read is one to a request that is read here.
        let received = self.received.load(Relaxed);
        Requests {
            received,
            served,
            failed,
            rejected,
            aborted: received.saturating_sub(served + failed + rejected),
        }
    }
}

/// Adds to a counter. There is only one writer, so this need not be one atomic operation.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Release);
}

/// Responses that are written but not sent yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsent {
    pub(super) served: u64,
    pub(super) failed: u64,
    pub(super) rejected: u64,
}

impl Unsent {
    /// Returns the number of responses.
    #[inline]
    pub(super) const fn sum(&self) -> u64 {
        self.served + self.failed + self.rejected
    }

    /// Counts the response to a request that is rejected with `kind`.
    pub(super) fn count(&mut self, kind: RejectionKind) {
        if kind == RejectionKind::Error {
            self.served += 1;
        } else if kind.is_unexecuted() {
            self.rejected += 1;
        } else {
            self.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicBool,
        thread::{scope, yield_now},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn no_more_is_answered_than_was_received_while_a_connection_goes_on() {
        let (tally, is_over) = (Tally::default(), AtomicBool::new(false));
        scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Relaxed) {
                    tally.count_received();
                    tally.count_sent(&mut Unsent {
                        served: 1,
                        ..Unsent::default()
                    });
                }
            });
            while tally.requests().received == 0 {
                yield_now();
            }
            // Long enough to be interrupted between two loads.
            let began = Instant::now();
            let mut wrong = None;
            while wrong.is_none() && began.elapsed() < Duration::from_secs(1) {
                wrong = (0..10_000)
                    .map(|_| tally.requests())
                    .find(|requests| requests.served > requests.received);
            }
            is_over.store(true, Relaxed);
            assert_eq!(wrong, None);
        });
    }
}
