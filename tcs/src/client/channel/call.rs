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
    /// The slot, until the result is taken.
    slot: Option<usize>,
}

/// What has become of a request.
enum Entry<'s, F: Framing, E> {
    Queued(Call<'s, F>),
    /// There was no room, so it was not encoded.
    NoRoom(E),
}

impl<F: Framing> Shared<F> {
    /// Sends a request and returns its reply.
    #[inline]
    pub(super) async fn round_trip(&self, encode: impl EncodeRequest) -> Result<Reply> {
        let entry = if self.is_waited_for() {
            Entry::NoRoom(encode)
        } else {
            self.enter(encode, current_waker().await)?
        };
        let mut call = match (entry, self.options.reply_timeout) {
            (Entry::Queued(call), _) => call,
            (Entry::NoRoom(encode), None) => self.wait_for_room(encode).await?,
            (Entry::NoRoom(encode), Some(limit)) => timeout(limit, self.wait_for_room(encode))
                .await
                .unwrap_or_else(|_| Err(Error::no_room(&self.peer, limit)))?,
        };
        // The reply cannot be there yet: the driver wakes this task.
        suspend().await;
        poll_fn(|cx| call.poll_reply(cx)).await
    }

    /// Waits until there is room, after those who wait already, and queues the request.
    async fn wait_for_room(&self, mut encode: impl EncodeRequest) -> Result<Call<'_, F>> {
        // The next caller gets the turn when this is dropped, and looks for room as well.
        let _turn = self.turn.acquire().await;
        loop {
            match self.enter(encode, current_waker().await)? {
                Entry::Queued(call) => return Ok(call),
                Entry::NoRoom(unused) => encode = unused,
            }
            self.room.notified().await;
        }
    }

    /// Takes a slot and queues the request, if there is room.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "INLINE_ENTER")]
    fn enter<E: EncodeRequest>(&self, encode: E, waker: Waker) -> Result<Entry<'_, F, E>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Lifecycle::Dead(dead) = &state.lifecycle {
            return Err(dead.fault.later_error(&self.peer));
        }
        if !state.has_room(&self.options) {
            return Ok(Entry::NoRoom(encode));
        }
        let limit = self.options.max_frame_len;
        let start = state.queue.push(&mut state.framing, limit, encode)?;
        let slot = state.slots.open(start, waker);
        Self::unlock_and_wake_driver(guard);
        Ok(Entry::Queued(Call {
            shared: self,
            slot: Some(slot),
        }))
    }
}

impl<F: Framing> Call<'_, F> {
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply>> {
        let Self { shared, .. } = *self;
        let Some(slot) = self.slot else {
            return Poll::Pending;
        };
        let mut state = shared.lock();
        if let Some(result) = state.slots.collect(slot, || shared.timed_out()) {
            self.slot = None;
            shared.unlock(state);
            return Poll::Ready(result);
        }
        drop(state);
        self.watch(slot, cx.waker());
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
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.shared.abandon(slot);
        }
    }
}

/// Returns the waker of the current task.
async fn current_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Waits until the current task is polled again. Something else must wake it.
async fn suspend() {
    let mut is_polled = false;
    poll_fn(|_| match replace(&mut is_polled, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}
