//! Clients for programs without `async`.
//!
//! [`Connection`] and [`Channel`] are like their namesakes in the crate root, but their methods block the thread. They
//! have their own tokio runtime. The client of a [module of functions](crate::server_protocol) works over both.
//!
//! In `async` code, where they would stop all other tasks of the thread, the methods return an error of the kind
//! [`Runtime`](crate::ErrorKind::Runtime). They work on a thread that may block: in
//! [`spawn_blocking`](tokio::task::spawn_blocking), [`block_in_place`](tokio::task::block_in_place), and protocol
//! functions with the option `blocking` on a multi-threaded runtime. They can be dropped everywhere. In a future inside
//! of [`unconstrained`](tokio::task::unconstrained), which looks like such a thread, tokio panics instead.
//!
//! # What is missing
//!
//! A blocking connection has no `pipeline`, `split`, `over`, `into_parts`, `into_channel` and `start_tls`. To have many
//! requests in flight, let several threads share a [`Channel`].
//!
//! A blocking channel has no `watch`, `peer` and `service`, and connects at once. For these, and for a channel that
//! connects when it is first used:
//!
//! 1. Create a [`tcs::Channel`](crate::Channel) with
//!    [`connect_lazily`](crate::client::ChannelOptions::connect_lazily).
//! 2. Keep a clone of it, if you need its methods.
//! 3. Convert it with `blocking::Channel::from`.
//!
//! # Threads
//!
//! One thread, `tcs-blocking`, drives the connections of all channels. It also runs the function of
//! [`on_connect`](crate::client::ChannelOptions::on_connect), which is `async` and must not block. Only for the first
//! connection, [`connect_blocking`](crate::client::ChannelOptions::connect_blocking) runs it on the calling thread.
//!
//! Do not use channels in a child process of `fork`, which has no copy of this thread.
//!
//! # Examples
//!
//! ```
//! use tcs::{ConcurrentServer, blocking::Connection, server_protocol};
//!
//! #[server_protocol]
//! fn double(n: u32) -> u64 {
//!     u64::from(n) * 2
//! }
//!
//! # fn main() -> tcs::Result<()> {
//! let server = ConcurrentServer::new(Double).port(0).start()?;
//!
//! let mut connection = Connection::connect(server.local_addr())?;
//! assert_eq!(connection.call::<Double>(21)?, 42);
//! assert_eq!(connection.call::<Double>(4)?, 8);
//! # server.stop()?;
//! # Ok(())
//! # }
//! ```

use std::{
    fmt, iter,
    sync::OnceLock,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::coop,
};

use crate::{
    Error, Peer, Result,
    client::{ChannelEvent, ChannelOptions, ChannelState, ConnectOptions},
    format::{Decode, Encode},
    framing::{Framing, HasIds, LengthPrefixed},
    protocol::{CallContract, CallOwned, ClientProtocol, Contract, Pushes, Receives, Streams},
    transport::Address,
};

/// A connection to a server, for any number of exchanges, one at a time.
///
/// This is [`tcs::Connection`](crate::Connection) without `async`. Each connection has a runtime of its own, with four
/// descriptors. Between calls, nothing runs.
pub struct Connection<F = LengthPrefixed> {
    runtime: OwnRuntime,
    connection: crate::Connection<F>,
}

/// A runtime that does not wait for its blocking tasks when it is dropped. Any other drop in `async` code panics.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    /// Runs a future. `call` is the method that was called.
    fn block_on<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        ensure_may_block(call)?;
        match &self.0 {
            Some(runtime) => runtime.block_on(future),
            None => Err(Error::outside_runtime(call, "")),
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl<F: Framing> Connection<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ConnectOptions::connect_blocking`].
    pub fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().connect_blocking(address)
    }

    /// Returns the server's end of the connection.
    pub const fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// Limits the next call. See [`tcs::Connection::deadline`](crate::Connection::deadline).
    pub fn deadline(&mut self, limit: Duration) -> &mut Self {
        self.connection.deadline(limit);
        self
    }

    /// Sends a request of the protocol `P` and returns the reply, which may borrow from the connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Connection::call`](crate::Connection::call), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn call<P>(&mut self, request: P::Request<'_>) -> Result<P::Value<'_>>
    where
        P: CallContract<Framing = F>,
    {
        self.runtime
            .block_on("call()", self.connection.call::<P>(request))
    }

    /// Sends the request of `protocol`, and returns the output of its `process_reply`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call).
    pub fn exchange<P>(&mut self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        self.runtime
            .block_on("exchange()", self.connection.exchange(protocol))
    }

    /// Sends a request of the protocol `P`, which is followed by chunks.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Connection::upload`](crate::Connection::upload), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn upload<P>(&mut self, request: P::Request<'_>) -> Result<Upload<'_, P>>
    where
        P: CallContract<Framing = F> + Receives,
    {
        let upload = self.connection.upload::<P>(request);
        Ok(Upload {
            upload: self.runtime.block_on("upload()", upload)?,
            runtime: &self.runtime,
        })
    }

    /// Sends a request of the protocol `P`, and returns the items of its streamed reply.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Connection::stream`](crate::Connection::stream), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn stream<P>(&mut self, request: P::Request<'_>) -> Result<Items<'_, P>>
    where
        P: CallContract<Framing = F> + Streams,
    {
        let items = self.connection.stream::<P>(request);
        Ok(Items {
            items: self.runtime.block_on("stream()", items)?,
            runtime: &self.runtime,
        })
    }

    /// Waits for an event that the server pushes, for at most the [`deadline`](Self::deadline) if there is one. Events
    /// that have arrived during a call were kept, and are returned first.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Connection::next_event`](crate::Connection::next_event), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn next_event<'a, P>(&'a mut self) -> Result<P::Event<'a>>
    where
        P: Pushes,
        P::Event<'a>: Decode<'a, P::Format>,
    {
        self.runtime
            .block_on("next_event()", self.connection.next_event::<P>())
    }

    /// Receives a message without a request, such as a server's greeting before the first request.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call).
    pub fn receive<'a, T, Format>(&'a mut self) -> Result<T>
    where
        T: Decode<'a, Format>,
    {
        self.runtime
            .block_on("receive()", self.connection.receive())
    }

    /// Like [`call`](Self::call), but extracts the reply of one operation from that of the module.
    #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
    #[doc(hidden)]
    pub fn call_for<'c, P, T>(
        &'c mut self,
        request: P::Request<'_>,
        extract: impl FnOnce(P::Value<'c>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        let call = self.connection.call_for::<P, T>(request, extract);
        self.runtime.block_on("call()", call)
    }

    /// Closes the connection after its last exchange. See [`tcs::Connection::close`](crate::Connection::close).
    ///
    /// # Errors
    ///
    /// Returns [`Runtime`](crate::ErrorKind::Runtime) in `async` code. The connection is closed all the same.
    pub fn close(self) -> Result<()> {
        let Self {
            runtime,
            connection,
        } = self;
        runtime.block_on("close()", async {
            connection.close().await;
            Ok(())
        })
    }
}

/// A request that is followed by chunks, from [`Connection::upload`].
///
/// This is [`client::Upload`](crate::client::Upload) without `async`.
#[derive(Debug)]
#[must_use = "the server waits for the end of the chunks: call `finish`"]
pub struct Upload<'c, P: Contract> {
    upload: crate::client::Upload<'c, P>,
    runtime: &'c OwnRuntime,
}

impl<'c, P: CallContract + Receives> Upload<'c, P> {
    /// Sends a chunk. Waits while 64 KiB of the chunks before it are not sent.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::Upload::send`](crate::client::Upload::send), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn send<'a>(&mut self, chunk: P::Chunk<'a>) -> Result<()>
    where
        P::Chunk<'a>: Encode<<P as Receives>::Format>,
    {
        self.runtime.block_on("send()", self.upload.send(chunk))
    }

    /// Returns `true` if the server has answered before the end of the chunks. See
    /// [`client::Upload::is_answered`](crate::client::Upload::is_answered).
    pub const fn is_answered(&self) -> bool {
        self.upload.is_answered()
    }

    /// Ends the chunks, and returns the reply, which may borrow from the connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::Upload::finish`](crate::client::Upload::finish), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn finish(self) -> Result<P::Value<'c>> {
        self.runtime.block_on("finish()", self.upload.finish())
    }
}

/// The items of a streamed reply, from [`Connection::stream`].
///
/// This is [`client::Items`](crate::client::Items) without `async`. Dropping it before its end cancels the request.
#[derive(Debug)]
#[must_use = "the items are received by `next`"]
pub struct Items<'c, P: Contract> {
    items: crate::client::Items<'c, P>,
    runtime: &'c OwnRuntime,
}

impl<'c, P: CallContract + Streams> Items<'c, P> {
    /// Returns the next item, which may borrow from the connection, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::Items::next`](crate::client::Items::next), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn next<'a>(&'a mut self) -> Result<Option<P::Item<'a>>>
    where
        P::Item<'a>: Decode<'a, <P as Streams>::Format>,
    {
        self.runtime.block_on("next()", self.items.next())
    }

    /// Returns an iterator over the items as `T`, a type that borrows nothing, such as `String` where the items are
    /// `&str`.
    ///
    /// It ends after the last item, and after an error that ends the reply. In `async` code, each item is an error, without
    /// end.
    pub fn owned<T>(&mut self) -> impl Iterator<Item = Result<T>>
    where
        T: for<'a> Decode<'a, <P as Streams>::Format>,
    {
        iter::from_fn(|| {
            let item = self.runtime.block_on("next()", self.items.next_as());
            item.transpose()
        })
    }

    /// Skips the items that are left. Returns how many there were.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next`](Self::next).
    pub fn skip_rest(&mut self) -> Result<u64> {
        self.runtime.block_on("skip_rest()", self.items.skip_rest())
    }

    /// Returns the reply that has ended the stream. Waits for it if `next` has not returned `None` yet.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::Items::finish`](crate::client::Items::finish), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn finish(self) -> Result<P::Value<'c>> {
        self.runtime.block_on("finish()", self.items.finish())
    }
}

impl ConnectOptions {
    /// Connects like [`connect`](Self::connect), for a program without `async`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect), but [`Runtime`](crate::ErrorKind::Runtime) in `async` code, or if no
    /// runtime can be created.
    pub fn connect_blocking<F: Framing>(
        &self,
        address: impl Into<Address>,
    ) -> Result<Connection<F>> {
        ensure_may_block("connect()")?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = OwnRuntime(Some(runtime.map_err(Error::start)?));
        let connection = runtime.block_on("connect()", self.connect(address))?;
        Ok(Connection {
            runtime,
            connection,
        })
    }
}

/// A client that many threads share. It is cheap to clone.
///
/// This is [`tcs::Channel`](crate::Channel) without `async`: it reconnects, and sends requests again that are known not
/// to have been executed. The connections of all channels are served by one thread of the process, which starts with
/// the first channel and never ends.
///
/// # Examples
///
/// A [`tcs::Channel`](crate::Channel) becomes one with `from`:
///
/// ```
/// use tcs::{ConcurrentServer, blocking, client::ChannelOptions, server_protocol};
///
/// #[server_protocol]
/// fn double(n: u32) -> u64 {
///     u64::from(n) * 2
/// }
///
/// # fn main() -> tcs::Result<()> {
/// let server = ConcurrentServer::new(Double).port(0).start()?;
///
/// let lazy = ChannelOptions::new(server.local_addr()).connect_lazily()?;
/// let channel = blocking::Channel::from(lazy);
/// assert_eq!(channel.call::<Double>(21)?, 42);
/// # server.stop()?;
/// # Ok(())
/// # }
/// ```
pub struct Channel<F: Framing = LengthPrefixed>(crate::Channel<F>);

impl<F: Framing> Channel<F> {
    /// Connects with the default [`ChannelOptions`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ChannelOptions::connect_blocking`].
    pub fn connect(address: impl Into<Address>) -> Result<Self> {
        ChannelOptions::new(address).connect_blocking()
    }

    /// Sends a request of the protocol `P` and returns the reply.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Channel::call`](crate::Channel::call), and [`Runtime`](crate::ErrorKind::Runtime) in
    /// `async` code.
    pub fn call<P>(&self, request: P::Request<'_>) -> Result<P::Owned>
    where
        P: CallOwned<Framing = F>,
    {
        block_on("call()", self.0.call::<P>(request))
    }

    /// Sends a request of the protocol `P`, passes the reply to `process`, and returns the result. The reply may
    /// borrow.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call).
    pub fn call_with<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> T,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        block_on("call_with()", self.0.call_with::<P, T>(request, process))
    }

    /// Like [`call_with`](Self::call_with), but `process` extracts the reply of one operation from that of the module.
    #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
    #[doc(hidden)]
    pub fn call_for<P, T>(
        &self,
        request: P::Request<'_>,
        process: impl FnOnce(P::Value<'_>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        block_on("call()", self.0.call_for::<P, T>(request, process))
    }

    /// Sends the request of `protocol`, and returns the output of its `process_reply`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call).
    pub fn exchange<P>(&self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        block_on("exchange()", self.0.exchange(protocol))
    }

    /// Sends a request of the protocol `P`, and returns the items of its streamed reply. Needs a framing with ids.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Channel::stream`](crate::Channel::stream), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn stream<P>(&self, request: P::Request<'_>) -> Result<ChannelItems<P>>
    where
        F: HasIds,
        P: CallContract<Framing = F> + Streams,
    {
        block_on("stream()", self.0.stream::<P>(request)).map(ChannelItems)
    }

    /// Returns the events that servers push, from now on. See [`tcs::Channel::events`](crate::Channel::events).
    pub fn events<P>(&self) -> Events<P>
    where
        P: Contract<Framing = F> + Pushes,
    {
        // The tasks of further connections are not those of the runtime that the caller may have.
        let _entered = process_runtime().ok().map(Runtime::enter);
        Events(self.0.events())
    }

    /// Sends a request that makes the server push events, and returns its reply and the events. The request is sent
    /// again over each new connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tcs::Channel::subscribe`](crate::Channel::subscribe), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn subscribe<P>(&self, request: P::Request<'_>) -> Result<(P::Owned, Events<P>)>
    where
        P: CallOwned<Framing = F> + Pushes,
    {
        let subscribed = block_on("subscribe()", self.0.subscribe::<P>(request));
        subscribed.map(|(reply, events)| (reply, Events(events)))
    }

    /// Returns a clone whose calls take at most `limit`. See [`tcs::Channel::deadline`](crate::Channel::deadline).
    #[must_use]
    pub fn deadline(&self, limit: Duration) -> Self {
        Self(self.0.deadline(limit))
    }

    /// Returns a clone whose requests are safe to execute more than once. See
    /// [`tcs::Channel::idempotent`](crate::Channel::idempotent).
    #[must_use]
    pub fn idempotent(&self) -> Self {
        Self(self.0.idempotent())
    }

    /// Returns a clone that sends an idempotent request a second time if its reply is slow. See
    /// [`tcs::Channel::hedge`](crate::Channel::hedge).
    #[must_use]
    pub fn hedge(&self, delay: Duration) -> Self {
        Self(self.0.hedge(delay))
    }

    /// Returns the state of the connections.
    pub fn state(&self) -> ChannelState {
        self.0.state()
    }
}

/// The items of a streamed reply, from [`Channel::stream`].
///
/// This is [`client::ChannelItems`](crate::client::ChannelItems) without `async`. Dropping it before its end cancels
/// the request.
#[derive(Debug)]
#[must_use = "the items are received by `next`"]
pub struct ChannelItems<P: Contract>(crate::client::ChannelItems<P>);

impl<P: Contract + Streams> ChannelItems<P> {
    /// Returns the next item, which may borrow from this value, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::ChannelItems::next`](crate::client::ChannelItems::next), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn next<'a>(&'a mut self) -> Result<Option<P::Item<'a>>>
    where
        P::Item<'a>: Decode<'a, <P as Streams>::Format>,
    {
        block_on("next()", self.0.next())
    }

    /// Returns an iterator over the items as `T`, like [`Items::owned`].
    pub fn owned<T>(&mut self) -> impl Iterator<Item = Result<T>>
    where
        T: for<'a> Decode<'a, <P as Streams>::Format>,
    {
        iter::from_fn(|| block_on("next()", self.0.next_as()).transpose())
    }

    /// Returns the reply that has ended the stream. Waits for it if `next` has not returned `None` yet.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::ChannelItems::finish`](crate::client::ChannelItems::finish), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn finish(self) -> Result<P::Owned>
    where
        P: CallOwned,
    {
        block_on("finish()", self.0.finish())
    }
}

/// The events that servers push over a [`Channel`], from [`Channel::events`] and [`Channel::subscribe`].
///
/// This is [`client::Events`](crate::client::Events) without `async`.
#[derive(Debug)]
#[must_use = "events are received by `next`"]
pub struct Events<P: Contract>(crate::client::Events<P>);

impl<P: Contract + Pushes> Events<P> {
    /// Waits for the next event, which may borrow from this value. There is no limit for the wait.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`client::Events::next`](crate::client::Events::next), and
    /// [`Runtime`](crate::ErrorKind::Runtime) in `async` code.
    pub fn next<'a>(&'a mut self) -> Result<ChannelEvent<P::Event<'a>>>
    where
        P::Event<'a>: Decode<'a, <P as Pushes>::Format>,
    {
        block_on("next()", self.0.next())
    }
}

impl<F: Framing> ChannelOptions<F> {
    /// Creates the channel like [`connect`](Self::connect), for a program without `async`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect), but [`Runtime`](crate::ErrorKind::Runtime) in `async` code, or if no
    /// runtime can be created.
    pub fn connect_blocking(self) -> Result<Channel<F>> {
        let channel = block_on("connect()", self.connect())?;
        Ok(Channel(channel))
    }
}

impl<F: Framing> From<crate::Channel<F>> for Channel<F> {
    /// New connections are served by the thread of all blocking channels. Connections that are open stay with the
    /// runtime in which they were made.
    fn from(channel: crate::Channel<F>) -> Self {
        Self(channel)
    }
}

impl<F: Framing> Clone for Channel<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Runs a future on this thread, in the process's runtime. `call` is the method that was called.
fn block_on<T>(call: &'static str, future: impl Future<Output = Result<T>>) -> Result<T> {
    ensure_may_block(call)?;
    process_runtime()?.block_on(future)
}

/// Returns the runtime that serves the connections of all channels. The first call creates it.
fn process_runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();

    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(1)
        .thread_name("tcs-blocking")
        .enable_all();
    let runtime = builder.build().map_err(Error::start)?;
    // Another thread may have been faster. Then the runtime of this thread ends here, which has no tasks yet.
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Returns an error in `async` code, where blocking would stop the other tasks of the thread, and tokio panics.
///
/// In a future inside of `tokio::task::unconstrained`, returns no error, so tokio panics: neither such a future nor a
/// thread that may block has a budget, and nothing else in tokio distinguishes the two.
fn ensure_may_block(call: &'static str) -> Result<()> {
    match Handle::try_current() {
        Ok(_) => {}
        Err(error) if error.is_thread_local_destroyed() => {
            return Err(Error::outside_runtime(call, ", while its thread ended"));
        }
        Err(_) => return Ok(()),
    }
    // Only code that a runtime polls has a budget that ends. A thread of `spawn_blocking` is in a runtime, too, but may
    // block.
    let mut cx = Context::from_waker(Waker::noop());
    let is_polled = (0..=u8::MAX).any(|_| {
        let proceed = coop::poll_proceed(&mut cx);
        proceed.map(|restore| restore.made_progress()).is_pending()
    });
    if is_polled {
        return Err(Error::blocking_in_async(call));
    }
    Ok(())
}

impl<F> fmt::Debug for Connection<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}

impl<F: Framing> fmt::Debug for Channel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
