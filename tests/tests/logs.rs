//! What is logged: the reasons that peers are not told, and nothing that could fool a terminal.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tcs::{
    Channel, ConcurrentServer, Peer, Rejection,
    format::{Encode, EncodeError, Plain, Writer},
    framing::{
        CrlfText, Delimited, Fixed, FrameError, Framing, Input, LengthPrefixed, Lines, ParsedFrame,
        delimiter,
    },
    protocol::{ServerProtocol, TraceRequests, wrap},
    server_protocol,
    transport::{Handshake, Incoming, Listener, Stream},
};
use tcs_tests::{
    Heard, Log, channel::call, control, frame, gate, lasting::lasting, patiently, serve_in_memory,
    start, tester, within, work::works,
};
use tokio::{
    io::{AsyncRead, ReadBuf, join, sink},
    time::advance,
};

#[tokio::test]
async fn text_of_a_peer_is_logged_escaped_and_that_of_a_panic_only_logged() {
    let (log, _logging) = Log::start();
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let mut peer = server.peer().await;
    for (request, kind) in [
        ("panic a\u{1b}[2Jb\nc", 0x06),
        ("busy a\u{1b}[2Jb\nc", 0x04),
    ] {
        within(peer.send(frame(request.as_bytes()))).await;
        let Heard::Control(heard, text) = within(peer.hear()).await else {
            panic!("a rejection");
        };
        assert_eq!(heard, kind);
        assert_eq!(text.contains("[2J"), kind == 0x04, "{text}");
    }
    drop(peer);
    server.stopped().await;
    let events = log.with("[2J");
    assert_eq!(events.len(), 2, "{events:#?}");
    for event in events {
        assert!(event.contains("a\\u{1b}[2Jb\\nc"), "{event}");
    }
}

#[tokio::test]
async fn requests_are_logged_by_a_middleware() {
    let (log, _logging) = Log::start();
    let server = ConcurrentServer::new(wrap(works::Protocol, TraceRequests));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    let operations = ["sync", "ready", "waiting", "blocks"];
    for operation in operations {
        let request = format!("{{\"{operation}\":{{\"micros\":0}}}}");
        within(peer.ask(&request)).await;
    }
    drop(peer);
    within(serving).await.expect("no panic");
    let events = log.with("message=processed a request");
    assert_eq!(events.len(), operations.len());
    for (event, operation) in events.iter().zip(operations) {
        let operation = format!("operation={operation} ");
        for part in ["level=TRACE ", "seconds=", &operation] {
            assert!(event.contains(part), "{event}");
        }
        assert!(!event.contains("rejection="), "{event}");
    }

    let server = ConcurrentServer::new(wrap(tester::<LengthPrefixed>(&gate()), TraceRequests));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send(frame("busy b"))).await;
    within(peer.hear()).await;
    drop(peer);
    within(serving).await.expect("no panic");
    let events = log.with("message=processed a request");
    let rejected = events.last().expect("an event");
    assert!(rejected.contains("rejection=busy: b"), "{rejected}");
    assert!(!rejected.contains("operation="), "{rejected}");
}

#[tokio::test]
async fn beginning_of_a_long_text_is_logged() {
    let (log, _logging) = Log::start();
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let mut peer = server.peer().await;
    let text = "\u{1b}".repeat(1 << 20);
    for request in [format!("panic {text}"), format!("busy {text}")] {
        within(peer.send(frame(request.as_bytes()))).await;
        within(peer.hear()).await;
    }
    drop(peer);
    server.stopped().await;
    let events = log.with("\\u{1b}\\u{1b}");
    assert_eq!(events.len(), 2);
    for event in events {
        // Each of 4,096 characters takes six.
        assert!(event.len() < 25_000, "{}", event.len());
    }
}

#[tokio::test]
async fn server_that_cannot_listen_is_logged_with_the_cause() {
    let (log, _logging) = Log::start();
    let server = || ConcurrentServer::new(tester::<LengthPrefixed>(&gate()));
    let first = server().address("0.0.0.0:0").host("127.0.0.1");
    let first = within(first.bind()).await.expect("a free port");
    let addr = first.local_addr();
    assert!(addr.ip().is_loopback(), "{addr}");

    for (server, reason) in [
        (server().address(addr), format!("cannot listen on {addr}: ")),
        (server().max_frame_len(0), "max_frame_len".to_owned()),
    ] {
        let spawned = tokio::spawn(server.listen());
        let error = within(spawned).await.expect("no panic").expect_err("it");
        let logged = format!("error={error:?}");
        assert!(logged.contains(&reason), "{logged}");
        let events = log.with("message=the server does not listen");
        let event = events.last().expect("an event");
        assert!(
            event.contains("level=ERROR") && event.contains(&logged),
            "{event}"
        );
    }
    assert_eq!(log.with("does not listen").len(), 2);
}

/// Panics when a frame is complete.
#[derive(Default)]
struct Panicking;

impl Framing for Panicking {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        assert!(input.bytes().len() < 5, "of the framing");
        Ok(None)
    }
}

#[tokio::test]
async fn log_says_whether_a_request_or_the_framing_panicked() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    says(tester::<Lines>(&gate()), "panic of the function\n", b"").await;
    says(tester::<Panicking>(&gate()), "12345", b"").await;
    for (panic, logged) in [
        (
            "panic=of the function",
            "the processing of a request panicked",
        ),
        ("panic=of the framing", "the framing panicked"),
    ] {
        let events = log.with(panic);
        assert!(
            events.len() == 1 && events[0].contains(logged),
            "{events:?}"
        );
    }
}

#[tokio::test]
async fn log_says_what_a_stranger_speaks() {
    let (log, _logging) = Log::start();
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    for (bytes, expected) in [
        ("GET / HTTP/1.1\r\n", "reason=that looks like HTTP "),
        ("SSH-2.0-a\r\n", "reason=that looks like SSH "),
        (
            "PROXY UNKNOWN\r\n",
            "reason=that looks like a PROXY header ",
        ),
    ] {
        let mut peer = server.peer().await;
        within(peer.send(bytes)).await;
        within(peer.rest()).await;
        assert_eq!(log.with(expected).len(), 1, "{expected}");
    }
    server.stopped().await;
}

#[server_protocol(framing = Lines)]
fn two_lines(_: &str) -> &'static str {
    "a\nb"
}

#[server_protocol(framing = Lines, reject_with = in_words)]
fn two_lines_or_words(request: &str) -> &str {
    match request {
        "1" => "a\nb",
        other => other,
    }
}

fn in_words(rejection: &Rejection) -> String {
    format!("-{rejection}")
}

#[server_protocol(framing = CrlfText)]
fn two_lines_as_text(_: &str) -> &'static str {
    "a\nb"
}

#[server_protocol(framing = Delimited<{ delimiter(b";") }>)]
fn two_parts(_: &str) -> &'static str {
    "a;b"
}

#[server_protocol(framing = Fixed<4>)]
fn three_bytes(_: &[u8]) -> &'static str {
    "abc"
}

#[server_protocol]
fn too_much(_: &str) -> String {
    "x".repeat(101)
}

#[tokio::test]
async fn log_names_a_framing_that_carries_what_this_one_cannot() {
    let (log, _logging) = Log::start();
    let hint = "; `LengthPrefixed` carries any bytes, `CrlfText` text of many lines, and `reject_with` tells the peer";
    says(TwoLines, "1\n", b"").await;
    says(TwoParts, "1;", b"").await;
    says(ThreeBytes, "1234", b"").await;
    let hints = log.with(hint);
    assert_eq!(hints.len(), 3);
    assert!(hints[0].contains("the reply cannot be sent: the message contains a line feed"));
    // As the log says, the peer is told, or gets the text.
    let told = "-failed: the reply cannot be sent: the message contains a line feed, which would end it early";
    let answer = format!("{told}\nc\n");
    says(TwoLinesOrWords, "1\nc\n", answer.as_bytes()).await;
    says(TwoLinesAsText, "1\n", b"a\r\nb\r\n").await;
    assert_eq!(log.with(hint).len(), 4);
    let text =
        "the reply cannot be sent: a message of 101 bytes exceeds `max_reply_len` of 100 bytes";
    says(TooMuch, frame(b"1"), &control(0x06, text)).await;
    assert_eq!(log.with(hint).len(), 4);
}

/// Fails unless a request is answered with these bytes and nothing else.
async fn says(protocol: impl ServerProtocol, request: impl AsRef<[u8]>, answer: &[u8]) {
    let server = start(ConcurrentServer::new(protocol).max_frame_len(100)).await;
    let mut peer = server.peer().await;
    within(peer.send(request)).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, answer);
    server.stopped().await;
}

#[tokio::test]
async fn connection_is_logged_with_the_reason_of_its_end_and_its_totals() {
    let (log, _logging) = Log::start();
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let local_addr = server.addr();
    for (request, reason) in [
        ("hello", "the peer has closed"),
        ("last", "the server has closed"),
    ] {
        let mut peer = server.peer().await;
        within(peer.send(frame(request.as_bytes()))).await;
        within(peer.finish()).await;
        let said = within(peer.rest()).await;
        log.until(1, &format!("reason={reason}")).await;
        let ends = log.with(reason);
        let totals = format!(
            "level=DEBUG message=disconnected reason={reason} requests=1 bytes_received={} bytes_sent={} seconds=",
            frame(request.as_bytes()).len(),
            said.len(),
        );
        assert!(ends[0].starts_with(&totals), "{ends:?}, not {totals}");
    }
    let connected = format!("level=DEBUG message=connected local_addr={local_addr} ");
    assert_eq!(log.with("=connected"), [connected.clone(), connected]);
    let bytes = server.stopped().await.bytes;
    assert_eq!(
        bytes.received,
        frame(b"hello").len() as u64 + frame(b"last").len() as u64
    );
    assert!(bytes.sent > bytes.received, "{bytes:?}");
}

#[tokio::test(start_paused = true)]
async fn peers_cause_one_line_per_second_and_the_next_one_counts_those_left_out() {
    let (log, _logging) = Log::start();
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send(frame(b"panic a").repeat(5))).await;
    for _ in 0..5 {
        assert_eq!(within(peer.hear()).await.kind(), 0x06);
    }
    let panics = log.with("panic=a");
    let levels = |level: &str| panics.iter().filter(|line| line.contains(level)).count();
    assert_eq!(
        (levels("level=ERROR"), levels("level=DEBUG")),
        (1, 4),
        "{panics:#?}"
    );
    assert!(!panics[0].contains("left_out"), "{panics:?}");
    advance(Duration::from_secs(1)).await;
    within(peer.send(frame(b"panic b"))).await;
    assert_eq!(within(peer.hear()).await.kind(), 0x06);
    let next = log.with("panic=b");
    assert!(
        next[0].contains("level=ERROR") && next[0].contains("left_out=4"),
        "{next:?}"
    );
    drop(peer);
    within(serving).await.expect("no panic");
}

/// What a terminal would obey: an escape sequence, a line feed, and a character that reverses the line.
const HOSTILE: &str = "a\u{1b}[2Jb\nc\u{202e}d";

/// Everything that can have text of a peer, or of a type of the user, is hostile.
struct Hostile;

impl AsyncRead for Hostile {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other(HOSTILE)))
    }
}

impl Handshake for Hostile {
    async fn perform(&self, _stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        Err(io::Error::other(HOSTILE))
    }
}

impl Listener for Hostile {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        Err(io::Error::other(HOSTILE))
    }

    fn name(&self) -> String {
        HOSTILE.to_owned()
    }
}

impl Encode<Plain> for Hostile {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Err(EncodeError::new(HOSTILE))
    }
}

#[derive(Default)]
struct HostileFraming;

impl Framing for HostileFraming {
    fn parse(&mut self, _input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        Err(FrameError::malformed(HOSTILE))
    }
}

#[server_protocol(framing = Lines)]
fn cannot_reply(_: &str) -> Hostile {
    Hostile
}

#[server_protocol(framing = Lines, reject_with = cannot_reject)]
fn cannot_say_why(_: u32) -> u32 {
    0
}

fn cannot_reject(_: &Rejection) -> Hostile {
    Hostile
}

#[tokio::test]
async fn no_line_has_control_characters_of_a_peer_or_of_a_type_of_the_user() {
    let (log, _logging) = Log::start();
    says(tester::<Lines>(&gate()), "panic a\u{1b}[2J\u{202e}\n", b"").await;
    says(tester::<Lines>(&gate()), "busy a\u{1b}[2J\u{202e}\n", b"").await;
    says(tester::<HostileFraming>(&gate()), "any", b"").await;
    says(CannotReply, "any\n", b"").await;
    says(CannotSayWhy, "a\u{1b}[2J\u{202e}\n", b"").await;
    let server = || ConcurrentServer::new(tester::<Lines>(&gate()));

    let shaking = start(server().handshake(Hostile)).await;
    drop(within(shaking.peer().await.try_rest()).await);
    shaking.stopped().await;

    let listening = server().listener(Hostile).bind().await.expect("no address");
    let handle = listening.handle();
    let listening = tokio::spawn(listening.listen());
    log.until(1, "cannot accept").await;
    handle.stop();
    within(listening)
        .await
        .expect("no panic")
        .expect("it was stopped");

    let connection = server().serve_stream(join(Hostile, sink()), Peer::named(HOSTILE));
    within(connection).await.expect("good settings");

    for line in [
        "the processing of a request panicked",
        "closing the connection without a message reason=busy",
        "closing the connection without a message reason=a",
        "a reply cannot be encoded",
        "`reject_with` did not produce",
        "a handshake has failed",
        "message=listening",
        "cannot accept",
        "message=disconnected reason=a",
        "span=connection peer=a",
    ] {
        let lines = log.with(line);
        assert!(
            lines.iter().any(|line| line.contains("a\\u{1b}[2J")),
            "{line}: {lines:?}"
        );
    }
    for character in ["\u{1b}", "\n", "\u{202e}"] {
        let lines = log.with(character);
        assert!(lines.is_empty(), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn channel_is_logged_with_its_server_and_each_change() {
    let (log, _logging) = Log::start();
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "one");
    for _ in 0..2 {
        attempts.attempt().await.refuse();
    }
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    assert_eq!(first.outcome().await.expect("a reply"), "one");
    let lost = call(&channel, "two");
    patiently(peer.hear()).await;
    drop(peer);
    lost.outcome().await.expect_err("it is lost");
    log.until(1, "connection lost").await;
    for (message, parts) in [
        ("span=channel ", ["server=a stream", ""]),
        (
            "message=cannot connect; trying again",
            ["level=WARN", "refused on purpose"],
        ),
        ("message=connected again", ["level=INFO", "failures=2"]),
        (
            "message=connection lost with calls in flight",
            ["level=INFO", "closed the connection"],
        ),
    ] {
        let events = log.with(message);
        let [event] = &*events else {
            panic!("{message}: {events:?}");
        };
        for part in parts {
            assert!(event.contains(part), "{part}: {event}");
        }
    }
    for message in ["trying again", "connected again", "connection lost"] {
        for (event, spans) in log.with_spans(message) {
            assert_eq!(spans, "span=channel server=a stream ", "{event}");
        }
    }
}
