//! A client that many tasks share.
//!
//! A channel has a [`pool`] of connections. Each of them is a [`subchannel`], which the callers share with a task. The
//! subchannel lasts, and the task connects again when its connection has ended.
//!
//! ```text
//! tasks of the callers           Subchannel                   task of the connection
//!
//!                        ┌─ under a lock ──────────┐
//! call ── request ──────►│ RequestQueue            │────► Reconnector
//!    ◄─── reply ─────────│ PendingCalls            │◄────   Connector  opens a Connection
//! Events ◄───────────────│ Subscribers             │        Driver     reads and writes its Wire
//!                        │ Link: is it connected?  │        upkeep   pings, closes, replaces
//!                        └─────────────────────────┘
//! ```
//!
//! A call goes like this:
//!
//! 1. The [`call`] encodes its request. Under the lock, the call takes a slot of the [`pending_calls`] for its waker,
//!    and adds the request to the queue. Then it wakes the driver if that waits.
//! 2. Under the lock, the driver copies each reply that it has read into the slot of its call, and takes the queue.
//!    Then it wakes the callers, and sends.
//! 3. The call takes the reply out of its slot, and decodes it without the lock.
//!
//! A call that finds no [`room`] at its connection waits for room, and requests the connection if there is none. If its
//! request fails, [`retry`] says whether it is sent again, and [`backoff`] when. All connections and their callers have one value
//! that is [`shared`]: the settings, the [`connector`], the [`stats`], and the [`budget`] of retries.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use self::{
    connector::Connector, driver::Driver, pool::Pool, reply::Reply, shared::Shared,
    subchannel_state::tick_limit,
};
use super::{
    connection::Connection,
    options::{ConnectOptions, MAX_TIMEOUT},
};
use crate::{
    Error, Peer, Result,
    format::{Encode as _, Writer},
    framing::{Framing, LengthPrefixed},
    protocol::{CallContract, CallOwned, ClientProtocol},
    runtime::{inside_runtime, inside_runtime_with_clock},
    transport::Address,
};

pub use events::{ChannelEvent, Events};
pub use items::ChannelItems;
pub use options::ChannelOptions;
pub use stats::ChannelState;

mod addresses;
mod backoff;
mod budget;
mod call;
mod connector;
mod driver;
mod events;
mod items;
mod load;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(test)]
mod models;
mod options;
mod pending_calls;
mod pool;
mod reconnector;
mod reply;
mod retry;
mod room;
mod shared;
mod stats;
mod subchannel;
mod subchannel_state;
mod subscribers;
mod upkeep;

/// A client that many tasks share and that reconnects. It is cheap to clone, and each clone can call at any time.
///
/// A channel has one connection, or [several](ChannelOptions::connections), to one server or [several
/// servers](ChannelOptions::address). It opens a connection when a call needs one. A connection sends requests in the
/// order of the calls, with those of many tasks in one write, and each caller receives the reply to its own request.
/// The connections are closed when the last clone is dropped and all requests are answered or late.
///
/// Create a channel with [`connect`](Self::connect) or [`ChannelOptions`]. [`Connection::into_channel`] shares an
/// existing connection, but does not reconnect: once the connection has ended, all calls fail.
///
/// # An unavailable server
///
/// While no connection is open, a call waits for one, for at most the
/// [`reply_timeout`](crate::client::ConnectOptions::reply_timeout). The channel keeps trying to connect, with growing,
/// random waits between attempts ([`backoff`](ChannelOptions::backoff)). If another attempt would most likely fail as
/// well, because a certificate is wrong or a login was rejected, calls return that error instead of waiting.
/// [`state`](Self::state) returns what is open and what has failed.
///
/// # Retries
///
/// Whether a channel retries a failed call depends on whether the server can have executed its request
/// ([`Error::execution`]):
///
/// | the request | the channel |
/// |---|---|
/// | was not sent, because the connection was lost | sends it over the next connection |
/// | was rejected as *busy*, *going away*, *idle* or *too many connections* | sends it again after a random wait, of up to 10 ms at first and up to 1 s later |
/// | was sent, and the connection was lost | returns the error, unless the call is [`idempotent`](Self::idempotent) |
/// | was executed, or rejected because of its contents | returns the reply or the error |
/// | may have been executed, and its reply timed out | returns the error |
///
/// No retry begins later than the reply timeout after the first failure. The retries of the second and third row have a
/// [budget](ChannelOptions::retries). If it is used up, the text of the error says so, and
/// [`retries_refused`](ChannelState::retries_refused) counts the call. A request that was sent is kept for its retry
/// until 4 MiB of others were sent after it on its connection; after that, its call returns the error.
///
/// # How long a call can take
///
/// A [`deadline`](Self::deadline) limits a whole call; [`ChannelOptions::deadline`] sets one for all calls. Without a
/// deadline, the [`reply_timeout`](crate::client::ConnectOptions::reply_timeout) limits each step:
///
/// | step | limit | with the default of 30 s |
/// |---|---|---|
/// | wait for a connection, or for room on one | `reply_timeout` | 30 s |
/// | wait for the reply | `reply_timeout` plus an eighth of it or 2 ms, whichever is longer, because one timer serves all calls | 33.75 s |
/// | retries | the last one begins within `reply_timeout` after the first failure, and takes both steps again | 93.75 s |
///
/// A call without retries therefore takes up to 63.75 s, and any other up to 157.5 s. A longer deadline does not extend
/// a step.
///
/// # Limits
///
/// A connection has at most [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) calls in flight, and about
/// 1 MiB of requests that wait to be sent. Further calls wait for room, in order. About 4 MiB of requests that were
/// sent are kept for [retries](#retries), and at least the last one, however large. A reply of at most
/// [`max_reply_len`](crate::client::ConnectOptions::max_reply_len) bytes is kept until its caller is polled or dropped;
/// there is no limit for all such replies together.
///
/// # The runtime
///
/// A task drives each connection. It runs in the runtime of [`connect`](Self::connect), or of the call that opened the
/// first connection. You can make calls from other runtimes and threads, but they are sent and answered only while that
/// runtime runs; a current-thread runtime runs only within `block_on`. When it ends, the calls in flight fail, and the
/// next call starts the task in its own runtime. If your program has no lasting runtime, use
/// [`blocking::Channel`](crate::blocking::Channel), which has its own.
///
/// # Calls that time out or are dropped
///
/// Replies arrive in the order of the requests, so a call that has timed out or was dropped keeps its place: its reply
/// is discarded when it arrives, and never reaches another caller. The connection is closed only if nothing at all
/// arrives for the whole [`reply_timeout`](crate::client::ConnectOptions::reply_timeout) of a call; a
/// [`deadline`](Self::deadline) that passes leaves it open. The server still executes a request that was sent, and
/// later calls on the same connection wait for it, as for any slow function. If that matters, use several
/// [`connections`](ChannelOptions::connections), or `Multiplexed`.
///
/// With [`Multiplexed`](crate::framing::Multiplexed), replies arrive in any order, so a slow, late or dropped call
/// delays no other, if the functions [run concurrently](macro@crate::server_protocol#concurrent-requests). Use this
/// framing for every channel whose functions wait. The server receives the [`deadline`](Self::deadline) of each call,
/// and drops the function of a call that was dropped or is late. If half of
/// [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) requests are cancelled, and the server does not
/// answer them within the reply timeout (or a minute if there is none), the connection is closed. Such a channel also
/// has [streamed replies](Self::stream).
///
/// # The framing
///
/// Each connection has one value of the framing, which the callers use to write requests and the task to read replies.
/// A framing of your own may keep state for both directions, but requests are retried only if it has [independent
/// frames](crate::framing::Framing::HAS_INDEPENDENT_FRAMES).
///
/// Do not use a channel for a protocol that leaves requests without a reply
/// ([`Response::NoReply`](crate::Response::NoReply)): the next reply would be taken for the missing one.
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
#[doc(alias("pool", "reconnect", "retry"))]
pub struct Channel<F: Framing = LengthPrefixed> {
    pool: Arc<Pool<F>>,
    deadline: Option<Duration>,
    is_idempotent: bool,
    hedge_after: Option<Duration>,
}

impl<F: Framing> Channel<F> {
    /// Connects with the default [`ChannelOptions`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ChannelOptions::connect`].
    ///
    /// # Panics
    ///
    /// Panics as [`ChannelOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ChannelOptions::new(address).connect().await
    }

    /// Returns a clone whose calls take at most `limit` each, including all waits and retries.
    ///
    /// A call that takes longer returns [`TimedOut`](crate::ErrorKind::TimedOut), whose
    /// [`execution`](crate::Error::execution) says whether the request was sent. If so, the server still executes it,
    /// and the reply is discarded when it arrives. With [`Multiplexed`](crate::framing::Multiplexed), the request is
    /// cancelled instead. The connection stays open.
    ///
    /// The limit replaces [`ChannelOptions::deadline`], and may be longer. It does not extend the
    /// [`reply_timeout`](crate::client::ConnectOptions::reply_timeout): [whichever passes
    /// first](#how-long-a-call-can-take) ends the call.
    ///
    /// A call that a protocol function makes also ends with the
    /// [`request_timeout`](crate::server::Server::request_timeout) of that function, if that is earlier. A task that
    /// the function spawns does not inherit it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// # async fn example(channel: tcs::Channel) -> tcs::Result<()> {
    /// let limit = Duration::from_millis(200);
    /// let reply = channel.deadline(limit).call::<Greet>("Ann").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deadline(&self, limit: Duration) -> Self {
        let mut channel = self.clone();
        channel.deadline = Some(limit.min(MAX_TIMEOUT));
        channel
    }

    /// Returns a clone whose requests are idempotent: they are also retried if the connection is lost after they were
    /// sent.
    #[must_use]
    pub fn idempotent(&self) -> Self {
        let mut channel = self.clone();
        channel.is_idempotent = true;
        channel
    }

    /// Returns a clone that sends an idempotent request a second time, over another connection, if there is no reply
    /// after `delay`. The call returns the first of the two replies, so one slow server or connection delays fewer
    /// calls.
    ///
    /// The server may execute the request twice, so this applies only to calls that are marked as idempotent: all calls
    /// of an [`idempotent`](Self::idempotent) channel, and the operations of a [module of
    /// functions](crate::server_protocol) with `#[idempotent]`.
    ///
    /// The second request counts as a retry in the [budget](Self#retries), and
    /// [`retries(false)`](ChannelOptions::retries) turns it off. A channel with one connection sends no second request,
    /// because that would most likely be as slow.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # #[tcs::server_protocol]
    /// # fn price(item: &str) -> u64 { item.len() as u64 }
    /// # async fn example(channel: tcs::Channel) -> tcs::Result<()> {
    /// let hedged = channel.idempotent().hedge(Duration::from_millis(50));
    /// let price = hedged.call::<Price>("tea").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn hedge(&self, delay: Duration) -> Self {
        let mut channel = self.clone();
        channel.hedge_after = Some(delay);
        channel
    }

    /// Returns the state of the connections.
    ///
    /// If attempts to connect fail, `failed_attempts` grows and `last_error` says why. This method sends nothing, so it
    /// does not tell whether the server is available: [`connected`](ChannelState::connected) is also 0 before the first
    /// call and after an idle time, and the server of an open connection may no longer answer. To find out, make a call
    /// with a [`deadline`](Self::deadline).
    pub fn state(&self) -> ChannelState {
        self.watch().borrow().clone()
    }

    /// Returns a receiver that is notified when the [`state`](Self::state) changes. Quick changes may be seen as one.
    ///
    /// Do not hold the result of `borrow` across an `.await`: it blocks the tasks of the connections when they change
    /// the state. Clone what you need.
    pub fn watch(&self) -> watch::Receiver<ChannelState> {
        self.pool.shared.stats.watch()
    }

    fn over(pool: Pool<F>) -> Self {
        Self {
            pool: Arc::new(pool),
            deadline: None,
            is_idempotent: false,
            hedge_after: None,
        }
    }

    /// Creates a channel of connections that the caller attaches. It makes no others.
    fn of_connections(number: usize, options: ConnectOptions, has_retries: bool) -> Self {
        let connector = Connector::new(Vec::new());
        Self::over(Pool::new(
            number,
            Shared::new(options, connector, has_retries),
        ))
    }

    const fn assert_framing() {
        assert!(
            F::EXCHANGES.are_many(),
            "this framing has one exchange per connection, so it has no channels"
        );
        assert!(
            !F::HAS_VALUES,
            "a `Codec` has no channels: use `Connection::pipeline`"
        );
    }

    /// Sends a request of the protocol `P` and returns the reply.
    ///
    /// The reply is owned, because the buffer of the connection is reused. For a reply type that borrows, use
    /// [`call_with`](Self::call_with).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Connection::exchange`]; `TimedOut` if there was no connection or no room in time;
    /// `Request` if the protocol has a greeting that was not received before the connection was shared; and
    /// [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime with a clock (`enable_time`), if the channel
    /// has to start its task.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with a clock, if the runtime of the connections has one and the call needs a
    /// timer: for a [`deadline`](Self::deadline), a [hedge](Self::hedge), a retry after a wait, or to wait for a
    /// connection or for room with a reply timeout or several connections.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the reply, and does not affect other calls. A request that was queued or sent may
    /// still be executed, and later requests on the same connection wait for it. With
    /// [`Multiplexed`](crate::framing::Multiplexed), no request waits for it: the server is told to cancel it, and
    /// drops its function if that waits.
    pub async fn call<P>(&self, request: P::Request<'_>) -> Result<P::Owned>
    where
        P: CallOwned<Framing = F>,
    {
        self.reply_to::<P>(request).await?.decode_owned::<P>()
    }

    /// Sends a request of the protocol `P`, passes the reply to `process`, and returns the result. The reply may
    /// borrow.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// Panics as [`call`](Self::call) does.
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call).
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
        reply.decode::<P::Format, _>(&mut scratch).map(process)
    }

    /// Like [`call_with`](Self::call_with), but `process` takes the reply of one operation out of the
    /// type of all. The connection closes after any other message: all later replies would be those of
    /// earlier requests.
    #[doc(hidden)]
    pub async fn call_for<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        let mut reply = self.reply_to::<P>(request).await?;
        let mut scratch = Vec::new();
        // Set until the reply is taken out, also after a panic: which operation it was for is unknown then.
        reply.is_out_of_sync = true;
        let output = process(reply.decode::<P::Format, _>(&mut scratch)?);
        let output = output.ok_or_else(|| Error::wrong_operation(&reply.peer()))?;
        reply.is_out_of_sync = false;
        Ok(output)
    }

    /// Sends the request of `protocol`, and returns the output of its `process_reply`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// Panics as [`call`](Self::call) does.
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call). If the reply is already being processed, its processing ends.
    pub async fn exchange<P>(&self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let encode = |(): (), out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let sent = self.round_trip(P::HAS_GREETING, (), |()| None, encode);
        let reply = sent.await?;
        let mut scratch = Vec::new();
        let decoded = reply.decode::<P::Format, _>(&mut scratch)?;
        Ok(protocol.process_reply(&reply.peer(), decoded).await)
    }

    /// Returns the server's end of the first connection, or of the latest one that replaced it.
    pub fn peer(&self) -> Peer {
        self.pool.peer()
    }

    /// Sends a request of the protocol `P` and returns its reply.
    ///
    /// Not `async`, because each call would pay for a future around the one of `round_trip` (decision 014).
    fn reply_to<P>(&self, request: P::Request<'_>) -> impl Future<Output = Result<Reply<'_, F>>>
    where
        P: CallContract<Framing = F>,
    {
        if let Some(is_event) = P::IS_EVENT {
            self.pool.set_is_event(is_event);
        }
        let encode = |request, out: &mut Writer<'_>| P::encode(request, out);
        self.round_trip(P::HAS_GREETING, request, |it| P::plain_bytes(it), encode)
    }

    /// Sends a request that was encoded before, and returns its reply.
    fn reply_to_bytes(
        &self,
        has_greeting: bool,
        request: &[u8],
    ) -> impl Future<Output = Result<Reply<'_, F>>> {
        let encode = |request: &[u8], out: &mut Writer<'_>| {
            out.put(request);
            Ok(())
        };
        self.round_trip(has_greeting, request, |it| Some(*it), encode)
    }
}

impl<F: Framing> Connection<F> {
    /// Converts the connection into a channel, which many tasks can share.
    ///
    /// The channel does not reconnect: once this connection has ended, all calls fail. For one that does, use
    /// [`Channel::connect`], or [`ChannelOptions`] with [`on_connect`](ChannelOptions::on_connect) to receive a
    /// greeting.
    ///
    /// Events that have arrived but were not received are dropped. This method does not compile for a framing with one
    /// exchange per connection ([`Raw`](crate::framing::Raw)).
    ///
    /// # Errors
    ///
    /// Returns [`Broken`](crate::ErrorKind::Broken) or [`Closed`](crate::ErrorKind::Closed) after an earlier failure,
    /// and [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime. The runtime needs a clock
    /// (`enable_time`), unless the reply timeout is `None` and the framing has no ids.
    pub fn into_channel(mut self) -> Result<Channel<F>> {
        const {
            Channel::<F>::assert_framing();
        }
        self.checked_exchanges().ensure_idle()?;
        let options = self.exchanges.options().clone();
        match tick_limit::<F>(&options) {
            Some(_) => inside_runtime_with_clock("into_channel()")?,
            None => inside_runtime("into_channel()")?,
        }
        let channel = Channel::of_connections(1, options, false);
        if let [only] = &*channel.pool.subchannels {
            tokio::spawn(Driver::attach(only, self).run());
        }
        Ok(channel)
    }
}

impl<F: Framing> Clone for Channel<F> {
    fn clone(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            ..*self
        }
    }
}

impl<F: Framing> fmt::Debug for Channel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
