//! The exchanges of a connection.
//!
//! Each of them has three steps:
//!
//! 1. Skip what earlier exchanges have left, such as the replies to abandoned requests (`abandoned.rs`).
//! 2. Queue the request, which is then in flight (`in_flight.rs`).
//! 3. Send it, and wait for its reply. `receive.rs` finds the request that a message is for, in framings with ids by its
//!    id (`ids.rs`). `waits.rs` has the timers, and limits each wait.

mod abandoned;
mod ids;
mod in_flight;
mod receive;
mod waits;

use std::{
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

pub(super) use self::ids::ItemCredit;
use self::{ids::Ids, in_flight::InFlight, waits::Waits};
use super::{
    deadline::CallDeadline,
    event_queue::EventQueue,
    fault::Fault,
    options::ConnectOptions,
    replies::Received,
    requests::EncodeRequest,
    wire::{Expected, Wire, write_threshold},
};
use crate::{
    Error, Peer, Result,
    checks::assert_parameters,
    framing::{ConnectionFraming, Framing, Notice},
    runtime::poll_once,
    transport::Stream,
};

/// While this many bytes of requests wait to be sent, the next request waits for room. While this many bytes of replies
/// wait to be received, a flush reads no more.
pub(super) const MAX_BUFFERED: usize = 64 * 1024;

/// The requests of a connection, and what arrives for them. It knows neither protocols nor formats.
///
/// Every use begins with the requests that an earlier use has left, so that nothing depends on a drop.
pub(super) struct Exchanges<F> {
    pub(super) wire: Wire,
    framing: ConnectionFraming<F>,
    in_flight: InFlight,
    /// The state of framings with ids.
    ids: Ids,
    waits: Waits,
    /// How many bytes were skipped since the last pause.
    skipped: usize,
    peer: Peer,
    options: ConnectOptions,
    /// Whether the reply to the last request is a stream.
    is_stream: bool,
    /// Whether a message was received without a request.
    is_greeted: bool,
    chunks: Chunks,
    /// The events that have arrived, and were not received.
    events: EventQueue,
}

/// Whether the request in flight is followed by chunks whose end was not queued. No other exchange can begin before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    /// There are no chunks.
    None,
    /// The framing announces them, so the server distinguishes them from requests.
    Announced,
    /// The chunks look like requests.
    Unannounced,
}

impl<F: Framing> Exchanges<F> {
    pub(super) fn new(stream: Stream, peer: Peer, options: ConnectOptions) -> Self {
        const {
            assert_parameters::<F>();
        }
        Self {
            wire: Wire::new(stream, &options),
            framing: ConnectionFraming::of_client(),
            in_flight: InFlight::default(),
            ids: Ids::default(),
            waits: Waits::default(),
            skipped: 0,
            is_stream: false,
            peer,
            options,
            is_greeted: false,
            chunks: Chunks::None,
            events: EventQueue::default(),
        }
    }

    /// Sends a request and waits for its reply. Returns where the reply is in the read buffer.
    pub(super) async fn round_trip(
        &mut self,
        has_greeting: bool,
        deadline: Option<CallDeadline>,
        encode: impl EncodeRequest,
    ) -> Result<Range<usize>> {
        let offset = self.begin(has_greeting, deadline, encode).await?;
        let received = self.exchange(offset, deadline, None).await?;
        self.message_in(received)
    }

    /// Queues a request, after what must come before it. Returns its offset.
    #[inline]
    pub(super) async fn begin(
        &mut self,
        has_greeting: bool,
        deadline: Option<CallDeadline>,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        if has_greeting {
            // This may remove the only request so far. Then the greeting is still to come.
            self.abandon_in_flight();
            self.await_greeting(deadline).await?;
        }
        self.prepare()?;
        // With ids, no request waits for an owed reply, but the number of owed replies must have a limit.
        let most_owed = if F::HAS_IDS {
            self.options.max_in_flight
        } else {
            0
        };
        if self.owed() > most_owed {
            self.skip_arrived().await?;
        }
        if !F::EXCHANGES.are_many() && self.is_used() {
            let reason = "its framing has one exchange per connection, and that was done";
            return Err(Error::broken_before_sent(&self.peer, reason));
        }
        self.queue_request(deadline, encode)
    }

    /// Waits for the greeting, if this is the first exchange.
    pub(super) async fn await_greeting(&mut self, deadline: Option<CallDeadline>) -> Result<()> {
        // With a framing of one exchange, whatever arrives is the reply, including a greeting.
        if F::EXCHANGES.are_many() && self.is_fresh() {
            self.receive_message(deadline).await?;
        }
        Ok(())
    }

    /// Receives a message without a request.
    pub(super) async fn receive_message(
        &mut self,
        deadline: Option<CallDeadline>,
    ) -> Result<Range<usize>> {
        self.prepare()?;
        let receive = |it: &mut Self, cx: &mut Context<'_>| it.poll_received(cx, Expected::ANY);
        let received = self.wait_in_time(None, deadline, receive).await?;
        self.is_greeted = true;
        self.message_in(received).map_err(Error::not_sent)
    }

    /// Waits for the reply to the oldest request in flight that was not abandoned. Returns where it is in the read buffer.
    pub(super) async fn next_reply(&mut self) -> Result<Range<usize>> {
        let received = self
            .wait_in_time(None, None, |it, cx| it.poll_received(cx, Expected::NOTHING))
            .await?;
        self.message_in(received)
    }

    /// Queues a request. It is then in flight. Returns its offset.
    pub(super) fn queue_request(
        &mut self,
        deadline: Option<CallDeadline>,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        self.is_stream = false;
        if F::HAS_IDS {
            return self.queue_with_id(deadline, encode);
        }
        let offset = self.wire.push(self.framing.get_mut(), encode)?;
        self.in_flight.push_back(offset);
        Ok(offset)
    }

    /// Waits until the reply has arrived, unless `reply` is it, and the whole request is sent, unless the server closes first.
    ///
    /// A server may reply before it has read the whole request. If the rest were not sent, the server
    /// would read the next request as a part of this one.
    fn exchange(
        &mut self,
        offset: u64,
        deadline: Option<CallDeadline>,
        mut reply: Option<Received>,
    ) -> impl Future<Output = Result<Received>> {
        self.wait_in_time(Some(offset), deadline, move |it, cx| {
            let received = match reply.take() {
                Some(received) => received,
                None => ready!(it.poll_received(cx, Expected::NOTHING))?,
            };
            if it.wire.poll_flush(cx).is_pending() && it.wire.poll_eof(cx).is_pending() {
                reply = Some(received);
                return Poll::Pending;
            }
            Poll::Ready(Ok(received))
        })
    }

    /// Notes that the reply to the last request is a stream, whose drop cancels it.
    pub(super) const fn note_stream(&mut self) {
        self.is_stream = true;
    }

    /// Notes that chunks follow the last request.
    pub(super) fn begin_chunks(&mut self) {
        // The notice says that chunks are to come, until the first one or their end follows.
        let is_announced = self.wire.announce_chunks(self.framing.get_mut(), 0);
        self.chunks = if is_announced {
            Chunks::Announced
        } else {
            Chunks::Unannounced
        };
    }

    /// Queues a chunk of the last request, whole or not at all.
    pub(super) fn push_chunk(&mut self, encode: impl EncodeRequest) -> Result<()> {
        self.wire.push_chunk(self.framing.get_mut(), encode)
    }

    /// Ends the chunks of the request at `offset`, and waits for its reply, unless `answer` is it. Returns where the reply is
    /// in the read buffer.
    pub(super) async fn end_chunks(
        &mut self,
        offset: u64,
        deadline: Option<CallDeadline>,
        answer: Option<Received>,
    ) -> Result<Range<usize>> {
        self.wire
            .requests
            .notice(self.framing.get_mut(), Notice::ChunksEnd);
        self.chunks = Chunks::None;
        self.end_reply_wait();
        let received = self.exchange(offset, deadline, answer).await?;
        self.message_in(received)
    }

    /// Notes that the server has answered before the end of the chunks.
    #[cold]
    pub(super) fn note_early_answer(&mut self) {
        if self.chunks == Chunks::Unannounced {
            // The server would take the chunks that were sent, and their end, for requests.
            let reason = "the server answered an upload before its end";
            self.wire.end_sending(Fault::Broken(reason));
        }
        // After an item of a streamed reply, the end of the stream is still to come.
        if self.in_flight.is_empty() {
            self.chunks = Chunks::None;
        }
    }

    /// Sends the queued requests if they are enough for a write of their own. Waits for room while 64 KiB
    /// of them are queued.
    pub(super) async fn flush_early(&mut self) {
        let (end, unsent) = (self.wire.requests.end_offset(), self.wire.requests.unsent());
        let oldest = self.in_flight.oldest().unwrap_or(end);
        if unsent >= MAX_BUFFERED {
            self.flush().await;
        } else if unsent as u64 >= write_threshold(end - oldest) {
            self.send_now().await;
        }
    }

    /// Sends what can be sent now of the queued requests.
    pub(super) async fn send_now(&mut self) {
        let _: Poll<()> = poll_once(|cx| self.wire.poll_flush(cx)).await;
    }

    /// Waits, as one half of a connection, until another request can be queued.
    pub(super) fn poll_room(
        &mut self,
        has_greeting: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        self.ensure_open()?;
        if has_greeting && self.is_fresh() {
            return Poll::Pending;
        }
        if self.wire.requests.unsent() >= MAX_BUFFERED {
            let _: Poll<()> = self.wire.poll_flush(cx);
        }
        // With ids, replies would come in any order.
        let is_full = F::HAS_IDS && !self.in_flight.is_empty() || self.has_most_in_flight();
        if is_full || self.wire.requests.unsent() >= MAX_BUFFERED {
            return Poll::Pending;
        }
        if self.in_flight.is_empty() && self.wire.unread() < MAX_BUFFERED {
            // A message that has arrived already is no reply to this request. The receiver parses it.
            let _: Poll<()> = self.wire.poll_read(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<F: Framing> Exchanges<F> {
    /// Waits until the requests before `end` are sent, or nothing can be sent any more.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>, end: u64) -> Poll<()> {
        match self.wire.poll_flush(cx) {
            Poll::Pending if self.wire.sent() < end => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Takes the connection apart, for a channel or its stream.
    pub(super) fn into_wire(self) -> (Wire, ConnectionFraming<F>, Peer) {
        (self.wire, self.framing, self.peer)
    }

    /// Sets how events are distinguished from replies.
    #[inline]
    pub(super) fn set_is_event(&mut self, is_event: fn(&[u8]) -> bool) {
        self.framing.set_is_event(is_event);
    }

    /// Returns the message at `range`, which was received last.
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.ids.message_in::<F>(&self.wire, range)
    }

    /// Returns the event at `range`, which was received last.
    pub(super) fn event(&self, range: Range<usize>) -> &[u8] {
        self.wire.message(range)
    }

    /// Returns what decodes the message at `range`.
    #[inline]
    pub(super) fn message_parts(&mut self, range: Range<usize>) -> (&[u8], &mut F, &Peer) {
        let message = self.ids.message_in::<F>(&self.wire, range);
        (message, self.framing.get_mut(), &self.peer)
    }

    pub(super) const fn framing(&mut self) -> &mut F {
        self.framing.get_mut()
    }
}

impl<F> Exchanges<F> {
    /// Notes that the greeting was received.
    pub(super) const fn note_greeting(&mut self) {
        self.is_greeted = true;
    }

    /// Returns `true` if no request was made and no greeting received.
    pub(super) fn is_fresh(&self) -> bool {
        !self.is_greeted && !self.is_used()
    }

    /// Returns `true` if a request was made.
    fn is_used(&self) -> bool {
        self.wire.requests.end_offset() > 0
    }

    /// Returns `true` if no reply is to come, not even to a request that was abandoned.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Returns the number of requests in flight that were not abandoned.
    pub(super) fn awaited(&self) -> usize {
        self.in_flight.awaited()
    }

    /// Returns `true` if as many requests are in flight as may be, those that were abandoned included.
    pub(super) fn has_most_in_flight(&self) -> bool {
        self.in_flight.len() >= self.options.max_in_flight
    }

    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) const fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// Returns why the connection is closed, if it is.
    pub(super) fn fault(&self) -> Option<Arc<Fault>> {
        self.wire.stop_reason()
    }
}
