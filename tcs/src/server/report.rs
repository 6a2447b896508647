//! What a server did.

use std::{
    fmt,
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What a server did, from its start to its end.
///
/// The numbers add up: `received = served + failed + refused + cut` for requests, and
/// `accepted = closed + cut` for connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What became of the requests.
    pub requests: Requests,
    /// What became of the connections.
    pub connections: Connections,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// Requests of which the server saw the end, or saw that they have no good one.
    pub received: u64,
    /// Answered by the function, be it with an error of its own, and handed to the operating system.
    pub served: u64,
    /// The function panicked or exceeded the request timeout, or its reply could not be sent in
    /// its framing; the peer was told, where the framing can.
    pub failed: u64,
    /// Turned away: no valid request, too large, or refused by the protocol or an extractor.
    pub refused: u64,
    /// Begun, but the answer was not sent: the drain timeout was over, or the peer was gone. Replies
    /// that were to leave in one write count together.
    pub cut: u64,
}

/// What became of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connections {
    /// Accepted from the listener.
    pub accepted: u64,
    /// Ended by the peer, by a limit, or by the server in good order.
    pub closed: u64,
    /// Still open when the drain timeout was over, or the server was ended at once.
    pub cut: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        let connections = &self.connections;
        write!(
            f,
            "requests received: {} ({} served, {} failed, {} refused, {} cut); \
             connections accepted: {} ({} closed, {} cut)",
            requests.received,
            requests.served,
            requests.failed,
            requests.refused,
            requests.cut,
            connections.accepted,
            connections.closed,
            connections.cut,
        )
    }
}

/// Adds each number to its like.
impl AddAssign for Requests {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.served += other.served;
        self.failed += other.failed;
        self.refused += other.refused;
        self.cut += other.cut;
    }
}

/// The requests of one connection: its task counts, the report reads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    received: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    /// Counts a request whose end was seen.
    #[inline]
    pub(super) fn receive(&self) {
        add(&self.received, 1);
    }

    /// Counts responses as sent.
    #[inline]
    pub(super) fn sent(&self, unsent: &mut Unsent) {
        add(&self.served, std::mem::take(&mut unsent.served));
        if unsent.failed | unsent.rejected != 0 {
            self.others_sent(std::mem::take(unsent));
        }
    }

    #[cold]
    fn others_sent(&self, unsent: Unsent) {
        add(&self.failed, unsent.failed);
        add(&self.refused, unsent.rejected);
    }

    /// Returns how many received requests have no response that was sent.
    pub(super) fn unanswered(&self) -> u64 {
        self.requests().cut
    }

    /// Returns the sums; whatever was received and not answered is cut.
    pub(super) fn requests(&self) -> Requests {
        let (received, served) = (self.received.load(Relaxed), self.served.load(Relaxed));
        let (failed, refused) = (self.failed.load(Relaxed), self.refused.load(Relaxed));
        Requests {
            received,
            served,
            failed,
            refused,
            cut: received.saturating_sub(served + failed + refused),
        }
    }
}

/// Adds to a counter that no one else writes, which is why this need not be one operation.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Relaxed);
}

/// Responses that were written and not sent yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsent {
    pub(super) served: u64,
    pub(super) failed: u64,
    pub(super) rejected: u64,
}

impl Unsent {
    /// Returns how many there are.
    #[inline]
    pub(super) const fn sum(&self) -> u64 {
        self.served + self.failed + self.rejected
    }

    /// Counts the response to a request that is rejected like this.
    pub(super) fn count(&mut self, kind: crate::RejectionKind) {
        use crate::RejectionKind as Kind;
        match kind {
            Kind::Error => self.served += 1,
            Kind::Failed | Kind::TimedOut | Kind::Unknown => self.failed += 1,
            _ => self.rejected += 1,
        }
    }
}
