//! What becomes of functions whose peers hang up, wholly or half.

use std::time::Duration;

use tcs::{ConcurrentServer, LengthPrefixed, ServerProtocol};
use tcs_tests::{
    Heard, Kind, Over, Place, RawPeer, code, each_kind, ended_in_time, frame, gate, patiently,
    serve_in_memory, stage,
    stage::{BlockingHold, ReadyHold, SilentHold, Stage, SyncHold, WaitingHold, holds},
    start, tester_of, within,
};
use tokio::time::{Instant, timeout};

each_kind!(over_both: requests_before_a_half_close_are_all_answered);
each_kind!(
    [ready_async, waiting, blocking] over_both:
    requests_before_a_half_close_are_all_answered_although_the_first_waits,
);
each_kind!(
    [ready_async, waiting] paused:
    function_has_its_time_when_the_peer_has_closed_its_half,
    function_has_half_a_minute_when_the_peer_has_closed_its_half,
    function_that_has_waited_already_has_its_time_from_the_half_close_on,
    half_close_without_a_limit_leaves_the_function_its_time,
);

/// What a function's kind makes of a reset.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// It is dropped where it waits.
    Dropped,
    /// Nothing can drop it.
    ByItself,
    /// Nothing can drop it, and it has no reply that could not be sent.
    Unsaid,
}

/// Asks `hold` fifteen times, resets the connection while the first is held, and asks `pass` with another.
async fn ends_with_its_peer<P>(
    protocol: impl FnOnce(Stage) -> P,
    ends: Ends,
    [hold, pass, passed]: [&str; 3],
) where
    P: ServerProtocol<Framing = LengthPrefixed>,
{
    let stage = stage::stage();
    let server = ConcurrentServer::new(protocol(stage.clone())).max_connections(1);
    let server = start(server).await;
    let mut gone = server.peer().await;
    within(gone.send(frame(hold.as_bytes()).repeat(15))).await;
    within(stage.gate.reached()).await;
    gone.reset();
    if ends != Ends::Dropped {
        for _ in 0..15 {
            stage.gate.open();
        }
    }
    within(stage.gone()).await;
    // The place of the first is free, and nothing is in it.
    let mut next = server.peer().await;
    assert_eq!(within(next.ask(pass)).await, Heard::message(passed));
    let (returned, counted) = match ends {
        Ends::Dropped => (1, 1),
        Ends::ByItself => (2, 1),
        Ends::Unsaid => (2, 2),
    };
    assert_eq!((stage.begun(), stage.returned()), (2, returned));
    drop(next);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (counted, 0));
}

const TEXTS: [&str; 3] = ["hold", "pass", "pass"];

fn of_a_module(hold: &str) -> [&str; 3] {
    [hold, r#"{"pass":{}}"#, r#"{"pass":null}"#]
}

mod nothing_goes_on_behind_a_reset {
    use super::{
        BlockingHold, Ends, ReadyHold, SilentHold, SyncHold, TEXTS, WaitingHold,
        ends_with_its_peer, holds, of_a_module,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sync() {
        ends_with_its_peer(SyncHold::new, Ends::ByItself, TEXTS).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sync_without_replies() {
        ends_with_its_peer(SilentHold::new, Ends::Unsaid, TEXTS).await;
    }

    #[tokio::test]
    async fn ready_async() {
        ends_with_its_peer(ReadyHold::new, Ends::Dropped, TEXTS).await;
    }

    #[tokio::test]
    async fn waiting() {
        ends_with_its_peer(WaitingHold::new, Ends::Dropped, TEXTS).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn blocking() {
        ends_with_its_peer(BlockingHold::new, Ends::ByItself, TEXTS).await;
    }

    #[tokio::test]
    async fn ready_async_of_a_module() {
        let texts = of_a_module(r#"{"hold":{}}"#);
        ends_with_its_peer(holds::Protocol::new, Ends::Dropped, texts).await;
    }

    #[tokio::test]
    async fn waiting_of_a_module() {
        let texts = of_a_module(r#"{"hold_later":{}}"#);
        ends_with_its_peer(holds::Protocol::new, Ends::Dropped, texts).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn blocking_of_a_module() {
        let texts = of_a_module(r#"{"block":{}}"#);
        ends_with_its_peer(holds::Protocol::new, Ends::ByItself, texts).await;
    }
}

async fn requests_before_a_half_close_are_all_answered<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate()).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    let requests = frame(b"request").repeat(200);
    within(peer.send(&requests)).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, requests);
    assert_eq!(place.requests().await.served, 200);
}

async fn requests_before_a_half_close_are_all_answered_although_the_first_waits<K: Kind>(
    over: Over,
) {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    within(peer.send(frame(b"wait reply").repeat(15))).await;
    within(gate.reached()).await;
    within(peer.finish()).await;
    for _ in 0..15 {
        gate.open();
    }
    assert_eq!(within(peer.rest()).await, frame(b"reply").repeat(15));
    assert_eq!(place.requests().await.served, 15);
}

/// Fails unless a request is answered *timed out*, and nothing but the end comes after that.
async fn hears_that_its_time_is_over(peer: &mut RawPeer, limit: &str) {
    let answer = timeout(Duration::from_mins(2), peer.hear()).await;
    let Heard::Control(code::TIMED_OUT, text) = answer.expect("an answer in time") else {
        panic!("the request is not answered by *timed out*");
    };
    assert!(
        text.contains("half_close_timeout") && text.contains(limit),
        "{text}"
    );
    loop {
        match patiently(peer.hear()).await {
            Heard::End => break,
            last => assert_eq!(last.kind(), code::GOING_AWAY, "{last:?}"),
        }
    }
}

async fn function_has_its_time_when_the_peer_has_closed_its_half<K: Kind>() {
    let (gate, limit) = (gate(), Duration::from_secs(7));
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester).half_close_timeout(limit);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    patiently(peer.send([frame(b"first"), frame(b"wait").repeat(3)].concat())).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("first"));
    patiently(gate.reached()).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    hears_that_its_time_is_over(&mut peer, "7s").await;
    ended_in_time(began, limit);
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
    assert!(!gate.was_reached(), "a request behind it was begun");
}

async fn function_has_half_a_minute_when_the_peer_has_closed_its_half<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(tester), 1 << 16);
    patiently(peer.send(frame(b"wait"))).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    hears_that_its_time_is_over(&mut peer, "30s").await;
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.failed,
        1
    );
}

async fn function_that_has_waited_already_has_its_time_from_the_half_close_on<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(tester), 1 << 16);
    patiently(peer.send(frame(b"wait"))).await;
    patiently(gate.reached()).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(29)).await;
    hears_that_its_time_is_over(&mut peer, "30s").await;
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.failed,
        1
    );
}

async fn half_close_without_a_limit_leaves_the_function_its_time<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester).half_close_timeout(None);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    patiently(peer.send([frame(b"wait one"), frame(b"two")].concat())).await;
    patiently(gate.reached()).await;
    patiently(peer.finish()).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    gate.open();
    assert_eq!(patiently(peer.hear()).await, Heard::message("one"));
    assert_eq!(patiently(peer.hear()).await, Heard::message("two"));
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        2
    );
}
