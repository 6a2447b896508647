//! Connecting.

use std::net::SocketAddr;

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    channel::Channel,
    connection::Connection,
    options::{ConnectOptions, LONGEST},
};
#[cfg(feature = "tls")]
use crate::transport::ClientTls;
use crate::{
    Address, Error, Peer, Result,
    framing::Framing,
    runtime::{Instead, inside_runtime},
    socket::{connect, send_without_delay},
    transport::Stream,
};

impl ConnectOptions {
    /// Connects to the first address of `address` that answers.
    ///
    /// An address `tls://host:port` is connected to over TLS, and `unix:/path` over a Unix socket.
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
    pub fn over<F: Framing>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Connection<F>> {
        self.check(F::MIN_MESSAGE_LEN)?;
        Ok(Connection::new(
            Stream::new(stream),
            Peer::unnamed(),
            self.clone(),
        ))
    }

    /// Connects to `address`. Returns the stream and its peer.
    ///
    /// Not generic, so that it is compiled once for all framings.
    async fn connect_stream(
        &self,
        address: Address,
        min_frame_len: usize,
    ) -> Result<(Stream, Peer)> {
        self.check(min_frame_len)?;
        inside_runtime("connect()", Instead::Nothing)?;
        let limit = self.connect_timeout.unwrap_or(LONGEST).min(LONGEST);
        let deadline = Instant::now() + limit;
        let timed_out = || Error::connect_timed_out(&address.text(), limit);
        #[cfg(unix)]
        if let Some(path) = address.path()? {
            let connected = timeout_at(deadline, UnixStream::connect(path)).await;
            let connected = connected.map_err(|_| timed_out())?;
            let stream = connected.map_err(|source| Error::connect_path(path, source))?;
            return Ok((Stream::new(stream), Peer::named(address.text())));
        }
        let resolved = timeout_at(deadline, address.resolve()).await;
        let addrs = resolved.map_err(|_| timed_out())??;
        let connected = connect_any(addrs, deadline).await;
        let (stream, addr) = connected.map_err(|error| error.unwrap_or_else(timed_out))?;
        let stream = Stream::new(stream);
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls_for(&address)? {
            let opened = timeout_at(deadline, tls.open(address.host(), stream)).await;
            let opened = opened.map_err(|_| timed_out())?;
            let stream = opened.map_err(|source| Error::handshake(addr, source))?;
            return Ok((stream, Peer::at(addr)));
        }
        Ok((stream, Peer::at(addr)))
    }

    /// Returns the TLS to use for an address, if any.
    #[cfg(feature = "tls")]
    fn tls_for(&self, address: &Address) -> Result<Option<ClientTls>> {
        match &self.tls {
            Some(tls) => Ok(Some(tls.clone())),
            None if address.is_tls() => ClientTls::new().map(Some),
            None => Ok(None),
        }
    }
}

/// Connects to the first of `addrs` that answers. Returns the last error, or `None` if all timed out.
async fn connect_any(
    addrs: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Option<Error>> {
    let mut failure = None;
    let count = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
    for (addr, left) in addrs.into_iter().zip((1..=count).rev()) {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left;
        failure = match timeout_at(now + share, connect(addr)).await {
            Ok(Ok(stream)) => {
                send_without_delay(&stream);
                return Ok((stream, addr));
            }
            Ok(Err(source)) => Some(Error::connect(addr, source)),
            // The error of an earlier address says more.
            Err(_) => failure,
        };
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

    /// Returns an address at which nothing answers, and what keeps it so.
    async fn silent() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(any()).expect("a free port");
        let full = socket.listen(1).expect("it is bound");
        let addr = full.local_addr().expect("it listens");
        let mut waiting = Vec::new();
        // Nothing accepts these. Once the queue is full, nothing answers.
        let limit = Duration::from_millis(500);
        while let Ok(stream) = timeout(limit, TcpStream::connect(addr)).await {
            waiting.push(stream.expect("it listens"));
        }
        (addr, (full, waiting))
    }

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn address_that_does_not_answer_leaves_the_error_of_an_earlier_one() {
        let (silent, _full) = silent().await;
        let listener = TcpListener::bind(any()).await.expect("a free port");
        let dead = listener.local_addr().expect("it listens");
        drop(listener);
        let deadline = Instant::now() + Duration::from_millis(200);
        let error = connect_any(vec![dead, silent], deadline).await;
        let error = error.expect_err("none answers").expect("nobody listens");
        assert_eq!(error.peer_addr(), Some(dead));
        let deadline = Instant::now() + Duration::from_millis(200);
        let error = connect_any(vec![silent], deadline).await;
        assert!(error.expect_err("it does not answer").is_none());
    }

    #[tokio::test]
    async fn address_that_does_not_answer_leaves_time_for_the_next() {
        let (silent, _full) = silent().await;
        let listener = TcpListener::bind(any()).await.expect("a free port");
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
