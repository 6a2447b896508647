//! What a connection counts: its requests, those in flight of its address, and its responses.

use std::{mem::take, sync::Arc};

use tokio::time::Instant;

use super::super::{addresses::PeerUsage, registry::Registration, report::Unsent, shared::Shared};
use crate::{Rejection, buffer::Arrival, protocol::ServerProtocol};

/// The requests and the responses of a connection.
pub(super) struct Accounts {
    /// Whether requests are processed at the same time.
    pub(super) is_concurrent: bool,
    /// Whether the address of the peer counts a request of this connection.
    is_in_flight: bool,
    /// The responses in the write buffer, also those without bytes. They count once they are sent.
    pub(super) unsent: Unsent,
    /// Counts the connection among those of its address.
    usage: Option<Arc<PeerUsage>>,
    /// The entry in the registry, with what was sent.
    pub(super) registration: Registration,
}

impl Accounts {
    pub(super) fn new(usage: Option<Arc<PeerUsage>>, registration: Registration) -> Self {
        Self {
            is_concurrent: false,
            is_in_flight: false,
            unsent: Unsent::default(),
            usage,
            registration,
        }
    }

    /// Counts a received request. If the server limits requests, [`begin_request`](Self::begin_request) follows.
    #[inline]
    pub(super) fn count_request(&self) {
        self.registration.tally().count_received();
    }

    /// Begins a request, unless it has waited too long or exceeds a limit of its connection or its address. Closes the
    /// listener of a once server.
    #[cold]
    pub(super) fn begin_request<P: ServerProtocol>(
        &mut self,
        shared: &Shared<P>,
        arrival: Arrival,
    ) -> Result<(), Rejection> {
        let received = self.registration.tally().received();
        shared.limits.check_pipeline(received - arrival.received)?;
        self.start_request(shared, arrival)
    }

    /// As [`begin_request`](Self::begin_request), for a request that was not beyond the limit of its connection when it
    /// arrived.
    #[cold]
    pub(super) fn start_request<P: ServerProtocol>(
        &mut self,
        shared: &Shared<P>,
        arrival: Arrival,
    ) -> Result<(), Rejection> {
        shared.close_if_once();
        if let Some(probe) = self.registration.probe() {
            probe.check(arrival.time, Instant::now())?;
        }
        if let Some(usage) = &self.usage {
            usage.begin_request(&shared.limits)?;
            self.is_in_flight = true;
        }
        Ok(())
    }

    /// Takes the request that was begun out of the connection, which can then begin others. It ends when the result is
    /// dropped.
    pub(super) fn take_request(&mut self) -> Option<RequestInFlight> {
        let is_in_flight = take(&mut self.is_in_flight);
        let usage = self.usage.as_ref().filter(|_| is_in_flight);
        usage.map(|usage| RequestInFlight(Arc::clone(usage)))
    }

    /// Ends the request in flight, if one was begun.
    pub(super) fn end_request(&mut self) {
        if take(&mut self.is_in_flight)
            && let Some(usage) = &self.usage
        {
            usage.end_request();
        }
    }

    /// Counts a bad frame in the place of a request. Closes the listener of a once server.
    pub(super) fn count_unreadable<P: ServerProtocol>(&mut self, shared: &Shared<P>) {
        self.registration.tally().count_received();
        shared.close_if_once();
    }

    /// Counts an ordinary reply, which is sent by the next flush.
    #[inline]
    pub(super) fn count_reply(&mut self) {
        self.unsent.served += 1;
    }
}

/// A request that its address counts as in flight.
#[derive(Debug)]
pub(super) struct RequestInFlight(Arc<PeerUsage>);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// The function of a request in flight is dropped before.
impl Drop for Accounts {
    fn drop(&mut self) {
        self.end_request();
    }
}
