//! A panicking function harms only its request.

use std::{
    future::{pending, poll_fn},
    marker::PhantomData,
    panic::panic_any,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection, Response,
    format::{Encode, EncodeError, Plain, Writer},
    framing::{FrameError, Framing, Input, LengthPrefixed, Lines, ParsedFrame},
    protocol::{Context, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Act, Bomb, Count, Counting, Gate, Heard, Kind, Over, RawPeer, code, each_kind, frame, gate,
    over_each, patiently, start, start_over, tester_of, within,
};

each_kind!(
    over_each:
    panic_is_the_failure_of_its_request_only,
    panic_with_a_session_ends_the_connection,
    panic_where_no_rejection_can_be_told_ends_the_connection,
    connection_that_survived_a_panic_has_its_limits,
    payload_that_panics_as_it_is_dropped_is_one_answer,
    payload_that_panics_ends_a_connection_with_a_session,
    rejection_that_panics_ends_its_connection_only,
    last_reply_that_panics_as_it_is_written_closes_the_connection,
);
each_kind!(
    connection_that_survived_a_panic_is_told_of_a_drain,
    session_that_panics_as_it_is_dropped_harms_no_other_connection,
);

over_each!(
    payload_of_the_words_for_a_rejection_ends_its_connection_only,
    panic_as_a_function_that_has_returned_is_dropped_is_one_answer,
    panic_as_a_function_that_has_returned_is_dropped_is_one_answer_where_it_may_wait,
    panic_as_a_function_that_must_not_wait_is_dropped_is_one_answer,
);

fn failed() -> Heard {
    Heard::Control(code::FAILED, "the function panicked".to_owned())
}

async fn panic_is_the_failure_of_its_request_only<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut other = server.peer().await;
    let mut peer = server.peer().await;
    let requests = [frame(b"before"), frame(b"panic secret"), frame(b"behind")].concat();
    within(peer.send(requests)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("before"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await, Heard::message("behind"));
    assert_eq!(within(peer.ask("later")).await, Heard::message("later"));
    assert_eq!(within(other.ask("other")).await, Heard::message("other"));
    drop((peer, other));
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (4, 1));
}

async fn panic_with_a_session_ends_the_connection<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate()).counting();
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    let requests = [frame(b"count"), frame(b"panic secret"), frame(b"count")].concat();
    within(peer.send(requests)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("1"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("count")).await, Heard::message("1"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (2, 1));
}

async fn panic_where_no_rejection_can_be_told_ends_the_connection<K: Kind>(over: Over) {
    let tester = tester_of::<K, Lines>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send("before\npanic secret\nbehind\n")).await;
    assert_eq!(within(peer.rest()).await, b"before\n");
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!(
        (requests.served, requests.failed, requests.received),
        (1, 1, 2)
    );
}

async fn connection_that_survived_a_panic_has_its_limits<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = ConcurrentServer::new(tester).idle_timeout(Duration::from_millis(300));
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("panic secret")).await, failed());
    assert_eq!(within(peer.hear()).await.kind(), code::IDLE);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.stopped().await.requests.failed, 1);
}

async fn connection_that_survived_a_panic_is_told_of_a_drain<K: Kind>() {
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = start(server).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("panic secret")).await, failed());
    server.handle().stop();
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.finished().await.requests.failed, 1);
}

async fn payload_that_panics_as_it_is_dropped_is_one_answer<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"before"), frame(b"bomb"), frame(b"behind")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("before"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await, Heard::message("behind"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (2, 1));
}

async fn payload_that_panics_ends_a_connection_with_a_session<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate()).counting();
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"count"), frame(b"bomb"), frame(b"count")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("1"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
}

/// A session that panics when it goes.
#[derive(Default)]
struct Brittle;

impl Count for Brittle {
    fn count(&mut self) -> u32 {
        0
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

async fn session_that_panics_as_it_is_dropped_harms_no_other_connection<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate()).session::<Brittle>();
    let server = start(ConcurrentServer::new(tester).max_connections(2)).await;
    let mut other = server.peer().await;
    assert_eq!(within(other.ask("a")).await, Heard::message("a"));
    // Each gets the place of the one before.
    for _ in 0..3 {
        let mut peer = server.peer().await;
        assert_eq!(within(peer.ask("b")).await, Heard::message("b"));
    }
    assert_eq!(within(other.ask("c")).await, Heard::message("c"));
    drop(other);
    let report = server.stopped().await;
    assert_eq!((report.requests.served, report.connections.closed), (5, 4));
}

#[server_protocol(framing = Lines, reject_with = explode)]
fn double(number: u32) -> u32 {
    number * 2
}

fn explode(_: &Rejection) -> &'static str {
    panic_any(Bomb)
}

async fn payload_of_the_words_for_a_rejection_ends_its_connection_only(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Double)).await;
    let mut other = server.peer().await;
    let mut peer = server.peer().await;
    within(peer.send("1\nx\n2\n")).await;
    assert_eq!(within(peer.rest()).await, b"2\n");
    within(other.send("3\n")).await;
    assert_eq!(within(other.receive(2)).await, b"6\n");
    drop((peer, other));
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

/// Panics as its second connection opens, and as the third is greeted.
#[derive(Default)]
struct Shy(AtomicU32);

impl ServerProtocol for Shy {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = u32;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    fn open_session(&self, _info: &ConnectionInfo) -> u32 {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        assert_ne!(number, 1, "on purpose");
        number
    }

    fn greeting<'a>(&'a self, _peer: &'a Peer, session: &'a mut u32) -> Option<impl Encode<Plain>> {
        assert_ne!(*session, 2, "on purpose");
        None::<&str>
    }

    async fn process_request<'a>(
        &'a self,
        _context: Context<'a, u32>,
        request: &'a str,
    ) -> Result<&'a str, Rejection> {
        Ok(request)
    }
}

#[tokio::test]
async fn panic_as_a_connection_opens_ends_that_connection_only() {
    let server = start(ConcurrentServer::new(Shy::default()).max_connections(2)).await;
    let mut first = server.peer().await;
    assert_eq!(within(first.ask("a")).await, Heard::message("a"));
    for _ in 0..2 {
        assert_eq!(within(server.peer().await.hear()).await, Heard::End);
    }
    assert_eq!(within(first.ask("b")).await, Heard::message("b"));
    // Their places are free again.
    let mut fourth = server.peer().await;
    assert_eq!(within(fourth.ask("c")).await, Heard::message("c"));
    drop((first, fourth));
    let report = server.stopped().await;
    assert_eq!((report.requests.served, report.connections.closed), (3, 4));
}

/// Panics when it goes, unless there was a panic already.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "on purpose");
    }
}

#[server_protocol]
async fn hold(request: &str) -> &str {
    if request == "hold" {
        let _held = Fragile;
        pending::<()>().await;
    }
    request
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_function_that_is_cut_is_one_answer() {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = ConcurrentServer::new(Hold).request_timeout(Duration::from_secs(1));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut peer = RawPeer::over(near);
    patiently(peer.send([frame(b"hold"), frame(b"behind")].concat())).await;
    assert_eq!(patiently(peer.hear()).await, failed());
    assert_eq!(patiently(peer.hear()).await, Heard::message("behind"));
    drop(peer);
    let report = patiently(serving).await.expect("no panic").expect("served");
    assert_eq!((report.requests.failed, report.requests.served), (1, 1));
}

/// Lines, but one of them is too much for it.
#[derive(Default)]
struct Touchy(Lines);

impl Framing for Touchy {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        assert!(!input.bytes().starts_with(b"touch"), "on purpose");
        self.0.parse(input)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.0.finish(out, start)
    }
}

/// Lines whose rejections panic when they are half written.
#[derive(Default)]
struct Speechless(Lines);

impl Framing for Speechless {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.0.parse(input)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        self.0.finish(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, _rejection: &Rejection) -> bool {
        out.extend(b"a part of ");
        panic!("on purpose")
    }
}

async fn rejection_that_panics_ends_its_connection_only<K: Kind>(over: Over) {
    let tester = tester_of::<K, Speechless>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut other = server.peer().await;
    for rejected in ["busy", "panic secret"] {
        let mut peer = server.peer().await;
        within(peer.send(format!("before\n{rejected}\nbehind\n"))).await;
        assert_eq!(within(peer.rest()).await, b"before\n");
    }
    within(other.send("other\n")).await;
    assert_eq!(within(other.receive(6)).await, b"other\n");
    drop(other);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.aborted), (3, 2));
}

#[server_protocol(framing = Touchy)]
fn echo(line: &str) -> &str {
    line
}

#[tokio::test]
async fn panic_of_a_framing_ends_its_connection_only() {
    let server = start(ConcurrentServer::new(Echo)).await;
    let mut other = server.peer().await;
    let mut peer = server.peer().await;
    within(peer.send("before\ntouch\nbehind\n")).await;
    assert_eq!(within(peer.rest()).await, b"before\n");
    within(other.send("other\n")).await;
    assert_eq!(within(other.receive(6)).await, b"other\n");
    drop((peer, other));
    let report = server.stopped().await;
    assert_eq!((report.requests.served, report.connections.closed), (2, 2));
}

/// Panics when it is half written.
struct Half;

impl Encode<Plain> for Half {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(b"a part of ");
        panic!("on purpose");
    }
}

#[server_protocol]
fn halve(request: &str) -> Result<Half, &str> {
    match request {
        "half" => Ok(Half),
        other => Err(other),
    }
}

#[tokio::test]
async fn reply_that_panics_as_it_is_written_leaves_no_part() {
    let server = start(ConcurrentServer::new(Halve)).await;
    let mut peer = server.peer().await;
    let requests = [frame(b"before"), frame(b"half"), frame(b"behind")];
    within(peer.send(requests.concat())).await;
    let error = |text: &str| Heard::Control(code::ERROR, text.to_owned());
    assert_eq!(within(peer.hear()).await, error("before"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await, error("behind"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (2, 1));
}

#[server_protocol(concurrent = 2)]
async fn halve_beside(request: &str) -> Result<Half, &str> {
    match request {
        "half" => Ok(Half),
        other => Err(other),
    }
}

#[tokio::test]
async fn reply_that_panics_as_it_is_written_beside_others_is_answered_as_alone() {
    let server = start(ConcurrentServer::new(HalveBeside)).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"half"), frame(b"behind")].concat())).await;
    assert_eq!(within(peer.hear()).await, failed());
    let error = Heard::Control(code::ERROR, "behind".to_owned());
    assert_eq!(within(peer.hear()).await, error);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
}

/// Replies with its request, or with one of two replies that close the connection and panic half way.
struct Ends<K>(Gate, PhantomData<fn() -> K>);

struct End<'a>(&'a str);

impl Encode<Plain> for End<'_> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self.0 {
            "last" => Encode::<Plain>::encode(Response::<_>::ReplyAndClose(Half), out),
            "own" => {
                out.close_after();
                Half.encode(out)
            }
            other => Encode::<Plain>::encode(other, out),
        }
    }
}

impl<K: Kind> ServerProtocol for Ends<K> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = End<'a>;

    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        request: &'a str,
    ) -> impl Future<Output = Result<End<'a>, Rejection>> + Send {
        K::process(context.info, &self.0, move || Act::Return(Ok(End(request))))
    }
}

async fn last_reply_that_panics_as_it_is_written_closes_the_connection<K: Kind>(over: Over) {
    let server = ConcurrentServer::new(Ends::<K>(gate(), PhantomData));
    let server = start_over(over, server).await;
    for last in ["last", "own"] {
        let mut peer = server.peer().await;
        let requests = [frame(b"before"), frame(last.as_bytes()), frame(b"behind")];
        within(peer.send(requests.concat())).await;
        assert_eq!(within(peer.hear()).await, Heard::message("before"));
        assert_eq!(within(peer.hear()).await, failed());
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (2, 2));
    assert_eq!(requests.received, 4);
}

/// Waits, although it says that it does not.
struct Waits<S>(PhantomData<fn() -> S>);

impl<S: Count> ServerProtocol for Waits<S> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = S;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    const WAITS: bool = false;

    fn open_session(&self, _info: &ConnectionInfo) -> S {
        S::default()
    }

    async fn process_request<'a>(
        &'a self,
        _: Context<'a, S>,
        request: &'a str,
    ) -> Result<&'a str, Rejection> {
        if request == "wait" {
            pending::<()>().await;
        }
        Ok(request)
    }
}

fn must_not_wait() -> Heard {
    let text = "the function waits, and its protocol says that it does not (`WAITS`)";
    Heard::Control(code::FAILED, text.to_owned())
}

#[tokio::test]
async fn function_that_waits_against_the_word_of_its_protocol_fails() {
    let server = start(ConcurrentServer::new(Waits::<()>(PhantomData))).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"wait"), frame(b"next")].concat())).await;
    assert_eq!(within(peer.hear()).await, must_not_wait());
    assert_eq!(within(peer.hear()).await, Heard::message("next"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
}

#[tokio::test]
async fn function_that_waits_against_the_word_of_its_protocol_ends_a_session() {
    let server = start(ConcurrentServer::new(Waits::<Counting>(PhantomData))).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"wait"), frame(b"next")].concat())).await;
    assert_eq!(within(peer.hear()).await, must_not_wait());
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.failed), (1, 1));
}

/// Its futures panic when they are dropped, unless there was a panic already. That of `wait` waits, and the
/// others are ready at once.
struct Leaves<const WAITS: bool>;

impl<const WAITS: bool> ServerProtocol for Leaves<WAITS> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    const WAITS: bool = WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn process_request<'a>(
        &'a self,
        _: Context<'a, ()>,
        request: &'a str,
    ) -> impl Future<Output = Result<&'a str, Rejection>> + Send {
        let held = (request != "pass").then(|| Fragile);
        poll_fn(move |_| {
            let _held = &held;
            match request {
                "wait" => Poll::Pending,
                other => Poll::Ready(Ok(other)),
            }
        })
    }
}

async fn panic_as_a_function_that_has_returned_is_dropped_is_one_answer(over: Over) {
    is_one_answer::<false>(over, "return").await;
}

async fn panic_as_a_function_that_has_returned_is_dropped_is_one_answer_where_it_may_wait(
    over: Over,
) {
    is_one_answer::<true>(over, "return").await;
}

async fn panic_as_a_function_that_must_not_wait_is_dropped_is_one_answer(over: Over) {
    is_one_answer::<false>(over, "wait").await;
}

/// Fails unless a request whose future panics when it is dropped has one answer, and the next one is served.
async fn is_one_answer<const WAITS: bool>(over: Over, request: &str) {
    let server = start_over(over, ConcurrentServer::new(Leaves::<WAITS>)).await;
    let mut peer = server.peer().await;
    let requests = [frame(b"pass"), frame(request.as_bytes()), frame(b"pass")];
    within(peer.send(requests.concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("pass"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await, Heard::message("pass"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (2, 1));
}
