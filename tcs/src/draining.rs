//! Tells protocol functions that their connections drain.

use std::pin::Pin;

use tokio::sync::Notify;

use crate::{
    ConnectionInfo, FromContext, Rejection,
    runtime::wait_until,
    sync::atomic::{AtomicU64, Ordering},
};

/// Tells a protocol function when its connection drains: the server is stopped, or the connection has reached
/// [`max_connection_age`](crate::server::Server::max_connection_age).
///
/// Take it as a parameter. A function that waits for long then returns early, in place of being aborted after
/// [`drain_timeout`](crate::server::Server::drain_timeout). `.await` it, or use it in [`tokio::select!`] or
/// [`tokio::time::timeout`]. It can be copied, and each copy can be awaited again. For collections of futures, use
/// [`into_future`](IntoFuture::into_future). A function that computes can ask [`is_draining`](Self::is_draining).
///
/// It is ready when the connection is told to finish. With [`lame_duck`](crate::server::Server::lame_duck), that is at
/// the end of the phase: until then, peers are served as before. The health of the server is known earlier, by
/// [`ServerHandle::is_stopping`](crate::server::ServerHandle::is_stopping). It is also ready if the server is aborted. A
/// function that waits is then dropped as well, but one that computes or blocks is not. Without a server, as with
/// [`ConnectionInfo::new`], it is never ready.
///
/// # Cancel safety
///
/// Waiting is cancel safe: a connection that drains does so until it ends.
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
    /// Tells when the connection drains, as the parameter [`Draining`] of a function does.
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
