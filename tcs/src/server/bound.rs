//! A server that has its port.

use std::{marker::PhantomData, net::SocketAddr, pin::pin};

use super::{handle::Handle, mode::Lifetime, report::Report, run::BoundInner};
use crate::{
    Result, ServerProtocol,
    race::{Either, race},
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
    inner: BoundInner,
    types: PhantomData<(P, L)>,
}

impl<P: ServerProtocol, L: Lifetime> Bound<P, L> {
    pub(super) fn new(inner: BoundInner) -> Self {
        Self {
            inner,
            types: PhantomData,
        }
    }

    /// Returns the address that the server listens on, with the port that port 0 became.
    pub const fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Returns what stops the server.
    pub fn handle(&self) -> Handle {
        self.inner.handle.clone()
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
        self.inner.listen().await
    }

    /// Serves like [`listen`](Self::listen), and drains as soon as `stop` is ready.
    #[must_use = "a server does nothing until it is awaited: write `.listen_until(…).await`"]
    pub async fn listen_until(self, stop: impl Future) -> Result<Report> {
        let handle = self.handle();
        let mut served = self.inner.listen();
        // What was waited for is dropped before the drain.
        let ended = {
            let stop = pin!(stop);
            race(stop, pin!(&mut served)).await
        };
        match ended {
            Either::First(_) => {
                handle.stop();
                served.await
            }
            Either::Second(report) => report,
        }
    }
}

impl<P, L> std::fmt::Debug for Bound<P, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound")
            .field("local_addr", &self.inner.local_addr)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        net::{Shutdown, TcpStream},
        os::fd::AsFd as _,
    };

    use crate::{ConcurrentServer, Context, ErrorKind, LengthPrefixed, Peer, Plain, Rejection};

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

    #[tokio::test]
    async fn server_ends_when_its_listener_is_dead() {
        let bound = ConcurrentServer::new(Silent).port(0).bind().await;
        let bound = bound.expect("a free port");
        let descriptor = bound.inner.listener.as_fd().try_clone_to_owned();
        // After shutdown(2), accept(2) says EINVAL.
        TcpStream::from(descriptor.expect("descriptors are left"))
            .shutdown(Shutdown::Both)
            .expect("Linux shuts down listeners as well");
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), bound.listen()).await;
        let error = ended.expect("it ends").expect_err("it cannot accept");
        assert_eq!(error.kind(), ErrorKind::Accept);
    }
}
