//! A connection of a channel and its successors: what their callers and their driver share.

use std::{
    mem::replace, panic::catch_unwind, sync::Arc, task::Waker, thread::panicking, time::Duration,
};

use tokio::sync::Notify;

use super::{
    super::{
        connection::Connection, fault::Fault, options::ConnectOptions, reencode::payload,
        requests::RequestQueue, timer::ticks_in, wire::Wire,
    },
    call::{Call, CallParams},
    connector::{BoxFuture, Connector},
    hub::{EventHub, Subscriber},
    pending_calls::{Failure, PendingCalls},
    recent_failures::{RecentFailures, is_server_failure},
    reconnector::Reconnector,
    reply::Reply,
    state::ChannelStats,
    waiting::Room,
};
use crate::{
    Error, Peer, Result,
    deadline::Late,
    framing::{ConnectionFraming, Framing, Notice},
    panics::{lock, panic_text},
    runtime::{Instead, inside_runtime},
    sync::{Mutex, MutexGuard},
};

/// If this many bytes of requests wait to be sent, the callers of a channel wait for room.
const MAX_QUEUED: usize = 1 << 20;

/// A connection of a channel. It is made when a call needs it, and again when it has ended. Its callers and its
/// driver share it.
pub(super) struct Subchannel<F: Framing> {
    pub(super) options: ConnectOptions,
    /// Which of the channel's connections it is.
    pub(super) index: usize,
    /// Makes the next connection. Without it, the channel ends with its connection.
    pub(super) connector: Option<Arc<Connector<F>>>,
    /// The numbers of the whole channel.
    pub(super) stats: Arc<ChannelStats>,
    /// Whether each request is kept until its reply, so that it can be sent again.
    pub(super) keeps_requests: bool,
    /// Tells the calls of the whole channel that wait that there may be room.
    pub(super) room: Room,
    /// Tells the task that connects that a connection is wanted, or that none ever will be.
    pub(super) wanted: Notify,
    /// Those who receive events.
    pub(super) hub: EventHub,
    state: Mutex<SubchannelState<F>>,
}

#[derive(Debug)]
pub(super) struct SubchannelState<F> {
    /// The framing of both directions: callers write with it, and the driver reads.
    pub(super) framing: ConnectionFraming<F>,
    /// The requests that the driver has not taken yet.
    pub(super) queue: RequestQueue,
    pub(super) calls: PendingCalls,
    /// The waker of the driver, if it waits for a request.
    pub(super) driver: Option<Waker>,
    pub(super) link: Link,
    /// The number of connections so far, this one included.
    pub(super) generation: u64,
    /// Whether somebody would use the next connection. It ends with an attempt to connect.
    pub(super) is_wanted: bool,
    /// The server's end of the connection, or of the last one.
    pub(super) peer: Peer,
    /// They outlive the connection, because the next one is probably to the same server.
    recent_failures: RecentFailures,
}

/// The state of a connection.
///
/// | from | to | set by |
/// |---|---|---|
/// | any but `Released` | `Connected` | `attach`: a connection was made |
/// | `Connected` | `Ending` | `fail`; `Driver::poll_upkeep`: it is idle or old |
/// | `Connected`, `Ending` | `Disconnected(None)`, `Closed` | `detach`: it has ended; `Closed` if there is no connector |
/// | `Off` | `Disconnected(None)` | `request_connection`: a call needs a connection |
/// | `Disconnected` | `Disconnected(Some)`, `Rejected` | `Reconnector`: an attempt has failed |
/// | `Rejected` | `Disconnected(Some)` | `Reconnector`: the next attempt is due |
/// | any but `Released` | `Off` | `Reconnector`: its runtime has ended |
/// | any | `Released` | `release` |
#[derive(Debug)]
pub(super) enum Link {
    /// There is no connection, and no task that makes one. The first call starts it.
    Off,
    /// Requests can be sent. Those of a protocol with a greeting need a message that was received, or a request that was
    /// made, before the connection was shared.
    Connected { is_greeted: bool },
    /// The connection takes no more requests. It ends at once, for the reason of a caller, or once all calls are
    /// answered.
    Ending(Option<Arc<Fault>>),
    /// There is no connection. The error is from the last attempt. Callers wait for the next one.
    Disconnected(Option<Arc<Error>>),
    /// The last attempt has failed, and the next one probably fails as well. Callers get the error.
    Rejected(Arc<Error>),
    /// The connection has ended, and there is no other.
    Closed(Arc<Fault>),
    /// The last clone of the channel was dropped. The connection ends once all calls are answered, and is the last.
    Released,
}

/// What a tick has found.
pub(super) struct Tick {
    /// Whether the requests of late calls were cancelled.
    pub(super) has_cancelled: bool,
    /// The number of cancels that were not answered in time.
    pub(super) overdue: usize,
    /// Whether there are no calls.
    pub(super) is_idle: bool,
}

/// The limit of cancels, if calls have none.
const CANCEL_LIMIT: Duration = Duration::from_mins(1);

/// Returns the limit that is checked now and then: the limit of calls, or, with ids, at least the limit of cancels.
pub(super) fn tick_limit<F: Framing>(options: &ConnectOptions) -> Option<Duration> {
    options.reply_timeout.or(F::HAS_IDS.then_some(CANCEL_LIMIT))
}

impl<F: Framing> Subchannel<F> {
    pub(super) fn new(
        options: ConnectOptions,
        index: usize,
        stats: Arc<ChannelStats>,
        room: Room,
        connector: Option<Arc<Connector<F>>>,
    ) -> Self {
        let ticks = tick_limit::<F>(&options).map_or(0, ticks_in);
        let is_limited = options.reply_timeout.is_some();
        Self {
            options,
            index,
            keeps_requests: F::HAS_INDEPENDENT_FRAMES && stats.budget().is_some(),
            stats,
            connector,
            room,
            wanted: Notify::new(),
            hub: EventHub::default(),
            state: Mutex::new(SubchannelState {
                framing: ConnectionFraming::of_client(),
                queue: RequestQueue::new(0),
                calls: PendingCalls::new(ticks, is_limited),
                driver: None,
                link: Link::Off,
                generation: 0,
                is_wanted: false,
                peer: Peer::unnamed(),
                recent_failures: RecentFailures::default(),
            }),
        }
    }

    /// Lets callers send their requests over `connection`. Returns its wire, for the driver.
    pub(super) fn attach(&self, connection: Connection<F>) -> Wire {
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
        state.is_wanted = false;
        let generation = state.generation;
        let former_framing = replace(&mut state.framing, framing);
        if let Some(is_event) = former_framing.is_event() {
            state.framing.set_is_event(is_event);
        }
        state.queue = RequestQueue::new(wire.end_offset());
        let link = state.set_link(Link::Connected { is_greeted });
        let former = replace(&mut state.peer, peer);
        self.unlock_and_offer_room(state);
        // Dropped without the lock: both may hold values of the user's types.
        drop((link, former, former_framing));
        if let Some(connector) = &self.connector {
            // After the link, because calls that wait for other connections look at it then.
            lock(&connector.address_stats).add(addr);
        }
        self.stats.note_connected();
        self.hub.note_connected(generation);
        wire
    }

    /// Fails all calls, after the wire was closed. Those to come wait for another connection, or fail too.
    pub(super) fn detach(&self, fault: &Arc<Fault>, wire: &Wire, wakers: &mut Vec<Waker>) {
        if let Some(connector) = &self.connector {
            let addr = self.peer().addr();
            lock(&connector.address_stats).remove(addr);
        }
        self.stats.note_disconnected();
        let link = match self.connector {
            Some(_) => Link::Disconnected(None),
            None => Link::Closed(Arc::clone(fault)),
        };
        // The panic of a framing that cannot parse its own requests. All calls fail in spite of it, or the next connection would
        // answer those that are left.
        let mut panicked = None;
        let mut guard = self.lock();
        let SubchannelState {
            calls, queue, peer, ..
        } = &mut *guard;
        while let Some(oldest) = calls.oldest() {
            let offset = oldest.offset;
            let error = fault.error_of(Some(offset), wire.sent(), peer);
            let bytes = match wire.request_bytes(offset) {
                [] => queue.bytes_from(offset),
                bytes => bytes,
            };
            let mut request = None;
            if self.keeps_requests && !panicking() && panicked.is_none() {
                match catch_unwind(|| payload::<F>(bytes)) {
                    Ok(payload) => request = payload,
                    Err(panic) => panicked = Some(panic),
                }
            }
            calls.complete::<F>(
                oldest.index,
                Err(Failure { error, request }.into()),
                peer,
                wakers,
            );
        }
        queue.clear();
        let former = guard.set_link(link);
        drop(guard);
        drop(former);
        if let Some(panic) = panicked {
            // Without the lock, because the payload is dropped.
            let (peer, panic) = (self.peer(), panic_text(panic));
            tracing::error!(%peer, panic, "the framing panicked; its requests are not sent again");
        }
        self.hub
            .note_lost(self.connector.is_none().then_some(fault));
        // The first call that waits learns of it. If that ends it, the next one is the first.
        self.room.offer();
    }

    /// Makes another connection, for the same place, if the channel reconnects.
    #[cold]
    pub(super) fn connect_again(&self) -> Option<BoxFuture<Result<Connection<F>>>> {
        let (connector, index) = (Arc::clone(self.connector.as_ref()?), self.index);
        Some(Box::pin(async move { connector.connect(index).await }))
    }

    /// Sets the state after an attempt to connect, and notifies the calls that wait.
    pub(super) fn set_link(&self, link: Link) {
        let mut state = self.lock();
        state.is_wanted = false;
        let former = state.set_link(link);
        drop(state);
        drop(former);
        self.room.offer();
    }

    /// Lets calls wait for the next attempt to connect.
    pub(super) fn forget_rejection(&self) {
        let mut state = self.lock();
        if let Link::Rejected(error) = &state.link {
            state.link = Link::Disconnected(Some(Arc::clone(error)));
        }
    }

    /// Tells the driver that no more calls are made, so that it ends once all requests are answered.
    #[cold]
    pub(super) fn release(&self) {
        let mut state = self.lock();
        let former = replace(&mut state.link, Link::Released);
        Self::unlock_and_wake_driver(state);
        drop(former);
        self.wanted.notify_one();
    }

    /// Ends the connection of this generation, and its calls, if it is the current one.
    #[cold]
    #[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
    pub(super) fn fail(&self, generation: u64, fault: Fault) {
        let fault = Arc::new(fault);
        let mut state = self.lock();
        if state.generation == generation
            && let Link::Connected { .. } | Link::Ending(None) = state.link
        {
            state.link = Link::Ending(Some(fault));
        }
        Self::unlock_and_wake_driver(state);
    }

    /// Returns `true` if calls fail until the next attempt to connect.
    pub(super) fn is_rejected(&self) -> bool {
        matches!(self.lock().link, Link::Rejected(_))
    }

    /// Returns `true` if the last clone of the channel was dropped.
    pub(super) fn is_released(&self) -> bool {
        matches!(self.lock().link, Link::Released)
    }

    /// Returns `true` if a call can be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.lock().has_room(&self.options)
    }

    /// Returns the number of calls in flight plus the load of recent failures, and then the calls alone, which decide between
    /// equal sums. `None` if there is no connection.
    pub(super) fn load(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        let is_connected = matches!(state.link, Link::Connected { .. });
        let calls = state.calls.len();
        is_connected.then(|| (calls + state.recent_failures.load(), calls))
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

    /// Returns `true` if the connection `index` of the channel is to the same address.
    pub(super) fn has_address_of(&self, index: usize) -> bool {
        let targets = self.connector.as_ref().map_or(1, |it| it.targets.len());
        self.index.checked_rem(targets) == index.checked_rem(targets)
    }

    /// Returns `true` if a call would use the connection, or if somebody receives its events.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().is_wanted || self.hub.has_subscribers()
    }

    /// Returns the server's end of the connection, or of the last one.
    pub(super) fn peer(&self) -> Peer {
        self.lock().peer.clone()
    }

    /// Takes a slot and queues the request. Returns `None` if there is no room.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn try_push(
        &self,
        waker: &Waker,
        params: CallParams,
        request: &[u8],
    ) -> Result<Option<Call<'_, F>>> {
        // A waker is foreign code. It is cloned before the lock is taken, and, if there is no room, dropped
        // after the guard, because that is declared later.
        let waker = waker.clone();
        let CallParams {
            has_greeting,
            has_items,
            end,
        } = params;
        let mut guard = self.lock();
        let state = &mut *guard;
        if !state.has_room(&self.options) || has_greeting && !state.is_greeted() {
            return state.check_waiting(has_greeting).map(|()| None);
        }
        let framing = state.framing.get_mut();
        if F::HAS_IDS {
            framing.set_id(state.calls.next_id());
        }
        let mut offset = state.queue.push_encoded(framing, request)?;
        if F::HAS_IDS
            && let Some(end) = end
        {
            let notice = Notice::deadline_at(end);
            offset = state.queue.notice_before(offset, framing, notice);
        }
        let slot = state.calls.insert::<F>(offset, waker);
        if F::HAS_IDS && has_items {
            state.calls.expect_items(slot);
        }
        let generation = state.generation;
        Self::unlock_and_wake_driver(guard);
        Ok(Some(Call::new(self, generation, slot)))
    }

    /// Takes the result of a call, if there is one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn take_result(&self, slot: u32) -> Option<Result<Reply, Box<Failure>>> {
        let mut state = self.lock();
        let result = state.calls.take_result(slot)?;
        self.unlock_and_offer_room(state);
        Some(result)
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
        // A waker is foreign code, which must not run while the state is locked.
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

    /// Returns the error of a request for which there was no room in time.
    pub(super) fn no_room(&self, late: Late) -> Error {
        let state = self.lock();
        match &state.link {
            Link::Off => Error::no_connection(None, late),
            Link::Disconnected(error) => Error::no_connection(error.as_ref(), late),
            _ => Error::no_room(&state.peer, late),
        }
    }

    /// Asks for a connection, though no call waits for it.
    pub(super) fn connect_in_background(self: &Arc<Self>) {
        // Without a runtime, the call fails over the other connection.
        drop(self.request_connection());
    }

    /// Asks for a connection, if there is none: wakes the task that makes it, and starts the task if that does not run.
    pub(super) fn request_connection(self: &Arc<Self>) -> Result<()> {
        let Some(connector) = &self.connector else {
            return Ok(());
        };
        let mut state = self.lock();
        state.is_wanted = !matches!(state.link, Link::Connected { .. });
        let is_off = matches!(state.link, Link::Off);
        if is_off {
            inside_runtime("call()", Instead::Nothing)?;
            state.link = Link::Disconnected(None);
        }
        drop(state);
        let task = || Reconnector::new(Arc::clone(self), Arc::clone(connector)).spawn(None);
        if is_off && task().is_finished() {
            // A runtime that ends has dropped the task.
            return Err(Error::outside_runtime("call()", ""));
        }
        self.wanted.notify_one();
        Ok(())
    }

    /// Adds a subscriber, and makes a connection for it, if there is none.
    pub(super) fn add_subscriber(self: &Arc<Self>, subscriber: &Arc<Subscriber>) {
        self.hub.add(subscriber);
        let fault = match &self.lock().link {
            Link::Closed(fault) => Some(Arc::clone(fault)),
            _ => None,
        };
        match fault {
            Some(_) => subscriber.close(fault),
            None => self.connect_in_background(),
        }
    }

    /// Locks the state. No foreign code may run meanwhile, except a [`Framing`]. Wakers are foreign code, also when
    /// they are cloned or dropped.
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
        let is_offer = self.room.is_awaited() && state.has_room(&self.options);
        drop(state);
        if is_offer {
            self.room.offer();
        }
    }
}

impl<F: Framing> SubchannelState<F> {
    /// Tells the server that a request is no longer wanted, for a framing with ids. The server answers it all the same.
    #[cold]
    pub(super) fn cancel(&mut self, slot: u32) {
        self.calls.note_cancel(slot);
        self.notice(slot, Notice::Cancel);
    }

    /// Ends the wait of a call, whose reply is still to come, and cancels its request.
    #[cold]
    pub(super) fn fail_and_cancel(
        &mut self,
        slot: u32,
        failure: Box<Failure>,
        wakers: &mut Vec<Waker>,
    ) {
        if self.calls.fail(slot, failure, wakers) && F::HAS_IDS {
            self.cancel(slot);
        }
    }

    /// Counts a tick, and ends the calls that are late. `limit` is the reply timeout. Returns `None` if calls are late and
    /// nothing at all has arrived.
    pub(super) fn tick(&mut self, limit: Duration, wakers: &mut Vec<Waker>) -> Option<Tick> {
        let mut late = Vec::new();
        let Self { calls, peer, .. } = self;
        let timed_out = |slot| {
            late.push(slot);
            Error::reply_timed_out(peer, Late::reply_timeout(limit))
        };
        if !calls.tick(wakers, timed_out) {
            return None;
        }
        let has_cancelled = F::HAS_IDS && !late.is_empty();
        if has_cancelled {
            for slot in late {
                self.cancel(slot);
            }
        }
        Some(Tick {
            has_cancelled,
            overdue: if F::HAS_IDS { self.calls.overdue() } else { 0 },
            is_idle: self.calls.len() == 0,
        })
    }

    /// Queues a notice about a request.
    #[cold]
    pub(super) fn notice(&mut self, slot: u32, notice: Notice) {
        let framing = self.framing.get_mut();
        framing.set_id(slot + 1);
        self.queue.notice(framing, notice);
    }
}

impl<F> SubchannelState<F> {
    #[inline]
    pub(super) fn has_room(&self, options: &ConnectOptions) -> bool {
        matches!(self.link, Link::Connected { .. })
            && self.calls.len() < options.max_in_flight
            && self.queue.unsent() < MAX_QUEUED
    }

    /// Sets the state of the connection, unless the channel was dropped. Returns what must be dropped without the lock: an
    /// error may have a value of the user's type.
    pub(super) fn set_link(&mut self, link: Link) -> Link {
        match self.link {
            Link::Released => link,
            _ => replace(&mut self.link, link),
        }
    }

    /// Takes no more requests. The driver ends once all calls are answered.
    pub(super) fn end(&mut self) {
        if let Link::Connected { .. } = self.link {
            self.link = Link::Ending(None);
        }
    }

    /// Returns `true` if a request of a protocol with a greeting can be sent.
    pub(super) const fn is_greeted(&self) -> bool {
        matches!(self.link, Link::Connected { is_greeted: true })
    }

    /// Returns the error of a request that cannot be sent now, unless it can wait.
    #[cold]
    pub(super) fn check_waiting(&self, has_greeting: bool) -> Result<()> {
        match &self.link {
            Link::Connected { is_greeted: false } if has_greeting => Err(Error::not_greeted()),
            Link::Rejected(error) => Err(Error::not_connected(error)),
            Link::Closed(fault) => Err(fault.later_error(&self.peer)),
            _ => Ok(()),
        }
    }

    /// Returns `true` if no call is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.oldest().is_none() && self.queue.unsent() == 0
    }

    /// Returns why the driver must end, if it must.
    pub(super) fn end_reason(&self) -> Option<Arc<Fault>> {
        let reason = match &self.link {
            Link::Connected { .. } => return None,
            Link::Ending(Some(fault)) => return Some(Arc::clone(fault)),
            _ if self.calls.oldest().is_some() => return None,
            Link::Released => "all its clones were dropped",
            _ => "it is replaced by another connection",
        };
        Some(Fault::Broken(reason).into())
    }
}

#[cfg(test)]
mod tests;
