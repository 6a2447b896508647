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
//! 2. Under the lock, the driver copies each reply that it has read into the slot of its call, and takes the queue. Then it
//!    wakes the callers, and sends.
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

/// A client for an application: many tasks share it, and it reconnects. It is cheap to clone, and each clone can call at
/// any time.
///
/// A channel has one connection, or [several](ChannelOptions::connections), also to [several
/// servers](ChannelOptions::address). Each is opened when a call needs it, also after an earlier one has ended. A connection
/// sends requests in the order of the calls, and those of many tasks in one write. Each caller gets the reply to its own
/// request. The connections are closed when the last clone is dropped and all requests are answered.
///
/// [`Connection::into_channel`] shares one connection. Such a channel does not reconnect: once its connection has ended,
/// all calls fail. [`connect`](Self::connect) and [`ChannelOptions`] make a channel that does.
///
/// # An unavailable server
///
/// Calls use the connections that are open. While none is, they wait for one, each for at most the
/// [`reply_timeout`](crate::client::ConnectOptions::reply_timeout). Attempts to connect follow each other with
/// growing, random waits ([`backoff`](ChannelOptions::backoff)), one at a time for each connection. If another attempt
/// would most likely fail as well, because a certificate is wrong or a login was rejected, calls return that error
/// instead of waiting. [`state`](Self::state) says what is open, and what has failed.
///
/// # Retries
///
/// What a failed call does depends on whether the server can have executed its request
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
/// budget, which [`ChannelOptions::retries`] explains; it also turns all retries off. The text of an error says if it
/// was used up, and [`retries_refused`](ChannelState::retries_refused) counts it. A request that was sent is kept for
/// its retry while at most 4 MiB of others were sent after it on its connection. Later, its call returns the error.
///
/// # How long a call can take
///
/// With a [`deadline`](Self::deadline), that long: it limits the whole call. [`ChannelOptions::deadline`] sets one for
/// all calls. Without one, the [`reply_timeout`](crate::client::ConnectOptions::reply_timeout) limits each step:
///
/// | step | limit | with the default of 30 s |
/// |---|---|---|
/// | wait for a connection, or for room on one | `reply_timeout` | 30 s |
/// | wait for the reply | `reply_timeout`, and an eighth of it or 2 ms more, whichever is longer, because one timer serves all calls | 33.75 s |
/// | retries | the last one begins within `reply_timeout` after the first failure, and takes both steps again | 93.75 s |
///
/// So a call whose request is never sent again takes up to 63.75 s, and any other one up to 157.5 s. The earlier limit
/// ends a call, so a longer deadline does not extend a step.
///
/// # Limits
///
/// At most [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) calls are in flight on a connection,
/// and about 1 MiB of requests wait to be sent. Beyond that, calls wait for room, in order. About 4 MiB of requests that
/// were sent are kept for their [retries](#retries), and at least the last one, however large. Replies that were not
/// collected have no limit of their own: each has at most
/// [`max_frame_len`](crate::client::ConnectOptions::max_frame_len) bytes, until its caller is polled or dropped.
///
/// # The runtime
///
/// Each connection is driven by a task. It runs in the runtime of the call that has asked for the first connection, or of
/// [`connect`](Self::connect). Calls can come from other runtimes and threads, but are sent and answered only while that
/// one runs: a current-thread runtime only within its `block_on`. When it ends, the calls in flight fail, and the next call
/// starts the task in its own runtime. In a program without a runtime that lasts, use
/// [`blocking::Channel`](crate::blocking::Channel), which brings one.
///
/// # Calls that time out or are dropped
///
/// Replies come in the order of the requests, so a call that has timed out or was dropped keeps its place. Its reply is
/// dropped when it arrives, and reaches no other caller. Other calls are not affected. The connection is closed only if
/// nothing at all arrives during the whole time of a call. The server still executes a request that was sent, and the
/// calls after it on the same connection wait for that, as they do for any slow function: use several
/// [`connections`](ChannelOptions::connections) if that matters.
///
/// With [`Multiplexed`](crate::framing::Multiplexed), replies come in any order, and a call that is slow, late or
/// dropped holds up nobody, if the functions [run side by side](macro@crate::server_protocol#requests-side-by-side).
/// The server gets the [`deadline`](Self::deadline) of a call, and a cancel for a call that was dropped or is late, and
/// then drops its function. A server must answer cancels: if half of
/// [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) requests are cancelled and were not answered within
/// the reply timeout, or a minute if there is none, the connection is closed. Use it for every channel whose functions
/// wait. Such a channel also has [streamed replies](Self::stream).
///
/// # The framing
///
/// Like any connection, a channel has one value of its framing. The callers write
/// requests with it, and the task reads replies, in any order. So your own framing may keep state for
/// both directions. Requests are sent again only if it has
/// [independent frames](crate::framing::Framing::HAS_INDEPENDENT_FRAMES).
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
    /// The errors of [`ChannelOptions::connect`].
    ///
    /// # Panics
    ///
    /// As [`ChannelOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ChannelOptions::new(address).connect().await
    }

    /// Returns a clone whose calls take at most `limit`, each with all its waits and retries.
    ///
    /// A call that takes longer returns [`TimedOut`](crate::ErrorKind::TimedOut). Its
    /// [`execution`](crate::Error::execution) says whether its request was sent. If so, the server still executes it, and
    /// the reply is dropped when it comes. With [`Multiplexed`](crate::framing::Multiplexed), the request is cancelled
    /// instead. The connection stays open.
    ///
    /// The limit replaces [`ChannelOptions::deadline`], and may be longer. It does not extend the
    /// [`reply_timeout`](crate::client::ConnectOptions::reply_timeout): [the earlier one](#how-long-a-call-can-take)
    /// ends the call.
    ///
    /// A call that a protocol function makes also ends with the
    /// [`request_timeout`](crate::server::Server::request_timeout) of that function, without a limit of its own. The
    /// earlier one applies. A task that the function spawns inherits nothing.
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

    /// Returns a clone whose requests are safe to execute more than once. They are also sent again if a connection is
    /// lost after they were sent.
    #[must_use]
    pub fn idempotent(&self) -> Self {
        let mut channel = self.clone();
        channel.is_idempotent = true;
        channel
    }

    /// Returns a clone whose idempotent requests are sent a second time, over another connection, if there is no reply
    /// after `delay`. The first reply of the two is returned. So one slow server or connection delays fewer calls.
    ///
    /// The server may execute such a request twice. So the delay applies only to calls that are marked: all those of an
    /// [`idempotent`](Self::idempotent) channel, and, over the `Client` of a [module of
    /// functions](crate::server_protocol), the operations marked `#[idempotent]`. For any other call, this setting does
    /// nothing.
    ///
    /// The second request counts as a retry in the [budget](Self#retries), and
    /// [`retries(false)`](ChannelOptions::retries) turns it off. A channel with one connection sends no second request,
    /// with any framing: what makes the first one slow would most likely hold up the second as well.
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

    /// Returns what is known of the connections.
    ///
    /// It sends nothing, so it does not say whether the server is available now. [`connected`](ChannelState::connected)
    /// is 0 for a channel that has not been used or was idle, too, and an open connection may be to a server that no
    /// longer answers. What it can tell is that attempts fail, and why: `failed_attempts` grows while calls wait, and
    /// `last_error` is the reason. To find out whether the server answers, make a call with a
    /// [`deadline`](Self::deadline).
    pub fn state(&self) -> ChannelState {
        self.watch().borrow().clone()
    }

    /// Returns a receiver that is notified when the [`state`](Self::state) changes. Changes that follow each other
    /// quickly are seen as one.
    ///
    /// Do not keep what `borrow` returns while you wait for something, such as a call: it blocks the tasks of the
    /// connections when they change the state. Clone what you need.
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
    /// The errors of [`Connection::exchange`]; `TimedOut` if there was no connection or no room in time; `Request` if the
    /// protocol has a greeting and none was received before the connection was shared; and
    /// [`Runtime`](crate::ErrorKind::Runtime) if the channel connects for the first time, or after its runtime has ended,
    /// and this is outside of a tokio runtime with a clock (`enable_time`).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a clock, if the connections have one, and the call needs a clock as well: it has a
    /// [`deadline`](Self::deadline) or is [hedged](Self::hedge), it waits for a connection or for room and there is a
    /// reply timeout or another connection, or it sends its request again after a wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the reply, and does not affect other calls. A request that was queued or sent is still
    /// executed, and the requests after it on the same connection wait for it. Whether it was is unknown to the caller.
    /// With [`Multiplexed`](crate::framing::Multiplexed), no request waits for it, and the server is told to cancel it: it
    /// drops its function, if that waits.
    pub async fn call<P>(&self, request: P::Request<'_>) -> Result<P::Owned>
    where
        P: CallOwned<Framing = F>,
    {
        self.reply_to::<P>(request).await?.decode_owned::<P>()
    }

    /// Sends a request of the protocol `P` and returns the output of `process`, which gets the reply.
    /// The reply may borrow.
    ///
    /// # Errors
    ///
    /// The errors of [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call) does.
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
    /// The errors of [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call) does.
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

    /// Returns the server's end of the first connection, or of the last one that there was in its place.
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
    /// Turns the connection into a channel, which many tasks can share, for example after a greeting
    /// was received.
    ///
    /// The channel does not reconnect: once this connection has ended, all calls fail. For a channel that does, use
    /// [`Channel::connect`], or [`ChannelOptions`] with [`on_connect`](ChannelOptions::on_connect) for the greeting.
    ///
    /// Events that have arrived before, and were not received, are dropped.
    ///
    /// Does not compile for a framing with one exchange per connection ([`Raw`](crate::framing::Raw)).
    ///
    /// # Errors
    ///
    /// [`Broken`](crate::ErrorKind::Broken) or [`Closed`](crate::ErrorKind::Closed) after an earlier
    /// failure, and [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime. The runtime needs a clock
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
