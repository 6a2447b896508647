//! Functions that change the framing of their connection.

use std::{future::pending, time::Duration};

use tcs::{
    ConcurrentServer, Rejection, RejectionKind,
    framing::{CrlfText, FrameError, Framing, Input, ParsedFrame, Verbatim},
    protocol::{ServerProtocol, TraceRequests, wrap},
    server_protocol,
};
use tcs_tests::{serve_in_memory, within};
use tokio::time::sleep;

/// A part of SMTP, in which a text is answered by its length.
fn answer(request: &str, framing: &mut CrlfText) -> String {
    if request == "DATA" {
        framing.read_text();
    }
    assert_ne!(request, "panic");
    format!("{}", request.len())
}

#[server_protocol(framing = CrlfText)]
fn plain(request: &str, #[framing] framing: &mut CrlfText) -> String {
    answer(request, framing)
}

#[server_protocol(framing = CrlfText)]
async fn ready(#[framing] framing: &mut CrlfText, request: &str) -> String {
    answer(request, framing)
}

#[server_protocol(framing = CrlfText)]
async fn waiting(request: &str, #[framing] framing: &mut CrlfText) -> Result<String, String> {
    let answer = answer(request, framing);
    sleep(Duration::from_millis(1)).await;
    Ok(answer)
}

#[server_protocol(framing = CrlfText, blocking)]
fn blocks(request: &str, #[framing] framing: &mut CrlfText) -> String {
    answer(request, framing)
}

/// Without a session, a connection goes on after a panic, with the framing as it was.
async fn data_and_panics<P: ServerProtocol>(protocol: P) {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol), 1 << 10);
    within(peer.send("NOOP\r\nDATA\nof\r\nmail\r\n.\r\n1\r\nDATA\r\n.\r\n")).await;
    within(peer.send("12\r\nDATA\r\nsent in two")).await;
    assert_eq!(
        within(peer.receive(25)).await,
        b"4\r\n4\r\n10\r\n1\r\n4\r\n0\r\n2\r\n4\r\n"
    );
    within(peer.send("\r\n.\r\n123\r\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"13\r\n3\r\n");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 10);
}

#[tokio::test(start_paused = true)]
async fn next_message_has_the_framing_of_the_function() {
    data_and_panics(Plain).await;
    data_and_panics(Ready).await;
    data_and_panics(Waiting).await;
    data_and_panics(Blocks).await;
    data_and_panics(wrap(Plain, TraceRequests)).await;
    data_and_panics(std::sync::Arc::new(Plain)).await;
}

/// Messages of one byte, or lines: a framing of one's own, whose replies show what it was when they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Bytes,
    Lines,
}

impl Framing for Mode {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match self {
            Self::Bytes => Ok((!input.bytes().is_empty()).then(|| ParsedFrame::message(0..1, 1))),
            Self::Lines => input.line(&mut 0),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self == Self::Bytes { b"b" } else { b"l" });
    }
}

#[server_protocol(framing = Mode, reject_with = in_words)]
fn switch(
    request: &str,
    #[framing] mode: &mut Mode,
    #[session] count: &mut u8,
) -> Result<String, String> {
    *count += 1;
    *mode = match mode {
        Mode::Bytes if request == "L" => Mode::Lines,
        Mode::Lines if request == "bytes" => Mode::Bytes,
        Mode::Lines if request == "fail" => {
            *mode = Mode::Bytes;
            return Err("!".to_owned());
        }
        _ => return Ok(count.to_string()),
    };
    Ok(count.to_string())
}

fn in_words(rejection: &Rejection) -> &'static str {
    match rejection.kind() {
        RejectionKind::Error => "!",
        _ => "?",
    }
}

#[tokio::test]
async fn reply_has_the_framing_of_its_request() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Switch), 1 << 10);
    within(peer.send("aLline\nbytes\nbLfail\nc")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"b1b2l3l4b5b6l!b8");
    assert_eq!(
        within(serving).await.expect("no panic").requests.received,
        8
    );
}

/// A panic leaves the framing as it was.
#[tokio::test]
async fn framing_of_a_function_that_panics_is_not_taken() {
    #[server_protocol(framing = CrlfText, reject_with = words)]
    fn panics(request: &str, #[framing] framing: &mut CrlfText) -> String {
        framing.read_text();
        answer(request, framing)
    }

    fn words(rejection: &Rejection) -> String {
        rejection.kind().to_string()
    }

    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Panics), 1 << 10);
    within(peer.send("panic\r\nline\r\ntext\r\n.\r\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"failed\r\n4\r\n6\r\n");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}

/// As after a panic. Without a session, the connection goes on.
#[tokio::test(start_paused = true)]
async fn framing_of_a_function_that_is_dropped_is_not_taken() {
    #[server_protocol(framing = CrlfText, reject_with = kind)]
    async fn hangs(request: &str, #[framing] framing: &mut CrlfText) -> String {
        if request == "hang" {
            framing.read_text();
            pending::<()>().await;
        }
        answer(request, framing)
    }

    fn kind(rejection: &Rejection) -> String {
        rejection.kind().to_string()
    }

    let server = ConcurrentServer::new(Hangs).request_timeout(Duration::from_secs(1));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send("hang\r\nline\r\ntext\r\n.\r\n")).await;
    within(peer.finish()).await;
    let told = within(peer.rest()).await;
    assert_eq!(
        String::from_utf8_lossy(&told),
        "timed out\r\n4\r\n4\r\n1\r\n"
    );
    assert_eq!(within(serving).await.expect("no panic").requests.served, 3);
}

/// It is an ordinary function.
#[test]
fn function_is_called_with_any_framing() {
    #[server_protocol(framing = Verbatim)]
    fn nothing(_request: &[u8], #[framing] _framing: &mut Verbatim) {}

    nothing(b"", &mut Verbatim::default());
    assert_eq!(plain("DATA", &mut CrlfText::default()), "4");
}

#[tokio::test]
async fn framing_of_a_new_connection_is_the_value_that_the_option_has() {
    #[server_protocol(framing = first.clone() as Mode)]
    fn modes(_request: &str, #[state] first: &Mode) -> String {
        format!("{first:?}")
    }

    let (mut peer, serving) =
        serve_in_memory(ConcurrentServer::new(Modes::new(Mode::Lines)), 1 << 10);
    within(peer.send("line\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"lLines");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}
