//! Which waits of a connection begin a limit anew, and which ones share it.
//!
//! The clock is paused, so that each limit ends when it should.

use std::time::Duration;

use tcs::{ConcurrentServer, framing::LengthPrefixed};
use tcs_tests::{
    Gate, Heard, Kind, LONG, RawPeer, Tester, code, each_kind, ended_in_time, frame, gate,
    patiently, serve_in_memory, tester_of,
};
use tokio::time::{Instant, sleep};

each_kind!(
    paused:
    replies_after_all_others_were_read_have_their_full_time,
    idle_time_begins_after_a_reply_that_was_read_late,
);
each_kind!(
    [ready_async, waiting] paused:
    peer_that_does_not_read_is_given_up_while_a_later_function_waits,
    function_has_its_full_time_after_one_that_waited,
    function_has_its_full_time_after_one_that_waited_and_panicked,
    functions_after_a_half_close_share_their_time,
);

fn server<K: Kind>(gate: &Gate) -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(gate))
}

async fn replies_after_all_others_were_read_have_their_full_time<K: Kind>() {
    let limit = Duration::from_secs(30);
    let server = server::<K>(&gate()).write_timeout(limit);
    let (mut peer, serving) = serve_in_memory(server, 64);
    patiently(peer.send(frame(b"size 1000"))).await;
    sleep(Duration::from_secs(20)).await;
    patiently(peer.receive(4 + 1_000)).await;
    let began = Instant::now();
    patiently(peer.send(frame(b"size 1000"))).await;
    let report = patiently(serving).await.expect("no panic");
    ended_in_time(began, limit);
    assert_eq!((report.requests.served, report.requests.aborted), (1, 1));
}

async fn idle_time_begins_after_a_reply_that_was_read_late<K: Kind>() {
    let server = server::<K>(&gate()).idle_timeout(Duration::from_secs(5));
    let (mut peer, serving) = serve_in_memory(server, 64);
    // The request arrives in two parts, so that the connection waits for its rest.
    let request = frame(b"size 1000");
    let (begin, rest) = request.split_at(3);
    patiently(peer.send(begin)).await;
    sleep(Duration::from_secs(1)).await;
    patiently(peer.send(rest)).await;
    sleep(Duration::from_secs(10)).await;
    patiently(peer.receive(4 + 1_000)).await;
    sleep(Duration::from_secs(3)).await;
    patiently(peer.send(frame(b"text"))).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("text"));
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 2);
}

async fn peer_that_does_not_read_is_given_up_while_a_later_function_waits<K: Kind>() {
    let (gate, limit) = (gate(), Duration::from_secs(30));
    // Both are processed in one poll, however slow the machine is.
    let server = server::<K>(&gate).write_timeout(limit).poll_budget(LONG);
    let (mut peer, serving) = serve_in_memory(server, 64);
    let began = Instant::now();
    patiently(peer.send([frame(b"size 1000"), frame(b"wait")].concat())).await;
    patiently(gate.reached()).await;
    let report = patiently(serving).await.expect("no panic");
    ended_in_time(began, limit);
    assert_eq!((report.requests.received, report.requests.aborted), (2, 2));
}

const REQUEST_LIMIT: Duration = Duration::from_secs(3);

async fn function_has_its_full_time_after_one_that_waited<K: Kind>() {
    let waited = has_its_full_time_after::<K>("wait text").await;
    assert_eq!(waited, Heard::message("text"));
}

async fn function_has_its_full_time_after_one_that_waited_and_panicked<K: Kind>() {
    let panicked = has_its_full_time_after::<K>("wait-panic").await;
    assert_eq!(panicked.kind(), code::FAILED);
}

/// Has a function wait for most of its time, and the next one for all of it. Returns what the peer hears
/// of the first.
async fn has_its_full_time_after<K: Kind>(first: &str) -> Heard {
    let gate = gate();
    let server = server::<K>(&gate).request_timeout(REQUEST_LIMIT);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    patiently(peer.send([frame(first.as_bytes()), frame(b"wait")].concat())).await;
    patiently(gate.reached()).await;
    sleep(Duration::from_secs(2)).await;
    gate.open();
    let heard = patiently(peer.hear()).await;
    let began = Instant::now();
    assert_eq!(patiently(peer.hear()).await.kind(), code::TIMED_OUT);
    ended_in_time(began, REQUEST_LIMIT);
    drop(peer);
    patiently(serving).await.expect("no panic");
    heard
}

async fn functions_after_a_half_close_share_their_time<K: Kind>() {
    let (gate, limit) = (gate(), Duration::from_secs(7));
    let server = server::<K>(&gate).half_close_timeout(limit);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    let requests = [frame(b"wait one"), frame(b"wait two"), frame(b"wait three")];
    patiently(peer.send(requests.concat())).await;
    patiently(gate.reached()).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    for reply in ["one", "two"] {
        sleep(Duration::from_secs(3)).await;
        gate.open();
        assert_eq!(patiently(peer.hear()).await, Heard::message(reply));
    }
    is_timed_out(&mut peer).await;
    ended_in_time(began, limit);
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!((requests.served, requests.failed), (2, 1));
}

/// Fails unless the next request is answered *timed out*, which is the last one that is answered.
async fn is_timed_out(peer: &mut RawPeer) {
    assert_eq!(patiently(peer.hear()).await.kind(), code::TIMED_OUT);
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
}
