//! A connection that was accepted.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::OwnedSemaphorePermit;

use crate::{
    ConnectionInfo, Peer,
    server::{
        addresses::AddressConnection,
        registry::{Registration, Registry},
    },
    transport::Stream,
};

/// A connection whose session is not open yet.
///
/// Boxed, because a task keeps room for what it captures even after that was moved out.
#[derive(Debug)]
pub(in crate::server) struct NewConnection {
    pub(in crate::server) stream: Stream,
    pub(in crate::server) info: ConnectionInfo,
    pub(in crate::server) registration: Registration,
    pub(in crate::server) usage: Option<AddressConnection>,
    pub(in crate::server) permit: Option<OwnedSemaphorePermit>,
}

impl NewConnection {
    /// Registers a connection without a permit, and without limits of its address.
    pub(in crate::server) fn register(
        registry: &Arc<Registry>,
        stream: Stream,
        peer: Peer,
        local_addr: Option<SocketAddr>,
    ) -> Box<Self> {
        let registration = registry.register();
        Box::new(Self {
            stream,
            info: registration.info(peer, local_addr),
            registration,
            usage: None,
            permit: None,
        })
    }

    /// Creates the span of the connection's events.
    pub(in crate::server) fn span(&self) -> tracing::Span {
        let info = &self.info;
        tracing::info_span!("connection", peer = %info.peer(), id = info.id())
    }
}
