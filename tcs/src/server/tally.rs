//! The numbers of one connection, and the events of all of them.

use std::mem::take;

use super::report::{ByteCounts, RequestCounts};
use crate::{
    RejectionKind,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// The requests and bytes of one connection. Its task counts, and the report reads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    received: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
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

    /// Counts bytes that have arrived.
    #[inline]
    pub(super) fn count_bytes_received(&self, bytes: usize) {
        add(&self.bytes_received, bytes as u64);
    }

    /// Counts bytes that were handed to the operating system.
    #[inline]
    pub(super) fn count_bytes_sent(&self, bytes: usize) {
        add(&self.bytes_sent, bytes as u64);
    }

    /// Returns the number of bytes.
    pub(super) fn bytes(&self) -> ByteCounts {
        ByteCounts {
            received: self.bytes_received.load(Relaxed),
            sent: self.bytes_sent.load(Relaxed),
        }
    }

    /// Counts the responses in `unsent` as sent, and resets it.
    #[inline]
    pub(super) fn count_sent(&self, unsent: &mut Unsent) {
        // The counters change once per write and not per reply, because a counter that other tasks read costs more.
        add(&self.served, take(&mut unsent.served).into());
        if unsent.failed | unsent.rejected != 0 {
            self.others_sent(take(unsent));
        }
    }

    #[cold]
    fn others_sent(&self, unsent: Unsent) {
        add(&self.failed, unsent.failed.into());
        add(&self.rejected, unsent.rejected.into());
    }

    /// Returns the number of received requests whose response was not sent.
    pub(super) fn unanswered(&self) -> u64 {
        self.requests().in_flight
    }

    /// Returns the totals. Requests received and not answered are in flight.
    pub(super) fn requests(&self) -> RequestCounts {
        let (served, failed) = (self.served.load(Acquire), self.failed.load(Acquire));
        let rejected = self.rejected.load(Acquire);
        // The number of requests is read last, so that it includes the request of each response that was read before.
        let received = self.received.load(Relaxed);
        RequestCounts {
            received,
            served,
            failed,
            rejected,
            aborted: 0,
            in_flight: received.saturating_sub(served + failed + rejected),
        }
    }
}

/// Adds to a counter. There is only one writer, so this need not be one atomic operation.
fn add(counter: &AtomicU64, more: u64) {
    // Only the task of the connection writes, so a read-modify-write, which costs more, is not necessary. With
    // `Release`, a report never reads a reply without its request.
    counter.store(counter.load(Relaxed) + more, Release);
}

/// The numbers of responses that are written but not sent yet. They are small, so an idle connection holds 32 bits for
/// each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsent {
    pub(super) served: u32,
    pub(super) failed: u32,
    pub(super) rejected: u32,
}

impl Unsent {
    /// Returns the number of responses.
    #[inline]
    pub(super) fn sum(&self) -> u64 {
        [self.served, self.failed, self.rejected]
            .map(u64::from)
            .iter()
            .sum()
    }

    /// Returns the outcome of the request whose response was counted since `before`.
    pub(super) const fn outcome_since(self, before: Self) -> CallOutcome {
        if self.rejected > before.rejected {
            CallOutcome::Rejected
        } else if self.failed > before.failed {
            CallOutcome::Failed
        } else {
            CallOutcome::Served
        }
    }

    /// Counts the response to a request that is rejected with `kind`.
    pub(super) fn count(&mut self, kind: RejectionKind) {
        match CallOutcome::of_rejection(kind) {
            CallOutcome::Served => self.served += 1,
            CallOutcome::Failed => self.failed += 1,
            CallOutcome::Rejected => self.rejected += 1,
        }
    }
}

/// The events of all connections of a server.
#[derive(Debug, Default)]
pub(super) struct EventTally {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl EventTally {
    /// Counts events that were framed, and events that were dropped.
    pub(super) fn count(&self, sent: u64, dropped: u64) {
        self.sent.fetch_add(sent, Relaxed);
        self.dropped.fetch_add(dropped, Relaxed);
    }

    /// Returns the numbers of events that were framed, and that were dropped.
    pub(super) fn totals(&self) -> [u64; 2] {
        [&self.sent, &self.dropped].map(|count| count.load(Relaxed))
    }
}

/// The outcome of a call that has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallOutcome {
    Served,
    Failed,
    Rejected,
}

impl CallOutcome {
    /// Returns the outcome of a call whose request is rejected with `kind`.
    pub(super) fn of_rejection(kind: RejectionKind) -> Self {
        match kind {
            RejectionKind::Error => Self::Served,
            _ if kind.is_unexecuted() => Self::Rejected,
            _ => Self::Failed,
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
