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
    Peer,
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

use crate::{
    LIMIT, Link, RawPeer,
    deadline::{PATIENCE, bounded},
    link::Pipes,
    within,
};

/// A server that runs, and how to reach it.
#[derive(Debug)]
pub struct Running {
    over: Over,
    at: At,
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

#[derive(Debug)]
enum At {
    Socket(SocketAddr),
    #[cfg(unix)]
    Path(PathBuf),
    Memory(MemoryConnector),
    Pipes(mpsc::UnboundedSender<Pipe>),
}

/// Starts a server at a free port.
pub async fn start<P: ServerProtocol, M: Mode>(server: Server<P, M>) -> Running {
    listen(Over::Tcp, server.port(0), None).await
}

/// Starts a server at a listener of this transport.
pub async fn start_over<P: ServerProtocol, M: Mode>(over: Over, server: Server<P, M>) -> Running {
    let (server, at) = match over {
        Over::Tcp => (server.port(0), None),
        #[cfg(unix)]
        Over::Unix => {
            let path = scratch_path("sock");
            let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
            (server.listener(socket), Some(At::Path(path)))
        }
        #[cfg(target_os = "linux")]
        Over::Tls => (server.port(0).tls(crate::tls::server()), None),
        Over::Memory => {
            let (listener, connector) = memory();
            (server.listener(listener), Some(At::Memory(connector)))
        }
    };
    listen(over, server, at).await
}

/// Like [`start_over`], for peers that are [`Link`]s.
pub async fn start_for_links<P: ServerProtocol, M: Mode>(
    over: Over,
    server: Server<P, M>,
) -> Running {
    if let Over::Memory = over {
        let (sender, receiver) = mpsc::unbounded_channel();
        let server = server.listener(Pipes(receiver));
        return listen(over, server, Some(At::Pipes(sender))).await;
    }
    start_over(over, server).await
}

async fn listen<P: ServerProtocol, M: Mode>(
    over: Over,
    server: Server<P, M>,
    at: Option<At>,
) -> Running {
    let bound = server.bind().await.expect("a free port");
    Running {
        over,
        at: at.unwrap_or_else(|| At::Socket(bound.local_addr())),
        handle: bound.handle(),
        task: tokio::spawn(bound.listen()),
    }
}

impl Running {
    /// Returns the address of a server over TCP or TLS.
    pub fn addr(&self) -> SocketAddr {
        let At::Socket(addr) = self.at else {
            panic!("it has no address");
        };
        addr
    }

    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
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

    /// Connects to a server that was started for links, through a pipe of this many bytes if it is in memory. Returns an
    /// error if the server does not listen any more.
    ///
    /// # Panics
    ///
    /// When the server is in memory, and was not started for links.
    pub async fn link(&self, room: usize) -> io::Result<Link> {
        Ok(match &self.at {
            At::Socket(addr) => {
                let stream = TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                match self.over {
                    #[cfg(target_os = "linux")]
                    Over::Tls => Link::Tls(Box::new(crate::tls::connect_over(stream).await?)),
                    _ => Link::Tcp(stream),
                }
            }
            #[cfg(unix)]
            At::Path(path) => Link::Unix(UnixStream::connect(path).await?),
            At::Pipes(sender) => {
                let (near, far) = pipe(room);
                let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
                sender.send(far).map_err(refused)?;
                Link::Memory(near)
            }
            At::Memory(_) => panic!("it was not started for links"),
        })
    }

    /// Drops the future of the server, wherever it is.
    pub fn drop_future(&self) {
        self.task.abort();
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
        // The clock may be paused where no socket is waited for.
        let limit = if let Over::Memory = self.over {
            PATIENCE
        } else {
            LIMIT
        };
        let task = bounded(self.task, limit);
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
pub async fn said_to<P: ServerProtocol, M: Mode>(
    over: Over,
    server: Server<P, M>,
    bytes: impl AsRef<[u8]>,
) -> (Vec<u8>, RequestCounts) {
    is_said(start_over(over, server).await, bytes.as_ref(), true).await
}

/// Sends bytes to a new server; returns all that it says until it closes, and what it counts.
pub async fn closes_after<P: ServerProtocol, M: Mode>(
    over: Over,
    server: Server<P, M>,
    bytes: impl AsRef<[u8]>,
) -> (Vec<u8>, RequestCounts) {
    is_said(start_over(over, server).await, bytes.as_ref(), false).await
}

async fn is_said(server: Running, bytes: &[u8], finishes: bool) -> (Vec<u8>, RequestCounts) {
    let mut peer = server.peer().await;
    within(peer.send(bytes)).await;
    if finishes {
        // The server may have closed before.
        within(peer.try_finish()).await.ok();
    }
    let said = within(peer.rest()).await;
    drop(peer);
    (said, server.stopped().await.requests)
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
