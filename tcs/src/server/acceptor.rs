//! The accept loop.
//!
//! The loop takes a permit, accepts a connection, and spawns a task that owns both. It does not know the protocol:
//! [`SpawnConnection`] hides its type, so that everything outside of a connection is compiled once.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument as _, info_span};

use super::{
    connection::{Connection, NewConnection},
    listeners::Listeners,
    registry::{Deadline, Registry},
    shared::Shared,
};
use crate::{
    ConnectionInfo,
    panics::{panic_text, poll_caught},
    protocol::ServerProtocol,
    text::Text,
    transport::{DynHandshake, Incoming, Stream},
};

/// The shared state without its protocol type.
pub(super) trait SpawnConnection: Send + Sync {
    fn listeners(&self) -> &Listeners;

    /// Serves a connection in its own task, after its handshakes.
    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection<Stream>>, handshakes: Handshakes);
}

type Handshakes = Vec<Arc<dyn DynHandshake>>;

impl<P: ServerProtocol> SpawnConnection for Shared<P> {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection<Stream>>, handshakes: Handshakes) {
        let serve = |new: Box<NewConnection<Stream>>| {
            let span = info_span!("connection", peer = %new.info.peer(), id = new.info.id());
            async move { Connection::open(self, new).serve().await }.instrument(span)
        };
        if handshakes.is_empty() {
            tokio::spawn(serve(new));
        } else {
            tokio::spawn(async move {
                // Boxed, so that its memory is freed before the connection is served.
                let opened = Box::pin(shake_hands(new, handshakes)).await;
                if let Some(new) = opened {
                    serve(new).await;
                }
            });
        }
    }
}

/// Performs the handshakes of a new connection, within their limit. Returns `None` if the connection is over.
async fn shake_hands(
    mut new: Box<NewConnection<Stream>>,
    handshakes: Handshakes,
) -> Option<Box<NewConnection<Stream>>> {
    match open_stream(&mut new, &handshakes).await {
        Ok(()) => Some(new),
        Err(reason) => {
            // The peer as the last handshake has left it.
            let peer = new.info.peer();
            tracing::info!(%peer, reason = %Text::new(reason), "a handshake has failed");
            None
        }
    }
}

/// Performs the handshakes of a new connection. Returns the reason why it is over as an error.
async fn open_stream(
    new: &mut NewConnection<Stream>,
    handshakes: &Handshakes,
) -> Result<(), String> {
    let (registration, info) = (&mut new.registration, &mut new.info);
    let limit = registration.limits().handshake;
    let deadline = Deadline::after(registration.now(), limit);
    let mut opening = pin!(async {
        for handshake in handshakes {
            let opening = handshake.open_boxed(new.stream.take_inner(), info.peer_mut());
            new.stream = opening.await?;
        }
        io::Result::Ok(())
    });
    poll_fn(|cx| {
        let wakeup = registration.poll_deadline(deadline, cx);
        if registration.is_draining() {
            return Poll::Ready(Err("the server is stopping".to_owned()));
        }
        if wakeup.is_ready() {
            let reason = format!("it took longer than {limit} (`handshake_timeout`)");
            return Poll::Ready(Err(reason));
        }
        poll_caught(opening.as_mut(), cx).map(|opened| match opened {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(payload) => Err(format!("a panic: {}", panic_text(payload))),
        })
    })
    .await
}

/// Accepts the connections of a server.
///
/// Dropping it closes the listener and aborts all connections.
pub(super) struct Acceptor {
    pub(super) shared: Arc<dyn SpawnConnection>,
    pub(super) registry: Arc<Registry>,
    pub(super) blocking: Arc<Semaphore>,
    /// The maximum number of open connections.
    pub(super) max_connections: usize,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
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
        let permits = self.max_connections.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let mut was_full = false;
        loop {
            // With a limit of one, the server is full whenever it serves.
            let is_full = self.max_connections > 1 && permits.available_permits() == 0;
            if is_full && !was_full {
                let most = self.max_connections;
                tracing::warn!(
                    "{most} connections are open (`max_connections`); further peers wait"
                );
            }
            was_full = is_full;
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return Ok(());
            };
            let listeners = self.shared.listeners();
            match poll_fn(|cx| listeners.poll_accept(cx)).await? {
                Some(incoming) => self.spawn(incoming, permit),
                None => return Ok(()),
            }
        }
    }

    fn spawn(&self, incoming: Incoming, permit: OwnedSemaphorePermit) {
        let registration = self.registry.register();
        let Incoming {
            stream,
            peer,
            local_addr,
            closes_on_drop,
            handshakes,
        } = incoming;
        let blocking = Arc::clone(&self.blocking);
        let new = Box::new(NewConnection {
            stream,
            closes_on_drop: closes_on_drop && handshakes.is_empty(),
            info: ConnectionInfo::of(peer, local_addr, registration.id(), blocking),
            registration,
            permit: Some(permit),
        });
        Arc::clone(&self.shared).spawn_connection(new, handshakes);
    }
}
