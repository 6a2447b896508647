//! A call, from its request to its reply.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::time::timeout;

use super::{reply::Reply, shared::Shared};
use crate::{EncodeError, Error, Framing, Result, Writer};

/// A call. Dropping it frees its slot.
#[derive(Debug)]
pub(super) struct Call<'s, F: Framing, E> {
    shared: &'s Shared<F>,
    /// Writes the request. `None` once it is written.
    encode: Option<E>,
    /// Its slot, from when the request is written until the outcome is taken.
    number: Option<usize>,
    reply: Reply,
}

/// The place of a caller among those that wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queueing {
    /// It has just come, and goes behind those that wait.
    New,
    /// It waits as well, behind the others.
    Waiting,
    /// It was told that there may be room.
    First,
}

impl<'s, F, E> Call<'s, F, E>
where
    F: Framing,
    E: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
{
    /// Creates a call. Returns an error if the server greets and its greeting was not received.
    #[inline]
    pub(super) fn new(shared: &'s Shared<F>, greets: bool, encode: E) -> Result<Self> {
        shared.check_greeted(greets)?;
        Ok(Self {
            shared,
            encode: Some(encode),
            number: None,
            reply: Reply::new(),
        })
    }

    /// Sends the request and waits for the reply. Returns `false` at once if there is no room.
    #[inline]
    pub(super) fn at_once(&mut self) -> impl Future<Output = Result<bool>> {
        poll_fn(|cx| {
            if let Some(number) = self.number {
                return self.poll_reply(cx, number).map_ok(|()| true);
            }
            match self.enter(cx.waker(), Queueing::New) {
                Ok(()) if self.number.is_some() => Poll::Pending,
                entered => Poll::Ready(entered.map(|()| false)),
            }
        })
    }

    /// Waits until there is room, then sends the request and waits for the reply.
    pub(super) async fn in_turn(&mut self) -> Result<()> {
        let Self { shared, .. } = *self;
        let limit = shared.options.reply();
        let room = self.wait_for_room();
        match limit {
            None => room.await?,
            Some(limit) => timeout(limit, room)
                .await
                .unwrap_or_else(|_| Err(Error::no_room(&shared.peer, limit)))?,
        }
        poll_fn(|cx| match self.number {
            Some(number) => self.poll_reply(cx, number),
            None => Poll::Pending,
        })
        .await
    }

    async fn wait_for_room(&mut self) -> Result<()> {
        let Self { shared, .. } = *self;
        let _waiting = Waiting::new(shared);
        let mut queueing = Queueing::Waiting;
        loop {
            let mut room = pin!(shared.room.notified());
            // From here on nothing is missed.
            let is_told = room.as_mut().enable();
            if is_told {
                queueing = Queueing::First;
            }
            poll_fn(|cx| Poll::Ready(self.enter(cx.waker(), queueing))).await?;
            if self.number.is_some() {
                return Ok(());
            }
            // Each notification is for one look. A second look might take the room of another caller.
            queueing = if is_told {
                Queueing::Waiting
            } else {
                room.await;
                Queueing::First
            };
        }
    }

    /// Returns the reply, once the call has it.
    pub(super) fn reply(&self) -> &[u8] {
        self.reply.bytes()
    }

    /// Takes the reply, once the call has it.
    pub(super) fn into_reply(mut self) -> Reply {
        std::mem::take(&mut self.reply)
    }

    /// Takes a slot, and adds the request to those that wait to be sent, if there is room.
    fn enter(&mut self, waker: &Waker, queueing: Queueing) -> Result<()> {
        let Self { shared, .. } = *self;
        let mut guard = shared.lock();
        let state = &mut *guard;
        if let Some(dead) = &state.dead {
            return Err(dead.fault.of_later(&shared.peer));
        }
        let is_overtaking = match queueing {
            Queueing::New => state.waiting > 0,
            Queueing::Waiting => state.waiting > 1,
            Queueing::First => {
                state.is_offered = false;
                false
            }
        };
        if is_overtaking || !state.has_room(&shared.options) {
            return Ok(());
        }
        let Some(encode) = self.encode.take() else {
            return Ok(());
        };
        let limit = shared.options.frame_len();
        let start = state.queue.push(&mut state.framing, limit, encode)?;
        self.number = Some(state.calls.open(start, state.tick, waker.clone()));
        let driver = state.driver.take();
        drop(guard);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>, number: usize) -> Poll<Result<()>> {
        let Self { shared, .. } = *self;
        let mut state = shared.lock();
        let taken = ready!(state.calls.poll_take(number, cx.waker(), &mut self.reply));
        self.number = None;
        let result = taken.map_err(|outcome| shared.error(&state, outcome));
        shared.unlock(state);
        Poll::Ready(result)
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

/// One more caller that waits for room, for as long as it does.
struct Waiting<'s, F: Framing>(&'s Shared<F>);

impl<'s, F: Framing> Waiting<'s, F> {
    fn new(shared: &'s Shared<F>) -> Self {
        shared.lock().waiting += 1;
        Self(shared)
    }
}

impl<F: Framing> Drop for Waiting<'_, F> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.waiting -= 1;
        // There may be room for the next one, too.
        self.0.unlock(state);
    }
}
