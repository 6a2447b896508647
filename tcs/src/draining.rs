//! Tells protocol functions that their connections drain.

use std::pin::Pin;

use tokio::sync::Notify;

use crate::{
    ConnectionInfo, FromContext, Rejection,
    runtime::wait_until,
    sync::atomic::{AtomicU64, Ordering},
};

/// Completes when the connection drains, because the server was stopped or the connection has reached
/// [`max_connection_age`](crate::server::Server::max_connection_age).
///
/// Take it as a parameter to end a long wait early, instead of being aborted after
/// [`drain_timeout`](crate::server::Server::drain_timeout). `.await` it, or use it in [`tokio::select!`] or
/// [`tokio::time::timeout`]. You can copy it, and await each copy again. For collections of futures, use
/// [`into_future`](IntoFuture::into_future). A function that computes can call [`is_draining`](Self::is_draining).
///
/// With [`lame_duck`](crate::server::Server::lame_duck), the drain begins at the end of that phase;
/// [`ServerHandle::is_stopping`](crate::server::ServerHandle::is_stopping) returns `true` earlier. `Draining` also
/// completes if the server is aborted, which only a function that computes or blocks can notice. Without a server, as
/// with [`ConnectionInfo::new`], it never completes.
///
/// # Cancel safety
///
/// Awaiting it is cancel safe.
///
/// # Examples
///
/// ```
/// use tcs::{protocol::Draining, server_protocol};
/// use tokio::sync::Notify;
///
/// /// Waits for the next event. The client asks again on another connection if there was none.
/// #[server_protocol]
/// async fn next(_request: &str, #[state] event: &Notify, draining: Draining<'_>) -> &'static str {
///     tokio::select! {
///         () = event.notified() => "an event",
///         () = draining => "none",
///     }
/// }
/// # assert!(!tcs::ConnectionInfo::new(tcs::Peer::unnamed()).draining().is_draining());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Draining<'a>(&'a ConnectionInfo);

impl ConnectionInfo {
    /// Returns a future that completes when the connection drains, as the parameter [`Draining`] of a function.
    pub const fn draining(&self) -> Draining<'_> {
        Draining(self)
    }
}

impl Draining<'_> {
    /// Returns `true` if the connection drains.
    pub fn is_draining(self) -> bool {
        let Self(info) = self;
        info.server().drain.includes(info.retires())
    }
}

impl<'a> FromContext<'a> for Draining<'a> {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.draining())
    }
}

/// Waits until the connection drains.
impl<'a> IntoFuture for Draining<'a> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        // It has wakers of its own, because the function may not be polled with the waker of the connection.
        let raised = &self.0.server().drain.raised;
        Box::pin(wait_until(raised, move || self.is_draining()))
    }
}

/// Which connections of a server drain. Connections know it by flags, and their functions by this.
#[derive(Debug, Default)]
pub(crate) struct DrainSignal {
    /// Connections whose age ends up to this time drain. It is in milliseconds of the server's clock, which begins
    /// after 0.
    until: AtomicU64,
    /// Notified when `until` has changed.
    pub(crate) raised: Notify,
}

impl DrainSignal {
    /// The age of a connection without a limit ends at this time.
    pub(crate) const NEVER: u64 = u64::MAX;

    /// Tells the functions of all connections that they drain.
    pub(crate) fn raise_for_all(&self) {
        self.raise(Self::NEVER);
    }

    /// Tells the functions of the connections whose age ends up to this time.
    pub(crate) fn raise(&self, time: u64) {
        self.until.fetch_max(time, Ordering::Release);
        self.raised.notify_waiters();
    }

    /// Returns `true` if a connection drains whose age ends at this time.
    pub(crate) fn includes(&self, retires: u64) -> bool {
        retires <= self.until.load(Ordering::Acquire)
    }
}
