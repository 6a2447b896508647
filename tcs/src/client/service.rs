//! A channel as a service of `tower`.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use super::channel::Channel;
use crate::{Error, Result, framing::Framing, protocol::CallOwned};

/// A [`Channel`] as a service of `tower` that calls the protocol `P` (feature `tower`):
/// [`Channel::service`] returns it.
///
/// Put layers around it, such as a timeout, a limit or retries. [`Error::is_retryable`] and
/// [`Error::execution`] say which requests can be retried. With a layer for retries, turn off the retries of the channel
/// ([`ChannelOptions::retries`](crate::client::ChannelOptions::retries)). Requests and replies are owned, or borrow from
/// what lives as long as the program, such as a literal.
///
/// The service is cheap to clone, and all clones share the channel. It is always ready: a call waits for room itself, as
/// [`Channel::call`] does. For a limit that `poll_ready` waits for, use the layer `concurrency_limit`.
///
/// # Errors
///
/// Returns the errors of [`Channel::call`].
///
/// # Panics
///
/// Panics as [`Channel::call`] does.
///
/// # Cancel safety
///
/// As for [`Channel::call`]: a layer can drop the future of a call, as a timeout does. A request that was sent is still
/// executed, and the requests after it on the same connection wait for it. With
/// [`Multiplexed`](crate::framing::Multiplexed), it is cancelled instead.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tcs::{Channel, ConcurrentServer, server_protocol};
/// use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// # let addr = server.local_addr();
/// # tokio::spawn(server.listen());
/// let channel = Channel::connect(addr).await?;
/// let mut service = ServiceBuilder::new()
///     .timeout(Duration::from_secs(2))
///     .concurrency_limit(100)
///     .service(channel.service::<Greet>());
/// assert_eq!(service.ready().await?.call("Ann").await?, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
pub struct ChannelService<P: CallOwned> {
    channel: Channel<P::Framing>,
}

impl<F: Framing> Channel<F> {
    /// Returns a service of `tower` that calls the protocol `P` over this channel (feature `tower`).
    pub fn service<P: CallOwned<Framing = F>>(&self) -> ChannelService<P> {
        ChannelService {
            channel: self.clone(),
        }
    }
}

impl<P> Service<P::Request<'static>> for ChannelService<P>
where
    P: CallOwned + 'static,
    for<'a> P::Request<'a>: Send,
{
    type Response = P::Owned;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<P::Owned>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: P::Request<'static>) -> Self::Future {
        let channel = self.channel.clone();
        Box::pin(async move { channel.call::<P>(request).await })
    }
}

impl<P: CallOwned> Clone for ChannelService<P> {
    fn clone(&self) -> Self {
        self.channel.service()
    }
}

impl<P: CallOwned> fmt::Debug for ChannelService<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelService")
            .field("channel", &self.channel)
            .finish()
    }
}
