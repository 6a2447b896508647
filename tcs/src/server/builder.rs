//! The server types, their settings, and the methods that run them.

use std::{marker::PhantomData, pin::pin, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    bound::{BoundServer, ServerPlan},
    config::{Concurrent, Iterative, Mode, Once, Settings},
    connection::{Connection, NewConnection},
    registry::Registry,
    report::Report,
    run::ServerThread,
    shared::Shared,
};
use crate::{
    Address, ConnectionInfo, Peer, Result,
    framing::Framing as _,
    limit::assert_parameters,
    protocol::ServerProtocol,
    runtime::{Instead, inside_runtime},
    transport::{Handshake, Listener, Stream},
};

/// A server that answers one request and returns.
#[doc(alias = "Server")]
pub type OnceServer<P> = Server<P, Once>;

/// A server for one connection at a time; others wait in the backlog of the operating system.
pub type IterativeServer<P> = Server<P, Iterative>;

/// A server for many connections at a time, each in its own task.
#[doc(alias = "MultithreadedServer")]
pub type ConcurrentServer<P> = Server<P, Concurrent>;

/// A protocol with the settings to serve it. `M` is [`Once`], [`Iterative`] or [`Concurrent`].
///
/// Time limits take a [`Duration`], or `None` for no limit. They are checked
/// several times per the shortest limit. So a limit ends late by up to a quarter of the shortest
/// or a few milliseconds, at most 250 ms, and never early.
#[must_use = "a server does nothing until it runs: call `run()`, or `listen().await`"]
pub struct Server<P, M> {
    protocol: P,
    settings: Settings,
    mode: PhantomData<M>,
}

impl<P: ServerProtocol> ConcurrentServer<P> {
    /// Sets the maximum number of open connections.
    ///
    /// At the maximum, the server stops accepting, and further peers wait in the backlog of the
    /// operating system. [`bind`](Self::bind) rejects zero. Default: 1,024, or the descriptor limit
    /// (`RLIMIT_NOFILE`, `ulimit -n`) minus 100 if that is lower. The 100 are reserved for the rest of
    /// the program. If the limit leaves room for less than half of the maximum, a warning is logged.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.settings.max_connections = limit;
        self.settings.is_default_max = false;
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

    /// Sets the port. Default: 1234.
    ///
    /// Port 0 selects a free port. [`BoundServer::local_addr`] returns it, and
    /// [`on_listening`](Self::on_listening) receives it.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address.set_port(port);
        self.settings.has_address = true;
        self
    }

    /// Sets the listening address: `"0.0.0.0:7000"`, `("localhost", 7000)` or a
    /// [`SocketAddr`](std::net::SocketAddr).
    ///
    /// An address without a port leaves the port unchanged. Default: 127.0.0.1:1234, which only
    /// this machine can reach.
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.settings.address.replace(address.into());
        self.settings.has_address = true;
        self
    }

    /// Adds a listener, such as a [`UnixSocket`](crate::transport::UnixSocket) or a [`tokio::net::TcpListener`]
    /// that exists already. See [`transport`](crate::transport).
    ///
    /// A server with listeners of its own listens at an address as well only if you set
    /// [`address`](Self::address) or [`port`](Self::port).
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.settings.listeners.push(Box::new(listener));
        self
    }

    /// Sets whether other servers can listen at the same [`address`](Self::address), also in other processes
    /// (`SO_REUSEPORT`, socket(7)). All of them must set it. Default: `false`.
    ///
    /// The operating system then distributes new connections among them. One server per thread, each with its own
    /// runtime, scales accepting beyond one loop. When one of them closes its listener, Linux resets the
    /// connections that wait in its backlog. To replace a process without that, pass its sockets on: see
    /// `docs/deploy.md`.
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    pub fn reuse_port(mut self, is_shared: bool) -> Self {
        self.settings.reuse_port = is_shared;
        self
    }

    /// Tells systemd when the server accepts connections (`READY=1`), and when it drains (`STOPPING=1`), for services
    /// with `Type=notify`. See `sd_notify(3)`. Without systemd it has no effect.
    #[cfg(all(unix, feature = "systemd"))]
    pub fn notify_systemd(mut self) -> Self {
        self.settings.systemd.is_notified = true;
        self
    }

    /// Adds a handshake to the connections of [`address`](Self::address). It runs after those that were added
    /// before.
    ///
    /// Other listeners have their own: see [`Listener::with_handshake`].
    pub fn handshake(mut self, handshake: impl Handshake) -> Self {
        self.settings.handshakes.push(Arc::new(handshake));
        self.settings.has_address = true;
        self
    }

    /// Serves the connections of [`address`](Self::address) over TLS. Same as [`handshake`](Self::handshake) with
    /// `tls`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// use tcs::{ConcurrentServer, transport::Tls};
    ///
    /// # fn main() -> tcs::Result<()> {
    /// ConcurrentServer::new(Greet).tls(Tls::from_pem("cert.pem", "key.pem")?).run()
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: crate::transport::Tls) -> Self {
        self.handshake(tls)
    }

    /// Sets how long the handshakes of a connection may take together.
    ///
    /// Then the connection is dropped. A server that is stopped drops connections in their handshake at once.
    /// Default: 10 s.
    pub fn handshake_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.handshake = limit.into().into();
        self
    }

    /// Sets the maximum length of a message in bytes, in both directions.
    ///
    /// A larger request is rejected. A larger reply is replaced by a failure. Memory is allocated
    /// only for bytes that have arrived, never for a length that a peer claims. The request itself may take more
    /// memory: an element of a list takes the size of its type, and as little as a byte of the message (two in
    /// `Json` and `Protobuf`).
    /// [`bind`](Self::bind) rejects zero, more than 512 MiB, and less than the framing's shortest
    /// message ([`Fixed`](crate::framing::Fixed)). Default: 8 MiB.
    pub fn max_frame_len(mut self, bytes: usize) -> Self {
        self.settings.limits.frame_len = bytes;
        self
    }

    /// Sets how long a connection may stay open without a request.
    ///
    /// Frames that are not requests, such as notices, do not restart it. A frame that has started in time may
    /// still complete.
    ///
    /// Then the server sends *idle*, if the framing can carry it, and closes the connection.
    /// Default: 300 s; 5 s for an [`IterativeServer`], where an idle connection keeps the others
    /// waiting; 30 s for a [`OnceServer`].
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.idle = limit.into().into();
        self
    }

    /// Sets how long a frame may take from its first byte to its last. Each 64 KiB received adds a
    /// second.
    ///
    /// Then the server sends *idle*, if the framing can carry it, and closes the connection.
    /// Default: 30 s.
    pub fn frame_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.frame = limit.into().into();
        self
    }

    /// Sets how long a protocol function may take, counted from its first wait.
    ///
    /// Then the function is dropped at its `.await`, and the request is answered *timed out*. The
    /// connection closes if it has a session. A function that does not wait, or is `blocking`, is
    /// not dropped. Default: `None`, because only you know where a transaction may be
    /// interrupted.
    pub fn request_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.request = limit.into().into();
        self
    }

    /// Sets how long the server works for a peer after the peer has closed its sending half.
    ///
    /// The peer may be waiting for its replies, as `nc -N` does, or be gone. When the limit expires, a
    /// function that waits is dropped, its request is answered *timed out*, and the connection
    /// closes. A function that computes, or is `blocking`, is not dropped. With
    /// [`UntilEof`](crate::framing::UntilEof) every request ends with a half-close, so this limits its
    /// function. Default: 30 s.
    pub fn half_close_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.half_close = limit.into().into();
        self
    }

    /// Sets how long the server waits for a peer that does not read, or reads too slowly.
    ///
    /// The time starts when a write has to wait, and ends when all written replies are sent. Each
    /// 64 KiB that the peer takes meanwhile adds a second. When the limit expires, the connection is
    /// dropped. Default: 30 s.
    pub fn write_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.write = limit.into().into();
        self
    }

    /// Sets how long the server waits, after closing first, for the peer to close. Input that
    /// arrives meanwhile is dropped.
    ///
    /// Without this wait, unread input would make the operating system reset the connection, and
    /// the last reply could be lost. A connection that waits for a request closes without it if
    /// nothing is unread. `None` does not wait. Default: 2 s.
    pub fn linger(mut self, limit: impl Into<Option<Duration>>) -> Self {
        // No limit means no wait, as zero does.
        self.settings.limits.linger = Some(limit.into().unwrap_or_default()).into();
        self
    }

    /// Sets how long a stopped server waits for the requests in flight. The rest is then aborted.
    ///
    /// A function that computes or blocks cannot be interrupted. The server returns without it, and it runs
    /// until it or its process ends. Default: 30 s.
    pub fn drain_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.drain = limit.into();
        self
    }

    /// Sets how long a connection may process requests within one poll of its task, before it sends
    /// the replies that are ready and lets other tasks run. Default: 100 µs. For measurements.
    #[doc(hidden)]
    pub fn poll_budget(mut self, budget: Duration) -> Self {
        self.settings.limits.poll_nanos = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// Sets the maximum number of `blocking` functions that run at the same time. Further ones wait.
    ///
    /// [`bind`](Self::bind) rejects zero. Default: 512.
    pub fn max_blocking(mut self, limit: usize) -> Self {
        self.settings.max_blocking = limit;
        self
    }

    /// Sets a function that is called when the server begins to accept connections.
    ///
    /// It receives the server, which knows its [`local_addr`](BoundServer::local_addr).
    pub fn on_listening(mut self, function: impl FnOnce(&BoundServer) + Send + 'static) -> Self {
        self.settings.on_listening = Some(Box::new(function));
        self
    }

    /// Binds the port without accepting connections yet. They wait in the backlog.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting), with the name of the setting, if a value is
    /// invalid; [`Resolve`](crate::ErrorKind::Resolve) or [`Listen`](crate::ErrorKind::Listen) if
    /// the address cannot be used; [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio
    /// runtime.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. Dropping the future frees the port.
    pub async fn bind(self) -> Result<BoundServer> {
        inside_runtime("bind()", Instead::Run)?;
        self.plan()?.bind().await
    }

    /// Serves until the server is done (see [`server`](crate::server)), on the caller's runtime.
    ///
    /// This method installs no signal handler. To stop on signals, use
    /// [`listen_until_signal`](Self::listen_until_signal).
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
    /// Returns the errors of [`bind`](Self::bind) and of [`BoundServer::listen`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and aborts every connection.
    pub async fn listen(self) -> Result<Report> {
        inside_runtime("listen()", Instead::Run)?;
        self.plan()?.bind().await?.listen().await
    }

    /// Like [`listen`](Self::listen), but drains as soon as `stop` is ready.
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
        self.plan()?.bind().await?.listen_until(stop).await
    }

    /// Like [`listen`](Self::listen), but drains on Ctrl-C or SIGTERM. A second signal ends the
    /// server at once.
    ///
    /// From this call on, for the rest of the process, these signals no longer end the process by
    /// themselves.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`listen`](Self::listen); [`Runtime`](crate::ErrorKind::Runtime) if
    /// the signals cannot be caught; [`Interrupted`](crate::ErrorKind::Interrupted) after a second
    /// signal.
    pub async fn listen_until_signal(self) -> Result<Report> {
        inside_runtime("listen_until_signal()", Instead::Run)?;
        self.plan()?.listen_until_signal().await
    }

    /// Serves on its own multi-threaded runtime until the server is done, Ctrl-C or SIGTERM.
    ///
    /// A signal drains the server. A second signal ends it at once. The report is logged. To get
    /// the report, or to use your own runtime, call
    /// [`listen_until_signal`](Self::listen_until_signal).
    ///
    /// Run a function that blocks its thread under `blocking`. Otherwise it can hold up everything
    /// on the runtime, including signals.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`listen_until_signal`](Self::listen_until_signal);
    /// [`Runtime`](crate::ErrorKind::Runtime) inside a tokio runtime.
    pub fn run(self) -> Result<()> {
        self.plan()?.run()
    }

    /// Binds the port and serves on a new thread, with its own runtime.
    ///
    /// This is for programs that are not `async` and do other work meanwhile; in `async` programs,
    /// use [`bind`](Self::bind). It installs no signal handler.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`bind`](Self::bind); [`Runtime`](crate::ErrorKind::Runtime) inside a
    /// tokio runtime, or if no thread can be spawned.
    pub fn start(self) -> Result<ServerThread> {
        self.plan()?.start()
    }

    /// Serves one connection over any stream that you have connected or accepted.
    ///
    /// The loop and the limits are those of other connections, and a [`OnceServer`] serves one request. Returns
    /// when the connection has ended. To accept connections, write a [`Listener`].
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) and [`Runtime`](crate::ErrorKind::Runtime) as
    /// [`bind`](Self::bind) does.
    ///
    /// # Panics
    ///
    /// Panics if [`open_session`](ServerProtocol::open_session),
    /// [`framing`](ServerProtocol::framing) or [`greeting`](ServerProtocol::greeting) panics, or the
    /// greeting as it is written; if the session panics when it is dropped; and if the stream panics. Other
    /// panics are answered or close the connection, as over TCP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream and aborts the request in progress. There is no drain.
    pub async fn serve_stream(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
    ) -> Result<Report> {
        inside_runtime("serve_stream()", Instead::Nothing)?;
        let (shared, settings) = self.shared()?;
        let registry = Registry::new(settings.limits);
        let registration = registry.register();
        let blocking = settings.blocking();
        let new = Box::new(NewConnection {
            stream: Stream::new(stream),
            closes_on_drop: false,
            info: ConnectionInfo::of(peer, None, registration.id(), blocking),
            registration,
            permit: None,
        });
        let mut connection = Connection::open(shared, new);
        registry.sweeping(pin!(connection.serve())).await;
        // The connection ends when it is dropped, so the report is made after that.
        drop(connection);
        Ok(registry.report())
    }

    /// Erases the types of the server.
    fn plan(self) -> Result<ServerPlan> {
        let (shared, settings) = self.shared()?;
        Ok(ServerPlan { shared, settings })
    }

    /// Checks the settings. Returns the state that the connections share.
    fn shared(self) -> Result<(Arc<Shared<P>>, Settings)> {
        const { assert_parameters::<P::Framing>() };
        self.settings.check(P::Framing::MIN_MESSAGE_LEN)?;
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
