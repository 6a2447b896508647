//! A connection for many exchanges: how it begins and ends, and its calls.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    deadline::CallDeadline,
    exchanges::Exchanges,
    fault::OUT_OF_SYNC,
    options::{ConnectOptions, DEFAULT_MAX_FRAME_LEN, MAX_TIMEOUT},
};
use crate::{
    Error, Peer, Result,
    format::{Decode, Encode as _, Writer, read},
    framing::{Framing, LengthPrefixed},
    protocol::{CallContract, ClientProtocol, Contract},
    transport::{Address, Stream},
};

/// The largest scratch buffer that is kept, as in the pool of buffers. A connection does not hold the
/// memory of a large reply beyond the next reply.
const MAX_SCRATCH: usize = 128 * 1024;

/// A connection to a server, for any number of exchanges, one at a time.
///
/// The compiler infers the framing `F` from the first protocol that is used on the connection, so mixing framings does
/// not compile.
///
/// A reply never reaches another caller. If the reply timeout passes, or a message arrives that answers no request, the
/// connection is closed, and its next use returns an error with the reason. A message answers only a request that was
/// sent before the client began to read the message. To receive a greeting, call [`receive`](Self::receive).
///
/// # Cancel safety
///
/// You can drop the future of a [`call`](Self::call), an [`exchange`](Self::exchange) or a [`receive`](Self::receive),
/// for example in `select!` or `timeout`, and continue to use the connection. A call whose [`deadline`](Self::deadline)
/// passes has the same effect:
///
/// - If nothing of its request was sent, the request is removed and never executed, except with a `Codec`, which may
///   have counted it already.
/// - Otherwise, it is unknown whether the request is executed. The next use of the connection sends the rest of it, and
///   skips its reply. The next call therefore waits until the server has executed both.
///
/// While replies are still to be skipped, the connection is closed if no complete message arrives within the reply
/// timeout, or if you use it again while more than [`max_in_flight`](ConnectOptions::max_in_flight) replies are
/// missing. With a framing for one exchange per connection, the next use closes it.
///
/// With [`Multiplexed`](crate::framing::Multiplexed), replies have ids, so the next call does not wait for a dropped
/// one. The client cancels the request, and the server drops its function if that waits. A call is cancelled when it is
/// dropped, and a stream at the next use of the connection. The server also receives the [`deadline`](Self::deadline)
/// of a call.
///
/// If you drop an [`upload`](Self::upload) before its end, the next use closes the connection, because the server must
/// not take a part for the whole.
///
/// Do not drop calls of a protocol that leaves requests without a reply
/// ([`Response::NoReply`](crate::Response::NoReply)): the next reply would be skipped in place of the missing one.
///
/// # Panics
///
/// Methods that have to wait panic outside of a tokio runtime with a clock (`enable_time`), unless the [reply
/// timeout](ConnectOptions::reply_timeout) is `None`. `start_tls` always needs the clock.
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
    /// The next use of the connection begins with [`checked_exchanges`](Self::checked_exchanges).
    pub(super) exchanges: Exchanges<F>,
    /// How long the next call may take, from [`deadline`](Self::deadline).
    next_limit: Option<Duration>,
    /// Whether the last reply was for another operation than the called one, or is still being examined.
    is_out_of_sync: bool,
    /// Holds text that the format had to rewrite, such as unescaped JSON. Replies borrow from it.
    scratch: Vec<u8>,
    /// The event that was taken last. The decoded event may borrow from it.
    event: Arc<[u8]>,
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
    /// The compiler infers the framing `F` from the first `connection.call::<Greet>(…)` or `connection.exchange(…)`,
    /// and asks for a type annotation if there is none.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ConnectOptions::connect`].
    ///
    /// # Panics
    ///
    /// Panics as [`ConnectOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().connect(address).await
    }
}

// These methods are here, because rustc would name the module of an impl elsewhere in its errors.
impl<F: Framing> Connection<F> {
    /// Sends the request of `protocol`, and returns the output of its `process_reply`.
    ///
    /// # Errors
    ///
    /// Returns an error of the [kind](crate::ErrorKind) `Rejected` with the server's reason; `Request` or `Reply` for a
    /// message that cannot be encoded or decoded; `TimedOut`, `Closed` or `Io`; and `Broken` or `Closed` after an
    /// earlier failure. [`Error::execution`] says whether the request may have been executed.
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
        let reply = self
            .checked_exchanges()
            .round_trip(P::HAS_GREETING, deadline, request);
        let reply = reply.await?;
        let (reply, peer) = self.decode(reply, |reply, peer| Ok((reply, peer)))?;
        Ok(protocol.process_reply(peer, reply).await)
    }

    /// Sends a request of the protocol `P`, and returns the reply, which may borrow from the connection.
    ///
    /// If the function returns `Result<T, E>` in [`Plain`](crate::format::Plain), the reply is the `T`, and an `Err`
    /// arrives as an [`Error`] with a [`rejection`](Error::rejection). A framing without control frames cannot
    /// distinguish the two: the text of an `Err` is then decoded as a `T`.
    ///
    /// If the protocol has a [greeting](crate::protocol::Contract::HAS_GREETING), the first call waits for it and drops
    /// it. To read the greeting, call [`receive`](Self::receive) first. The reply timeout applies to each of the two
    /// waits.
    ///
    /// For a type made by `#[client_protocol]`, use [`exchange`](Self::exchange).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the request or its reply, and the connection stays usable: see
    /// [`Connection`](Self#cancel-safety).
    pub async fn call<P>(&mut self, request: P::Request<'_>) -> Result<P::Value<'_>>
    where
        P: CallContract<Framing = F>,
    {
        let reply = self.reply_to::<P>(request).await?;
        self.decode(reply, |reply, _| Ok(reply))
    }

    /// Like [`call`](Self::call), but extracts the reply of one operation from that of the module. The connection
    /// closes after any other message, which may be a greeting: all later replies would be those of earlier requests.
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
        let reply = self.reply_to::<P>(request).await?;
        // Set until the reply is taken out. The reply borrows `self`, so the next exchange closes the connection.
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
    /// Returns the errors of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the next use of the connection receives the message.
    pub async fn receive<'a, T, Format>(&'a mut self) -> Result<T>
    where
        T: Decode<'a, Format>,
    {
        let deadline = self.take_deadline()?;
        let message = self.checked_exchanges().receive_message(deadline).await?;
        let decoded = self.decode(message, |message, _| Ok(message));
        decoded.map_err(Error::not_sent)
    }
}

impl<F: Framing> Connection<F> {
    pub(super) fn new(stream: Stream, peer: Peer, options: ConnectOptions) -> Self {
        Self {
            exchanges: Exchanges::new(stream, peer, options),
            next_limit: None,
            is_out_of_sync: false,
            scratch: Vec::new(),
            event: Arc::default(),
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
        self.exchanges.peer()
    }

    /// Limits how long the next [`call`](Self::call), [`exchange`](Self::exchange) or [`receive`](Self::receive) waits,
    /// from its first poll to its reply, including the wait for a greeting. If you drop a call before its first poll, the
    /// limit applies to the next one.
    ///
    /// When the limit passes, the call returns [`TimedOut`](crate::ErrorKind::TimedOut) with
    /// [`Execution::NotSent`](crate::Execution::NotSent) if nothing of its request was sent, and otherwise with
    /// [`Execution::Unknown`](crate::Execution::Unknown). The connection stays usable, as after a [dropped
    /// call](Self#cancel-safety). A shorter [reply timeout](ConnectOptions::reply_timeout) still closes the connection.
    /// With a limit of zero, nothing is sent. A [`pipeline`](Self::pipeline) has no deadline.
    ///
    /// A call that a protocol function makes also ends with the
    /// [`request_timeout`](crate::server::Server::request_timeout) of that function, if that is earlier. A task that
    /// the function spawns does not inherit it.
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

    /// Closes the connection gracefully, within the reply timeout.
    ///
    /// Dropping a TCP connection closes it as well, but only this method sends the end of a stream such as TLS. If the
    /// connection has failed, this method does nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn close(mut self) {
        if self.checked_exchanges().ensure_idle().is_ok() {
            self.exchanges.shut_down().await;
        }
    }

    /// Consumes the connection, returning its stream and the bytes that were read after the last message.
    ///
    /// Use this method to switch to another protocol. For TLS, use `start_tls`. After a pipeline, receive all replies
    /// first. The state of your own framing is dropped. After an exchange with [`UntilEof`](crate::framing::UntilEof),
    /// the sending half of the stream is shut down.
    ///
    /// # Errors
    ///
    /// Returns [`Broken`](crate::ErrorKind::Broken), [`Closed`](crate::ErrorKind::Closed) or
    /// [`Io`](crate::ErrorKind::Io) if the connection has failed, if replies are missing, or if an oversized request or
    /// reply was not transferred completely. The connection is then closed.
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
    pub fn into_parts(self) -> Result<ConnectionParts> {
        let mut exchanges = self.into_exchanges();
        exchanges.ensure_idle()?;
        let (wire, _, peer) = exchanges.into_wire();
        let Some((stream, read_buf)) = wire.into_parts() else {
            let reason = "an earlier message was not sent or received to its end";
            return Err(Error::broken_before_sent(&peer, reason));
        };
        Ok(ConnectionParts { stream, read_buf })
    }

    /// Upgrades the connection to TLS, after a reply that says so (STARTTLS), such as
    /// [`Response::StartTls`](crate::Response::StartTls).
    ///
    /// The server's certificate must be for `host`, unless `tls` names another. The framing begins anew, and the server
    /// sends no second greeting. Leave [`ConnectOptions::tls`] unset, because it starts TLS while connecting.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`into_parts`](Self::into_parts). [`Broken`](crate::ErrorKind::Broken) if the server has
    /// sent more than the reply, because an attacker may have added it. [`Connect`](crate::ErrorKind::Connect) if the
    /// handshake fails, and [`TimedOut`](crate::ErrorKind::TimedOut) if it takes longer than the [connect
    /// timeout](ConnectOptions::connect_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
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
        let (peer, options) = (self.peer().clone(), self.exchanges.options().clone());
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
        // The greeting came before TLS.
        connection.exchanges.record_greeting();
        Ok(connection)
    }
}

impl<F: Framing> Connection<F> {
    /// Returns the exchanges, for the next use of the connection. Closes it if it is out of sync.
    #[inline]
    pub(super) fn checked_exchanges(&mut self) -> &mut Exchanges<F> {
        if self.is_out_of_sync {
            self.exchanges.close_with(OUT_OF_SYNC);
        }
        &mut self.exchanges
    }

    /// Returns the exchanges without the connection. Closes it if it is out of sync.
    pub(super) fn into_exchanges(mut self) -> Exchanges<F> {
        self.checked_exchanges();
        self.exchanges
    }

    /// Sends a request and waits for its reply. Returns where the reply is in the read buffer.
    #[inline]
    async fn reply_to<P>(&mut self, request: P::Request<'_>) -> Result<Range<usize>>
    where
        P: CallContract<Framing = F>,
    {
        let deadline = self.take_deadline()?;
        self.set_is_event_of::<P>();
        let request = |out: &mut Writer<'_>| P::encode(request, out);
        let exchanges = self.checked_exchanges();
        exchanges
            .round_trip(P::HAS_GREETING, deadline, request)
            .await
    }

    /// Returns the deadline of the call that begins, or an error if it has passed.
    pub(super) fn take_deadline(&mut self) -> Result<Option<CallDeadline>> {
        CallDeadline::begin(self.next_limit.take(), || self.exchanges.peer().clone())
    }

    /// Sets how the protocol distinguishes events from replies, if it does.
    #[inline]
    pub(super) fn set_is_event_of<P: Contract>(&mut self) {
        if let Some(is_event) = P::IS_EVENT {
            self.exchanges.set_is_event(is_event);
        }
    }

    /// Decodes the message at `range`. Returns what `extract` makes of it.
    pub(super) fn decode<'a, Format, M: Decode<'a, Format>, T>(
        &'a mut self,
        range: Range<usize>,
        extract: impl FnOnce(M, &'a Peer) -> Result<T>,
    ) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
        let (message, framing, peer) = self.exchanges.message_parts(range);
        let decoded = read(message, &mut self.scratch, framing);
        let decoded = decoded.map_err(|source| Error::decode(peer, source))?;
        let value = extract(decoded, peer)?;
        self.is_out_of_sync = false;
        Ok(value)
    }

    /// Takes the oldest event that was kept. Returns `false` if there is none.
    pub(super) fn take_event(&mut self) -> bool {
        let event = self.checked_exchanges().take_event();
        let is_there = event.is_some();
        self.event = event.unwrap_or_default();
        is_there
    }

    /// Decodes the event that was taken.
    pub(super) fn decode_event<'a, Format, T: Decode<'a, Format>>(&'a mut self) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
        let decoded = read(&self.event, &mut self.scratch, self.exchanges.framing());
        decoded.map_err(|source| Error::decode(self.exchanges.peer(), source))
    }
}

impl<F> fmt::Debug for Connection<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", self.exchanges.peer())
            .field("closed", &self.exchanges.fault())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::format::Plain;

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
