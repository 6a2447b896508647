//! Other implementations of TLS as peers.

use std::{io, net::SocketAddr, process::Stdio};

use tcs::{
    ConcurrentServer, Peer, framing,
    transport::{Incoming, Listener},
};
use tcs_tests::{
    Running, Tester, gate, nothing_is_left,
    process::{Process, is_missing},
    start, tester,
    tls::{Identity, Root},
    within,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::watch,
};
use tokio_util::io::InspectReader;

fn echo() -> ConcurrentServer<Tester<framing::Lines>> {
    ConcurrentServer::new(tester(&gate()))
}

async fn serve(identity: &Identity) -> Running {
    start(echo().tls(identity.server())).await
}

/// Counts the bytes that arrive.
struct Counts {
    listener: TcpListener,
    arrived: watch::Sender<usize>,
}

impl Listener for Counts {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let (stream, _) = self.listener.accept().await?;
        let arrived = self.arrived.clone();
        let count = move |bytes: &[u8]| arrived.send_modify(|arrived| *arrived += bytes.len());
        let stream = InspectReader::new(stream, count);
        Ok(Some(Incoming::new(stream, Peer::unnamed())))
    }

    fn name(&self) -> String {
        "TCP".to_owned()
    }
}

/// `openssl s_client`.
struct OpenSsl {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl OpenSsl {
    fn connect(addr: SocketAddr, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &addr.to_string()])
            .args(["-quiet", "-no_ign_eof", "-verify_return_error"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it is installed");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        Self {
            child,
            stdin,
            stdout,
            stderr: BufReader::new(stderr).lines(),
        }
    }

    async fn send(&mut self, lines: &str) {
        // It has ended already if it does not trust the server.
        within(self.stdin.write_all(lines.as_bytes())).await.ok();
    }

    /// Sends lines. Returns what it prints to them, or until it ends.
    async fn ask(&mut self, lines: &str) -> String {
        self.send(lines).await;
        self.print(lines.len()).await
    }

    /// Waits until it says so on its standard error.
    async fn says(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            let next = within(self.stderr.next_line()).await.expect("a pipe");
            line = next.expect("it has not ended");
        }
    }

    /// Returns `count` bytes of what it prints, or what it prints until it ends.
    async fn print(&mut self, count: usize) -> String {
        let mut printed = Vec::new();
        let mut limited = (&mut self.stdout).take(count as u64);
        within(limited.read_to_end(&mut printed))
            .await
            .expect("a pipe");
        String::from_utf8(printed).expect("text")
    }

    /// Ends its input, so it closes. Returns its exit code.
    async fn finish(self) -> Option<i32> {
        let Self {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        within(child.wait()).await.expect("it ends").code()
    }
}

/// Sends lines with `openssl s_client`, and returns what it prints and its exit code.
async fn openssl(server: &Running, arguments: &[&str], lines: &str) -> (String, Option<i32>) {
    let mut openssl = OpenSsl::connect(server.addr(), arguments);
    let printed = openssl.ask(lines).await;
    (printed, openssl.finish().await)
}

#[tokio::test]
async fn openssl_is_served_in_both_versions() {
    if is_missing("openssl") {
        return;
    }
    let root = Root::new();
    let server = serve(&root.issue("localhost")).await;
    let roots = root.file();
    let trusts = ["-CAfile", roots.path(), "-verify_hostname", "localhost"];
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [&trusts[..], &[version]].concat();
        let printed = openssl(&server, &arguments, "one\ntwo\n").await;
        assert_eq!(printed, ("one\ntwo\n".to_owned(), Some(0)));
    }
    let report = server.stopped().await;
    assert_eq!((report.connections.closed, report.requests.served), (2, 4));
}

#[tokio::test]
async fn openssl_does_not_trust_another_root_or_name() {
    if is_missing("openssl") {
        return;
    }
    let (root, other) = (Root::new(), Root::new());
    let server = serve(&root.issue("localhost")).await;
    let (roots, others) = (root.file(), other.file());
    for arguments in [
        ["-CAfile", others.path(), "-verify_hostname", "localhost"],
        ["-CAfile", roots.path(), "-verify_hostname", "elsewhere"],
    ] {
        let (printed, code) = openssl(&server, &arguments, "one\n").await;
        assert_eq!(printed, "");
        assert_ne!(code, Some(0));
    }
    assert_eq!(server.stopped().await.requests.received, 0);
}

/// The refusal is sent with the next bytes of the server. A client of TLS 1.2 may then go on; `openssl` does not.
#[tokio::test]
async fn renegotiation_is_refused_and_ends_its_connection_only() {
    if is_missing("openssl") {
        return;
    }
    let root = Root::new();
    let tls = root.issue("localhost").server();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let (arrived, mut count) = watch::channel(0);
    let counts = Counts { listener, arrived }.with_handshake(tls);
    let bound = echo().listener(counts).bind().await.expect("good settings");
    let handle = bound.handle();
    let serving = tokio::spawn(bound.listen());
    let roots = root.file();
    let arguments = ["-CAfile", roots.path(), "-tls1_2"];
    let mut other = OpenSsl::connect(addr, &arguments);
    let mut renegotiates = OpenSsl::connect(addr, &arguments);
    for openssl in [&mut other, &mut renegotiates] {
        assert_eq!(openssl.ask("one\n").await, "one\n");
    }
    count.mark_unchanged();
    renegotiates.send("R\n").await;
    within(count.changed()).await.expect("it listens");
    assert_eq!(other.ask("two\n").await, "two\n");
    handle.stop();
    renegotiates.says("no renegotiation").await;
    assert_ne!(renegotiates.finish().await, Some(0));
    assert_eq!(other.finish().await, Some(0));
    let report = within(serving)
        .await
        .expect("no panic")
        .expect("it ends well");
    nothing_is_left(&report, &handle, 0);
    assert_eq!((report.connections.closed, report.requests.served), (2, 3));
}

#[tokio::test]
async fn keys_are_updated_between_requests() {
    if is_missing("openssl") {
        return;
    }
    let root = Root::new();
    let server = serve(&root.issue("localhost")).await;
    let roots = root.file();
    let mut openssl = OpenSsl::connect(server.addr(), &["-CAfile", roots.path(), "-tls1_3"]);
    // `K` asks the server to change its keys, too.
    for letter in ["k", "K"] {
        assert_eq!(openssl.ask("one\n").await, "one\n");
        openssl.send(&format!("{letter}\n")).await;
        openssl.says("KEYUPDATE").await;
    }
    assert_eq!(openssl.ask("two\n").await, "two\n");
    assert_eq!(openssl.finish().await, Some(0));
    assert_eq!(server.stopped().await.requests.served, 3);
}

#[tokio::test]
async fn python_is_served_and_both_ends_close_properly() {
    if is_missing("python3") {
        return;
    }
    let root = Root::new();
    let server = serve(&root.issue("localhost")).await;
    let (port, roots) = (server.addr().port().to_string(), root.file());
    let client = Process::python("tls_client.py", [&*port, roots.path()]);
    let printed = client.finished().await.succeeded();
    assert_eq!(
        printed,
        ["TLSv1.3", "200000 bytes come back", "the end is announced"]
    );
    let report = server.stopped().await;
    assert_eq!((report.connections.closed, report.requests.served), (1, 1));
}
