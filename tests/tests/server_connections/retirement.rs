//! Connections end at an age, and after a number of requests.

use std::time::Duration;

use tcs::{ConcurrentServer, framing::LengthPrefixed, server::Report};
use tcs_tests::{
    Heard, Kind, Tester, code, each_kind, ended_between, frame, gate, patiently,
    serve_in_memory as serve, tester_of, within,
};
use tokio::{task::JoinHandle, time::Instant};

each_kind!(
    paused:
    idle_connection_is_told_at_its_age,
    connection_has_any_age_unless_there_is_a_limit,
);
each_kind!(
    [ready_async, waiting] paused:
    request_in_flight_is_answered_after_the_age,
    request_in_flight_is_aborted_after_the_drain,
);
each_kind!(
    connection_closes_after_its_last_request,
    rejected_requests_are_counted,
    connection_with_fewer_requests_goes_on,
);

const AGE: Duration = Duration::from_secs(100);
const BEFORE: Duration = Duration::from_secs(99);
const TOO_OLD: &str = "the connection has reached its maximum age (`max_connection_age`)";

fn server<K: Kind>() -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(&gate()))
}

async fn ended(serving: JoinHandle<Report>) -> Report {
    within(serving).await.expect("no panic")
}

async fn idle_connection_is_told_at_its_age<K: Kind>() {
    let began = Instant::now();
    let (mut peer, serving) = serve(server::<K>().max_connection_age(AGE), 1 << 16);
    // Requests do not extend it.
    tokio::time::sleep(BEFORE).await;
    assert_eq!(patiently(peer.ask("a")).await, Heard::message("a"));
    patiently(peer.is_told(code::GOING_AWAY, TOO_OLD)).await;
    ended_between(began, AGE, AGE + AGE / 10);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(ended(serving).await.connections.closed, 1);
}

async fn connection_has_any_age_unless_there_is_a_limit<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(299)).await;
        assert_eq!(patiently(peer.ask("a")).await, Heard::message("a"));
    }
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 3);
}

async fn request_in_flight_is_answered_after_the_age<K: Kind>() {
    let gate = gate();
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate));
    let (mut peer, serving) = serve(server.max_connection_age(AGE), 1 << 16);
    patiently(peer.send(frame("wait a"))).await;
    tokio::time::sleep(AGE + AGE / 5).await;
    gate.open();
    assert_eq!(patiently(peer.hear()).await, Heard::message("a"));
    patiently(peer.is_told(code::GOING_AWAY, TOO_OLD)).await;
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    drop(peer);
    let report = ended(serving).await;
    assert_eq!((report.requests.served, report.connections.closed), (1, 1));
}

async fn request_in_flight_is_aborted_after_the_drain<K: Kind>() {
    const DRAIN: Duration = Duration::from_secs(50);
    let began = Instant::now();
    let server = server::<K>().max_connection_age(AGE).drain_timeout(DRAIN);
    let (mut peer, serving) = serve(server, 1 << 16);
    patiently(peer.send(frame("wait a"))).await;
    let text = format!("{TOO_OLD} before the reply");
    patiently(peer.is_told(code::FAILED, &text)).await;
    ended_between(began, AGE + DRAIN, AGE + AGE / 10 + DRAIN);
    patiently(peer.is_told(code::GOING_AWAY, TOO_OLD)).await;
    drop(peer);
    let report = ended(serving).await;
    assert_eq!(
        (report.requests.aborted, report.connections.aborted),
        (1, 1)
    );
}

const LAST: &str = "the connection had 2 requests (`max_requests_per_connection`)";

async fn connection_closes_after_its_last_request<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>().max_requests_per_connection(2), 1 << 16);
    within(peer.send([frame("a"), frame("b"), frame("c")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    patiently(peer.is_told(code::GOING_AWAY, LAST)).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.received, requests.served), (2, 2));
}

async fn rejected_requests_are_counted<K: Kind>() {
    let server = server::<K>()
        .max_frame_len(8)
        .max_requests_per_connection(2);
    let (mut peer, serving) = serve(server, 1 << 16);
    assert_eq!(within(peer.ask("busy a")).await.kind(), code::BUSY);
    assert_eq!(within(peer.ask("too large")).await.kind(), code::TOO_LARGE);
    patiently(peer.is_told(code::GOING_AWAY, LAST)).await;
    drop(peer);
    assert_eq!(ended(serving).await.requests.rejected, 2);
}

async fn connection_with_fewer_requests_goes_on<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>().max_requests_per_connection(3), 1 << 16);
    for _ in 0..2 {
        assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    }
    within(peer.finish()).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
    assert_eq!(ended(serving).await.requests.served, 2);
}
