//! Tells protocol functions that their peers have closed.

use std::{pin::Pin, sync::atomic::Ordering};

use super::Conversation;
use crate::{ConnectionInfo, FromContext, Rejection, runtime::wait_until};

/// Tells a protocol function that its peer has closed its sending half. A peer that has closed the connection has
/// closed this half, too.
///
/// Take it as a parameter, so that a function that waits for long can end early, instead of being dropped after
/// [`half_close_timeout`](crate::server::Server::half_close_timeout). `.await` it, or use it in [`tokio::select!`]. It can
/// be copied, and each copy can be awaited again. For collections of futures, use
/// [`into_future`](IntoFuture::into_future). The reply of the function is still sent, because the peer may read it.
///
/// The connection reads ahead only while the function waits, and at most 64 KiB. If the peer has sent more, such as many
/// pipelined requests, the connection does not notice the end. A reset is not reported: the function is dropped.
///
/// # Cancel safety
///
/// Waiting is cancel safe.
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
    /// Tells when the peer has closed its sending half, as the parameter [`Closed`] of a function does.
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
