//! Ctrl-C and SIGTERM.

use std::io;
#[cfg(unix)]
use std::{future::poll_fn, task::Poll};

/// The signals that stop a server, caught from now on.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        poll_fn(|cx| match self.interrupt.poll_recv(cx) {
            Poll::Pending => self.terminate.poll_recv(cx),
            caught => caught,
        })
        .await;
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
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
            std::future::pending::<()>().await;
        }
    }
}
