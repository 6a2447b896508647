//! Where a protocol's words for a rejection are not said, and what becomes of the connection.

use std::{marker::PhantomData, time::Duration};

use tcs::{
    ConcurrentServer, ConnectionInfo, OnceServer, Peer, Rejection, Response,
    format::{Encode, Plain},
    framing::Lines,
    protocol::{Context, ServerProtocol},
    server::RequestCounts,
};
use tcs_tests::{Act, Gate, Kind, Over, closes_after, each_kind, gate, start, within};

each_kind!(
    over_each:
    peer_of_another_protocol_never_sees_them,
    beginning_of_another_protocol_never_sees_them,
    words_that_panic_close_the_connection,
    words_that_cannot_be_sent_close_the_connection,
    words_about_an_error_that_cannot_be_sent_are_its_failure,
    last_reply_is_the_last_word,
    greeting_is_no_rejection,
);
each_kind!(once_server_says_its_reply_and_nothing_else);

/// How a protocol words its rejections.
trait Words: 'static {
    const GREETING: Option<&'static str> = None;

    fn of(rejection: &Rejection) -> String;
}

/// Adds to what is said, so that any call would be seen.
struct InALine;

impl Words for InALine {
    fn of(rejection: &Rejection) -> String {
        format!("-{}", rejection.kind())
    }
}

struct InTwoLines;

impl Words for InTwoLines {
    fn of(rejection: &Rejection) -> String {
        format!("-{}\n{}", rejection.kind(), rejection.text())
    }
}

struct Panics;

impl Words for Panics {
    fn of(rejection: &Rejection) -> String {
        panic!("on purpose: {rejection}")
    }
}

/// Words its rejections in a line, but its greeting is none.
struct GreetsInTwoLines;

impl Words for GreetsInTwoLines {
    const GREETING: Option<&'static str> = Some("two\nlines");

    fn of(rejection: &Rejection) -> String {
        InALine::of(rejection)
    }
}

/// Halves even numbers. The reply to 0 is the last one.
struct Halve<K, W> {
    gate: Gate,
    marker: PhantomData<fn() -> (K, W)>,
}

fn halving<K: Kind, W: Words>() -> Halve<K, W> {
    Halve {
        gate: gate(),
        marker: PhantomData,
    }
}

fn server<K: Kind, W: Words>() -> ConcurrentServer<Halve<K, W>> {
    ConcurrentServer::new(halving())
}

impl<K: Kind, W: Words> ServerProtocol for Halve<K, W> {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = u32;
    type Reply<'a> = Response<Result<u32, &'static str>>;

    fn open_session(&self, _info: &ConnectionInfo) {}

    const HAS_GREETING: bool = W::GREETING.is_some();

    fn greeting<'a>(&'a self, _peer: &'a Peer, _session: &'a mut ()) -> Option<impl Encode<Plain>> {
        W::GREETING
    }

    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Plain>> {
        Some(W::of(rejection))
    }

    const WAITS: bool = K::WAITS;

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        number: u32,
    ) -> impl Future<Output = Result<Self::Reply<'a>, Rejection>> + Send {
        K::process(context.info, &self.gate, move || {
            Act::Return(Ok(match number {
                0 => Response::ReplyAndClose(Ok(0)),
                number if number % 2 == 0 => Response::Reply(Ok(number / 2)),
                _ => Response::Reply(Err("odd")),
            }))
        })
    }
}

/// Sends bytes and returns all that is said until the end, and what was counted.
async fn all<P: ServerProtocol>(
    over: Over,
    server: ConcurrentServer<P>,
    bytes: &[u8],
) -> (String, RequestCounts) {
    let (said, requests) = closes_after(over, server, bytes).await;
    (String::from_utf8(said).expect("text"), requests)
}

async fn peer_of_another_protocol_never_sees_them<K: Kind>(over: Over) {
    let long = format!("GET /{}", "x".repeat(600));
    let hello = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".as_slice(),
        &[7; 200],
    ]
    .concat();
    for foreign in [b"GET / HTTP/1.1\r\n\r\n", long.as_bytes(), &hello] {
        let server = server::<K, InALine>().max_frame_len(100);
        let (said, requests) = all(over, server, foreign).await;
        assert!(!said.contains("-protocol error"), "{said}");
        assert_eq!((requests.received, requests.rejected), (1, 1));
    }
}

async fn beginning_of_another_protocol_never_sees_them<K: Kind>(over: Over) {
    let server = || server::<K, InALine>().frame_timeout(Duration::from_millis(50));
    for foreign in [b"GET /index HT".as_slice(), b"\x16\x03\x01", b"SSH-2.0"] {
        let (said, requests) = all(over, server(), foreign).await;
        assert_eq!(said, "");
        assert_eq!((requests.received, requests.rejected), (1, 1));
    }
    // Somebody who has spoken the protocol before is no stranger.
    let (said, _) = all(over, server(), b"2\nGET /index HT").await;
    assert_eq!(said, "1\n-idle\n");
}

async fn words_that_panic_close_the_connection<K: Kind>(over: Over) {
    let (said, requests) = all(over, server::<K, Panics>(), b"2\nx\n4\n").await;
    assert_eq!(said, "1\n");
    assert_eq!((requests.received, requests.rejected), (2, 1));
    // Also where the words are the last ones.
    let server = server::<K, Panics>().idle_timeout(Duration::from_millis(300));
    let (said, requests) = all(over, server, b"2\n").await;
    assert_eq!((said.as_str(), requests.served), ("1\n", 1));
}

async fn words_that_cannot_be_sent_close_the_connection<K: Kind>(over: Over) {
    let (said, requests) = all(over, server::<K, InTwoLines>(), b"2\nx\n4\n").await;
    assert_eq!(said, "1\n");
    assert_eq!((requests.received, requests.rejected), (2, 1));
}

async fn words_about_an_error_that_cannot_be_sent_are_its_failure<K: Kind>(over: Over) {
    let (said, requests) = all(over, server::<K, InTwoLines>(), b"2\n3\n4\n").await;
    assert_eq!(said, "1\n");
    assert_eq!((requests.served, requests.failed), (1, 1));
}

async fn last_reply_is_the_last_word<K: Kind>(over: Over) {
    let (said, requests) = all(over, server::<K, InALine>(), b"2\n0\n4\n").await;
    assert_eq!(said, "1\n0\n");
    assert_eq!((requests.received, requests.served), (2, 2));
}

async fn greeting_is_no_rejection<K: Kind>(over: Over) {
    let (said, requests) = all(over, server::<K, GreetsInTwoLines>(), b"").await;
    assert_eq!((said.as_str(), requests.received), ("-going away\n", 0));
}

async fn once_server_says_its_reply_and_nothing_else<K: Kind>() {
    let server = start(OnceServer::new(halving::<K, InALine>())).await;
    let mut peer = server.peer().await;
    within(peer.send("2\n4\n")).await;
    assert_eq!(within(peer.rest()).await, b"1\n");
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 1);
}
