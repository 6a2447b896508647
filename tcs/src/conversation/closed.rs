//! Tells protocol functions that their peers have closed.

use std::{pin::Pin, sync::atomic::Ordering};

use super::Conversation;
use crate::{ConnectionInfo, FromContext, Rejection, runtime::wait_until};

/// Completes when the peer has closed its sending half, or the whole connection.
///
/// Take it as a parameter to end a long wait early, instead of being dropped after
/// [`half_close_timeout`](crate::server::Server::half_close_timeout). `.await` it, or use it in [`tokio::select!`]. You
/// can copy it, and await each copy again. For collections of futures, use [`into_future`](IntoFuture::into_future).
/// The reply of the function is still sent, because the peer may read it.
///
/// The connection reads ahead only while the function waits, and at most 64 KiB, so it does not notice the end behind
/// many pipelined requests. After a reset, the function is dropped.
///
/// # Cancel safety
///
/// Awaiting it is cancel safe.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tcs::{protocol::Closed, server_protocol};
/// use tokio::time::sleep;
///
/// /// Waits up to a minute, as long as somebody wants the result.
/// #[server_protocol]
/// async fn next(_request: &str, closed: Closed<'_>) -> &'static str {
///     tokio::select! {
///         () = sleep(Duration::from_secs(60)) => "an event",
///         () = closed => "nobody waits",
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Closed<'a>(&'a Conversation);

impl ConnectionInfo {
    /// Returns a future that completes when the peer has closed its sending half, as the parameter [`Closed`] of a
    /// function.
    pub fn closed(&self) -> Closed<'_> {
        Closed(self.conversation())
    }
}

impl Closed<'_> {
    /// Returns `true` if the peer has closed its sending half.
    pub fn is_closed(self) -> bool {
        let Self(conversation) = self;
        conversation.connection.is_closed.load(Ordering::Acquire)
    }
}

impl<'a> FromContext<'a> for Closed<'a> {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.closed())
    }
}

/// Waits until the peer has closed its sending half.
impl<'a> IntoFuture for Closed<'a> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        // The future has wakers of its own, because the function may not be polled with the waker of the connection.
        let closed = &self.0.connection.closed;
        Box::pin(wait_until(closed, move || self.is_closed()))
    }
}
