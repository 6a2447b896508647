//! The numbers of a server, for its users.

use std::{fmt, mem::take, ops::AddAssign};

/// The counters of a server since its start.
///
/// `listen` returns it when the server has ended, and [`ServerHandle::stats`](super::ServerHandle::stats) at any time.
/// See [this table](crate#what-the-client-and-the-report-say) for how each event is counted.
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
    /// Answered by the function, and handed to the operating system. An `Err` that it returns counts here, even if the
    /// client receives it as a [`Rejection`](crate::Rejection) of the kind [`Error`](crate::RejectionKind::Error).
    pub served: u64,
    /// Failed: the function panicked, rejected the request as failed, or exceeded `request_timeout`,
    /// `half_close_timeout` or the deadline of its client; the client cancelled the request; or the reply could
    /// not be sent, such as without memory. The peer received a rejection of the kind *failed*, *timed out* or
    /// *cancelled*, if the framing can carry one.
    pub failed: u64,
    /// Invalid, too large, or rejected by a limit (*busy*), by the protocol or by [`FromContext`](crate::protocol::FromContext).
    pub rejected: u64,
    /// Received, but the reply was not sent, because the drain timeout expired, the peer reset the connection or
    /// stopped reading, or the connection closed after another reply. If the connection still can, it sends the peer a
    /// failure. The replies of one write count together.
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
    /// Received, and searched for frames. Bytes that a closing connection discards do not count.
    pub received: u64,
    /// Handed to the operating system.
    pub sent: u64,
}

/// The number of events that were pushed, by outcome. Those of a group count once for each member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventCounts {
    /// Framed, and sent with the other frames of the connection.
    pub sent: u64,
    /// Not sent: dropped in favour of newer ones ([`PushOverflow`](crate::protocol::PushOverflow)), or because the
    /// connection closed, or because the framing cannot carry them.
    pub dropped: u64,
}

impl Report {
    /// Counts open connections, and requests in flight, as aborted.
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
