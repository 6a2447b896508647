//! The open connections of a server: deadlines, counters and flags.
//!
//! A connection has no timer. It stores its deadline in its entry, which costs one store. A sweep
//! over all entries wakes the connections whose deadline has passed. Sweeps run at least twelve times
//! per the shortest limit, but not more than once per millisecond. So a limit ends up to three sweeps
//! late, and never early. A timer for each wait would cost 400 to 950 instructions
//! (decision 007).
//!
//! The clock stops while something blocks the sweeper's thread: no peer could have been served in
//! that time.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, task::Waker, time::Duration};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    limits::Limits,
    log_limiter::LogLimiter,
    probe::SchedulerProbe,
    report::Report,
    tally::EventTally,
    time::{Deadline, Limit},
};
use crate::{
    buffer::MemoryBudget,
    context::ServerContext,
    panics::lock,
    runtime::wait_until,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

mod entry;
#[cfg(test)]
mod models;
mod registration;

use entry::{ConnectionEntry, Flags};
pub(super) use registration::{AbortReason, Registration};

/// The open connections of one server.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    log_limiter: LogLimiter,
    memory: Arc<MemoryBudget>,
    context: Arc<ServerContext>,
    events: EventTally,
    /// Measures how long tasks wait, for `max_queue_time`.
    probe: Option<Arc<SchedulerProbe>>,
    inner: Mutex<Inner>,
    /// Notified whenever a connection opens or ends.
    changed: Notify,
    /// How many milliseconds the sweeper had run at its last sweep.
    swept_at: AtomicU64,
    /// How many connections have begun to wait for memory since the last sweep.
    memory_waits: AtomicUsize,
    /// Milliseconds between two sweeps.
    tick: u64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Keyed by connection number.
    entries: BTreeMap<u64, Arc<ConnectionEntry>>,
    /// The totals of the ended connections, and the number of accepted ones.
    totals: Report,
    /// The flags set for all connections, including those that open later.
    flags: Flags,
}

/// The maximum number of ticks by which the clock advances per sweep, and by which it may lag.
const SLACK: u32 = 2;

impl Registry {
    /// Creates a registry for connections with these limits, that share `memory` bytes for large buffers and run up to
    /// `max_blocking` functions under `blocking`.
    pub(super) fn new(limits: Limits, memory: usize, max_blocking: usize) -> Arc<Self> {
        // A limit ends up to three ticks late: a quarter of the shortest limit, or 3 ms. The
        // bounds keep sweeps rare, and the second that a drain gives a started frame precise.
        let tick = (limits.shortest().as_millis() / 12).clamp(1, 83);
        let memory = MemoryBudget::new(memory);
        Arc::new(Self {
            limits,
            log_limiter: LogLimiter::default(),
            memory: Arc::clone(&memory),
            context: Arc::new(ServerContext::new(
                max_blocking,
                limits.queue_time(),
                limits.conversation(),
                memory,
            )),
            events: EventTally::default(),
            probe: limits.queue_time().map(SchedulerProbe::new),
            inner: Mutex::default(),
            changed: Notify::new(),
            swept_at: AtomicU64::new(0),
            memory_waits: AtomicUsize::new(0),
            tick,
        })
    }

    /// Registers a new connection.
    pub(super) fn register(self: &Arc<Self>) -> Registration {
        let mut inner = lock(&self.inner);
        inner.totals.connections.accepted += 1;
        let id = inner.totals.connections.accepted;
        // Under the lock that `signal_all` takes: a connection that opens while the server begins to drain gets
        // the flag from one of the two.
        let entry = Arc::new(ConnectionEntry::new(inner.flags, self.retirement(id)));
        inner.entries.insert(id, Arc::clone(&entry));
        drop(inner);
        self.changed.notify_waiters();
        Registration {
            registry: Arc::clone(self),
            entry,
            waker: Waker::noop().clone(),
            id,
        }
    }

    #[inline]
    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) const fn log_limiter(&self) -> &LogLimiter {
        &self.log_limiter
    }

    pub(super) const fn events(&self) -> &EventTally {
        &self.events
    }

    pub(super) const fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Returns the probe that measures how long requests wait, if that has a limit.
    pub(super) fn probe(&self) -> Option<&SchedulerProbe> {
        self.probe.as_deref()
    }

    /// Measures how long tasks wait, if that has a limit, until the result is dropped.
    pub(super) fn start_probe(&self) -> Option<JoinSet<Infallible>> {
        self.probe.as_ref().map(SchedulerProbe::start)
    }

    /// Runs `future`. Meanwhile, sweeps if connections are open.
    pub(super) async fn sweeping<F: Future>(&self, future: F) -> F::Output {
        tokio::select! {
            // The future first: once it is done, a sweep would be for nothing.
            biased;
            output = future => output,
            never = self.sweep() => match never {},
        }
    }

    async fn sweep(&self) -> Infallible {
        let tick = Duration::from_millis(self.tick);
        let mut clock = Duration::ZERO;
        loop {
            // An idle server has no timer at all, so it never wakes its thread.
            wait_until(&self.changed, || !lock(&self.inner).entries.is_empty()).await;
            let began = Instant::now();
            sleep(tick).await;
            // The clock advances by little, however late the sweep is. After a suspension of the process, all
            // deadlines would have passed, though no peer had a chance to send.
            clock += began.elapsed().min(tick * SLACK);
            let now = u64::try_from(clock.as_millis()).unwrap_or(u64::MAX);
            self.sweep_at(now);
            if self.limits.max_connection_age != Limit::NONE {
                self.retire(now);
            }
        }
    }

    /// Wakes the connections whose deadline is at most `now`.
    pub(super) fn sweep_at(&self, now: u64) {
        // First, because the connections look at it when they are woken.
        self.swept_at.store(now, Ordering::Relaxed);
        self.signal(Flags::EXPIRED, |entry| entry.is_due(now));
        if self.memory_waits.swap(0, Ordering::AcqRel) > 1 {
            self.wake_all();
        }
    }

    /// Records that a connection has begun to wait for memory, which shortens the deadlines of those that have some. The
    /// first such wait since a sweep wakes all connections. Later waits leave that to the next sweep, because peers can
    /// begin them at will.
    pub(super) fn begin_memory_wait(&self) {
        if self.memory_waits.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake_all();
        }
    }

    /// Wakes all connections, whose deadlines may have changed.
    fn wake_all(&self) {
        self.signal(Flags::NONE, |_| true);
    }

    /// Returns when a connection is too old: at its limit, or up to a tenth later.
    fn retirement(&self, id: u64) -> Deadline {
        let age = self.limits.max_connection_age;
        // The golden ratio spreads successive numbers evenly.
        let spread = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        // A tenth of the age, times the spread. The spread is less than 1,024.
        let later = age.as_millis().saturating_mul(spread) / 10_240;
        Deadline::from_millis(self.latest().saturating_add(later)).plus(age)
    }

    /// Signals connections to finish whose age is over, and aborts them after the time for a drain.
    fn retire(&self, now: u64) {
        let latest = Deadline::from_millis(now);
        let is_new = |it: &ConnectionEntry| it.retires <= latest && !it.has(Flags::RETIRE);
        if self.signal(Flags::RETIRE, is_new) {
            // Once for each, because it wakes the functions of all connections.
            self.context.drain.raise(now);
        }
        let limit = self.limits.drain_timeout;
        self.signal(Flags::ABORT, |it| it.retires.plus(limit) <= latest);
    }

    /// Signals all connections to finish, and aborts the rest when `abort` is ready.
    ///
    /// Returns the final report. A function that blocks its thread cannot be aborted. Its request
    /// is reported as aborted, and the function runs on.
    pub(super) async fn drain(&self, abort: impl Future) -> Report {
        /// How long aborted connections have to end.
        const GRACE: Duration = Duration::from_secs(1);
        self.signal_all(Flags::DRAIN);
        let is_empty = || lock(&self.inner).entries.is_empty();
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
        self.signal_all(Flags::ABORT);
    }

    /// Sets a flag for all connections, including those that open later.
    fn signal_all(&self, flag: Flags) {
        let mut inner = lock(&self.inner);
        inner.flags = inner.flags.or(flag);
        drop(inner);
        self.signal(flag, |_| true);
        self.context.drain.raise_for_all();
    }

    /// Sets a flag for some connections, and wakes them. Returns `false` if there are none.
    fn signal(&self, flag: Flags, is_meant: impl Fn(&ConnectionEntry) -> bool) -> bool {
        let inner = lock(&self.inner);
        let entries = inner.entries.values().filter(|entry| is_meant(entry));
        let signalled: Vec<_> = entries.cloned().collect();
        // Without the lock: the wakers might end connections.
        drop(inner);
        for entry in &signalled {
            entry.signal(flag);
        }
        !signalled.is_empty()
    }

    /// Signals the connection that waits longest for a request to close. Returns `false` if none waits.
    ///
    /// The connection may receive a request before it sees the signal. Then it goes on.
    pub(super) fn evict_longest_idle(&self) -> bool {
        let now = self.latest();
        let inner = lock(&self.inner);
        let evictable = inner.entries.values().rev().filter_map(|entry| {
            let idle_time = entry.idle_time(now).filter(|_| !entry.has(Flags::CLOSING));
            Some((idle_time?, entry))
        });
        // `max_by_key` returns the last of equals; reversed, that is the oldest.
        let longest = evictable.max_by_key(|(idle_time, _)| *idle_time);
        let longest = longest.map(|(_, entry)| Arc::clone(entry));
        drop(inner);
        longest.is_some_and(|entry| {
            entry.signal(Flags::EVICT);
            true
        })
    }

    /// Returns the latest possible time, because the clock may lag.
    #[inline]
    fn latest(&self) -> u64 {
        self.swept_at.load(Ordering::Relaxed) + self.tick * u64::from(SLACK)
    }

    /// Returns the totals so far.
    pub(super) fn stats(&self) -> Report {
        // One lock for the totals and the entries: a connection that ends in between would be counted twice or not at all.
        let inner = lock(&self.inner);
        let mut stats = inner.totals;
        stats.connections.open = inner.entries.len() as u64;
        [stats.events.sent, stats.events.dropped] = self.events.totals();
        for entry in inner.entries.values() {
            stats.requests += entry.tally.requests();
            stats.bytes += entry.tally.bytes();
        }
        stats
    }

    /// Returns how much memory large buffers have reserved.
    #[cfg(any(feature = "metrics", feature = "testing"))]
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.memory.reserved_bytes()
    }

    /// Returns the totals of a server that has ended. Connections that are still open count as aborted.
    pub(super) fn report(&self) -> Report {
        self.stats().ended()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        num::NonZero,
        pin::pin,
        sync::atomic::AtomicUsize,
        task::{Context, Poll, Wake},
    };

    use super::{super::mode::Concurrent, super::settings::Settings, *};

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn registry() -> Arc<Registry> {
        Settings::new::<Concurrent>().registry()
    }

    #[test]
    fn waker_that_panics_keeps_no_other_connection_from_its_signal() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }
        let (registry, woken) = (registry(), Arc::new(Woken::default()));
        let mut registrations = [registry.register(), registry.register()];
        let wakers = [Arc::new(Bomb).into(), Arc::clone(&woken).into()];
        for (registration, waker) in registrations.iter_mut().zip(&wakers) {
            registration.register_task(&Context::from_waker(waker));
        }
        registry.abort();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn connection_is_woken_when_its_deadline_has_passed() {
        let (registry, woken) = (registry(), Arc::new(Woken::default()));
        let mut registration = registry.register();
        let waker = Arc::clone(&woken).into();
        let cx = Context::from_waker(&waker);
        let deadline = Deadline::from_millis(1_000);
        assert!(registration.poll_deadline(deadline, &cx).is_pending());
        registry.sweep_at(999);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        registry.sweep_at(1_000);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let stop = registration.poll_deadline(deadline, &cx);
        assert_eq!(stop, Poll::Ready(Ok(())));
    }

    #[test]
    fn connections_that_begin_to_wait_for_memory_wake_the_others_at_once_and_with_the_next_sweep() {
        let (registry, woken) = (registry(), Arc::new(Woken::default()));
        let (waiter, mut holder) = (registry.register(), registry.register());
        let waker = Arc::clone(&woken).into();
        holder.register_task(&Context::from_waker(&waker));
        for (waits, at_once, at_sweep) in [(1, 1, 0), (9, 1, 1), (0, 0, 0)] {
            for _ in 0..waits {
                waiter.begin_memory_wait();
            }
            assert_eq!(woken.0.swap(0, Ordering::Relaxed), at_once);
            registry.sweep_at(1);
            assert_eq!(woken.0.swap(0, Ordering::Relaxed), at_sweep);
        }
    }

    #[test]
    fn deadline_that_has_moved_since_the_sweep_has_not_passed() {
        let registry = registry();
        let mut registration = registry.register();
        let cx = Context::from_waker(Waker::noop());
        assert!(
            registration
                .poll_deadline(Deadline::from_millis(1_000), &cx)
                .is_pending()
        );
        registry.sweep_at(1_000);
        let moved = Deadline::from_millis(2_000);
        assert!(registration.poll_deadline(moved, &cx).is_pending());
        // The flag is not set again before the new deadline has passed.
        registry.sweep_at(1_999);
        assert!(registration.poll_deadline(moved, &cx).is_pending());
        registry.sweep_at(2_000);
        let stop = registration.poll_deadline(moved, &cx);
        assert_eq!(stop, Poll::Ready(Ok(())));
    }

    #[test]
    fn connections_of_the_same_time_retire_at_different_times() {
        let mut settings = Settings::new::<Concurrent>();
        settings.limits.max_connection_age = Limit::from_secs(5);
        let registry = settings.registry();
        let retired: Vec<_> = (1..=8)
            .map(|id| registry.retirement(id).as_millis())
            .collect();
        let (first, last) = (retired.iter().min(), retired.iter().max());
        let earliest = Deadline::from_millis(registry.latest())
            .plus(settings.limits.max_connection_age)
            .as_millis();
        assert!(first >= Some(&earliest) && last <= Some(&(earliest + 500)));
        assert!(
            last > first.map(|first| first + 200).as_ref(),
            "{retired:?}"
        );
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
    fn connections_that_wait_for_a_request_are_evicted_the_longest_first() {
        let registry = registry();
        let mut connections = [20, 10, 5].map(|since| (since, registry.register()));
        let cx = Context::from_waker(Waker::noop());
        for (since, registration) in &mut connections {
            let wait = registration.poll_deadline(Deadline::NEVER, &cx);
            assert!(wait.is_pending());
            registration.set_idle_since(NonZero::new(*since).expect("not zero"));
        }
        let [(_, first), (_, second), (_, busy)] = &mut connections;
        // The connection waits for something else now.
        assert!(busy.poll_deadline(Deadline::NEVER, &cx).is_pending());
        assert!(registry.evict_longest_idle());
        assert!(second.must_close() && !first.must_close());
        assert!(registry.evict_longest_idle());
        assert!(first.must_close());
        assert!(!registry.evict_longest_idle());
        assert!(first.take_eviction() && !first.take_eviction() && !busy.take_eviction());
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
        assert_eq!(stop, Poll::Ready(Err(AbortReason::ServerEnded)));
    }
}
