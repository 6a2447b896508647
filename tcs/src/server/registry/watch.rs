//! A connection's place in the registry.

use std::{
    num::NonZero,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use super::{CUT, DRAIN, EXPIRED, Registry, Slot, Time};
use crate::server::{report::Tally, settings::Limit};

/// A connection's place in the registry; dropping it says that the connection has ended.
#[derive(Debug)]
pub(in crate::server) struct Watch {
    registry: Arc<Registry>,
    slot: Arc<Slot>,
    /// The waker that the slot has.
    waker: Waker,
    id: u64,
}

/// Why a connection must stop to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Alarm {
    /// The limit it waits under is over.
    Expired,
    /// The server ends at once.
    Cut,
}

/// What a connection was told.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Signals(u8);

impl Signals {
    /// Tells whether that is nothing.
    #[inline]
    pub(in crate::server) const fn are_none(self) -> bool {
        self.0 == 0
    }

    /// Tells whether the server is finishing.
    #[inline]
    pub(in crate::server) const fn are_draining(self) -> bool {
        self.0 & (DRAIN | CUT) != 0
    }
}

impl Watch {
    pub(super) fn new(registry: Arc<Registry>, slot: Arc<Slot>, id: u64) -> Self {
        Self {
            registry,
            slot,
            waker: Waker::noop().clone(),
            id,
        }
    }

    /// Returns the number of this connection, the first being 1.
    pub(in crate::server) const fn id(&self) -> u64 {
        self.id
    }

    pub(in crate::server) fn tally(&self) -> &Tally {
        &self.slot.tally
    }

    /// Returns the coarse time.
    #[inline]
    pub(in crate::server) fn now(&self) -> Time {
        let now = self.registry.now.load(Ordering::Relaxed);
        NonZero::new(now).unwrap_or(NonZero::<u64>::MIN)
    }

    /// Waits from now on for `limit` at most.
    #[inline]
    pub(in crate::server) fn limit(&self, limit: Limit) {
        self.limit_from(self.now(), limit);
    }

    /// Waits until `limit` after the time `began`.
    #[inline]
    pub(in crate::server) fn limit_from(&self, began: Time, limit: Limit) {
        let deadline = self.deadline(began, limit);
        self.slot.deadline.store(deadline, Ordering::Relaxed);
    }

    /// Tells whether a limit that began then is over.
    pub(in crate::server) fn is_over(&self, began: Time, limit: Limit) -> bool {
        self.deadline(began, limit) <= self.now().get()
    }

    #[inline]
    fn deadline(&self, began: Time, limit: Limit) -> u64 {
        // The clock may be behind; a limit must not end early for it.
        (began.get() + self.registry.slack).saturating_add(limit.milliseconds())
    }

    /// Tells whether the server is finishing.
    #[inline]
    pub(in crate::server) fn is_draining(&self) -> bool {
        Signals(self.slot.signals.load(Ordering::Relaxed)).are_draining()
    }

    /// Returns why the connection must stop to wait, if it must; otherwise arranges that its task
    /// is woken when it must, or when a drain begins.
    pub(in crate::server) fn poll_alarm(&mut self, cx: &Context<'_>) -> Option<Alarm> {
        let signals = self.poll_signals(cx);
        self.alarm(signals)
    }

    /// Waits no longer for something than it may.
    pub(in crate::server) fn poll_unless_alarmed(
        &mut self,
        poll: Poll<()>,
        cx: &Context<'_>,
    ) -> Poll<()> {
        if poll.is_pending() && self.poll_alarm(cx).is_none() {
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Returns what the connection was told, after it has arranged that its task is woken when it is
    /// told more.
    #[inline]
    pub(in crate::server) fn poll_signals(&mut self, cx: &Context<'_>) -> Signals {
        if !self.waker.will_wake(cx.waker()) {
            self.leave(cx.waker());
        }
        // Acquire pairs with `raise`: whoever raised before the waker was set is seen here.
        Signals(self.slot.signals.load(Ordering::Acquire))
    }

    /// Leaves a waker in the slot, which is needed once for most tasks.
    #[cold]
    fn leave(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
        self.slot.waker().clone_from(waker);
    }

    /// Returns why the connection must stop to wait, if it must. That a limit seems to be over is
    /// heard once, and looked at again.
    pub(in crate::server) fn alarm(&self, Signals(signals): Signals) -> Option<Alarm> {
        if signals & CUT != 0 {
            return Some(Alarm::Cut);
        }
        if signals & EXPIRED == 0 {
            return None;
        }
        self.slot.signals.fetch_and(!EXPIRED, Ordering::AcqRel);
        let deadline = self.slot.deadline.load(Ordering::Relaxed);
        // The sweep may have seen a deadline that has moved since.
        (deadline <= self.now().get()).then_some(Alarm::Expired)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        open.remove(&self.slot);
        open.requests += self.slot.tally.requests();
        if self.slot.signals.load(Ordering::Relaxed) & CUT == 0 {
            open.closed += 1;
        } else {
            open.cut += 1;
        }
        drop(open);
        self.registry.changed.notify_waiters();
    }
}
