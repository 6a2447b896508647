//! A call, from its request to its reply.

use std::{
    future::poll_fn,
    mem::replace,
    task::{Context, Poll, Waker},
};

use tokio::time::timeout;

use super::{
    super::wire::EncodeRequest,
    shared::{Lifecycle, Shared},
    slots::Reply,
};
use crate::{Error, Result, framing::Framing};

/// A call whose request is queued. Dropping it frees its slot.
#[derive(Debug)]
struct Call<'s, F: Framing> {
    shared: &'s Shared<F>,
    /// The slot, until the result is taken out of it.
    slot: Option<usize>,
}

impl<F: Framing> Shared<F> {
    /// Sends a request and returns its reply. Returns an error if a greeting is still to come.
    pub(super) async fn round_trip(
        &self,
        has_greeting: bool,
        encode: impl EncodeRequest,
    ) -> Result<Reply> {
        if has_greeting && !self.is_greeted {
            return Err(Error::not_greeted());
        }
        let mut encode = Some(encode);
        let mut slot = None;
        // A caller that asks again must not overtake those that wait for room.
        if !self.is_waited_for() {
            slot = poll_fn(|cx| Poll::Ready(self.enter(&mut encode, cx.waker()))).await?;
        }
        if slot.is_none() {
            let entered = self.wait_for_room(&mut encode);
            slot = match self.options.reply_timeout {
                None => entered.await?,
                Some(limit) => timeout(limit, entered)
                    .await
                    .unwrap_or_else(|_| Err(Error::no_room(&self.peer, limit)))?,
            };
        }
        let mut call = Call { shared: self, slot };
        // The request was queued in this poll, so there is no reply yet, and the first look is skipped.
        let mut is_new = true;
        poll_fn(|cx| {
            if replace(&mut is_new, false) {
                return Poll::Pending;
            }
            call.poll_reply(cx)
        })
        .await
    }

    /// Waits until there is room, after those who wait already, and queues the request.
    async fn wait_for_room<E: EncodeRequest>(
        &self,
        encode: &mut Option<E>,
    ) -> Result<Option<usize>> {
        // The next caller gets the turn when this is dropped, and looks for room as well.
        let _turn = self.turn.acquire().await;
        loop {
            let slot = poll_fn(|cx| Poll::Ready(self.enter(encode, cx.waker()))).await?;
            if slot.is_some() {
                return Ok(slot);
            }
            self.room.notified().await;
        }
    }

    /// Takes a slot and queues the request. Returns the slot, or `None` if there is no room.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the call; outlined, it and what it inlines cost 38 of 1,137 instructions"
    )]
    fn enter<E: EncodeRequest>(
        &self,
        encode: &mut Option<E>,
        waker: &Waker,
    ) -> Result<Option<usize>> {
        // Cloned before the state is locked, because a waker is foreign code.
        let waker = waker.clone();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Lifecycle::Failed(failure) = &state.lifecycle {
            return Err(failure.fault.later_error(&self.peer));
        }
        if state.has_room(&self.options)
            && let Some(encode) = encode.take()
        {
            let limit = self.options.max_frame_len;
            let start = state.queue.push(&mut state.framing, limit, encode)?;
            let slot = state.slots.open(start, waker);
            Self::unlock_and_wake_driver(guard);
            return Ok(Some(slot));
        }
        Ok(None)
    }

    /// Removes the caller of a call.
    #[cold]
    fn abandon(&self, slot: usize) {
        let mut state = self.lock();
        let waker = state.slots.abandon(slot);
        self.unlock_and_offer_room(state);
        // A waker is foreign code, which must not run while the state is locked.
        drop(waker);
    }

    /// Returns the error of a call that is late.
    #[cold]
    fn timed_out(&self) -> Error {
        let limit = self.options.reply_timeout.unwrap_or_default();
        Error::reply_timed_out(&self.peer, limit)
    }
}

impl<F: Framing> Call<'_, F> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `Shared::enter`")]
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply>> {
        let Self { shared, slot } = self;
        if let Some(number) = *slot {
            let mut state = shared.lock();
            if let Some(result) = state.slots.collect(number, || shared.timed_out()) {
                *slot = None;
                shared.unlock_and_offer_room(state);
                return Poll::Ready(result);
            }
            drop(state);
            self.watch(number, cx.waker());
        }
        Poll::Pending
    }

    /// Registers the waker of the task that polls now, which may be another one than before.
    #[cold]
    fn watch(&self, slot: usize, waker: &Waker) {
        // Cloned before the state is locked. The former waker is dropped after it is unlocked.
        let mut registered = Some(waker.clone());
        let is_open = self.shared.lock().slots.watch(slot, &mut registered);
        if !is_open {
            waker.wake_by_ref();
        }
    }
}

impl<F: Framing> Drop for Call<'_, F> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.abandon(slot);
        }
    }
}
