//! A connection for many exchanges.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    fault::{Closed, Fault, OUT_OF_STEP},
    options::{ConnectOptions, DEFAULT_MAX_FRAME_LEN},
    replies::Incoming,
    timer::Timer,
    wire::{Awaited, EncodeRequest, Wire},
};
use crate::{
    Address, Error, Peer, Result,
    format::{Decode, Encode as _, Writer, read},
    framing::{ConnectionFraming, Framing},
    limit::assert_parameters,
    protocol::{CallContract, ClientProtocol},
    transport::Stream,
};

/// The largest scratch buffer that is kept, as in the pool of buffers: after a large reply, a
/// connection must not hold its memory.
const LARGEST_SCRATCH: usize = 128 * 1024;

/// A connection to a server, for any number of exchanges, one after the other.
///
/// The compiler infers the framing `F` from the first protocol that is used on the connection, so
/// mixing framings does not compile.
///
/// A reply never reaches another caller. The connection is closed if the reply timeout passes, if the
/// future of an exchange is dropped, or if a message arrives that answers no request. The next use
/// then returns an error that gives the reason. A message answers only a request that was sent before
/// this side began to read the message. To receive a greeting, call [`receive`](Self::receive).
///
/// # Cancel safety
///
/// If you drop the future of a [`call`](Self::call), an [`exchange`](Self::exchange) or a
/// [`receive`](Self::receive) after its first poll and before it is ready, for example with `select!` or
/// `timeout`, the connection is closed: otherwise the next call would get its reply. Later calls return
/// [`Broken`](crate::ErrorKind::Broken), and whether the dropped request is executed is unknown. Connect
/// again, or use a [`Channel`](crate::Channel), whose calls can be dropped, or a
/// [`pipeline`](Self::pipeline), whose `receive` can be.
///
/// # Panics
///
/// A method that has to wait panics outside of a tokio runtime with a clock (`enable_time`), unless the
/// [reply timeout](ConnectOptions::reply_timeout) is `None`.
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
pub struct Connection<F> {
    /// The open connection, or why it is closed.
    pub(super) wire: Result<Wire, Closed>,
    pub(super) framing: ConnectionFraming<F>,
    /// The offsets of the requests of a pipeline, or of the request of a call, oldest first. If any
    /// are left when the next exchange begins, a pipeline was forgotten.
    pub(super) in_flight: VecDeque<u64>,
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    /// Whether a message was received without a request.
    is_greeted: bool,
    /// Limits the wait for a message.
    pub(super) reply_timer: Timer,
    /// Limits the wait until requests are sent.
    pub(super) flush_timer: Timer,
    /// Holds text that the format had to rewrite, such as unescaped JSON. Replies borrow from it.
    scratch: Vec<u8>,
    /// Whether the last reply was not that of the operation that was called.
    is_out_of_step: bool,
}

impl<F: Framing> Connection<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// The compiler infers the framing `F` from the first use of the connection. It asks for a type until
    /// there is a `connection.call::<Greet>(…)` or a `connection.exchange(…)`.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`].
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
            wire: Ok(Wire::new(stream, options.max_frame_len)),
            framing: ConnectionFraming::default(),
            in_flight: VecDeque::new(),
            peer,
            options,
            is_greeted: false,
            reply_timer: Timer::default(),
            flush_timer: Timer::default(),
            scratch: Vec::new(),
            is_out_of_step: false,
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
    /// Dropping the future before the reply is processed closes the connection, as that of
    /// [`call`](Self::call) does.
    pub async fn exchange<P>(&mut self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let request = |out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let reply = self.round_trip(P::HAS_GREETING, request).await?;
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
    /// Those of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, and later calls return `Broken`. Whether the request is
    /// executed is then unknown. To give up a call and go on, use [`Channel::call`](crate::Channel::call).
    pub async fn call<P>(&mut self, request: P::Request<'_>) -> Result<P::Value<'_>>
    where
        P: CallContract<Framing = F>,
    {
        let reply = self.reply_to::<P>(request).await?;
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
        take_out: impl FnOnce(P::Value<'c>) -> Option<T>,
    ) -> Result<T>
    where
        P: CallContract<Framing = F>,
    {
        let reply = self.reply_to::<P>(request).await?;
        // Until the reply is taken out. It borrows `self`, so the next exchange closes the connection.
        self.is_out_of_step = true;
        self.decode(reply, |reply, peer| {
            take_out(reply).ok_or_else(|| Error::wrong_operation(peer))
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
    /// Those of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn receive<'a, T, Format>(&'a mut self) -> Result<T>
    where
        T: Decode<'a, Format>,
    {
        let message = self.receive_message().await?;
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
        self.close_if_left();
        let shut_down = |it: &mut Self, cx: &mut Context<'_>| match &mut it.wire {
            Ok(wire) => wire.poll_shutdown(cx),
            Err(_) => Poll::Ready(()),
        };
        self.in_time(|it| &mut it.reply_timer, shut_down).await;
    }

    /// Waits for the greeting, if this is the first exchange.
    pub(super) async fn await_greeting(&mut self) -> Result<()> {
        // With a framing of one exchange, whatever arrives is the reply, including a greeting.
        if F::EXCHANGES.are_many() && self.is_fresh() {
            self.receive_message().await?;
        }
        Ok(())
    }

    /// Receives a message without a request.
    async fn receive_message(&mut self) -> Result<Range<usize>> {
        self.begin_exchange()?;
        let received = self.exchange_in_time(|it, cx| it.poll_receive(cx, Awaited::ANY));
        let received = received.await;
        self.is_greeted = true;
        self.message_in(received?).map_err(Error::not_sent)
    }

    /// Sends a request of the protocol `P` and waits for its reply.
    async fn reply_to<P>(&mut self, request: P::Request<'_>) -> Result<Range<usize>>
    where
        P: CallContract<Framing = F>,
    {
        let request = |out: &mut Writer<'_>| P::encode(request, out);
        self.round_trip(P::HAS_GREETING, request).await
    }

    /// Sends a request and waits for its reply. Returns where the reply is in the read buffer.
    async fn round_trip(
        &mut self,
        has_greeting: bool,
        encode: impl EncodeRequest,
    ) -> Result<Range<usize>> {
        if has_greeting {
            self.await_greeting().await?;
        }
        self.begin_exchange()?;
        if !F::EXCHANGES.are_many() && self.is_used() {
            let reason = "its framing has one exchange per connection, and that was done";
            return Err(Error::broken_before_sent(&self.peer, reason));
        }
        self.queue_request(encode)?;
        let mut reply = None;
        let exchanged = self.exchange_in_time(|it, cx| it.poll_exchanged(cx, &mut reply));
        let incoming = exchanged.await?;
        self.message_in(incoming)
    }

    /// Waits for a message, as [`Wire::poll_receive`] does.
    #[inline]
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        awaited: Awaited,
    ) -> Poll<Result<Incoming, Arc<Fault>>> {
        match &mut self.wire {
            Ok(wire) => wire.poll_receive(cx, &mut self.framing, awaited),
            Err(closed) => Poll::Ready(Err(Arc::clone(&closed.fault))),
        }
    }

    /// Waits for the reply to the oldest request in flight, which it removes.
    pub(super) fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, Arc<Fault>>> {
        let awaited = Awaited::reply_to::<F>(self.in_flight.front().copied());
        let incoming = ready!(self.poll_receive(cx, awaited))?;
        if !F::EXCHANGES.are_many()
            && let Ok(wire) = &self.wire
            && wire.has_ended_unasked(&incoming)
        {
            return Poll::Ready(Err(wire.failure()));
        }
        self.in_flight.pop_front();
        Poll::Ready(Ok(incoming))
    }

    /// Waits until the reply has arrived and the whole request is sent, unless the server closes first.
    ///
    /// A server may reply before it has read the whole request. If the rest were not sent, the server
    /// would read the next request as a part of this one.
    fn poll_exchanged(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Option<Incoming>,
    ) -> Poll<Result<Incoming, Arc<Fault>>> {
        let incoming = match reply.take() {
            Some(incoming) => incoming,
            None => ready!(self.poll_reply(cx))?,
        };
        if let Ok(wire) = &mut self.wire
            && wire.poll_flush(cx).is_pending()
            && wire.poll_end(cx).is_pending()
        {
            *reply = Some(incoming);
            return Poll::Pending;
        }
        Poll::Ready(Ok(incoming))
    }

    /// Queues a request, which is then in flight.
    pub(super) fn queue_request(&mut self, encode: impl EncodeRequest) -> Result<()> {
        let wire = self.wire.as_mut();
        let wire = wire.map_err(|closed| closed.fault.later_error(&self.peer))?;
        if wire.unsent() == 0 {
            // A flush that was dropped has no deadline any more: something else has sent its requests.
            self.flush_timer.reset();
        }
        let offset = wire.push(self.framing.get_mut(), encode)?;
        self.in_flight.push_back(offset);
        Ok(())
    }

    /// Polls until ready, for at most the reply timeout, which goes on if the future is dropped.
    ///
    /// If the timeout passes, nothing more is sent. The next `poll` must be ready, with what has arrived.
    /// Does not read the clock if the first poll is ready.
    pub(super) fn in_time<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = T> {
        let limit = self.options.reply_timeout;
        poll_fn(move |cx| match poll(self, cx) {
            Poll::Ready(output) => {
                timer(self).reset();
                Poll::Ready(output)
            }
            Poll::Pending => {
                let limit = ready!(timer(self).poll_limit(limit, cx));
                if let Ok(wire) = &mut self.wire {
                    wire.stop_sending(Fault::TimedOut(limit));
                }
                // Polling again here could find the task's budget of tokio used up, and then miss what has arrived.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
    }

    /// Like [`in_time`](Self::in_time), but dropping the future closes the connection, and so does a
    /// fault, which becomes the error of the request, or of a wait without a request.
    async fn exchange_in_time(
        &mut self,
        poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<Incoming, Arc<Fault>>>,
    ) -> Result<Incoming> {
        let mut exchange = CloseUnlessOver {
            connection: self,
            is_over: false,
        };
        let exchanged = exchange.connection.in_time(|it| &mut it.reply_timer, poll);
        let exchanged = exchanged.await;
        exchange.is_over = true;
        exchanged.map_err(|fault| exchange.connection.fail(fault))
    }

    /// Returns the place of the message, or the error of the request.
    pub(super) fn message_in(&self, incoming: Incoming) -> Result<Range<usize>> {
        incoming.into_range(&self.peer, self.options.max_frame_len)
    }

    /// Decodes the message at `range`. Returns what `take_out` makes of it.
    pub(super) fn decode<'a, Format, M: Decode<'a, Format>, T>(
        &'a mut self,
        range: Range<usize>,
        take_out: impl FnOnce(M, &'a Peer) -> Result<T>,
    ) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(LARGEST_SCRATCH);
        // A closed connection has no messages.
        let message = self.wire.as_ref().map_or(&[][..], |it| it.message(range));
        let decoded = read(message, &mut self.scratch, self.framing.get_mut());
        let decoded = decoded.map_err(|source| Error::decode(&self.peer, source))?;
        let taken = take_out(decoded, &self.peer)?;
        self.is_out_of_step = false;
        Ok(taken)
    }
}

impl<F> Connection<F> {
    /// Closes the connection if a pipeline was dropped or forgotten with requests in flight, or if the
    /// last reply was not that of its operation.
    pub(super) fn close_if_left(&mut self) {
        if !self.in_flight.is_empty() {
            self.in_flight.clear();
            self.break_off("a pipeline was left before it had received all replies");
        }
        if self.is_out_of_step {
            self.break_off(OUT_OF_STEP);
        }
    }

    /// Prepares the connection for an exchange. Returns an error if the connection is closed, or cannot
    /// send any more.
    pub(super) fn begin_exchange(&mut self) -> Result<()> {
        self.close_if_left();
        if let Some(fault) = self.fault().cloned() {
            self.close_with(fault);
        }
        self.ensure_open()
    }

    /// Returns an error if the connection is closed, or cannot send any more.
    pub(super) fn ensure_open(&self) -> Result<()> {
        let fault = self.fault();
        fault.map_or(Ok(()), |fault| Err(fault.later_error(&self.peer)))
    }

    /// Returns why the connection is closed, or cannot send any more.
    fn fault(&self) -> Option<&Arc<Fault>> {
        match &self.wire {
            Ok(wire) => wire.stop_reason(),
            Err(closed) => Some(&closed.fault),
        }
    }

    /// Returns `true` if no request was made and no greeting received.
    pub(super) fn is_fresh(&self) -> bool {
        !self.is_greeted && !self.is_used()
    }

    /// Returns `true` if the connection is open and a request was made.
    fn is_used(&self) -> bool {
        self.wire.as_ref().is_ok_and(|it| it.written() > 0)
    }

    /// Closes the connection at this end, for `reason` if it has not failed.
    #[cold]
    fn break_off(&mut self, reason: &'static str) {
        let fault = self.fault().cloned();
        self.close_with(fault.unwrap_or_else(|| Fault::Broken(reason).into()));
    }

    /// Closes the connection, which has failed. Removes the oldest request in flight and returns its
    /// error, or that of a wait without a request.
    #[cold]
    pub(super) fn fail(&mut self, fault: Arc<Fault>) -> Error {
        let offset = self.in_flight.pop_front();
        self.close_with(fault).error_of(offset, &self.peer)
    }

    /// Closes the connection, unless it is closed already. Frees its buffers. Returns what is left.
    #[cold]
    fn close_with(&mut self, fault: Arc<Fault>) -> Closed {
        let closed = match &self.wire {
            Ok(wire) => wire.closed(fault),
            Err(closed) => closed.clone(),
        };
        self.wire = Err(closed.clone());
        closed
    }
}

/// An exchange. Dropping it before it is over closes the connection.
struct CloseUnlessOver<'a, F> {
    connection: &'a mut Connection<F>,
    is_over: bool,
}

impl<F> Drop for CloseUnlessOver<'_, F> {
    fn drop(&mut self) {
        if !self.is_over {
            let reason = "an earlier exchange was not awaited to its end";
            self.connection.in_flight.clear();
            self.connection.break_off(reason);
        }
    }
}

impl<F> fmt::Debug for Connection<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("closed", &self.wire.as_ref().err())
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
        assert!(connection.scratch.capacity() <= LARGEST_SCRATCH);
    }
}
