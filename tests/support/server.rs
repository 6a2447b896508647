//! Servers of the tests, over TCP and in memory.

use std::{
    io,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

#[cfg(unix)]
use tcs::transport::UnixSocketListener;
use tcs::{
    ConcurrentServer, Peer,
    protocol::ServerProtocol,
    server::{Mode, Report, RequestCounts, Server, ServerHandle},
    testing::{Pipe, pipe},
    transport::{MemoryConnector, memory},
};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufWriter},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};

use crate::{Link, RawPeer, link::Pipes, within};

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

/// Starts a server at a free port.
pub async fn start<P: ServerProtocol, M: Mode>(server: Server<P, M>) -> Running {
    let bound = server.port(0).bind().await.expect("a free port");
    Running {
        addr: bound.local_addr(),
        handle: bound.handle(),
        task: tokio::spawn(bound.listen()),
    }
}

impl Running {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    pub async fn peer(&self) -> RawPeer {
        RawPeer::connect(self.addr).await
    }

    /// Waits until the server returns, which has aborted no connection.
    #[track_caller]
    pub fn finished(self) -> impl Future<Output = Report> {
        self.finished_after_aborting(0)
    }

    /// Waits until the server returns, which has aborted this many connections.
    #[track_caller]
    pub fn finished_after_aborting(self, connections: u64) -> impl Future<Output = Report> {
        let handle = self.handle.clone();
        let result = self.result();
        async move {
            let report = result.await.expect("the server ends well");
            nothing_is_left(&report, &handle, connections);
            report
        }
    }

    /// Waits until the server returns, whatever it says.
    #[track_caller]
    pub fn result(self) -> impl Future<Output = tcs::Result<Report>> {
        let task = within(self.task);
        async move {
            let result = task.await.expect("the server does not panic");
            result.inspect(adds_up)
        }
    }

    /// Stops the server and waits until it returns.
    #[track_caller]
    pub fn stopped(self) -> impl Future<Output = Report> {
        self.handle.stop();
        self.finished()
    }
}

/// Fails unless the numbers of a report add up.
pub fn adds_up(report: &Report) {
    let (requests, connections) = (report.requests, report.connections);
    assert_eq!(
        requests.received,
        requests.served
            + requests.failed
            + requests.rejected
            + requests.aborted
            + requests.in_flight,
        "{report}"
    );
    assert_eq!(
        connections.accepted,
        connections.closed + connections.aborted + connections.open,
        "{report}"
    );
}

/// Fails unless a server that has returned has aborted this many connections, its numbers add up, and it has left nothing:
/// no task of a connection, with its socket and its session, and no memory for large messages.
///
/// The report counts what is left as aborted, so it is the handle that is asked.
pub fn nothing_is_left(report: &Report, handle: &ServerHandle, aborted: u64) {
    adds_up(report);
    assert_eq!(
        report.connections.aborted, aborted,
        "connections were aborted: {report}"
    );
    let now = handle.stats();
    let left = (
        now.connections.open,
        now.requests.in_flight,
        handle.reserved_bytes(),
    );
    let nothing = (0, 0, 0);
    assert_eq!(
        left, nothing,
        "connections, requests and bytes are left over: {now}"
    );
}

/// Serves one peer in memory, through a pipe of this many bytes.
pub fn serve_in_memory<P: ServerProtocol, M: Mode>(
    server: Server<P, M>,
    pipe: usize,
) -> (RawPeer, JoinHandle<Report>) {
    let (near, far) = tokio::io::duplex(pipe);
    (RawPeer::over(near), serve_over(server, far))
}

/// Serves one peer through a pipe of 32 bytes, before which a buffer takes whatever is written and
/// keeps it until it is flushed.
pub fn serve_behind_a_buffer<P: ServerProtocol, M: Mode>(
    server: Server<P, M>,
) -> (RawPeer, JoinHandle<Report>) {
    let (near, far) = tokio::io::duplex(32);
    let buffered = BufWriter::with_capacity(1 << 20, far);
    (RawPeer::over(near), serve_over(server, buffered))
}

fn serve_over<P: ServerProtocol, M: Mode>(
    server: Server<P, M>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> JoinHandle<Report> {
    // A task of one type: tokio's code for each type of task was a tenth of what the tests compile.
    let serving: Pin<Box<dyn Future<Output = Report> + Send>> = Box::pin(async move {
        let report = server
            .serve_stream(stream, Peer::unnamed())
            .await
            .expect("good settings");
        adds_up(&report);
        report
    });
    tokio::spawn(serving)
}

/// The transport of a test that runs over each.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    Tcp,
    #[cfg(unix)]
    Unix,
    #[cfg(target_os = "linux")]
    Tls,
    Memory,
}

impl Over {
    /// Returns `true` if peers have a socket address.
    pub fn has_address(self) -> bool {
        match self {
            Self::Tcp => true,
            #[cfg(target_os = "linux")]
            Self::Tls => true,
            #[cfg(unix)]
            Self::Unix => false,
            Self::Memory => false,
        }
    }
}

/// A concurrent server at one listener, or one per connection in memory.
pub struct Place<P: ServerProtocol> {
    make: Box<dyn Fn() -> ConcurrentServer<P> + Send + Sync>,
    listening: Option<Listening>,
    memory: Vec<JoinHandle<Report>>,
}

/// A server that runs, and how to reach it.
#[derive(Debug)]
pub struct Listening {
    at: At,
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

#[derive(Debug)]
enum At {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
    #[cfg(target_os = "linux")]
    Tls(SocketAddr),
    Memory(MemoryConnector),
    Pipes(mpsc::UnboundedSender<Pipe>),
}

impl Listening {
    /// Starts a server at a listener of this transport, also in memory.
    pub async fn start<P: ServerProtocol, M: Mode>(over: Over, server: Server<P, M>) -> Self {
        match over {
            Over::Memory => {
                let (listener, connector) = memory();
                let server = server.listener(listener);
                Self::listen(over, server, Some(At::Memory(connector))).await
            }
            _ => Self::start_with_links(over, server).await,
        }
    }

    /// Like [`start`](Self::start), for peers that are [`Link`]s.
    pub async fn start_with_links<P: ServerProtocol, M: Mode>(
        over: Over,
        server: Server<P, M>,
    ) -> Self {
        let (server, at) = match over {
            Over::Tcp => (server.port(0), None),
            #[cfg(unix)]
            Over::Unix => {
                let path = scratch_path("sock");
                let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
                (server.listener(socket), Some(At::Unix(path)))
            }
            #[cfg(target_os = "linux")]
            Over::Tls => (server.port(0).tls(crate::tls::server()), None),
            Over::Memory => {
                let (sender, receiver) = mpsc::unbounded_channel();
                (server.listener(Pipes(receiver)), Some(At::Pipes(sender)))
            }
        };
        Self::listen(over, server, at).await
    }

    async fn listen<P: ServerProtocol, M: Mode>(
        over: Over,
        server: Server<P, M>,
        at: Option<At>,
    ) -> Self {
        let bound = server.bind().await.expect("a free port");
        let at = at.unwrap_or_else(|| match over {
            #[cfg(target_os = "linux")]
            Over::Tls => At::Tls(bound.local_addr()),
            _ => At::Tcp(bound.local_addr()),
        });
        Self {
            at,
            handle: bound.handle(),
            task: tokio::spawn(bound.listen()),
        }
    }

    pub fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// Connects a new peer, as the server listens.
    pub async fn peer(&self) -> RawPeer {
        self.try_peer().await.expect("it listens")
    }

    /// Connects a new peer. Returns an error if the server does not listen any more.
    pub async fn try_peer(&self) -> io::Result<RawPeer> {
        if let At::Memory(connector) = &self.at {
            return Ok(RawPeer::over(connector.connect().await?));
        }
        Ok(match self.link(1 << 16).await? {
            Link::Tcp(stream) => RawPeer::of(stream),
            Link::Memory(stream) => RawPeer::over(stream),
            #[cfg(unix)]
            Link::Unix(stream) => RawPeer::over(stream),
            #[cfg(target_os = "linux")]
            Link::Tls(stream) => RawPeer::over(stream),
        })
    }

    /// Connects to a server that was started with links, through a pipe of this many bytes if it is in memory. Returns an
    /// error if the server does not listen any more.
    ///
    /// # Panics
    ///
    /// When the server was started without links.
    pub async fn link(&self, room: usize) -> io::Result<Link> {
        let tcp = async |addr| {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        Ok(match &self.at {
            At::Tcp(addr) => Link::Tcp(tcp(*addr).await?),
            #[cfg(unix)]
            At::Unix(path) => Link::Unix(UnixStream::connect(path).await?),
            #[cfg(target_os = "linux")]
            At::Tls(addr) => {
                let stream = tcp(*addr).await?;
                Link::Tls(Box::new(crate::tls::connect_over(stream).await?))
            }
            At::Pipes(sender) => {
                let (near, far) = pipe(room);
                let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
                sender.send(far).map_err(refused)?;
                Link::Memory(near)
            }
            At::Memory(_) => panic!("it was started without links"),
        })
    }

    /// Drops the future of the server, wherever it is.
    pub fn drop_future(&self) {
        self.task.abort();
    }

    /// Waits until the server returns, whatever it says.
    pub async fn result(self) -> tcs::Result<Report> {
        let result = self.task.await.expect("the server does not panic");
        result.inspect(adds_up)
    }

    /// Waits until the server returns, which has aborted no connection.
    pub async fn finished(self) -> Report {
        self.finished_after_aborting(0).await
    }

    /// Waits until the server returns, which has aborted this many connections.
    pub async fn finished_after_aborting(self, connections: u64) -> Report {
        let handle = self.handle.clone();
        let report = self.result().await.expect("the server ends well");
        nothing_is_left(&report, &handle, connections);
        report
    }
}

impl<P: ServerProtocol> Place<P> {
    pub async fn new(
        over: Over,
        make: impl Fn() -> ConcurrentServer<P> + Send + Sync + 'static,
    ) -> Self {
        let listening = match over {
            Over::Memory => None,
            _ => Some(Listening::start(over, make()).await),
        };
        Self {
            make: Box::new(make),
            listening,
            memory: Vec::new(),
        }
    }

    /// Connects a new peer.
    pub async fn peer(&mut self) -> RawPeer {
        if let Some(server) = &self.listening {
            return server.peer().await;
        }
        let (near, far) = tokio::io::duplex(1 << 16);
        self.memory.push(serve_over((self.make)(), far));
        RawPeer::over(near)
    }

    /// Waits until all connections have ended, which the test has arranged; returns the requests.
    pub async fn requests(self) -> RequestCounts {
        let mut sum = RequestCounts::default();
        if let Some(server) = self.listening {
            server.handle.stop();
            return within(server.finished()).await.requests;
        }
        for task in self.memory {
            sum += within(task).await.expect("no panic").requests;
        }
        sum
    }
}

/// Returns a path in the temporary folder that no other test uses.
pub fn scratch_path(extension: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tcs-{}-{number}.{extension}", std::process::id());
    std::env::temp_dir().join(name)
}

/// A file of a test in the temporary folder. It is deleted with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(text: &str) -> Self {
        let file = Self::absent();
        std::fs::write(&file, text).expect("a file for a test");
        file
    }

    /// Returns the path of a file that is not there yet.
    pub fn absent() -> Self {
        Self(scratch_path("txt"))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test may not have written it.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Sends bytes and the end to a new server; returns all that it says, and what it counts.
pub async fn said_to<P: ServerProtocol>(
    over: Over,
    make: impl Fn() -> ConcurrentServer<P> + Send + Sync + 'static,
    bytes: impl AsRef<[u8]>,
) -> (Vec<u8>, RequestCounts) {
    let mut place = Place::new(over, make).await;
    let mut peer = place.peer().await;
    within(peer.send(bytes)).await;
    // The server may have closed before.
    within(peer.try_finish()).await.ok();
    let said = within(peer.rest()).await;
    drop(peer);
    (said, place.requests().await)
}

/// Sends bytes to a new server; returns all that it says until it closes, and what it counts.
pub async fn closes_after<P: ServerProtocol>(
    over: Over,
    make: impl Fn() -> ConcurrentServer<P> + Send + Sync + 'static,
    bytes: impl AsRef<[u8]>,
) -> (Vec<u8>, RequestCounts) {
    let mut place = Place::new(over, make).await;
    let mut peer = place.peer().await;
    within(peer.send(bytes)).await;
    let said = within(peer.rest()).await;
    drop(peer);
    (said, place.requests().await)
}

impl<P: ServerProtocol> std::fmt::Debug for Place<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// Runs each of the named functions, which take an [`Over`], as a test over each transport.
#[macro_export]
macro_rules! over_each {
    ($($test:ident),+ $(,)?) => {
        mod over_tcp {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::Over::Tcp).await;
            })+
        }

        #[cfg(unix)]
        mod over_unix {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::Over::Unix).await;
            })+
        }

        #[cfg(target_os = "linux")]
        mod over_tls {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::Over::Tls).await;
            })+
        }

        mod in_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::Over::Memory).await;
            })+
        }
    };
}

/// Long enough for nothing else to come before it.
pub const LONG: Duration = Duration::from_hours(1);
