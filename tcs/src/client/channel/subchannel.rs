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
    connector::{BoxFuture, Connector},
    hub::EventHub,
    penalty::Penalty,
    slots::{Failure, Slots},
    state::ChannelStats,
    waiting::Room,
};
use crate::{
    Error, Peer, Result,
    framing::{ConnectionFraming, Framing, Notice},
    panics::{lock, panic_text},
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
    pub(super) slots: Slots,
    /// The waker of the driver, if it waits for a request.
    pub(super) driver: Option<Waker>,
    pub(super) link: Link,
    /// The number of connections so far, this one included.
    pub(super) generation: u64,
    /// Whether somebody would use the next connection. It ends with an attempt to connect.
    pub(super) is_wanted: bool,
    /// The server's end of the connection, or of the last one.
    pub(super) peer: Peer,
    /// What recent failures count for. It outlives the connection: the next one is to the same server, or as good as any.
    penalty: Penalty,
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
                slots: Slots::new(ticks, is_limited),
                driver: None,
                link: Link::Off,
                generation: 0,
                is_wanted: false,
                peer: Peer::unnamed(),
                penalty: Penalty::default(),
            }),
        }
    }

    /// Lets callers send their requests over `connection`. Returns its wire, for the driver.
    pub(super) fn attach(&self, connection: Connection<F>) -> Wire {
        let is_greeted = !connection.is_fresh();
        let Connection {
            wire,
            framing,
            peer,
            ..
        } = connection;
        let addr = peer.addr();
        let mut state = self.lock();
        debug_assert!(
            state.slots.oldest().is_none(),
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
            lock(&connector.servers).add(addr);
        }
        self.stats.note_connected();
        self.hub.note_connected(generation);
        wire
    }

    /// Fails all calls, after the wire was closed. Those to come wait for another connection, or fail too.
    pub(super) fn detach(&self, fault: &Arc<Fault>, wire: &Wire, wakers: &mut Vec<Waker>) {
        if let Some(connector) = &self.connector {
            let addr = self.peer().addr();
            lock(&connector.servers).remove(addr);
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
            slots, queue, peer, ..
        } = &mut *guard;
        while let Some(oldest) = slots.oldest() {
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
            slots.complete::<F>(
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

    /// Returns how many calls are in flight, and what recent failures count for, or `None` if there is no connection.
    pub(super) fn load(&self) -> Option<usize> {
        let mut state = self.lock();
        let is_connected = matches!(state.link, Link::Connected { .. });
        is_connected.then(|| state.slots.len() + state.penalty.load())
    }

    /// Notes that the server is in trouble.
    #[cold]
    pub(super) fn add_penalty(&self) {
        self.lock().penalty.add();
    }

    /// Returns `true` if a call would use the connection, or if somebody receives its events.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().is_wanted || self.hub.has_subscribers()
    }

    /// Returns the server's end of the connection, or of the last one.
    pub(super) fn peer(&self) -> Peer {
        self.lock().peer.clone()
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
        self.slots.note_cancel(slot);
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
        if self.slots.fail(slot, failure, wakers) && F::HAS_IDS {
            self.cancel(slot);
        }
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
            && self.slots.len() < options.max_in_flight
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
        self.slots.oldest().is_none() && self.queue.unsent() == 0
    }

    /// Returns why the driver must end, if it must.
    pub(super) fn end_reason(&self) -> Option<Arc<Fault>> {
        let reason = match &self.link {
            Link::Connected { .. } => return None,
            Link::Ending(Some(fault)) => return Some(Arc::clone(fault)),
            _ if self.slots.oldest().is_some() => return None,
            Link::Released => "all its clones were dropped",
            _ => "it is replaced by another connection",
        };
        Some(Fault::Broken(reason).into())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::{Context, Wake},
    };

    use tokio::io::AsyncWriteExt as _;

    use super::super::{driver::Driver, pool::Pool};
    use super::*;
    use crate::{
        Channel,
        framing::{LengthPrefixed, Multiplexed},
    };

    /// A waker whose drop runs code that would wait for the lock for ever.
    struct Waiter {
        subchannel: Arc<Subchannel<LengthPrefixed>>,
        dropped: Arc<AtomicUsize>,
    }

    impl Wake for Waiter {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Waiter {
        fn drop(&mut self) {
            drop(self.subchannel.state.try_lock().expect("it is not locked"));
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The waker of a driver that looks whether the state is locked when it is woken.
    struct DriverTask {
        subchannel: Arc<Subchannel<Multiplexed>>,
        wakes: AtomicUsize,
        /// How many of them were under the lock.
        locked: AtomicUsize,
    }

    impl Wake for DriverTask {
        fn wake(self: Arc<Self>) {
            let is_locked = self.subchannel.state.try_lock().is_err();
            self.locked.fetch_add(is_locked.into(), Relaxed);
            self.wakes.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn driver_is_woken_without_the_lock_when_a_call_is_late() {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let (stats, room) = (Arc::new(ChannelStats::new(None)), Room::default());
        let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
        let subchannel = Subchannel::new(options.clone(), 0, Arc::clone(&stats), room, None);
        let subchannel = Arc::new(subchannel);
        let mut driver = pin!(Driver::attach(&subchannel, Connection::over(near)).run());
        let channel = Channel::over(Pool::new([Arc::clone(&subchannel)], stats, options));
        let task = Arc::new(DriverTask {
            subchannel,
            wakes: AtomicUsize::new(0),
            locked: AtomicUsize::new(0),
        });
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let mut call = pin!(channel.reply_to_bytes(false, b"x"));
        let mut is_late = false;
        for _ in 0..12 {
            // A notice that is unknown, so that the server is not silent.
            let notice = b"\x80\0\0\x01\0\0\0\0\xff";
            far.write_all(notice).await.expect("it is open");
            assert!(driver.as_mut().poll(&mut cx).is_pending());
            is_late |= call.as_mut().poll(&mut cx).is_ready();
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(driver.as_mut().poll(&mut cx).is_pending());
            if is_late {
                break;
            }
        }
        assert!(is_late);
        assert_ne!(task.wakes.load(Relaxed), 0);
        assert_eq!(task.locked.load(Relaxed), 0);
    }

    #[test]
    fn waker_of_a_former_poll_is_dropped_without_the_lock() {
        let (near, _far) = tokio::io::duplex(64);
        let (stats, room) = (Arc::new(ChannelStats::new(None)), Room::default());
        let options = ConnectOptions::new();
        let subchannel = Subchannel::new(options.clone(), 0, Arc::clone(&stats), room, None);
        let subchannel = Arc::new(subchannel);
        let _wire = subchannel.attach(Connection::over(near));
        let channel = Channel::over(Pool::new([Arc::clone(&subchannel)], stats, options));
        let dropped = Arc::new(AtomicUsize::new(0));
        {
            let mut call = pin!(channel.reply_to_bytes(false, b"x"));
            for number in 0..3 {
                let waker = Waker::from(Arc::new(Waiter {
                    subchannel: Arc::clone(&subchannel),
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
