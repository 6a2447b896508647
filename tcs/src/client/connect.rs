//! Connecting.

use std::net::SocketAddr;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{channel::Channel, connection::Connection, options::ConnectOptions};
use crate::{
    Address, Error, Framing, Peer, Result,
    limit::min_frame_len,
    runtime::{Instead, inside_runtime},
    socket::{connect, send_without_delay},
};

impl<F: Framing> Connection<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// The framing `F` follows from what the connection is used for, so the compiler asks for a type
    /// until there is a `connection.call::<Greet>(…)` or a `connection.exchange(…)`.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection that was begun is closed.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().connect(address).await
    }
}

impl<F: Framing> Channel<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection that was begun is closed.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().channel(address).await
    }
}

impl ConnectOptions {
    /// Connects to the first address of `address` that answers.
    ///
    /// # Errors
    ///
    /// [`Resolve`](crate::ErrorKind::Resolve), [`Connect`](crate::ErrorKind::Connect) or
    /// [`TimedOut`](crate::ErrorKind::TimedOut); [`Setting`](crate::ErrorKind::Setting) for a value
    /// that makes no sense.
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection that was begun is closed.
    pub async fn connect<F: Framing>(&self, address: impl Into<Address>) -> Result<Connection<F>> {
        let reached = self.reach(address.into(), min_frame_len::<F>()).await;
        let (stream, peer, options) = reached?;
        Ok(Connection::new(stream, peer, options))
    }

    /// Connects, as [`connect`](Self::connect) does, for many tasks.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection that was begun is closed.
    pub async fn channel<F: Framing>(&self, address: impl Into<Address>) -> Result<Channel<F>> {
        self.connect(address).await?.into_channel()
    }

    /// Speaks over a stream that is connected already: a Unix socket, a pipe in memory.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) for a value that makes no sense.
    pub fn over<F: Framing, S>(&self, stream: S) -> Result<Connection<F, S>> {
        self.check(min_frame_len::<F>())?;
        Ok(Connection::new(stream, Peer::unnamed(), self.clone()))
    }

    /// Connects to the first of all addresses of a name that answers. Returns what makes the
    /// connection.
    async fn reach(
        &self,
        address: Address,
        min_frame_len: usize,
    ) -> Result<(TcpStream, Peer, Self)> {
        self.check(min_frame_len)?;
        inside_runtime("connect()", Instead::Nothing)?;
        let limit = self.connect_limit();
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let timed_out = || Error::connect_timed_out(&address.text(), limit.unwrap_or_default());
        let resolved = before(deadline, address.resolve()).await;
        let addrs = resolved.ok_or_else(timed_out)??;
        match reach_any(addrs, deadline).await {
            Ok((stream, addr)) => Ok((stream, Peer::at(addr), self.clone())),
            Err(error) => Err(error.unwrap_or_else(timed_out)),
        }
    }
}

/// Waits for `future` until `deadline`, if there is one. Returns `None` if it passes.
async fn before<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// Connects to the first of `addrs` that answers. `None` is a timeout.
async fn reach_any(
    addrs: Vec<SocketAddr>,
    deadline: Option<Instant>,
) -> Result<(TcpStream, SocketAddr), Option<Error>> {
    let mut failure = None;
    let mut left = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
    for addr in addrs {
        let now = Instant::now();
        let share = deadline.map(|end| now + end.saturating_duration_since(now) / left);
        failure = match before(share, connect(addr)).await {
            Some(Ok(stream)) => {
                send_without_delay(&stream);
                return Ok((stream, addr));
            }
            Some(Err(source)) => Some(Error::connect(addr, source)),
            None => None,
        };
        left = left.saturating_sub(1).max(1);
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn all_addresses_are_tried_in_their_order() {
        let listen = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let addr = listener.local_addr().expect("it listens");
            (listener, addr)
        };
        let ((first, dead), (_second, alive), (_third, too)) =
            (listen().await, listen().await, listen().await);
        drop(first);
        let connect = async |addrs: &[SocketAddr]| {
            let deadline = Instant::now() + Duration::from_secs(20);
            reach_any(addrs.to_vec(), Some(deadline)).await
        };
        let (_, reached) = connect(&[dead, alive, too]).await.expect("it listens");
        assert_eq!(reached, alive);
        let error = connect(&[dead, dead]).await.expect_err("nobody listens");
        assert_eq!(error.and_then(|error| error.peer_addr()), Some(dead));
    }

    #[tokio::test]
    async fn connection_sends_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let (stream, _) = reach_any(vec![addr], None).await.expect("it listens");
        assert!(stream.nodelay().expect("TCP has it"));
    }
}
