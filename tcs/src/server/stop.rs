//! What stops a server: its handle, Ctrl-C and SIGTERM.

use std::{future::pending, io};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC as Signal, ctrl_c};
use tokio::sync::watch;

/// Stops a server from elsewhere; cloneable.
///
/// Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    order: watch::Sender<Order>,
}

/// What a server is told; a later one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Serve,
    Stop,
    Abort,
}

impl ServerHandle {
    pub(super) fn new() -> Self {
        Self {
            order: watch::Sender::new(Order::Serve),
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
    pub fn abort(&self) {
        self.give(Order::Abort);
    }

    /// Gives an order, unless the server was told more already.
    fn give(&self, order: Order) {
        self.order.send_modify(|last| *last = order.max(*last));
    }

    /// Returns `true` if the server was told that, or more.
    pub(super) fn was_told(&self, order: Order) -> bool {
        *self.order.borrow() >= order
    }

    /// Waits until the server is told that, or more.
    ///
    /// Cancel safe: orders stay.
    pub(super) async fn told(&self, order: Order) {
        // It does not fail, because the handle itself is a sender.
        drop(self.order.subscribe().wait_for(|last| *last >= order).await);
    }
}

/// The signals that stop a server, caught from now on.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(windows)]
            interrupt: ctrl_c()?,
        })
    }

    /// Waits for the next one.
    ///
    /// Cancel safe: a signal that is not returned is returned by the next call.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
}

/// Waits for Ctrl-C or SIGTERM, for [`listen_until`](crate::server::Server::listen_until).
///
/// From the first call on, and for good, these signals no longer end the process by themselves, so
/// a second Ctrl-C does nothing while the server drains; where it should,
/// [`listen_until_signal`](crate::server::Server::listen_until_signal) is what you want. If they
/// cannot be caught, which is logged, it waits without end.
///
/// # Cancel safety
///
/// Safe; a signal that comes while nobody waits is lost.
pub async fn stop_signal() {
    match Signals::catch() {
        Ok(mut signals) => signals.next().await,
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals");
            pending::<()>().await;
        }
    }
}
