//! A call, from its request to its reply.

use std::{
    future::poll_fn,
    mem::take,
    task::{Context, Poll, Waker},
};

use tokio::time::timeout;

use super::{
    super::wire::EncodeRequest,
    reply::Reply,
    shared::{Lifecycle, Shared},
};
use crate::{Error, Result, framing::Framing};

/// A call whose request is queued. Dropping it frees its slot.
#[derive(Debug)]
struct Call<'s, F: Framing> {
    shared: &'s Shared<F>,
    /// Its slot, until the result is taken.
    slot: Option<usize>,
    /// Whether the request was queued in this poll, which has registered the waker.
    is_new: bool,
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
        let mut call = None;
        if !self.is_waited_for() {
            call = poll_fn(|cx| Poll::Ready(self.enter(cx.waker(), &mut encode))).await?;
        }
        let mut call = match (call, self.options.reply_timeout) {
            (Some(call), _) => call,
            (None, None) => self.wait_for_room(&mut encode).await?,
            (None, Some(limit)) => timeout(limit, self.wait_for_room(&mut encode))
                .await
                .unwrap_or_else(|_| Err(Error::no_room(&self.peer, limit)))?,
        };
        poll_fn(|cx| call.poll_reply(cx)).await
    }

    /// Waits until there is room, after those who wait already, and queues the request.
    async fn wait_for_room<E: EncodeRequest>(&self, encode: &mut Option<E>) -> Result<Call<'_, F>> {
        // When this is dropped, the next caller is admitted, and looks for room as well.
        let _admitted = self.admission.acquire().await;
        loop {
            if let Some(call) = poll_fn(|cx| Poll::Ready(self.enter(cx.waker(), encode))).await? {
                return Ok(call);
            }
            self.room.notified().await;
        }
    }

    /// Takes a slot and queues the request. Returns `None` if there is no room.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, a call costs 7 % more")]
    fn enter<E: EncodeRequest>(
        &self,
        waker: &Waker,
        encode: &mut Option<E>,
    ) -> Result<Option<Call<'_, F>>> {
        // A waker is foreign code. It is cloned before the lock is taken, and, if there is no room, dropped
        // after the guard, which is declared later.
        let waker = waker.clone();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Lifecycle::Closed(closed) = &state.lifecycle {
            return Err(closed.fault.later_error(&self.peer));
        }
        if state.has_room(&self.options)
            && let Some(encode) = encode.take()
        {
            let max_frame_len = self.options.max_frame_len;
            let framing = state.framing.get_mut();
            let offset = state.queue.push(framing, max_frame_len, encode)?;
            let slot = Some(state.slots.insert(offset, waker));
            Self::unlock_and_wake_driver(guard);
            return Ok(Some(Call {
                shared: self,
                slot,
                is_new: true,
            }));
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

    /// Registers the waker of the task that polls now, which may be another one than before.
    #[cold]
    fn set_waker(&self, slot: usize, waker: &Waker) {
        // Cloned before the state is locked. The former waker is dropped after it is unlocked.
        let mut registered = Some(waker.clone());
        let is_open = self.lock().slots.set_waker(slot, &mut registered);
        if !is_open {
            waker.wake_by_ref();
        }
    }
}

impl<F: Framing> Call<'_, F> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `Shared::enter`")]
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply>> {
        let Self { shared, .. } = *self;
        if !take(&mut self.is_new)
            && let Some(slot) = self.slot
        {
            let mut state = shared.lock();
            let limit = || shared.options.reply_timeout.unwrap_or_default();
            let timed_out = || Error::reply_timed_out(&shared.peer, limit());
            if let Some(result) = state.slots.take_result(slot, timed_out) {
                self.slot = None;
                shared.unlock_and_offer_room(state);
                return Poll::Ready(result);
            }
            drop(state);
            shared.set_waker(slot, cx.waker());
        }
        Poll::Pending
    }
}

impl<F: Framing> Drop for Call<'_, F> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.abandon(slot);
        }
    }
}
