//! What the callers of a channel and its driver share.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::sync::{Notify, Semaphore};

use super::{
    super::{
        fault::{Closed, OUT_OF_STEP},
        options::ConnectOptions,
        timer::ticks_in,
        wire::RequestQueue,
    },
    slots::Slots,
};
use crate::{
    Peer,
    framing::{ConnectionFraming, Framing},
};

/// If this many bytes of requests wait to be sent, the callers of a channel wait for room.
const CHANNEL_FULL: usize = 1 << 20;

/// What the callers of a channel and its driver share.
#[derive(Debug)]
pub(super) struct Shared<F> {
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    /// Whether a message was received, or a request made, before the connection was shared.
    pub(super) is_greeted: bool,
    /// Its one permit is held by the first of the callers that wait for room. The others wait for it, in order.
    pub(super) admission: Semaphore,
    /// Tells the caller with the permit of `admission` that there may be room.
    pub(super) room: Notify,
    state: Mutex<State<F>>,
}

#[derive(Debug)]
pub(super) struct State<F> {
    /// The framing of both directions: callers write with it, and the driver reads.
    pub(super) framing: ConnectionFraming<F>,
    /// The requests that the driver has not taken yet.
    pub(super) queue: RequestQueue,
    pub(super) slots: Slots,
    /// The waker of the driver, if it waits for a request.
    pub(super) driver: Option<Waker>,
    pub(super) lifecycle: Lifecycle,
}

/// Whether the channel can be used.
#[derive(Debug)]
pub(super) enum Lifecycle {
    Open,
    /// The last handle was dropped. The connection ends once all requests are answered.
    Released,
    /// A reply was not that of the operation that was called. The connection ends at once.
    // Only clients of operations set it, which need one of these formats.
    #[cfg_attr(
        not(any(feature = "json", feature = "messagepack", feature = "postcard")),
        expect(dead_code, reason = "no operations")
    )]
    OutOfStep,
    /// The driver has ended.
    Closed(Closed),
}

impl<F: Framing> Shared<F> {
    pub(super) fn new(
        peer: Peer,
        options: ConnectOptions,
        is_greeted: bool,
        framing: ConnectionFraming<F>,
        written: u64,
    ) -> Self {
        let ticks = options.reply_timeout.map_or(0, ticks_in);
        Self {
            peer,
            options,
            is_greeted,
            admission: Semaphore::new(1),
            room: Notify::new(),
            state: Mutex::new(State {
                framing,
                queue: RequestQueue::new(written),
                slots: Slots::new(ticks),
                driver: None,
                lifecycle: Lifecycle::Open,
            }),
        }
    }

    /// Closes an open channel, and tells the driver why.
    #[cold]
    pub(super) fn close(&self, reason: Lifecycle) {
        let mut state = self.lock();
        if matches!(state.lifecycle, Lifecycle::Open) {
            state.lifecycle = reason;
        }
        Self::unlock_and_wake_driver(state);
    }

    /// Locks the state. No foreign code may run meanwhile, except that of [`Framing`] and
    /// [`Encode`](crate::format::Encode). Wakers are foreign code, also when they are cloned or dropped.
    ///
    /// A panic in that code does no harm: the next request removes what is half written.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks the state, and wakes the driver if it waits for a request.
    pub(super) fn unlock_and_wake_driver(mut state: MutexGuard<'_, State<F>>) {
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Unlocks the state, and tells the first of the callers that wait for room if there is some.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `Shared::enter`")]
    pub(super) fn unlock_and_offer_room(&self, state: MutexGuard<'_, State<F>>) {
        let is_offer = self.is_waited_for() && state.has_room(&self.options);
        drop(state);
        if is_offer {
            self.room.notify_one();
        }
    }

    /// Returns `true` if callers wait for room.
    pub(super) fn is_waited_for(&self) -> bool {
        self.admission.available_permits() == 0
    }
}

impl<F> State<F> {
    pub(super) fn has_room(&self, options: &ConnectOptions) -> bool {
        self.slots.len() < options.max_in_flight && self.queue.waiting() < CHANNEL_FULL
    }

    /// Returns why the driver must end, if the callers have ended the channel.
    pub(super) fn end_reason(&self) -> Option<&'static str> {
        match self.lifecycle {
            Lifecycle::Released if self.slots.oldest_offset().is_none() => {
                Some("all its handles are gone")
            }
            Lifecycle::OutOfStep => Some(OUT_OF_STEP),
            Lifecycle::Open | Lifecycle::Released | Lifecycle::Closed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Wake},
    };

    use super::*;
    use crate::{format::Writer, framing::LengthPrefixed};

    /// A waker whose drop runs code that would wait for the lock for ever.
    struct Waiter {
        shared: Arc<Shared<LengthPrefixed>>,
        dropped: Arc<AtomicUsize>,
    }

    impl Wake for Waiter {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Waiter {
        fn drop(&mut self) {
            drop(self.shared.state.try_lock().expect("it is not locked"));
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn waker_of_a_former_poll_is_dropped_without_the_lock() {
        let options = ConnectOptions::new();
        let shared = Shared::new(
            Peer::unnamed(),
            options,
            true,
            ConnectionFraming::default(),
            0,
        );
        let shared = Arc::new(shared);
        let dropped = Arc::new(AtomicUsize::new(0));
        let request = |out: &mut Writer<'_>| {
            out.put(b"x");
            Ok(())
        };
        {
            let mut call = pin!(shared.round_trip(false, request));
            for number in 0..3 {
                let waker = Waker::from(Arc::new(Waiter {
                    shared: Arc::clone(&shared),
                    dropped: Arc::clone(&dropped),
                }));
                let mut cx = Context::from_waker(&waker);
                assert!(call.as_mut().poll(&mut cx).is_pending());
                assert_eq!(dropped.load(Relaxed), number);
            }
        }
        assert_eq!(dropped.load(Relaxed), 3);
    }
}
