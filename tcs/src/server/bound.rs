//! A server without its types, before and after it binds its port.

use std::{io::ErrorKind, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::timeout};

use super::{
    acceptor::{Acceptor, SpawnConnection},
    config::Settings,
    registry::Registry,
    report::Report,
    stop::{Order, ServerHandle},
};
use crate::{Error, Result, socket::listen};

/// A server that does not listen yet.
pub(super) struct ServerPlan {
    pub(super) shared: Arc<dyn SpawnConnection>,
    pub(super) settings: Settings,
}

impl ServerPlan {
    /// Binds the port.
    pub(super) async fn bind(self) -> Result<BoundServer> {
        let addrs = self.settings.address.resolve().await?;
        let (listener, local_addr) = listen_at_any(&addrs)?;
        Ok(BoundServer {
            plan: self,
            listener,
            local_addr,
            handle: ServerHandle::new(),
        })
    }
}

/// A server that has bound its port, and accepts connections once [`listen`](Self::listen) is
/// called.
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
/// assert_eq!(Client::new(Keep).address(addr).exchange().await?, "Hello, Ann!");
///
/// handle.stop();
/// let report = server.await.expect("no panic")?;
/// assert_eq!(report.requests.served, 1);
/// # Ok(())
/// # }
/// ```
pub struct BoundServer {
    plan: ServerPlan,
    listener: TcpListener,
    local_addr: SocketAddr,
    handle: ServerHandle,
}

impl BoundServer {
    /// Returns the listening address. If you set port 0, it has the assigned port.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns a handle that stops the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
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
    pub async fn listen(self) -> Result<Report> {
        let ServerPlan { shared, settings } = self.plan;
        shared.listener().open(self.listener);
        let max_connections = settings.effective_max_connections();
        let acceptor = Acceptor {
            local_addr: self.local_addr,
            shared,
            registry: Registry::new(settings.limits),
            blocking: settings.blocking(),
            max_connections,
        };
        tracing::info!(addr = %self.local_addr, max_connections, "listening");
        if let Some(on_listening) = settings.on_listening {
            on_listening(self.local_addr);
        }
        let until_drained = accept_then_drain(&acceptor, &self.handle, settings.drain);
        acceptor.registry.sweeping(until_drained).await
    }

    /// Like [`listen`](Self::listen), but drains as soon as `stop` is ready.
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
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// Accepts until the server is done or stopped, then drains.
async fn accept_then_drain(
    acceptor: &Acceptor,
    handle: &ServerHandle,
    drain: Option<Duration>,
) -> Result<Report> {
    let accepted = tokio::select! {
        biased;
        () = handle.wait_for(Order::Stop) => Ok(()),
        accepted = acceptor.accept_all() => accepted,
    };
    acceptor.shared.listener().close();
    let abort = timeout(
        drain.unwrap_or(Duration::MAX),
        handle.wait_for(Order::Abort),
    );
    let report = acceptor.registry.drain(abort).await;
    accepted.map_err(Error::accept)?;
    let aborted = report.requests.aborted;
    if aborted > 0 {
        tracing::warn!(%report, "stopped; requests in flight were aborted");
    } else {
        tracing::info!(%report, "stopped");
    }
    if handle.has_given(Order::Abort) {
        return Err(Error::interrupted(aborted));
    }
    Ok(report)
}

/// Listens on the first address that this machine has.
///
/// An address that is in use is an error. If the next one were taken, a second server on `localhost` would
/// listen on the other IP version, and its peers would reach the first server.
fn listen_at_any(addrs: &[SocketAddr]) -> Result<(TcpListener, SocketAddr)> {
    let mut failure = Error::setting("address", "has no socket address");
    for addr in addrs {
        let listener = listen(*addr);
        match listener.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((local_addr, listener)) => return Ok((listener, local_addr)),
            Err(source) => {
                let is_in_use = source.kind() == ErrorKind::AddrInUse;
                failure = Error::listen(*addr, source);
                if is_in_use {
                    break;
                }
            }
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::{
        net::{Shutdown, TcpStream},
        os::fd::AsFd as _,
    };

    use crate::{
        ConcurrentServer, Peer, Rejection,
        format::Plain,
        framing::LengthPrefixed,
        protocol::{Context, ServerProtocol},
    };

    use super::*;

    struct Silent;

    impl ServerProtocol for Silent {
        type Framing = LengthPrefixed;
        type Format = Plain;
        type Session = ();
        type Request<'a> = ();
        type Reply<'a> = ();

        fn open_session(&self, _peer: &Peer) {}

        async fn process_request(&self, _: Context<'_, ()>, (): ()) -> Result<(), Rejection> {
            Ok(())
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn server_ends_when_its_listener_is_dead() {
        let bound = ConcurrentServer::new(Silent).port(0).bind().await;
        let bound = bound.expect("a free port");
        let descriptor = bound.listener.as_fd().try_clone_to_owned();
        // After shutdown(2), accept(2) fails with EINVAL.
        TcpStream::from(descriptor.expect("descriptors are left"))
            .shutdown(Shutdown::Both)
            .expect("Linux shuts down listeners as well");
        let ended = timeout(Duration::from_secs(20), bound.listen()).await;
        let error = ended.expect("it ends").expect_err("it cannot accept");
        assert_eq!(error.kind(), crate::ErrorKind::Accept);
    }

    #[tokio::test]
    async fn addresses_of_other_machines_are_passed_over() {
        // TEST-NET-1 (RFC 5737), which no machine has.
        let elsewhere: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (_listener, addr) = listen_at_any(&[elsewhere, any]).expect("a free port");
        assert!(addr.ip().is_loopback() && addr.port() != 0);
        let error = listen_at_any(&[elsewhere, elsewhere]).expect_err("not here");
        assert_eq!(error.peer_addr(), Some(elsewhere));
    }

    #[tokio::test]
    async fn address_in_use_is_an_error_even_if_another_is_free() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (_first, taken) = listen_at_any(&[any]).expect("a free port");
        let error = listen_at_any(&[taken, any]).expect_err("in use");
        assert_eq!(error.peer_addr(), Some(taken));
    }
}
