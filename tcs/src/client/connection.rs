//! A connection for many exchanges.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem::take,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::unconstrained,
};

use super::{
    events::EventQueue,
    fault::{Fault, OUT_OF_SYNC},
    ids::{Ids, Waiting},
    options::{ConnectOptions, DEFAULT_MAX_FRAME_LEN, MAX_TIMEOUT},
    replies::Received,
    requests::EncodeRequest,
    timer::Timer,
    wire::{Expected, Wire},
};
use crate::{
    Address, Error, Peer, Result,
    deadline::Deadline,
    format::{Decode, Encode as _, Writer, read},
    framing::{ConnectionFraming, Framing, LengthPrefixed},
    limit::assert_parameters,
    protocol::{CallContract, ClientProtocol},
    runtime::{poll_once, wake_after_others},
    transport::Stream,
};

/// The largest scratch buffer that is kept, as in the pool of buffers. A connection does not hold the
/// memory of a large reply beyond the next reply.
const MAX_SCRATCH: usize = 128 * 1024;
/// How many bytes of notices, and of replies that were abandoned, are skipped within one poll.
const SKIPPED_AT_ONCE: usize = 1 << 20;
/// What each of them counts beside its own bytes.
const SKIPPED_OVERHEAD: usize = 1 << 10;

/// A connection to a server, for any number of exchanges, one after the other.
///
/// The compiler infers the framing `F` from the first protocol that is used on the connection, so
/// mixing framings does not compile.
///
/// A reply never reaches another caller. The connection is closed if the reply timeout passes, or if a message
/// arrives that answers no request. The next use then returns an error that gives the reason. A message
/// answers only a request that was sent before this side began to read the message. To receive a greeting,
/// call [`receive`](Self::receive).
///
/// # Cancel safety
///
/// You can drop the future of a [`call`](Self::call), an [`exchange`](Self::exchange) or a
/// [`receive`](Self::receive), for example with `select!` or `timeout`, and continue. A call that has timed out, because
/// its [`deadline`](Self::deadline) has passed, is like one that was dropped:
///
/// - If nothing of its request was sent, the request is removed and never executed. (One of a `Codec` is sent all the
///   same, because the codec may have counted it.)
/// - Otherwise, whether the request is executed is unknown. A server that has all of it executes it. The next use of the
///   connection sends the rest of it, and skips its reply, which comes before the next one. So the next call waits until
///   the server has executed both.
///
/// While replies are still to be skipped, the reply timeout continues: it closes the connection if no complete message
/// arrives within it. So does a further use while more than
/// [`max_in_flight`](ConnectOptions::max_in_flight) replies are missing, and the next use of a framing with one exchange
/// per connection.
///
/// With [`Multiplexed`](crate::framing::Multiplexed), replies have ids, so the next call waits for none but its own: the
/// server is told that the request is no longer wanted, and drops its function if that waits. A late reply is skipped
/// whenever it comes. The server is told of a call when it is dropped, and of a stream by the next use of the connection.
/// It also gets the [`deadline`](Self::deadline) of a call.
///
/// Do not drop calls of a protocol that leaves requests without a reply
/// ([`Response::NoReply`](crate::Response::NoReply)): the next reply would be skipped in place of the missing one.
///
/// # Panics
///
/// A method that has to wait panics outside of a tokio runtime with a clock (`enable_time`), unless the
/// [reply timeout](ConnectOptions::reply_timeout) is `None`. `start_tls` always needs the clock.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, server_protocol};
///
/// #[server_protocol]
/// fn double(n: u32) -> u64 {
///     u64::from(n) * 2
/// }
///
/// let server = ConcurrentServer::new(Double).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Double>(21).await?, 42);
/// assert_eq!(connection.call::<Double>(4).await?, 8);
/// # Ok(())
/// # }
/// ```
pub struct Connection<F = LengthPrefixed> {
    pub(super) wire: Wire,
    pub(super) framing: ConnectionFraming<F>,
    /// The offsets of the requests in flight, oldest first.
    pub(super) in_flight: VecDeque<u64>,
    /// How many of the oldest in flight were abandoned: their replies are skipped.
    pub(super) abandoned: usize,
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    /// Whether a message was received without a request.
    is_greeted: bool,
    /// How long the next call may take, from [`deadline`](Self::deadline).
    next_limit: Option<Duration>,
    /// Limits the wait for a message. Its wait continues while there are abandoned requests and nothing arrives.
    pub(super) reply_timer: Timer,
    /// Limits the wait until requests are sent.
    pub(super) flush_timer: Timer,
    /// The end of the requests for which `flush_timer` runs.
    pub(super) flush_end: u64,
    /// Holds text that the format had to rewrite, such as unescaped JSON. Replies borrow from it.
    scratch: Vec<u8>,
    /// Whether the last reply was not that of the operation that was called.
    is_out_of_sync: bool,
    /// Whether the request in flight is followed by chunks, and the last one was not queued.
    pub(super) is_uploading: bool,
    /// For framings with ids.
    pub(super) ids: Ids,
    /// The events that have arrived, and were not received.
    pub(super) events: EventQueue,
    /// What was skipped since the last pause.
    skipped: usize,
}

/// The parts of a [`Connection`], from [`Connection::into_parts`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectionParts {
    /// The stream of the connection.
    pub stream: Stream,
    /// The bytes that were read from the stream after the last message.
    ///
    /// They come before what `stream` returns. Before a handshake such as TLS, make sure that there are
    /// none: they were not protected.
    pub read_buf: Vec<u8>,
}

impl<F: Framing> Connection<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// The compiler infers the framing `F` from the first use of the connection. It asks for a type until
    /// there is a `connection.call::<Greet>(…)` or a `connection.exchange(…)`.
    ///
    /// # Errors
    ///
    /// The errors of [`ConnectOptions::connect`].
    ///
    /// # Panics
    ///
    /// As [`ConnectOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().connect(address).await
    }
}

impl<F: Framing> Connection<F> {
    pub(super) fn new(stream: Stream, peer: Peer, options: ConnectOptions) -> Self {
        const {
            assert_parameters::<F>();
        }
        Self {
            wire: Wire::new(stream, options.max_frame_len),
            framing: ConnectionFraming::default(),
            in_flight: VecDeque::new(),
            abandoned: 0,
            peer,
            options,
            is_greeted: false,
            next_limit: None,
            reply_timer: Timer::default(),
            flush_timer: Timer::default(),
            flush_end: 0,
            scratch: Vec::new(),
            is_out_of_sync: false,
            is_uploading: false,
            ids: Ids::default(),
            events: EventQueue::default(),
            skipped: 0,
        }
    }

    /// Creates a connection over a connected stream, with the default [`ConnectOptions`].
    ///
    /// Does not compile for a framing whose messages are larger than the default
    /// [`max_frame_len`](ConnectOptions::max_frame_len), 8 MiB: use [`ConnectOptions::over`].
    ///
    /// ```compile_fail
    /// use tcs::{Connection, framing::Fixed};
    ///
    /// let (near, _far) = tokio::io::duplex(64);
    /// let connection = Connection::<Fixed<{ (8 << 20) + 1 }>>::over(near);
    /// # drop(connection);
    /// ```
    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        const {
            assert!(
                F::MIN_MESSAGE_LEN <= DEFAULT_MAX_FRAME_LEN,
                "messages of this framing exceed the default limit: use `ConnectOptions::over`"
            );
        }
        Self::new(Stream::new(stream), Peer::unnamed(), ConnectOptions::new())
    }

    /// Returns the server's end of the connection.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Limits how long the next [`call`](Self::call), [`exchange`](Self::exchange) or [`receive`](Self::receive)
    /// waits, from its first poll to its reply, including the wait for a greeting. Default: only the reply
    /// timeout applies.
    ///
    /// When the limit passes, the call returns [`TimedOut`](crate::ErrorKind::TimedOut) with
    /// [`Execution::NotSent`](crate::Execution::NotSent) if nothing of its request was sent, and otherwise with
    /// [`Execution::Unknown`](crate::Execution::Unknown). The connection stays usable, as after a
    /// [dropped call](Self#cancel-safety). If the [reply timeout](ConnectOptions::reply_timeout) is shorter, it still
    /// closes the connection. With a limit of zero, nothing is sent. A [`pipeline`](Self::pipeline) has no deadline.
    ///
    /// A call that a protocol function makes also ends when the server's
    /// [`request_timeout`](crate::server::Server::request_timeout) for the function would pass, without a limit of its
    /// own. The earlier one applies. A task that the function spawns inherits nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// use std::time::Duration;
    ///
    /// use tcs::{ConcurrentServer, Connection, ErrorKind, server_protocol};
    ///
    /// #[server_protocol]
    /// async fn pause(milliseconds: u64) -> u64 {
    ///     tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    ///     milliseconds
    /// }
    ///
    /// let server = ConcurrentServer::new(Pause).port(0).bind().await?;
    /// let addr = server.local_addr();
    /// tokio::spawn(server.listen());
    ///
    /// let mut connection = Connection::connect(addr).await?;
    /// let late = connection.deadline(Duration::from_millis(10)).call::<Pause>(50).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    /// assert_eq!(connection.call::<Pause>(0).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(&mut self, limit: Duration) -> &mut Self {
        self.next_limit = Some(limit.min(MAX_TIMEOUT));
        self
    }
}

impl<F: Framing> Connection<F> {
    /// Sends the request of `protocol`, and returns the output of its `process_reply`.
    ///
    /// # Errors
    ///
    /// By [`ErrorKind`](crate::ErrorKind): `Rejected` with the server's reason; `Request` or `Reply` for
    /// a message that cannot be encoded or decoded; `TimedOut`, `Closed` or `Io`; and `Broken` or
    /// `Closed` after an earlier failure. [`Error::execution`] returns whether the request may have been
    /// executed.
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call). If the reply is already being processed, its processing ends.
    pub async fn exchange<P>(&mut self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let deadline = self.take_deadline()?;
        let request = |out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let reply = self.round_trip(P::HAS_GREETING, deadline, request).await?;
        let (reply, peer) = self.decode(reply, |reply, peer| Ok((reply, peer)))?;
        Ok(protocol.process_reply(peer, reply).await)
    }

    /// Sends a request of the protocol `P`, named as in `call::<P>`, and returns the reply. The reply
    /// may borrow from the connection.
    ///
    /// If the function returns `Result<T, E>` in [`Plain`](crate::format::Plain), the reply is the `T`. An `Err`
    /// arrives as an [`Error`] with a [`rejection`](Error::rejection). A framing without control frames
    /// cannot distinguish the two: the text of an `Err` is then read as a `T`.
    ///
    /// For a protocol made by `#[client_protocol]`, use [`exchange`](Self::exchange).
    ///
    /// If the protocol has a [greeting](crate::protocol::Contract::HAS_GREETING), the first call waits for it and drops
    /// it. To get the greeting, call [`receive`](Self::receive) first. The wait for the greeting and the
    /// wait for the reply take at most the reply timeout each.
    ///
    /// # Errors
    ///
    /// The errors of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the request or its reply, and the connection stays usable: see
    /// [`Connection`](Self#cancel-safety).
    pub async fn call<P>(&mut self, request: P::Request<'_>) -> Result<P::Value<'_>>
    where
        P: CallContract<Framing = F>,
    {
        let deadline = self.take_deadline()?;
        self.note_events_of::<P>();
        let request = |out: &mut Writer<'_>| P::encode(request, out);
        let reply = self.round_trip(P::HAS_GREETING, deadline, request).await?;
        self.decode(reply, |reply, _| Ok(reply))
    }

    /// Like [`call`](Self::call), but takes the reply of one operation out of the type of all. The
    /// connection closes after any other message, which may be a greeting: all later replies would be
    /// those of earlier requests.
    #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
    #[doc(hidden)]
    pub async fn call_for<'c, P, T>(
        &'c mut self,
        request: P::Request<'_>,
        extract: impl FnOnce(P::Value<'c>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        let deadline = self.take_deadline()?;
        self.note_events_of::<P>();
        let request = |out: &mut Writer<'_>| P::encode(request, out);
        let reply = self.round_trip(P::HAS_GREETING, deadline, request).await?;
        // Until the reply is taken out. It borrows `self`, so the next exchange closes the connection.
        self.is_out_of_sync = true;
        self.decode(reply, |reply, peer| {
            extract(reply).ok_or_else(|| Error::wrong_operation(peer))
        })
    }

    /// Receives a message without a request, such as a server's greeting before the first request.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tcs::{Connection, format::Plain, framing::Lines};
    ///
    /// # async fn example() -> tcs::Result<()> {
    /// let mut connection: Connection<Lines> = Connection::connect("mail.example:25").await?;
    /// let greeting = connection.receive::<&str, Plain>().await?;
    /// assert!(greeting.starts_with("220 "));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Safe: the next use of the connection gets the message.
    pub async fn receive<'a, T, Format>(&'a mut self) -> Result<T>
    where
        T: Decode<'a, Format>,
    {
        let deadline = self.take_deadline()?;
        let message = self.receive_message(deadline).await?;
        let decoded = self.decode(message, |message, _| Ok(message));
        decoded.map_err(Error::not_sent)
    }

    /// Closes the connection after its last exchange, within the reply timeout.
    ///
    /// Dropping a TCP connection closes it as well. A stream with an end of its own, such as TLS, sends
    /// that end only here. If the connection has failed, this method does nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn close(mut self) {
        if self.ensure_idle().is_ok() {
            let shut_down = |it: &mut Self, cx: &mut Context<'_>| it.wire.poll_shutdown(cx);
            self.with_timeout(|it| &mut it.reply_timer, shut_down).await;
        }
    }

    /// Consumes the connection, returning its stream and the bytes that were read after the last message.
    ///
    /// This is for peers that change to another protocol. For TLS, use `start_tls`. After a pipeline, receive all
    /// replies first. The state of your own framing is dropped. After an exchange with
    /// [`UntilEof`](crate::framing::UntilEof), the sending half of the stream is shut down.
    ///
    /// # Errors
    ///
    /// [`Broken`](crate::ErrorKind::Broken), [`Closed`](crate::ErrorKind::Closed) or
    /// [`Io`](crate::ErrorKind::Io) if the connection has failed, if replies are missing, or if a request
    /// or a reply that was too large has not been transferred to its end. The connection is then closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{Connection, format::Plain, framing::Lines};
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (near, mut far) = duplex(64);
    /// let mut connection: Connection<Lines> = Connection::over(near);
    /// far.write_all(b"ready\nraw ").await?;
    /// assert_eq!(connection.receive::<&str, Plain>().await?, "ready");
    ///
    /// let mut parts = connection.into_parts()?;
    /// far.write_all(b"bytes").await?;
    /// drop(far);
    /// let mut received = parts.read_buf;
    /// parts.stream.read_to_end(&mut received).await?;
    /// assert_eq!(received, b"raw bytes");
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_parts(mut self) -> Result<ConnectionParts> {
        self.ensure_idle()?;
        let Some((stream, read_buf)) = self.wire.into_parts() else {
            let reason = "an earlier message was not sent or received to its end";
            return Err(Error::broken_before_sent(&self.peer, reason));
        };
        Ok(ConnectionParts { stream, read_buf })
    }

    /// Continues over TLS, after a reply that says so (STARTTLS).
    ///
    /// `host` is the name that the server's certificate must have, unless `tls` has another. The framing begins anew,
    /// and the server sends no second greeting. Leave [`ConnectOptions::tls`] unset, which would start TLS while
    /// connecting. At servers of this library, the reply is a
    /// [`Response::StartTls`](crate::Response::StartTls).
    ///
    /// # Errors
    ///
    /// The errors of [`into_parts`](Self::into_parts). [`Broken`](crate::ErrorKind::Broken) if the server has sent more
    /// than the reply, because an attacker may have added it. [`Connect`](crate::ErrorKind::Connect) if the handshake
    /// fails, and [`TimedOut`](crate::ErrorKind::TimedOut) if it takes longer than the
    /// [connect timeout](ConnectOptions::connect_timeout).
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tcs::{Connection, format::Plain, framing::CrlfLines, transport::ClientTls};
    ///
    /// #[tcs::client_protocol(framing = CrlfLines, request = |line: &str| line.to_owned())]
    /// fn smtp(reply: String) -> String {
    ///     reply
    /// }
    ///
    /// # async fn example() -> tcs::Result<()> {
    /// let mut connection: Connection<CrlfLines> = Connection::connect("mail.example:587").await?;
    /// let _greeting = connection.receive::<&str, Plain>().await?;
    /// let reply = connection.exchange(Smtp::new("STARTTLS")).await?;
    /// assert!(reply.starts_with("220 "));
    /// let mut connection = connection.start_tls(&ClientTls::new()?, "mail.example").await?;
    /// let reply = connection.exchange(Smtp::new("NOOP")).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub async fn start_tls(self, tls: &crate::transport::ClientTls, host: &str) -> Result<Self> {
        tls.check()?;
        let (peer, options) = (self.peer.clone(), self.options.clone());
        let ConnectionParts { stream, read_buf } = self.into_parts()?;
        if !read_buf.is_empty() {
            let reason = "the server sent more than its reply before TLS";
            return Err(Error::broken_before_sent(&peer, reason));
        }
        let limit = options.connect_limit();
        let opened = tokio::time::timeout(limit, tls.connect(host, stream)).await;
        let opened = opened.map_err(|_| Error::connect_timed_out(host, limit))?;
        let stream = opened.map_err(|source| Error::handshake(host, &peer, source))?;
        let mut connection = Self::new(stream, peer, options);
        // The greeting came before.
        connection.is_greeted = true;
        Ok(connection)
    }

    /// Waits for the greeting, if this is the first exchange.
    pub(super) async fn await_greeting(&mut self, deadline: Option<Deadline>) -> Result<()> {
        // With a framing of one exchange, whatever arrives is the reply, including a greeting.
        if F::EXCHANGES.are_many() && self.is_fresh() {
            self.receive_message(deadline).await?;
        }
        Ok(())
    }

    /// Notes that the greeting was received.
    pub(super) const fn note_greeting(&mut self) {
        self.is_greeted = true;
    }

    /// Receives a message without a request.
    async fn receive_message(&mut self, deadline: Option<Deadline>) -> Result<Range<usize>> {
        self.prepare()?;
        let receive = |it: &mut Self, cx: &mut Context<'_>| it.poll_received(cx, Expected::ANY);
        let received = self.exchange_in_time(None, deadline, receive).await?;
        self.is_greeted = true;
        self.message_in(received).map_err(Error::not_sent)
    }

    /// Sends a request and waits for its reply. Returns where the reply is in the read buffer.
    async fn round_trip(
        &mut self,
        has_greeting: bool,
        deadline: Option<Deadline>,
        encode: impl EncodeRequest,
    ) -> Result<Range<usize>> {
        let offset = self.begin(has_greeting, deadline, encode).await?;
        let mut reply = None;
        let exchange = |it: &mut Self, cx: &mut Context<'_>| it.poll_exchanged(cx, &mut reply);
        let received = self.exchange_in_time(Some(offset), deadline, exchange);
        let received = received.await?;
        self.message_in(received)
    }

    /// Queues a request, after what must come before it. Returns its offset.
    #[inline]
    pub(super) async fn begin(
        &mut self,
        has_greeting: bool,
        deadline: Option<Deadline>,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        if has_greeting {
            self.await_greeting(deadline).await?;
        }
        self.prepare()?;
        // With ids, a late reply holds up nobody, but there may not be more and more of them.
        if self.abandoned > 0 || F::HAS_IDS && self.ids.late() > self.options.max_in_flight {
            self.skip_arrived().await?;
        }
        if !F::EXCHANGES.are_many() && self.is_used() {
            let reason = "its framing has one exchange per connection, and that was done";
            return Err(Error::broken_before_sent(&self.peer, reason));
        }
        self.queue_request(deadline, encode)
    }

    /// Waits for the reply to the oldest request in flight that was not abandoned, which it removes, or for an item of
    /// that reply. If there is none, waits for a message that is expected without a request. Events are queued.
    pub(super) fn poll_received(
        &mut self,
        cx: &mut Context<'_>,
        without_request: Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        loop {
            match ready!(self.poll_any(cx, without_request))? {
                Received::Event(range) => self.queue_event(range)?,
                received => return Poll::Ready(Ok(received)),
            }
        }
    }

    /// Like [`poll_received`](Self::poll_received), but returns events as well.
    #[inline]
    pub(super) fn poll_any(
        &mut self,
        cx: &mut Context<'_>,
        without_request: Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        loop {
            let oldest = self.in_flight.front();
            let oldest = oldest.map(|offset| Expected::reply_to::<F>(Some(*offset)));
            let last_id = self.ids.last();
            let expected = |id| match oldest {
                // Any other id is that of no request, or of one that was cancelled.
                _ if F::HAS_IDS && id != last_id => Expected::ANY,
                None if F::HAS_IDS => Expected::ANY,
                Some(expected) => expected,
                None => without_request,
            };
            let received = ready!(self.wire.poll_receive(cx, &mut self.framing, expected))?;
            if F::HAS_IDS && !matches!(received, Received::Notice) {
                let length = received.len();
                if let Some(received) = self.sort(received, without_request)? {
                    return Poll::Ready(Ok(received));
                }
                ready!(self.poll_skip(length, cx))?;
                continue;
            }
            if let Received::Item(_) | Received::Event(_) | Received::Notice = received {
                if ready!(self.poll_skipped(&received, cx))? {
                    continue;
                }
                return Poll::Ready(Ok(received));
            }
            if !F::EXCHANGES.are_many() && self.wire.is_premature_eof(&received) {
                return Poll::Ready(Err(self.wire.fault_or(Fault::Eof)));
            }
            self.in_flight.pop_front();
            if self.abandoned == 0 {
                return Poll::Ready(Ok(received));
            }
            self.abandoned -= 1;
            self.reply_timer.reset();
        }
    }

    /// Returns `true` for a notice, and for an item of a reply that was abandoned. Neither extends the time in which the
    /// reply must come, because there may be no end of them.
    #[cold]
    fn poll_skipped(
        &mut self,
        received: &Received,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Arc<Fault>>> {
        match received {
            Received::Item(_) if self.in_flight.is_empty() => {
                let reason = "the server sent an item of a reply that nobody asked for";
                return Poll::Ready(Err(Fault::Broken(reason).into()));
            }
            Received::Item(_) if self.abandoned > 0 => {}
            Received::Notice => {}
            _ => return Poll::Ready(Ok(false)),
        }
        self.poll_skip(received.len(), cx).map_ok(|()| true)
    }

    /// Counts a message of `length` bytes that is skipped. Pending now and then, so that others get their turn, and the
    /// time is looked at.
    #[cold]
    fn poll_skip(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<Result<(), Arc<Fault>>> {
        self.skipped += SKIPPED_OVERHEAD + length;
        if self.skipped < SKIPPED_AT_ONCE {
            return Poll::Ready(Ok(()));
        }
        self.skipped = 0;
        let _: Poll<()> = self.wire.poll_flush(cx);
        // What has arrived comes before the fault, but not what arrives without end.
        if let Poll::Ready(fault) = self.wire.poll_stopped(cx) {
            return Poll::Ready(Err(fault));
        }
        wake_after_others(cx);
        Poll::Pending
    }

    /// Waits until the reply has arrived and the whole request is sent, unless the server closes first.
    ///
    /// A server may reply before it has read the whole request. If the rest were not sent, the server
    /// would read the next request as a part of this one.
    pub(super) fn poll_exchanged(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Option<Received>,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        let received = match reply.take() {
            Some(received) => received,
            None => ready!(self.poll_received(cx, Expected::NOTHING))?,
        };
        if self.wire.poll_flush(cx).is_pending() && self.wire.poll_eof(cx).is_pending() {
            *reply = Some(received);
            return Poll::Pending;
        }
        Poll::Ready(Ok(received))
    }

    /// Queues a request, which is then in flight. Returns its offset.
    pub(super) fn queue_request(
        &mut self,
        deadline: Option<Deadline>,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        if F::HAS_IDS {
            return self.queue_with_id(deadline, encode);
        }
        let offset = self.wire.push(self.framing.get_mut(), encode)?;
        self.in_flight.push_back(offset);
        Ok(offset)
    }

    /// Polls until ready, for at most the reply timeout, which continues if the future is dropped.
    ///
    /// If the timeout passes, nothing more is sent. The next `poll` must be ready, with what has arrived.
    /// Does not read the clock if the first poll is ready. `timer` is no function pointer, for which each reply
    /// would pay (decision 014).
    pub(super) fn with_timeout<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = T> {
        poll_fn(move |cx| match poll(self, cx) {
            Poll::Ready(output) => {
                timer(self).reset();
                Poll::Ready(output)
            }
            Poll::Pending => self.poll_timeout(&timer, cx),
        })
    }

    /// Stops sending when the reply timeout passes. Never ready: what has arrived comes first.
    pub(super) fn poll_timeout<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        let limit = self.options.reply_timeout;
        let limit = ready!(timer(self).poll_limit(limit, cx));
        self.wire.time_out(limit);
        // Polling again here could find the task's budget of tokio used up, and then miss what has arrived.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Like [`with_timeout`](Self::with_timeout) with the reply timeout, but gives up at `deadline`. A fault closes the
    /// connection, and becomes the error of the request at `offset`, or of a wait without a request.
    pub(super) fn exchange_in_time(
        &mut self,
        offset: Option<u64>,
        deadline: Option<Deadline>,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<Received, Arc<Fault>>>,
    ) -> impl Future<Output = Result<Received>> {
        let mut waiting = Waiting(self);
        poll_fn(move |cx| {
            let Waiting(it) = &mut waiting;
            let polled = poll(it, cx);
            it.poll_in_time(cx, offset, deadline.as_ref(), polled)
        })
    }

    /// Checks the limits of a wait that was `polled`; see [`exchange_in_time`](Self::exchange_in_time).
    #[inline]
    pub(super) fn poll_in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        offset: Option<u64>,
        deadline: Option<&Deadline>,
        polled: Poll<Result<T, Arc<Fault>>>,
    ) -> Poll<Result<T>> {
        match polled {
            Poll::Ready(received) => {
                self.reply_timer.reset();
                Poll::Ready(received.map_err(|fault| self.fail(fault)))
            }
            Poll::Pending => {
                if let Some(deadline) = deadline
                    && self.reply_timer.poll_until(deadline.at, cx).is_ready()
                {
                    return Poll::Ready(Err(self.late(offset, deadline)));
                }
                self.poll_timeout(|it| &mut it.reply_timer, cx)
            }
        }
    }

    /// Returns the deadline of the call that begins, or an error if it has passed.
    pub(super) fn take_deadline(&mut self) -> Result<Option<Deadline>> {
        Deadline::begin(self.next_limit.take(), || self.peer.clone())
    }

    /// Returns the error of the request at `offset`, or of a wait without a request, when `deadline` has passed.
    #[cold]
    pub(super) fn late(&self, offset: Option<u64>, deadline: &Deadline) -> Error {
        let error = Error::late(&self.peer, deadline);
        match offset {
            Some(offset) if !self.is_removable(offset) => error,
            _ => error.not_sent(),
        }
    }

    /// Returns the place of the message, or the error of the request.
    #[inline]
    pub(super) fn message_in(&mut self, received: Received) -> Result<Range<usize>> {
        match received {
            Received::Message(range) => Ok(range),
            received => Err(self.error_in(received)),
        }
    }

    /// Returns the error of a request whose result is no message. If it is an item, the rest of its reply is skipped.
    #[cold]
    fn error_in(&mut self, received: Received) -> Error {
        match received {
            Received::Item(_) if F::HAS_IDS => self.abandon_in_flight(),
            Received::Item(_) => self.abandoned = 1,
            _ => {}
        }
        received.into_error(&self.peer, self.options.max_frame_len)
    }

    /// Decodes the message at `range`. Returns what `extract` makes of it.
    pub(super) fn decode<'a, Format, M: Decode<'a, Format>, T>(
        &'a mut self,
        range: Range<usize>,
        extract: impl FnOnce(M, &'a Peer) -> Result<T>,
    ) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
        let message = self.ids.message_in::<F>(&self.wire, range);
        let decoded = read(message, &mut self.scratch, self.framing.get_mut());
        let decoded = decoded.map_err(|source| Error::decode(&self.peer, source))?;
        let value = extract(decoded, &self.peer)?;
        self.is_out_of_sync = false;
        Ok(value)
    }

    /// Decodes the event that was taken from the queue.
    pub(super) fn decode_queued<'a, Format, T: Decode<'a, Format>>(&'a mut self) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
        let decoded = read(
            self.events.taken(),
            &mut self.scratch,
            self.framing.get_mut(),
        );
        decoded.map_err(|source| Error::decode(&self.peer, source))
    }
}

/// What is left of earlier exchanges.
impl<F: Framing> Connection<F> {
    /// Abandons the requests in flight, for which nobody waits any more: those of which nothing was sent are removed,
    /// and the replies to the others are skipped.
    ///
    /// Every use of the connection begins with it, so that nothing depends on the drop of a future or a pipeline.
    pub(super) fn abandon_in_flight(&mut self) {
        if self.is_out_of_sync {
            self.close_with(OUT_OF_SYNC);
        }
        if !self.in_flight.is_empty() {
            self.abandon_requests();
        }
        if self.in_flight.is_empty() {
            self.reply_timer.reset();
        }
        if F::HAS_IDS {
            self.ids.drop_parts();
        }
    }

    #[cold]
    fn abandon_requests(&mut self) {
        if !F::EXCHANGES.are_many() {
            return self.close_with("its only exchange was not awaited to its end");
        }
        if take(&mut self.is_uploading) {
            // Another request would end the chunks, as if they were all.
            return self.close_with("an upload was dropped before its end");
        }
        while let Some(&offset) = self.in_flight.back()
            && self.is_removable(offset)
        {
            self.wire.truncate_requests(offset);
            self.in_flight.pop_back();
        }
        if F::HAS_IDS {
            self.cancel_request();
        }
        self.abandoned = self.in_flight.len();
        // A flush that was dropped could wait for requests that were removed.
        self.flush_end = 0;
    }

    /// Returns `true` if the request in flight at `offset` can still be removed: nothing of it was sent.
    ///
    /// A codec may count its frames, so what it has encoded is sent.
    fn is_removable(&self, offset: u64) -> bool {
        !F::HAS_VALUES && offset >= self.wire.sent()
    }

    /// Prepares the connection for an exchange. Returns an error if the connection is closed, or cannot
    /// send any more.
    pub(super) fn prepare(&mut self) -> Result<()> {
        self.abandon_in_flight();
        self.close_if_stopped()
    }

    /// Closes the connection, and returns an error, if it cannot send any more.
    fn close_if_stopped(&mut self) -> Result<()> {
        if let Some(fault) = self.wire.stop_reason() {
            self.wire.close(fault);
        }
        self.ensure_open()
    }

    /// Skips the replies to abandoned requests that have arrived. Never waits.
    ///
    /// Closes the connection, and returns an error, if a message has arrived that answers no request, if the server
    /// has closed, or if replies are missing: too many, or since the reply timeout.
    pub(super) async fn skip_arrived(&mut self) -> Result<()> {
        // Without `unconstrained`, a task that has used up its budget of tokio could miss what has arrived.
        let polled = unconstrained(poll_once(|cx| {
            let polled = self.poll_received(cx, Expected::NOTHING);
            if polled.is_pending() && self.abandoned > 0 {
                let _: Poll<()> = self.poll_timeout(|it| &mut it.reply_timer, cx);
            }
            polled
        }));
        if let Poll::Ready(Err(fault)) = polled.await {
            return Err(self.fail(fault));
        }
        if self.abandoned.max(self.ids.late()) > self.options.max_in_flight {
            self.close_with("too many replies are missing (`max_in_flight`)");
        }
        self.close_if_stopped()
    }

    /// Returns an error if the connection is closed, or not at rest: its stream can then serve nothing else.
    pub(super) fn ensure_idle(&mut self) -> Result<()> {
        self.abandon_in_flight();
        if self.abandoned > 0 || self.ids.late() > 0 {
            self.close_with("replies to earlier requests are missing");
        }
        self.ensure_open()
    }

    /// Closes the connection, which has failed. Removes the oldest request in flight that was not abandoned, and
    /// returns its error, or that of a wait without a request.
    #[cold]
    pub(super) fn fail(&mut self, fault: Arc<Fault>) -> Error {
        self.in_flight.drain(..take(&mut self.abandoned));
        let offset = self.in_flight.pop_front();
        let error = fault.error_of(offset, self.wire.sent(), &self.peer);
        self.wire.close(fault);
        error
    }
}

impl<F> Connection<F> {
    /// Returns an error if the connection is closed, or cannot send any more.
    pub(super) fn ensure_open(&self) -> Result<()> {
        let fault = self.wire.stop_reason();
        fault.map_or(Ok(()), |fault| Err(fault.later_error(&self.peer)))
    }

    /// Returns the number of requests in flight that were not abandoned.
    pub(super) fn awaited(&self) -> usize {
        self.in_flight.len() - self.abandoned
    }

    /// Returns `true` if no request was made and no greeting received.
    pub(super) fn is_fresh(&self) -> bool {
        !self.is_greeted && !self.is_used()
    }

    /// Returns `true` if a request was made.
    fn is_used(&self) -> bool {
        self.wire.end_offset() > 0
    }

    /// Closes the connection at this end, for `reason` if it has not failed. Nothing is in flight any more.
    #[cold]
    fn close_with(&mut self, reason: &'static str) {
        self.in_flight.clear();
        self.abandoned = 0;
        self.wire.close(self.wire.fault_or(Fault::Broken(reason)));
    }
}

impl<F> fmt::Debug for Connection<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("closed", &self.wire.stop_reason())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::{format::Plain, framing::LengthPrefixed};

    #[tokio::test]
    async fn scratch_of_a_large_reply_is_freed_by_the_next() {
        let (near, mut far) = duplex(64);
        let mut connection: Connection<LengthPrefixed> = Connection::over(near);
        connection.scratch = vec![b'x'; 1 << 20];
        far.write_all(b"\0\0\0\x02hi").await.expect("it is open");
        let message = connection.receive::<&str, Plain>().await;
        assert_eq!(message.expect("a message"), "hi");
        assert!(connection.scratch.capacity() <= MAX_SCRATCH);
    }
}
