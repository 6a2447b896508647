//! The items of a streamed reply, over a channel.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

#[cfg(feature = "stream")]
use std::pin::Pin;

#[cfg(feature = "stream")]
use futures_core::Stream;

use super::{Channel, call::Request, stats::ChannelStats, subchannel::Subchannel};
#[cfg(feature = "stream")]
use crate::client::owned::Owned;
use crate::{
    Error, Peer, Result,
    buffer::Messages,
    client::{
        deadline::{CallDeadline, PassedLimit},
        exchanges::ItemCredit,
        requests::encode_unframed,
        timer::Timer,
    },
    format::{Decode, Frame, Writer},
    framing::{Framing, HasIds},
    protocol::{CallContract, CallOwned, Contract, Streams},
    runtime::inside_runtime_with_clock,
};

/// The items of a streamed reply, from [`Channel::stream`].
///
/// [`next`](Self::next) returns one item after another, and `None` after the last one. [`finish`](Self::finish) returns
/// the reply that ended the stream. The [reply timeout](crate::client::ConnectOptions::reply_timeout) applies to each
/// item; it begins when `next` first waits for the item, and continues if that `next` is dropped. A
/// [`deadline`](Channel::deadline) applies to the whole stream.
///
/// The server sends at most 256 KiB of items, and the rest of one item, before you receive them. Other calls of the
/// channel continue meanwhile. Dropping the stream before its end cancels the request, and the server drops its
/// function if its functions run concurrently.
///
/// With the feature `stream`, `owned` converts it into a `futures_core::Stream`, for items that borrow nothing.
#[must_use = "the items are received by `next`"]
pub struct ChannelItems<P: Contract> {
    channel: Channel<P::Framing>,
    subchannel: Arc<Subchannel<P::Framing>>,
    /// Which connection of the subchannel the request was sent over.
    generation: u64,
    /// The slot of the request, until the stream has ended.
    slot: Option<u32>,
    deadline: Option<CallDeadline>,
    timer: Timer,
    /// When the call began, if metrics need it.
    start: Option<Instant>,
    /// The items that were taken from the slot.
    items: Messages,
    /// The credit of these items that was not returned yet.
    credit: ItemCredit,
    /// The reply that has ended the stream.
    reply: Option<Vec<u8>>,
    scratch: Vec<u8>,
    marker: PhantomData<fn() -> P>,
}

impl<F: Framing> Channel<F> {
    /// Sends a request of the protocol `P`, and returns the items of its streamed reply.
    ///
    /// The request is not sent again if it fails. Only a framing with ids ([`HasIds`]) has it, such as
    /// [`Multiplexed`](crate::framing::Multiplexed): with others, a stream would delay all later calls. Use
    /// [`Connection::stream`](crate::Connection::stream) for them.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call) for a request that was not sent. The others are those of
    /// [`ChannelItems::next`].
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call).
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{Channel, ConcurrentServer, framing::Multiplexed, protocol::Replies, server_protocol};
    ///
    /// /// Returns the words one by one, and then their number.
    /// #[server_protocol(framing = Multiplexed, replies = &str)]
    /// async fn split(text: &str, mut out: Replies<'_, Split>) -> Result<usize, String> {
    ///     out.send_all(text.split(' ')).await?;
    ///     Ok(text.split(' ').count())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = ConcurrentServer::new(Split).port(0).bind().await?;
    /// # let addr = server.local_addr();
    /// # tokio::spawn(server.listen());
    /// let channel = Channel::<Multiplexed>::connect(addr).await?;
    /// let mut words = channel.stream::<Split>("to be or not").await?;
    /// let mut length = 0;
    /// while let Some(word) = words.next().await? {
    ///     length += word.len();
    /// }
    /// assert_eq!(words.finish().await?, 4);
    /// assert_eq!(length, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stream<P>(&self, request: P::Request<'_>) -> Result<ChannelItems<P>>
    where
        F: HasIds,
        P: CallContract<Framing = F> + Streams,
    {
        const {
            assert!(F::HAS_IDS, "a framing with `HasIds` sets `HAS_IDS`");
        }
        let start = ChannelStats::call_start();
        let count_failure = |_: &Error| self.pool.shared.stats.record_failure();
        let deadline = self.begin_deadline()?;
        let encode = |out: &mut Writer<'_>| P::encode(request, out);
        let request = encode_unframed(encode, self.pool.shared.options.max_frame_len);
        let request = request.inspect_err(count_failure)?;
        let request = Request {
            bytes: &request,
            has_greeting: P::HAS_GREETING,
            has_items: true,
            deadline,
        };
        let chosen = self.pool.choose_for_call();
        let queued = self.wait_for_room(chosen, &request);
        let (call, subchannel) = queued.await.inspect_err(count_failure)?;
        Ok(ChannelItems {
            channel: self.clone(),
            generation: call.generation,
            slot: call.into_slot(),
            subchannel: Arc::clone(subchannel),
            deadline,
            timer: Timer::default(),
            start,
            items: Messages::default(),
            credit: ItemCredit::default(),
            reply: None,
            scratch: Vec::new(),
            marker: PhantomData,
        })
    }
}

impl<P: Contract + Streams> ChannelItems<P> {
    /// Returns the next item, which may borrow from this value, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// `Reply` for an item that cannot be decoded, after which the next one can be received. Other errors end the
    /// stream: `Rejected` if the function has returned an error, which may come after some items, and the other errors
    /// of [`Channel::call`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the next call returns the item.
    pub async fn next<'a>(&'a mut self) -> Result<Option<P::Item<'a>>>
    where
        P::Item<'a>: Decode<'a, <P as Streams>::Format>,
    {
        self.next_as().await
    }

    /// Like [`next`](Self::next), but decodes the item as `T`.
    pub(crate) async fn next_as<'a, T>(&'a mut self) -> Result<Option<T>>
    where
        T: Decode<'a, <P as Streams>::Format>,
    {
        match poll_fn(|cx| self.poll_item(cx)).await? {
            Some(item) => self.decode(item).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the reply that ended the stream, or waits for it if `next` has not returned `None` yet.
    ///
    /// # Errors
    ///
    /// `Reply` if there are more items: receive them first. The same if an error has ended the stream. The other errors
    /// are those of [`next`](Self::next).
    ///
    /// # Cancel safety
    ///
    /// As for dropping the stream.
    pub async fn finish(mut self) -> Result<P::Owned>
    where
        P: CallOwned,
    {
        let item = poll_fn(|cx| self.poll_item(cx)).await?;
        let peer = self.peer();
        match &self.reply {
            Some(reply) => {
                P::decode_owned(Frame::new(reply)).map_err(|source| Error::decode(&peer, source))
            }
            None if item.is_some() => Err(Error::items_left(&peer, "`next` takes")),
            None => Err(Error::stream_failed(&peer)),
        }
    }

    fn decode<'a, T: Decode<'a, <P as Streams>::Format>>(
        &'a mut self,
        item: Range<usize>,
    ) -> Result<T> {
        self.scratch.clear();
        let frame = Frame::new(self.items.at(item));
        let decoded = T::decode(frame.with_scratch(&mut self.scratch));
        decoded.map_err(|source| {
            Error::decode(&self.subchannel.lock().peer_of(self.generation), source)
        })
    }

    /// Returns the server's end of the connection that the request was sent over.
    fn peer(&self) -> Peer {
        self.subchannel.lock().peer_of(self.generation)
    }

    /// Waits for an item, and returns where it is in `items`, or `None` after the last one.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Range<usize>>>> {
        loop {
            if let Some(item) = self.next_taken() {
                let late = self.deadline.and_then(|it| it.passed());
                return Poll::Ready(late.map_or(Ok(Some(item)), |late| Err(self.give_up(late))));
            }
            let Some(slot) = self.slot else {
                return Poll::Ready(Ok(None));
            };
            let mut state = self.subchannel.lock();
            if state.calls.take_items(slot, &mut self.items) {
                continue;
            }
            if let Some(result) = state.calls.take_result(slot) {
                state.calls.items.remove(&slot);
                self.subchannel.unlock_and_offer_room(state);
                self.slot = None;
                let totals = &self.channel.pool.shared.stats;
                return Poll::Ready(match result {
                    Ok(reply) => {
                        totals.record_answer(self.start);
                        self.reply = Some(reply);
                        Ok(None)
                    }
                    Err(failure) => {
                        totals.record_failure();
                        self.subchannel.record_failure(&failure.error);
                        Err(failure.error)
                    }
                });
            }
            drop(state);
            self.subchannel.set_waker(slot, cx.waker());
            let Some(deadline) = self.deadline else {
                return Poll::Pending;
            };
            inside_runtime_with_clock("next()")?;
            ready!(self.timer.poll_until(deadline.at, cx));
            return Poll::Ready(Err(self.give_up(deadline.late)));
        }
    }

    /// Cancels the request, and returns the error that says so.
    #[cold]
    fn give_up(&mut self, late: PassedLimit) -> Error {
        self.items.clear();
        if let Some(slot) = self.slot.take() {
            self.channel.pool.shared.stats.record_failure();
            self.subchannel.abandon(slot);
        }
        Error::reply_timed_out(&self.peer(), late)
    }

    /// Returns where the next item is that was taken from the slot. Returns credit for half of what the server may send.
    fn next_taken(&mut self) -> Option<Range<usize>> {
        let item = self.items.next_place()?;
        if let Some(slot) = self.slot
            && let Some(credit) = self.credit.count(item.len())
        {
            let mut state = self.subchannel.lock();
            if state.calls.is_pending(slot) {
                state.notice(slot, credit);
            }
            Subchannel::unlock_and_wake_driver(state);
        }
        Some(item)
    }
}

#[cfg(feature = "stream")]
impl<P: Contract + Streams> ChannelItems<P> {
    /// Returns the items as a `futures_core::Stream` of `T` (feature `stream`).
    ///
    /// `T` is a type of the items that borrows nothing, such as `String` where the items are `&str`. The stream ends
    /// after the last item, and after an error that ends the reply. [`Owned::into_inner`] then returns the
    /// [`ChannelItems`], for the reply.
    pub fn owned<T>(self) -> Owned<Self, T>
    where
        T: for<'a> Decode<'a, <P as Streams>::Format>,
    {
        Owned::new(self)
    }
}

#[cfg(feature = "stream")]
impl<P, T> Stream for Owned<ChannelItems<P>, T>
where
    P: Contract + Streams,
    T: for<'a> Decode<'a, <P as Streams>::Format>,
{
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let item = ready!(self.inner.poll_item(cx)).transpose();
        Poll::Ready(item.map(|item| item.and_then(|item| self.inner.decode(item))))
    }
}

impl<P: Contract> Drop for ChannelItems<P> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.subchannel.abandon(slot);
        }
    }
}

impl<P: Contract> fmt::Debug for ChannelItems<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelItems")
            .field("channel", &self.channel)
            .field("has_ended", &self.slot.is_none())
            .finish_non_exhaustive()
    }
}
