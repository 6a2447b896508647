//! The accept loop.
//!
//! The loop takes a permit, accepts a connection, and spawns a task that owns both.

use std::{future::poll_fn, io, sync::Arc};

use tokio::{sync::OwnedSemaphorePermit, task::yield_now};
use tracing::{Instrument as _, info_span};

use super::{
    addresses::AddressConnection,
    admission::Admission,
    capacity::{AtCapacity, Capacity},
    connection::NewConnection,
    handshakes::{Handshakes, perform_handshakes},
    registry::Registry,
    rejected::{LAST_TIMEOUT, RejectedPeers, record_rejected, tell, tell_registered},
    shared::DynShared,
};
use crate::{Rejection, buffer::WriteBuffer, transport::Incoming};

/// Accepts the connections of a server.
///
/// Dropping this value closes the listeners and aborts all connections.
pub(super) struct Acceptor {
    pub(super) shared: Arc<dyn DynShared>,
    pub(super) registry: Arc<Registry>,
    pub(super) admission: Arc<Admission>,
    pub(super) at_capacity: AtCapacity,
    pub(super) rejected: RejectedPeers,
    /// The maximum number of open connections.
    pub(super) max_connections: usize,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // The listeners close first: otherwise, a connection could be accepted after the abort, and would not end.
        self.shared.listeners().close();
        self.registry.abort();
    }
}

impl Acceptor {
    /// Accepts connections, at most `max_connections` at a time, and serves each in its own task.
    ///
    /// Returns when no listener is left, with the error if one of them has failed.
    ///
    /// Cancel safe: open connections continue.
    pub(super) async fn accept_all(&self) -> io::Result<()> {
        let mut capacity = Capacity::new(self.max_connections, self.at_capacity);
        loop {
            // The permit precedes the accept: a connection that cannot be served stays in the backlog, where it costs
            // no descriptor and a balancer can see it.
            let permit = capacity.wait().await;
            let Some(incoming) = self.next_incoming().await? else {
                return Ok(());
            };
            if !self.shared.listeners().restore_descriptor() {
                self.reject_last(incoming).await;
                continue;
            }
            let log_limiter = self.registry.log_limiter();
            let admitted = match self.admission.at_accept(&incoming, log_limiter) {
                // Room is made last, so that a rejected peer evicts no other.
                Ok(usage) => {
                    let permit = capacity.make_room(permit, &self.registry).await;
                    permit.map(|permit| (usage, permit))
                }
                Err(rejection) => Err(rejection),
            };
            match admitted {
                Ok((usage, permit)) => self.spawn(incoming, usage, permit),
                Err(rejection) => {
                    self.reject(incoming, &rejection);
                    // A listener of the user's own may always be ready.
                    yield_now().await;
                }
            }
        }
    }

    /// Returns the next connection, or `None` when no listener is left.
    async fn next_incoming(&self) -> io::Result<Option<Incoming>> {
        let listeners = self.shared.listeners();
        // The future of an accept stays with its listener, and is only polled here. So no connection is lost when this
        // future is dropped.
        poll_fn(|cx| listeners.poll_accept(self.registry.log_limiter(), cx)).await
    }

    /// Rejects the connection that has the last descriptor. The server accepts no other before this one is closed.
    async fn reject_last(&self, incoming: Incoming) {
        let text = "the server has no descriptors left";
        let rejection = Rejection::too_many_connections(text);
        record_rejected(&incoming.peer, &rejection);
        if incoming.handshakes.is_empty() {
            tell(LAST_TIMEOUT, incoming.stream, self.frames(&rejection)).await;
        }
        self.shared.listeners().restore_descriptor();
    }

    fn reject(&self, incoming: Incoming, rejection: &Rejection) {
        record_rejected(&incoming.peer, rejection);
        // A peer that begins with a handshake would not understand the rejection.
        if incoming.handshakes.is_empty() && self.rejected.have_room() {
            self.rejected.tell(incoming.stream, self.frames(rejection));
        }
    }

    /// Returns the frames that tell a peer why it is rejected.
    fn frames(&self, rejection: &Rejection) -> WriteBuffer {
        let log_limiter = self.registry.log_limiter();
        self.shared.rejection_frames(rejection, log_limiter)
    }

    fn spawn(
        &self,
        incoming: Incoming,
        usage: Option<AddressConnection>,
        permit: OwnedSemaphorePermit,
    ) {
        let Incoming {
            stream,
            peer,
            local_addr,
            handshakes,
        } = incoming;
        let mut new = NewConnection::register(&self.registry, stream, peer, local_addr);
        (new.usage, new.permit) = (usage, Some(permit));
        let shared = Arc::clone(&self.shared);
        if handshakes.is_empty() {
            shared.spawn_connection(new);
        } else {
            let admission = Arc::clone(&self.admission);
            tokio::spawn(serve_after_handshakes(shared, new, handshakes, admission));
        }
    }
}

/// Performs the handshakes of a connection, and then serves it.
///
/// The connection continues in another task, so that the memory of the handshakes is freed: a connection may live for
/// days.
async fn serve_after_handshakes(
    shared: Arc<dyn DynShared>,
    mut new: Box<NewConnection>,
    handshakes: Handshakes,
    admission: Arc<Admission>,
) {
    let NewConnection {
        stream,
        info,
        registration,
        usage,
        ..
    } = &mut *new;
    // The peer as it was accepted. A handshake may replace it.
    let span = info_span!("handshake", peer = %info.peer(), id = info.id());
    let shaking = perform_handshakes(stream, info.peer_mut(), &handshakes, registration);
    if !shaking.instrument(span).await {
        return;
    }
    match admission.admit(info.peer(), usage, registration.log_limiter()) {
        Ok(()) => shared.spawn_connection(new),
        Err(rejection) => {
            record_rejected(info.peer(), &rejection);
            let frames = shared.rejection_frames(&rejection, registration.log_limiter());
            tell_registered(stream.take(), frames, registration).await;
        }
    }
}
