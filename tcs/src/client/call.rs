//! Calls: one request, and its reply.

use std::{
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
use super::connection::Unfinished;
use super::{
    connection::Connection, fault::Fault, replies::Received, requests::EncodeRequest,
    wire::Expected,
};
use crate::{
    Error, Result,
    deadline::Deadline,
    format::{Decode, Encode as _, Writer},
    framing::Framing,
    protocol::{CallContract, ClientProtocol},
};

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
        self.unfinished = Some(Unfinished::Operation);
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
        let exchange = |it: &mut Self, cx: &mut Context<'_>| it.poll_exchange(cx, &mut reply);
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
        if self.in_flight.abandoned() > 0
            || F::HAS_IDS && self.ids.late() > self.options.max_in_flight
        {
            self.skip_arrived().await?;
        }
        if !F::EXCHANGES.are_many() && self.is_used() {
            let reason = "its framing has one exchange per connection, and that was done";
            return Err(Error::broken_before_sent(&self.peer, reason));
        }
        self.queue_request(deadline, encode)
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

    /// Waits until the reply has arrived and the whole request is sent, unless the server closes first.
    ///
    /// A server may reply before it has read the whole request. If the rest were not sent, the server
    /// would read the next request as a part of this one.
    pub(super) fn poll_exchange(
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
}

impl<F> Connection<F> {
    /// Returns `true` if no request was made and no greeting received.
    pub(super) fn is_fresh(&self) -> bool {
        !self.is_greeted && !self.is_used()
    }

    /// Returns `true` if a request was made.
    fn is_used(&self) -> bool {
        self.wire.end_offset() > 0
    }
}
