//! A panicking function harms only its request.

use tcs::{ConcurrentServer, LengthPrefixed, Lines};
use tcs_tests::{Heard, Over, Place, frame, gate, over_both, tester, within};

over_both!(
    panic_is_the_failure_of_its_request_only,
    panic_with_a_session_ends_the_connection,
    panic_where_no_refusal_can_be_told_ends_the_connection,
);

fn failed() -> Heard {
    Heard::Control(0x06, "the function panicked".to_owned())
}

async fn panic_is_the_failure_of_its_request_only(over: Over) {
    let tester = tester::<LengthPrefixed>(&gate()).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut other = place.peer().await;
    let mut peer = place.peer().await;
    let requests = [frame(b"before"), frame(b"panic secret"), frame(b"behind")].concat();
    within(peer.send(requests)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("before"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await, Heard::message("behind"));
    assert_eq!(within(peer.ask("later")).await, Heard::message("later"));
    assert_eq!(within(other.ask("other")).await, Heard::message("other"));
    drop((peer, other));
    let requests = place.requests().await;
    assert_eq!((requests.served, requests.failed), (4, 1));
}

async fn panic_with_a_session_ends_the_connection(over: Over) {
    let tester = tester::<LengthPrefixed>(&gate()).counting().shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    let requests = [frame(b"count"), frame(b"panic secret"), frame(b"count")].concat();
    within(peer.send(requests)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("1"));
    assert_eq!(within(peer.hear()).await, failed());
    assert_eq!(within(peer.hear()).await.kind(), 0x40);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let mut peer = place.peer().await;
    assert_eq!(within(peer.ask("count")).await, Heard::message("1"));
    drop(peer);
    let requests = place.requests().await;
    assert_eq!((requests.served, requests.failed), (2, 1));
}

async fn panic_where_no_refusal_can_be_told_ends_the_connection(over: Over) {
    let tester = tester::<Lines>(&gate()).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    within(peer.send("before\npanic secret\nbehind\n")).await;
    assert_eq!(within(peer.rest()).await, b"before\n");
    drop(peer);
    let requests = place.requests().await;
    assert_eq!(
        (requests.served, requests.failed, requests.received),
        (1, 1, 2)
    );
}
