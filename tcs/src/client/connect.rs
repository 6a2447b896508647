//! How a client connects to an address: its name, its sockets, TLS.

#[cfg(unix)]
use std::path::Path;
use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
#[cfg(unix)]
use tokio::{net::UnixStream, time::sleep};

use super::{connection::Connection, options::ConnectOptions};
#[cfg(feature = "tls")]
use crate::transport::ClientTls;
use crate::{
    Error, Peer, Result,
    framing::Framing,
    runtime::inside_runtime,
    socket::{connect, send_without_delay},
    transport::{Address, Stream},
};

/// The pause between the attempts to connect to the addresses of a name (RFC 8305, section 5).
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The pause before the backlog of a Unix socket is tried again.
#[cfg(unix)]
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl ConnectOptions {
    /// Connects to `address`.
    ///
    /// The addresses of a name are tried as in Happy Eyeballs (RFC 8305): IPv6 and IPv4 in turn, each 250 ms after the
    /// one before, or immediately when that refuses. The first connection wins. If
    /// [`connect_timeout`](Self::connect_timeout) is too short for 250 ms each, the attempts share it.
    ///
    /// An address `tls://host:port` uses TLS, and `unix:/path` a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns [`Resolve`](crate::ErrorKind::Resolve), [`Connect`](crate::ErrorKind::Connect) or
    /// [`TimedOut`](crate::ErrorKind::TimedOut); [`Setting`](crate::ErrorKind::Setting) for an invalid
    /// value; [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// Panics in a tokio runtime without I/O (`enable_io`) or without a clock (`enable_time`), even if
    /// [`connect_timeout`](Self::connect_timeout) is `None`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect<F: Framing>(&self, address: impl Into<Address>) -> Result<Connection<F>> {
        self.connect_in_order(address.into(), |_| ()).await
    }

    /// Connects like [`connect`](Self::connect). `order` sorts the addresses of a name, the best one first.
    pub(super) async fn connect_in_order<F: Framing>(
        &self,
        address: Address,
        order: impl FnOnce(&mut [SocketAddr]),
    ) -> Result<Connection<F>> {
        let connected = self.connect_stream(address, F::MIN_MESSAGE_LEN, order);
        let (stream, peer) = connected.await?;
        Ok(Connection::new(stream, peer, self.clone()))
    }

    /// Creates a connection over a connected stream, such as a Unix socket or a pipe in memory.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) for an invalid value.
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
    /// Not generic over the framing, so that it is compiled once for all.
    async fn connect_stream(
        &self,
        address: Address,
        min_frame_len: usize,
        order: impl FnOnce(&mut [SocketAddr]),
    ) -> Result<(Stream, Peer)> {
        self.check(min_frame_len)?;
        inside_runtime("connect()")?;
        let limit = self.connect_limit();
        let deadline = Instant::now() + limit;
        let timed_out = || Error::connect_timed_out(&address.text(), limit);
        #[cfg(unix)]
        if let Some(path) = address.path()? {
            #[cfg(feature = "tls")]
            if self.tls.is_some() {
                return Err(Error::setting("tls", "is not for Unix sockets"));
            }
            let connected = timeout_at(deadline, connect_path(path)).await;
            let connected = connected.map_err(|_| timed_out())?;
            let stream = connected.map_err(|source| Error::connect_path(path, source))?;
            return Ok((Stream::new(stream), Peer::named(address.text())));
        }
        let resolved = timeout_at(deadline, address.resolve()).await;
        let mut addrs = resolved.map_err(|_| timed_out())??;
        order(&mut addrs);
        let connected = self.connect_socket(addrs, deadline).await;
        let (stream, addr) = connected.map_err(|error| error.unwrap_or_else(timed_out))?;
        let stream = Stream::new(stream);
        #[cfg(feature = "tls")]
        let stream = timeout_at(deadline, self.open_tls(&address, addr, stream))
            .await
            .map_err(|_| timed_out().at(addr))??;
        Ok((stream, Peer::at(addr)))
    }

    /// Connects to the first of `addrs` that answers, as [`connect_any`], and sets the options of the socket.
    async fn connect_socket(
        &self,
        addrs: Vec<SocketAddr>,
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), Option<Error>> {
        let (stream, addr) = connect_any(addrs, deadline).await?;
        if let Some(keepalive) = self.keepalive() {
            keepalive.set_on_connected(&stream);
        }
        Ok((stream, addr))
    }

    /// Performs the handshake of TLS, if the options or the address ask for TLS.
    #[cfg(feature = "tls")]
    async fn open_tls(
        &self,
        address: &Address,
        addr: SocketAddr,
        stream: Stream,
    ) -> Result<Stream> {
        let tls = match &self.tls {
            Some(tls) => tls,
            None if address.is_tls() => self.platform_tls().await?,
            None => return Ok(stream),
        };
        let opened = tls.connect(address.host(), stream).await;
        opened.map_err(|source| Error::handshake(&address.text(), &Peer::at(addr), source))
    }

    /// Returns TLS with the roots of the operating system, which are read once.
    #[cfg(feature = "tls")]
    async fn platform_tls(&self) -> Result<&ClientTls> {
        let read_roots = async || {
            // Reading and parsing the roots takes milliseconds, in which this thread can serve others.
            let read = tokio::task::spawn_blocking(ClientTls::new).await;
            read.unwrap_or_else(|error| Err(Error::tls("the platform's roots", error)))
        };
        self.platform_tls.get_or_try_init(read_roots).await
    }
}

/// Connects to a path. Waits while the server's backlog is full, as TCP does: on Linux, connect(2) fails then.
#[cfg(unix)]
async fn connect_path(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY_DELAY).await,
            connected => return connected,
        }
    }
}

/// Connects to the first of `addrs` that answers. Returns the last error, or `None` if all timed out.
pub(super) async fn connect_any(
    addrs: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Option<Error>> {
    let mut failure = None;
    let connect = async |addr| {
        let connected = connect(addr).await;
        let stream = connected.map_err(|source| Error::connect(addr, source))?;
        Ok((stream, addr))
    };
    let addrs = interleave(addrs);
    let connected = race(addrs, deadline, connect, |error| failure = Some(error)).await;
    let (stream, addr) = connected.ok_or(failure)?;
    send_without_delay(&stream);
    Ok((stream, addr))
}

/// Makes the attempts of Happy Eyeballs (RFC 8305), and returns the first connection: a server that does not answer
/// delays the next attempt by [`ATTEMPT_DELAY`] or its share of the time, and one that refuses does not. The other
/// attempts are dropped. Their errors go to `failed`. Returns `None` if all have failed, or at the deadline.
pub(super) async fn race<S, T, C: Future<Output = Result<T>>>(
    servers: Vec<S>,
    deadline: Instant,
    connect: impl Fn(S) -> C,
    mut failed: impl FnMut(Error),
) -> Option<T> {
    let mut servers = servers.into_iter();
    let mut attempts = Vec::new();
    loop {
        match servers.next() {
            Some(server) => attempts.push(Box::pin(connect(server))),
            None if attempts.is_empty() => return None,
            None => {}
        }
        let pause_end = match u32::try_from(servers.len()).unwrap_or(u32::MAX) {
            0 => deadline,
            waiting => {
                let now = Instant::now();
                // A short deadline leaves time for the last one too.
                let share = deadline.saturating_duration_since(now) / waiting.saturating_add(1);
                now + share.min(ATTEMPT_DELAY)
            }
        };
        match timeout_at(pause_end, first_result(&mut attempts)).await {
            Ok(Ok(connection)) => return Some(connection),
            // An error says more than a timeout.
            Ok(Err(error)) => failed(error),
            Err(_) if pause_end == deadline => return None,
            Err(_) => {}
        }
    }
}

/// Waits for the first attempt that is over, and removes it. Never returns if there is none.
///
/// Cancel safe: the attempts stay.
async fn first_result<A: Future + Unpin>(attempts: &mut Vec<A>) -> A::Output {
    poll_fn(|cx| {
        for (place, attempt) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(result) = Pin::new(attempt).poll(cx) {
                attempts.remove(place);
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}

/// Alternates the families, so that a broken one delays only every other attempt (RFC 8305, section 4). The resolver or
/// the channel decides which family is first, and the order within each. An address that has failed may so come before
/// one that works, if they are of different families.
fn interleave(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6 = addrs.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|addr| addr.is_ipv6() == is_v6);
    let mut second = second.into_iter();
    let mut order = Vec::new();
    for addr in first {
        order.push(addr);
        order.extend(second.next());
    }
    order.extend(second);
    order
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Duration};

    #[cfg(target_os = "linux")]
    use socket2::SockRef;
    use tokio::{
        net::{TcpListener, TcpSocket},
        time::{sleep, timeout},
    };

    use super::{super::options::MAX_TIMEOUT, *};

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
        // Nothing accepts these connections. Once the queue is full, nothing answers.
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

    /// Connects by [`race`] with a paused clock to addresses of which `answer` says when they answer, and how. Returns
    /// the result, and when each attempt began in milliseconds.
    async fn raced(
        addrs: &[SocketAddr],
        answer: impl Fn(SocketAddr) -> (u64, bool),
    ) -> (Result<SocketAddr, Option<Error>>, Vec<(SocketAddr, u128)>) {
        let start = Instant::now();
        let attempts = RefCell::new(Vec::new());
        let connect = async |addr| {
            attempts
                .borrow_mut()
                .push((addr, start.elapsed().as_millis()));
            let (after, is_open) = answer(addr);
            sleep(Duration::from_millis(after)).await;
            let refused = || Error::connect(addr, io::ErrorKind::ConnectionRefused.into());
            is_open.then_some(addr).ok_or_else(refused)
        };
        let deadline = start + Duration::from_secs(5);
        let mut failure = None;
        let raced = race(addrs.to_vec(), deadline, connect, |error| {
            failure = Some(error);
        });
        (raced.await.ok_or(failure), attempts.into_inner())
    }

    /// A delay that is longer than the deadline of [`raced`].
    const NEVER: u64 = 60_000;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test(start_paused = true)]
    async fn silent_address_delays_the_next_attempt_by_a_quarter_of_a_second() {
        let start = Instant::now();
        let answer = |addr: SocketAddr| (if addr.port() < 3 { NEVER } else { 0 }, true);
        let (reached, attempts) = raced(&[at(1), at(2), at(3), at(4)], answer).await;
        assert_eq!(reached.expect("the third answers"), at(3));
        assert_eq!(attempts, [(at(1), 0), (at(2), 250), (at(3), 500)]);
        assert_eq!(start.elapsed(), Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn address_that_refuses_delays_nothing() {
        let answer = |addr: SocketAddr| (10, addr.port() == 3);
        let (reached, attempts) = raced(&[at(1), at(2), at(3)], answer).await;
        assert_eq!(reached.expect("the third answers"), at(3));
        assert_eq!(attempts, [(at(1), 0), (at(2), 10), (at(3), 20)]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_address_wins_if_the_next_is_slower() {
        let answer = |addr: SocketAddr| (if addr.port() == 1 { 400 } else { 300 }, true);
        let start = Instant::now();
        let (reached, attempts) = raced(&[at(1), at(2)], answer).await;
        assert_eq!(reached.expect("both answer"), at(1));
        assert_eq!(attempts.len(), 2);
        assert_eq!(start.elapsed(), Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_is_for_all_attempts_together() {
        let addrs: Vec<_> = (1..100).map(at).collect();
        let start = Instant::now();
        let (reached, attempts) = raced(&addrs, |_| (NEVER, true)).await;
        assert!(reached.expect_err("none answers").is_none());
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        // The last attempt has its share of the time.
        let (last, began) = attempts.last().expect("there are some");
        assert_eq!((*last, attempts.len()), (at(99), 99));
        assert!((4_900..=4_955).contains(began), "{began} ms");
        // The error of the last address that refused says more than the silence of the others.
        let refuses = |addr: SocketAddr| (if addr.port() < 3 { 1 } else { NEVER }, false);
        let (reached, _) = raced(&addrs[..4], refuses).await;
        let error = reached.expect_err("none answers").expect("two refuse");
        assert_eq!(error.peer_addr(), Some(at(2)));
    }

    #[test]
    fn families_take_turns_in_the_order_of_the_resolver() {
        let v4 = |last| SocketAddr::from(([127, 0, 0, last], 1));
        let v6 = |last| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, last], 1));
        for (resolved, order) in [
            (vec![], vec![]),
            (vec![v4(1), v4(2)], vec![v4(1), v4(2)]),
            (
                vec![v6(1), v6(2), v6(3), v4(1)],
                vec![v6(1), v4(1), v6(2), v6(3)],
            ),
            (
                vec![v4(1), v6(1), v6(2), v6(3)],
                vec![v4(1), v6(1), v6(2), v6(3)],
            ),
            (
                vec![v4(1), v4(2), v6(1), v6(2)],
                vec![v4(1), v6(1), v4(2), v6(2)],
            ),
        ] {
            assert_eq!(interleave(resolved), order);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn socket_has_the_options_of_the_keepalive_timeout() {
        let listener = TcpListener::bind(any()).await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let connected = async |options: ConnectOptions| {
            let deadline = Instant::now() + MAX_TIMEOUT;
            let connected = options.connect_socket(vec![addr], deadline).await;
            connected.expect("it listens").0
        };
        let options = ConnectOptions::new;
        let secs = Duration::from_secs;
        for (options, idle, unacknowledged) in [
            (options(), Some(60), Some(120)),
            (options().keepalive_timeout(secs(4)), Some(2), None),
            (
                options().keepalive_timeout(secs(4)).reply_timeout(secs(4)),
                Some(2),
                Some(4),
            ),
            (options().reply_timeout(None), Some(60), None),
            (options().keepalive_timeout(None), None, None),
        ] {
            let stream = connected(options).await;
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().expect("TCP has it"), idle.is_some());
            if let Some(idle) = idle {
                assert_eq!(socket.tcp_keepalive_time().expect("TCP has it"), secs(idle));
            }
            let set = socket.tcp_user_timeout().expect("TCP has it");
            assert_eq!(set, unacknowledged.map(secs));
        }
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn roots_of_the_platform_are_read_once_for_options_and_their_clones() {
        let options = ConnectOptions::new();
        let clone = options.clone();
        let tls = clone.platform_tls().await.expect("there are roots");
        let again = options.platform_tls().await.expect("there are roots");
        assert!(std::ptr::eq(tls, again));
    }

    #[tokio::test]
    async fn connection_sends_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let (stream, _) = connect_any(vec![addr], Instant::now() + MAX_TIMEOUT)
            .await
            .expect("it listens");
        assert!(stream.nodelay().expect("TCP has it"));
    }
}
