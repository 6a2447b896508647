//! Spawning the tasks of connections.

use std::sync::Arc;

use tokio::net::TcpStream;
use tracing::{Instrument as _, Span};

use super::{
    connection::{Connection, NewConnection},
    shared::{Listener, Shared},
};
use crate::protocol::ServerProtocol;

/// The shared state without its protocol type, so that accepting and stopping need not know it.
pub(super) trait SpawnConnection: Send + Sync {
    fn listener(&self) -> &Listener;

    /// Serves a connection in its own task.
    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection<TcpStream>>, span: Span);
}

impl<P: ServerProtocol> SpawnConnection for Shared<P> {
    fn listener(&self) -> &Listener {
        &self.listener
    }

    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection<TcpStream>>, span: Span) {
        let task = async move { Connection::open(self, new).serve().await };
        tokio::spawn(task.instrument(span));
    }
}
