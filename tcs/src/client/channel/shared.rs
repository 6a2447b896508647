//! What the callers of a channel and its driver share.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tokio::{sync::Notify, time::timeout};

use super::calls::{Calls, Found, Outcome, Reply};
use crate::{
    ConnectOptions, EncodeError, Error, FrameError, Framing, Peer, Result, Writer,
    buffer::Outbox,
    client::{failure::Failure, message::enqueue},
    error::Repr,
};

/// From so many bytes on that wait to be sent, callers wait for room.
const QUEUED: usize = 1 << 20;

/// What the callers of a channel and its driver share.
#[derive(Debug)]
pub(super) struct Shared<F> {
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    /// Tells one caller that waits that there may be room.
    pub(super) room: Notify,
    state: Mutex<State<F>>,
}

#[derive(Debug)]
pub(super) struct State<F> {
    pub(super) framing: F,
    /// The requests that the driver has not taken yet.
    pub(super) outbox: Outbox,
    pub(super) calls: Calls,
    /// How many bytes of requests the driver has taken.
    pub(super) taken: u64,
    /// What the driver is to be woken with when there is a request.
    pub(super) driver: Option<Waker>,
    /// How many callers wait for room.
    waiting: usize,
    /// How many eighths of the reply timeout have passed while calls were open.
    pub(super) tick: u32,
    /// Why nothing can be asked any more.
    pub(super) failure: Option<Failure>,
    /// The last handle is gone.
    pub(super) is_left: bool,
}

/// Whether a caller may take room while others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Not before them: it has just come.
    New,
    /// Not before them: it has begun to wait, too.
    Behind,
    /// It was told that there may be room.
    Own,
}

impl<F: Framing> Shared<F> {
    pub(super) fn new(peer: Peer, options: ConnectOptions, framing: F, taken: u64) -> Self {
        Self {
            peer,
            options,
            room: Notify::new(),
            state: Mutex::new(State {
                framing,
                outbox: Outbox::new(),
                calls: Calls::default(),
                taken,
                driver: None,
                waiting: 0,
                tick: 0,
                failure: None,
                is_left: false,
            }),
        }
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn round_trip(
        &self,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Reply> {
        let mut encode = Some(encode);
        let mut call = Call {
            shared: self,
            number: None,
        };
        let at_once = poll_fn(|cx| match call.number {
            Some(number) => call.poll(cx, number).map_ok(Some),
            None => match self.enter(cx.waker(), &mut encode, Turn::New) {
                Ok(Some(number)) => {
                    call.number = Some(number);
                    Poll::Pending
                }
                Ok(None) => Poll::Ready(Ok(None)),
                Err(error) => Poll::Ready(Err(error)),
            },
        });
        if let Some(reply) = at_once.await? {
            return Ok(reply);
        }
        let number = self.wait_for_room(&mut encode).await?;
        call.number = Some(number);
        poll_fn(|cx| call.poll(cx, number)).await
    }

    /// Puts a request behind those that wait to be sent; returns the number of its call, or `None`
    /// if there is no room.
    #[inline]
    fn enter(
        &self,
        waker: &Waker,
        encode: &mut Option<impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>>,
        turn: Turn,
    ) -> Result<Option<usize>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(failure) = &state.failure {
            return Err(failure.of_later(&self.peer));
        }
        let is_overtaking = match turn {
            Turn::New => state.waiting > 0,
            Turn::Behind => state.waiting > 1,
            Turn::Own => false,
        };
        if is_overtaking || !state.has_room(&self.options) {
            return Ok(None);
        }
        let Some(encode) = encode.take() else {
            return Ok(None);
        };
        let start = state.taken + state.outbox.waiting() as u64;
        let limit = self.options.frame_len();
        enqueue(&mut state.outbox, &mut state.framing, limit, encode)?;
        let number = state.calls.open(start, state.tick, waker.clone());
        let driver = state.driver.take();
        drop(guard);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(Some(number))
    }

    /// Does the same as soon as there is room.
    async fn wait_for_room(
        &self,
        encode: &mut Option<impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>>,
    ) -> Result<usize> {
        let _waiting = Waiting::new(self);
        let entered = async {
            let mut turn = Turn::Behind;
            loop {
                let mut room = pin!(self.room.notified());
                // From here on nothing is missed.
                if room.as_mut().enable() {
                    turn = Turn::Own;
                }
                let entered = poll_fn(|cx| Poll::Ready(self.enter(cx.waker(), encode, turn)));
                if let Some(number) = entered.await? {
                    return Ok(number);
                }
                room.await;
                turn = Turn::Own;
            }
        };
        let Some(limit) = self.options.reply() else {
            return entered.await;
        };
        timeout(limit, entered).await.unwrap_or_else(|_| {
            let peer = self.peer.clone();
            Err(Repr::NoRoom { peer, limit }.into())
        })
    }

    /// Lets the driver know that the last handle is gone.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.is_left = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Locks the state, for as long as no other code runs but that of [`Framing`] and
    /// [`Encode`](crate::Encode).
    ///
    /// If that panics, all is as before: a request that is half written is removed by the next.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks the state, and tells one of those who wait for room if there is some.
    #[inline]
    pub(super) fn unlock(&self, state: MutexGuard<'_, State<F>>) {
        let is_waited_for = state.waiting > 0 && state.has_room(&self.options);
        drop(state);
        if is_waited_for {
            self.room.notify_one();
        }
    }
}

impl<F> State<F> {
    fn has_room(&self, options: &ConnectOptions) -> bool {
        self.calls.len() < options.in_flight() && self.outbox.waiting() < QUEUED
    }
}

/// A call that has its slot, which it gives back.
struct Call<'s, F: Framing> {
    shared: &'s Shared<F>,
    number: Option<usize>,
}

impl<F: Framing> Call<'_, F> {
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>, number: usize) -> Poll<Result<Reply>> {
        let Self { shared, .. } = *self;
        let mut state = shared.lock();
        let found = ready!(state.calls.poll_take(number, cx.waker()));
        self.number = None;
        let result = match found {
            Found::Reply(reply) => Ok(reply),
            Found::TimedOut => Err(shared.timed_out()),
            Found::Other(outcome) => Err(shared.error(&state, outcome)),
        };
        shared.unlock(state);
        Poll::Ready(result)
    }
}

impl<F: Framing> Drop for Call<'_, F> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut state = self.shared.lock();
            let waker = state.calls.abandon(number);
            self.shared.unlock(state);
            drop(waker);
        }
    }
}

impl<F: Framing> Shared<F> {
    #[cold]
    fn timed_out(&self) -> Error {
        let peer = self.peer.clone();
        let limit = self.options.reply().unwrap_or_default();
        Repr::ReplyTimedOut { peer, limit }.into()
    }

    #[cold]
    fn error(&self, state: &State<F>, outcome: Outcome) -> Error {
        let peer = self.peer.clone();
        let repr = match (outcome, &state.failure) {
            (Outcome::Refused(source), _) => Repr::Refused { peer, source },
            (Outcome::TooLarge(length), _) => Repr::Frame {
                peer,
                source: FrameError::too_large(length, self.options.frame_len()),
            },
            (Outcome::Unsent, Some(failure)) => return failure.of_unsent(&peer),
            (_, Some(failure)) => return failure.of_sent(&peer),
            (_, None) => Repr::Closed { peer },
        };
        repr.into()
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
