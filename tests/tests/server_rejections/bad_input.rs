//! Bad input gets a clear answer, and costs nobody else anything.

use std::{marker::PhantomData, net::SocketAddr};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, Response,
    format::{Encode, EncodeError, Plain, Writer},
    framing::{FrameError, Framing, Input, LengthPrefixed, Lines, ParsedFrame, Raw},
    protocol::{Context, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Act, Gate, Heard, Kind, Over, RawPeer, ReadyFn, Running, Tester, closes_after, code, control,
    each_kind, frame, gate, over_each, said_to, start_over, tester_of, within,
};

each_kind!(
    over_each:
    text_that_is_not_utf8_is_a_bad_request,
    frame_cut_in_the_middle_is_rejected,
    unterminated_last_line_is_never_executed,
    garbage_ends_its_connection_only,
    http_request_is_answered_in_its_own_terms,
    nothing_behind_an_http_request_line_is_executed,
    text_at_a_length_prefixed_port_is_told_what_to_do,
    length_prefixed_frames_at_a_port_of_lines_are_told_what_to_do,
    frame_without_memory_for_it_is_rejected_as_busy,
    reply_with_the_delimiter_in_it_ends_the_connection,
    last_reply_that_cannot_be_sent_ends_the_connection,
    frames_of_servers_are_rejected_from_clients,
);
over_each!(
    error_with_the_delimiter_in_it_is_escaped,
    error_that_cannot_be_sent_is_a_failure,
    reply_without_a_form_is_a_failure_whose_reason_stays_here,
    request_is_rejected_when_what_its_function_needs_is_missing,
    random_bytes_end_their_connection_only,
);

const HTTP: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nbody\n";

fn server<K: Kind, F: Framing>() -> ConcurrentServer<Tester<F, (), K>> {
    ConcurrentServer::new(tester_of(&gate()))
}

fn lines<K: Kind>() -> ConcurrentServer<Tester<Lines, (), K>> {
    server()
}

async fn prefixed<K: Kind>(over: Over) -> Running {
    start_over(over, server::<K, LengthPrefixed>()).await
}

/// Shows that a peer that was there before is served still.
async fn unharmed(peer: &mut RawPeer) {
    assert_eq!(within(peer.ask("other")).await, Heard::message("other"));
}

async fn text_that_is_not_utf8_is_a_bad_request<K: Kind>(over: Over) {
    let server = prefixed::<K>(over).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"ab\xff\x1b"), frame(b"behind")].concat())).await;
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(
            code::BAD_REQUEST,
            "the text is not UTF-8 after byte 2".to_owned()
        )
    );
    assert_eq!(within(peer.hear()).await, Heard::message("behind"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));

    let (said, requests) = closes_after(over, lines::<K>(), b"before\nab\xff\nbehind\n").await;
    assert_eq!(said, b"before\n");
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn frame_cut_in_the_middle_is_rejected<K: Kind>(over: Over) {
    let server = prefixed::<K>(over).await;
    let request = frame(b"whole");
    for count in 1..request.len() {
        let mut peer = server.peer().await;
        within(peer.send([&frame(b"before"), &request[..count]].concat())).await;
        within(peer.finish()).await;
        assert_eq!(within(peer.hear()).await, Heard::message("before"));
        assert_eq!(
            within(peer.hear()).await,
            Heard::Control(
                code::PROTOCOL_ERROR,
                "the connection ended in the middle of a frame".to_owned()
            )
        );
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (8, 8));
}

async fn unterminated_last_line_is_never_executed<K: Kind>(over: Over) {
    let (said, requests) = said_to(over, lines::<K>(), "whole\nhalf").await;
    assert_eq!(said, b"whole\n");
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn garbage_ends_its_connection_only<K: Kind>(over: Over) {
    let server = prefixed::<K>(over).await;
    let mut other = server.peer().await;
    unharmed(&mut other).await;
    // A TLS client hello, an impossible length, a control frame of nothing.
    let garbage: [(&[u8], &str); 3] = [
        (
            b"\x16\x03\x01\x02\x00\x01",
            "a message of 369295618 bytes exceeds `max_frame_len` of 8388608 bytes",
        ),
        (
            b"\x7f\xff\xff\xff",
            "a message of 2147483647 bytes exceeds `max_frame_len` of 8388608 bytes",
        ),
        (
            b"\x80\0\0\0",
            "a control frame of 0 bytes; it has 1 to 4096",
        ),
    ];
    for (bytes, text) in garbage {
        let mut peer = server.peer().await;
        within(peer.send([bytes, &frame(b"behind")].concat())).await;
        assert_eq!(
            within(peer.hear()).await,
            Heard::Control(code::PROTOCOL_ERROR, text.to_owned())
        );
        assert_eq!(within(peer.hear()).await, Heard::End);
        unharmed(&mut other).await;
    }
    drop(other);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (4, 3));
}

async fn http_request_is_answered_in_its_own_terms<K: Kind>(over: Over) {
    for (said, requests) in [
        closes_after(over, server::<K, LengthPrefixed>(), HTTP).await,
        closes_after(over, server::<K, Lines>(), HTTP).await,
        closes_after(over, server::<K, Raw>(), HTTP).await,
    ] {
        assert_eq!((requests.received, requests.rejected), (1, 1));
        let answer = String::from_utf8(said).expect("text");
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\nThis port does not speak HTTP.\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nContent-Length: 31\r\n"), "{answer}");
    }
}

async fn nothing_behind_an_http_request_line_is_executed<K: Kind>(over: Over) {
    let server = start_over(over, lines::<K>()).await;
    let mut peer = server.peer().await;
    let post = "POST /x HTTP/1.1\r\nContent-Length: 6\r\n\r\npanic\n";
    for byte in post.bytes() {
        // The server may have closed already.
        if within(peer.try_send([byte])).await.is_err() {
            break;
        }
    }
    assert!(within(peer.rest()).await.starts_with(b"HTTP/1.1 400"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.rejected), (1, 1));

    // However long the line is.
    let target = "x".repeat(5_000);
    let post = format!("POST /{target} HTTP/1.1\r\n\r\npanic\n");
    let (said, requests) = closes_after(over, lines::<K>(), post).await;
    assert!(said.starts_with(b"HTTP/1.1 400"));
    assert_eq!((requests.received, requests.rejected), (1, 1));

    // Later lines of the same form are text as any other.
    let later = "hello\nGET / HTTP/1.1\n";
    let (said, requests) = said_to(over, lines::<K>(), later).await;
    assert_eq!((said, requests.served), (later.into(), 2));
}

async fn text_at_a_length_prefixed_port_is_told_what_to_do<K: Kind>(over: Over) {
    let server = prefixed::<K>(over).await;
    for text in ["hello\n", "hi\n", "a\r\n", "hell", "    "] {
        let mut peer = server.peer().await;
        within(peer.send(text)).await;
        let answer = String::from_utf8(within(peer.rest()).await).expect("text");
        assert_eq!(
            answer,
            "This port expects length-prefixed frames; to use it with nc, serve it with \
             `framing = Lines`.\n",
            "{text:?}"
        );
    }
    // Two letters and the end are a frame that was cut, as far as anybody can tell.
    let mut peer = server.peer().await;
    within(peer.send("hi")).await;
    within(peer.finish()).await;
    assert!(within(peer.rest()).await.starts_with(b"This port expects"));
    assert_eq!(server.stopped().await.requests.rejected, 6);
}

async fn length_prefixed_frames_at_a_port_of_lines_are_told_what_to_do<K: Kind>(over: Over) {
    let server = start_over(over, lines::<K>()).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"panic\n"), frame(b"panic\n")].concat())).await;
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(
            code::PROTOCOL_ERROR,
            "this port expects lines of text: use `framing = Lines`".to_owned()
        )
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.rejected), (1, 1));
}

/// Length-prefixed, as if there were no memory for the message `large`.
#[derive(Default)]
struct Copying(LengthPrefixed);

impl Framing for Copying {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match self.0.parse(input)? {
            Some(_) if input.bytes() == frame(b"large") => Err(FrameError::out_of_memory(5)),
            parsed => Ok(parsed),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.0.finish(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        self.0.reject(out, rejection)
    }
}

async fn frame_without_memory_for_it_is_rejected_as_busy<K: Kind>(over: Over) {
    let sent = [frame(b"small"), frame(b"large")].concat();
    let (said, requests) = closes_after(over, server::<K, Copying>(), &sent).await;
    let no_memory = "there is no memory for a message of 5 bytes";
    let said_last = [
        control(code::BUSY, no_memory),
        control(code::GOING_AWAY, "the server failed"),
    ];
    assert_eq!(said, [frame(b"small"), said_last.concat()].concat());
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn reply_with_the_delimiter_in_it_ends_the_connection<K: Kind>(over: Over) {
    let server = prefixed::<K>(over).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("a\nb")).await, Heard::message("a\nb"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);

    let server = ConcurrentServer::new(TwoLines);
    let (said, requests) = closes_after(over, server, "one\ntwo\n").await;
    assert_eq!(said, b"");
    assert_eq!((requests.received, requests.failed), (1, 1));
}

async fn error_with_the_delimiter_in_it_is_escaped(over: Over) {
    let server = ConcurrentServer::new(TwoLines);
    let (said, requests) = said_to(over, server, "error\nerror\n").await;
    assert_eq!(said, b"two\\nlines\ntwo\\nlines\n");
    assert_eq!(requests.served, 2);
}

async fn error_that_cannot_be_sent_is_a_failure(over: Over) {
    let server = ConcurrentServer::new(TwoLines).max_frame_len(9);
    // Its text has a line feed, and is too long when that is escaped.
    let (said, requests) = closes_after(over, server, "error\nerror\n").await;
    assert_eq!(said, b"");
    assert_eq!((requests.received, requests.failed), (1, 1));
}

async fn reply_without_a_form_is_a_failure_whose_reason_stays_here(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Formless)).await;
    let mut peer = server.peer().await;
    for _ in 0..2 {
        assert_eq!(
            within(peer.ask("x")).await,
            Heard::Control(code::FAILED, "the reply cannot be encoded".to_owned())
        );
    }
    drop(peer);
    assert_eq!(server.stopped().await.requests.failed, 2);
}

/// Replies once to the request of this name, with what cannot be sent.
struct Unsendable<F, K>(Gate, PhantomData<fn() -> (F, K)>);

impl<F: Framing, K: Kind> ServerProtocol for Unsendable<F, K> {
    type Framing = F;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Response<Reply>;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Plain>> {
        Some(format_args!("-{}", rejection.kind()).to_string())
    }

    const WAITS: bool = K::WAITS;

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        request: &'a str,
    ) -> impl Future<Output = Result<Response<Reply>, Rejection>> + Send {
        K::process(context.info, &self.0, move || {
            Act::Return(Ok(Response::ReplyAndClose(match request {
                "formless" => Reply::Formless,
                "long" => Reply::Text("long".repeat(30)),
                other => Reply::Text(format!("{other}\n")),
            })))
        })
    }
}

enum Reply {
    Formless,
    Text(String),
}

impl Encode<Plain> for Reply {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Formless => Encode::<Plain>::encode(Nothing, out),
            Self::Text(text) => Encode::<Plain>::encode(text, out),
        }
    }
}

async fn last_reply_that_cannot_be_sent_ends_the_connection<K: Kind>(over: Over) {
    for request in ["formless", "long"] {
        let server = {
            let protocol = Unsendable::<LengthPrefixed, K>(gate(), PhantomData);
            ConcurrentServer::new(protocol).max_frame_len(100)
        };
        let server = start_over(over, server).await;
        let mut peer = server.peer().await;
        within(peer.send([frame(request.as_bytes()), frame(b"behind")].concat())).await;
        assert_eq!(within(peer.hear()).await.kind(), code::FAILED);
        assert_eq!(
            within(peer.hear()).await,
            Heard::Control(code::GOING_AWAY, "this was the last reply".to_owned())
        );
        assert_eq!(within(peer.hear()).await, Heard::End);
        drop(peer);
        let requests = server.stopped().await.requests;
        assert_eq!((requests.received, requests.failed), (1, 1));
    }
    for request in ["formless", "long", "two lines"] {
        let server = {
            let protocol = Unsendable::<Lines, K>(gate(), PhantomData);
            ConcurrentServer::new(protocol).max_frame_len(100)
        };
        let sent = format!("{request}\nbehind\n");
        let (said, requests) = closes_after(over, server, sent).await;
        assert_eq!(said, b"-failed\n");
        assert_eq!((requests.received, requests.failed), (1, 1));
    }
}

#[server_protocol]
fn address(_request: &str, addr: SocketAddr) -> String {
    addr.ip().to_string()
}

async fn request_is_rejected_when_what_its_function_needs_is_missing(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Address)).await;
    let mut peer = server.peer().await;
    for _ in 0..2 {
        let expected = if over.has_address() {
            Heard::message("127.0.0.1")
        } else {
            Heard::Control(
                code::BAD_REQUEST,
                "this function needs the address of its peer, and there is none".to_owned(),
            )
        };
        assert_eq!(within(peer.ask("who am I?")).await, expected);
    }
    drop(peer);
    let requests = server.stopped().await.requests;
    let expected = if over.has_address() { (2, 0) } else { (0, 2) };
    assert_eq!((requests.served, requests.rejected), expected);
}

async fn frames_of_servers_are_rejected_from_clients<K: Kind>(over: Over) {
    let announced = |kind| [&[0x80, 0, 0, 5, kind, 0, 0, 0, 1], &frame("item")[..]].concat();
    let items = "items of a reply, or events, which clients do not send";
    let cases = [
        (
            control(code::ERROR, "no"),
            "a control frame of kind 0x01, which clients do not send",
        ),
        (announced(0x81), items),
        (announced(0x82), items),
    ];
    let server = prefixed::<K>(over).await;
    for (sent, told) in cases {
        let mut peer = server.peer().await;
        within(peer.send([sent, frame(b"behind")].concat())).await;
        let expected = Heard::Control(code::PROTOCOL_ERROR, told.to_owned());
        assert_eq!(within(peer.hear()).await, expected);
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    assert_eq!(server.stopped().await.requests.rejected, 3);
}

async fn random_bytes_end_their_connection_only(over: Over) {
    let server = prefixed::<ReadyFn>(over).await;
    let mut other = server.peer().await;
    // A linear congruential generator: the same bytes each time.
    let mut state = 1_u32;
    for _ in 0..50 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(300)
        .collect();
        let mut peer = server.peer().await;
        // The server may close before it has read all.
        drop(within(peer.try_send(&bytes)).await);
        drop(within(peer.try_finish()).await);
        drop(within(peer.try_rest()).await);
        unharmed(&mut other).await;
    }
    drop(other);
    assert_eq!(server.stopped().await.requests.failed, 0);
}

/// Answers with two lines.
struct TwoLines;

impl ServerProtocol for TwoLines {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Result<&'a str, &'a str>;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request<'a>(
        &'a self,
        _context: Context<'a, ()>,
        request: &'a str,
    ) -> Result<Result<&'a str, &'a str>, Rejection> {
        Ok(if request == "error" {
            Err("two\nlines")
        } else {
            Ok("two\nlines")
        })
    }
}

/// What cannot be sent.
struct Nothing;

impl Encode<Plain> for Nothing {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(b"a part");
        Err(EncodeError::new("a secret"))
    }
}

#[server_protocol]
fn formless(_request: &str) -> Nothing {
    Nothing
}
