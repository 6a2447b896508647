//! Ctrl-C and SIGTERM.

use std::{
    future::{pending, poll_fn},
    io,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// The signals that stop a server, caught from now on.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(windows)]
    interrupt: CtrlC,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut caught = self.interrupt.poll_recv(cx);
        if caught.is_pending() {
            caught = self.terminate.poll_recv(cx);
        }
        caught.map(drop)
    }

    #[cfg(windows)]
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
        })
    }

    /// Waits for the next one.
    #[cfg(windows)]
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.interrupt.poll_recv(cx).map(drop)
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
        Ok(mut signals) => poll_fn(|cx| signals.poll_next(cx)).await,
        Err(error) => {
            log_uncaught(&error);
            pending::<()>().await;
        }
    }
}

fn log_uncaught(error: &io::Error) {
    tracing::error!(%error, "cannot wait for signals");
}
