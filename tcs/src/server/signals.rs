//! Ctrl-C and SIGTERM.

use std::{future::pending, io};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC as Signal, ctrl_c};

/// The signals that stop a server. They are caught from the creation of this value on.
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

    /// Waits for the next signal.
    ///
    /// Cancel safe: the next call returns a signal that this one did not.
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
/// From the first call on, for the rest of the process, these signals no longer end the process by
/// themselves. So a second Ctrl-C has no effect while the server drains; if it should end the
/// server, use [`listen_until_signal`](crate::server::Server::listen_until_signal). If the signals
/// cannot be caught, this function logs the error and never returns.
///
/// # Cancel safety
///
/// This function is cancel safe. A signal that arrives while no call waits is lost.
pub async fn stop_signal() {
    match Signals::catch() {
        Ok(mut signals) => signals.next().await,
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals");
            pending::<()>().await;
        }
    }
}
