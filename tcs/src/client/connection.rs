//! A connection that is kept.

use std::{
    fmt,
    future::poll_fn,
    ops::Range,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    fault::{DROPPED, Dead, Fault, LEFT},
    message::{Incoming, take},
    options::ConnectOptions,
    timer::Timer,
    wire::{Awaited, Failed, InFlight, Wire},
};
use crate::{
    CallContract, ClientProtocol, Decode, Encode as _, EncodeError, Error, Framing, Peer, Result,
    Writer, framing::FirstFrame, limit::assert_parameters,
};

/// A connection to a server, for any number of exchanges, one after the other.
///
/// Its framing `F` follows from what is first said on it, so that mixing framings does not compile.
///
/// A reply never reaches another caller. If the reply timeout passes, or the future of an exchange is
/// dropped, the connection is closed, and the next use returns an error that says so. A message
/// answers only a request that was sent before the message began to arrive. Any other message closes
/// the connection as well. Take a greeting with [`receive`](Self::receive).
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
pub struct Connection<F, S = TcpStream> {
    /// The open connection, or why it is closed.
    pub(super) wire: Result<Wire<S>, Dead>,
    pub(super) framing: FirstFrame<F>,
    /// The requests of a pipeline, or the one of a call. If there are any when the next exchange
    /// begins, a pipeline was forgotten.
    pub(super) in_flight: InFlight,
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    /// Whether the server has said something before it was asked.
    is_greeted: bool,
    /// Whether a request was made.
    is_used: bool,
    /// Limits the wait for a reply.
    timer: Timer,
    /// Where replies borrow text that their format had to rewrite.
    scratch: Vec<u8>,
}

impl<F: Framing, S> Connection<F, S> {
    pub(super) fn new(stream: S, peer: Peer, options: ConnectOptions) -> Self {
        const {
            assert_parameters::<F>();
        }
        Self {
            wire: Ok(Wire::new(stream, options.frame_len())),
            framing: FirstFrame::default(),
            in_flight: InFlight::new(),
            peer,
            options,
            is_greeted: false,
            is_used: false,
            timer: Timer::new(),
            scratch: Vec::new(),
        }
    }

    /// Speaks over a stream that is connected already, with the default [`ConnectOptions`].
    pub fn over(stream: S) -> Self {
        Self::new(stream, Peer::unnamed(), ConnectOptions::new())
    }

    /// Returns the server's end.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Connection<F, S> {
    /// Sends the protocol's request and returns what it makes of the reply.
    ///
    /// # Errors
    ///
    /// By [`ErrorKind`](crate::ErrorKind): `Rejected` with the server's reason, `Request` and `Reply`
    /// for messages that cannot be encoded or decoded, `TimedOut`, `Closed`, `Io`, and `Broken` or
    /// `Closed` after an earlier failure. [`Error::execution`] returns whether the request can have
    /// been executed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, unless the reply was already being processed.
    pub async fn exchange<P>(&mut self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let request = |out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let reply = self.round_trip(P::HAS_GREETING, request).await?;
        let (reply, peer) = self.read::<P::Format, _>(reply)?;
        Ok(protocol.process_reply(peer, reply).await)
    }

    /// Sends a request of the protocol `P`, named by `call::<P>`, and returns the reply, which may
    /// borrow from the connection.
    ///
    /// If the function returns `Result<T, E>` in [`Plain`](crate::Plain), the reply is the `T`. Its
    /// `Err` arrives as an [`Error`] with a [`rejection`](Error::rejection). A framing without control
    /// frames cannot tell the two apart: the text of an `Err` is then read as a `T`.
    ///
    /// For a protocol made by `#[client_protocol]`, use [`exchange`](Self::exchange).
    ///
    /// If the protocol has a [greeting](crate::Contract::HAS_GREETING), the first call waits for it and drops
    /// it. To get it, [`receive`](Self::receive) it before. Each of the two waits takes at most the
    /// reply timeout.
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn call<P>(&mut self, request: P::Request<'_>) -> Result<P::Value<'_>>
    where
        P: CallContract<Framing = F>,
    {
        let encode = |out: &mut Writer<'_>| P::encode(request, out);
        let reply = self.round_trip(P::HAS_GREETING, encode).await?;
        self.read::<P::Format, _>(reply).map(|(reply, _)| reply)
    }

    /// Like [`call`](Self::call), but takes the reply of one operation out of the type of all.
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
        let encode = |out: &mut Writer<'_>| P::encode(request, out);
        let reply = self.round_trip(P::HAS_GREETING, encode).await?;
        let (reply, peer) = self.read::<P::Format, _>(reply)?;
        take_out(reply).ok_or_else(|| super::message::mixed_up(peer))
    }

    /// Receives a message that was not asked for: a server's greeting, before the first request.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tcs::{Connection, Lines, Plain};
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
        self.read::<Format, _>(message).map(|(message, _)| message)
    }

    /// Waits for the greeting, if there is one and nothing was received yet.
    pub(super) async fn await_greeting(&mut self, greets: bool) -> Result<()> {
        // With one exchange, all that arrives is the one reply, the greeting as well.
        let has_greeting = greets && F::PERSISTENT;
        if has_greeting && self.is_fresh() {
            self.receive_message().await?;
        }
        Ok(())
    }

    /// Receives a message without a request.
    async fn receive_message(&mut self) -> Result<Range<usize>> {
        self.check()?;
        let mut exchange = Exchange::begin(self);
        let received = exchange
            .connection
            .in_time(|connection, cx| match &mut connection.wire {
                Ok(wire) => wire.poll_receive(cx, &mut connection.framing, Awaited::ANY),
                Err(_) => Poll::Ready(Err(Failed)),
            })
            .await;
        exchange.is_over = true;
        drop(exchange);
        self.is_greeted = true;
        match received {
            Ok(incoming) => incoming.into_message(&self.peer, self.options.frame_len()),
            Err(Failed) => Err(self.error_unsent()),
        }
    }

    /// Sends a request, and returns where its reply is in the read buffer.
    async fn round_trip(
        &mut self,
        greets: bool,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Range<usize>> {
        self.check()?;
        self.await_greeting(greets).await?;
        if !F::PERSISTENT && self.is_used {
            self.close(Fault::Broken(
                "its framing has one exchange per connection, and that was done",
            ));
            self.check()?;
        }
        let start = self.send(encode)?;
        let mut exchange = Exchange::begin(self);
        let mut reply = None;
        let received = exchange
            .connection
            .in_time(|connection, cx| connection.poll_exchanged(cx, &mut reply))
            .await;
        exchange.is_over = true;
        drop(exchange);
        match received {
            Ok(incoming) => incoming.into_message(&self.peer, self.options.frame_len()),
            Err(Failed) => Err(self.error_of(start)),
        }
    }

    /// Waits for the reply to the oldest request in flight.
    #[inline]
    pub(super) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Failed>> {
        match &mut self.wire {
            Ok(wire) => wire.poll_reply(cx, &mut self.framing, &mut self.in_flight),
            Err(_) => Poll::Ready(Err(Failed)),
        }
    }

    /// Waits until the request is sent and its reply is there.
    ///
    /// A server may reply before it has read the whole request, and goes on reading. The next
    /// request must not run into the rest of this one.
    #[inline]
    fn poll_exchanged(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Option<Incoming>,
    ) -> Poll<Result<Incoming, Failed>> {
        let incoming = match reply.take() {
            Some(incoming) => incoming,
            None => ready!(self.poll_reply(cx))?,
        };
        if let Ok(wire) = &mut self.wire
            && wire.poll_flush(cx).is_pending()
        {
            *reply = Some(incoming);
            return Poll::Pending;
        }
        Poll::Ready(Ok(incoming))
    }

    /// Adds a request to those in flight, without sending it. Returns its position.
    #[inline]
    pub(super) fn send(
        &mut self,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<u64> {
        let Ok(wire) = &mut self.wire else {
            return Err(self.error_unsent());
        };
        let start = wire.push(&mut self.framing, encode)?;
        self.in_flight.push_back(start);
        self.is_used = true;
        Ok(start)
    }

    /// Polls until ready, for at most the reply timeout. Closes the connection if that passes, or if
    /// the connection fails.
    ///
    /// What is there at the first poll needs no clock.
    pub(super) async fn in_time<T>(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let limit = self.options.reply();
        let mut deadline = None;
        poll_fn(|cx| match poll(self, cx) {
            Poll::Ready(Ok(output)) => Poll::Ready(Ok(output)),
            Poll::Ready(Err(Failed)) => {
                self.close_failed();
                Poll::Ready(Err(Failed))
            }
            Poll::Pending => {
                let limit = ready!(self.timer.poll_limit(limit, &mut deadline, cx));
                self.close(Fault::Silent(limit));
                Poll::Ready(Err(Failed))
            }
        })
        .await
    }

    /// Closes the connection if the server has said something that was not asked for, or has ended
    /// it. Never waits.
    pub(super) async fn ensure_idle(&mut self) -> Result<()> {
        let idle = poll_fn(|cx| {
            let Ok(wire) = &mut self.wire else {
                return Poll::Ready(Err(Failed));
            };
            let idle = wire.check_idle(cx, &mut self.framing);
            if idle.is_err() {
                self.close_failed();
            }
            Poll::Ready(idle)
        });
        idle.await.map_err(|Failed| self.error_unsent())
    }

    /// Reads the message at `range`. Returns it with the peer, which cannot be borrowed besides.
    #[inline]
    pub(super) fn read<'a, Format, T>(&'a mut self, range: Range<usize>) -> Result<(T, &'a Peer)>
    where
        T: Decode<'a, Format>,
    {
        let bytes = match &self.wire {
            Ok(wire) => wire.message(range),
            Err(_) => &[],
        };
        let message =
            take::<Format, _, _>(&self.peer, bytes, &mut self.scratch, &mut self.framing)?;
        Ok((message, &self.peer))
    }
}

impl<F, S> Connection<F, S> {
    /// Closes the connection if a pipeline was forgotten with replies to come.
    #[inline]
    pub(super) fn close_if_left(&mut self) {
        if !self.in_flight.is_empty() {
            self.in_flight.clear();
            self.close(Fault::Broken(LEFT));
        }
    }

    /// Returns an error if no exchange can begin.
    #[inline]
    pub(super) fn check(&mut self) -> Result<()> {
        self.close_if_left();
        self.check_open()
    }

    /// Returns an error if nothing more can be asked.
    #[inline]
    pub(super) fn check_open(&self) -> Result<()> {
        match &self.wire {
            Ok(_) => Ok(()),
            Err(dead) => Err(dead.fault.of_later(&self.peer)),
        }
    }

    /// Returns `true` if nothing was received and nothing asked.
    pub(super) fn is_fresh(&self) -> bool {
        !self.is_greeted && !self.is_used
    }

    /// Closes the connection at once, unless it is closed. Its buffers are freed.
    #[cold]
    pub(super) fn close(&mut self, fault: Fault) {
        if let Ok(wire) = &self.wire {
            let sent = wire.sent();
            self.wire = Err(Dead { fault, sent });
        }
    }

    /// Closes a connection whose wire has failed.
    #[cold]
    fn close_failed(&mut self) {
        if let Ok(wire) = &mut self.wire {
            let fault = wire.take_fault().unwrap_or(Fault::Closed);
            self.close(fault);
        }
    }

    /// Returns the error of a request that was in flight when the connection was closed.
    #[cold]
    pub(super) fn error_of(&self, start: u64) -> Error {
        match &self.wire {
            Err(dead) => dead.of(start, &self.peer),
            Ok(_) => Error::closed(&self.peer),
        }
    }

    /// Returns the error of what waited without a request, or could not be sent.
    #[cold]
    fn error_unsent(&self) -> Error {
        self.error_of(u64::MAX)
    }
}

/// An exchange. If it is dropped before its end, it closes the connection.
struct Exchange<'a, F, S> {
    connection: &'a mut Connection<F, S>,
    is_over: bool,
}

impl<'a, F, S> Exchange<'a, F, S> {
    const fn begin(connection: &'a mut Connection<F, S>) -> Self {
        Self {
            connection,
            is_over: false,
        }
    }
}

impl<F, S> Drop for Exchange<'_, F, S> {
    fn drop(&mut self) {
        self.connection.in_flight.clear();
        if !self.is_over {
            self.connection.close(Fault::Broken(DROPPED));
        }
    }
}

impl<F, S> fmt::Debug for Connection<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("closed", &self.wire.as_ref().err())
            .finish_non_exhaustive()
    }
}
