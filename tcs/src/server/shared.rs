//! The state shared by all connections of a server.

use std::sync::Arc;

use tracing::Instrument as _;

use super::{
    connection::{Connection, NewConnection, rejection_frames},
    limits::Limits,
    listeners::Listeners,
    log_limiter::LogLimiter,
    metrics::Metrics,
    settings::Settings,
};
use crate::{
    Rejection, buffer::WriteBuffer, framing::Framing as _, protocol::ServerProtocol,
    transport::DynHandshake,
};

/// The state shared by all connections of a server.
pub(super) struct Shared<P> {
    pub(super) protocol: P,
    /// A copy of the registry's limits, to save a pointer.
    pub(super) limits: Limits,
    /// Whether the server answers only one request. The first request then closes the listeners.
    pub(super) is_once: bool,
    /// Whether `Io::begin_request` is called for each request. Otherwise, a request pays only for the test of
    /// this field.
    pub(super) checks_requests: bool,
    pub(super) listeners: Listeners,
    pub(super) metrics: Metrics,
    /// The handshake after `Response::StartTls`.
    pub(super) start_tls: Option<Arc<dyn DynHandshake>>,
}

impl<P: ServerProtocol> Shared<P> {
    /// Creates the shared state of a server that does not listen yet.
    pub(super) fn new(protocol: P, settings: &Settings, is_once: bool) -> Self {
        Self {
            protocol,
            limits: settings.limits,
            is_once,
            checks_requests: is_once || settings.limits.has_request_checks(),
            listeners: Listeners::default(),
            metrics: Metrics::new(P::OPERATIONS),
            start_tls: settings.start_tls.clone(),
        }
    }

    /// Closes the listeners of a once server when its request has arrived.
    #[inline]
    pub(super) fn close_if_once(&self) {
        if self.is_once {
            self.listeners.close();
        }
    }
}

/// The shared state without its protocol type, so that everything outside of a connection is compiled once.
pub(super) trait DynShared: Send + Sync {
    fn listeners(&self) -> &Listeners;

    /// Returns `true` if replies take turns on a connection, because its framing has ids.
    fn has_ids(&self) -> bool;

    /// Returns the frames that tell a peer that its connection is rejected.
    fn rejection_frames(&self, rejection: &Rejection, log_limiter: &LogLimiter) -> WriteBuffer;

    /// Serves a connection in a task of its own.
    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection>);
}

impl<P: ServerProtocol> DynShared for Shared<P> {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    fn has_ids(&self) -> bool {
        P::Framing::HAS_IDS
    }

    fn rejection_frames(&self, rejection: &Rejection, log_limiter: &LogLimiter) -> WriteBuffer {
        rejection_frames(self, rejection, log_limiter)
    }

    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection>) {
        let span = new.span();
        tokio::spawn(async move { Connection::open(self, new).serve().await }.instrument(span));
    }
}
