//! What the callers of a channel and its driver share.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::sync::Notify;

use super::{
    super::{fault::Dead, options::ConnectOptions, wire::Requests},
    calls::{Calls, Outcome},
};
use crate::{EncodeError, Error, FrameError, Framing, Peer, Result, framing::FirstFrame};

/// If this many bytes wait to be sent, callers wait for room.
const QUEUED: usize = 1 << 20;

/// What the callers of a channel and its driver share.
#[derive(Debug)]
pub(super) struct Shared<F> {
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    /// Whether something was received, or asked, before the connection was shared.
    pub(super) is_greeted: bool,
    /// Notifies one of the callers that wait that there may be room.
    pub(super) room: Notify,
    state: Mutex<State<F>>,
}

#[derive(Debug)]
pub(super) struct State<F> {
    /// The framing of both directions: callers write with it, and the driver reads.
    pub(super) framing: FirstFrame<F>,
    /// The requests that the driver has not taken yet.
    pub(super) queue: Requests,
    pub(super) calls: Calls,
    /// The waker of the driver, if it waits for a request.
    pub(super) driver: Option<Waker>,
    /// The number of callers that wait for room.
    pub(super) waiting: usize,
    /// Whether one of them was notified and has not looked yet.
    pub(super) is_offered: bool,
    /// The number of eighths of the reply timeout that have passed while there were calls.
    pub(super) tick: u32,
    /// Why nothing can be asked any more.
    pub(super) dead: Option<Dead>,
    /// Whether the last handle was dropped.
    pub(super) is_left: bool,
}

impl<F: Framing> Shared<F> {
    pub(super) fn new(
        peer: Peer,
        options: ConnectOptions,
        is_greeted: bool,
        framing: FirstFrame<F>,
        written: u64,
    ) -> Self {
        Self {
            peer,
            options,
            is_greeted,
            room: Notify::new(),
            state: Mutex::new(State {
                framing,
                queue: Requests::new(written),
                calls: Calls::new(),
                driver: None,
                waiting: 0,
                is_offered: false,
                tick: 0,
                dead: None,
                is_left: false,
            }),
        }
    }

    /// Tells the driver that the last handle was dropped.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.is_left = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Locks the state. No foreign code may run meanwhile, except that of [`Framing`] and
    /// [`Encode`](crate::Encode).
    ///
    /// A panic in that code does no harm: the next request removes what is half written.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks the state. If there is room, notifies one of the callers that wait for it.
    ///
    /// One at a time: a second caller might find no room left, and would then lose its place in the
    /// queue.
    #[inline]
    pub(super) fn unlock(&self, mut state: MutexGuard<'_, State<F>>) {
        let is_waited_for = state.waiting > 0 && !state.is_offered;
        let is_offer = is_waited_for && state.has_room(&self.options);
        state.is_offered |= is_offer;
        drop(state);
        if is_offer {
            self.room.notify_one();
        }
    }
}

impl<F> State<F> {
    #[inline]
    pub(super) fn has_room(&self, options: &ConnectOptions) -> bool {
        self.calls.len() < options.in_flight() && self.queue.waiting() < QUEUED
    }
}

impl<F: Framing> Shared<F> {
    /// Returns an error if a greeting would be taken for the reply.
    #[inline]
    pub(super) fn check_greeted(&self, greets: bool) -> Result<()> {
        if greets && !self.is_greeted {
            return Err(not_greeted());
        }
        Ok(())
    }

    /// Forgets the caller of a call.
    #[cold]
    pub(super) fn abandon(&self, number: usize) {
        let mut state = self.lock();
        let waker = state.calls.abandon(number);
        self.unlock(state);
        drop(waker);
    }

    /// Returns the error of a call that got no reply.
    #[cold]
    pub(super) fn error(&self, state: &State<F>, outcome: Outcome) -> Error {
        let Self { peer, options, .. } = self;
        match outcome {
            Outcome::Rejected(rejection) => Error::rejected(peer, rejection),
            Outcome::TooLarge(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Error::no_frame(peer, FrameError::too_large(length, options.frame_len()))
            }
            Outcome::TimedOut => Error::reply_timed_out(peer, options.reply().unwrap_or_default()),
            Outcome::Failed(start) => match &state.dead {
                Some(dead) => dead.of(start, peer),
                None => Error::closed(peer),
            },
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
