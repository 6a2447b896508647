//! The server types and their settings. `run.rs` has the methods that run them.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use super::{
    bound::BoundServer,
    capacity::AtCapacity,
    mode::{Concurrent, Iterative, Mode, Once},
    settings::Settings,
    shared::Shared,
    unbound::UnboundServer,
};
use crate::{
    Error, Peer, Rejection, Result,
    checks::assert_parameters,
    framing::Framing as _,
    protocol::{PushOverflow, ServerProtocol},
    transport::{Address, Handshake, Listener},
};

/// A server that answers one request and returns.
#[doc(alias = "Server")]
pub type OnceServer<P> = Server<P, Once>;

/// A server for one connection at a time; others wait in the backlog of the operating system.
pub type IterativeServer<P> = Server<P, Iterative>;

/// A server for many connections at a time, each in its own task. Its methods are those of [`Server`].
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use tcs::{ConcurrentServer, server_protocol};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn main() -> tcs::Result<()> {
///     ConcurrentServer::new(Greet)
///         .address("0.0.0.0:7000")
///         .request_timeout(Duration::from_secs(5))
///         .run()
/// }
/// ```
#[doc(alias = "MultithreadedServer")]
pub type ConcurrentServer<P> = Server<P, Concurrent>;

/// A protocol and the settings to serve it. `M` is [`Once`], [`Iterative`] or [`Concurrent`].
///
/// Time limits take a [`Duration`], or `None` for no limit. They never end early. They may end late by a quarter of the
/// server's shortest limit or a few milliseconds, whichever is longer, but at most 250 ms.
#[must_use = "a server does nothing until it runs: call `run()`, or `listen().await`"]
pub struct Server<P, M> {
    protocol: P,
    settings: Settings,
    mode: PhantomData<M>,
}

impl<P: ServerProtocol> ConcurrentServer<P> {
    /// Sets the maximum number of open connections.
    ///
    /// At the maximum, further peers wait in the backlog of the operating system, unless you set
    /// [`at_capacity`](Self::at_capacity). [`bind`](Self::bind) rejects zero. Default: 1,024, or the descriptor limit
    /// (`RLIMIT_NOFILE`, `ulimit -n`) minus 100 for the rest of the program, if that is lower. If the descriptor limit
    /// leaves room for less than half of the maximum, the server logs a warning.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.settings.max_connections = Some(limit);
        self
    }

    /// Sets what the server does with further peers when it has [`max_connections`](Self::max_connections) open
    /// connections.
    ///
    /// A full server logs a warning, at most once in 10 seconds. Default: [`AtCapacity::Wait`].
    pub fn at_capacity(mut self, policy: AtCapacity) -> Self {
        self.settings.at_capacity = policy;
        self
    }

    /// Sets the maximum number of open connections of one address. `None` is no limit.
    ///
    /// Peers are counted by IPv4 address or by IPv6 network (/64). A further peer receives *too many connections*, if
    /// the framing can carry it, and its connection is closed. Loopback addresses and peers without an address, as over
    /// a Unix socket, are not limited.
    ///
    /// Behind a load balancer that sends PROXY headers (`ProxyHeader` in [`transport`](crate::transport)), the address
    /// is that of the load balancer's client. Without PROXY headers, all peers have the load balancer's address: set
    /// `None`.
    ///
    /// [`bind`](Self::bind) rejects zero. Default: a quarter of `max_connections`, at least 1, so one address cannot
    /// take the whole server.
    pub fn max_connections_per_address(mut self, limit: impl Into<Option<usize>>) -> Self {
        let limit = limit.into().unwrap_or(usize::MAX);
        self.settings.max_connections_per_address = Some(limit);
        self
    }
}

impl<P: ServerProtocol, M: Mode> Server<P, M> {
    /// Creates a server of `protocol` on 127.0.0.1:1234, with default settings.
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            settings: Settings::new::<M>(),
            mode: PhantomData,
        }
    }

    /// Sets the port. Default: 1234.
    ///
    /// Port 0 selects a free port. [`BoundServer::local_addr`] returns it, and
    /// [`on_listening`](Self::on_listening) receives it.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address.set_port(port);
        self.settings.has_address = true;
        self
    }

    /// Sets the IP address or name to listen on, without a port. To set both, use [`address`](Self::address). Default:
    /// 127.0.0.1, which only this machine can reach.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.settings.address.set_host(host.into());
        self.settings.has_address = true;
        self
    }

    /// Sets the listening address: `"0.0.0.0:7000"`, `("localhost", 7000)` or a
    /// [`SocketAddr`](std::net::SocketAddr).
    ///
    /// An address without a port leaves the port unchanged. Default: 127.0.0.1:1234, which only
    /// this machine can reach.
    #[doc(alias = "host")]
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.settings.address.replace(address.into());
        self.settings.has_address = true;
        self
    }

    /// Adds a listener, such as a [`UnixSocketListener`](crate::transport::UnixSocketListener) or an existing
    /// [`tokio::net::TcpListener`]. See [`transport`](crate::transport).
    ///
    /// The server then no longer listens on its default address. To listen there too, set [`address`](Self::address) or
    /// [`port`](Self::port). The server's handshakes and TLS apply only to that address. Add handshakes to this
    /// listener with [`Listener::with_handshake`].
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.settings.listeners.push(Box::new(listener));
        self
    }

    /// Sets whether other servers, even in other processes, can listen on the same [`address`](Self::address)
    /// (`SO_REUSEPORT`, socket(7)). All of them must set it. Default: `false`.
    ///
    /// The operating system then distributes new connections among them. One server per thread, each with its own
    /// runtime, can accept faster than one. When one of them closes its listener, Linux resets the connections in its
    /// backlog. To replace a process without these resets, pass its sockets on: see [Running a
    /// server](https://docs.rs/crate/tcs/latest/source/docs/deploy.md).
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    pub fn reuse_port(mut self, is_shared: bool) -> Self {
        self.settings.reuse_port = is_shared;
        self
    }

    /// Sets how long the machine of a peer may be silent before its connection to [`address`](Self::address) ends.
    ///
    /// A machine that loses its power or its network sends nothing, and would hold its connection until `idle_timeout`,
    /// or while a function waits. The operating system sends probes after half of this time (`SO_KEEPALIVE`, tcp(7)).
    /// If the machine does not answer, the connection ends as after a reset.
    ///
    /// On Linux, the connection also ends if a reply is not acknowledged within this time (`TCP_USER_TIMEOUT`), unless
    /// `write_timeout` is longer or `None`, because the option would also end the connection of a peer that does not
    /// read. Without the option, the system keeps trying for about 15 minutes.
    ///
    /// The operating system counts whole seconds, from 2 s to about 18 hours. Other listeners keep their socket
    /// options. Default: 2 minutes.
    #[doc(alias = "keepalive")]
    pub fn keepalive_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.keepalive_timeout = limit.into();
        self
    }

    /// Tells systemd when the server accepts connections (`READY=1`), and when it is stopped (`STOPPING=1`), for
    /// services with `Type=notify`. See `sd_notify(3)`. Without systemd, this setting has no effect.
    #[cfg(all(unix, feature = "systemd"))]
    pub fn notify_systemd(mut self) -> Self {
        self.settings.notifies_systemd = true;
        self
    }

    /// Adds a handshake for connections to [`address`](Self::address). It runs after the handshakes that were added
    /// before.
    ///
    /// Other listeners have their own ([`Listener::with_handshake`]). If there are other listeners,
    /// [`bind`](Self::bind) rejects a handshake unless you set [`address`](Self::address) or [`port`](Self::port).
    pub fn handshake(mut self, handshake: impl Handshake) -> Self {
        self.settings.handshakes.push(Arc::new(handshake));
        self
    }

    /// Serves the connections of [`address`](Self::address) over TLS. Same as [`handshake`](Self::handshake) with
    /// `tls`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// use tcs::{ConcurrentServer, transport::Tls};
    ///
    /// # fn main() -> tcs::Result<()> {
    /// ConcurrentServer::new(Greet).tls(Tls::from_pem("cert.pem", "key.pem")?).run()
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: crate::transport::Tls) -> Self {
        self.handshake(tls)
    }

    /// Sets the handshake that a connection continues with after [`Response::StartTls`](crate::Response::StartTls),
    /// such as `Tls` of [`transport`](crate::transport). Default: none.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tls", doc = "```no_run")]
    #[cfg_attr(not(feature = "tls"), doc = "```ignore")]
    /// use tcs::{ConcurrentServer, Response, framing::CrlfLines, server_protocol, transport::{Tls, TlsInfo}};
    ///
    /// #[server_protocol(framing = CrlfLines, greeting = "220 ready")]
    /// fn smtp(line: &str, tls: Option<&TlsInfo>) -> Response<&'static str> {
    ///     match (line, tls) {
    ///         ("STARTTLS", None) => Response::StartTls("220 go ahead"),
    ///         ("STARTTLS", Some(_)) => Response::Reply("503 this is TLS"),
    ///         ("QUIT", _) => Response::ReplyAndClose("221 bye"),
    ///         (_, None) => Response::Reply("530 start TLS first"),
    ///         (_, Some(_)) => Response::Reply("250 ok"),
    ///     }
    /// }
    ///
    /// # fn main() -> tcs::Result<()> {
    /// // SMTP needs more: its reply to EHLO has a line for each extension.
    /// ConcurrentServer::new(Smtp).start_tls(Tls::from_pem("cert.pem", "key.pem")?).run()
    /// # }
    /// ```
    pub fn start_tls(mut self, handshake: impl Handshake) -> Self {
        self.settings.start_tls = Some(Arc::new(handshake));
        self
    }

    /// Sets how long the handshakes of a connection may take together, and the one after
    /// [`Response::StartTls`](crate::Response::StartTls).
    ///
    /// When it expires, the connection is dropped. A stopped server lets handshakes continue for a second, and sends their
    /// peers *going away* afterwards. Default: 10 s.
    pub fn handshake_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.handshake_timeout = limit.into().into();
        self
    }

    /// Sets the maximum length of a message in bytes, in both directions unless there is a
    /// [`max_reply_len`](Self::max_reply_len).
    ///
    /// A larger request is rejected. A larger reply is replaced by a failure. Memory is allocated
    /// only for bytes that have arrived, never for a length that a peer claims. The request itself may take more
    /// memory: an element of a list takes the size of its type, up to three times while the list grows, and as little
    /// as a byte of the message (two in `Json` and `Protobuf`).
    /// [`bind`](Self::bind) rejects zero, more than 512 MiB, and less than the framing's shortest
    /// message ([`Fixed`](crate::framing::Fixed)). Default: 8 MiB.
    pub fn max_frame_len(mut self, bytes: usize) -> Self {
        self.settings.limits.max_frame_len = bytes;
        self
    }

    /// Sets the maximum length of a message that the server sends, in bytes: a reply, an item of a streamed reply, an
    /// event, or the greeting.
    ///
    /// A request with a larger reply fails, and sending a larger item or event returns an error. Use this setting for small
    /// requests with large replies; clients then need [`ConnectOptions::max_reply_len`].
    /// [`bind`](Self::bind) rejects the same values as for `max_frame_len`. Default:
    /// [`max_frame_len`](Self::max_frame_len).
    ///
    /// [`ConnectOptions::max_reply_len`]: crate::client::ConnectOptions::max_reply_len
    pub fn max_reply_len(mut self, bytes: usize) -> Self {
        self.settings.limits.max_reply_len = Some(bytes);
        self
    }

    /// Sets how many bytes the large buffers and queues of all connections may hold together.
    ///
    /// Buffers of at most 128 KiB do not count, so small requests are served no matter what other peers send.
    ///
    /// - **Requests.** Once 128 KiB of a longer message have arrived, the server counts its whole length against the
    ///   budget, and reads on when the budget has room. Memory is allocated only as bytes arrive. Connections that have
    ///   not sent a complete request yet share at most half of the budget, unless one message alone is longer. While a
    ///   message waits for room, each incomplete message that holds memory must be complete within 2 s, plus 1 s for
    ///   each 4 MiB that has arrived. A message that gets no room in time is rejected as *busy*. A message that is
    ///   larger than the budget waits for all of it.
    /// - **Replies** count while their peers do not read them. They may exceed the budget by a quarter, but the peers then have
    ///   2 s instead of [`write_timeout`](Self::write_timeout). Beyond the quarter, the connection is closed.
    /// - **Concurrent requests.** Each large request counts, and so does each large reply that waits for its turn. A request
    ///   whose reply gets no memory fails.
    /// - **Chunks** ([`Requests`](crate::protocol::Requests)) of 128 KiB or more count twice, because the function gets a copy.
    ///   If one would exceed the budget by more than a quarter, the function is dropped, and the connection closes.
    /// - **Queues of events** ([`Push`](crate::protocol::Push)) count from 128 KiB on. Beyond the budget, a queue is full, as at
    ///   [`max_push_queue`](Self::max_push_queue). An event of a group counts for each member.
    ///
    /// Default: 512 MiB, or a quarter of the memory that the process may use, if that is less (`RLIMIT_AS`, and on Linux
    /// `memory.max` of the control group).
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.settings.memory_budget = Some(bytes);
        self
    }

    /// Sets how long a connection may stay open without a request.
    ///
    /// When it expires, the server sends *idle*, if the framing can carry it, and closes the connection. A frame that has begun
    /// in time may still complete. Frames that are not requests, such as notices, do not restart this limit.
    ///
    /// The limit also applies while a function waits for the first byte of a chunk of its request
    /// ([`Requests`](crate::protocol::Requests)). When it expires, the function is dropped, and its request is answered
    /// *timed out*.
    ///
    /// Default: 300 s; 5 s for an [`IterativeServer`], where an idle connection makes the others wait; 30 s for a
    /// [`OnceServer`].
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.idle_timeout = limit.into().into();
        self
    }

    /// Sets how long a frame may take from its first byte to its last. Each 64 KiB received adds one second.
    ///
    /// When it expires, the server sends *idle*, if the framing can carry it, and closes the connection. If requests
    /// are processed concurrently, the server first answers those in flight. A function that waits for the rest of a
    /// chunk ([`Requests`](crate::protocol::Requests)) is dropped, and its request is answered *timed out*.
    /// Default: 30 s.
    pub fn frame_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.frame_timeout = limit.into().into();
        self
    }

    /// Sets how long a protocol function may take, counted from its first wait.
    ///
    /// A function that sends items ([`Replies`](crate::protocol::Replies)) or receives chunks
    /// ([`Requests`](crate::protocol::Requests)) has this time for each of them.
    ///
    /// When it expires, the function is dropped at its `.await`, and the request is answered *timed out*. The connection
    /// closes if it has a session and no `concurrent`. A function that does not wait, or runs under `blocking`, is not dropped.
    ///
    /// Calls that the function itself makes with a [`Connection`](crate::Connection) inherit this limit as their
    /// [`deadline`](crate::Connection::deadline). Calls in tasks that it spawns do not. Default: `None`, because only you know
    /// where a transaction may be interrupted.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.request_timeout = limit.into().into();
        self
    }

    /// Sets how long the server works for a peer after the peer has closed its sending half.
    ///
    /// Such a peer may still wait for its replies, as `nc -N` does, or it may have closed its whole connection, which looks the
    /// same to the server. When the limit expires, a function that waits is dropped, its request is answered *timed out*, and
    /// the connection closes. A function that computes, or is `blocking`, is not dropped. To drop functions at once, use the
    /// option [`half_close = ends`](macro@crate::server_protocol#options).
    ///
    /// With [`UntilEof`](crate::framing::UntilEof), every request ends with a half-close, so this limits its function. If
    /// 64 KiB or more are unread, the server notices the half-close only when the function has returned, and only
    /// [`request_timeout`](Self::request_timeout) ends the function before. Default: 30 s.
    pub fn half_close_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.half_close_timeout = limit.into().into();
        self
    }

    /// Sets how long the server waits for a peer that does not read, or reads too slowly.
    ///
    /// The time starts when a write has to wait, and ends when all written replies are sent. Each 64 KiB that the peer reads
    /// adds one second. When the limit expires, the connection is dropped.
    ///
    /// With [`Multiplexed`](crate::framing::Multiplexed), a peer gives credit for the items of a stream. A stream that waits
    /// this long for credit is dropped, and its request is answered *timed out*. An item that is longer than the credit adds
    /// one second for each 64 KiB beyond it. The connection stays open, unless it has a session and no `concurrent`. Default:
    /// 30 s.
    pub fn write_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.write_timeout = limit.into().into();
        self
    }

    /// Sets how long the server waits for the peer to close, if the server closes first. Input that arrives meanwhile is
    /// dropped.
    ///
    /// Without this wait, unread input would make the operating system reset the connection, and the last reply could be lost.
    /// An idle connection without unread input closes immediately. `None` does not wait. Default: 2 s.
    pub fn linger(mut self, limit: impl Into<Option<Duration>>) -> Self {
        // No limit means no wait, as zero does.
        self.settings.limits.linger = Some(limit.into().unwrap_or_default()).into();
        self
    }

    /// Sets how long a stopped server continues to serve before it drains. Default: `None`, which drains at once.
    ///
    /// In this phase, the server accepts and serves connections, but
    /// [`ServerHandle::is_stopping`](super::ServerHandle::is_stopping) already returns `true`. A load balancer that checks the
    /// health of the server notices the stop before the listeners close, and no connection is lost: see
    /// [Running a server](https://docs.rs/crate/tcs/latest/source/docs/deploy.md).
    /// [`drain_timeout`](Self::drain_timeout) begins after this phase. A second signal and
    /// [`ServerHandle::abort`](super::ServerHandle::abort) end the server at once.
    ///
    /// An [`IterativeServer`] keeps serving one connection after the other in this phase, and a [`OnceServer`] waits for its
    /// request. A [`OnceServer`] that has replied returns without waiting for the end of the phase.
    pub fn lame_duck(mut self, time: impl Into<Option<Duration>>) -> Self {
        // No time means no phase, as zero does.
        self.settings.limits.lame_duck = Some(time.into().unwrap_or_default()).into();
        self
    }

    /// Sets how long a stopped server waits for the requests in flight before it aborts them.
    ///
    /// A function that computes or blocks cannot be interrupted. The server returns without waiting for it, and it runs until
    /// it or the process ends. Default: 30 s.
    #[doc(alias = "shutdown")]
    pub fn drain_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.drain_timeout = limit.into().into();
        self
    }

    /// Sets how old a connection may become. Default: `None`.
    ///
    /// An older connection drains as if the server was stopped: it processes the requests that have arrived, sends *going
    /// away*, if the framing can carry it, and closes. It is aborted if that takes longer than
    /// [`drain_timeout`](Self::drain_timeout). Use this setting to redistribute clients that keep their connections, for
    /// example to servers that were added to a load balancer. The age varies by up to a tenth, so that connections that were
    /// opened together do not end together.
    pub fn max_connection_age(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.max_connection_age = limit.into().into();
        self
    }

    /// Sets the maximum number of requests of a connection. Default: `None`.
    ///
    /// After the response to the last, the peer receives *going away*, if the framing can carry it, and the connection
    /// closes. Requests after the last are not executed. [`bind`](Self::bind) rejects zero.
    pub fn max_requests_per_connection(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.settings.limits.max_requests_per_connection = limit.into().unwrap_or(u64::MAX);
        self
    }

    /// Sets the maximum number of requests in flight of all connections of one address. Default: `None`.
    ///
    /// A further request is answered *busy* and not executed. The connection continues if the framing or `reject_with` can
    /// carry the answer. A connection has one request in flight, or as many as `concurrent` allows, so this limits how many
    /// functions of an address wait, or run under `blocking`. Peers are counted as for
    /// [`max_connections_per_address`](Self::max_connections_per_address). [`bind`](Self::bind) rejects
    /// zero.
    pub fn max_in_flight_per_address(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.settings.limits.max_in_flight_per_address = limit.into().unwrap_or(usize::MAX);
        self
    }

    /// Sets how many requests per second all connections of one address may send. Default: `None`.
    ///
    /// A further request is answered as with [`max_in_flight_per_address`](Self::max_in_flight_per_address). Requests are
    /// counted by a token bucket for one second, which reconnecting does not refill. A [`Channel`](crate::Channel) retries such
    /// a request after a wait, so its callers see a delay.
    /// [`bind`](Self::bind) rejects zero.
    #[doc(alias = "rate limit")]
    pub fn max_request_rate_per_address(mut self, per_second: impl Into<Option<u32>>) -> Self {
        self.settings.limits.max_request_rate_per_address = per_second.into().unwrap_or(u32::MAX);
        self
    }

    /// Sets how long a request may wait before it starts. Default: `None`.
    ///
    /// A request that has waited longer is answered *busy* and not executed. The connection continues if the framing or
    /// `reject_with` can carry the answer. An overloaded server then spends its time on requests whose clients still wait. Set
    /// this to a fraction of your clients' timeout.
    ///
    /// The limit applies to each of these waits:
    ///
    /// - for earlier requests of the same connection and their replies, from the read on
    /// - for the tasks of other connections, once such waits have been too long for 100 ms, so a short burst may pass
    /// - for a permit of [`max_blocking`](Self::max_blocking), with the same allowance for bursts
    ///
    /// The wait of a request is known only from the moment when the server reads it: a connection reads 16 KiB at a time, or
    /// one longer request. [`serve_stream`](Self::serve_stream) ignores the second wait. A limit of less than 5 ms makes no
    /// allowance for bursts, because timers have a resolution of 1 ms. [`bind`](Self::bind) rejects zero. See
    /// [Overload](https://docs.rs/crate/tcs/latest/source/docs/overload.md) for figures.
    pub fn max_queue_time(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.max_queue_time = limit.into().into();
        self
    }

    /// Sets how many requests of a connection may wait for their replies. Default: `None`.
    ///
    /// A further request is answered as with [`max_queue_time`](Self::max_queue_time). Requests that get no reply
    /// ([`Response::NoReply`](crate::Response::NoReply)) count as well. Without this limit, a connection still reads the next
    /// 16 KiB only when it has answered all requests that it has read, so this limits how many small requests it reads at once.
    /// [`bind`](Self::bind) rejects zero.
    pub fn max_pipelined_requests(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.settings.limits.max_pipelined_requests = limit.into().unwrap_or(u64::MAX);
        self
    }

    /// Sets how many bytes of pushed events may wait for one peer to read. Default: 64 KiB.
    ///
    /// Each event counts 32 bytes in addition to its own. Waiting events are kept in memory, so a server may need this many
    /// bytes for each subscriber. Beyond 128 KiB, a queue also takes memory from the [`memory_budget`](Self::memory_budget).
    /// [`bind`](Self::bind) rejects zero.
    pub fn max_push_queue(mut self, bytes: usize) -> Self {
        self.settings.limits.max_push_queue = bytes;
        self
    }

    /// Sets what happens to an event that exceeds [`max_push_queue`](Self::max_push_queue). Default:
    /// [`PushOverflow::Reject`].
    pub fn push_overflow(mut self, overflow: PushOverflow) -> Self {
        self.settings.limits.push_overflow = overflow;
        self
    }

    /// Sets how long a connection may process requests in one poll of its task before it sends its replies and lets other tasks
    /// run. For measurements. Default: 100 µs.
    #[doc(hidden)]
    pub fn poll_budget(mut self, budget: Duration) -> Self {
        self.settings.limits.poll_nanos = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// Sets the maximum number of `blocking` functions that run concurrently. Further calls wait.
    ///
    /// tokio starts the threads, and may keep more than this number. [`bind`](Self::bind) rejects zero. Default: 512.
    pub fn max_blocking(mut self, limit: usize) -> Self {
        self.settings.max_blocking = limit;
        self
    }

    /// Sets a function that is called when the server begins to accept connections.
    ///
    /// The function receives the server, which knows its [`local_addr`](BoundServer::local_addr).
    pub fn on_listening(mut self, function: impl FnOnce(&BoundServer) + Send + 'static) -> Self {
        self.settings.on_listening = Some(Box::new(function));
        self
    }

    /// Sets a function that is called with each peer after its handshakes, and can reject it. Default: none.
    ///
    /// A rejected peer receives the rejection, if the framing can carry it, and its connection is closed. A rejection that is
    /// not [final](crate::RejectionKind::is_final) is sent as *going away*, because the peer has not sent a request. After
    /// *going away*, a [`Channel`](crate::Channel) tries again until its calls time out. To reject a peer for good, return
    /// *protocol error*, the only final kind that is not retried.
    ///
    /// Without handshakes, the accept loop calls the function, so it must not block. If the function panics, the peer
    /// is rejected. [`serve_stream`](Self::serve_stream) does not call it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// use tcs::{ConcurrentServer, Rejection, RejectionKind};
    ///
    /// let server = ConcurrentServer::new(Greet).on_accept(|peer| match peer.addr() {
    ///     Some(addr) if addr.ip().is_loopback() => Ok(()),
    ///     _ => Err(Rejection::new(RejectionKind::ProtocolError, "only from this machine")),
    /// });
    /// # drop(server);
    /// ```
    pub fn on_accept<F>(mut self, function: F) -> Self
    where
        F: Fn(&Peer) -> std::result::Result<(), Rejection> + Send + Sync + 'static,
    {
        self.settings.on_accept = Some(Box::new(function));
        self
    }

    /// Erases the types of the server.
    pub(super) fn unbound(self) -> Result<UnboundServer> {
        let (shared, settings) = self.shared()?;
        // Otherwise, data that should be encrypted would not be.
        if !settings.listens_at_address() && !settings.handshakes.is_empty() {
            let reason = "and `tls` are for the connections to `address`, and there is none; give each listener its \
                          own with `with_handshake`";
            return Err(Error::setting("handshake", reason));
        }
        Ok(UnboundServer { shared, settings })
    }

    /// Rejects the settings that have no effect on a stream of one's own.
    pub(super) fn check_for_stream(&self) -> Result<()> {
        let (setting, instead) = if !self.settings.handshakes.is_empty() {
            // Otherwise, data that should be encrypted would not be.
            ("handshake", "; call `perform` of the handshake before")
        } else if !self.settings.listeners.is_empty() {
            ("listener", ", which serves one stream")
        } else if self.settings.on_listening.is_some() {
            ("on_listening", ", which serves one stream")
        } else {
            return Ok(());
        };
        let reason = format!("is not for `serve_stream`{instead}");
        Err(Error::setting(setting, reason))
    }

    /// Checks the settings. Returns the state that the connections share.
    pub(super) fn shared(self) -> Result<(Arc<Shared<P>>, Settings)> {
        const { assert_parameters::<P::Framing>() };
        self.settings.check(P::Framing::MIN_MESSAGE_LEN)?;
        let shared = Shared::new(self.protocol, &self.settings, M::IS_ONCE);
        Ok((Arc::new(shared), self.settings))
    }
}

impl<P, M> std::fmt::Debug for Server<P, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.settings.address)
            .finish_non_exhaustive()
    }
}
