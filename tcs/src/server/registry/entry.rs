//! What the registry and one connection share.

use std::{mem::replace, sync::Arc, task::Waker};

use super::super::{
    tally::Tally,
    time::{ClockTime, Deadline},
};
use crate::{
    panics::{contain, lock},
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

/// The signals that a connection has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    /// Finish the requests in flight and close.
    pub(super) const DRAIN: Self = Self(1);
    /// The deadline may have passed.
    pub(super) const EXPIRED: Self = Self(2);
    /// End at once.
    pub(super) const ABORT: Self = Self(4);
    /// Close if no request has arrived.
    pub(super) const EVICT: Self = Self(8);
    /// Finish the requests in flight and close, because of the age of the connection.
    pub(super) const RETIRE: Self = Self(16);

    /// The server drains or ends, or the connection is too old.
    pub(super) const DRAINING: Self = Self::DRAIN.or(Self::ABORT).or(Self::RETIRE);
    /// The flags of a connection that must close, at once or when it is idle.
    pub(super) const CLOSING: Self = Self::DRAINING.or(Self::EVICT);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns `true` if one of the other flags is set.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The connection does not wait for a request.
const NOT_IDLE: u32 = 0;

/// The state shared by the registry and one connection.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    /// When the connection stops waiting.
    deadline: AtomicU64,
    flags: AtomicU8,
    /// When the connection began to wait for a request, or [`NOT_IDLE`]: the low bits of the time in milliseconds.
    idle_since: AtomicU32,
    waker: Mutex<Waker>,
    pub(super) tally: Tally,
}

impl ConnectionEntry {
    pub(super) fn new(flags: Flags) -> Self {
        Self {
            deadline: AtomicU64::new(Deadline::NEVER.as_millis()),
            flags: AtomicU8::new(flags.0),
            idle_since: AtomicU32::new(NOT_IDLE),
            waker: Mutex::new(Waker::noop().clone()),
            tally: Tally::default(),
        }
    }

    /// Begins a wait of the connection for something other than a request.
    #[inline]
    pub(super) fn start_wait(&self, deadline: Deadline) {
        self.deadline.store(deadline.as_millis(), Ordering::Relaxed);
        self.idle_since.store(NOT_IDLE, Ordering::Relaxed);
    }

    /// Returns `true` if the deadline is at most `latest`.
    pub(super) fn is_due(&self, latest: u64) -> bool {
        self.deadline.load(Ordering::Relaxed) <= latest
    }

    /// Returns the flags. A flag that was set before the waker was set is among them.
    #[inline]
    pub(super) fn flags(&self) -> Flags {
        // Pairs with `signal` and `set_waker`.
        Flags(self.flags.load(Ordering::Acquire))
    }

    /// Returns `true` if one of the flags is set.
    #[inline]
    pub(super) fn has(&self, flags: Flags) -> bool {
        Flags(self.flags.load(Ordering::Relaxed)).has(flags)
    }

    /// Sets a flag, and wakes the task of the connection.
    pub(super) fn signal(&self, flag: Flags) {
        self.flags.fetch_or(flag.0, Ordering::AcqRel);
        // Wakers are foreign code: one is woken without the lock, and its panic must not keep others from their signal.
        contain(|| {
            let waker = lock(&self.waker).clone();
            waker.wake();
        });
    }

    /// Removes a flag. Returns `true` if it was set.
    pub(super) fn take(&self, flag: Flags) -> bool {
        Flags(self.flags.fetch_and(!flag.0, Ordering::AcqRel)).has(flag)
    }

    pub(super) fn set_waker(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = replace(&mut *lock(&self.waker), waker);
        // Without the lock, as above.
        drop(before);
    }

    /// Sets when the connection began to wait for a request, until its next wait.
    #[inline]
    pub(super) fn set_idle_since(&self, began: ClockTime) {
        self.idle_since
            .store(low_bits(began.get()), Ordering::Relaxed);
    }

    /// Returns for how many milliseconds the connection has waited for a request, if it does.
    pub(super) fn idle_time(&self, now: u64) -> Option<u32> {
        let since = self.idle_since.load(Ordering::Relaxed);
        (since != NOT_IDLE).then(|| low_bits(now).wrapping_sub(since))
    }
}

/// Sets a flag for connections, and wakes them. No lock may be held: their wakers might end connections.
pub(super) fn signal_each(flag: Flags, entries: &[Arc<ConnectionEntry>]) {
    for entry in entries {
        entry.signal(flag);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only differences are used")]
const fn low_bits(milliseconds: u64) -> u32 {
    milliseconds as u32
}
