//! A server in memory.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    faults::{At, ByteCounts, Cut, FaultyStream},
    pipe::{Pipe, pipe},
    task::Task,
};
use crate::{
    Channel, ConcurrentServer, Connection, Peer, Result,
    client::ChannelOptions,
    panics::lock,
    protocol::{CallContract, Contract, ServerProtocol},
    server::{Concurrent, Mode, Report, Server, ServerHandle},
    sync::{Mutex, atomic::Ordering::Relaxed},
    transport::{Incoming, Listener},
};

/// The number of bytes that one end of a connection can send before the other reads.
const PIPE_LEN: usize = 64 << 10;
/// The time in which connections must close, unless the test sets another: longer than a server drains by default.
const LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a protocol in memory: the real server and its real wire, without a port.
///
/// `server` is a protocol, which a [`ConcurrentServer`] serves, or any server with its settings. You can pause tokio's
/// clock, so that a limit of minutes takes no time.
///
/// # Panics
///
/// Panics outside of a tokio runtime, and if a setting is invalid.
///
/// # Examples
///
/// ```
/// use tcs::{server_protocol, testing};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// // #[tokio::test]
/// let mut server = testing::serve(Greet).await;
/// assert_eq!(server.call("Ann").await?, "Hello, Ann!");
/// assert_eq!(server.finish().await.requests.served, 1);
/// # Ok(())
/// # }
/// ```
///
/// With settings, and more than one connection:
///
/// ```
/// use std::time::Duration;
///
/// use tcs::{ConcurrentServer, RejectionKind, server_protocol, testing::serve};
///
/// #[server_protocol]
/// async fn wait(seconds: u64) -> u64 {
///     tokio::time::sleep(Duration::from_secs(seconds)).await;
///     seconds
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> tcs::Result<()> {
/// // #[tokio::test(start_paused = true)]
/// let server = ConcurrentServer::new(Wait).request_timeout(Duration::from_secs(10));
/// let server = serve(server).await;
/// let (mut one, mut two) = (server.connect(), server.connect());
/// assert_eq!(one.call::<Wait>(9).await?, 9);
/// let error = two.call::<Wait>(11).await.expect_err("it takes too long");
/// assert_eq!(error.rejection().map(|it| it.kind()), Some(RejectionKind::TimedOut));
/// assert_eq!(server.finish().await.connections.accepted, 2);
/// # Ok(())
/// # }
/// ```
///
/// The client of a module is over a connection or a channel:
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// #[tcs::server_protocol(format = tcs::format::Json)]
/// mod bank {
///     pub fn deposit(cents: u64, #[session] balance: &mut u64) -> u64 {
///         *balance += cents;
///         *balance
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let server = tcs::testing::serve(bank::Protocol).await;
/// let mut bank = bank::Client::over(server.connect());
/// assert_eq!(bank.deposit(5).await?, 5);
/// assert_eq!(bank.deposit(5).await?, 10);
/// let another = bank::Client::over(server.channel());
/// assert_eq!(another.deposit(1).await?, 1);
/// # server.finish().await;
/// # Ok(())
/// # }
/// ```
pub async fn serve<S: IntoServer>(server: S) -> TestServer<S::Protocol> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let server = server.into_server().listener(Pipes { receiver });
    let bound = server.bind().await;
    let bound = bound.unwrap_or_else(|error| panic!("the server cannot start: {error:?}"));
    TestServer {
        dialer: Arc::new(Dialer {
            sender,
            open: Arc::default(),
            faults: Mutex::default(),
            counts: Arc::default(),
        }),
        handle: bound.handle(),
        task: Task::spawn(async {
            let report = bound.listen().await;
            report.unwrap_or_else(|error| panic!("the server has failed: {error:?}"))
        }),
        connection: None,
        limit: LIMIT,
    }
}

/// The parameter of [`serve`]: a protocol, or a server with its settings.
pub trait IntoServer {
    /// The protocol.
    type Protocol: ServerProtocol;
    /// The number of connections that are served at a time.
    type Mode: Mode;

    /// Returns the server.
    fn into_server(self) -> Server<Self::Protocol, Self::Mode>;
}

impl<P: ServerProtocol> IntoServer for P {
    type Protocol = P;
    type Mode = Concurrent;

    fn into_server(self) -> ConcurrentServer<P> {
        ConcurrentServer::new(self)
    }
}

impl<P: ServerProtocol, M: Mode> IntoServer for Server<P, M> {
    type Protocol = P;
    type Mode = M;

    fn into_server(self) -> Self {
        self
    }
}

/// A server in memory, which also connects clients to itself. Created by [`serve`].
///
/// Dropping this value closes the server once its connections are closed, and panics if the server has failed before.
/// To see how the server ends, call [`finish`](Self::finish).
#[must_use = "whether the server has failed is seen by `finish`"]
pub struct TestServer<P: ServerProtocol> {
    dialer: Arc<Dialer>,
    handle: ServerHandle,
    task: Task<Report>,
    /// The connection of `call`.
    connection: Option<Connection<P::Framing>>,
    /// The time in which connections must close.
    limit: Duration,
}

impl<P: ServerProtocol> TestServer<P> {
    /// Sends a request and returns the reply. All calls have one connection, so they share a session.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Connection::call`].
    pub async fn call(&mut self, request: <P as Contract>::Request<'_>) -> Result<P::Value<'_>>
    where
        P: CallContract<Framing = <P as ServerProtocol>::Framing>,
    {
        let dialer = &self.dialer;
        let connection = self
            .connection
            .get_or_insert_with(|| Connection::over(dialer.dial()));
        connection.call::<P>(request).await
    }

    /// Connects.
    pub fn connect(&self) -> Connection<P::Framing> {
        Connection::over(self.stream())
    }

    /// Returns a channel, which connects at its first call, and again when its connection has ended.
    ///
    /// Does not compile for a framing that has no channels.
    pub fn channel(&self) -> Channel<P::Framing> {
        let dialer = Arc::clone(&self.dialer);
        let options = ChannelOptions::over(move || {
            let stream = dialer.dial();
            async { io::Result::Ok(stream) }
        });
        let channel = options.connect_lazily();
        channel.unwrap_or_else(|error| panic!("no channel: {error:?}"))
    }

    /// Connects, and returns the stream, for raw bytes, a [`Script`](super::Script), or
    /// [`ConnectOptions::over`](crate::client::ConnectOptions::over).
    pub fn stream(&self) -> FaultyStream {
        self.dialer.dial()
    }

    /// Cuts the next connection at a byte that its client reads or writes. Later connections are not cut.
    pub fn cut_next(&self, at: At, cut: Cut) {
        self.dialer.fault_next(move |stream| stream.cut(at, cut));
    }

    /// Returns the handle of the server, which stops it, and has its numbers.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Sets how long [`closed`](Self::closed) waits, and [`finish`](Self::finish). Default: a minute.
    ///
    /// With a paused clock, set a longer time to wait for a longer limit of the server.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Waits until the server has ended or rejected all connections, or has ended itself.
    ///
    /// # Panics
    ///
    /// Panics if a connection is still open after a minute, or the limit of [`within`](Self::within).
    pub async fn closed(&self) {
        let begun = Instant::now();
        while begun.elapsed() < self.limit {
            // The numbers of the server do not include connections that were rejected, or not accepted yet.
            let is_closed = Arc::strong_count(&self.dialer.open) == 1;
            let is_idle = is_closed && self.handle.stats().connections.open == 0;
            if is_idle || self.task.is_finished() {
                return;
            }
            sleep(PAUSE).await;
        }
        panic!("a connection is still open: {}", self.handle.stats());
    }

    /// Stops the server as [`ServerHandle::stop`] does, waits until it has ended, and returns its report.
    ///
    /// # Panics
    ///
    /// Panics if the server has returned an error or has panicked, if it has not ended after a minute, or the limit of
    /// [`within`](Self::within), if its numbers do not add up, or if it has kept memory
    /// for a large message.
    pub async fn finish(self) -> Report {
        let Self {
            handle,
            task,
            connection,
            limit,
            dialer: _,
        } = self;
        drop(connection);
        handle.stop();
        let Ok(report) = timeout(limit, task.end()).await else {
            panic!(
                "the server has not ended within {limit:?}: {}",
                handle.stats()
            );
        };
        let (requests, connections) = (report.requests, report.connections);
        let answered = requests.served + requests.failed + requests.rejected;
        assert_eq!(
            (requests.received, connections.accepted),
            (
                answered + requests.aborted,
                connections.closed + connections.aborted
            ),
            "the numbers of the server do not add up: {report}"
        );
        let reserved = handle.reserved_bytes();
        assert_eq!(reserved, 0, "the server has kept memory for large messages");
        report
    }

    /// Makes the next connection one that reads and writes byte by byte.
    pub(super) fn bytewise_next(&self) {
        self.dialer.fault_next(FaultyStream::bytewise);
    }

    /// Returns the bytes that clients have read and written since the last call.
    pub(super) fn take_counts(&self) -> (usize, usize) {
        let counts = &self.dialer.counts;
        (
            counts.read.swap(0, Relaxed),
            counts.written.swap(0, Relaxed),
        )
    }
}

impl<P: ServerProtocol> fmt::Debug for TestServer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer")
            .field("stats", &self.handle.stats())
            .finish_non_exhaustive()
    }
}

/// Connects to the server.
struct Dialer {
    sender: mpsc::UnboundedSender<Pipe>,
    /// The server's end of each connection, and this value, hold a reference.
    open: Arc<()>,
    /// Adds the faults of the next connection.
    faults: Mutex<Option<AddFaults>>,
    counts: Arc<ByteCounts>,
}

type AddFaults = Box<dyn FnOnce(FaultyStream) -> FaultyStream + Send>;

impl Dialer {
    fn fault_next(&self, faults: impl FnOnce(FaultyStream) -> FaultyStream + Send + 'static) {
        *lock(&self.faults) = Some(Box::new(faults));
    }

    /// Connects. A server that has ended drops the other end.
    fn dial(&self) -> FaultyStream {
        let (near, far) = pipe(PIPE_LEN);
        let far = far.holding(Arc::clone(&self.open));
        self.sender.send(far).ok();
        let stream = FaultyStream::new(near).counted(Arc::clone(&self.counts));
        match lock(&self.faults).take() {
            Some(faults) => faults(stream),
            None => stream,
        }
    }
}

/// The listener of the server.
struct Pipes {
    receiver: mpsc::UnboundedReceiver<Pipe>,
}

impl Listener for Pipes {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let accepted = self.receiver.recv().await;
        Ok(accepted.map(|stream| Incoming::new(stream, Peer::unnamed())))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
