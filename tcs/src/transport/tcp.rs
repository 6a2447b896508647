//! TCP.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use super::{Incoming, Listener, Stream};
use crate::{
    Peer,
    socket::{Keepalive, canonical, send_without_delay},
};

/// Connections have `TCP_NODELAY`. An IPv4 peer of a listener on `[::]` has its IPv4 address.
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        accept(self, None, None).await
    }

    fn name(&self) -> String {
        match Self::local_addr(self) {
            Ok(addr) => addr.to_string(),
            Err(_) => "TCP".to_owned(),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok()
    }
}

/// The listener at the address of a server. Unless it listens on all addresses, it knows the address that each peer has
/// reached.
#[derive(Debug)]
pub(crate) struct AddressListener {
    listener: TcpListener,
    known: Option<SocketAddr>,
    keepalive: Option<Keepalive>,
}

impl AddressListener {
    pub(crate) fn new(listener: TcpListener, keepalive: Option<Keepalive>) -> Self {
        let addr = listener.local_addr().ok();
        // With one address, each accept saves the system call for the address of the connection.
        let known = addr.filter(|addr| !addr.ip().is_unspecified());
        Self {
            listener,
            known,
            keepalive,
        }
    }
}

impl Listener for AddressListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        accept(&self.listener, self.known, self.keepalive).await
    }

    fn name(&self) -> String {
        self.listener.name()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

async fn accept(
    listener: &TcpListener,
    local_addr: Option<SocketAddr>,
    keepalive: Option<Keepalive>,
) -> io::Result<Option<Incoming>> {
    let (stream, addr) = accept_socket(listener).await?;
    if let Some(keepalive) = keepalive {
        keepalive.set_on_accepted(&stream);
    }
    let local_addr = local_addr.or_else(|| stream.local_addr().ok().map(canonical));
    Ok(Some(Incoming {
        stream: Stream::socket(stream),
        peer: Peer::at(canonical(addr)),
        local_addr,
        handshakes: Vec::new(),
    }))
}

async fn accept_socket(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, addr) = listener.accept().await?;
    send_without_delay(&stream);
    Ok((stream, addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connection_sends_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let _peer = TcpStream::connect(addr).await.expect("it listens");
        let (stream, _) = accept_socket(&listener).await.expect("a peer waits");
        assert!(stream.nodelay().expect("TCP has it"));
    }

    #[tokio::test]
    async fn addresses_of_a_connection_over_ipv4_are_in_their_own_form() {
        // Without IPv6, there is no other form.
        let Ok(listener) = TcpListener::bind("[::]:0").await else {
            return;
        };
        let port = listener.local_addr().expect("it listens").port();
        let peer = TcpStream::connect(("127.0.0.1", port)).await;
        let peer = peer.expect("it listens");
        let accepted = AddressListener::new(listener, None).accept().await;
        let incoming = accepted.expect("a peer waits").expect("it is open");
        assert_eq!(incoming.peer.addr(), peer.local_addr().ok());
        assert_eq!(incoming.local_addr, peer.peer_addr().ok());
    }
}
