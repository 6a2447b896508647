//! Spawning the tasks of connections.

use std::sync::Arc;

use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};
use tracing::{Instrument as _, Span};

use super::{
    connection::{CloseKind, Connection, NewConnection},
    registry::Registration,
    shared::{Listener, Shared},
};
use crate::{ConnectionInfo, ServerProtocol};

/// An accepted connection that is not served yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: TcpStream,
    pub(super) info: ConnectionInfo,
    pub(super) registration: Registration,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) span: Span,
}

/// The shared state without its protocol type, so that accepting and stopping need not know it.
pub(super) trait SpawnConnection: Send + Sync {
    fn listener(&self) -> &Listener;

    /// Serves a connection in its own task.
    fn spawn_connection(self: Arc<Self>, incoming: Incoming);
}

impl<P: ServerProtocol> SpawnConnection for Shared<P> {
    fn listener(&self) -> &Listener {
        Self::listener(self)
    }

    fn spawn_connection(self: Arc<Self>, incoming: Incoming) {
        let new = Box::new(NewConnection {
            shared: self,
            stream: incoming.stream,
            close: CloseKind::Drop,
            info: incoming.info,
            registration: incoming.registration,
            permit: Some(incoming.permit),
        });
        let task = async move { Connection::open(new).serve().await };
        tokio::spawn(task.instrument(incoming.span));
    }
}
