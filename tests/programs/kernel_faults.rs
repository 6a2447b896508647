//! Faults that only a kernel has: `kernel_faults FAULT`, in a network namespace of its own. The program is the server and
//! its peers. It fails unless the server's report is that of the fault, and the next client is served.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tcs::{
    ConcurrentServer, ConnectionInfo, IterativeServer, Rejection,
    format::Plain,
    framing::Lines,
    protocol::{Context, ServerProtocol},
    server::{Mode, Report, Server, ServerThread},
};
use tcs_tests::adds_up;
use tokio::{
    net::{TcpSocket, TcpStream as AsyncTcpStream},
    runtime::Builder,
    task::JoinSet,
};

/// Replies with so many bytes as its request says.
struct Bytes;

impl ServerProtocol for Bytes {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;
    const WAITS: bool = false;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        request: &str,
    ) -> Result<String, Rejection> {
        let len = request.parse();
        Ok("x".repeat(len.map_err(|_| Rejection::busy("no number"))?))
    }
}

/// No wait of a peer is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The limits of the server.
const LIMIT: Duration = Duration::from_secs(1);
/// More than the buffers of two sockets have room for.
const BULK: &str = "16777216\n";
/// The address of the peers behind a route, and that of the server.
const GONE: &str = "10.9.9.9";
const HERE: &str = "10.9.9.1";

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => return serve(),
        ["connect", addr] => return stay_connected(addr.parse().expect("an address")),
        _ => ip("link set lo up"),
    }
    match arguments[..] {
        ["connects"] => many_connects(false),
        ["resets"] => many_connects(true),
        ["descriptors"] => few_descriptors(),
        ["backlog"] => full_backlog(),
        ["windows"] => zero_windows(),
        ["route"] => dropped_route(),
        ["stopped-peer"] => stopped_peer(),
        ["stopped-server"] => stopped_server(),
        _ => panic!("no fault is called {arguments:?}"),
    }
}

fn server() -> ConcurrentServer<Bytes> {
    ConcurrentServer::new(Bytes).max_reply_len(1 << 25)
}

fn start<M: Mode>(server: Server<Bytes, M>) -> ServerThread {
    server.port(0).start().expect("a free port")
}

/// Connects, and has one exchange.
fn client(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    ask(&mut stream);
    stream
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(b"3\n").expect("it reads");
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"xxx\n");
}

/// Waits until the server has ended all connections but some.
fn wait_for(server: &ServerThread, what: &str, is_so: impl Fn(Report) -> bool) {
    let began = Instant::now();
    while !is_so(server.handle().stats()) {
        let stats = server.handle().stats();
        assert!(began.elapsed() < PATIENCE, "not {what}: {stats}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Fails unless the next client is served, and nothing is left of the others.
fn ends_well(server: ServerThread) -> Report {
    drop(client(server.local_addr()));
    let report = server.stop().expect("it ends well");
    adds_up(&report);
    let left = (report.connections.open, report.requests.in_flight);
    assert_eq!(left, (0, 0), "{report}");
    println!("{report}");
    report
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("it is installed").success(), "ip {arguments}");
}

/// Peers that close or reset their connections as soon as they have them.
fn many_connects(must_reset: bool) {
    const PEERS: u64 = 10_000;
    let server = start(server());
    let addr = server.local_addr();
    for _ in 0..PEERS {
        let stream = TcpStream::connect(addr).expect("it listens");
        if must_reset {
            let stream = socket2::Socket::from(stream);
            stream.set_linger(Some(Duration::ZERO)).expect("TCP has it");
        }
    }
    let report = ends_well(server);
    // The kernel may drop a connection that was reset before it was accepted.
    let accepted = report.connections.accepted;
    assert!(
        accepted == PEERS + 1 || (must_reset && accepted <= PEERS),
        "{report}"
    );
    assert_eq!((report.requests.received, report.requests.served), (1, 1));
}

/// More peers than the process has descriptors for, which `ulimit` has set.
fn few_descriptors() {
    let server = start(server().max_connections(10_000));
    let addr = server.local_addr();
    let mut before = client(addr);
    let mut peers = Vec::new();
    // The peers are of the same process, so both ends run out.
    while let Ok(peer) = TcpStream::connect(addr) {
        peers.push(peer);
    }
    assert!(peers.len() > 20, "{} peers", peers.len());
    ask(&mut before);
    drop(before);
    drop(peers);
    wait_for(&server, "idle", |stats| stats.connections.open == 0);
    ends_well(server);
}

/// More peers than the backlog has room for, while the server has another.
fn full_backlog() {
    let server = IterativeServer::new(Bytes).idle_timeout(PATIENCE);
    let server = start(server);
    let addr = server.local_addr();
    let mut first = client(addr);
    let runtime = Builder::new_current_thread().enable_all().build();
    let waiting = runtime.expect("a runtime").block_on(async {
        let mut peers = JoinSet::new();
        for _ in 0..6_000 {
            peers.spawn(tokio::time::timeout(LIMIT, AsyncTcpStream::connect(addr)));
        }
        let results = peers.join_all().await;
        results.into_iter().flatten().flatten().count()
    });
    assert!(waiting < 6_000, "the backlog has no end");
    ask(&mut first);
    drop(first);
    let report = ends_well(server);
    assert_eq!(report.requests.served, 3, "{report}");
}

/// Connects with a receive buffer that stays small.
fn narrow(addr: SocketAddr, from: Option<&str>) -> TcpStream {
    let runtime = Builder::new_current_thread().enable_all().build();
    let stream = runtime.expect("a runtime").block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("TCP has it");
        if let Some(from) = from {
            let from = format!("{from}:0").parse().expect("an address");
            socket.bind(from).expect("it is an address of this machine");
        }
        let stream = socket.connect(addr).await.expect("it listens");
        stream.into_std().expect("no runtime is needed")
    });
    stream.set_nonblocking(false).expect("it is a socket");
    stream
}

/// Peers that ask for more than fits, and never read.
fn zero_windows() {
    const PEERS: u64 = 20;
    let server = start(server().write_timeout(LIMIT));
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let mut peer = narrow(server.local_addr(), None);
        peer.write_all(BULK.as_bytes()).expect("it reads");
        peers.push(peer);
    }
    wait_for(&server, "begun", |stats| stats.requests.received == PEERS);
    // Others do not wait for them.
    drop(client(server.local_addr()));
    wait_for(&server, "given up", |stats| stats.connections.open == 0);
    let report = ends_well(server);
    assert_eq!(report.connections.accepted, PEERS + 2, "{report}");
    drop(peers);
}

/// A peer whose route is dropped while it receives a reply, and one that is idle.
fn dropped_route() {
    ip(&format!("address add {GONE}/32 dev lo"));
    ip(&format!("address add {HERE}/32 dev lo"));
    let server = server()
        .address((HERE, 0))
        .write_timeout(LIMIT)
        .idle_timeout(2 * LIMIT);
    let server = server.start().expect("a free port");
    let mut reading = narrow(server.local_addr(), Some(GONE));
    reading.write_all(BULK.as_bytes()).expect("it reads");
    reading
        .read_exact(&mut [0; 1_000])
        .expect("a part of the reply");
    let mut idle = narrow(server.local_addr(), Some(GONE));
    ask(&mut idle);
    ip(&format!("address del {GONE}/32 dev lo"));
    ip(&format!("route add blackhole {GONE}/32"));
    wait_for(&server, "given up", |stats| stats.connections.open == 0);
    let report = ends_well(server);
    assert_eq!(report.connections.accepted, 3, "{report}");
}

/// This program once more, with these arguments, and its first line.
fn again(arguments: &[&str]) -> (Child, String) {
    let program = env::current_exe().expect("a program knows where it is");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let stdout = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    read.expect("it says something");
    (child, line.trim().to_owned())
}

fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("sh");
    let kill = kill.args(["-c", "kill -s \"$1\" \"$2\"", "sh", name]);
    let status = kill.arg(child.id().to_string()).status();
    assert!(
        status.expect("there is a shell").success(),
        "kill -s {name}"
    );
}

/// A peer that is stopped while it is connected.
fn stopped_peer() {
    let server = start(server().idle_timeout(LIMIT).write_timeout(LIMIT));
    let addr = server.local_addr();
    let (mut peer, _) = again(&["connect", &addr.to_string()]);
    signal(&peer, "STOP");
    wait_for(&server, "given up", |stats| stats.connections.open == 0);
    let report = ends_well(server);
    assert_eq!(report.requests.served, 2, "{report}");
    peer.kill().expect("it was started here");
    peer.wait().expect("it ends");
}

/// A server that is stopped with a request on its way, and goes on.
fn stopped_server() {
    let (mut server, addr) = again(&["serve"]);
    let addr = addr.parse().expect("an address");
    let mut before = client(addr);
    signal(&server, "STOP");
    before.write_all(b"3\n").expect("the kernel takes it");
    let mut during = TcpStream::connect(addr).expect("the kernel listens");
    during.set_read_timeout(Some(LIMIT)).expect("a timeout");
    during.write_all(b"3\n").expect("the kernel takes it");
    // It is longer than the limits of the server, which has not seen these bytes come.
    let error = during.read_exact(&mut [0; 4]).expect_err("it is stopped");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    signal(&server, "CONT");
    during.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    during.read_exact(&mut [0; 4]).expect("a reply");
    let mut late = [0; 4];
    // Its limit has passed while the server was stopped, so that it may be closed instead.
    println!(
        "{:?}",
        before.read_exact(&mut late).map_err(|error| error.kind())
    );
    drop(client(addr));
    drop(server.stdin.take());
    assert!(server.wait().expect("it ends").success());
}

/// Serves until its standard input ends.
fn serve() {
    let server = start(server().idle_timeout(2 * LIMIT));
    println!("{}", server.local_addr());
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("it is piped");
    let report = server.stop().expect("it ends well");
    adds_up(&report);
    assert!(report.requests.served >= 3, "{report}");
}

/// Has an exchange, and stays connected.
fn stay_connected(addr: SocketAddr) {
    let _stream = client(addr);
    println!("connected");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("it is piped");
}
