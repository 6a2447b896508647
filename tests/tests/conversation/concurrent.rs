//! Several requests of one connection at the same time.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, RejectionKind, Response,
    format::Plain,
    framing::{Framing, LengthPrefixed, Lines, Multiplexed},
    protocol::{Concurrency, Context, Pushes, ServerProtocol},
    server::Report,
};
use tcs_tests::{
    Act, Gate, Heard, Kind, Over, RawPeer, code, control, each_kind, ended_in_time, gate,
    ids::{
        control_of,
        kind::{CANCEL, CANCELLED},
        message_of, receive_frame,
    },
    patiently, serve_in_memory, start, start_over, within,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::hub::{Wire, expect, hear};

each_kind!(
    [ready_async, waiting] over_each:
    replies_have_the_order_of_the_requests,
    replies_without_an_order_come_as_they_are_ready,
    drain_waits_for_all_in_flight,
    abort_drops_all_in_flight,
    requests_share_the_session,
);
each_kind!(
    [ready_async, waiting] paused:
    no_more_requests_are_taken_than_the_limit,
    each_request_has_its_own_timeout,
    all_in_flight_end_after_a_half_close,
    replies_reach_a_peer_that_half_closed,
);
each_kind!(
    [ready_async, waiting] on_a_runtime:
    panic_fails_its_own_request,
    rejections_have_their_place_in_the_order,
    last_reply_follows_those_before_it,
    final_rejection_fails_those_behind_it,
    final_rejection_without_an_order_gives_way_to_replies,
    bad_frame_without_an_order_follows_last_replies,
    tls_does_not_start_beside_others,
    tls_does_not_start_beside_requests_that_wait_for_a_place,
    more_unanswered_requests_than_the_pipeline_has_are_busy,
    requests_that_wait_for_a_place_count_for_the_pipeline,
    requests_for_which_nothing_has_room_are_read_later,
    session_that_panics_as_it_is_shared_fails_its_request,
    last_reply_without_an_order_follows_all_in_flight,
    last_request_of_a_connection_is_answered_with_the_others,
    cut_request_is_reported_after_the_replies,
    functions_of_a_reset_connection_are_dropped,
    events_arrive_while_functions_wait,
    replies_of_any_completion_have_their_order,
);

/// A session that panics when it is shared next.
const POISON: usize = 1_000_000;

/// How many requests are processed at the same time.
const LIMIT: usize = 16;

/// Does as the request says: the first word is what, the second is the name of the gate.
struct Desk<K, F, const ORDERED: bool> {
    gates: Gates,
    kind: PhantomData<fn() -> (K, F)>,
}

/// A gate of each name.
#[derive(Clone, Default)]
pub(crate) struct Gates(Arc<Mutex<BTreeMap<String, Gate>>>);

impl Gates {
    pub(crate) fn of(&self, name: &str) -> Gate {
        let mut gates = self.0.lock().expect("no panic");
        gates.entry(name.to_owned()).or_insert_with(gate).clone()
    }

    /// Waits until a function is at each of these gates.
    pub(crate) async fn reached(&self, names: &[&str]) {
        for name in names {
            within(self.of(name).reached()).await;
        }
    }

    pub(crate) fn open(&self, name: &str) {
        self.of(name).open();
    }

    /// The number of functions that have not ended.
    pub(crate) fn functions(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn server<K: Kind, F: Framing, const ORDERED: bool>(
        &self,
    ) -> ConcurrentServer<Desk<K, F, ORDERED>> {
        ConcurrentServer::new(Desk {
            gates: self.clone(),
            kind: PhantomData,
        })
    }
}

impl<K: Kind, F: Framing, const ORDERED: bool> ServerProtocol for Desk<K, F, ORDERED> {
    type Framing = F;
    type Format = Plain;
    type Session = Arc<AtomicUsize>;
    type Request<'a> = &'a str;
    type Reply<'a> = Response<String>;
    const CONCURRENT: Option<Concurrency> = Some(if ORDERED {
        Concurrency::ordered(LIMIT)
    } else {
        Concurrency::unordered(LIMIT)
    });

    fn open_session(&self, _info: &ConnectionInfo) -> Self::Session {
        Arc::default()
    }

    fn share_session(session: &Self::Session) -> Option<Self::Session> {
        let poisoned = session.compare_exchange(POISON, 0, Ordering::Relaxed, Ordering::Relaxed);
        assert!(poisoned.is_err(), "on purpose");
        Some(Arc::clone(session))
    }

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, Self::Session>,
        request: &'a str,
    ) -> Result<Response<String>, Rejection> {
        // It is held until the function ends.
        let gates = self.gates.clone();
        context.session.fetch_add(1, Ordering::Relaxed);
        let (what, name) = request.split_once(' ').unwrap_or((request, ""));
        if what == "push" {
            let pushed = context.info.push::<Room>().try_send(name);
            pushed.expect("there is room");
        }
        if what == "poison" {
            context.session.store(POISON, Ordering::Relaxed);
        }
        if what == "final" {
            gates.of(name).pass().await;
            return Err(Rejection::new(RejectionKind::GoingAway, name));
        }
        let counted = context.session.load(Ordering::Relaxed);
        let function = || match what {
            "wait" | "push" => Act::Wait(Response::Reply(name.to_owned())),
            "panic" => Act::WaitAndPanic,
            "close" => Act::Wait(Response::ReplyAndClose(name.to_owned())),
            "tls" => Act::Wait(Response::StartTls(name.to_owned())),
            "count" if counted == 3 => Act::Return(Response::Reply("three".to_owned())),
            _ => Act::Return(Response::Reply(name.to_owned())),
        };
        Ok(K::process(context.info, &gates.of(name), function).await)
    }
}

/// Names the events.
enum Room {}

impl Pushes for Room {
    type Format = Plain;
    type Event<'a> = &'a str;
}

fn messages<F: Wire>(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| F::message(text)).collect()
}

/// Serves one peer in memory.
fn in_memory<K: Kind, F: Framing, const ORDERED: bool>(
    gates: &Gates,
) -> (RawPeer, JoinHandle<Report>) {
    // What is sent together is taken together, however slow the machine is.
    let server = gates.server::<K, F, ORDERED>();
    serve_in_memory(server.poll_budget(Duration::from_mins(1)), 1 << 16)
}

/// The requests by outcome: served, failed, rejected, aborted.
pub(crate) fn outcomes(report: &Report) -> [u64; 4] {
    let requests = &report.requests;
    [
        requests.served,
        requests.failed,
        requests.rejected,
        requests.aborted,
    ]
}

async fn replies_have_the_order_of_the_requests<K: Kind>(over: Over) {
    keep_the_order::<K, LengthPrefixed>(over).await;
    keep_the_order::<K, Lines>(over).await;
}

async fn keep_the_order<K: Kind, F: Wire>(over: Over) {
    let gates = Gates::default();
    let server = start_over(over, gates.server::<K, F, true>()).await;
    let mut peer = server.peer().await;
    peer.send(messages::<F>(&["wait a", "wait b", "now c", "wait d"]))
        .await;
    gates.reached(&["a", "b", "d"]).await;
    for name in ["d", "b", "a"] {
        gates.open(name);
    }
    hear(&mut peer, &messages::<F>(&["a", "b", "c", "d"])).await;
    drop(peer);
    server.handle().stop();
    let report = within(server.finished()).await;
    assert_eq!(outcomes(&report), [4, 0, 0, 0]);
}

async fn replies_without_an_order_come_as_they_are_ready<K: Kind>(over: Over) {
    come_as_they_are_ready::<K, LengthPrefixed>(over).await;
    come_as_they_are_ready::<K, Lines>(over).await;
}

async fn come_as_they_are_ready<K: Kind, F: Wire>(over: Over) {
    let gates = Gates::default();
    let server = start_over(over, gates.server::<K, F, false>()).await;
    let mut peer = server.peer().await;
    peer.send(messages::<F>(&["wait a", "now b", "wait c"]))
        .await;
    hear(&mut peer, &messages::<F>(&["b"])).await;
    gates.reached(&["a", "c"]).await;
    gates.open("c");
    hear(&mut peer, &messages::<F>(&["c"])).await;
    // A request that arrives while one waits.
    expect(
        &mut peer,
        &messages::<F>(&["now d"]),
        &messages::<F>(&["d"]),
    )
    .await;
    gates.open("a");
    hear(&mut peer, &messages::<F>(&["a"])).await;
    server.handle().stop();
    within(peer.rest()).await;
    let report = within(server.finished()).await;
    assert_eq!(outcomes(&report), [4, 0, 0, 0]);
}

async fn requests_share_the_session<K: Kind>(over: Over) {
    let gates = Gates::default();
    let server = start_over(over, gates.server::<K, Lines, true>()).await;
    let mut peer = server.peer().await;
    expect(&mut peer, b"now a\nnow b\ncount\n", b"a\nb\nthree\n").await;
}

async fn drain_waits_for_all_in_flight<K: Kind>(over: Over) {
    let gates = Gates::default();
    let server = start_over(over, gates.server::<K, LengthPrefixed, true>()).await;
    let mut peer = server.peer().await;
    peer.send(messages::<LengthPrefixed>(&["wait a", "wait b"]))
        .await;
    gates.reached(&["a", "b"]).await;
    server.handle().stop();
    gates.open("b");
    gates.open("a");
    hear(&mut peer, &messages::<LengthPrefixed>(&["a", "b"])).await;
    let text = "the server is stopping";
    assert_eq!(within(peer.rest()).await, control(code::GOING_AWAY, text));
    let report = within(server.finished()).await;
    assert_eq!(outcomes(&report), [2, 0, 0, 0]);
}

async fn abort_drops_all_in_flight<K: Kind>(over: Over) {
    let gates = Gates::default();
    let server = gates.server::<K, LengthPrefixed, false>();
    let server = server.drain_timeout(Duration::ZERO);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    peer.send(messages::<LengthPrefixed>(&["wait a", "wait b"]))
        .await;
    gates.reached(&["a", "b"]).await;
    server.handle().stop();
    let report = within(server.finished_after_aborting(1)).await;
    assert_eq!(outcomes(&report), [0, 0, 0, 2]);
    assert_eq!(gates.functions(), 1);
    // The final frame says of all others that they were not executed, and these were.
    let failed = control(0x06, "the server ended before the reply");
    let last = control(0x40, "the server ended");
    assert_eq!(
        within(peer.rest()).await,
        [&failed[..], &failed, &last].concat()
    );
}

async fn no_more_requests_are_taken_than_the_limit<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, _) = in_memory::<K, Lines, false>(&gates);
    for number in 0..=LIMIT {
        peer.send(format!("wait {number}\n")).await;
    }
    // As long as the test waits, nothing else happens.
    sleep(Duration::from_secs(1)).await;
    let reached = |number: usize| gates.of(&number.to_string()).was_reached();
    assert!((0..LIMIT).all(reached));
    assert!(!reached(LIMIT));
    gates.open("3");
    hear(&mut peer, b"3\n").await;
    gates.reached(&["16"]).await;
}

async fn each_request_has_its_own_timeout<K: Kind>() {
    let gates = Gates::default();
    let server = gates.server::<K, LengthPrefixed, false>();
    let server = server.request_timeout(Duration::from_secs(10));
    let (mut peer, _) = serve_in_memory(server, 1_000);
    let began = Instant::now();
    peer.send(messages::<LengthPrefixed>(&["wait a"])).await;
    sleep(Duration::from_secs(5)).await;
    peer.send(messages::<LengthPrefixed>(&["wait b"])).await;
    let text = "no reply within 10s (`request_timeout`)";
    let timed_out = Heard::Control(code::TIMED_OUT, text.to_owned());
    for seconds in [10, 15] {
        assert_eq!(patiently(peer.hear()).await, timed_out);
        ended_in_time(began, Duration::from_secs(seconds));
    }
    // The functions are dropped, and the session is not lost.
    assert_eq!(gates.functions(), 2);
    peer.send(messages::<LengthPrefixed>(&["now c"])).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("c"));
}

async fn all_in_flight_end_after_a_half_close<K: Kind>() {
    let gates = Gates::default();
    let server = gates.server::<K, LengthPrefixed, true>();
    let server = server.half_close_timeout(Duration::from_secs(10));
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    let began = Instant::now();
    peer.send(messages::<LengthPrefixed>(&["wait a", "wait b"]))
        .await;
    peer.finish().await;
    let text = "no reply within 10s after the end of the input (`half_close_timeout`)";
    let timed_out = Heard::Control(code::TIMED_OUT, text.to_owned());
    assert_eq!(patiently(peer.hear()).await, timed_out);
    ended_in_time(began, Duration::from_secs(10));
    assert_eq!(patiently(peer.hear()).await, timed_out);
    let text = "the time after the end of the input is over";
    let last = Heard::Control(code::GOING_AWAY, text.to_owned());
    assert_eq!(patiently(peer.hear()).await, last);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [0, 2, 0, 0]);
}

async fn replies_reach_a_peer_that_half_closed<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, Lines, true>(&gates);
    peer.send(b"wait a\nwait b\nnow c\n").await;
    peer.finish().await;
    sleep(Duration::from_secs(1)).await;
    gates.open("b");
    gates.open("a");
    assert_eq!(patiently(peer.rest()).await, b"a\nb\nc\n");
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [3, 0, 0, 0]);
}

async fn panic_fails_its_own_request<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, true>(&gates);
    peer.send(messages::<LengthPrefixed>(&[
        "panic a", "wait b", "panic c",
    ]))
    .await;
    gates.reached(&["a", "b", "c"]).await;
    gates.open("c");
    gates.open("a");
    let failed = Heard::Control(code::FAILED, "the function panicked".to_owned());
    assert_eq!(within(peer.hear()).await, failed);
    gates.open("b");
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    assert_eq!(within(peer.hear()).await, failed);
    let reply = messages::<LengthPrefixed>(&["d"]);
    expect(&mut peer, &messages::<LengthPrefixed>(&["now d"]), &reply).await;
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 2, 0, 0]);
}

async fn rejections_have_their_place_in_the_order<K: Kind>() {
    let gates = Gates::default();
    let server = gates.server::<K, LengthPrefixed, true>();
    let server = server.max_frame_len(20).max_reply_len(3);
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    let too_large = "x".repeat(21);
    peer.send(messages::<LengthPrefixed>(&["wait a", &too_large]))
        .await;
    // It is no text.
    peer.send([0, 0, 0, 1, 0xff]).await;
    peer.send(messages::<LengthPrefixed>(&["now long", "wait b"]))
        .await;
    gates.reached(&["a", "b"]).await;
    gates.open("b");
    gates.open("a");
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(within(peer.hear()).await.kind(), code::TOO_LARGE);
    assert_eq!(within(peer.hear()).await.kind(), code::BAD_REQUEST);
    let text = "the reply cannot be sent: a message of 4 bytes exceeds `max_reply_len` of 3 bytes";
    let failed = Heard::Control(code::FAILED, text.to_owned());
    assert_eq!(within(peer.hear()).await, failed);
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 1, 2, 0]);
}

async fn last_reply_follows_those_before_it<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, true>(&gates);
    peer.send(messages::<LengthPrefixed>(&["wait a", "close b", "wait c"]))
        .await;
    gates.reached(&["a", "b", "c"]).await;
    gates.open("b");
    gates.open("a");
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    // The final frame says of what has no answer that it was not executed, and this was.
    assert_eq!(within(peer.hear()).await, closed_before());
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 0, 0, 1]);
    assert_eq!(gates.functions(), 1);
}

/// What is told of a function that was dropped because of the reply before its own.
fn closed_before() -> Heard {
    let text = "the connection closed before the reply";
    Heard::Control(code::FAILED, text.to_owned())
}

async fn final_rejection_fails_those_behind_it<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, true>(&gates);
    peer.send(messages::<LengthPrefixed>(&["final a", "wait b"]))
        .await;
    gates.reached(&["a", "b"]).await;
    gates.open("a");
    // In order, so that the client takes none of them for the answer to another request.
    let failed = Heard::Control(code::FAILED, "a".to_owned());
    assert_eq!(within(peer.hear()).await, failed);
    assert_eq!(within(peer.hear()).await, closed_before());
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [0, 1, 0, 1]);
}

async fn final_rejection_without_an_order_gives_way_to_replies<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, false>(&gates);
    peer.send(messages::<LengthPrefixed>(&["final a", "close b"]))
        .await;
    gates.reached(&["a", "b"]).await;
    gates.open("a");
    gates.open("b");
    let failed = Heard::Control(code::FAILED, "a".to_owned());
    assert_eq!(within(peer.hear()).await, failed);
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [1, 1, 0, 0]);
}

async fn bad_frame_without_an_order_follows_last_replies<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, false>(&gates);
    // And a control frame that clients do not send. Together, because a function that does not wait ends the connection.
    let bad_frame = b"\x80\0\0\x01\x01".to_vec();
    peer.send([messages::<LengthPrefixed>(&["close a"]), bad_frame].concat())
        .await;
    gates.reached(&["a"]).await;
    gates.open("a");
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(within(peer.hear()).await.kind(), code::PROTOCOL_ERROR);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [1, 0, 1, 0]);
}

async fn tls_does_not_start_beside_others<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, true>(&gates);
    peer.send(messages::<LengthPrefixed>(&["tls a", "wait b"]))
        .await;
    gates.reached(&["a", "b"]).await;
    gates.open("a");
    let text = "TLS cannot start beside other requests";
    let failed = Heard::Control(code::FAILED, text.to_owned());
    assert_eq!(within(peer.hear()).await, failed);
    assert_eq!(within(peer.hear()).await, closed_before());
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [0, 1, 0, 1]);
}

async fn tls_does_not_start_beside_requests_that_wait_for_a_place<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, Multiplexed, false>(&gates);
    let names: Vec<_> = (1..LIMIT).map(|number| number.to_string()).collect();
    peer.send(message_of(100, "tls a")).await;
    for (id, name) in (1..).zip(&names) {
        peer.send(message_of(id, format!("wait {name}"))).await;
        gates.reached(&[name]).await;
    }
    // The second tells when both are received.
    let queued = [message_of(200, "now y"), message_of(201, "now z")].concat();
    peer.send([queued, control_of(201, CANCEL, "")].concat())
        .await;
    let (id, kind, _) = within(receive_frame(&mut peer)).await;
    assert_eq!((id, kind), (201, Some(CANCELLED)));
    gates.open("a");
    for (id, name) in (1..).zip(&names) {
        gates.open(name);
        let expected = (id, None, name.as_bytes().to_vec());
        assert_eq!(within(receive_frame(&mut peer)).await, expected);
    }
    let text = b"TLS cannot start beside other requests";
    let failed = (100, Some(code::FAILED), text.to_vec());
    assert_eq!(within(receive_frame(&mut peer)).await, failed);
    // It says that the request that waits was not executed.
    let (id, kind, _) = within(receive_frame(&mut peer)).await;
    assert_eq!((id, kind), (0, Some(code::GOING_AWAY)));
    assert!(within(peer.rest()).await.is_empty());
    drop(peer);
    within(serving).await.expect("no panic");
}

async fn more_unanswered_requests_than_the_pipeline_has_are_busy<K: Kind>() {
    let gates = Gates::default();
    let server = gates.server::<K, LengthPrefixed, false>();
    let server = server.max_pipelined_requests(2);
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    for name in ["a", "b"] {
        let request = format!("wait {name}");
        peer.send(messages::<LengthPrefixed>(&[&request])).await;
        gates.reached(&[name]).await;
    }
    peer.send(messages::<LengthPrefixed>(&["now c"])).await;
    assert_eq!(within(peer.hear()).await.kind(), code::BUSY);
    for name in ["a", "b"] {
        gates.open(name);
        assert_eq!(within(peer.hear()).await, Heard::message(name));
        // It never has more than two without a reply.
        let reply = messages::<LengthPrefixed>(&["d"]);
        expect(&mut peer, &messages::<LengthPrefixed>(&["now d"]), &reply).await;
    }
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [4, 0, 1, 0]);
}

async fn requests_that_wait_for_a_place_count_for_the_pipeline<K: Kind>() {
    let gates = Gates::default();
    let server = gates.server::<K, Multiplexed, false>();
    let server = server.max_pipelined_requests(LIMIT as u64 + 1);
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    let names: Vec<_> = (1..=LIMIT).map(|number| number.to_string()).collect();
    for (id, name) in (1..).zip(&names) {
        peer.send(message_of(id, format!("wait {name}"))).await;
        gates.reached(&[name]).await;
    }
    let beyond = [message_of(200, "now y"), message_of(201, "now z")];
    peer.send(beyond.concat()).await;
    let (id, kind, _) = within(receive_frame(&mut peer)).await;
    assert_eq!((id, kind), (201, Some(code::BUSY)));
    gates.open("1");
    let mut replies = [
        within(receive_frame(&mut peer)).await,
        within(receive_frame(&mut peer)).await,
    ];
    replies.sort();
    let expected = [(1, None, b"1".to_vec()), (200, None, b"y".to_vec())];
    assert_eq!(replies, expected);
    for (id, name) in (1..).zip(&names).skip(1) {
        gates.open(name);
        let expected = (id, None, name.as_bytes().to_vec());
        assert_eq!(within(receive_frame(&mut peer)).await, expected);
    }
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [LIMIT as u64 + 1, 0, 1, 0]);
}

async fn requests_for_which_nothing_has_room_are_read_later<K: Kind>() {
    /// More than 64 KiB of requests may not wait for a place.
    const BEYOND: usize = 100;
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, Multiplexed, false>(&gates);
    let names: Vec<_> = (1..=LIMIT).map(|number| number.to_string()).collect();
    for (id, name) in (1..).zip(&names) {
        peer.send(message_of(id, format!("wait {name}"))).await;
        gates.reached(&[name]).await;
    }
    let text = "x".repeat(1_000);
    for id in (200..).take(BEYOND) {
        within(peer.send(message_of(id, format!("now {text}")))).await;
    }
    for name in &names {
        gates.open(name);
    }
    for _ in 0..LIMIT + BEYOND {
        let (id, kind, _) = within(receive_frame(&mut peer)).await;
        assert_eq!(kind, None, "{id}");
    }
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [(LIMIT + BEYOND) as u64, 0, 0, 0]);
}

async fn session_that_panics_as_it_is_shared_fails_its_request<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, true>(&gates);
    peer.send(messages::<LengthPrefixed>(&[
        "wait a", "poison b", "now c", "now d",
    ]))
    .await;
    gates.reached(&["a"]).await;
    gates.open("a");
    for name in ["a", "b"] {
        assert_eq!(within(peer.hear()).await, Heard::message(name));
    }
    assert_eq!(within(peer.hear()).await.kind(), code::FAILED);
    assert_eq!(within(peer.hear()).await, Heard::message("d"));
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [3, 1, 0, 0]);
}

async fn last_reply_without_an_order_follows_all_in_flight<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, false>(&gates);
    peer.send(messages::<LengthPrefixed>(&[
        "close a", "wait b", "close c",
    ]))
    .await;
    gates.reached(&["a", "b", "c"]).await;
    gates.open("a");
    gates.open("b");
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    // It is not taken.
    peer.send(messages::<LengthPrefixed>(&["now d"])).await;
    gates.open("c");
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(within(peer.hear()).await, Heard::message("c"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [3, 0, 0, 0]);
}

async fn last_request_of_a_connection_is_answered_with_the_others<K: Kind>() {
    let gates = Gates::default();
    let server = gates.server::<K, LengthPrefixed, false>();
    let server = server.max_requests_per_connection(3);
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    peer.send(messages::<LengthPrefixed>(&[
        "wait a", "wait b", "wait c", "wait d",
    ]))
    .await;
    gates.reached(&["a", "b", "c"]).await;
    for name in ["c", "a", "b"] {
        gates.open(name);
        assert_eq!(within(peer.hear()).await, Heard::message(name));
    }
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [3, 0, 0, 0]);
    assert!(!gates.of("d").was_reached());
}

async fn cut_request_is_reported_after_the_replies<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, serving) = in_memory::<K, LengthPrefixed, false>(&gates);
    peer.send(messages::<LengthPrefixed>(&["wait a"])).await;
    peer.send([0, 0, 0, 5, b'w']).await;
    peer.finish().await;
    gates.reached(&["a"]).await;
    gates.open("a");
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    let end = within(peer.rest()).await;
    assert!(end.is_empty() || end[4] == code::PROTOCOL_ERROR, "{end:?}");
    let report = within(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 1);
}

async fn functions_of_a_reset_connection_are_dropped<K: Kind>() {
    let gates = Gates::default();
    let server = start(gates.server::<K, Lines, true>()).await;
    let mut peer = server.peer().await;
    peer.send(b"wait a\nwait b\n").await;
    gates.reached(&["a", "b"]).await;
    peer.reset();
    within(async {
        while gates.functions() > 2 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    server.handle().stop();
    let report = within(server.finished()).await;
    assert_eq!(outcomes(&report), [0, 0, 0, 2]);
}

async fn events_arrive_while_functions_wait<K: Kind>() {
    let gates = Gates::default();
    let (mut peer, _) = in_memory::<K, Lines, false>(&gates);
    peer.send(b"wait a\npush b\nnow c\n").await;
    gates.reached(&["a", "b"]).await;
    // The event is that of a function that waits.
    let mut heard = within(peer.receive(4)).await;
    heard.sort_unstable();
    assert_eq!(heard, b"\n\nbc");
    gates.open("b");
    hear(&mut peer, b"b\n").await;
    gates.open("a");
    hear(&mut peer, b"a\n").await;
}

async fn replies_of_any_completion_have_their_order<K: Kind>() {
    any_completion::<K, true>().await;
    any_completion::<K, false>().await;
}

/// 200 pipelined requests, whose gates are opened in a random order.
async fn any_completion<K: Kind, const ORDERED: bool>() {
    const REQUESTS: usize = 200;
    for seed in 1..6_usize {
        let gates = Gates::default();
        let (mut peer, serving) = in_memory::<K, Lines, ORDERED>(&gates);
        let names: Vec<_> = (0..REQUESTS).map(|number| number.to_string()).collect();
        let requests = format!("wait {}\n", names.join("\nwait "));
        peer.send(requests).await;
        let mut order: Vec<_> = (0..REQUESTS).collect();
        let mut random = seed;
        for position in (1..REQUESTS).rev() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(position, (random >> 33) % (position + 1));
        }
        for number in order {
            gates.open(&names[number]);
            tokio::task::yield_now().await;
        }
        peer.finish().await;
        let heard = String::from_utf8(within(peer.rest()).await).expect("text");
        let mut heard: Vec<_> = heard.lines().collect();
        if !ORDERED {
            heard.sort_unstable_by_key(|name| name.parse::<usize>().expect("a number"));
        }
        assert_eq!(heard, names, "{seed}");
        let report = within(serving).await.expect("no panic");
        assert_eq!(outcomes(&report), [200, 0, 0, 0]);
    }
}
