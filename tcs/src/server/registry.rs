//! The open connections of a server: their deadlines, their counters, and how they are stopped.
//!
//! A connection has no timer. It stores its deadline in its slot, which is one store, and a sweep over
//! all slots wakes the connections whose deadline has passed. A sweep runs at least twelve times in the
//! shortest limit, so a limit ends up to three sweeps late, and never early. A timer for each wait would
//! cost 400 to 950 instructions.
//!
//! The clock stands still while the sweeper cannot run because something blocks its thread: no peer
//! could have been served in that time.

use std::{
    num::NonZero,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    config::{Limit, Limits},
    report::{Connections, Report, Requests, Tally},
};
use crate::race::{Either, race, until};

/// The open connections of one server.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    open: Mutex<Open>,
    /// Notified whenever a connection opens or ends.
    changed: Notify,
    /// The time of the last sweep.
    now: AtomicU64,
    /// Milliseconds between two sweeps.
    tick: u64,
    /// Milliseconds that the clock may be behind.
    slack: u64,
}

#[derive(Debug, Default)]
struct Open {
    slots: Vec<Arc<Slot>>,
    accepted: u64,
    closed: u64,
    cut: u64,
    requests: Requests,
    /// The signals of all connections, also of those that open later.
    signals: u8,
}

/// What the registry and one connection share.
#[derive(Debug)]
struct Slot {
    /// Its index among the slots; used under their lock.
    place: AtomicUsize,
    /// The millisecond at which the connection stops waiting.
    deadline: AtomicU64,
    signals: AtomicU8,
    waker: Mutex<Waker>,
    tally: Tally,
}

/// Signal: finish the requests in flight and close.
const DRAIN: u8 = 1;
/// Signal: the deadline may have passed.
const EXPIRED: u8 = 2;
/// Signal: end at once.
const ABORT: u8 = 4;

const NEVER: u64 = u64::MAX;

/// Milliseconds for which the sweeper ran, plus one, so that an `Option` of it is no larger.
pub(super) type Time = NonZero<u64>;

/// When a connection stops waiting, by the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(u64);

/// Why a connection stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The deadline has passed.
    Expired,
    /// The server drains: it finishes the requests in flight.
    Draining,
    /// The server ends at once.
    Aborted,
}

/// The time before the first sweep.
const START: u64 = 1;

/// The most ticks that the clock advances in one sweep, and that it may be behind.
const SLACK: u64 = 2;

impl Registry {
    /// Creates a registry for connections with these limits.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        // A limit ends up to three ticks late: a quarter of the shortest one. The bounds keep sweeps
        // rare, and the second that a started frame has in a drain precise.
        let tick = (limits.shortest().milliseconds() / 12).clamp(1, 83);
        Arc::new(Self {
            limits,
            open: Mutex::default(),
            changed: Notify::new(),
            now: AtomicU64::new(START),
            tick,
            slack: tick * SLACK,
        })
    }

    /// Registers a new connection.
    pub(super) fn register(self: &Arc<Self>) -> Registration {
        let mut open = self.lock();
        open.accepted += 1;
        let id = open.accepted;
        let slot = Arc::new(Slot {
            place: open.slots.len().into(),
            deadline: AtomicU64::new(NEVER),
            signals: AtomicU8::new(open.signals),
            waker: Mutex::new(Waker::noop().clone()),
            tally: Tally::default(),
        });
        open.slots.push(Arc::clone(&slot));
        drop(open);
        self.changed.notify_waiters();
        Registration {
            registry: Arc::clone(self),
            slot,
            waker: Waker::noop().clone(),
            id,
        }
    }

    /// Runs `future`, and sweeps beside it while connections are open.
    pub(super) async fn sweeping<F: Future>(&self, future: F) -> F::Output {
        match race(pin!(future), pin!(self.sweep())).await {
            Either::First(output) => output,
            Either::Second(never) => match never {},
        }
    }

    async fn sweep(&self) -> std::convert::Infallible {
        let tick = Duration::from_millis(self.tick);
        let slack = Duration::from_millis(self.slack);
        let (mut clock, mut last) = (Duration::ZERO, Instant::now());
        let is_needed = || !self.lock().slots.is_empty();
        loop {
            if !is_needed() {
                until(&self.changed, &is_needed).await;
                last = Instant::now();
            }
            tokio::time::sleep(tick).await;
            let passed = last.elapsed();
            last += passed;
            clock += passed.min(slack);
            let now = START + milliseconds(clock);
            self.now.store(now, Ordering::Relaxed);
            let late = self.lock().signal(EXPIRED, now);
            wake(late);
        }
    }

    /// Has all connections finish; aborts those that are left when `hurry` is ready.
    ///
    /// Returns the final report. A function that blocks its thread cannot be aborted; it is reported
    /// and left behind.
    pub(super) async fn drain(&self, hurry: impl Future) -> Report {
        /// How long aborted connections have to end.
        const GRACE: Duration = Duration::from_secs(1);
        self.signal(DRAIN);
        let is_empty = || self.lock().slots.is_empty();
        let mut emptied = pin!(until(&self.changed, &is_empty));
        if let Either::Second(_) = race(emptied.as_mut(), pin!(hurry)).await {
            self.signal(ABORT);
            race(emptied, pin!(tokio::time::sleep(GRACE))).await;
        }
        self.report()
    }

    /// Ends all connections at once.
    pub(super) fn abort(&self) {
        self.signal(ABORT);
    }

    /// Signals all connections, also those that open later.
    fn signal(&self, signal: u8) {
        let mut open = self.lock();
        open.signals |= signal;
        let wakers = open.signal(signal, NEVER);
        drop(open);
        wake(wakers);
    }

    /// Returns the sums so far; open connections count as cut.
    pub(super) fn report(&self) -> Report {
        let open = self.lock();
        let mut requests = open.requests;
        for slot in &open.slots {
            requests += slot.tally.requests();
        }
        Report {
            requests,
            connections: Connections {
                accepted: open.accepted,
                closed: open.closed,
                cut: open.cut + open.slots.len() as u64,
            },
        }
    }

    /// No code panics while it holds the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Signals the connections whose deadline is at most `latest`.
    ///
    /// Returns their wakers, to be called without the lock: they are foreign code, which might end
    /// connections.
    #[must_use]
    fn signal(&self, signal: u8, latest: u64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for slot in &self.slots {
            if slot.deadline.load(Ordering::Relaxed) <= latest {
                wakers.push(slot.signal(signal));
            }
        }
        wakers
    }

    /// Removes a slot; the last one takes its place.
    fn remove(&mut self, slot: &Slot) {
        let place = slot.place.load(Ordering::Relaxed);
        if let Some(last) = self.slots.pop()
            && let Some(removed) = self.slots.get_mut(place)
        {
            last.place.store(place, Ordering::Relaxed);
            *removed = last;
        }
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

impl Slot {
    #[must_use]
    fn signal(&self, signal: u8) -> Waker {
        self.signals.fetch_or(signal, Ordering::AcqRel);
        self.waker().clone()
    }

    fn waker(&self) -> MutexGuard<'_, Waker> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the registry; dropping it says that the connection has ended.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    slot: Arc<Slot>,
    /// The waker that the slot has.
    waker: Waker,
    id: u64,
}

impl Registration {
    /// Returns the number of this connection, the first being 1.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.slot.tally
    }

    #[inline]
    pub(super) fn limits(&self) -> &Limits {
        &self.registry.limits
    }

    /// Returns the coarse time.
    #[inline]
    pub(super) fn now(&self) -> Time {
        let now = self.registry.now.load(Ordering::Relaxed);
        NonZero::new(now).unwrap_or(NonZero::<u64>::MIN)
    }

    /// Returns when a limit that began at `began` ends.
    #[inline]
    pub(super) fn deadline(&self, began: Time, limit: Limit) -> Deadline {
        // The clock may be behind; a limit must not end early for it.
        let deadline = began.get() + self.registry.slack;
        Deadline(deadline.saturating_add(limit.milliseconds()))
    }

    #[inline]
    pub(super) fn has_passed(&self, deadline: Deadline) -> bool {
        deadline.0 <= self.now().get()
    }

    /// Returns `true` if the server drains or ends.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.slot.signals.load(Ordering::Relaxed) & (DRAIN | ABORT) != 0
    }

    /// Returns why the connection must not wait until `deadline`, if so; otherwise has its task woken
    /// when it must stop waiting.
    #[inline]
    pub(super) fn poll_stop(&mut self, deadline: Deadline, cx: &Context<'_>) -> Option<StopReason> {
        self.slot.deadline.store(deadline.0, Ordering::Relaxed);
        if !self.waker.will_wake(cx.waker()) {
            self.set_waker(cx.waker());
        }
        // Acquire pairs with `signal`: a signal from before the waker was set is seen here.
        match self.slot.signals.load(Ordering::Acquire) {
            0 => None,
            signals => self.stop_reason(signals, deadline),
        }
    }

    /// Stores the waker in the slot, which happens once for most tasks.
    #[cold]
    fn set_waker(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
        self.slot.waker().clone_from(waker);
    }

    #[cold]
    fn stop_reason(&self, signals: u8, deadline: Deadline) -> Option<StopReason> {
        if signals & ABORT != 0 {
            return Some(StopReason::Aborted);
        }
        if signals & EXPIRED != 0 {
            self.slot.signals.fetch_and(!EXPIRED, Ordering::AcqRel);
            // The sweep may have seen an earlier deadline.
            if self.has_passed(deadline) {
                return Some(StopReason::Expired);
            }
        }
        (signals & DRAIN != 0).then_some(StopReason::Draining)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        open.remove(&self.slot);
        open.requests += self.slot.tally.requests();
        if self.slot.signals.load(Ordering::Relaxed) & ABORT == 0 {
            open.closed += 1;
        } else {
            open.cut += 1;
        }
        drop(open);
        self.registry.changed.notify_waiters();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
