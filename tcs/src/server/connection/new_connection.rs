//! A connection that was accepted.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::OwnedSemaphorePermit;

use crate::{
    ConnectionInfo, Peer,
    server::{
        addresses::AddressUsage,
        registry::{Registration, Registry},
    },
    transport::Stream,
};

/// A connection whose session is not open yet.
///
/// Boxed, because a task keeps room for what it captures even after that was moved out.
#[derive(Debug)]
pub(in super::super) struct NewConnection {
    pub(in super::super) stream: Stream,
    pub(in super::super) info: ConnectionInfo,
    pub(in super::super) registration: Registration,
    pub(in super::super) usage: Option<Arc<AddressUsage>>,
    pub(in super::super) permit: Option<OwnedSemaphorePermit>,
}

impl NewConnection {
    /// Registers a connection without a permit, and without limits of its address.
    pub(in super::super) fn register(
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
    pub(in super::super) fn span(&self) -> tracing::Span {
        let info = &self.info;
        tracing::info_span!("connection", peer = %info.peer(), id = info.id())
    }
}
