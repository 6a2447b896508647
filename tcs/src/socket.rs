//! What both ends set on their sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// So many peers may wait until they are accepted. Linux lets those of a larger burst try again, a second
/// later, and tokio's 128 are few for that. The operating system may allow fewer: `net.core.somaxconn`
/// on Linux, see listen(2).
const BACKLOG: u32 = 1024;

/// Listens at an address.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(addr)?;
    // A server that is started anew gets its port back at once; on Windows, that could be another's.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Connects to an address.
///
/// Cancel safe: a connection that was begun is closed.
pub(crate) async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    socket_for(addr)?.connect(addr).await
}

fn socket_for(addr: SocketAddr) -> io::Result<TcpSocket> {
    match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// Returns an IPv4 address as such: a listener on `[::]` sees it as `::ffff:127.0.0.1`.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// Sends each part of a stream as soon as it is written.
pub(crate) fn send_without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
