//! What stops a server from elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::Notify;

/// Stops a server from elsewhere; cloneable.
///
/// Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: Arc<Orders>,
}

/// The last order that was given, and how it is told.
#[derive(Debug, Default)]
struct Orders {
    last: AtomicU8,
    given: Notify,
}

/// What a server was told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Stop = 1,
    End = 2,
}

impl Handle {
    pub(super) fn new() -> Self {
        Self {
            orders: Arc::default(),
        }
    }

    /// Begins to drain: what is in flight is finished, as long as the drain timeout allows.
    ///
    /// Returns at once; `listen` returns when it is done. Calling it again changes nothing.
    pub fn stop(&self) {
        self.give(Order::Stop);
    }

    /// Ends at once: what is in flight is cut. `listen` then returns an error of kind
    /// [`Interrupted`](crate::ErrorKind::Interrupted).
    pub fn end(&self) {
        self.give(Order::End);
    }

    fn give(&self, order: Order) {
        self.orders.last.fetch_max(order as u8, Ordering::AcqRel);
        self.orders.given.notify_waiters();
    }

    /// Returns what is told when an order was given.
    pub(super) fn given(&self) -> &Notify {
        &self.orders.given
    }

    /// Tells whether the server was told that, or more.
    pub(super) fn was_told(&self, order: Order) -> bool {
        self.orders.last.load(Ordering::Acquire) >= order as u8
    }
}
