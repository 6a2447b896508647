//! The sockets of both ends.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The number of peers that can wait until they are accepted. Linux makes the peers of a larger burst
/// try again a second later, and tokio's default of 128 is small for a burst. The operating system may
/// allow fewer: `net.core.somaxconn` on Linux, see listen(2).
pub(crate) const BACKLOG: u16 = 1024;

/// Listens at an address.
pub(crate) fn listen(addr: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = socket_for(addr)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuseport(reuse_port)?;
    #[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
    let _ = reuse_port;
    // A server that restarts gets its port back at once. On Windows, the option would let it take the
    // port of another server.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG.into())
}

/// Connects to an address.
///
/// Cancel safe: dropping the future closes the socket.
pub(crate) async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    socket_for(addr)?.connect(addr).await
}

fn socket_for(addr: SocketAddr) -> io::Result<TcpSocket> {
    match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// Returns an IPv4 address in its own form. A listener on `[::]` sees it as `::ffff:127.0.0.1`.
pub(crate) fn canonical(mut addr: SocketAddr) -> SocketAddr {
    addr.set_ip(addr.ip().to_canonical());
    addr
}

/// Turns off Nagle's algorithm. Replies are written in batches already, so to wait for more to send
/// would only delay them.
pub(crate) fn send_without_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
