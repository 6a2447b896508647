//! One of the connections of a channel, or the place of the next one.

use std::{mem::replace, panic::catch_unwind, sync::Arc, task::Waker, thread::panicking};

use tokio::sync::Notify;

use super::{
    load::is_server_failure,
    pending_calls::{FailedCall, PendingCall},
    shared::Shared,
    subchannel_state::{Link, SubchannelState},
    subscribers::Subscriber,
};
use crate::{
    Error, Peer, Result,
    client::{
        connection::Connection,
        fault::Fault,
        requests::{RequestQueue, payload},
        wire::Wire,
    },
    framing::Framing,
    panics::{Payload, contain, lock, panic_text},
    sync::{Mutex, MutexGuard},
};

/// A connection of a channel, or the place of the next one, which its callers share with the task that connects.
pub(super) struct Subchannel<F: Framing> {
    /// The index of the connection in its channel.
    pub(super) index: usize,
    pub(super) shared: Arc<Shared<F>>,
    /// Notifies the task that connects that a connection is wanted, or that none ever will be.
    pub(super) wanted: Notify,
    state: Mutex<SubchannelState<F>>,
}

impl<F: Framing> Subchannel<F> {
    pub(super) fn new(index: usize, shared: Arc<Shared<F>>) -> Self {
        Self {
            state: Mutex::new(SubchannelState::new(&shared.options)),
            index,
            shared,
            wanted: Notify::new(),
        }
    }

    /// Opens the next connection.
    pub(super) async fn connect(&self) -> Result<Connection<F>> {
        let Shared {
            options, connector, ..
        } = &*self.shared;
        connector.connect(options, self.index).await
    }

    /// Lets callers send their requests over `connection`. Returns its wire, for the driver, which also wakes `wakers`.
    pub(super) fn attach(&self, connection: Connection<F>, wakers: &mut Vec<Waker>) -> Wire {
        let exchanges = connection.into_exchanges();
        let is_greeted = !exchanges.is_fresh();
        let (wire, framing, peer) = exchanges.into_wire();
        let addr = peer.addr();
        let mut state = self.lock();
        debug_assert!(
            state.calls.oldest().is_none(),
            "the next reply would be for an old call"
        );
        state.generation += 1;
        (state.is_requested, state.has_worked) = (false, false);
        let generation = state.generation;
        let former_framing = replace(&mut state.framing, framing);
        if let Some(is_event) = former_framing.is_event() {
            state.framing.set_is_event(is_event);
        }
        state.queue = RequestQueue::new(wire.requests.end_offset());
        let link = state.set_link(Link::Connected { is_greeted });
        let former = state.set_peer(peer);
        state.subscribers.record_connected(generation, wakers);
        self.unlock_and_offer_room(state);
        // Dropped without the lock: both may hold values of the user's types.
        drop((link, former, former_framing));
        // After the link, because calls that wait for other connections look at it then.
        lock(&self.shared.connector.address_stats).add(addr);
        self.shared.stats.record_connected();
        wire
    }

    /// Fails all calls, after the wire was closed. Later calls wait for another connection, or fail too. The caller
    /// wakes `wakers`.
    pub(super) fn detach(&self, fault: &Arc<Fault>, wire: &Wire, wakers: &mut Vec<Waker>) {
        let Shared {
            connector, stats, ..
        } = &*self.shared;
        let peer = self.peer();
        lock(&connector.address_stats).remove(peer.addr());
        stats.record_disconnected();
        let link = match **fault {
            _ if !connector.reconnects() => Link::Closed(Arc::clone(fault)),
            Fault::Retired => Link::Disconnected(None),
            _ => Link::Disconnected(Some(fault.later_error(&peer).into())),
        };
        let mut guard = self.lock();
        let panicked = self.fail_calls(&mut guard, fault, wire, wakers);
        guard.clear();
        let last_fault = (!connector.reconnects()).then_some(fault);
        guard.subscribers.record_lost(last_fault, wakers);
        let former = guard.set_link(link);
        drop(guard);
        drop(former);
        if let Some(panic) = panicked {
            let panic = panic_text(panic);
            tracing::error!(%peer, panic, "the framing panicked; its requests are not sent again");
        }
        // The first call that waits sees the new link. If that ends the call, the next one is the first.
        self.offer_room();
    }

    /// Fails all calls, each with its request if that can be sent again.
    ///
    /// A framing may panic when it parses its own requests. All calls fail in spite of that: otherwise, the next
    /// connection would answer the remaining ones. Returns the payload of the panic, which must be dropped without the
    /// lock.
    fn fail_calls(
        &self,
        state: &mut SubchannelState<F>,
        fault: &Fault,
        wire: &Wire,
        wakers: &mut Vec<Waker>,
    ) -> Option<Payload> {
        let SubchannelState {
            calls, queue, peer, ..
        } = state;
        let mut panicked = None;
        while let Some(PendingCall { index, offset }) = calls.oldest() {
            let error = fault.error_of(Some(offset), wire.sent(), peer);
            let bytes = match wire.request_bytes(offset) {
                [] => queue.bytes_from(offset),
                bytes => bytes,
            };
            let mut request = None;
            if self.shared.keeps_requests() && !panicking() && panicked.is_none() {
                match catch_unwind(|| payload::<F>(bytes)) {
                    Ok(payload) => request = payload,
                    Err(panic) => panicked = Some(panic),
                }
            }
            let failure = FailedCall { error, request };
            calls.complete::<F>(index, Err(failure.into()), peer, wakers);
        }
        panicked
    }

    /// Sets the state after an attempt to connect, and notifies the calls that wait.
    pub(super) fn set_link(&self, link: Link) {
        let mut state = self.lock();
        state.is_requested = false;
        let former = state.set_link(link);
        drop(state);
        drop(former);
        self.offer_room();
    }

    /// Notifies the driver that no more calls are made, so that it ends once all requests are answered.
    #[cold]
    pub(super) fn release(&self) {
        let mut state = self.lock();
        let former = state.set_link(Link::Released);
        Self::unlock_and_wake_driver(state);
        drop(former);
        self.wanted.notify_one();
    }

    /// Returns the number of calls in flight plus the load of recent failures, and then the calls alone, which decide between
    /// equal sums. `None` if there is no connection.
    pub(super) fn load(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        let is_connected = state.link().is_connected();
        let calls = state.calls.len();
        is_connected.then(|| (calls + state.recent_failures.load(), calls))
    }

    /// Returns `true` if a request can be queued now.
    pub(super) fn has_room(&self) -> bool {
        self.lock().has_room(&self.shared.options)
    }

    /// Records the error of a request, so that calls prefer other connections if the server fails.
    ///
    /// The server or the reply timeout has ended the request, not the caller's own deadline.
    #[cold]
    pub(super) fn record_failure(&self, error: &Error) {
        if is_server_failure(error) {
            self.lock().recent_failures.record();
        }
    }

    /// Returns `true` if a call waits for a connection, or if its events have a receiver.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.lock();
        state.is_requested || !state.subscribers.is_empty()
    }

    /// Returns the server's end of the connection, or of the last one.
    pub(super) fn peer(&self) -> Peer {
        self.lock().peer.clone()
    }

    /// Removes the caller of a call.
    #[cold]
    pub(super) fn abandon(&self, slot: u32) {
        let mut state = self.lock();
        let is_cancelled = F::HAS_IDS && state.calls.is_pending(slot);
        let waker = state.calls.abandon(slot);
        if is_cancelled {
            state.cancel(slot);
            Self::unlock_and_wake_driver(state);
        } else {
            self.unlock_and_offer_room(state);
        }
        // A waker is the user's code, which must not run under the lock.
        drop(waker);
    }

    /// Registers the waker of the task that polls now, which may be another one than before.
    #[cold]
    pub(super) fn set_waker(&self, slot: u32, waker: &Waker) {
        // Cloned before the state is locked. The former waker is dropped after it is unlocked.
        let mut registered = Some(waker.clone());
        let is_open = self.lock().calls.set_waker(slot, &mut registered);
        if !is_open {
            waker.wake_by_ref();
        }
    }

    /// Adds a receiver of events.
    pub(super) fn add_subscriber(&self, subscriber: &Arc<Mutex<Subscriber>>) {
        let mut state = self.lock();
        state.subscribers.add(subscriber);
        if let Link::Closed(fault) = state.link() {
            lock(subscriber).fault = Some(Arc::clone(fault));
        }
    }

    /// Locks the state. No code of the user's may run meanwhile, except a [`Framing`]. Wakers are the user's code,
    /// also when they are cloned or dropped.
    ///
    /// A panic in a framing does no harm: the next request removes what is half written.
    pub(super) fn lock(&self) -> MutexGuard<'_, SubchannelState<F>> {
        lock(&self.state)
    }

    /// Unlocks the state, and wakes the driver if it waits for a request.
    pub(super) fn unlock_and_wake_driver(mut state: MutexGuard<'_, SubchannelState<F>>) {
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Unlocks the state, and notifies the calls that wait if there is room.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn unlock_and_offer_room(&self, state: MutexGuard<'_, SubchannelState<F>>) {
        let is_offer = self.shared.is_room_awaited() && state.has_room(&self.shared.options);
        drop(state);
        if is_offer {
            self.offer_room();
        }
    }

    /// Notifies the calls that wait that there may be room, or that there will be none.
    #[cold]
    fn offer_room(&self) {
        contain(|| self.shared.room.send_replace(()));
    }
}

#[cfg(test)]
mod tests;
