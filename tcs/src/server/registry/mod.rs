//! All open connections of a server: their limits, their numbers, and how they are told to end.
//!
//! A connection has no timer. It writes into its slot until when it is willing to wait, which costs
//! a store, and a sweep over all slots, several times in the shortest limit, wakes those whose time
//! is over. Time is therefore coarse: a limit ends up to three sweeps late, never early.
//!
//! The clock stands still while the sweeper cannot run, because something blocks its thread: peers
//! could do nothing in that time that anyone would have seen.

use std::{
    num::NonZero,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    report::{Connections, Report, Requests, Tally},
    settings::Limit,
};
use crate::race::{Either, race, until};

mod watch;

pub(super) use watch::{Alarm, Signals, Watch};

/// The open connections of one server.
#[derive(Debug)]
pub(super) struct Registry {
    open: Mutex<Open>,
    /// Told whenever a connection opens or ends.
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
    /// What every connection was told, and those to come will be.
    signals: u8,
}

/// What the registry and one connection share.
#[derive(Debug)]
struct Slot {
    /// Where it stands among the slots; it is looked at under their lock.
    place: AtomicUsize,
    /// The millisecond at which the connection stops to wait.
    deadline: AtomicU64,
    signals: AtomicU8,
    waker: Mutex<Waker>,
    tally: Tally,
}

/// Finish what is in flight, and close.
const DRAIN: u8 = 1;
/// The deadline seems to be over.
const EXPIRED: u8 = 2;
/// End at once.
const CUT: u8 = 4;

const NEVER: u64 = u64::MAX;

/// Milliseconds for which the sweeper ran, and one: an optional time is then no larger.
pub(super) type Time = NonZero<u64>;

/// The time before the first sweep.
const START: u64 = 1;

/// By so many ticks the clock advances in a sweep at most, and may be behind.
const SLACK: u64 = 2;

impl Registry {
    /// A registry whose sweeps suit limits of `shortest` and longer.
    pub(super) fn new(shortest: Limit) -> Arc<Self> {
        // A twelfth, of which a limit may be three late, is precise enough for the shortest limit;
        // the bounds keep the sweeps rare, and the second of a started frame in a drain precise.
        let tick = (shortest.milliseconds() / 12).clamp(1, 83);
        Arc::new(Self {
            open: Mutex::default(),
            changed: Notify::new(),
            now: AtomicU64::new(START),
            tick,
            slack: tick * SLACK,
        })
    }

    /// Enters a new connection.
    pub(super) fn open(self: &Arc<Self>) -> Watch {
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
        Watch::new(Arc::clone(self), slot, id)
    }

    /// Runs `future`, with sweeps beside it for as long as connections are open.
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
            let late = self.lock().raise(EXPIRED, now);
            wake(late);
        }
    }

    /// Tells all connections to finish; waits until they have, or `hurry` is over and they are cut.
    ///
    /// Returns the final report. A function that blocks its thread cannot be cut; it is reported
    /// and left behind.
    pub(super) async fn drain(&self, hurry: impl Future) -> Report {
        /// How long the connections have to end after they were cut.
        const GRACE: Duration = Duration::from_secs(1);
        self.raise(DRAIN);
        let is_empty = || self.lock().slots.is_empty();
        let mut emptied = pin!(until(&self.changed, &is_empty));
        if let Either::Second(_) = race(emptied.as_mut(), pin!(hurry)).await {
            self.raise(CUT);
            race(emptied, pin!(tokio::time::sleep(GRACE))).await;
        }
        self.report()
    }

    /// Ends all connections at once.
    pub(super) fn cut(&self) {
        self.raise(CUT);
    }

    /// Tells all connections that are open, and those to come.
    fn raise(&self, signal: u8) {
        let mut open = self.lock();
        open.signals |= signal;
        let wakers = open.raise(signal, NEVER);
        drop(open);
        wake(wakers);
    }

    /// Returns the sums so far; the connections that are open count as cut.
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
    /// Tells the connections whose deadlines are not later than that; returns what wakes them, once
    /// the lock is free: wakers are foreign code, which might end connections.
    #[must_use]
    fn raise(&self, signal: u8, latest: u64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for slot in &self.slots {
            if slot.deadline.load(Ordering::Relaxed) <= latest {
                wakers.push(slot.raise(signal));
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
    fn raise(&self, signal: u8) -> Waker {
        self.signals.fetch_or(signal, Ordering::AcqRel);
        self.waker().clone()
    }

    fn waker(&self) -> MutexGuard<'_, Waker> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
