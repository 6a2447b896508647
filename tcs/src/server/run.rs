//! The ways to run a server: on the runtime of the caller, on its own, on its own thread (`thread.rs`), or over one
//! stream.

use std::pin::pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Instrument as _;

use super::{
    bound::BoundServer,
    builder::Server,
    connection::{Connection, NewConnection},
    metrics::publishing,
    mode::Mode,
    report::Report,
    thread::ServerThread,
    unbound::{bind_or_log, listen_until_signal},
};
use crate::{Peer, Result, protocol::ServerProtocol, runtime::inside_runtime, transport::Stream};

impl<P: ServerProtocol, M: Mode> Server<P, M> {
    /// Binds the port without accepting connections yet. New connections wait in the backlog.
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
        inside_runtime("bind()")?;
        self.unbound()?.bind().await
    }

    /// Serves on the caller's runtime until the server [is done](crate::server).
    ///
    /// To do other work meanwhile, call [`bind`](Self::bind) and spawn [`BoundServer::listen`]. If you spawn this
    /// method instead, only the log shows that the port cannot be bound.
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
    #[doc(alias = "serve")]
    pub async fn listen(self) -> Result<Report> {
        inside_runtime("listen()")?;
        bind_or_log(self.unbound()).await?.listen().await
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
        inside_runtime("listen_until()")?;
        bind_or_log(self.unbound()).await?.listen_until(stop).await
    }

    /// Serves as [`listen`](Self::listen) does, and drains on Ctrl-C or SIGTERM. A second signal ends the
    /// server at once.
    ///
    /// From this call on, these signals no longer end the process by default, even after the server has returned.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`listen`](Self::listen); [`Runtime`](crate::ErrorKind::Runtime) if
    /// the signals cannot be caught; [`Interrupted`](crate::ErrorKind::Interrupted) after a second
    /// signal.
    ///
    /// # Cancel safety
    ///
    /// As for [`listen`](Self::listen).
    pub async fn listen_until_signal(self) -> Result<Report> {
        inside_runtime("listen_until_signal()")?;
        listen_until_signal(self.unbound()).await
    }

    /// Serves on a new multi-threaded runtime until the server is done, or Ctrl-C or SIGTERM stops it.
    ///
    /// The first signal drains the server, and a second one ends it at once. The report is logged. To get the report,
    /// or to use your own runtime, call [`listen_until_signal`](Self::listen_until_signal).
    ///
    /// If the program has no `tracing` subscriber and no [`on_listening`](Self::on_listening), the address is printed
    /// to stderr.
    ///
    /// Use the option `blocking` for a function that blocks its thread. Otherwise it can stall the whole runtime,
    /// including signals.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`listen_until_signal`](Self::listen_until_signal);
    /// [`Runtime`](crate::ErrorKind::Runtime) inside a tokio runtime.
    #[doc(alias = "serve")]
    pub fn run(self) -> Result<()> {
        self.unbound()?.run()
    }

    /// Binds the port and serves on a new thread, with its own runtime.
    ///
    /// Use this method in a program that is not `async` and does other work meanwhile. In `async` code, use
    /// [`bind`](Self::bind). This method installs no signal handler.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`bind`](Self::bind); [`Runtime`](crate::ErrorKind::Runtime) inside a
    /// tokio runtime, or if no thread can be spawned.
    pub fn start(self) -> Result<ServerThread> {
        ServerThread::start(self.unbound()?)
    }

    /// Serves one connection over a stream that you have connected or accepted, until the connection ends.
    ///
    /// All limits apply except those per address, and a [`OnceServer`](crate::OnceServer) serves one request. To accept
    /// connections, implement [`Listener`](crate::transport::Listener).
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) and [`Runtime`](crate::ErrorKind::Runtime) as
    /// [`bind`](Self::bind) does; and `Setting` if the server has a handshake, a listener, or an
    /// [`on_listening`](Self::on_listening).
    ///
    /// # Panics
    ///
    /// Panics if [`open_session`](ServerProtocol::open_session), [`framing`](ServerProtocol::framing),
    /// [`greeting`](ServerProtocol::greeting), the encoding of the greeting, the drop of the session, or the stream
    /// panics. Other panics are answered or close the connection, as over TCP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream and aborts the request in progress. There is no drain.
    pub async fn serve_stream(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
    ) -> Result<Report> {
        inside_runtime("serve_stream()")?;
        self.check_for_stream()?;
        let (shared, settings) = self.shared()?;
        let registry = settings.registry();
        let new = NewConnection::register(&registry, Stream::new(stream), peer, None);
        let span = new.span();
        // The connection ends when it is dropped, at the end of this block. The report must come after that.
        let served = pin!(
            async {
                Connection::open(shared, new).serve().await;
            }
            .instrument(span)
        );
        registry.sweeping(publishing(&registry, served)).await;
        Ok(registry.report())
    }
}
