//! A server of raw bytes, for tests of the client.

use std::net::SocketAddr;

use tokio::{net::TcpListener, task::JoinHandle};

use crate::{RawPeer, within};

/// A listener at a free port of which the test accepts by hand.
#[derive(Debug)]
pub struct RawServer {
    listener: TcpListener,
}

impl RawServer {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self { listener }
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    pub async fn accept(&self) -> RawPeer {
        let (stream, _) = within(self.listener.accept()).await.expect("it listens");
        RawPeer::of(stream)
    }

    /// Accepts one connection and does with it what `script` says.
    pub async fn once<F>(
        script: impl FnOnce(RawPeer) -> F + Send + 'static,
    ) -> (SocketAddr, JoinHandle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let server = Self::new().await;
        let addr = server.addr();
        let task = tokio::spawn(async move {
            let peer = server.accept().await;
            script(peer).await
        });
        (addr, task)
    }
}
