//! Connections within a process.

use std::io;

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::{Incoming, Listener};
use crate::Peer;

/// Creates a listener in memory, for tests and for servers within a process, and a connector to it.
///
/// # Examples
///
/// ```
/// use tcs::{ConcurrentServer, client::ConnectOptions, server_protocol, transport};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let (listener, connector) = transport::memory();
/// let server = tokio::spawn(ConcurrentServer::new(Greet).listener(listener).listen());
///
/// let stream = connector.connect().await.expect("the server listens");
/// let mut connection = ConnectOptions::new().over(stream)?;
/// let reply = connection.call::<Greet>("Ann").await?;
/// assert_eq!(reply, "Hello, Ann!");
///
/// // Without connectors, no more connections come, so the server drains and returns.
/// drop((connector, connection));
/// let report = server.await.expect("no panic")?;
/// assert_eq!(report.requests.served, 1);
/// # Ok(())
/// # }
/// ```
pub fn memory() -> (MemoryListener, MemoryConnector) {
    let (sender, receiver) = mpsc::channel(1);
    (MemoryListener { receiver }, MemoryConnector { sender })
}

/// The number of bytes that one end can send before the other reads.
const PIPE_LEN: usize = 64 << 10;

/// A listener in memory. See [`memory`].
#[derive(Debug)]
pub struct MemoryListener {
    receiver: mpsc::Receiver<DuplexStream>,
}

impl Listener for MemoryListener {
    /// Returns `None` when all connectors are dropped.
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let accepted = self.receiver.recv().await;
        Ok(accepted.map(|stream| Incoming::new(stream, Peer::unnamed())))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// Connects to a [`MemoryListener`]. It can be cloned.
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    sender: mpsc::Sender<DuplexStream>,
}

impl MemoryConnector {
    /// Connects. Each direction holds up to 64 KiB that were not read.
    ///
    /// One connection can wait to be accepted. Further calls wait until the server accepts it.
    ///
    /// # Errors
    ///
    /// Returns [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the listener is dropped.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = duplex(PIPE_LEN);
        let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.sender.send(far).await.map_err(refused)?;
        Ok(near)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::runtime::poll_once;

    #[tokio::test]
    async fn one_connection_can_wait() {
        let (mut listener, connector) = memory();
        let _first = connector.connect().await.expect("there is room");
        let mut second = pin!(connector.connect());
        let early = poll_once(|cx| second.as_mut().poll(cx)).await;
        assert!(early.is_pending(), "{early:?}");
        listener.accept().await.expect("the first waits");
        second.await.expect("there is room");
    }
}
