//! The sockets of both ends.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The number of peers that can wait until they are accepted. Linux makes the peers of a larger burst
/// try again a second later, and tokio's default of 128 is small for a burst. The operating system may
/// allow fewer: `net.core.somaxconn` on Linux, see listen(2).
pub(crate) const BACKLOG: u16 = 1024;

/// When the system gives up a peer that does not acknowledge what it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    /// How long the peer may be silent while nothing is sent to it.
    pub(crate) limit: Duration,
    /// Whether the limit also holds for sent bytes (`TCP_USER_TIMEOUT`). Otherwise the system tries for about 15
    /// minutes.
    #[cfg_attr(
        not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")),
        expect(dead_code, reason = "other systems have no such option")
    )]
    pub(crate) is_for_unacknowledged: bool,
}

/// The longest time of Linux in seconds, about nine hours.
const MAX_TCP_KEEPIDLE: u32 = 32_767;

impl Keepalive {
    /// Sets the options of tcp(7) on a socket. On Linux, sockets that are accepted have those of their listener.
    fn set(self, socket: &SockRef<'_>) -> io::Result<()> {
        // Half of the time passes before the first of up to four probes. The system counts whole seconds.
        let half = u32::try_from(self.limit.as_secs().div_ceil(2)).unwrap_or(u32::MAX);
        let half = half.clamp(1, MAX_TCP_KEEPIDLE);
        let probes = half.min(4);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(half.into()))
            .with_interval(Duration::from_secs((half / probes).into()));
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "vita")))]
        let keepalive = keepalive.with_retries(probes);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        if self.is_for_unacknowledged {
            // Linux takes milliseconds up to this number.
            let most = Duration::from_millis(i32::MAX.unsigned_abs().into());
            socket.set_tcp_user_timeout(Some(self.limit.min(most)))?;
        }
        Ok(())
    }

    /// Sets the options on an accepted socket, where it does not have those of its listener.
    pub(crate) fn set_on_accepted(self, stream: &TcpStream) {
        if !cfg!(target_os = "linux") {
            self.set_on_connected(stream);
        }
    }

    /// Sets the options on a socket. A connection is useful without them, so an error is only logged.
    pub(crate) fn set_on_connected(self, stream: &TcpStream) {
        if let Err(error) = self.set(&SockRef::from(stream)) {
            tracing::debug!(%error, "cannot set the options of `keepalive_timeout`");
        }
    }
}

/// How many unsent bytes the system keeps of a connection whose messages take turns.
const MAX_UNSENT: u32 = 64 * 1024;

/// Limits how many unsent bytes the system keeps, because the next message is sent after them. Without the limit, Linux
/// keeps up to 4 MiB (`tcp_wmem` in tcp(7)).
///
/// Sockets that are accepted have this from their listener. A connection is useful without it, so an error is only logged.
pub(crate) fn limit_unsent(listener: &TcpListener) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Err(error) = SockRef::from(listener).set_tcp_notsent_lowat(MAX_UNSENT) {
        tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
    }
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (listener, MAX_UNSENT);
}

/// Listens at an address.
pub(crate) fn listen(
    addr: SocketAddr,
    reuse_port: bool,
    keepalive: Option<Keepalive>,
) -> io::Result<TcpListener> {
    let socket = socket_for(addr)?;
    if let Some(keepalive) = keepalive {
        keepalive.set(&SockRef::from(&socket))?;
    }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_have_the_keepalive_of_their_listener() {
        let seconds = Duration::from_secs;
        let any = "127.0.0.1:0".parse().expect("an address");
        for (limit, is_for_unacknowledged, time, interval, probes) in [
            (120, true, 60, 15, 4),
            (4, false, 2, 1, 2),
            (1, false, 1, 1, 1),
            (1 << 40, false, 32_767, 8_191, 4),
            (86_400, true, 32_767, 8_191, 4),
        ] {
            let keepalive = Keepalive {
                limit: seconds(limit),
                is_for_unacknowledged,
            };
            let listener = listen(any, false, Some(keepalive)).expect("a free port");
            let addr = listener.local_addr().expect("it listens");
            let _near = connect(addr).await.expect("it listens");
            let (far, _) = listener.accept().await.expect("it is connected");
            let far = SockRef::from(&far);
            assert!(far.keepalive().expect("TCP has it"));
            assert_eq!(far.tcp_keepalive_time().expect("TCP has it"), seconds(time));
            let set = far.tcp_keepalive_interval().expect("TCP has it");
            assert_eq!(set, seconds(interval));
            assert_eq!(far.tcp_keepalive_retries().expect("TCP has it"), probes);
            let set = far.tcp_user_timeout().expect("TCP has it");
            assert_eq!(set, is_for_unacknowledged.then_some(seconds(limit)));
        }
        let listener = listen(any, false, None).expect("a free port");
        let without = SockRef::from(&listener).keepalive();
        assert!(!without.expect("TCP has it"));
    }

    #[tokio::test]
    async fn accepted_sockets_have_the_limit_of_what_is_not_sent() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = listen(any, false, None).expect("a free port");
        limit_unsent(&listener);
        let addr = listener.local_addr().expect("it listens");
        let _near = connect(addr).await.expect("it listens");
        let (far, _) = listener.accept().await.expect("it is connected");
        let limit = SockRef::from(&far).tcp_notsent_lowat();
        assert_eq!(limit.expect("TCP has it"), MAX_UNSENT);
    }
}
