//! One exchange of a connection: what is under `Connection::call`.

use std::{
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    connection::Connection, fault::Fault, replies::Received, requests::EncodeRequest,
    wire::Expected,
};
use crate::{Error, Result, deadline::Deadline, framing::Framing};

impl<F: Framing> Connection<F> {
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
    pub(super) async fn receive_message(
        &mut self,
        deadline: Option<Deadline>,
    ) -> Result<Range<usize>> {
        self.prepare()?;
        let receive = |it: &mut Self, cx: &mut Context<'_>| it.poll_received(cx, Expected::ANY);
        let received = self.exchange_in_time(None, deadline, receive).await?;
        self.is_greeted = true;
        self.message_in(received).map_err(Error::not_sent)
    }

    /// Sends a request and waits for its reply. Returns where the reply is in the read buffer.
    pub(super) async fn round_trip(
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

    /// Queues a request. It is then in flight. Returns its offset.
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
