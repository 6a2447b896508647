//! A server on a thread of its own.

use std::{
    net::SocketAddr,
    panic::resume_unwind,
    thread::{self, JoinHandle},
};

use tokio::runtime::Builder;

use super::{report::Report, stop::ServerHandle, unbound::UnboundServer};
use crate::{Error, Result, runtime::new_runtime};

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
    /// Binds the port and serves on a new thread, with its own runtime.
    pub(super) fn start(server: UnboundServer) -> Result<Self> {
        let runtime = new_runtime("start()", "bind()", Builder::new_multi_thread)?;
        // This thread binds the port, so that `start` returns an error of the address.
        let bound = runtime.block_on(server.bind())?;
        let (local_addr, handle) = (bound.local_addrs().next(), bound.handle());
        let serve = move || {
            let report = runtime.block_on(bound.listen());
            // Dropping the runtime would wait for functions under `blocking`, although the drain no longer waits for
            // them.
            runtime.shutdown_background();
            report
        };
        let thread = thread::Builder::new().name("tcs".to_owned()).spawn(serve);
        Ok(Self {
            local_addr,
            handle,
            thread: thread.map_err(Error::thread)?,
        })
    }

    /// Returns the first listening address. If you set port 0, it contains the assigned port.
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

    /// Waits until the server is done or its handle stops it, and returns the report.
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
