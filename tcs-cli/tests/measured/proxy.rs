//! `tcs proxy`

use std::time::{Duration, Instant};

use tcs_tests::{frame, process::Process, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::tcs;

/// A proxy that runs, and the two ends of its first connection.
struct Proxied {
    proxy: Process,
    client: TcpStream,
    server: TcpStream,
}

/// Starts a proxy, and connects through it.
async fn proxied(arguments: &[&str]) -> Proxied {
    let upstream = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let upstream_addr = upstream.local_addr().expect("it has one").to_string();
    let all = ["proxy", "127.0.0.1:0", &upstream_addr];
    let all: Vec<_> = all.iter().chain(arguments).copied().collect();
    let mut proxy = tcs(&all);
    let listening = proxy.line().await;
    let listen = listening.split_whitespace().nth(2).expect(&listening);
    let client = TcpSocket::new_v4().expect("a socket");
    // What it does not read soon waits in the proxy.
    client.set_recv_buffer_size(1 << 12).expect("a socket");
    let client = client.connect(listen.parse().expect("an address")).await;
    let client = client.expect("it listens");
    let (server, _) = within(upstream.accept()).await.expect("it connects");
    Proxied {
        proxy,
        client,
        server,
    }
}

impl Proxied {
    /// Returns the next line about a connection, without its time.
    async fn line(&mut self) -> String {
        let line = self.proxy.line().await;
        let (time, rest) = line.trim_start().split_once(' ').expect("a time");
        assert!(time.parse::<f64>().is_ok(), "{line}");
        rest.to_owned()
    }

    async fn lines<const N: usize>(&mut self) -> [String; N] {
        let mut lines = [const { String::new() }; N];
        for line in &mut lines {
            *line = self.line().await;
        }
        lines
    }

    /// Sends from the client, and waits until the server has it.
    async fn up(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("the proxy reads");
        received(&mut self.server, bytes).await;
    }

    async fn down(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.expect("the proxy reads");
        received(&mut self.client, bytes).await;
    }
}

async fn received(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    within(stream.read_exact(&mut got)).await.expect("it comes");
    assert_eq!(got, bytes);
}

/// Returns what comes until the end.
async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.map(|_| rest)
}

#[tokio::test]
async fn proxy_shows_the_frames_of_both_directions() {
    let mut it = proxied(&[]).await;
    it.up(&frame("hello")).await;
    it.down(b"\x80\0\0\x06\x04later").await;
    it.down(b"\x80\0\0\x05\x82\0\0\0\x01\0\0\0\x02\xff\x00")
        .await;
    assert!(it.line().await.starts_with("#1 connected 127.0.0.1:"));
    assert_eq!(
        it.lines().await,
        [
            "#1 -> message 5 \"hello\"",
            "#1 <- busy 5 \"later\"",
            "#1 <- events follow 4 00 00 00 01",
            "#1 <- event 2 ff 00",
        ]
    );
    // A frame in two pieces is shown when it is whole, and its bytes are passed on at once.
    it.up(b"\0\0\0\x02a").await;
    it.up(b"b").await;
    assert_eq!(it.line().await, "#1 -> message 2 \"ab\"");
    it.client.shutdown().await.expect("it is open");
    assert_eq!(rest(&mut it.server).await.expect("an end"), b"");
    assert_eq!(it.line().await, "#1 -> end");
    // The other half is open still.
    it.down(&frame("bye")).await;
    drop(it.server.shutdown().await);
    assert_eq!(rest(&mut it.client).await.expect("an end"), b"");
    assert_eq!(
        it.lines().await,
        ["#1 <- message 3 \"bye\"", "#1 <- end", "#1 closed"]
    );
}

#[tokio::test]
async fn proxy_shows_bytes_after_what_is_no_frame() {
    let mut it = proxied(&["--framing", "netstrings"]).await;
    it.up(b"3:one,x:two").await;
    it.up(b"\x01\x02").await;
    it.down(b"1:a,4:ab").await;
    it.server.shutdown().await.expect("it is open");
    rest(&mut it.client).await.expect("an end");
    let [_, one, why, two, three, a, ab, end] = it.lines().await;
    assert_eq!(one, "#1 -> message 3 \"one\"");
    assert!(why.starts_with("#1 -> no frame: "), "{why}");
    assert_eq!(
        [two, three],
        ["#1 -> bytes 5 \"x:two\"", "#1 -> bytes 2 01 02"]
    );
    assert_eq!(
        [a, ab, end],
        [
            "#1 <- message 1 \"a\"",
            "#1 <- bytes 4 \"4:ab\"",
            "#1 <- end"
        ]
    );
}

#[tokio::test]
async fn proxy_cuts_after_a_byte() {
    for (cut, is_up) in [("up:7", true), ("down:7", false), ("7", true), ("7", false)] {
        let mut it = proxied(&["--framing", "verbatim", "--cut-after", cut]).await;
        let sent = b"0123456789";
        let read = if is_up {
            it.client.write_all(sent).await.expect("the proxy reads");
            rest(&mut it.server).await
        } else {
            it.server.write_all(sent).await.expect("the proxy reads");
            rest(&mut it.client).await
        };
        assert_eq!(read.expect("an end"), b"0123456");
        let [_, bytes, note] = it.lines().await;
        let arrow = if is_up { "->" } else { "<-" };
        assert_eq!(bytes, format!("#1 {arrow} message 7 \"0123456\""));
        assert_eq!(note, format!("#1 {arrow} cut after 7 bytes"));
    }
}

#[tokio::test]
async fn proxy_passes_resets_on() {
    let mut it = proxied(&["--framing", "verbatim"]).await;
    it.up(b"x").await;
    it.client.set_zero_linger().expect("it is open");
    drop(it.client);
    let error = rest(&mut it.server).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let mut it = proxied(&["--framing", "verbatim", "--cut-after", "up:1", "--reset"]).await;
    it.client.write_all(b"x").await.expect("the proxy reads");
    let error = rest(&mut it.client).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn proxy_passes_on_what_came_before_a_reset() {
    for faults in [&[][..], &["--delay", "20ms"]] {
        let mut it = proxied(&[&["--quiet"], faults].concat()).await;
        it.up(b"request").await;
        it.server.write_all(b"reply").await.expect("it reads");
        it.server.set_zero_linger().expect("it is open");
        drop(it.server);
        // What it sends now cannot arrive.
        let written = it.client.write_all(b"late").await;
        received(&mut it.client, b"reply").await;
        // The system tells a reset once.
        let end = written.and(rest(&mut it.client).await);
        let error = end.expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

        let mut it = proxied(&[&["--quiet"], faults].concat()).await;
        it.client.write_all(b"request").await.expect("it reads");
        it.client.set_zero_linger().expect("it is open");
        drop(it.client);
        received(&mut it.server, b"request").await;
        rest(&mut it.server).await.expect_err("a reset");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn proxy_passes_on_to_a_slow_client_what_came_before_a_reset() {
    let mut it = proxied(&["--framing", "verbatim"]).await;
    let reply = vec![b'x'; 256 << 10];
    within(it.server.write_all(&reply)).await.expect("it reads");
    let mut shown = 0;
    while shown < reply.len() {
        let line = it.line().await;
        if let Some(message) = line.strip_prefix("#1 <- message ") {
            let (length, _) = message.split_once(' ').expect("a length");
            shown += length.parse::<usize>().expect("a length");
        }
    }
    it.server.set_zero_linger().expect("it is open");
    drop(it.server);
    let broken = it.proxy.line().await;
    assert!(broken.contains("#1 broken: "), "{broken}");
    // The system of the proxy has what the client has no room for.
    received(&mut it.client, &reply).await;
    rest(&mut it.client).await.expect_err("a reset");
}

#[tokio::test]
async fn proxy_keeps_nothing_that_is_due() {
    let mut it = proxied(&["--quiet"]).await;
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        it.up(b"ping").await;
        it.down(b"pong").await;
        best = best.min(start.elapsed());
    }
    // A timer is rounded up to the next millisecond.
    assert!(best < Duration::from_millis(1), "{best:?}");
}

#[tokio::test]
async fn proxy_takes_no_more_than_fits_after_a_stall() {
    for fault in ["--stall-after", "--cut-after"] {
        let mut it = proxied(&["--quiet", fault, "up:2M"]).await;
        let megabytes = vec![b'x'; 2 << 20];
        it.up(&megabytes).await;
        if fault == "--cut-after" {
            assert_eq!(rest(&mut it.server).await.expect("an end"), b"");
            continue;
        }
        // So much that nobody takes it.
        let sent = tokio::time::timeout(Duration::from_millis(500), async {
            while it.client.write_all(&megabytes).await.is_ok() {}
        });
        sent.await.expect_err("the client waits");
        it.down(b"reply").await;
        it.server.shutdown().await.expect("it is open");
        assert_eq!(rest(&mut it.client).await.expect("an end"), b"");
    }
}

#[tokio::test]
async fn proxy_stalls_one_direction() {
    let mut it = proxied(&["--framing", "verbatim", "--stall-after", "up:3"]).await;
    it.client
        .write_all(b"abcdef")
        .await
        .expect("the proxy reads");
    received(&mut it.server, b"abc").await;
    let [_, bytes, note] = it.lines().await;
    assert_eq!(
        [&*bytes, &*note],
        ["#1 -> message 3 \"abc\"", "#1 -> stalled after 3 bytes"]
    );
    // The other direction goes on. What it says has come after anything that would have been passed on.
    it.down(b"reply").await;
    let mut byte = [0];
    assert!(it.server.try_read(&mut byte).is_err(), "{byte:?}");
    // A reset is passed on, though nothing else is.
    it.client.set_zero_linger().expect("it is open");
    drop(it.client);
    rest(&mut it.server).await.expect_err("a reset");
}

#[tokio::test]
async fn proxy_keeps_the_pressure_of_a_slow_reader() {
    let mut it = proxied(&["--framing", "verbatim", "--quiet"]).await;
    let megabyte = vec![b'x'; 1 << 20];
    let mut sent = 0;
    // The server reads nothing, so at some time the proxy takes nothing more.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), it.client.write(&megabyte)).await
    {
        sent += written.expect("the proxy is there");
        assert!(sent < 200 << 20, "the proxy keeps {sent} bytes");
    }
    it.client.shutdown().await.expect("it is open");
    assert_eq!(rest(&mut it.server).await.expect("an end").len(), sent);
}

#[tokio::test]
async fn proxy_says_what_to_do() {
    let taken = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let taken = taken.local_addr().expect("it has one").to_string();
    let listener = TcpListener::bind(&*taken).await;
    for (arguments, exit, texts) in [
        (
            vec!["proxy", &taken, "localhost:1"],
            3,
            ["cannot listen", "free port"],
        ),
        (
            vec!["proxy", "a", "b", "--cut-after", "left:1"],
            2,
            ["--cut-after", "up:"],
        ),
        (
            vec!["proxy", "a", "b", "--delay", "x"],
            2,
            ["--delay", "500ms"],
        ),
        (
            vec!["proxy", "a", "b", "--reset"],
            2,
            ["--reset", "--cut-after"],
        ),
    ] {
        let finished = tcs(&arguments).finished().await;
        assert_eq!(finished.status.code(), Some(exit), "{finished:?}");
        for text in texts {
            assert!(finished.stderr.contains(text), "{text}: {finished:?}");
        }
    }
    drop(listener);
}

#[tokio::test]
async fn delay_may_be_longer_than_the_clock() {
    let endless = "10000000000000000000";
    let mut proxied = proxied(&["--delay", &format!("up:{endless}"), "--full"]).await;
    proxied
        .client
        .write_all(&frame("Ann"))
        .await
        .expect("the proxy reads");
    for _ in 0..20 {
        proxied.down(&frame("hello")).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn proxy_goes_on_after_it_could_not_accept() {
    let upstream = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let upstream_addr = upstream.local_addr().expect("it has one").to_string();
    let mut command = tokio::process::Command::new("sh");
    let script = "ulimit -n 16; exec \"$0\" proxy 127.0.0.1:0 \"$1\" --quiet 2>&1";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tcs"), &upstream_addr]);
    let mut proxy = Process::run(&mut command);
    let listening = proxy.line().await;
    let listen = listening.split_whitespace().nth(2).expect(&listening);
    // The proxy resets a client for which it has no descriptor to connect to
    // the server. This can happen before `connect` returns.
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(listen).await);
    }
    let told = proxy.line().await;
    assert!(
        told.starts_with("tcs: cannot accept a connection: "),
        "{told}"
    );
    drop(clients);
    // The proxy resets further clients until it has closed the connections of these.
    let asking = async {
        loop {
            if let Ok(mut client) = TcpStream::connect(listen).await {
                client.write_all(b"last").await.ok();
                client.read_u8().await.expect_err("nobody replies");
            }
        }
    };
    let served = async {
        loop {
            let (mut server, _) = upstream.accept().await.expect("it listens");
            let mut bytes = [0; 4];
            if server.read_exact(&mut bytes).await.is_ok() {
                return bytes;
            }
        }
    };
    let served = within(async {
        tokio::select! {
            bytes = served => bytes,
            () = asking => unreachable!("it asks until it is served"),
        }
    });
    assert_eq!(&served.await, b"last");
}

#[tokio::test]
async fn proxy_shows_numbers_with_all_digits() {
    let mut it = proxied(&["--format", "json"]).await;
    let number = "340282366920938463463374607431768211455";
    it.up(&frame(format!("[{number}, 1.50]"))).await;
    let [_, shown] = it.lines().await;
    assert_eq!(shown, format!("#1 -> message 47 [{number},1.50]"));
}
