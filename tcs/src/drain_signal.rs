//! Which connections of a server drain. Connections know it by flags, and their functions by this.

use tokio::sync::Notify;

use crate::sync::atomic::{AtomicU64, Ordering};

/// Which connections of a server drain, for their functions.
#[derive(Debug, Default)]
pub(crate) struct DrainSignal {
    /// Connections whose age ends up to this time drain. It is in milliseconds of the server's clock, which begins
    /// after 0.
    until: AtomicU64,
    /// Notified when `until` has changed.
    pub(crate) raised: Notify,
}

impl DrainSignal {
    /// The age of a connection without a limit ends at this time.
    pub(crate) const NEVER: u64 = u64::MAX;

    /// Tells the functions of all connections that they drain.
    pub(crate) fn raise_for_all(&self) {
        self.raise(Self::NEVER);
    }

    /// Tells the functions of the connections whose age ends up to this time.
    pub(crate) fn raise(&self, time: u64) {
        self.until.fetch_max(time, Ordering::Release);
        self.raised.notify_waiters();
    }

    /// Returns `true` if a connection drains whose age ends at this time.
    pub(crate) fn includes(&self, retires: u64) -> bool {
        retires <= self.until.load(Ordering::Acquire)
    }
}
