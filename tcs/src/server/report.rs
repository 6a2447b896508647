//! The numbers of a server.

use std::{fmt, mem::take, ops::AddAssign};

use crate::{
    RejectionKind,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// The numbers of a server since its start.
///
/// `listen` returns it when the server has ended, and [`ServerHandle::stats`](super::ServerHandle::stats) at any time.
/// [Rejecting requests](crate#what-the-client-and-the-report-say) says which event is in which number.
///
/// The numbers add up: `received = served + failed + rejected + aborted + in_flight` for requests, and
/// `accepted = closed + aborted + open` for connections. When the server has ended, `in_flight` and `open` are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The number of requests, by outcome.
    pub requests: RequestCounts,
    /// The number of connections, by outcome.
    pub connections: ConnectionCounts,
    /// The number of bytes, by direction.
    pub bytes: ByteCounts,
    /// The number of events that were pushed, by outcome.
    pub events: EventCounts,
}

/// The number of requests, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Received completely, or found invalid before their end.
    pub received: u64,
    /// Answered by the function, including with its own errors, and handed to the operating system.
    pub served: u64,
    /// Failed: the function panicked, rejected the request as failed, or exceeded `request_timeout`,
    /// `half_close_timeout` or the deadline of its client; the client cancelled the request; or the reply could
    /// not be sent, such as without memory. The peer received a failure, if the framing can carry one.
    pub failed: u64,
    /// Invalid, too large, or rejected by a limit (*busy*), by the protocol or by [`FromContext`](crate::protocol::FromContext).
    pub rejected: u64,
    /// Received, but the reply was not sent, because the drain timeout expired, the peer reset the connection or
    /// stopped reading, or the connection closed after another reply. A peer that can be told receives a failure.
    /// Replies that were to leave in one write count together.
    pub aborted: u64,
    /// Received, and the reply is not handed to the operating system yet.
    pub in_flight: u64,
}

/// The number of connections, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionCounts {
    /// Accepted from the listener.
    pub accepted: u64,
    /// Ended by the peer, by a limit, or by the server gracefully.
    pub closed: u64,
    /// Still open when the drain timeout expired or the server was aborted.
    pub aborted: u64,
    /// Accepted and not ended yet, including those in their handshakes.
    pub open: u64,
}

/// The number of bytes of all connections, by direction. Only frames count, not handshakes or TLS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByteCounts {
    /// Received, and looked at for frames. Those that a closing connection drops do not count.
    pub received: u64,
    /// Handed to the operating system.
    pub sent: u64,
}

/// The number of events that were pushed, by outcome. Those of a group count once for each member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventCounts {
    /// Framed, to be sent with what else the connection sends.
    pub sent: u64,
    /// Not sent: dropped in favour of newer ones ([`PushOverflow`](crate::protocol::PushOverflow)), or because the
    /// connection closed, or because the framing cannot carry them.
    pub dropped: u64,
}

impl Report {
    /// Counts what is still open or in flight as aborted.
    pub(super) fn ended(mut self) -> Self {
        self.requests = self.requests.ended();
        self.connections.aborted += take(&mut self.connections.open);
        self
    }
}

impl RequestCounts {
    /// Counts the requests in flight as aborted.
    pub(super) fn ended(mut self) -> Self {
        self.aborted += take(&mut self.in_flight);
        self
    }
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
        )?;
        let EventCounts { sent, dropped } = self.events;
        if sent + dropped > 0 {
            write!(f, "; events: {sent} sent, {dropped} dropped")?;
        }
        // Both are 0 when the server has ended.
        if connections.open > 0 {
            write!(
                f,
                "; now {} connections open, {} requests in flight",
                connections.open, requests.in_flight
            )?;
        }
        Ok(())
    }
}

/// Adds field by field.
impl AddAssign for RequestCounts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.served += other.served;
        self.failed += other.failed;
        self.rejected += other.rejected;
        self.aborted += other.aborted;
        self.in_flight += other.in_flight;
    }
}

/// Adds field by field.
impl AddAssign for ByteCounts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}

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
        // Once per write and not per reply, because a counter that others read costs more than one of this task.
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
        // Last, so that each response that was read is one to a request that is read here.
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
    // No read-modify-write, which costs more: only the task of the connection writes. `Release`, so that a report
    // never reads a reply without its request.
    counter.store(counter.load(Relaxed) + more, Release);
}

/// Responses that are written but not sent yet. Few, so an idle connection holds 32 bits for each.
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
        if kind == RejectionKind::Error {
            self.served += 1;
        } else if kind.is_unexecuted() {
            self.rejected += 1;
        } else {
            self.failed += 1;
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

/// What has become of a call that has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallOutcome {
    Served,
    Failed,
    Rejected,
}

impl CallOutcome {
    /// Returns the outcome of a call whose request is rejected with `kind`.
    pub(super) fn of_rejection(kind: RejectionKind) -> Self {
        let mut unsent = Unsent::default();
        unsent.count(kind);
        unsent.outcome_since(Unsent::default())
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
