//! The numbers of a server while it runs.

use tcs::{
    ConcurrentServer,
    framing::LengthPrefixed,
    server::{Report, ServerHandle},
};
use tcs_tests::{Heard, Kind, adds_up, each_kind, frame, gate, start, tester_of, within};
use tokio::task::yield_now;

each_kind!([ready_async, waiting, blocking] stats_say_what_is_open_and_in_flight);

async fn stats_say_what_is_open_and_in_flight<K: Kind>() {
    let gate = gate();
    let protocol = tester_of::<K, LengthPrefixed>(&gate);
    let server = start(ConcurrentServer::new(protocol)).await;
    let handle = server.handle();
    assert_eq!(handle.stats(), Report::default());

    let mut peer = server.peer().await;
    within(peer.send(frame(b"wait work"))).await;
    within(gate.reached()).await;
    let stats = handle.stats();
    adds_up(&stats);
    assert_eq!((stats.requests.received, stats.requests.in_flight), (1, 1));
    assert_eq!((stats.connections.accepted, stats.connections.open), (1, 1));
    let shown = stats.to_string();
    let now = "; now 1 connections open, 1 requests in flight";
    assert!(shown.ends_with(now), "{shown}");

    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("work"));
    until(&handle, |stats| stats.requests.served == 1).await;
    assert_eq!(handle.stats().requests.in_flight, 0);
    drop(peer);
    until(&handle, |stats| stats.connections.open == 0).await;
    let stats = handle.stats();
    adds_up(&stats);
    assert_eq!(server.stopped().await, stats);
    assert_eq!(handle.stats(), stats);
}

/// Waits until the numbers of a server are so.
async fn until(handle: &ServerHandle, condition: impl Fn(&Report) -> bool) {
    within(async {
        while !condition(&handle.stats()) {
            yield_now().await;
        }
    })
    .await;
}
