//! A call, from its request to its reply.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use super::{
    Channel,
    pending_calls::FailedCall,
    reply::{Reply, give_spare, take_spare},
    stats::ChannelStats,
    subchannel::Subchannel,
};
use crate::{
    Error, Peer, Result,
    buffer::Messages,
    client::{deadline::CallDeadline, requests::encode_into},
    deadline::inherited,
    format::{EncodeError, Writer},
    framing::{Framing, Notice},
};

/// A call whose request is queued. Dropping it frees its slot.
pub(super) struct Call<'s, F: Framing> {
    pub(super) subchannel: &'s Subchannel<F>,
    /// Which connection of the subchannel the request was queued for.
    pub(super) generation: u64,
    /// The slot of the call, until the result is taken.
    slot: Option<u32>,
}

/// A request without its frame, and how it is sent.
#[derive(Clone, Copy)]
pub(super) struct Request<'r> {
    pub(super) bytes: &'r [u8],
    /// Whether the connection must have been greeted.
    pub(super) has_greeting: bool,
    /// Whether the reply is a stream of items.
    pub(super) has_items: bool,
    pub(super) deadline: Option<CallDeadline>,
}

impl<F: Framing> Channel<F> {
    /// Sends a request, and returns its reply.
    ///
    /// The request is encoded without a lock, because encoding is the user's code, unless `bytes_of` returns its bytes.
    /// Every call runs this function, so it is no `async fn`. The rare paths are in a box:
    /// [`round_trip_with_retries`](Self::round_trip_with_retries).
    pub(super) fn round_trip<T, B, E>(
        &self,
        has_greeting: bool,
        request: T,
        bytes_of: B,
        encode: E,
    ) -> impl Future<Output = Result<Reply<'_, F>>> + use<'_, F, T, B, E>
    where
        B: Fn(&T) -> Option<&[u8]>,
        E: FnOnce(T, &mut Writer<'_>) -> Result<(), EncodeError>,
    {
        let (start, subchannel) = (ChannelStats::call_start(), &**self.pool.choose_for_call());
        let mut state = RoundTrip::New(Some((request, encode)));
        poll_fn(move |cx| {
            let (encoded, failure) = match &mut state {
                RoundTrip::Sent(call) => match ready!(call.poll_reply(cx)) {
                    Ok(reply) => {
                        subchannel.shared.stats.record_answer(start);
                        return Poll::Ready(Ok(reply));
                    }
                    Err(failure) => (Vec::new(), Some((subchannel.index, failure))),
                },
                RoundTrip::New(first) => {
                    let Some((request, encode)) = first.take() else {
                        return Poll::Pending;
                    };
                    let count_failure = |_: &Error| subchannel.shared.stats.record_failure();
                    let max_frame_len = subchannel.shared.options.max_frame_len;
                    let mut spare = Vec::new();
                    let bytes = bytes_of(&request).filter(|it| it.len() <= max_frame_len);
                    let bytes = if let Some(bytes) = bytes {
                        bytes
                    } else {
                        spare = take_spare();
                        let encode = |out: &mut Writer<'_>| encode(request, out);
                        encode_into(&mut spare, max_frame_len, encode)
                            .inspect_err(count_failure)?;
                        &spare
                    };
                    let request = Request {
                        bytes,
                        has_greeting,
                        has_items: false,
                        deadline: None,
                    };
                    let queued = self.queue_first(subchannel, cx.waker(), &request);
                    if let Some(call) = queued.inspect_err(count_failure)? {
                        state = RoundTrip::Sent(call);
                        give_spare(spare);
                        return Poll::Pending;
                    }
                    (bytes.to_vec(), None)
                }
                RoundTrip::Retrying(retrying) => return poll_in_box(retrying, cx),
            };
            let retrying = self.round_trip_with_retries(has_greeting, encoded, failure, start);
            let mut retrying = in_box(retrying);
            let polled = poll_in_box(&mut retrying, cx);
            state = RoundTrip::Retrying(retrying);
            polled
        })
    }

    /// Begins the deadline of a call, if it has one.
    pub(super) fn begin_deadline(&self) -> Result<Option<CallDeadline>> {
        CallDeadline::begin(self.deadline, || self.peer())
            .inspect_err(|_| self.pool.shared.stats.record_failure())
    }

    /// Queues the request of a call that needs no timer. Returns `None` if it needs one, or has to wait for room.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    fn queue_first<'s>(
        &self,
        subchannel: &'s Subchannel<F>,
        waker: &Waker,
        request: &Request<'_>,
    ) -> Result<Option<Call<'s, F>>> {
        let needs_timer =
            self.deadline.is_some() || self.hedge_delay().is_some() || inherited().is_some();
        if needs_timer || subchannel.shared.is_room_awaited() {
            return Ok(None);
        }
        Call::try_queue(subchannel, waker, request)
    }
}

/// How far a call is. `N` is its request with what encodes it, and `R` waits, retries and hedges.
enum RoundTrip<'s, F: Framing, N, R> {
    /// Taken by the first poll.
    New(Option<N>),
    Sent(Call<'s, F>),
    Retrying(Pin<Box<R>>),
}

/// Puts a future in a box, outside of the code of its caller.
#[cold]
#[inline(never)]
fn in_box<R>(future: R) -> Pin<Box<R>> {
    Box::pin(future)
}

/// Polls a future, outside of the code of its caller.
#[cold]
#[inline(never)]
fn poll_in_box<R: Future>(future: &mut Pin<Box<R>>, cx: &mut Context<'_>) -> Poll<R::Output> {
    future.as_mut().poll(cx)
}

impl<'s, F: Framing> Call<'s, F> {
    /// Takes a slot and queues the request. Returns `None` if there is no room.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn try_queue(
        subchannel: &'s Subchannel<F>,
        waker: &Waker,
        request: &Request<'_>,
    ) -> Result<Option<Self>> {
        // The time of the first item begins when the caller waits for it, and the caller then has a waker.
        let awaits_items = F::HAS_IDS && request.has_items;
        // A waker is the user's code. The waker is cloned before the lock is taken, and, if there is no room, dropped
        // after the guard, which is declared later.
        let waker = (!awaits_items).then(|| waker.clone());
        let mut guard = subchannel.lock();
        let state = &mut *guard;
        if !state.has_room(&subchannel.shared.options)
            || request.has_greeting && !state.is_greeted()
        {
            return state.check_waiting(request.has_greeting).map(|()| None);
        }
        let framing = state.framing.get_mut();
        if F::HAS_IDS {
            framing.set_id(state.calls.next_id());
        }
        // The deadline, if there is one, is inserted at this offset: nothing may come between it and its request.
        let offset = state.queue.push_encoded(framing, request.bytes)?;
        if F::HAS_IDS
            && let Some(deadline) = request.deadline
        {
            let notice = Notice::deadline_at(deadline.at);
            state.queue.notice_before(offset, framing, notice);
        }
        let slot = state.calls.insert::<F>(offset, waker);
        if awaits_items {
            state.calls.items.insert(slot, Messages::default());
        }
        let generation = state.generation;
        Subchannel::unlock_and_wake_driver(guard);
        Ok(Some(Self {
            subchannel,
            generation,
            slot: Some(slot),
        }))
    }

    /// Waits for the reply. A failure of the server is recorded at its connection.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reply<'s, F>, Box<FailedCall>>> {
        let Self {
            subchannel,
            generation,
            ..
        } = *self;
        if let Some(slot) = self.slot {
            let mut state = subchannel.lock();
            if let Some(result) = state.calls.take_result(slot) {
                subchannel.unlock_and_offer_room(state);
                self.slot = None;
                return Poll::Ready(match result {
                    Ok(bytes) => Ok(Reply {
                        bytes,
                        subchannel,
                        generation,
                        is_out_of_sync: false,
                    }),
                    Err(failure) => {
                        subchannel.record_failure(&failure.error);
                        Err(failure)
                    }
                });
            }
            drop(state);
            subchannel.set_waker(slot, cx.waker());
        }
        Poll::Pending
    }

    /// Like [`poll_reply`](Self::poll_reply), as a future.
    pub(super) async fn reply(&mut self) -> Result<Reply<'s, F>, Box<FailedCall>> {
        poll_fn(|cx| self.poll_reply(cx)).await
    }

    /// Returns the server's end of the connection.
    pub(super) fn peer(&self) -> Peer {
        self.subchannel.lock().peer_of(self.generation)
    }

    /// Returns the slot, which the caller must then abandon.
    pub(super) fn into_slot(mut self) -> Option<u32> {
        self.slot.take()
    }
}

impl<F: Framing> Drop for Call<'_, F> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.subchannel.abandon(slot);
        }
    }
}
