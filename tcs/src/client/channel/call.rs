//! A call, from its request to its reply.

use std::{
    future::poll_fn,
    mem::take,
    task::{Context, Poll, Waker},
};

use tokio::time::timeout;

use super::{shared::Shared, slots::Reply};
use crate::{
    Error, Result,
    format::{EncodeError, Writer},
    framing::Framing,
};

/// A call. Dropping it frees its slot.
#[derive(Debug)]
struct Call<'s, F: Framing, E> {
    shared: &'s Shared<F>,
    /// Writes the request. `None` once it is written.
    encode: Option<E>,
    /// The slot, from when the request is written until the result is taken.
    number: Option<usize>,
    /// Whether the request was written in this poll, so that there is no reply yet.
    is_new: bool,
}

impl<F: Framing> Shared<F> {
    /// Sends a request and returns its reply. Returns an error if the protocol has a greeting that
    /// was not received.
    #[inline]
    pub(super) async fn round_trip<E>(&self, greets: bool, encode: E) -> Result<Reply>
    where
        E: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    {
        if greets && !self.is_greeted {
            return Err(not_greeted());
        }
        let mut call = Call {
            shared: self,
            encode: Some(encode),
            number: None,
            is_new: true,
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
}

impl<F, E> Call<'_, F, E>
where
    F: Framing,
    E: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
{
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
    fn enter(&mut self, waker: &Waker) -> Result<bool> {
        let Self { shared, .. } = *self;
        let waker = waker.clone();
        let mut guard = shared.lock();
        let state = &mut *guard;
        if let Some(dead) = &state.dead {
            return Err(dead.fault.later_error(&shared.peer));
        }
        if !state.has_room(&shared.options) {
            return Ok(false);
        }
        let Some(encode) = self.encode.take() else {
            return Ok(false);
        };
        let limit = shared.options.max_frame_len;
        let start = state.queue.push(&mut state.framing, limit, encode)?;
        self.number = Some(state.slots.open(start, waker));
        Shared::unlock_and_wake_driver(guard);
        Ok(true)
    }

    /// Waits for the reply to the queued request.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply>> {
        let Self { shared, .. } = *self;
        let Some(number) = self.number else {
            return Poll::Pending;
        };
        if take(&mut self.is_new) {
            return Poll::Pending;
        }
        let mut state = shared.lock();
        if let Some(result) = state.slots.collect(number, || shared.timed_out()) {
            self.number = None;
            shared.unlock(state);
            return Poll::Ready(result);
        }
        drop(state);
        self.watch(number, cx.waker());
        Poll::Pending
    }

    /// Registers the waker of the task that polls now, which may be another one than before.
    #[cold]
    fn watch(&self, number: usize, waker: &Waker) {
        // Cloned before the state is locked. The former waker is dropped after it is unlocked.
        let mut registered = Some(waker.clone());
        let is_open = self.shared.lock().slots.watch(number, &mut registered);
        if !is_open {
            waker.wake_by_ref();
        }
    }
}

impl<F: Framing, E> Drop for Call<'_, F, E> {
    #[inline]
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.abandon(number);
        }
    }
}

#[cold]
fn not_greeted() -> Error {
    let source = EncodeError::new(
        "the server begins with a greeting: `receive` it, or `call` once, before many tasks share \
         the connection",
    );
    Error::encode(source)
}
