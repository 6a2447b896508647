//! Connecting.

use std::net::SocketAddr;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    channel::Channel,
    connection::Connection,
    options::{ConnectOptions, LONGEST},
};
use crate::{
    Address, Error, Peer, Result,
    framing::Framing,
    runtime::{Instead, inside_runtime},
    socket::{connect, send_without_delay},
};

impl<F: Framing> Connection<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// The compiler infers the framing `F` from the first use of the connection. It asks for a type until
    /// there is a `connection.call::<Greet>(…)` or a `connection.exchange(…)`.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
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
    /// Safe: dropping the future closes the connection.
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
    /// [`TimedOut`](crate::ErrorKind::TimedOut); [`Setting`](crate::ErrorKind::Setting) for an invalid
    /// value.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn connect<F: Framing>(&self, address: impl Into<Address>) -> Result<Connection<F>> {
        let connected = self.connect_stream(address.into(), F::MIN_MESSAGE_LEN);
        let (stream, peer) = connected.await?;
        Ok(Connection::new(stream, peer, self.clone()))
    }

    /// Connects like [`connect`](Self::connect), and returns a connection that many tasks can share.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
    pub async fn channel<F: Framing>(&self, address: impl Into<Address>) -> Result<Channel<F>> {
        self.connect(address).await?.into_channel()
    }

    /// Creates a connection over a connected stream, such as a Unix socket or a pipe in memory.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) for an invalid value.
    pub fn over<F: Framing, S>(&self, stream: S) -> Result<Connection<F, S>> {
        self.check(F::MIN_MESSAGE_LEN)?;
        Ok(Connection::new(stream, Peer::unnamed(), self.clone()))
    }

    /// Connects to the first address of `address` that answers. Returns the stream and its peer.
    ///
    /// Not generic, so that it is compiled once for all framings.
    async fn connect_stream(
        &self,
        address: Address,
        min_frame_len: usize,
    ) -> Result<(TcpStream, Peer)> {
        self.check(min_frame_len)?;
        inside_runtime("connect()", Instead::Nothing)?;
        let limit = self.connect_timeout.unwrap_or(LONGEST).min(LONGEST);
        let deadline = Instant::now() + limit;
        let timed_out = || Error::connect_timed_out(&address.text(), limit);
        let resolved = timeout_at(deadline, address.resolve()).await;
        let addrs = resolved.map_err(|_| timed_out())??;
        match connect_any(addrs, deadline).await {
            Ok((stream, addr)) => Ok((stream, Peer::at(addr))),
            Err(error) => Err(error.unwrap_or_else(timed_out)),
        }
    }
}

/// Connects to the first of `addrs` that answers. If there is no error, none has answered in time.
async fn connect_any(
    addrs: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Option<Error>> {
    let mut failure = None;
    let mut left = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
    for addr in addrs {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left;
        failure = match timeout_at(now + share, connect(addr)).await {
            Ok(Ok(stream)) => {
                send_without_delay(&stream);
                return Ok((stream, addr));
            }
            Ok(Err(source)) => Some(Error::connect(addr, source)),
            Err(_) => None,
        };
        left = left.saturating_sub(1).max(1);
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        net::{TcpListener, TcpSocket},
        time::timeout,
    };

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
            connect_any(addrs.to_vec(), deadline).await
        };
        let (_, reached) = connect(&[dead, alive, too]).await.expect("it listens");
        assert_eq!(reached, alive);
        let error = connect(&[dead, dead]).await.expect_err("nobody listens");
        assert_eq!(error.and_then(|error| error.peer_addr()), Some(dead));
    }

    #[tokio::test]
    async fn address_that_does_not_answer_leaves_time_for_the_next() {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a free port");
        let full = socket.listen(1).expect("it is bound");
        let silent = full.local_addr().expect("it listens");
        let mut waiting = Vec::new();
        // Nothing accepts these. Once the queue is full, nothing answers.
        let limit = Duration::from_millis(500);
        while let Ok(stream) = timeout(limit, TcpStream::connect(silent)).await {
            waiting.push(stream.expect("it listens"));
        }
        let listener = TcpListener::bind(any).await.expect("a free port");
        let alive = listener.local_addr().expect("it listens");
        let deadline = Instant::now() + Duration::from_secs(2);
        let (_, reached) = connect_any(vec![silent, alive], deadline)
            .await
            .expect("the second answers");
        assert_eq!(reached, alive);
        assert!(
            Instant::now() < deadline,
            "the first has taken all the time"
        );
    }

    #[tokio::test]
    async fn connection_sends_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let (stream, _) = connect_any(vec![addr], Instant::now() + LONGEST)
            .await
            .expect("it listens");
        assert!(stream.nodelay().expect("TCP has it"));
    }
}
