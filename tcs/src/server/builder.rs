//! The servers, their settings as methods, and the ways to run them.

use std::{marker::PhantomData, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    bound::{BoundServer, ServerPlan},
    config::{Concurrent, Iterative, Mode, Once, Settings},
    connection::{CloseKind, Connection, NewConnection},
    registry::Registry,
    report::Report,
    run::ServerThread,
    shared::Shared,
};
use crate::{
    Address, ConnectionInfo, Peer, Result, ServerProtocol, TimeLimit,
    limit::min_frame_len,
    runtime::{Instead, inside_runtime},
};

/// Answers one request and returns.
#[doc(alias = "Server")]
pub type OnceServer<P> = Server<P, Once>;

/// Serves one connection at a time; the others wait in the backlog of the operating system.
pub type IterativeServer<P> = Server<P, Iterative>;

/// Serves each connection in a task of its own.
#[doc(alias = "MultithreadedServer")]
pub type ConcurrentServer<P> = Server<P, Concurrent>;

/// A protocol and the settings it is served with; `M` is one of [`Once`], [`Iterative`] and
/// [`Concurrent`].
///
/// The settings that are times take a [`Duration`](std::time::Duration), or `None` to switch the limit off. Limits are
/// checked several times in the shortest of them, so they end up to a quarter of that late, and
/// never more than 250 ms; never early.
#[must_use = "a server does nothing until it runs: call `run()`, or `listen().await`"]
pub struct Server<P, M> {
    protocol: P,
    settings: Settings,
    mode: PhantomData<M>,
}

impl<P: ServerProtocol> ConcurrentServer<P> {
    /// Caps how many connections are open at once.
    ///
    /// At the cap the server stops accepting, so further peers wait in the backlog of the operating
    /// system. Zero is refused by [`bind`](Self::bind). Default: 1,024, or what the descriptor limit
    /// (`RLIMIT_NOFILE`) leaves when 100 are reserved for the rest of the program.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.settings.max_connections = limit;
        self
    }
}

impl<P: ServerProtocol, M: Mode> Server<P, M> {
    /// Serves `protocol` on 127.0.0.1:1234, with the defaults of all settings.
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            settings: Settings::new::<M>(),
            mode: PhantomData,
        }
    }

    /// Sets the port. 0 is a free one, which [`BoundServer::local_addr`] and
    /// [`on_listening`](Self::on_listening) tell. Default: 1234.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address.set_port(port);
        self
    }

    /// Sets where to listen: `"0.0.0.0:7000"`, `("localhost", 7000)`, a [`SocketAddr`]; without a
    /// port, that stays as it is. Default: 127.0.0.1:1234, which only this machine can reach.
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.settings.address.replace(address.into());
        self
    }

    /// Caps the bytes of a message, in both directions.
    ///
    /// A larger request is refused; a larger reply is replaced by a failure. Memory is taken for
    /// bytes that have arrived only, never for a length that a peer claims. Zero, more than 512 MiB,
    /// and less than every message of a framing has ([`Fixed`](crate::Fixed)), are refused by
    /// [`bind`](Self::bind). Default: 8 MiB.
    pub fn max_frame_len(mut self, bytes: usize) -> Self {
        self.settings.limits.frame_len = bytes;
        self
    }

    /// Caps how long a connection may stay open without the first byte of a request.
    ///
    /// Then it is told *idle*, where the framing can, and closed. Default: 300 s; 5 s for an
    /// [`IterativeServer`], where it keeps the others waiting; 30 s for a [`OnceServer`].
    pub fn idle_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.settings.limits.idle = limit.duration().into();
        self
    }

    /// Caps how long a frame may take from its first byte to its last; each 64 KiB of it that
    /// arrived earn a second more.
    ///
    /// Then the connection is told *idle*, where the framing can, and closed. Default: 30 s.
    pub fn frame_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.settings.limits.frame = limit.duration().into();
        self
    }

    /// Caps how long a protocol function may take from where it first waits.
    ///
    /// Then it is dropped where it stands and its request answered *timed out*; the connection
    /// closes if it has a session. A function that does not wait, or is `blocking`, is not cut.
    /// Default: `None`, because where a transaction may be cut is your decision.
    pub fn request_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.settings.limits.request = limit.duration().into();
        self
    }

    /// Caps how long the server still works for a peer that has closed its sending half, counted from
    /// then.
    ///
    /// Such a peer may wait for its replies, as `nc -N` does, or be gone. When the time is over, a
    /// function that waits is dropped, its request is answered *timed out*, and the connection closes. A
    /// function that computes, or is `blocking`, is not dropped. With [`UntilEof`](crate::UntilEof)
    /// every request ends like this, so the limit is that of its function. Default: 30 s.
    pub fn half_close_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.settings.limits.half_close = limit.duration().into();
        self
    }

    /// Caps how long the server waits for a peer that does not read, or reads too slowly.
    ///
    /// The time begins when a write has to wait, and ends when all replies that are written have been
    /// sent. Each 64 KiB that the peer takes meanwhile add a second. When the time is over, the
    /// connection is dropped. Default: 30 s.
    pub fn write_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.settings.limits.write = limit.duration().into();
        self
    }

    /// Caps how long the server, when it closes first, waits for the peer to do the same; what
    /// arrives in the meantime is dropped.
    ///
    /// Without this wait, unread input would make the operating system reset the connection, and
    /// the last reply could be lost. A connection that waits for a request is closed without it if
    /// nothing is unread. `None` does not wait. Default: 2 s.
    pub fn linger(mut self, limit: impl TimeLimit) -> Self {
        self.settings.limits.linger = limit.duration().into();
        self
    }

    /// Caps how long a stopped server waits for the requests in flight; the rest is then cut.
    ///
    /// A function that computes or blocks cannot be cut: the server returns without it, and it goes on
    /// until it ends, or its process does. Default: 30 s.
    pub fn drain_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.settings.drain = limit.duration();
        self
    }

    /// Sets how long a connection may process requests within one poll of its task before it sends
    /// what is ready and lets other tasks run. Default: 100 µs. For measurements.
    #[doc(hidden)]
    pub fn poll_budget(mut self, budget: Duration) -> Self {
        self.settings.limits.poll = budget;
        self
    }

    /// Caps how many `blocking` functions run at once; further ones wait their turn.
    ///
    /// Zero is refused by [`bind`](Self::bind). Default: 512.
    pub fn max_blocking(mut self, limit: usize) -> Self {
        self.settings.max_blocking = limit;
        self
    }

    /// Calls `tell` with the address as soon as the server accepts connections there.
    pub fn on_listening(mut self, tell: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.settings.on_listening = Some(Box::new(tell));
        self
    }

    /// Takes the port, without accepting connections yet; they wait in the backlog.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) names a setting whose value makes no sense;
    /// [`Resolve`](crate::ErrorKind::Resolve) and [`Listen`](crate::ErrorKind::Listen) are about the
    /// address; [`Runtime`](crate::ErrorKind::Runtime) says that there is no tokio runtime here.
    ///
    /// # Cancel safety
    ///
    /// Safe; a port that was taken is free again.
    pub async fn bind(self) -> Result<BoundServer> {
        inside_runtime("bind()", Instead::Run)?;
        self.plan()?.bind().await
    }

    /// Serves until the lifetime of this server is over, on the runtime of the caller.
    ///
    /// It installs no signal handler; [`listen_until_signal`](Self::listen_until_signal) does.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// #[tokio::main]
    /// async fn main() -> tcs::Result<()> {
    ///     tcs::ConcurrentServer::new(Greet).listen().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind) and of [`BoundServer::listen`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and cuts every connection.
    pub async fn listen(self) -> Result<Report> {
        inside_runtime("listen()", Instead::Run)?;
        self.plan()?.bind().await?.listen().await
    }

    /// Serves like [`listen`](Self::listen), and drains as soon as `stop` is ready.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> tcs::Result<()> {
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// let night = tokio::time::sleep(std::time::Duration::from_secs(8 * 3600));
    /// let report = tcs::ConcurrentServer::new(Greet).listen_until(night).await?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn listen_until(self, stop: impl Future) -> Result<Report> {
        inside_runtime("listen_until()", Instead::Run)?;
        self.bind().await?.listen_until(stop).await
    }

    /// Serves like [`listen`](Self::listen), and drains at Ctrl-C or SIGTERM; a second one ends the
    /// server at once.
    ///
    /// From then on, and for good, these signals no longer end the process by themselves.
    ///
    /// # Errors
    ///
    /// Those of [`listen`](Self::listen); [`Runtime`](crate::ErrorKind::Runtime) when the signals
    /// cannot be caught; [`Interrupted`](crate::ErrorKind::Interrupted) after a second signal.
    pub async fn listen_until_signal(self) -> Result<Report> {
        inside_runtime("listen_until_signal()", Instead::Run)?;
        self.plan()?.listen_until_signal().await
    }

    /// Serves until the lifetime of this server is over, Ctrl-C, or SIGTERM; brings its own
    /// multi-threaded runtime.
    ///
    /// A signal drains the server; a second one ends it at once. The report is logged. To get it, or
    /// on a runtime of your own, use [`listen_until_signal`](Self::listen_until_signal).
    ///
    /// A function that blocks its thread belongs under `blocking`; without it, it can hold up everything
    /// on the runtime, signals among it.
    ///
    /// # Errors
    ///
    /// Those of [`listen_until_signal`](Self::listen_until_signal);
    /// [`Runtime`](crate::ErrorKind::Runtime) inside of a tokio runtime.
    pub fn run(self) -> Result<()> {
        self.plan()?.run()
    }

    /// Takes the port, and serves on a thread of its own with a runtime of its own.
    ///
    /// For programs that are not `async` and do something else meanwhile; those that are have
    /// [`bind`](Self::bind). It installs no signal handler.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind); [`Runtime`](crate::ErrorKind::Runtime) inside of a tokio runtime, and
    /// where there can be no more threads.
    pub fn start(self) -> Result<ServerThread> {
        self.plan()?.start()
    }

    /// Serves one connection over any stream: a Unix socket, a pipe in memory.
    ///
    /// The same loop and limits as over TCP, and one request for a [`OnceServer`]; the peer has no
    /// address. It returns when the connection has ended.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) and [`Runtime`](crate::ErrorKind::Runtime), as
    /// [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// When [`open_session`](ServerProtocol::open_session), [`framing`](ServerProtocol::framing) or
    /// [`greeting`](ServerProtocol::greeting) does. Other panics are answered, as over TCP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream and cuts the request that is processed.
    pub async fn serve_stream<S>(self, stream: S) -> Result<Report>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        inside_runtime("serve_stream()", Instead::Nothing)?;
        let (shared, settings) = self.shared()?;
        let registry = Registry::new(settings.limits);
        let registration = registry.register();
        let blocking = settings.blocking();
        let mut connection = Connection::open(Box::new(NewConnection {
            shared,
            stream,
            close: CloseKind::Shutdown,
            info: ConnectionInfo::of(Peer::unnamed(), None, registration.id(), blocking),
            registration,
            permit: None,
        }));
        registry.sweeping(pin!(connection.serve())).await;
        // It has ended when it is dropped, and the report is made after that.
        drop(connection);
        Ok(registry.report())
    }

    /// Returns the server without its types.
    fn plan(self) -> Result<ServerPlan> {
        let (served, settings) = self.shared()?;
        Ok(ServerPlan { served, settings })
    }

    /// Checks the settings; returns what the connections share.
    fn shared(self) -> Result<(Arc<Shared<P>>, Settings)> {
        self.settings.check(min_frame_len::<P::Framing>())?;
        let shared = Shared::new(self.protocol, self.settings.limits, M::IS_ONCE);
        Ok((Arc::new(shared), self.settings))
    }
}

impl<P, M> std::fmt::Debug for Server<P, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.settings.address)
            .finish_non_exhaustive()
    }
}
