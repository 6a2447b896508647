//! A server that has bound its port: it serves, and drains.

use std::{convert::Infallible, future::pending, io, net::SocketAddr, pin::pin, sync::Arc};

use tokio::time::timeout;

use super::{
    acceptor::Acceptor,
    addresses::Addresses,
    admission::Admission,
    metrics::publishing,
    rejected::RejectedPeers,
    report::Report,
    signals::Signals,
    stop::{Order, ServerHandle, StopOnDrop},
    systemd::notify_systemd,
    unbound::UnboundServer,
};
use crate::{Error, Result};

/// A server that has bound its port. Call [`listen`](Self::listen) to accept connections.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{Client, ConcurrentServer, client_protocol, server_protocol};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// #[client_protocol(request = "Ann")]
/// fn keep(reply: String) -> String {
///     reply
/// }
///
/// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// let (addr, handle) = (server.local_addr(), server.handle());
/// let server = tokio::spawn(server.listen());
///
/// assert_eq!(Client::new(Keep).address(addr).open().await?, "Hello, Ann!");
///
/// handle.stop();
/// let report = server.await.expect("no panic")?;
/// assert_eq!(report.requests.served, 1);
/// # Ok(())
/// # }
/// ```
pub struct BoundServer {
    pub(super) server: UnboundServer,
    pub(super) handle: StopOnDrop,
}

impl BoundServer {
    /// Returns the first listening address. If you set port 0, it contains the assigned port.
    ///
    /// # Panics
    ///
    /// Panics if no listener has a socket address, as with a Unix socket alone.
    #[expect(
        clippy::expect_used,
        reason = "documented; the author of the program chose the listeners"
    )]
    pub fn local_addr(&self) -> SocketAddr {
        let first = self.local_addrs().next();
        first.expect("no listener of this server has a socket address")
    }

    /// Returns the addresses of all listeners that have a socket address, that of the server first.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        let listeners = &self.server.settings.listeners;
        listeners
            .iter()
            .filter_map(|listener| listener.local_addr())
    }

    /// Returns a handle that observes and stops the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.0.clone()
    }

    /// Serves until the server is done or a [`ServerHandle`] stops it.
    ///
    /// # Errors
    ///
    /// Returns [`Accept`](crate::ErrorKind::Accept) if the listener fails, and
    /// [`Interrupted`](crate::ErrorKind::Interrupted) after [`ServerHandle::abort`]. Errors of
    /// single connections are logged and end nothing else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and aborts every connection.
    #[must_use = "a server does nothing until it is awaited: write `.listen().await`"]
    pub async fn listen(mut self) -> Result<Report> {
        let settings = &mut self.server.settings;
        let max_connections = settings.effective_max_connections();
        let names = settings.listeners.iter().map(|listener| listener.name());
        let names: Vec<_> = names.collect();
        tracing::info!(listeners = names.join(", "), max_connections, "listening");
        if let Some(on_listening) = settings.on_listening.take() {
            on_listening(&self);
        }
        let Self { server, handle } = self;
        let UnboundServer { shared, settings } = server;
        let (handle, notifies_systemd) = (&handle.0, settings.notifies_systemd);
        let acceptor = Acceptor {
            shared,
            registry: Arc::clone(handle.registry()),
            max_connections,
            at_capacity: settings.at_capacity,
            admission: Arc::new(Admission {
                addresses: Addresses::new(settings.max_per_address(max_connections)),
                on_accept: settings.on_accept,
            }),
            rejected: RejectedPeers::default(),
        };
        acceptor.shared.listeners().start(settings.listeners);
        // The probe lives as long as the server, and is aborted when this future is dropped.
        let _probe = acceptor.registry.start_probe();
        // The listeners have started: at `READY=1`, systemd starts the services that depend on this server.
        notify_systemd(notifies_systemd, "READY=1");
        // The future is pinned here, so that the futures around it do not hold it twice.
        let until_drained = pin!(accept_then_drain(&acceptor, handle, notifies_systemd));
        let publishing = publishing(&acceptor.registry, until_drained);
        acceptor.registry.sweeping(publishing).await
    }

    /// Serves as [`listen`](Self::listen) does, and drains as soon as `stop` is ready.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`listen`](Self::listen).
    ///
    /// # Cancel safety
    ///
    /// As for [`listen`](Self::listen).
    #[must_use = "a server does nothing until it is awaited: write `.listen_until(…).await`"]
    pub async fn listen_until(self, stop: impl Future) -> Result<Report> {
        let handle = self.handle();
        let mut report = pin!(self.listen());
        // `stop` is dropped before the drain.
        tokio::select! {
            biased;
            _ = stop => handle.stop(),
            report = &mut report => return report,
        }
        report.await
    }

    /// Serves as [`listen`](Self::listen) does, and drains on Ctrl-C or SIGTERM. A second signal ends the server at
    /// once.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Server::listen_until_signal`](super::Server::listen_until_signal).
    ///
    /// # Cancel safety
    ///
    /// As for [`listen`](Self::listen).
    #[must_use = "a server does nothing until it is awaited: write `.listen_until_signal().await`"]
    pub async fn listen_until_signal(self) -> Result<Report> {
        let signals = Signals::catch().map_err(Error::signals)?;
        self.listen_until_signals(signals).await
    }

    /// Serves until the server is done. The first signal stops it, the second aborts it.
    pub(super) async fn listen_until_signals(self, mut signals: Signals) -> Result<Report> {
        let handle = self.handle();
        let stop_at_signals = async {
            signals.next().await;
            tracing::info!("stopping; a second signal ends the server at once");
            handle.stop();
            signals.next().await;
            handle.abort();
            pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            report = self.listen() => report,
            never = stop_at_signals => match never {},
        }
    }
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer")
            .field("local_addrs", &self.local_addrs().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Accepts until the server is done, or its lame-duck phase is over, then drains.
async fn accept_then_drain(
    acceptor: &Acceptor,
    handle: &ServerHandle,
    notifies_systemd: bool,
) -> Result<Report> {
    let limits = acceptor.registry.limits();
    let accepted = accept_until_stopped(acceptor, handle, notifies_systemd).await;
    // The listeners close before the drain: a new connection would receive *going away* at once, although its peer
    // could have reached another server.
    acceptor.shared.listeners().close();
    let abort = timeout(
        limits.drain_timeout.as_duration(),
        handle.wait_for(Order::Abort),
    );
    let report = acceptor.registry.drain(abort).await;
    acceptor.rejected.detach();
    let aborted = report.requests.aborted;
    if aborted > 0 {
        tracing::warn!(%report, "stopped; requests in flight were aborted");
    } else {
        tracing::info!(%report, "stopped");
    }
    // The error is returned only now, because the requests in flight are finished also if the accept has failed.
    accepted.map_err(Error::accept)?;
    if handle.has_given(Order::Abort) {
        return Err(Error::interrupted(aborted));
    }
    Ok(report)
}

/// Accepts until no listener is left, or the server was stopped and its lame-duck phase is over.
async fn accept_until_stopped(
    acceptor: &Acceptor,
    handle: &ServerHandle,
    notifies_systemd: bool,
) -> io::Result<()> {
    let lame_duck = acceptor.registry.limits().lame_duck;
    // Both phases share one future, because it has the permits of the connections.
    let mut accepting = pin!(acceptor.accept_all());
    let ended = tokio::select! {
        biased;
        () = handle.wait_for(Order::Stop) => None,
        accepted = &mut accepting => Some(accepted),
    };
    // A server without listeners is stopped as well, and its handle must show that.
    handle.stop();
    notify_systemd(notifies_systemd, "STOPPING=1");
    match ended {
        Some(accepted) => accepted,
        None if lame_duck.is_zero() => Ok(()),
        None => tokio::select! {
            biased;
            _ = timeout(lame_duck.as_duration(), handle.wait_for(Order::Abort)) => Ok(()),
            accepted = accepting => accepted,
        },
    }
}
