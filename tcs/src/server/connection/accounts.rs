//! What a connection counts: its requests, the one in flight of its address, and its responses.

use std::mem::take;

use tokio::time::Instant;

use crate::{
    Rejection,
    buffer::Arrival,
    protocol::ServerProtocol,
    server::{
        addresses::{AddressConnection, AddressRequest},
        registry::Registration,
        shared::Shared,
        tally::Unsent,
    },
};

/// The request in flight, and the responses that were not sent.
pub(super) struct Accounts {
    /// Whether the address of the peer counts a request of this connection.
    is_in_flight: bool,
    /// The responses in the write buffer, including those without bytes. A response counts once it is sent.
    pub(super) unsent: Unsent,
    /// Counts this connection for the address of the peer.
    usage: Option<AddressConnection>,
}

impl Accounts {
    pub(super) fn new(usage: Option<AddressConnection>) -> Self {
        Self {
            is_in_flight: false,
            unsent: Unsent::default(),
            usage,
        }
    }

    /// Takes the request in flight out of the connection, which can then begin others. The request ends when the result
    /// is dropped.
    pub(super) fn take_request(&mut self) -> Option<AddressRequest> {
        let is_in_flight = take(&mut self.is_in_flight);
        let usage = self.usage.as_ref().filter(|_| is_in_flight);
        usage.map(|usage| usage.request())
    }

    /// Ends the request in flight, if there is one.
    pub(super) fn end_request(&mut self) {
        drop(self.take_request());
    }

    /// Begins a request, unless it has waited too long or exceeds a limit of its connection or its address. Closes the
    /// listener of a once server.
    #[cold]
    pub(super) fn check_and_begin_request<P: ServerProtocol>(
        &mut self,
        shared: &Shared<P>,
        registration: &Registration,
        arrival: Arrival,
    ) -> Result<(), Rejection> {
        let received = registration.tally().received();
        shared.limits.check_pipeline(received - arrival.received)?;
        self.begin_request(shared, registration, arrival)
    }

    /// Like [`check_and_begin_request`](Self::check_and_begin_request), for a request that was not beyond the limit of its
    /// connection when it arrived.
    #[cold]
    pub(super) fn begin_request<P: ServerProtocol>(
        &mut self,
        shared: &Shared<P>,
        registration: &Registration,
        arrival: Arrival,
    ) -> Result<(), Rejection> {
        // Even if the request is rejected: a once server has had its request.
        shared.close_if_once();
        if let Some(probe) = registration.probe() {
            probe.check(arrival.time, Instant::now())?;
        }
        if let Some(usage) = &self.usage {
            usage.begin_request(&shared.limits)?;
            self.is_in_flight = true;
        }
        Ok(())
    }

    /// Counts an ordinary reply. The next flush sends it.
    #[inline]
    pub(super) fn count_reply(&mut self) {
        self.unsent.served += 1;
    }
}

/// Ends the request in flight. Its function was dropped before.
impl Drop for Accounts {
    fn drop(&mut self) {
        self.end_request();
    }
}
