//! A connection that many tasks share.
//!
//! 1. A call takes a slot, encodes its request into the shared queue, leaves its waker, and wakes the driver
//!    if that waits ([`call`]): one lock, no allocation.
//! 2. The driver reads, copies each reply into the slot of its call, takes the queued requests, unlocks, wakes
//!    the callers, and sends ([`driver`]).
//! 3. The call takes the reply out of its slot, leaves a spare buffer there, and decodes without the lock
//!    ([`slots`]).

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{fmt, sync::Arc};

use self::{
    driver::Driver,
    reply::Reply,
    shared::{Lifecycle, Shared},
};
use super::{connection::Connection, options::ConnectOptions};
use crate::{
    Address, Error, Peer, Result,
    format::{Decode, Encode as _, Frame, Writer},
    framing::{Framing, LengthPrefixed},
    protocol::{CallContract, CallOwned, ClientProtocol},
    runtime::{Instead, inside_runtime},
};

mod call;
mod driver;
mod reply;
mod shared;
mod slots;

/// A connection that many tasks share. It is cheap to clone, and each clone can call at any time.
///
/// Requests are sent in the order in which they are made. The requests of many tasks are sent in one
/// write. Each caller gets the reply to its own request. One task drives the connection. It ends when
/// the last clone is dropped and all requests are answered.
///
/// **Limits.** At most [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) calls are in flight,
/// and about 1 MiB of requests wait to be sent. Beyond that, calls wait for room, in order, each for at
/// most the [`reply_timeout`](crate::client::ConnectOptions::reply_timeout). A call that has room waits for its
/// reply for that time again, and up to an eighth or 2 ms more, because one timer serves all calls.
/// Replies that were not collected have no limit of their own: each has at most
/// [`max_frame_len`](crate::client::ConnectOptions::max_frame_len) bytes, until its caller is polled or dropped.
///
/// **Encoding.** Requests are encoded while the channel is locked. `encode` and `prepare_request` must
/// not wait for another call of the same channel.
///
/// **Late and dropped calls.** Replies come in the order of the requests, so a call that is late or
/// was dropped keeps its place. Its reply is dropped when it arrives, and reaches no other caller. The
/// other calls go on. The connection is closed only if nothing at all arrives during the whole time of
/// a call. A slow function delays the calls after it: use several channels if that matters.
///
/// **Failures.** If the connection fails, or the server ends it, all calls return an error, each with
/// its own [`execution`](crate::Error::execution), and so does every later call. A channel does not
/// reconnect: connect a new one.
///
/// **The framing.** Like any connection, a channel has one value of its framing. The callers write
/// requests with it, and the task reads replies, in any order. So your own framing may keep state for
/// both directions.
///
/// Do not use channels with a protocol that leaves requests without a reply
/// ([`Response::NoReply`](crate::Response::NoReply)): replies carry no ids, so the next one would be taken
/// for the missing one.
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
/// fn share(connection: tcs::Connection<tcs::framing::Raw>) {
///     let channel = connection.into_channel();
/// #   drop(channel);
/// }
/// # fn main() { std::hint::black_box(share as fn(_)); }
/// ```
pub struct Channel<F: Framing = LengthPrefixed> {
    handle: Arc<Handle<F>>,
}

/// Shared by all clones. It is dropped with the last one, which ends the driver.
struct Handle<F: Framing>(Arc<Shared<F>>);

impl<F: Framing> Channel<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().channel(address).await
    }

    /// Sends a request of the protocol `P` and returns the reply.
    ///
    /// The reply is owned, because the buffer of the connection is reused. If the reply type borrows, the
    /// compiler reports that an implementation of `Decode` is not general enough: use
    /// [`call_with`](Self::call_with).
    ///
    /// # Errors
    ///
    /// Those of [`Connection::exchange`]; `TimedOut` if there was no room in time; and `Request` if the
    /// protocol has a greeting and none was received before the connection was shared.
    ///
    /// # Panics
    ///
    /// If the channel is full, has a reply timeout, and is called outside of a tokio runtime with a
    /// clock (`enable_time`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the reply. Whether the request is executed is then unknown, and the
    /// other calls go on.
    pub async fn call<P>(&self, request: P::Request<'_>) -> Result<P::Owned>
    where
        P: CallOwned<Framing = F>,
    {
        let reply = self.reply_to::<P>(request).await?;
        let frame = Frame::new(&reply.0);
        P::decode_owned(frame).map_err(|source| Error::decode(self.peer(), source))
    }

    /// Sends a request of the protocol `P` and returns the output of `process`, which gets the reply.
    /// The reply may borrow.
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
        P: CallContract<Framing = F>,
    {
        let reply = self.reply_to::<P>(request).await?;
        let mut scratch = Vec::new();
        self.decode::<P::Format, _>(&reply, &mut scratch)
            .map(process)
    }

    /// Like [`call_with`](Self::call_with), but `process` takes the reply of one operation out of the
    /// type of all. The connection closes after any other message: all later replies would be those of
    /// earlier requests.
    #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
    #[doc(hidden)]
    pub async fn call_for<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        let reply = self.reply_to::<P>(request).await?;
        let mut scratch = Vec::new();
        let processed = catch_unwind(AssertUnwindSafe(|| {
            self.decode::<P::Format, _>(&reply, &mut scratch)
                .and_then(|reply| process(reply).ok_or_else(|| Error::wrong_operation(self.peer())))
        }));
        // Also after a panic: nobody knows of which operation that reply was.
        if !matches!(processed, Ok(Ok(_))) {
            self.handle.0.close(Lifecycle::OutOfStep);
        }
        processed.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Sends the request of `protocol`, and returns the output of its `process_reply`.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// That of [`call`](Self::call). If the reply is already being processed, its processing ends.
    pub async fn exchange<P>(&self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let request = |out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let reply = self.handle.0.round_trip(P::HAS_GREETING, request).await?;
        let mut scratch = Vec::new();
        let decoded = self.decode::<P::Format, _>(&reply, &mut scratch)?;
        Ok(protocol.process_reply(self.peer(), decoded).await)
    }

    /// Returns the server's end of the connection.
    pub fn peer(&self) -> &Peer {
        &self.handle.0.peer
    }

    /// Sends a request of the protocol `P` and returns its reply.
    ///
    /// Not `async`: a future around that of `round_trip` would cost each call 20 instructions.
    fn reply_to<P>(&self, request: P::Request<'_>) -> impl Future<Output = Result<Reply>>
    where
        P: CallContract<Framing = F>,
    {
        let request = move |out: &mut Writer<'_>| P::encode(request, out);
        self.handle.0.round_trip(P::HAS_GREETING, request)
    }

    /// Decodes a reply, which may also borrow what its format writes to `scratch`.
    fn decode<'a, Format, T: Decode<'a, Format>>(
        &self,
        reply: &'a Reply,
        scratch: &'a mut Vec<u8>,
    ) -> Result<T> {
        let frame = Frame::new(&reply.0).with_scratch(scratch);
        T::decode(frame).map_err(|source| Error::decode(self.peer(), source))
    }
}

impl<F: Framing> Connection<F> {
    /// Turns the connection into a channel, which many tasks can share, for example after a greeting
    /// was received.
    ///
    /// Does not compile for a framing with one exchange per connection ([`Raw`](crate::framing::Raw)).
    ///
    /// # Errors
    ///
    /// [`Broken`](crate::ErrorKind::Broken) or [`Closed`](crate::ErrorKind::Closed) after an earlier
    /// failure, and [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime. In a runtime
    /// without a clock (`enable_time`), all calls return `Broken`, unless the reply timeout is `None`.
    pub fn into_channel(mut self) -> Result<Channel<F>> {
        const {
            assert!(
                F::EXCHANGES.are_many(),
                "this framing has one exchange per connection, so it has no channels"
            );
            assert!(
                !F::HAS_VALUES,
                "a `Codec` has no channels: use `Connection::pipeline`"
            );
        }
        self.begin_exchange()?;
        inside_runtime("into_channel()", Instead::Nothing)?;
        let is_greeted = !self.is_fresh();
        let wire = self.wire;
        let wire = wire.map_err(|closed| closed.fault.later_error(&self.peer))?;
        let (framing, written) = (self.framing, wire.written());
        let shared = Shared::new(self.peer, self.options, is_greeted, framing, written);
        let shared = Arc::new(shared);
        let driver = Driver::new(Arc::clone(&shared), wire);
        // Without a clock, the task panics when it starts the ticker. Dropping the driver then fails all calls.
        tokio::spawn(driver.run());
        let handle = Arc::new(Handle(shared));
        Ok(Channel { handle })
    }
}

impl<F: Framing> Clone for Channel<F> {
    fn clone(&self) -> Self {
        let handle = Arc::clone(&self.handle);
        Self { handle }
    }
}

impl<F: Framing> Drop for Handle<F> {
    fn drop(&mut self) {
        self.0.close(Lifecycle::Released);
    }
}

impl<F: Framing> fmt::Debug for Channel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("peer", self.peer())
            .finish_non_exhaustive()
    }
}
