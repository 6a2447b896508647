//! A call, from its request to its reply.

use std::{
    future::poll_fn,
    mem::replace,
    task::{Context, Poll, Waker},
};

use tokio::time::timeout;

use super::{
    super::wire::EncodeRequest,
    reply::Reply,
    shared::{Lifecycle, Shared},
};
use crate::{Error, Result, framing::Framing};

/// A call. Dropping it frees its slot.
#[derive(Debug)]
struct Call<'s, F: Framing, E> {
    shared: &'s Shared<F>,
    state: CallState<E>,
}

#[derive(Debug)]
enum CallState<E> {
    /// The request is not encoded yet.
    New(E),
    /// The request was queued in this poll, with this slot. So there is no reply yet.
    Queued(usize),
    /// The driver wakes the task when the slot has the result.
    Waiting(usize),
    Over,
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
        let mut call = Call {
            shared: self,
            state: CallState::New(encode),
        };
        if self.is_waited_for() || !poll_fn(|cx| Poll::Ready(call.enter(cx.waker()))).await? {
            match self.options.reply_timeout {
                None => call.wait_for_room().await?,
                Some(limit) => timeout(limit, call.wait_for_room())
                    .await
                    .unwrap_or_else(|_| Err(Error::no_room(&self.peer, limit)))?,
            }
        }
        poll_fn(|cx| call.poll_reply(cx)).await
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
}

impl<F: Framing, E: EncodeRequest> Call<'_, F, E> {
    /// Waits until there is room, after those who wait already, and queues the request.
    async fn wait_for_room(&mut self) -> Result<()> {
        // The next caller gets the turn when this is dropped, and looks for room as well.
        let _turn = self.shared.turn.acquire().await;
        while !poll_fn(|cx| Poll::Ready(self.enter(cx.waker()))).await? {
            self.shared.room.notified().await;
        }
        Ok(())
    }

    /// Takes a slot and queues the request. Returns `false` if there is no room.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the call; outlined, it and what it inlines cost 38 of 1,137 instructions"
    )]
    fn enter(&mut self, waker: &Waker) -> Result<bool> {
        let Self { shared, .. } = *self;
        let waker = waker.clone();
        let mut guard = shared.lock();
        let state = &mut *guard;
        if let Lifecycle::Closed(closed) = &state.lifecycle {
            return Err(closed.fault.later_error(&shared.peer));
        }
        if state.has_room(&shared.options)
            && let CallState::New(encode) = replace(&mut self.state, CallState::Over)
        {
            let limit = shared.options.max_frame_len;
            let start = state.queue.push(state.framing.get_mut(), limit, encode)?;
            self.state = CallState::Queued(state.slots.open(start, waker));
            Shared::unlock_and_wake_driver(guard);
            return Ok(true);
        }
        Ok(false)
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply>> {
        let Self { shared, .. } = *self;
        match self.state {
            CallState::Queued(slot) => self.state = CallState::Waiting(slot),
            CallState::Waiting(slot) => {
                let mut state = shared.lock();
                let limit = || shared.options.reply_timeout.unwrap_or_default();
                let timed_out = || Error::reply_timed_out(&shared.peer, limit());
                if let Some(result) = state.slots.collect(slot, timed_out) {
                    self.state = CallState::Over;
                    shared.unlock_and_offer_room(state);
                    return Poll::Ready(result);
                }
                drop(state);
                self.watch(slot, cx.waker());
            }
            CallState::New(_) | CallState::Over => {}
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

impl<F: Framing, E> Drop for Call<'_, F, E> {
    #[inline]
    fn drop(&mut self) {
        if let CallState::Queued(slot) | CallState::Waiting(slot) = self.state {
            self.shared.abandon(slot);
        }
    }
}
