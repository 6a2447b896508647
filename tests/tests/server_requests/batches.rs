//! Requests that arrive together are handled together, in order, and never wait for one another's
//! functions in vain.

use std::time::Duration;

use tcs::{
    ConcurrentServer, Peer, Response,
    framing::{Framing, LengthPrefixed, Lines, Netstrings},
    protocol::ServerProtocol,
    server::Report,
    server_protocol,
};
use tcs_tests::{
    BlockingFn, Gate, Heard, Kind, LONG, Over, RawPeer, ReadyFn, Running, SyncFn, WaitingFn,
    Writes, code, counted, each_kind, frame, gate, over_each, patiently, start, start_over,
    tester_of, within,
};
use tokio::{task::JoinHandle, time::sleep};

each_kind!(
    over_each:
    requests_together_are_answered_in_order,
    requests_in_pieces_are_answered,
    large_messages_pass_both_ways,
    peer_that_half_closes_gets_its_replies,
    lines_are_answered_by_lines,
    close_sends_nothing_more,
    frame_that_follows_a_batch_has_its_limit,
);
each_kind!(drain_is_told_behind_a_batch);
each_kind!(
    [ready_async, waiting, blocking] over_each:
    reply_does_not_wait_for_a_function_behind_it,
    peer_that_half_closes_while_a_function_works_gets_its_replies,
);
over_each!(last_reply_ends_the_connection_even_if_it_is_an_error);

async fn serve<K: Kind>(over: Over, gate: &Gate) -> Running {
    let tester = tester_of::<K, LengthPrefixed>(gate);
    start_over(over, ConcurrentServer::new(tester)).await
}

async fn requests_together_are_answered_in_order<K: Kind>(over: Over) {
    let server = serve::<K>(over, &gate()).await;
    let mut peer = server.peer().await;
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
    assert_eq!(server.stopped().await.requests.served, 100);
}

/// Serves one peer, and returns it with the writes of the server.
///
/// A poll has as long as it needs: without optimization, even a cheap function can use up its time.
fn counting<P: ServerProtocol>(protocol: P) -> (RawPeer, Writes, JoinHandle<tcs::Result<Report>>) {
    counting_within(LONG, 1 << 20, protocol)
}

/// Serves one peer through a pipe of this many bytes, with a budget for each poll.
fn counting_within<P: ServerProtocol>(
    budget: Duration,
    pipe: usize,
    protocol: P,
) -> (RawPeer, Writes, JoinHandle<tcs::Result<Report>>) {
    let (near, far) = tokio::io::duplex(pipe);
    let (far, writes) = counted(far);
    let server = ConcurrentServer::new(protocol).poll_budget(budget);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    (RawPeer::over(near), writes, serving)
}

#[tokio::test]
async fn replies_of_a_batch_leave_in_one_write() {
    one_write(tester_of::<SyncFn, LengthPrefixed>(&gate()), 1_000).await;
    one_write(tester_of::<ReadyFn, LengthPrefixed>(&gate()), 1_000).await;
    // More permits in one poll would be beyond what tokio lets a task do before others have their turn.
    one_write(tester_of::<BlockingFn, LengthPrefixed>(&gate()), 100).await;
}

async fn one_write(protocol: impl ServerProtocol, count: usize) {
    let (mut peer, writes, serving) = counting(protocol);
    let stream = frame(b"request").repeat(count);
    within(peer.send(&stream)).await;
    assert_eq!(within(peer.receive(stream.len())).await, stream);
    assert_eq!(writes.take(), [stream.len()]);
    drop(peer);
    within(serving).await.expect("no panic").expect("served");
}

#[tokio::test]
async fn batch_is_sent_when_64_kib_wait() {
    writes_of_64_kib(tester_of::<SyncFn, LengthPrefixed>(&gate())).await;
    writes_of_64_kib(tester_of::<ReadyFn, LengthPrefixed>(&gate())).await;
    writes_of_64_kib(tester_of::<BlockingFn, LengthPrefixed>(&gate())).await;
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

#[tokio::test]
async fn reply_leaves_before_the_loop_waits_for_a_function() {
    let (mut peer, writes, serving) = counting(tester_of::<WaitingFn, LengthPrefixed>(&gate()));
    within(peer.send(frame(b"request").repeat(3))).await;
    for _ in 0..3 {
        assert_eq!(within(peer.hear()).await, Heard::message("request"));
    }
    assert_eq!(writes.take(), [11, 11, 11]);
    drop(peer);
    within(serving).await.expect("no panic").expect("served");
}

/// The clock is paused, so that only a wait uses up the budget.
const BUDGET: Duration = Duration::from_millis(300);
/// A wait that would use up the budget.
const LONGER: Duration = Duration::from_millis(400);

#[tokio::test(start_paused = true)]
async fn wait_of_a_function_is_no_part_of_the_budget() {
    let gate = gate();
    let tester = tester_of::<ReadyFn, LengthPrefixed>(&gate);
    let (mut peer, writes, serving) = counting_within(BUDGET, 1 << 20, tester);
    let more = frame(b"request").repeat(100);
    patiently(peer.send([frame(b"wait first"), more.clone()].concat())).await;
    patiently(gate.reached()).await;
    sleep(LONGER).await;
    gate.open();
    let replies = [frame(b"first"), more].concat();
    assert_eq!(patiently(peer.receive(replies.len())).await, replies);
    assert_eq!(writes.take(), [replies.len()]);
    drop(peer);
    patiently(serving).await.expect("no panic").expect("served");
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_peer_that_does_not_read_is_no_part_of_the_budget() {
    tokio::join!(
        waits_for_its_peer(tester_of::<SyncFn, LengthPrefixed>(&gate())),
        waits_for_its_peer(tester_of::<ReadyFn, LengthPrefixed>(&gate())),
    );
}

async fn waits_for_its_peer(protocol: impl ServerProtocol) {
    const PIPE: usize = 1 << 16;
    let (mut peer, writes, serving) = counting_within(BUDGET, PIPE, protocol);
    // After so many cheap requests, several more are processed before the clock is read again.
    let before = frame(b"request").repeat(15);
    let more = frame(b"request").repeat(100);
    patiently(peer.send([before.clone(), frame(b"size 70000"), more.clone()].concat())).await;
    sleep(LONGER).await;
    let large = frame(vec![b'x'; 70_000]);
    let replies = [before, large, more.clone()].concat();
    assert!(patiently(peer.receive(replies.len())).await == replies);
    assert_eq!(writes.take().last(), Some(&more.len()));
    drop(peer);
    patiently(serving).await.expect("no panic").expect("served");
}

async fn requests_in_pieces_are_answered<K: Kind>(over: Over) {
    let server = serve::<K>(over, &gate()).await;
    let mut peer = server.peer().await;
    for byte in frame(b"slowly") {
        within(peer.send([byte])).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(within(peer.hear()).await, Heard::message("slowly"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

async fn reply_does_not_wait_for_a_function_behind_it<K: Kind>(over: Over) {
    let gate = gate();
    let server = serve::<K>(over, &gate).await;
    let mut peer = server.peer().await;
    let requests = [frame(b"first"), frame(b"wait second"), frame(b"third")].concat();
    within(peer.send(requests)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("first"));
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("second"));
    assert_eq!(within(peer.hear()).await, Heard::message("third"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}

async fn large_messages_pass_both_ways<K: Kind>(over: Over) {
    let server = serve::<K>(over, &gate()).await;
    let mut peer = server.peer().await;
    let text = "y".repeat(3 << 20);
    within(peer.send(frame(text.as_bytes()))).await;
    assert_eq!(within(peer.hear()).await, Heard::message(&text));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

async fn peer_that_half_closes_gets_its_replies<K: Kind>(over: Over) {
    let server = serve::<K>(over, &gate()).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"a"), frame(b"b")].concat())).await;
    within(peer.finish()).await;
    assert_eq!(
        within(peer.rest()).await,
        [frame(b"a"), frame(b"b")].concat()
    );
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn peer_that_half_closes_while_a_function_works_gets_its_replies<K: Kind>(over: Over) {
    let gate = gate();
    let server = serve::<K>(over, &gate).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"wait a"), frame(b"b")].concat())).await;
    within(gate.reached()).await;
    within(peer.finish()).await;
    gate.open();
    assert_eq!(
        within(peer.rest()).await,
        [frame(b"a"), frame(b"b")].concat()
    );
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn lines_are_answered_by_lines<K: Kind>(over: Over) {
    let tester = tester_of::<K, Lines>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send("one\ntwo\r\n\nnothing\nerror no such thing\nlast bye\nafter\n")).await;
    assert_eq!(
        within(peer.rest()).await,
        b"one\ntwo\n\nno such thing\nbye\n"
    );
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (6, 6));
}

async fn close_sends_nothing_more<K: Kind>(over: Over) {
    let requests = b"one\nclose\nafter\n";
    closes::<K, Lines>(over, requests, b"one\n").await;
    let requests = [frame(b"one"), frame(b"close"), frame(b"after")].concat();
    closes::<K, LengthPrefixed>(over, &requests, &frame(b"one")).await;
    closes::<K, Netstrings>(over, b"3:one,5:close,5:after,", b"3:one,").await;
}

async fn closes<K: Kind, F: Framing>(over: Over, requests: &[u8], replies: &[u8]) {
    let tester = tester_of::<K, F>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send(requests)).await;
    assert_eq!(within(peer.rest()).await, replies);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (2, 2));
}

async fn frame_that_follows_a_batch_has_its_limit<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let limit = Duration::from_millis(50);
    let server = ConcurrentServer::new(tester).frame_timeout(limit);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send([&frame(b"a"), &frame(b"b"), &frame(b"cut")[..5]].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    assert_eq!(within(peer.hear()).await.kind(), code::IDLE);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

async fn drain_is_told_behind_a_batch<K: Kind>() {
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"a"), frame(b"b")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    server.handle().stop();
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 2);
}

#[server_protocol]
fn doubt(request: &str) -> Response<Result<&str, &str>> {
    match request {
        "error" => Response::Reply(Err("no")),
        "last" => Response::ReplyAndClose(Err("never")),
        other => Response::Reply(Ok(other)),
    }
}

async fn last_reply_ends_the_connection_even_if_it_is_an_error(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Doubt)).await;
    let mut peer = server.peer().await;
    let requests = [
        frame(b"error"),
        frame(b"fine"),
        frame(b"last"),
        frame(b"behind"),
    ];
    within(peer.send(requests.concat())).await;
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(code::ERROR, "no".to_owned())
    );
    assert_eq!(within(peer.hear()).await, Heard::message("fine"));
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(code::ERROR, "never".to_owned())
    );
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(code::GOING_AWAY, "this was the last reply".to_owned())
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}
