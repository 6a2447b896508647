//! A connection that many tasks share.

use std::{fmt, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use self::{call::Call, driver::Driver, shared::Shared};
use super::{connection::Connection, message::decode};
use crate::{
    Callable, ClientProtocol, Encode as _, Error, Frame, Framing, LengthPrefixed, OwnedCallable,
    Peer, Result, Writer,
    runtime::{Instead, inside_runtime},
};

mod call;
mod calls;
mod driver;
mod reply;
mod shared;

/// A connection that many tasks share: cheap to clone, and each clone can call at any time.
///
/// Requests are sent in the order in which they are made, those of many tasks together in one
/// write, and replies are given to those who asked. One task drives the connection; it ends when
/// the last clone is gone and what was asked is answered.
///
/// **Limits.** At most [`max_in_flight`](ConnectOptions::max_in_flight) calls are in flight, and
/// about 1 MiB of requests wait to be sent; beyond that a call waits for room, in turn, for at most
/// the [`reply_timeout`](ConnectOptions::reply_timeout). From when it has room, a call has that time
/// for its reply, and up to an eighth more, because one timer serves all calls.
///
/// **Late and dropped calls.** Replies come in the order of the requests, so a call that was dropped
/// or is too late keeps its place: its reply is dropped when it comes, and reaches nobody else. The
/// other calls go on. Only when nothing at all has arrived for the whole of a call's time, the
/// connection is taken for dead. A slow function delays the calls behind it: use more than one
/// channel where that matters.
///
/// **When the connection fails,** or the server ends it, all open calls fail, each with its own
/// [`execution`](crate::Error::execution), and so does every later one. A channel does not connect
/// again: connect a new one. (Reconnecting, several connections and several servers are to come.)
///
/// A protocol that leaves requests without a reply ([`Answer::Nothing`](crate::Answer::Nothing)) is
/// not for channels: replies have no names, so the next one would be taken for the missing one.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// # use tcs::{ConcurrentServer, Channel, server_protocol};
/// #[server_protocol]
/// fn double(n: u32) -> u64 {
///     u64::from(n) * 2
/// }
/// # let server = ConcurrentServer::new(Double).port(0).bind().await?;
/// # let addr = server.local_addr();
/// # tokio::spawn(server.listen());
///
/// let channel = Channel::connect(addr).await?;
/// let mut tasks = tokio::task::JoinSet::new();
/// for n in 0..100 {
///     let channel = channel.clone();
///     tasks.spawn(async move { channel.call::<Double>(n).await });
/// }
/// let mut sum = 0;
/// while let Some(doubled) = tasks.join_next().await {
///     sum += doubled.expect("no panic")?;
/// }
/// assert_eq!(sum, 9_900);
/// # Ok(())
/// # }
/// ```
///
/// A framing with one exchange per connection has no channels:
///
/// ```compile_fail
/// fn share(connection: tcs::Connection<tcs::Raw>) {
///     let channel = connection.into_channel();
/// #   drop(channel);
/// }
/// # fn main() { std::hint::black_box(share as fn(_)); }
/// ```
pub struct Channel<F: Framing = LengthPrefixed> {
    handle: Arc<Handle<F>>,
}

/// What all clones have together: when it is dropped, the last clone is gone.
struct Handle<F: Framing>(Arc<Shared<F>>);

impl<F: Framing> Channel<F> {
    /// Sends a request of the protocol `P` and returns the reply.
    ///
    /// The reply is owned, because the connection goes on. Where it borrows, the compiler says that
    /// an implementation of `Decode` is not general enough: use [`call_with`](Self::call_with).
    ///
    /// # Errors
    ///
    /// Those of [`Connection::exchange`], `TimedOut` where there was no room in time, and `Request`
    /// for a protocol with a greeting where none was received before the connection was shared.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the reply. Whether the request is executed is then unknown.
    pub async fn call<P>(&self, request: P::Request<'_>) -> Result<P::Owned>
    where
        P: OwnedCallable<Framing = F>,
    {
        let mut call = Call::new(&self.handle.0, P::GREETS, |out| P::encode(request, out))?;
        call.finish().await?;
        P::decode_owned(Frame::new(call.reply()))
            .map_err(|source| Error::decode(self.peer(), source))
    }

    /// Sends a request of the protocol `P` and returns what `process` makes of the reply, which may
    /// borrow.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// That of [`call`](Self::call).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(channel: tcs::Channel) -> tcs::Result<()> {
    /// #[tcs::server_protocol]
    /// fn first_word(text: &str) -> &str {
    ///     text.split(' ').next().unwrap_or_default()
    /// }
    ///
    /// let length = channel.call_with::<FirstWord, _>("Hello, Ann!", |word| word.len()).await?;
    /// let word = channel.call_with::<FirstWord, _>("Hello, Ann!", str::to_owned).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_with<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> T,
    ) -> Result<T>
    where
        P: Callable<Framing = F>,
    {
        let mut call = Call::new(&self.handle.0, P::GREETS, |out| P::encode(request, out))?;
        call.finish().await?;
        decode::<P::Format, _>(self.peer(), call.reply()).map(process)
    }

    /// Like [`call_with`](Self::call_with), but `process` takes the reply of one operation out of the
    /// type of all.
    #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
    #[doc(hidden)]
    pub async fn call_for<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> Option<T>,
    ) -> Result<T>
    where
        P: Callable<Framing = F>,
    {
        let output = self.call_with::<P, _>(request, process).await?;
        output.ok_or_else(|| super::message::mixed_up(self.peer()))
    }

    /// Sends the protocol's request and returns what it makes of the reply.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// That of [`call`](Self::call); the processing of the reply is dropped where it waits.
    pub async fn exchange<P>(&self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let request = |out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let reply = {
            let mut call = Call::new(&self.handle.0, P::GREETS, request)?;
            call.finish().await?;
            call.into_reply()
        };
        let decoded = decode::<P::Format, _>(self.peer(), reply.bytes())?;
        Ok(protocol.process_reply(self.peer(), decoded).await)
    }

    /// Returns the server's end.
    pub fn peer(&self) -> &Peer {
        &self.handle.0.peer
    }
}

impl<F, S> Connection<F, S>
where
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Lets many tasks share the connection, after a greeting was received, say.
    ///
    /// A framing with one exchange per connection ([`Raw`](crate::Raw)) does not compile.
    ///
    /// # Errors
    ///
    /// [`Broken`](crate::ErrorKind::Broken) after an earlier failure, and
    /// [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime.
    pub fn into_channel(mut self) -> Result<Channel<F>> {
        const {
            assert!(
                F::PERSISTENT,
                "this framing has one exchange per connection, so it has no channels"
            );
            assert!(
                !F::TYPED,
                "a `Codec` has no channels: use `Connection::pipeline`"
            );
        }
        self.check()?;
        inside_runtime("into_channel()", Instead::Nothing)?;
        let is_greeted = !self.is_fresh();
        let Self {
            wire,
            framing,
            peer,
            options,
            ..
        } = self;
        let wire = wire.map_err(|dead| dead.fault.of_later(&peer))?;
        let written = wire.requests.written();
        let shared = Arc::new(Shared::new(peer, options, is_greeted, framing, written));
        let driver = Driver::new(Arc::clone(&shared), wire);
        tokio::spawn(driver.run());
        Ok(Channel {
            handle: Arc::new(Handle(shared)),
        })
    }
}

impl<F: Framing> Clone for Channel<F> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<F: Framing> Drop for Handle<F> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<F: Framing> fmt::Debug for Channel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("peer", self.peer())
            .finish_non_exhaustive()
    }
}
