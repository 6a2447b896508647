//! The ways to run a server: until a signal, on its own runtime, on its own thread.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    panic::resume_unwind,
    thread::{self, JoinHandle},
};

use tokio::runtime::Builder;

use super::{
    bound::{BoundServer, ServerPlan},
    report::Report,
    stop::{ServerHandle, Signals},
};
use crate::{
    Error, Result,
    runtime::{block_on, new_runtime},
};

impl ServerPlan {
    /// Serves until the server is done. The first signal stops it, the second aborts it.
    pub(super) async fn listen_until_signal(self) -> Result<Report> {
        let signals = Signals::catch().map_err(Error::signals)?;
        self.bind().await?.listen_until_signals(signals).await
    }

    /// Serves on a new runtime until the server is done or a signal stops it.
    pub(super) fn run(self) -> Result<()> {
        let report = self.listen_until_signal();
        block_on("listen_until_signal()", Builder::new_multi_thread, report).map(drop)
    }

    /// Binds the port and serves on a new thread, with its own runtime.
    pub(super) fn start(self) -> Result<ServerThread> {
        let runtime = new_runtime("start()", "bind()", Builder::new_multi_thread)?;
        let bound = runtime.block_on(self.bind())?;
        let (local_addr, handle) = (bound.local_addrs().next(), bound.handle());
        let serve = move || {
            let report = runtime.block_on(bound.listen());
            runtime.shutdown_background();
            report
        };
        let thread = thread::Builder::new().name("tcs".to_owned()).spawn(serve);
        Ok(ServerThread {
            local_addr,
            handle,
            thread: thread.map_err(Error::thread)?,
        })
    }
}

impl BoundServer {
    /// Like [`listen`](Self::listen), but drains on Ctrl-C or SIGTERM. A second signal ends the server at once.
    ///
    /// See [`Server::listen_until_signal`](super::Server::listen_until_signal).
    #[must_use = "a server does nothing until it is awaited: write `.listen_until_signal().await`"]
    pub async fn listen_until_signal(self) -> Result<Report> {
        let signals = Signals::catch().map_err(Error::signals)?;
        self.listen_until_signals(signals).await
    }

    /// Serves until the server is done. The first signal stops it, the second aborts it.
    async fn listen_until_signals(self, mut signals: Signals) -> Result<Report> {
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

/// A server on its own thread, for programs that are not `async`, and for their tests.
///
/// Dropping this value does not stop the server. It runs until it is done, its [`ServerHandle`]
/// stops it, or the process ends.
///
/// # Examples
///
/// ```
/// # fn main() -> tcs::Result<()> {
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
/// let server = ConcurrentServer::new(Greet).port(0).start()?;
/// assert_eq!(Client::new(Keep).address(server.local_addr()).run()?, "Hello, Ann!");
///
/// let report = server.stop()?;
/// assert_eq!(report.requests.served, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nobody waits for a server that is dropped: call `join()` or `stop()`"]
pub struct ServerThread {
    local_addr: Option<SocketAddr>,
    handle: ServerHandle,
    thread: JoinHandle<Result<Report>>,
}

impl ServerThread {
    /// Returns the first listening address. If you set port 0, it has the assigned port.
    ///
    /// # Panics
    ///
    /// Panics if no listener has a socket address, as with a Unix socket alone.
    #[expect(clippy::expect_used, reason = "as `BoundServer::local_addr`")]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
            .expect("no listener of this server has a socket address")
    }

    /// Returns a handle that observes and stops the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Waits until the server is done or its handle stops it. Returns the report.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`BoundServer::listen`](super::BoundServer::listen).
    ///
    /// # Panics
    ///
    /// Panics if the function given to [`on_listening`](super::Server::on_listening) has panicked.
    pub fn join(self) -> Result<Report> {
        self.thread
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Stops the server, waits until it is done, and returns the report.
    ///
    /// Requests in flight are finished, within the drain timeout, after the lame-duck phase if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`join`](Self::join).
    ///
    /// # Panics
    ///
    /// Panics if [`join`](Self::join) does.
    pub fn stop(self) -> Result<Report> {
        self.handle.stop();
        self.join()
    }
}
