//! What is logged: the reasons that peers are not told, and nothing that could fool a terminal.

use tcs::{
    ConcurrentServer,
    framing::{
        Delimited, Fixed, FrameError, Framing, Input, LengthPrefixed, Lines, ParsedFrame, delimiter,
    },
    protocol::ServerProtocol,
    server_protocol,
};
use tcs_tests::{Heard, Log, control, frame, gate, start, tester, within};

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
    let hint = "; `LengthPrefixed` carries any bytes, and `reject_with` tells the peer";
    says(TwoLines, "1\n", b"").await;
    says(TwoParts, "1;", b"").await;
    says(ThreeBytes, "1234", b"").await;
    let hints = log.with(hint);
    assert_eq!(hints.len(), 3);
    assert!(hints[0].contains("the reply cannot be sent: the message contains a line feed"));
    let text =
        "the reply cannot be sent: a message of 101 bytes exceeds `max_frame_len` of 100 bytes";
    says(TooMuch, frame(b"1"), &control(0x06, text)).await;
    assert_eq!(log.with(hint).len(), 3);
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
