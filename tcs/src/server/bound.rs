//! A server that has its port.

use std::{
    future::pending,
    marker::PhantomData,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{net::TcpListener, sync::Notify, time::Instant};

use super::{
    Lifetime,
    accept::{Door, Host, Shared, accept_all},
    registry::Registry,
    report::Report,
    settings::Settings,
};
use crate::{
    Address, Result, ServerProtocol,
    error::Repr,
    race::{Either, passed, race},
    runtime::BoxFuture,
};

/// A server that listens already, and accepts when [`listen`](Self::listen) is called.
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
pub struct Bound<P, L> {
    protocol: P,
    settings: Settings,
    listener: TcpListener,
    local_addr: SocketAddr,
    handle: Handle,
    lifetime: PhantomData<L>,
}

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
enum Order {
    Stop = 1,
    End = 2,
}

impl Handle {
    fn new() -> Self {
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

    /// Waits until the server was told that, or more.
    async fn told(&self, order: Order) {
        loop {
            let given = self.orders.given.notified();
            if self.was_told(order) {
                return;
            }
            given.await;
        }
    }

    fn was_told(&self, order: Order) -> bool {
        self.orders.last.load(Ordering::Acquire) >= order as u8
    }
}

impl<P: ServerProtocol, L: Lifetime> Bound<P, L> {
    pub(super) async fn new(protocol: P, settings: Settings) -> Result<Self> {
        settings.check::<P::Framing>()?;
        let (listener, local_addr) = listen_at(&settings.address).await?;
        Ok(Self {
            protocol,
            settings,
            listener,
            local_addr,
            handle: Handle::new(),
            lifetime: PhantomData,
        })
    }

    /// Returns the address that the server listens on, with the port that port 0 became.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns what stops the server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until the lifetime of this server is over or a [`Handle`] stops it.
    ///
    /// # Errors
    ///
    /// [`Accept`](crate::ErrorKind::Accept) when the listener is dead,
    /// [`Interrupted`](crate::ErrorKind::Interrupted) when [`Handle::end`] was called. Errors of
    /// single connections are logged and end nothing else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and cuts every connection.
    #[must_use = "a server does nothing until it is awaited: write `.listen().await`"]
    pub async fn listen(self) -> Result<Report> {
        self.listen_until(pending::<()>()).await
    }

    /// Serves like [`listen`](Self::listen), and drains as soon as `stop` is ready.
    #[must_use = "a server does nothing until it is awaited: write `.listen_until(…).await`"]
    pub async fn listen_until(self, stop: impl Future) -> Result<Report> {
        let Self {
            protocol,
            settings,
            listener,
            local_addr,
            handle,
            lifetime: PhantomData,
        } = self;
        let registry = Registry::new(settings.limits.shortest());
        let shared = Arc::new(Shared {
            protocol,
            limits: settings.limits,
            door: Door::new(listener),
            requests: L::REQUESTS,
        });
        let host = Host {
            local_addr,
            door: &shared.door,
            registry: &registry,
            blocking: &settings.blocking(),
            at_once: L::at_once(settings.max_connections),
            serve: &|guest| shared.serve(guest),
        };
        let mut served = serve(host, &handle, settings);
        match race(pin!(stop), pin!(&mut served)).await {
            Either::First(_) => {
                handle.stop();
                served.await
            }
            Either::Second(report) => report,
        }
    }
}

/// Serves until the lifetime of the server is over or its handle stops it.
fn serve<'a>(
    host: Host<'a>,
    handle: &'a Handle,
    settings: Settings,
) -> BoxFuture<'a, Result<Report>> {
    let addr = host.local_addr;
    let cut = CutOnDrop(host.door, host.registry);
    tracing::info!(%addr, max_connections = settings.max_connections, "listening");
    if let Some(tell) = settings.on_listening {
        tell(addr);
    }
    let drain = settings.drain;
    Box::pin(async move {
        let CutOnDrop(door, registry) = &cut;
        let report = registry.sweeping(async {
            let stopped = pin!(handle.told(Order::Stop));
            let accepted = match race(stopped, pin!(accept_all(&host))).await {
                Either::First(()) => Ok(()),
                Either::Second(accepted) => accepted,
            };
            door.close();
            let deadline = drain.and_then(|timeout| Instant::now().checked_add(timeout));
            let (ended, late) = (pin!(handle.told(Order::End)), pin!(passed(deadline)));
            let report = registry.drain(race(ended, late)).await;
            accepted.map(|()| report)
        });
        let report = report.await.map_err(|source| Repr::Accept { source })?;
        if report.requests.cut > 0 {
            tracing::warn!(%report, "stopped, and cut what was in flight");
        } else {
            tracing::info!(%report, "stopped");
        }
        if handle.was_told(Order::End) {
            return Err(Repr::Interrupted {
                cut: report.requests.cut,
            }
            .into());
        }
        Ok(report)
    })
}

/// Listens at an address.
fn listen_at(address: &Address) -> BoxFuture<'_, Result<(TcpListener, SocketAddr)>> {
    Box::pin(async { listen_at_any(address.resolve().await?).await })
}

/// Listens at the first of the addresses that is free.
async fn listen_at_any(addrs: Vec<SocketAddr>) -> Result<(TcpListener, SocketAddr)> {
    let mut failure = Repr::Setting {
        setting: "address",
        reason: "has no socket address".to_owned(),
    };
    for addr in addrs {
        let listener = TcpListener::bind(addr).await;
        match listener.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((local_addr, listener)) => return Ok((listener, local_addr)),
            Err(source) => failure = Repr::Listen { addr, source },
        }
    }
    Err(failure.into())
}

/// Closes the listener and cuts what is open, when a server's future is dropped.
struct CutOnDrop<'a>(&'a Door, &'a Registry);

impl Drop for CutOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.1.cut();
    }
}

impl<P, L> std::fmt::Debug for Bound<P, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        net::{Shutdown, TcpStream},
        os::fd::AsFd as _,
    };

    use crate::{ConcurrentServer, Context, ErrorKind, LengthPrefixed, Peer, Plain, Refusal};

    use super::*;

    struct Silent;

    impl ServerProtocol for Silent {
        type Framing = LengthPrefixed;
        type Format = Plain;
        type Session = ();
        type Request<'a> = ();
        type Reply<'a> = ();

        fn open_session(&self, _peer: &Peer) {}

        async fn process_request(&self, _: Context<'_, ()>, (): ()) -> Result<(), Refusal> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn all_addresses_are_tried_in_their_order() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (_first, taken) = listen_at_any(vec![any]).await.expect("a free port");
        let (_second, addr) = listen_at_any(vec![taken, any]).await.expect("a free port");
        assert!(addr != taken && addr.port() != 0);
        let error = listen_at_any(vec![taken, taken]).await.expect_err("taken");
        assert_eq!(error.peer_addr(), Some(taken));
    }

    #[tokio::test]
    async fn server_ends_when_its_listener_is_dead() {
        let bound = ConcurrentServer::new(Silent).port(0).bind().await;
        let bound = bound.expect("a free port");
        let descriptor = bound.listener.as_fd().try_clone_to_owned();
        // After shutdown(2), accept(2) says EINVAL.
        TcpStream::from(descriptor.expect("descriptors are left"))
            .shutdown(Shutdown::Both)
            .expect("Linux shuts down listeners as well");
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), bound.listen()).await;
        let error = ended.expect("it ends").expect_err("it cannot accept");
        assert_eq!(error.kind(), ErrorKind::Accept);
    }
}
