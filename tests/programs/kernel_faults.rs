//! Faults that only a kernel has: `kernel_faults FAULT`, in a network namespace of its own. The program is the server and
//! its peers. It fails unless the server's report and log are those of the fault, and the next client is served.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{self, Child, Command, Stdio},
    time::{Duration, Instant},
};

use tcs::{
    Channel, ConcurrentServer, ConnectionInfo, IterativeServer, Rejection,
    client::ChannelOptions,
    format::{Encode, EncodeError, Plain, Writer},
    framing::Lines,
    protocol::{Context, ServerProtocol},
    server::{Mode, Report, Server, ServerThread},
};
use tcs_tests::{Log, client::Text, nothing_is_left, scratch_path};
use tokio::{
    net::{TcpSocket, TcpStream as AsyncTcpStream},
    runtime::Builder,
    task::JoinSet,
    time::timeout,
};

/// Replies with as many bytes as its request says.
struct Bytes;

impl ServerProtocol for Bytes {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Xs;
    const WAITS: bool = false;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        request: &str,
    ) -> Result<Xs, Rejection> {
        let len = request.parse();
        Ok(Xs(len.map_err(|_| Rejection::busy("no number"))?))
    }
}

/// A reply that takes no memory before it is written.
struct Xs(usize);

impl Encode<Plain> for Xs {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        const PIECE: [u8; 4096] = [b'x'; 4096];
        let mut left = self.0;
        while left > 0 {
            let now = left.min(PIECE.len());
            out.put(&PIECE[..now]);
            left -= now;
        }
        Ok(())
    }
}

/// The limits of the server.
const LIMIT: Duration = Duration::from_secs(1);
/// More than the buffers of two sockets have room for.
const BULK: &str = "16777216\n";
/// Why the server gives up a peer.
const DOES_NOT_READ: &str = "reason=the peer does not read (`write_timeout`)";
/// The address of the peers behind a route, and that of the server.
const GONE: &str = "10.9.9.9";
const HERE: &str = "10.9.9.1";

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => return serve(),
        ["receive", addr] => return receive_a_part(addr.parse().expect("an address")),
        _ => ip("link set lo up"),
    }
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).expect("the only one");
    match arguments[..] {
        ["connects"] => many_connects(false),
        ["resets"] => many_connects(true),
        ["descriptors"] => few_descriptors(&log),
        ["backlog"] => full_backlog(),
        ["windows"] => zero_windows(&log),
        ["memory"] => short_memory(),
        ["group"] => limited_group(),
        ["route"] => dropped_route(&log),
        ["stopped-peer"] => stopped_peer(&log),
        ["stopped-server"] => stopped_server(),
        ["name"] => moved_name(),
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
    stream
        .set_read_timeout(Some(tcs_tests::LIMIT))
        .expect("a timeout");
    stream
        .set_write_timeout(Some(tcs_tests::LIMIT))
        .expect("a timeout");
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
        assert!(began.elapsed() < tcs_tests::LIMIT, "not {what}: {stats}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Fails unless the next client is served, and nothing is left of the others.
fn ends_well(server: ServerThread) -> Report {
    drop(client(server.local_addr()));
    let handle = server.handle();
    let report = server.stop().expect("it ends well");
    nothing_is_left(&report, &handle, 0);
    println!("{report}");
    report
}

/// Fails unless this many connections have ended for this reason.
fn has_ended(log: &Log, count: usize, reason: &str) {
    let with_reason = log.with(reason);
    assert_eq!(with_reason.len(), count, "{reason}: {with_reason:?}");
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
    // Linux passes on connections that were reset before they were accepted.
    assert_eq!(report.connections.accepted, PEERS + 1, "{report}");
    assert_eq!((report.requests.received, report.requests.served), (1, 1));
}

/// More peers than the process has descriptors for, which `ulimit` has set.
fn few_descriptors(log: &Log) {
    let server = start(server().max_connections(10_000));
    let addr = server.local_addr();
    let mut before = client(addr);
    let mut peers = Vec::new();
    // The peers are of the same process, so both ends run out.
    while let Ok(peer) = TcpStream::connect(addr) {
        peers.push(peer);
    }
    assert!(peers.len() > 20, "{} peers", peers.len());
    // If the server has accepted them all, the last descriptor goes to a peer, and none is left for the next connection.
    let mut files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    files.pop();
    peers.extend(TcpStream::connect(addr));
    let began = Instant::now();
    while log.with("Too many open files").is_empty() {
        assert!(
            began.elapsed() < tcs_tests::LIMIT,
            "accepting has not failed"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    ask(&mut before);
    drop((before, files, peers));
    wait_for(&server, "idle", |stats| stats.connections.open == 0);
    ends_well(server);
}

/// More peers than the backlog has room for, while the server has another.
fn full_backlog() {
    let server = IterativeServer::new(Bytes).idle_timeout(tcs_tests::LIMIT);
    let server = start(server);
    let addr = server.local_addr();
    let mut first = client(addr);
    let runtime = Builder::new_current_thread().enable_all().build();
    let waiting = runtime.expect("a runtime").block_on(async {
        let mut peers = JoinSet::new();
        for _ in 0..6_000 {
            peers.spawn(timeout(LIMIT, AsyncTcpStream::connect(addr)));
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

/// Connects peers that ask for more than fits, and never read.
fn stuck(server: &ServerThread, count: u64) -> Vec<TcpStream> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let mut peer = narrow(server.local_addr(), None);
        peer.write_all(BULK.as_bytes()).expect("it reads");
        peers.push(peer);
    }
    peers
}

/// Peers that never read.
fn zero_windows(log: &Log) {
    const PEERS: u64 = 20;
    let server = start(server().write_timeout(LIMIT));
    let peers = stuck(&server, PEERS);
    wait_for(&server, "begun", |stats| stats.requests.received == PEERS);
    // Others do not wait for them.
    drop(client(server.local_addr()));
    wait_for(&server, "given up", |stats| stats.connections.open == 0);
    let report = ends_well(server);
    assert_eq!(report.connections.accepted, PEERS + 2, "{report}");
    let requests = report.requests;
    assert_eq!((requests.served, requests.aborted), (2, PEERS), "{report}");
    has_ended(log, 20, DOES_NOT_READ);
    drop(peers);
}

/// Peers that never read, while there is no memory for what they do not read.
fn short_memory() {
    const PEERS: u64 = 20;
    /// Less than the replies to all of them.
    const SPARE: usize = 96 << 20;
    let server = start(server().write_timeout(tcs_tests::LIMIT));
    drop(client(server.local_addr()));
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: usize = statm
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    let limit = format!("--as={}", pages * 4096 + SPARE);
    let mut command = Command::new("prlimit");
    let command = command.args(["--pid", &process::id().to_string(), &limit]);
    assert!(command.status().expect("it is installed").success());
    let peers = stuck(&server, PEERS);
    wait_for(&server, "refused", |stats| {
        stats.requests.received == PEERS + 1 && stats.requests.failed >= 1
    });
    let failed = server.handle().stats().requests.failed;
    assert!(failed < PEERS, "{failed} of {PEERS} replies were refused");
    drop(peers);
    wait_for(&server, "rid of them", |stats| stats.connections.open == 0);
    ends_well(server);
}

/// Peers that never read, in a control group with less memory than their replies need. It is made of files in a mount
/// namespace, because the kernel lets no ordinary process limit a group.
fn limited_group() {
    const PEERS: u64 = 20;
    const GROUP: usize = 256 << 20;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "none", "/sys/fs/cgroup"])
        .status();
    assert!(mounted.expect("it is installed").success());
    let limit = fs::write("/sys/fs/cgroup/memory.max", format!("{GROUP}\n"));
    limit.expect("it is in memory");
    let server = start(server().write_timeout(tcs_tests::LIMIT));
    let peers = stuck(&server, PEERS);
    wait_for(&server, "begun", |stats| stats.requests.received == PEERS);
    drop(client(server.local_addr()));
    drop(peers);
    wait_for(&server, "rid of them", |stats| stats.connections.open == 0);
    ends_well(server);
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<usize> =
        peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    let peak = kibibytes.expect("the most that was resident") * 1024;
    assert!(peak < GROUP, "{peak} bytes");
}

/// A peer whose route is dropped while it receives a reply, and one that is idle.
fn dropped_route(log: &Log) {
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
    has_ended(log, 1, DOES_NOT_READ);
    has_ended(log, 1, "no request arrived for 2s (`idle_timeout`)");
}

/// This program once more, with these arguments, and its first line.
fn again(arguments: &[&str]) -> (Killed, String) {
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
    (Killed(child), line.trim().to_owned())
}

/// A child, which is killed with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends a signal, and waits until the process is stopped if that is what it does.
fn signal(child: &Killed, name: &str) {
    let id = child.0.id();
    let mut kill = Command::new("sh");
    let kill = kill.args(["-c", "kill -s \"$1\" \"$2\"", "sh", name]);
    let status = kill.arg(id.to_string()).status();
    assert!(
        status.expect("there is a shell").success(),
        "kill -s {name}"
    );
    let began = Instant::now();
    while name == "STOP" && !is_stopped(id) {
        assert!(began.elapsed() < tcs_tests::LIMIT, "it is not stopped");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether all threads of a process are stopped.
fn is_stopped(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("Linux has it");
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.contains("State:\tT")
    })
}

/// A peer that is stopped while it receives a reply.
fn stopped_peer(log: &Log) {
    let server = start(server().idle_timeout(tcs_tests::LIMIT).write_timeout(LIMIT));
    let addr = server.local_addr();
    let (peer, _) = again(&["receive", &addr.to_string()]);
    signal(&peer, "STOP");
    wait_for(&server, "given up", |stats| stats.connections.open == 0);
    let report = ends_well(server);
    let requests = report.requests;
    assert_eq!((requests.served, requests.aborted), (2, 1), "{report}");
    has_ended(log, 1, DOES_NOT_READ);
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
    let error = during.read_exact(&mut [0; 4]).expect_err("it is stopped");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    // The limit of the server passes, which has not seen that these bytes have come.
    std::thread::sleep(3 * LIMIT);
    signal(&server, "CONT");
    during
        .set_read_timeout(Some(tcs_tests::LIMIT))
        .expect("a timeout");
    during.read_exact(&mut [0; 4]).expect("a reply");
    before.read_exact(&mut [0; 4]).expect("a reply");
    drop(client(addr));
    drop(server.0.stdin.take());
    assert!(server.0.wait().expect("it ends").success());
}

/// The address of a name changes while a channel is connected. The file is in a mount namespace of the program's own.
fn moved_name() {
    const ADDRS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];
    let hosts = scratch_path("hosts");
    let point_to = |addr| fs::write(&hosts, format!("{addr} service.test\n")).expect("a folder");
    point_to(ADDRS[0]);
    let mounted = Command::new("mount")
        .arg("--bind")
        .arg(&hosts)
        .arg("/etc/hosts")
        .status();
    assert!(mounted.expect("it is installed").success());
    let listen = |addr: &str, port| server().address((addr, port)).start().expect("a free port");
    let first = listen(ADDRS[0], 0);
    let port = first.local_addr().port();
    let second = listen(ADDRS[1], port);
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let channel = ChannelOptions::new(("service.test", port));
        let channel: Channel<Lines> = channel.connect().await.expect("it listens");
        let call = async || {
            let reply = channel
                .call_with::<Text<Lines>, _>("3", str::to_owned)
                .await;
            assert_eq!(reply.expect("a reply"), "xxx");
        };
        call().await;
        point_to(ADDRS[1]);
        call().await;
        let report = first.stop().expect("it ends well");
        assert_eq!(report.requests.served, 2, "{report}");
        let mut state = channel.watch();
        let lost = state.wait_for(|state| state.connected == 0);
        let lost = timeout(tcs_tests::LIMIT, lost).await.expect("it is lost");
        drop(lost.expect("the channel lasts"));
        call().await;
        assert_eq!(channel.state().connects, 2);
    });
    let report = second.stop().expect("it ends well");
    assert_eq!(report.requests.served, 1, "{report}");
    fs::remove_file(hosts).expect("it is there");
}

/// Serves until its standard input ends.
fn serve() {
    let server = start(server().idle_timeout(2 * LIMIT));
    println!("{}", server.local_addr());
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("it is piped");
    let handle = server.handle();
    let report = server.stop().expect("it ends well");
    nothing_is_left(&report, &handle, 0);
    assert_eq!(report.requests.served, 4, "{report}");
}

/// Receives a part of a reply, and stays connected.
fn receive_a_part(addr: SocketAddr) {
    let mut stream = client(addr);
    stream.write_all(BULK.as_bytes()).expect("it reads");
    let part = stream.read_exact(&mut [0; 1_000]);
    part.expect("a part of the reply");
    println!("receiving");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("it is piped");
}
