//! The state shared by all connections of a server.

use super::{config::Limits, listeners::Listeners};

/// The state shared by all connections of a server.
pub(super) struct Shared<P> {
    pub(super) protocol: P,
    pub(super) limits: Limits,
    /// Whether the server answers only one request. The first request then closes the listeners.
    pub(super) is_once: bool,
    pub(super) listeners: Listeners,
}

impl<P> Shared<P> {
    /// Creates the shared state of a server that does not listen yet.
    pub(super) fn new(protocol: P, limits: Limits, is_once: bool) -> Self {
        Self {
            protocol,
            limits,
            is_once,
            listeners: Listeners::new(),
        }
    }
}
