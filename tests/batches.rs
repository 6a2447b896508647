//! Requests that arrive together are handled together, in order, and never wait for one another's
//! functions in vain.

use tcs::{
    Answer, ConcurrentServer, LengthPrefixed, Lines, Report, ServerProtocol, server_protocol,
};
use tcs_tests::{
    Heard, Over, Place, RawPeer, Writes, counted, frame, gate, over_both, tester, within,
};
use tokio::task::JoinHandle;

over_both!(
    requests_together_are_answered_in_order,
    requests_in_pieces_are_answered,
    reply_does_not_wait_for_a_function_behind_it,
    large_messages_pass_both_ways,
    peer_that_half_closes_gets_its_replies,
    lines_are_answered_by_lines,
    last_reply_ends_the_connection_even_if_it_is_an_error,
);

async fn place(over: Over) -> Place<impl ServerProtocol> {
    let tester = tester::<LengthPrefixed>(&gate()).shared();
    Place::new(over, move || ConcurrentServer::new(tester.clone())).await
}

async fn requests_together_are_answered_in_order(over: Over) {
    let mut place = place(over).await;
    let mut peer = place.peer().await;
    let requests: Vec<String> = (0..100).map(|n| format!("request {n}")).collect();
    let stream: Vec<u8> = requests
        .iter()
        .flat_map(|text| frame(text.as_bytes()))
        .collect();
    within(peer.send(&stream)).await;
    // The replies are the requests themselves.
    assert_eq!(within(peer.receive(stream.len())).await, stream);
    within(peer.finish()).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
    assert_eq!(place.requests().await.served, 100);
}

/// Serves one peer, and returns it with the writes of the server.
fn counting<P: ServerProtocol>(protocol: P) -> (RawPeer, Writes, JoinHandle<tcs::Result<Report>>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (far, writes) = counted(far);
    let server = ConcurrentServer::new(protocol);
    let serving = tokio::spawn(server.serve_stream(far));
    (RawPeer::over(near), writes, serving)
}

/// Never waits, so that it is called without a future.
#[server_protocol]
fn at_once(request: &str) -> String {
    match request.strip_prefix("size ") {
        Some(size) => "x".repeat(size.parse().expect("a size")),
        None => request.to_owned(),
    }
}

#[tokio::test]
async fn replies_of_a_batch_leave_in_one_write() {
    one_write(tester::<LengthPrefixed>(&gate())).await;
    one_write(AtOnce).await;
}

async fn one_write(protocol: impl ServerProtocol) {
    let (mut peer, writes, serving) = counting(protocol);
    let stream = frame(b"request").repeat(1_000);
    within(peer.send(&stream)).await;
    assert_eq!(within(peer.receive(stream.len())).await, stream);
    assert_eq!(writes.take(), [stream.len()]);
    drop(peer);
    within(serving).await.expect("no panic").expect("served");
}

#[tokio::test]
async fn batch_is_sent_when_64_kib_wait() {
    writes_of_64_kib(tester::<LengthPrefixed>(&gate())).await;
    writes_of_64_kib(AtOnce).await;
}

async fn writes_of_64_kib(protocol: impl ServerProtocol) {
    let (mut peer, writes, serving) = counting(protocol);
    within(peer.send(frame(b"size 40000").repeat(5))).await;
    for _ in 0..5 {
        assert!(matches!(within(peer.hear()).await, Heard::Message(_)));
    }
    assert_eq!(writes.take(), [80_008, 80_008, 40_004]);
    drop(peer);
    within(serving).await.expect("no panic").expect("served");
}

async fn requests_in_pieces_are_answered(over: Over) {
    let mut place = place(over).await;
    let mut peer = place.peer().await;
    for byte in frame(b"slowly") {
        within(peer.send([byte])).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(within(peer.hear()).await, Heard::message("slowly"));
    drop(peer);
    assert_eq!(place.requests().await.served, 1);
}

async fn reply_does_not_wait_for_a_function_behind_it(over: Over) {
    let gate = gate();
    let tester = tester::<LengthPrefixed>(&gate).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    let requests = [frame(b"first"), frame(b"wait second"), frame(b"third")].concat();
    within(peer.send(requests)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("first"));
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("second"));
    assert_eq!(within(peer.hear()).await, Heard::message("third"));
    drop(peer);
    assert_eq!(place.requests().await.served, 3);
}

async fn large_messages_pass_both_ways(over: Over) {
    let mut place = place(over).await;
    let mut peer = place.peer().await;
    let text = "y".repeat(3 << 20);
    within(peer.send(frame(text.as_bytes()))).await;
    assert_eq!(within(peer.hear()).await, Heard::message(&text));
    drop(peer);
    assert_eq!(place.requests().await.served, 1);
}

async fn peer_that_half_closes_gets_its_replies(over: Over) {
    let mut place = place(over).await;
    let mut peer = place.peer().await;
    within(peer.send([frame(b"a"), frame(b"b")].concat())).await;
    within(peer.finish()).await;
    assert_eq!(
        within(peer.rest()).await,
        [frame(b"a"), frame(b"b")].concat()
    );
    assert_eq!(place.requests().await.served, 2);

    // Be it while the function is at work.
    let gate = gate();
    let tester = tester::<LengthPrefixed>(&gate).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    within(peer.send([frame(b"wait a"), frame(b"b")].concat())).await;
    within(gate.reached()).await;
    within(peer.finish()).await;
    gate.open();
    assert_eq!(
        within(peer.rest()).await,
        [frame(b"a"), frame(b"b")].concat()
    );
    assert_eq!(place.requests().await.served, 2);
}

async fn lines_are_answered_by_lines(over: Over) {
    let tester = tester::<Lines>(&gate()).shared();
    let mut place = Place::new(over, move || ConcurrentServer::new(tester.clone())).await;
    let mut peer = place.peer().await;
    within(peer.send("one\ntwo\r\n\nnothing\nerror no such thing\nlast bye\nafter\n")).await;
    assert_eq!(
        within(peer.rest()).await,
        b"one\ntwo\n\nno such thing\nbye\n"
    );
    drop(peer);
    let requests = place.requests().await;
    assert_eq!((requests.received, requests.served), (6, 6));
}

#[server_protocol]
fn doubt(request: &str) -> Answer<Result<&str, &str>> {
    match request {
        "error" => Answer::Reply(Err("no")),
        "last" => Answer::Last(Err("never")),
        other => Answer::Reply(Ok(other)),
    }
}

async fn last_reply_ends_the_connection_even_if_it_is_an_error(over: Over) {
    let mut place = Place::new(over, || ConcurrentServer::new(Doubt)).await;
    let mut peer = place.peer().await;
    let requests = [
        frame(b"error"),
        frame(b"fine"),
        frame(b"last"),
        frame(b"behind"),
    ];
    within(peer.send(requests.concat())).await;
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(0x01, "no".to_owned())
    );
    assert_eq!(within(peer.hear()).await, Heard::message("fine"));
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(0x01, "never".to_owned())
    );
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(0x40, "this was the last reply".to_owned())
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(place.requests().await.served, 3);
}
