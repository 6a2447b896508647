//! The entry of a connection in the registry, as the connection sees it.

use std::{
    net::SocketAddr,
    num::NonZero,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use super::{
    super::{
        limits::Limits,
        log_limiter::LogLimiter,
        probe::SchedulerProbe,
        rejected::TOO_OLD,
        tally::{EventTally, Tally},
        time::{ClockTime, Deadline},
    },
    Registry,
    entry::{ConnectionEntry, Flags},
};
use crate::{ConnectionInfo, Peer, buffer::MemoryBudget, panics::lock};

/// Why a connection ends at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum AbortReason {
    ServerEnded,
    TooOld,
}

impl AbortReason {
    pub(in crate::server) const fn text(self) -> &'static str {
        match self {
            Self::ServerEnded => "the server ended",
            Self::TooOld => TOO_OLD,
        }
    }
}

/// A connection's entry in the registry. Dropping it removes the connection.
#[derive(Debug)]
pub(in crate::server) struct Registration {
    pub(super) registry: Arc<Registry>,
    pub(super) entry: Arc<ConnectionEntry>,
    /// A copy of the waker in the entry.
    pub(super) waker: Waker,
    pub(super) id: u64,
    /// The end of `max_connection_age`.
    pub(super) retires: Deadline,
}

impl Registration {
    /// Creates the properties of the connection, for its functions.
    pub(in crate::server) fn info(
        &self,
        peer: Peer,
        local_addr: Option<SocketAddr>,
    ) -> ConnectionInfo {
        let server = Arc::clone(&self.registry.context);
        ConnectionInfo::of(peer, local_addr, self.id, self.retires.as_millis(), server)
    }

    pub(in crate::server) fn tally(&self) -> &Tally {
        &self.entry.tally
    }

    pub(in crate::server) fn events(&self) -> &EventTally {
        &self.registry.events
    }

    #[inline]
    pub(in crate::server) fn limits(&self) -> &Limits {
        &self.registry.limits
    }

    pub(in crate::server) fn log_limiter(&self) -> &LogLimiter {
        self.registry.log_limiter()
    }

    pub(in crate::server) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.registry.memory
    }

    /// Returns the probe that measures how long requests wait, if that has a limit.
    pub(in crate::server) fn probe(&self) -> Option<&SchedulerProbe> {
        self.registry.probe.as_deref()
    }

    /// Wakes the connections of the server, because this one begins to wait for memory that they may have.
    pub(in crate::server) fn wake_others(&self) {
        self.registry.begin_memory_wait();
    }

    /// Returns the time for a wait that begins now.
    ///
    /// The result is the latest possible time, because the clock may lag, and no limit must end early because of that.
    #[inline]
    pub(in crate::server) fn now(&self) -> ClockTime {
        NonZero::new(self.registry.latest()).unwrap_or(ClockTime::MIN)
    }

    /// Returns `true` if the deadline had passed at the last sweep.
    #[inline]
    pub(in crate::server) fn has_passed(&self, deadline: Deadline) -> bool {
        deadline.as_millis() <= self.registry.swept_at.load(Ordering::Relaxed)
    }

    /// Returns `true` if the server ends at once.
    pub(in crate::server) fn is_aborted(&self) -> bool {
        self.entry.has(Flags::ABORT)
    }

    /// Returns `true` if the server drains or ends, or the connection is too old.
    #[inline]
    pub(in crate::server) fn is_draining(&self) -> bool {
        self.entry.has(Flags::DRAINING)
    }

    /// Returns `true` if the connection is too old.
    pub(in crate::server) fn is_retired(&self) -> bool {
        self.entry.has(Flags::RETIRE)
    }

    /// Returns `true` if the connection must close, at once or when it is idle.
    #[inline]
    pub(in crate::server) fn must_close(&self) -> bool {
        self.entry.has(Flags::CLOSING)
    }

    /// Returns why an aborted connection ends.
    #[cold]
    pub(in crate::server) fn abort_reason(&self) -> AbortReason {
        if self.is_retired() {
            AbortReason::TooOld
        } else {
            AbortReason::ServerEnded
        }
    }

    /// Returns `true` if the connection was chosen to be evicted, once.
    pub(in crate::server) fn take_eviction(&self) -> bool {
        self.entry.take(Flags::EVICT)
    }

    /// Sets when the connection began to wait for a request, until its next wait.
    #[inline]
    pub(in crate::server) fn set_idle_since(&self, began: ClockTime) {
        self.entry.set_idle_since(began);
    }

    /// Ready when the deadline has passed, or with an error when the connection must end at once. Otherwise its task is
    /// woken when it must stop waiting, and when the server drains.
    ///
    /// Each `Pending` of a connection must pass through here, or the wait has no limit and no abort. The
    /// exceptions are two yields: of a spent budget, after which `Io::resume` checks for an abort, and
    /// before an idle connection closes.
    #[inline]
    pub(in crate::server) fn poll_deadline(
        &mut self,
        deadline: Deadline,
        cx: &Context<'_>,
    ) -> Poll<Result<(), AbortReason>> {
        // The deadline and the waker are stored before the flags are read. A sweep that runs in between sets the
        // flag and wakes the old waker, or is seen here.
        self.entry.start_wait(deadline);
        self.register_task(cx);
        match self.entry.flags() {
            Flags::NONE => Poll::Pending,
            flags => self.poll_flags(flags, deadline),
        }
    }

    /// Lets signals wake the task of `cx`. The task either sees a change when it looks afterwards, or is woken.
    #[inline]
    pub(in crate::server) fn register_task(&mut self, cx: &Context<'_>) {
        if !self.waker.will_wake(cx.waker()) {
            self.set_waker(cx.waker());
        }
    }

    /// Stores the waker in the entry. For most tasks this happens once.
    #[cold]
    fn set_waker(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
        self.entry.set_waker(waker);
    }

    #[cold]
    fn poll_flags(&self, flags: Flags, deadline: Deadline) -> Poll<Result<(), AbortReason>> {
        if flags.has(Flags::ABORT) {
            return Poll::Ready(Err(self.abort_reason()));
        }
        // The sweep may have read an earlier deadline.
        if self.entry.take(Flags::EXPIRED) && self.has_passed(deadline) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The entry and its numbers move to the totals under one lock, so a report always adds up.
        let mut inner = lock(&self.registry.inner);
        inner.entries.remove(&self.id);
        inner.retirements.remove(&(self.retires, self.id));
        inner.totals.requests += self.entry.tally.requests().ended();
        inner.totals.bytes += self.entry.tally.bytes();
        if self.is_aborted() {
            inner.totals.connections.aborted += 1;
        } else {
            inner.totals.connections.closed += 1;
        }
        // After the lock, which the woken tasks take at once.
        drop(inner);
        self.registry.changed.notify_waiters();
    }
}
