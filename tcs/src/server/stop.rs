//! The handle that stops a server.

use std::sync::Arc;

use tokio::sync::watch;

use super::{registry::Registry, report::Report};

/// A handle that observes and stops a server from elsewhere. It can be cloned.
///
/// Dropping a handle does not stop the server.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    order: watch::Sender<Order>,
    registry: Arc<Registry>,
}

/// Stops a server when it is dropped, so that tasks that wait for its stop continue.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) ServerHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// An order to a server. A later variant includes the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Serve,
    Stop,
    Abort,
}

impl ServerHandle {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self {
            order: watch::Sender::new(Order::Serve),
            registry,
        }
    }

    /// Returns the current counts: open connections, requests in flight, and ended requests and connections by outcome.
    ///
    /// This method reads the counters of all open connections, which takes microseconds for a thousand of them and
    /// delays no request. You can also call it before `listen`, and after the server has ended.
    ///
    /// A reply counts once the operating system has taken it, so on a multi-threaded runtime a client may receive a
    /// reply before it counts. In a test, stop the server and inspect its [`Report`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tcs::{ConcurrentServer, Connection, server_protocol};
    ///
    /// #[server_protocol]
    /// fn greet(name: &str) -> String {
    ///     format!("Hello, {name}!")
    /// }
    ///
    /// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
    /// let (addr, handle) = (server.local_addr(), server.handle());
    /// let serving = tokio::spawn(server.listen());
    ///
    /// let mut connection = Connection::connect(addr).await?;
    /// connection.call::<Greet>("Ann").await?;
    ///
    /// let stats = handle.stats();
    /// assert_eq!((stats.connections.open, stats.requests.received), (1, 1));
    ///
    /// handle.stop();
    /// let report = serving.await??;
    /// assert_eq!(report.requests.served, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> Report {
        self.registry.stats()
    }

    /// Returns how much memory large buffers have reserved, for tests.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn reserved_bytes(&self) -> u64 {
        self.registry.reserved_bytes()
    }

    pub(super) const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Stops the server gracefully. After its [`lame_duck`](super::Server::lame_duck) phase, if it has one, it finishes
    /// the requests in flight within the drain timeout.
    ///
    /// This method returns immediately; `listen` returns when the drain is done. Further calls have no effect. If the
    /// server does not listen yet, it stops as soon as it does. You can also call this method in a protocol function.
    #[doc(alias("shutdown", "graceful"))]
    pub fn stop(&self) {
        self.raise(Order::Stop);
    }

    /// Ends the server at once and aborts the requests in flight. `listen` then returns an error of
    /// kind [`Interrupted`](crate::ErrorKind::Interrupted).
    pub fn abort(&self) {
        self.raise(Order::Abort);
    }

    /// Returns `true` if the server is going to end: it has been stopped or aborted, its listeners have failed, or it
    /// has been dropped.
    ///
    /// Use it to answer the health checks of a load balancer: it returns `true` in the
    /// [`lame_duck`](super::Server::lame_duck) phase, while connections are served as before. In a protocol function,
    /// use [`Draining`](crate::protocol::Draining) instead.
    pub fn is_stopping(&self) -> bool {
        self.has_given(Order::Stop)
    }

    /// Waits until [`is_stopping`](Self::is_stopping) returns `true`.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    ///
    /// # Examples
    ///
    /// Opens a port for as long as the server is ready:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// use std::time::Duration;
    ///
    /// use tcs::{ConcurrentServer, server_protocol};
    ///
    /// #[server_protocol]
    /// fn greet(name: &str) -> String {
    ///     format!("Hello, {name}!")
    /// }
    ///
    /// let server = ConcurrentServer::new(Greet).port(0).lame_duck(Duration::from_millis(100));
    /// let server = server.bind().await?;
    /// let handle = server.handle();
    /// let readiness = ConcurrentServer::new(Greet).port(0);
    ///
    /// handle.stop();
    /// tokio::try_join!(server.listen(), readiness.listen_until(handle.stopping()))?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stopping(&self) {
        self.wait_for(Order::Stop).await;
    }

    /// Raises the order to at least `order`.
    fn raise(&self, order: Order) {
        // Orders only rise. A `stop` after an `abort` must not replace the `abort`.
        self.order.send_modify(|last| *last = order.max(*last));
    }

    /// Returns `true` if the order given is at least `order`.
    pub(super) fn has_given(&self, order: Order) -> bool {
        *self.order.borrow() >= order
    }

    /// Waits until the order given is at least `order`.
    ///
    /// Cancel safe: an order is never withdrawn.
    pub(super) async fn wait_for(&self, order: Order) {
        // This cannot fail, because the handle itself is a sender.
        drop(self.order.subscribe().wait_for(|last| *last >= order).await);
    }
}
