//! The open connections of a server: deadlines, counters and flags.
//!
//! A connection has no timer. It stores its deadline in its slot, which costs one store. A sweep
//! over all slots wakes the connections whose deadline has passed. It runs at least twelve times
//! per the shortest limit, but not more than once per millisecond. So a limit ends up to three sweeps
//! late, and never early. A timer for each wait would cost 400 to 950 instructions
//! (decision 007).
//!
//! The clock stops while something blocks the sweeper's thread: no peer could have been served in
//! that time.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    config::{Limit, Limits},
    report::{Report, Tally},
};
use crate::runtime::wait_until;

/// The open connections of one server.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    inner: Mutex<Inner>,
    /// Notified whenever a connection opens or ends.
    changed: Notify,
    /// How many milliseconds the sweeper had run at its last sweep.
    now: AtomicU64,
    /// Milliseconds between two sweeps.
    tick: u64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Keyed by connection number.
    slots: BTreeMap<u64, Arc<Slot>>,
    /// The totals of the ended connections, and the number of accepted ones.
    totals: Report,
    /// The flags set for all connections, including those that open later.
    flags: u8,
}

/// The state shared by the registry and one connection.
#[derive(Debug)]
struct Slot {
    /// The time in milliseconds at which the connection stops waiting.
    deadline: AtomicU64,
    flags: AtomicU8,
    waker: Mutex<Waker>,
    tally: Tally,
}

/// Flag: finish the requests in flight and close.
const DRAIN: u8 = 1;
/// Flag: the deadline may have passed.
const EXPIRED: u8 = 2;
/// Flag: end at once.
const ABORT: u8 = 4;

/// The time in milliseconds at which a wait began; see [`Registration::now`]. It is never 0, so that an `Option` of
/// it is no larger.
pub(super) type Millis = NonZero<u64>;

/// The time in milliseconds at which a connection stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(u64);

impl Deadline {
    /// Later than any other.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Returns the end of a limit that began at `began`.
    #[inline]
    pub(super) const fn after(began: Millis, limit: Limit) -> Self {
        Self(began.get()).plus(limit)
    }

    /// Returns the end of a limit that begins at this deadline.
    #[inline]
    pub(super) const fn plus(self, limit: Limit) -> Self {
        Self(self.0.saturating_add(limit.as_millis()))
    }
}

/// Why a connection is woken while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// The deadline has passed.
    Expired,
    /// The server ends at once.
    Aborted,
}

/// The maximum number of ticks by which the clock advances per sweep, and by which it may lag.
const SLACK: u32 = 2;

impl Registry {
    /// Creates a registry for connections with these limits.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        // A limit ends up to three ticks late, which is a quarter of the shortest limit, or 3 ms. The
        // bounds keep sweeps rare, and the second that a drain gives a started frame precise.
        let tick = (limits.shortest().as_millis() / 12).clamp(1, 83);
        Arc::new(Self {
            limits,
            inner: Mutex::default(),
            changed: Notify::new(),
            now: AtomicU64::new(0),
            tick,
        })
    }

    /// Registers a new connection.
    pub(super) fn register(self: &Arc<Self>) -> Registration {
        let mut inner = self.lock();
        inner.totals.connections.accepted += 1;
        let id = inner.totals.connections.accepted;
        let slot = Arc::new(Slot {
            deadline: AtomicU64::new(Deadline::NEVER.0),
            flags: AtomicU8::new(inner.flags),
            waker: Mutex::new(Waker::noop().clone()),
            tally: Tally::default(),
        });
        inner.slots.insert(id, Arc::clone(&slot));
        drop(inner);
        self.changed.notify_waiters();
        Registration {
            registry: Arc::clone(self),
            slot,
            waker: Waker::noop().clone(),
            id,
        }
    }

    /// Runs `future`, and sweeps meanwhile if connections are open.
    pub(super) async fn sweeping<F: Future>(&self, future: F) -> F::Output {
        tokio::select! {
            biased;
            output = future => output,
            never = self.sweep() => match never {},
        }
    }

    async fn sweep(&self) -> Infallible {
        let tick = Duration::from_millis(self.tick);
        let mut clock = Duration::ZERO;
        loop {
            wait_until(&self.changed, || !self.lock().slots.is_empty()).await;
            let began = Instant::now();
            sleep(tick).await;
            clock += began.elapsed().min(tick * SLACK);
            let now = u64::try_from(clock.as_millis()).unwrap_or(u64::MAX);
            self.now.store(now, Ordering::Relaxed);
            self.set_flag(EXPIRED, now);
        }
    }

    /// Signals all connections to finish, and aborts the rest when `abort` is ready.
    ///
    /// Returns the final report. A function that blocks its thread cannot be aborted. Its request
    /// is reported as aborted, and the function runs on.
    pub(super) async fn drain(&self, abort: impl Future) -> Report {
        /// How long aborted connections have to end.
        const GRACE: Duration = Duration::from_secs(1);
        self.set_flag_for_all(DRAIN);
        let is_empty = || self.lock().slots.is_empty();
        tokio::select! {
            biased;
            () = wait_until(&self.changed, is_empty) => {}
            _ = abort => {
                self.abort();
                // Connections that are still open after the grace period are in the report.
                let _: Result<(), _> = timeout(GRACE, wait_until(&self.changed, is_empty)).await;
            }
        }
        self.report()
    }

    /// Ends all connections at once.
    pub(super) fn abort(&self) {
        self.set_flag_for_all(ABORT);
    }

    /// Sets a flag for all connections, including those that open later.
    fn set_flag_for_all(&self, flag: u8) {
        self.lock().flags |= flag;
        self.set_flag(flag, u64::MAX);
    }

    /// Sets a flag for the connections whose deadline is at most `latest`.
    fn set_flag(&self, flag: u8, latest: u64) {
        let mut reached = Vec::new();
        for slot in self.lock().slots.values() {
            if slot.deadline.load(Ordering::Relaxed) <= latest {
                slot.flags.fetch_or(flag, Ordering::AcqRel);
                reached.push(Arc::clone(slot));
            }
        }
        // The lock is released first: wakers are foreign code, which might end connections.
        for slot in reached {
            let waker = slot.waker().clone();
            waker.wake();
        }
    }

    /// Returns the totals so far. Open connections count as aborted.
    pub(super) fn report(&self) -> Report {
        let inner = self.lock();
        let mut report = inner.totals;
        report.connections.aborted += inner.slots.len() as u64;
        for slot in inner.slots.values() {
            report.requests += slot.tally.requests();
        }
        report
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn waker(&self) -> MutexGuard<'_, Waker> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the registry. Dropping it removes the connection.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    slot: Arc<Slot>,
    /// A copy of the waker in the slot.
    waker: Waker,
    id: u64,
}

impl Registration {
    /// Returns the number of this connection. The first is 1.
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

    /// Returns the time for a wait that begins now.
    ///
    /// It is the latest that it can be, because the clock may lag, and a limit must not end early because of that.
    #[inline]
    pub(super) fn now(&self) -> Millis {
        let now = self.registry.now.load(Ordering::Relaxed);
        let latest = now + self.registry.tick * u64::from(SLACK);
        NonZero::new(latest).unwrap_or(Millis::MIN)
    }

    /// Returns `true` if the deadline had passed at the last sweep.
    #[inline]
    pub(super) fn has_passed(&self, deadline: Deadline) -> bool {
        deadline.0 <= self.registry.now.load(Ordering::Relaxed)
    }

    /// Returns `true` if the server ends at once.
    pub(super) fn is_aborted(&self) -> bool {
        self.slot.flags.load(Ordering::Relaxed) & ABORT != 0
    }

    /// Returns `true` if the server drains or ends.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.slot.flags.load(Ordering::Relaxed) & (DRAIN | ABORT) != 0
    }

    /// Ready when the connection must stop waiting. Otherwise its task is woken when it must, and when
    /// the server drains.
    ///
    /// Each `Pending` of a connection must pass through here, or the wait has no limit and no abort. The
    /// exceptions are two yields: of a spent budget, after which `Io::resume` checks for an abort, and
    /// before an idle connection closes.
    #[inline]
    pub(super) fn poll_deadline(&mut self, deadline: Deadline, cx: &Context<'_>) -> Poll<Wakeup> {
        self.slot.deadline.store(deadline.0, Ordering::Relaxed);
        if !self.waker.will_wake(cx.waker()) {
            self.set_waker(cx.waker());
        }
        // Acquire pairs with `set_flag`: a flag set before the waker was set is visible here.
        match self.slot.flags.load(Ordering::Acquire) {
            0 => Poll::Pending,
            flags => self.poll_flags(flags, deadline),
        }
    }

    /// Stores the waker in the slot. For most tasks this happens once.
    #[cold]
    fn set_waker(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
        self.slot.waker().clone_from(waker);
    }

    #[cold]
    fn poll_flags(&self, flags: u8, deadline: Deadline) -> Poll<Wakeup> {
        if flags & ABORT != 0 {
            return Poll::Ready(Wakeup::Aborted);
        }
        if flags & EXPIRED != 0 {
            self.slot.flags.fetch_and(!EXPIRED, Ordering::AcqRel);
            // The sweep may have read an earlier deadline.
            if self.has_passed(deadline) {
                return Poll::Ready(Wakeup::Expired);
            }
        }
        Poll::Pending
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        inner.slots.remove(&self.id);
        inner.totals.requests += self.slot.tally.requests();
        if self.slot.flags.load(Ordering::Relaxed) & ABORT == 0 {
            inner.totals.connections.closed += 1;
        } else {
            inner.totals.connections.aborted += 1;
        }
        drop(inner);
        self.registry.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        pin::pin,
        sync::atomic::AtomicUsize,
        task::Wake,
    };

    use super::{
        super::config::{Concurrent, Settings},
        *,
    };

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn registry() -> Arc<Registry> {
        Registry::new(Settings::new::<Concurrent>().limits)
    }

    /// Sweeps as if `now` had come.
    fn sweep_at(registry: &Registry, now: u64) {
        registry.now.store(now, Ordering::Relaxed);
        registry.set_flag(EXPIRED, now);
    }

    #[test]
    fn connection_is_woken_when_its_deadline_has_passed() {
        let (registry, woken) = (registry(), Arc::new(Woken::default()));
        let mut registration = registry.register();
        let waker = Arc::clone(&woken).into();
        let cx = Context::from_waker(&waker);
        let deadline = Deadline(1_000);
        assert!(registration.poll_deadline(deadline, &cx).is_pending());
        sweep_at(&registry, 999);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        sweep_at(&registry, 1_000);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let stop = registration.poll_deadline(deadline, &cx);
        assert_eq!(stop, Poll::Ready(Wakeup::Expired));
    }

    #[test]
    fn deadline_that_has_moved_since_the_sweep_has_not_passed() {
        let registry = registry();
        let mut registration = registry.register();
        let cx = Context::from_waker(Waker::noop());
        assert!(
            registration
                .poll_deadline(Deadline(1_000), &cx)
                .is_pending()
        );
        sweep_at(&registry, 1_000);
        let moved = Deadline(2_000);
        assert!(registration.poll_deadline(moved, &cx).is_pending());
        // The flag is not set again before the new deadline has passed.
        sweep_at(&registry, 1_999);
        assert!(registration.poll_deadline(moved, &cx).is_pending());
        sweep_at(&registry, 2_000);
        let stop = registration.poll_deadline(moved, &cx);
        assert_eq!(stop, Poll::Ready(Wakeup::Expired));
    }

    #[tokio::test(start_paused = true)]
    async fn aborted_connections_have_a_second_to_end() {
        let registry = registry();
        let _blocked = registry.register();
        let began = Instant::now();
        let report = registry.drain(ready(())).await;
        let waited = began.elapsed().as_millis();
        assert!((1_000..1_010).contains(&waited), "{waited}");
        assert_eq!(report.connections.aborted, 1);
    }

    #[test]
    fn drain_that_began_before_the_waker_was_set_is_visible_after() {
        let (registry, woken) = (registry(), Arc::new(Woken::default()));
        let mut registration = registry.register();
        let waker = Arc::clone(&woken).into();
        let cx = Context::from_waker(&waker);
        let mut drain = pin!(registry.drain(pending::<()>()));
        assert!(
            drain
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert!(
            registration
                .poll_deadline(Deadline::NEVER, &cx)
                .is_pending()
        );
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(registration.is_draining() && !registration.is_aborted());
        // A later flag finds the waker.
        registry.abort();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let stop = registration.poll_deadline(Deadline::NEVER, &cx);
        assert_eq!(stop, Poll::Ready(Wakeup::Aborted));
    }
}
