//! What is served arrives over a stream that holds back what is written to it, as `BufWriter` does.
//!
//! Such a stream takes everything at once, and its flush waits for the peer.

use std::time::{Duration, Instant};

use tcs::{ConcurrentServer, framing::LengthPrefixed, server_protocol};
use tcs_tests::{
    Heard, Kind, LONG, each_kind, ended_in_time, frame, gate, patiently, serve_behind_a_buffer,
    tester_of, within,
};

each_kind!(
    paused:
    replies_arrive_although_the_peer_reads_late,
    peer_that_does_not_read_is_given_up,
);
each_kind!(
    [ready_async, waiting]
    reply_arrives_while_the_next_function_waits,
    peer_that_does_not_read_while_a_function_waits_is_given_up,
);

/// More than the pipe holds.
const LARGE: &[u8] = b"size 100";

fn large() -> Heard {
    Heard::Message(vec![b'x'; 100])
}

async fn replies_arrive_although_the_peer_reads_late<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let (mut peer, serving) = serve_behind_a_buffer(ConcurrentServer::new(tester));
    for _ in 0..3 {
        patiently(peer.send(frame(LARGE).repeat(2))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(patiently(peer.hear()).await, large());
        assert_eq!(patiently(peer.hear()).await, large());
    }
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 6);
}

async fn peer_that_does_not_read_is_given_up<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let (mut peer, serving) = serve_behind_a_buffer(ConcurrentServer::new(tester));
    let began = tokio::time::Instant::now();
    patiently(peer.send(frame(LARGE))).await;
    let report = patiently(serving).await.expect("no panic");
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!((report.requests.received, report.requests.aborted), (1, 1));
}

async fn reply_arrives_while_the_next_function_waits<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    // Both are processed in one poll, however slow the machine is.
    let server = ConcurrentServer::new(tester).poll_budget(LONG);
    let (mut peer, serving) = serve_behind_a_buffer(server);
    within(peer.send([frame(LARGE), frame(b"wait next")].concat())).await;
    within(gate.reached()).await;
    assert_eq!(within(peer.hear()).await, large());
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("next"));
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 2);
}

async fn peer_that_does_not_read_while_a_function_waits_is_given_up<K: Kind>() {
    let (gate, limit) = (gate(), Duration::from_millis(50));
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester)
        .poll_budget(LONG)
        .write_timeout(limit);
    let (mut peer, serving) = serve_behind_a_buffer(server);
    let began = Instant::now();
    within(peer.send([frame(LARGE), frame(b"wait next")].concat())).await;
    within(gate.reached()).await;
    let report = within(serving).await.expect("no panic");
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    assert_eq!((report.requests.received, report.requests.aborted), (2, 2));
}

#[server_protocol(greeting = "a greeting of more than thirty-two bytes")]
fn echo(request: &str) -> &str {
    request
}

#[tokio::test(start_paused = true)]
async fn greeting_arrives_although_the_peer_reads_late() {
    let server = ConcurrentServer::new(Echo).idle_timeout(None);
    let (mut peer, serving) = serve_behind_a_buffer(server);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let greeting = Heard::message("a greeting of more than thirty-two bytes");
    assert_eq!(patiently(peer.hear()).await, greeting);
    assert_eq!(patiently(peer.ask("hello")).await, Heard::message("hello"));
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 1);
}

#[tokio::test(start_paused = true)]
async fn peer_that_does_not_read_its_greeting_is_given_up() {
    let (peer, serving) = serve_behind_a_buffer(ConcurrentServer::new(Echo));
    let began = tokio::time::Instant::now();
    let report = patiently(serving).await.expect("no panic");
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!(report.requests.received, 0);
    drop(peer);
}
