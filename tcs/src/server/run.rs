//! The ways to run a server: until a signal, on a runtime of its own, on a thread of its own.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    panic::resume_unwind,
    thread::{self, JoinHandle},
};

use tokio::runtime::Builder;

use super::{
    bound::ServerPlan,
    report::Report,
    stop::{ServerHandle, Signals},
};
use crate::{
    Result,
    error::Repr,
    runtime::{BoxFuture, block_on, block_on_this, new_runtime},
};

impl ServerPlan {
    /// Serves until the server is done; the first signal stops it, the second aborts it.
    pub(super) fn listen_until_signal(self) -> BoxFuture<'static, Result<Report>> {
        Box::pin(async move {
            let mut signals = Signals::catch().map_err(|source| Repr::Signals { source })?;
            let bound = self.bind().await?;
            let handle = bound.handle();
            let obeying = async {
                signals.next().await;
                tracing::info!("stopping; a second signal ends the server at once");
                handle.stop();
                signals.next().await;
                handle.abort();
                pending::<Infallible>().await
            };
            tokio::select! {
                biased;
                report = bound.serve() => report,
                never = obeying => match never {},
            }
        })
    }

    /// Serves until the server is done, or a signal stops it, on a runtime of its own.
    pub(super) fn run(self) -> Result<()> {
        let served = self.listen_until_signal();
        block_on("listen()", Builder::new_multi_thread, served).map(drop)
    }

    /// Binds the port, and serves on a thread and a runtime of its own.
    pub(super) fn start(self) -> Result<ServerThread> {
        let runtime = new_runtime("start()", "bind()", Builder::new_multi_thread)?;
        let bound = block_on_this(&runtime, self.bind())?;
        let (local_addr, handle) = (bound.local_addr(), bound.handle());
        let serve = move || {
            let report = block_on_this(&runtime, Box::pin(bound.listen()));
            runtime.shutdown_background();
            report
        };
        let thread = thread::Builder::new().name("tcs".to_owned()).spawn(serve);
        Ok(ServerThread {
            local_addr,
            handle,
            thread: thread.map_err(|source| Repr::Start { source })?,
        })
    }
}

/// A server that serves on a thread of its own, for programs that are not `async`, and their tests.
///
/// Dropping it stops nothing: the server goes on until its lifetime is over, its [`ServerHandle`]
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
    local_addr: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<Result<Report>>,
}

impl ServerThread {
    /// Returns the address that the server listens on, with the port that port 0 became.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns what stops the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Waits until the lifetime of the server is over or its handle stops it; returns the report.
    ///
    /// # Errors
    ///
    /// Those of [`BoundServer::listen`](super::BoundServer::listen).
    ///
    /// # Panics
    ///
    /// When what [`on_listening`](super::Server::on_listening) calls has panicked.
    pub fn join(self) -> Result<Report> {
        self.thread
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Stops the server, which finishes what is in flight as long as the drain timeout allows; returns
    /// the report.
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join).
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join) does.
    pub fn stop(self) -> Result<Report> {
        self.handle.stop();
        self.join()
    }
}
